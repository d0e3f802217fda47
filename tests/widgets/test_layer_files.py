"""napari opens sessions and exported files, and saves labels, through its own ways of opening and saving."""

from importlib import resources

import npe2.cli
import numpy as np
import ome_types
import pytest
import tifffile
from napari._app_model import get_app_model
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from npe2 import PluginManager, PluginManifest

from napari_semigda.io.masks import read_legend
from napari_semigda.io.pictures import list_planes
from napari_semigda.session.export import export_masks
from napari_semigda.session.exporting.formats import ImageJTiff, ObjectTiff, OmeTiff, Overlays, PlainTiff
from napari_semigda.session.session import Session
from napari_semigda.widgets.layer_files import session_reader

PLUGIN = "napari-semigda"
ORANGE, BLUE = (0xE6, 0x9F, 0x00), (0x56, 0xB4, 0xE9)


@pytest.fixture
def session(tmp_path):
    """A stack of three planes of 0.25 × 0.5 µm, the second accepted, with two classes."""
    (tmp_path / "pictures").mkdir()
    tifffile.imwrite(
        tmp_path / "pictures" / "stack.tif",
        np.random.default_rng(0).integers(0, 255, (5, 24, 32), np.uint8),
        imagej=True,
        resolution=(4, 2),
        metadata={"axes": "ZYX", "unit": "um", "spacing": 2.0},
    )
    session = Session.create(tmp_path / "session", tmp_path / "pictures", classes=("cell", "nucleus"))
    mask = np.zeros((24, 32), np.uint8)
    mask[2:9, 2:9], mask[12:20, 10:30], mask[22:] = 1, 2, 255
    session.accept(session.items[1], mask)
    yield session
    session.close()


def shown(layer, value):
    """The color of a value, as three bytes."""
    return tuple(round(255 * float(part)) for part in layer.get_color(value)[:3])


def opened(viewer, path, plugin=PLUGIN):
    (layer,) = viewer.open(str(path), plugin=plugin)
    return layer


# --- the manifest -------------------------------------------------------------------------------


def test_the_manifest_is_valid_and_all_it_names_is_there(capsys):
    path = resources.files("napari_semigda") / "napari.yaml"
    PluginManifest.from_file(path).validate_imports()
    npe2.cli.validate(str(path), imports=True, debug=False)
    told = capsys.readouterr()
    assert "valid!" in told.out
    assert told.err == ""


@pytest.mark.parametrize(
    ("menu", "titles"),
    [
        ("napari/plugins", {"Annotate and train (SemiGDA)"}),
        (
            "napari/layers/segment",
            {"Annotate and train (SemiGDA)", "Segment a layer with a model… (SemiGDA)"},
        ),
        ("napari/layers/annotate", {"Annotate and train (SemiGDA)"}),
        ("napari/file/new_layer", {"Labels with the classes of a session (SemiGDA)"}),
        ("napari/file/samples/napari-semigda", {"Sample lesions", "Sample cells", "Nuclei (83 MB download)"}),
    ],
)
def test_naparis_menus_lead_here(viewer, menu, titles):
    shown = {item.command.title for item in get_app_model().menus.get_menu(menu) if hasattr(item, "command")}
    assert titles <= shown


# --- sessions -----------------------------------------------------------------------------------


def test_a_session_opens_in_the_dock(viewer, dock, make_session):
    folder = make_session().folder
    assert viewer.open(str(folder / "semigda.json"), plugin=PLUGIN) == []
    widget = dock()
    assert widget.controller.session.folder == folder
    assert any(isinstance(layer, Labels) for layer in viewer.layers)


def test_a_manifest_dropped_on_the_window_opens_its_session(viewer, widget, make_session):
    folder = make_session().folder
    viewer.window._qt_viewer._qt_open([str(folder / "semigda.json")], stack=False)
    assert widget.controller.session.folder == folder


def test_folders_are_left_to_others_so_that_napari_need_not_ask(tmp_path):
    readers = PluginManager.instance().iter_compatible_readers(str(tmp_path))
    assert PLUGIN not in {reader.plugin_name for reader in readers}
    assert session_reader(str(tmp_path)) is None
    assert session_reader([str(tmp_path)]) is None


def test_a_damaged_session_is_told(viewer, widget, tmp_path, notices):
    (tmp_path / "semigda.json").write_text("{")
    viewer.open(str(tmp_path / "semigda.json"), plugin=PLUGIN)
    assert any("semigda.json" in notice for notice in notices())
    assert widget.controller.session is None


# --- exported files -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "file"),
    [
        (PlainTiff(), "stack_p0002_mask.tif"),
        (ImageJTiff(), "stack_p0002_mask.tif"),
        (OmeTiff(), "stack_p0002_mask.ome.tif"),
    ],
)
def test_masks_open_with_scale_and_classes(viewer, session, tmp_path, format, file):
    export_masks(session, tmp_path / "out", format)
    layer = opened(viewer, tmp_path / "out" / file)
    np.testing.assert_array_equal(layer.data, session.labels.get(session.items[1]))
    assert tuple(layer.scale) == (0.5, 0.25)
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    assert (shown(layer, 1), shown(layer, 2)) == (ORANGE, BLUE)
    assert list(layer.features["class"]) == ["background", "cell", "nucleus", "unlabeled"]


@pytest.mark.parametrize(("format", "ending"), [(ImageJTiff("file"), ".tif"), (OmeTiff("file"), ".ome.tif")])
def test_stacks_open_as_stacks(viewer, session, tmp_path, format, ending):
    export_masks(session, tmp_path / "out", format)
    layer = opened(viewer, tmp_path / "out" / f"stack_mask{ending}")
    assert layer.data.shape == (5, 24, 32)
    np.testing.assert_array_equal(layer.data[1], session.labels.get(session.items[1]))
    assert tuple(layer.scale) == (2.0, 0.5, 0.25)
    assert layer.axis_labels == ("z", "y", "x")


def test_numbered_objects_keep_napari_s_colors(viewer, session, tmp_path):
    export_masks(session, tmp_path / "out", ObjectTiff())
    layer = opened(viewer, tmp_path / "out" / "stack_p0002_objects.tif")
    assert layer.data.max() == 2
    assert not isinstance(layer.colormap, DirectLabelColormap)


def test_label_maps_of_other_programs_open_too(viewer, tmp_path):
    tifffile.imwrite(tmp_path / "foreign_mask.tif", np.eye(7, dtype=np.uint8) * 255)
    layer = opened(viewer, tmp_path / "foreign_mask.tif")
    assert layer.data.max() == 255
    assert not isinstance(layer.colormap, DirectLabelColormap)


def test_probabilities_open_as_images(viewer, session, tmp_path):
    from napari_semigda.io.masks import Grid, write_imagej

    values = np.random.default_rng(0).random((2, 24, 32), np.float32)
    grid = Grid("CYX", values.shape, (0.5, 0.25), "µm")
    write_imagej(tmp_path / "a_probability.tif", values, grid, np.float32, plane_names=["a", "b"])
    layers = viewer.open(str(tmp_path / "a_probability.tif"), plugin=PLUGIN)
    for layer, channel in zip(layers, values, strict=True):
        np.testing.assert_array_equal(layer.data, channel)
        assert (tuple(layer.scale), tuple(layer.contrast_limits)) == ((0.5, 0.25), (0, 1))


@pytest.mark.parametrize("format", [PlainTiff(), ImageJTiff("file"), OmeTiff(), ObjectTiff(), Overlays()])
def test_napari_alone_opens_what_is_exported(viewer, session, tmp_path, format):
    for path in export_masks(session, tmp_path / "out", format).written:
        assert opened(viewer, path, plugin="napari").data.shape[-1] > 0


# --- saving -------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".tif", ".ome.tif"])
@pytest.mark.parametrize("shape", [(24, 32), (5, 24, 32), (2, 5, 24, 32)])
def test_saved_labels_come_back_with_scale_and_units(viewer, tmp_path, shape, ending):
    labels = np.random.default_rng(0).integers(0, 5, shape)
    scale = (1.0, 2000.0, 500.0, 250.0)[-len(shape) :]
    units = ("pixel", "nm", "nm", "nm")[-len(shape) :]
    layer = viewer.add_labels(labels, scale=scale, units=units, name="cells")
    path = tmp_path / f"saved_mask{ending}"
    assert layer.save(str(path), plugin=PLUGIN) == [str(path)]
    again = opened(viewer, path)
    np.testing.assert_array_equal(again.data, labels)
    assert tuple(again.scale) == pytest.approx((1.0, 2.0, 0.5, 0.25)[-len(shape) :])
    assert str(again.units[-1]) == "micrometer"
    assert read_legend(path) is None


def test_a_scale_without_units_is_kept(viewer, tmp_path):
    layer = viewer.add_labels(np.ones((5, 6, 7), int), scale=(3, 0.5, 0.25))
    for path in (tmp_path / "a_mask.tif", tmp_path / "a_mask.ome.tif"):
        layer.save(str(path), plugin=PLUGIN)
        assert tuple(opened(viewer, path).scale) == pytest.approx((3, 0.5, 0.25))


def test_napari_saves_ome_tiff_with_this_plugin(viewer, tmp_path):
    layer = viewer.add_labels(np.ones((6, 7), int), scale=(0.5, 0.25), units="um", name="cells")
    layer.save(str(tmp_path / "a.ome.tif"))
    pixels = ome_types.from_tiff(tmp_path / "a.ome.tif", validate=True).images[0].pixels
    assert (pixels.physical_size_y, pixels.physical_size_x) == (0.5, 0.25)


def test_classes_survive_opening_painting_and_saving(viewer, session, tmp_path):
    export_masks(session, tmp_path / "out")
    layer = opened(viewer, tmp_path / "out" / "stack_p0002_mask.tif")
    layer.paint((20, 5), 2)
    before = read_legend(tmp_path / "out" / "stack_p0002_mask.tif")
    for name in ("again.tif", "again.ome.tif"):
        layer.save(str(tmp_path / name), plugin=PLUGIN)
        assert read_legend(tmp_path / name) == before
    with tifffile.TiffFile(tmp_path / "again.tif") as tif:
        table = np.array(tif.pages[0].tags["ColorMap"].value).reshape(3, 256) >> 8
        np.testing.assert_array_equal(tif.asarray(), layer.data)
    assert tuple(table[:, 2]) == BLUE


def test_the_mask_of_the_dock_is_saved_in_its_colors(viewer, widget, session, tmp_path):
    widget.controller.adopt(session)
    layer = next(layer for layer in viewer.layers if isinstance(layer, Labels))
    layer.save(str(tmp_path / "saved.tif"), plugin=PLUGIN)
    legend = read_legend(tmp_path / "saved.tif")
    assert [one.color for one in legend.classes] == ["#e69f00", "#56b4e9"]
    assert list_planes(tmp_path / "saved.tif")[0].pixel_size == (0.5, 0.25)


def test_labels_that_do_not_fit_are_refused_with_words(viewer, tmp_path):
    layer = viewer.add_labels(np.array([[0, 70_000]]))
    with pytest.raises(Exception, match=r"from 0 to 65535.*OME-TIFF can hold them"):
        layer.save(str(tmp_path / "a.tif"), plugin=PLUGIN)
    layer.save(str(tmp_path / "a.ome.tif"), plugin=PLUGIN)
    assert tifffile.imread(tmp_path / "a.ome.tif").max() == 70_000
    deep = viewer.add_labels(np.zeros((1, 1, 1, 2, 2), int))
    with pytest.raises(Exception, match="two to four dimensions"):
        deep.save(str(tmp_path / "b.tif"), plugin=PLUGIN)
