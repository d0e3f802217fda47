"""Making, opening and describing sessions from the dock; classes; what napari's menus offer."""

import threading

import numpy as np
import pytest
import torch
from napari.layers import Image
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QDialog, QFileDialog, QLineEdit, QMessageBox

from napari_semigda.downloads import download_folder
from napari_semigda.errors import SemiGDAError
from napari_semigda.model.checkpoint import save_checkpoint
from napari_semigda.model.network import SemiGDANet
from napari_semigda.samples import sample_pairs
from napari_semigda.session.export import export_masks
from napari_semigda.session.exporting.formats import ImageJTiff, OmeTiff, PlainTiff
from napari_semigda.session.rounds import MODEL
from napari_semigda.session.session import Session
from napari_semigda.session.trained_model import TrainedModel
from napari_semigda.training.recipe import Budget, Recipe
from napari_semigda.widgets.layer_files import label_reader
from napari_semigda.widgets.panels.new_session import AddLayersDialog, NewSessionDialog
from napari_semigda.widgets.panels.session_plan import LayerSource, SessionPlan
from tests.widgets.conftest import PATIENCE, activity, mask_layer, paint


@pytest.fixture
def folder_of_images(tmp_path):
    folder = tmp_path / "scans"
    folder.mkdir()
    for picture, _ in sample_pairs()[:4]:
        (folder / picture.name).write_bytes(picture.read_bytes())
    return folder


@pytest.fixture
def fill_in(monkeypatch):
    """Answers the dialog for a new session: fills it in, and presses OK if that is allowed."""

    def fill_in(fill):
        def answered(dialog):
            fill(dialog)
            dialog.make.click()
            return QDialog.DialogCode(dialog.result())

        monkeypatch.setattr(NewSessionDialog, "exec", answered)

    return fill_in


def test_a_new_session_from_a_folder(widget, folder_of_images, fill_in, click, qtbot):
    def fill(dialog):
        dialog.images.set_text(str(folder_of_images))
        dialog.classes.setText("lesion, vessel")
        dialog.one_object.setChecked(True)
        dialog.working_size.setValue(64)

    fill_in(fill)
    click(widget.session_panel.new)
    qtbot.waitUntil(lambda: widget.controller.session is not None, timeout=PATIENCE)
    session = widget.controller.session
    assert session.folder == folder_of_images.with_name("scans session")
    assert [info.name for info in session.classes] == ["lesion", "vessel"]
    assert session.settings.working_size == 64
    assert session.one_object
    assert len(session.items) == 4
    assert widget.session_panel.new.isEnabled()


def test_a_new_session_from_layers_has_an_item_a_plane_and_keeps_the_scale(
    widget, viewer, tmp_path, fill_in, click, qtbot
):
    stack = np.arange(3 * 40 * 50, dtype=np.uint16).reshape(3, 40, 50)
    viewer.add_image(stack, name="stack", scale=(2, 0.5, 0.25), units=("um", "um", "um"))
    viewer.add_image(np.zeros((30, 20, 3), np.uint8), name="color", rgb=True)
    fill_in(lambda dialog: dialog.folder.set_text(str(tmp_path / "from layers")))
    click(widget.session_panel.new)
    qtbot.waitUntil(lambda: widget.controller.session is not None, timeout=PATIENCE)
    session = widget.controller.session
    assert len(session.items) == 4
    plane = session.picture(session.items[1])
    np.testing.assert_array_equal(plane.pixels, stack[1])
    assert plane.pixel_size == pytest.approx((0.5, 0.25))
    assert plane.unit == "µm"
    assert session.picture(session.items[3]).pixels.shape == (30, 20, 3)
    np.testing.assert_allclose(mask_layer(viewer).scale, viewer.layers[-2].scale)
    assert not viewer.layers["stack"].visible


def test_a_scale_without_a_unit_is_kept_up_to_the_exported_files(widget, viewer, tmp_path, click):
    layer = viewer.add_image(np.zeros((40, 50), np.uint8), name="scan", scale=(0.5, 0.25))
    assert {str(unit) for unit in layer.units} == {"pixel"}
    widget.controller.adopt(SessionPlan(LayerSource((layer,)), tmp_path / "session").make())
    (item,) = widget.controller.session.items
    assert item.pixel_size == (0.5, 0.25)
    np.testing.assert_array_equal(mask_layer(viewer).scale, layer.scale)
    assert mask_layer(viewer).units == layer.units
    paint(viewer, (20, 20), brush=9)
    click(widget.mask_panel.accept)
    for format in (PlainTiff(), ImageJTiff(), OmeTiff()):
        (mask,) = export_masks(widget.controller.session, tmp_path / format.key, format).written
        ((labels, properties, _),) = label_reader(str(mask))(str(mask))
        assert labels.any()
        np.testing.assert_allclose(properties["scale"], layer.scale)


def test_layers_can_be_channels_of_the_same_pictures(tmp_path):
    red, green = (np.full((2, 40, 50), value, np.uint8) for value in (1, 2))
    place = {"scale": (1, 3, 3), "units": ("um", "um", "um")}
    layers = tuple(Image(data, name=name, **place) for name, data in (("red", red), ("green", green)))
    plan = SessionPlan(LayerSource(layers, as_channels=True), tmp_path / "session", channels=(1,))
    with plan.make() as session:
        assert [item.name for item in session.items] == ["red_0", "red_1"]
        picture = session.picture(session.items[0])
        np.testing.assert_array_equal(picture.pixels, np.stack([red[0], green[0]], axis=-1))
        assert picture.pixel_size == (3, 3)
        assert session.settings.channels == (1,)
    odd = LayerSource((layers[0], Image(np.zeros((8, 8)))), as_channels=True)
    assert "same size" in odd.missing()
    colors = LayerSource((Image(np.zeros((8, 8, 3)), rgb=True),), as_channels=True)
    assert "contain their channels" in colors.missing()


def test_channels_are_named_by_numbers(widget, folder_of_images, tmp_path):
    dialog = NewSessionDialog([], tmp_path, widget)
    dialog.images.set_text(str(folder_of_images))
    for text, channels in (("", None), ("2", (2,)), ("0, 2", (0, 2))):
        dialog.channels.setText(text)
        assert dialog.plan().channels == channels
        assert dialog.make.isEnabled()
    for text in ("red", "0,0", "1,2,3,4", "-1"):
        dialog.channels.setText(text)
        assert "one to three different channels" in dialog.why_not.text()
    dialog.deleteLater()


def test_the_dialog_begins_with_the_network_of_the_preferences(widget, preferences, tmp_path):
    preferences().computing.preset = "sd"
    dialog = NewSessionDialog([], tmp_path, widget)
    assert dialog.plan().preset == "sd"
    assert dialog.plan().working_size == 224
    dialog.deleteLater()


def test_the_dialog_says_what_is_missing(widget, folder_of_images, tmp_path):
    dialog = NewSessionDialog([], tmp_path, widget)
    assert not dialog.make.isEnabled()
    assert "folder that contains the images" in dialog.why_not.text()
    dialog.images.set_text(str(folder_of_images))
    assert dialog.make.isEnabled()
    dialog.classes.setText(" , ")
    assert "at least one class" in dialog.why_not.text()
    dialog.deleteLater()


def test_the_dialog_offers_layers_where_there_are_some(widget, viewer, tmp_path):
    layer = viewer.add_image(np.zeros((2, 8, 8)), name="t")
    dialog = NewSessionDialog([layer], tmp_path, widget)
    assert dialog.from_layers.isChecked()
    assert dialog.plan().folder == tmp_path / "t session"
    dialog.layers.list.item(0).setCheckState(Qt.CheckState.Unchecked)
    assert "Select at least one layer" in dialog.why_not.text()
    dialog.deleteLater()


def test_a_plan_is_refused_where_a_session_is_already(folder_of_images, tmp_path):
    plan = SessionPlan(folder_of_images, tmp_path / "session")
    plan.make().close()
    assert "is already a session" in plan.missing()
    with pytest.raises(SemiGDAError, match="is already a session"):
        plan.make()


def test_planes_of_a_time_series_of_stacks_are_named_by_their_places(viewer):
    layer = viewer.add_image(np.zeros((2, 11, 8, 8)), name="film")
    names = [name for name, _ in LayerSource((layer,)).planes()]
    assert len(names) == 22
    assert names[0] == "film_0_00"
    assert names[-1] == "film_1_10"


def test_a_model_of_another_session_is_shown_and_brought_along(
    widget, make_trained, folder_of_images, tmp_path, fill_in, click, qtbot
):
    yesterday = make_trained(name="yesterday", classes=("lesion", "vessel"))
    yesterday.close()

    def fill(dialog):
        dialog.images.set_text(str(folder_of_images))
        dialog.start.set_text(str(yesterday.folder / "semigda.json"))
        assert dialog.classes.text() == "lesion, vessel"
        assert dialog.working_size.value() == 32
        for part in (dialog.preset, dialog.working_size, dialog.framing):
            assert not part.isEnabled()
            assert "Fixed by the model" in part.toolTip()
        assert "round 1 of “yesterday”" in dialog.preset_words.text()
        dialog.classes.setText("tumour, vessel, duct")

    fill_in(fill)
    click(widget.session_panel.new)
    qtbot.waitUntil(lambda: widget.controller.session is not None, timeout=PATIENCE)
    session = widget.controller.session
    assert [info.name for info in session.classes] == ["tumour", "vessel", "duct"]
    assert session.settings == yesterday.settings
    assert "round 1 of “yesterday”" in widget.session_panel.weights.text()
    assert "Runs on" in widget.session_panel.weights.toolTip()
    item = widget.controller.annotation.item
    qtbot.waitUntil(lambda: session.drafts.info(item) is not None, timeout=PATIENCE)
    assert session.drafts.info(item).round == 0


def test_what_is_wrong_with_a_model_is_said_and_it_can_be_left_out_again(widget, folder_of_images, tmp_path):
    dialog = NewSessionDialog([], tmp_path, widget)
    dialog.images.set_text(str(folder_of_images))
    dialog.start.set_text(str(tmp_path / "nothing.safetensors"))
    assert not dialog.make.isEnabled()
    assert "There is no file" in dialog.why_not.text()
    dialog.start.set_text("")
    assert dialog.make.isEnabled()
    assert dialog.preset.isEnabled()
    dialog.deleteLater()


def test_classes_removed_from_a_model_are_none_of_the_new_session(make_trained, folder_of_images, tmp_path):
    yesterday = make_trained(name="yesterday", classes=("lesion", "vessel", "duct"))
    yesterday.classes.remove(2)
    record = yesterday.rounds.begin(Recipe(), Budget(steps=1), 0, warm=True)
    metadata = {"class_names": yesterday.classes.names, "settings": yesterday.settings.to_dict()}
    save_checkpoint(yesterday.rounds.folder(record.number) / MODEL, SemiGDANet("compact", 4), metadata)
    model = TrainedModel.find(yesterday.folder)
    plan = SessionPlan(folder_of_images, tmp_path / "new", ("lesion", "duct"), start=model)
    with plan.make() as session:
        assert [(info.value, info.name) for info in session.classes] == [(1, "lesion"), (3, "duct")]
    too_few = SessionPlan(folder_of_images, tmp_path / "x", ("lesion",), start=model)
    assert "name at least as many" in too_few.missing()


def test_a_device_that_is_not_there_is_told_and_the_work_goes_on(widget, make_session, preferences, notices):
    preferences().computing.device = "cuda" if not torch.cuda.is_available() else "mps"
    widget.controller.adopt(make_session())
    assert any("fastest device" in notice for notice in notices())
    assert widget.controller.runner.engine.device.type in ("cpu", "cuda", "mps")


def test_what_a_session_fetches_is_kept_in_the_folder_of_the_preferences(
    widget, make_session, preferences, tmp_path, monkeypatch
):
    monkeypatch.setenv("SEMIGDA_CACHE", str(tmp_path / "environment"))
    assert download_folder() == tmp_path / "environment"
    preferences().computing.cache_folder = str(tmp_path / "chosen")
    widget.controller.adopt(make_session())
    assert download_folder() == tmp_path / "chosen"


def test_images_are_added_later_and_what_was_done_stays(
    widget, viewer, make_session, folder_of_images, monkeypatch, click, qtbot, notices
):
    session = make_session(count=2)
    widget.controller.adopt(session)
    first = session.items[0]
    widget.image_panel.jump.setValue(1)
    painted = paint(viewer)
    click(widget.mask_panel.accept)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder_of_images))
    widget.session_panel.add_folder.press()
    qtbot.waitUntil(lambda: len(widget.controller.session.items) == 6, timeout=PATIENCE)
    again = widget.controller.session
    assert again.read_only is None
    assert [item.id for item in again.items[:2]] == [item.id for item in session.items[:2]]
    assert len({item.id for item in again.items}) == 6
    np.testing.assert_array_equal(again.labels.get(first.id), painted)
    assert widget.controller.annotation.item.id == first.id
    widget.session_panel.add_folder.press()
    qtbot.waitUntil(lambda: any("No new image" in notice for notice in notices()), timeout=PATIENCE)
    assert len(widget.controller.session.items) == 6


@pytest.fixture
def add_layers(widget, monkeypatch):
    """Chooses Add… › Layers…, answers its dialog, and says which layers it offered."""

    def add_layers(answer=lambda dialog: None):
        offered = []

        def answered(dialog):
            rows = dialog.layers.list
            offered.extend(rows.item(place).text() for place in range(rows.count()))
            answer(dialog)
            dialog.add.click()
            return QDialog.DialogCode(dialog.result())

        monkeypatch.setattr(AddLayersDialog, "exec", answered)
        section = widget.session_panel
        section.add.entries.aboutToShow.emit()
        section.add_layers.press()
        return offered

    return add_layers


def test_layers_are_added_plane_by_plane_and_what_was_done_stays(
    widget, viewer, make_session, add_layers, click, qtbot, notices
):
    session = make_session(count=2)
    widget.controller.adopt(session)
    widget.image_panel.jump.setValue(2)
    painted = paint(viewer)
    click(widget.mask_panel.accept)
    stack = np.arange(3 * 40 * 50, dtype=np.uint16).reshape(3, 40, 50)
    viewer.add_image(stack, name="stack", scale=(2, 0.5, 0.25), units=("um", "um", "um"))
    viewer.add_image(np.zeros((30, 20, 3), np.uint8), name="color", rgb=True)
    viewer.add_image(np.zeros((30, 20), np.uint8), name="gray")

    assert add_layers() == ["stack  (3 × 40 × 50)", "color  (30 × 20 × 3)", "gray  (30 × 20)"]
    qtbot.waitUntil(lambda: len(widget.controller.session.items) == 7, timeout=PATIENCE)

    again = widget.controller.session
    assert again.read_only is None
    assert [item.name for item in again.items[2:]] == ["stack_0", "stack_1", "stack_2", "color", "gray"]
    np.testing.assert_array_equal(again.labels.get(session.items[1]), painted)
    assert widget.controller.annotation.item.id == session.items[1].id
    plane = again.picture(again.items[3])
    np.testing.assert_array_equal(plane.pixels, stack[1])
    assert (plane.pixel_size, plane.unit) == (pytest.approx((0.5, 0.25)), "µm")
    assert again.picture(again.items[5]).pixels.shape == (30, 20, 3)
    assert not viewer.layers["stack"].visible

    add_layers()
    qtbot.waitUntil(
        lambda: any("already has these images" in notice for notice in notices()), timeout=PATIENCE
    )
    assert len(widget.controller.session.items) == 7


def test_added_layers_can_be_channels_of_the_same_images(widget, viewer, make_session, add_layers, qtbot):
    widget.controller.adopt(make_session(count=1))
    for value, name in ((1, "red"), (2, "green")):
        viewer.add_image(np.full((2, 40, 50), value, np.uint8), name=name)
    add_layers(lambda dialog: dialog.layers.as_channels.setChecked(True))
    qtbot.waitUntil(lambda: len(widget.controller.session.items) == 3, timeout=PATIENCE)
    pixels = widget.controller.session.picture("red_0").pixels
    assert (pixels == (1, 2)).all()


def test_without_other_layers_there_is_a_reason_why_none_can_be_added(widget, make_session):
    widget.controller.adopt(make_session(count=1))
    section = widget.session_panel
    section.add.entries.aboutToShow.emit()
    assert not section.add_layers.isEnabled()
    assert "besides those of the session" in section.add_layers.toolTip()


def test_planes_of_different_layers_never_share_a_name(tmp_path):
    layers = (Image(np.zeros((2, 8, 8)), name="a"), Image(np.ones((9, 9)), name="a_0"))
    assert list(LayerSource(layers).pictures()) == ["a_0", "a_1", "a_0 (2)"]


def test_opening_asks_for_a_folder(widget, make_session, monkeypatch, click):
    session = make_session()
    session.close()
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(session.folder))
    click(widget.session_panel.open)
    assert widget.controller.session.folder == session.folder
    assert widget.session_panel.name.text() == "<b>session</b>: 0 of 6 accepted"


def test_a_session_that_cannot_be_opened_leaves_the_one_before(
    widget, viewer, make_session, tmp_path, notices
):
    session = make_session()
    widget.open_session(session.folder)
    paint(viewer)
    widget.open_session(tmp_path / "nowhere")
    assert notices()
    assert widget.controller.session.folder == session.folder
    assert mask_layer(viewer).data.any()


def test_drawn_samples_make_a_session_and_are_gone_on_with(
    widget, tmp_path, monkeypatch, click, qtbot, answer
):
    monkeypatch.setattr("napari_semigda.widgets.panels.session.user_data_path", lambda _: tmp_path)
    click(widget.session_panel.samples)
    qtbot.waitUntil(lambda: widget.controller.session is not None, timeout=PATIENCE)
    assert len(widget.controller.session.items) == 44
    click(widget.mask_panel.no_object)
    click(widget.session_panel.close_session)
    answer("Cancel")
    click(widget.session_panel.samples)
    assert widget.controller.session is None
    answer()
    click(widget.session_panel.samples)
    assert "1 of 44 accepted" in widget.session_panel.name.text()


def test_classes_are_shown_picked_renamed_and_added(widget, make_session, viewer, click, qtbot):
    session = make_session(classes=("lesion",))
    widget.controller.adopt(session)
    rows = widget.classes_panel.list
    assert [rows.item(row).text() for row in range(3)][:2] == ["lesion", "Background"]
    rows.item(0).setText("cyst")
    assert session.classes[0].name == "cyst"
    click(widget.classes_panel.add)
    assert [info.value for info in session.classes] == [1, 2]
    assert mask_layer(viewer).selected_label == 2
    rows.setCurrentRow(0)
    assert mask_layer(viewer).selected_label == 1
    with Session.open(session.folder) as again:
        assert again.classes == session.classes


def test_a_class_takes_another_color(widget, make_session, viewer, monkeypatch):
    session = make_session(classes=("lesion", "vessel"))
    widget.controller.adopt(session)
    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: QColor("#123456"))
    widget.classes_panel.list.setCurrentRow(1)
    widget.classes_panel.recolor.press()
    assert session.classes[1].color == "#123456"
    np.testing.assert_allclose(
        mask_layer(viewer).colormap.color_dict[2], [0x12 / 255, 0x34 / 255, 0x56 / 255, 1], atol=0.01
    )
    monkeypatch.setattr(QColorDialog, "getColor", lambda *_: QColor())  # cancelled
    widget.classes_panel.recolor.press()
    assert session.classes[1].color == "#123456"


def test_the_space_bar_ticks_a_class_and_letters_are_left_to_the_canvas(widget, make_session, qtbot):
    widget.controller.adopt(make_session(classes=("lesion", "vessel")))
    rows = widget.classes_panel.list
    rows.setCurrentRow(0)
    qtbot.keyClick(rows, Qt.Key.Key_V)  # a list would search for it
    assert rows.currentRow() == 0
    qtbot.keyClick(rows, Qt.Key.Key_Space)
    assert rows.item(0).checkState() == Qt.CheckState.Unchecked


def test_a_class_is_hidden_by_its_tick_and_shown_when_it_is_painted(widget, make_session, viewer):
    widget.controller.adopt(make_session(classes=("lesion", "vessel")))
    rows = widget.classes_panel.list
    rows.item(1).setCheckState(Qt.CheckState.Unchecked)
    colors = mask_layer(viewer).colormap.color_dict
    assert colors[2][3] == 0
    assert colors[1][3] == 1
    mask_layer(viewer).selected_label = 2
    assert rows.item(1).checkState() == Qt.CheckState.Checked
    assert mask_layer(viewer).colormap.color_dict[2][3] == 1
    rows.item(1).setCheckState(Qt.CheckState.Unchecked)
    paint(viewer)
    assert rows.item(1).checkState() == Qt.CheckState.Checked
    assert mask_layer(viewer).colormap.color_dict[2][3] == 1


def test_a_class_in_use_is_deleted_only_after_asking(widget, make_session, viewer, click, answer):
    session = make_session(classes=("lesion", "vessel"))
    widget.controller.adopt(session)
    section, item = widget.classes_panel, widget.controller.annotation.item
    mask_layer(viewer).selected_label = 2
    painted = paint(viewer)
    click(widget.mask_panel.accept)
    asked = answer()
    section.remove.press()
    assert asked == ["“vessel” is painted in 1 image, which is accepted."]
    np.testing.assert_array_equal(session.labels.get(item), painted)
    answer("Remove class")
    section.remove.press()
    assert [info.name for info in session.classes] == ["lesion"]
    np.testing.assert_array_equal(session.labels.get(item), np.where(painted == 2, 255, painted))
    np.testing.assert_array_equal(mask_layer(viewer).data, session.labels.get(item))
    assert mask_layer(viewer).selected_label == 1
    mask_layer(viewer).undo()
    assert 2 not in mask_layer(viewer).data
    assert not section.remove.isEnabled()
    assert "at least one class" in section.remove.toolTip()


def test_a_new_class_asks_whether_it_occurs_in_accepted_masks(
    widget, make_session, viewer, click, answer, qtbot
):
    session = make_session(classes=("lesion",))
    widget.controller.adopt(session)
    section, item = widget.classes_panel, widget.controller.annotation.item
    painted = paint(viewer)
    click(widget.mask_panel.accept)
    widget.controller.annotation.show(item)
    assert not section.restore.isEnabled()
    asked = answer("Unlabel background")
    section.add.click()
    editor = section.list.findChild(QLineEdit)
    editor.setText("vessel")
    qtbot.keyClick(editor, Qt.Key.Key_Return)
    unlabeled = np.where(painted == 0, 255, painted)
    qtbot.waitUntil(lambda: np.array_equal(session.labels.get(item), unlabeled))
    assert asked == ["Does “vessel” occur in the image that is already accepted?"]
    np.testing.assert_array_equal(mask_layer(viewer).data, unlabeled)
    assert mask_layer(viewer).selected_label == 2
    qtbot.waitUntil(section.restore.isEnabled)
    section.restore.press()
    np.testing.assert_array_equal(session.labels.get(item), painted)
    np.testing.assert_array_equal(mask_layer(viewer).data, painted)


def test_keeping_the_background_changes_no_mask(widget, make_session, viewer, click, answer):
    session = make_session(classes=("lesion", "vessel"))
    widget.controller.adopt(session)
    section, item = widget.classes_panel, widget.controller.annotation.item
    assert "No mask" in section.unlabel.toolTip()
    painted = paint(viewer)
    click(widget.mask_panel.accept)
    section.list.setCurrentRow(1)
    answer()
    section.unlabel.press()
    np.testing.assert_array_equal(session.labels.get(item), painted)


def test_a_class_painted_but_nowhere_accepted_is_told_as_that(widget, make_session, viewer, answer):
    widget.controller.adopt(make_session(classes=("lesion", "vessel")))
    mask_layer(viewer).selected_label = 2
    paint(viewer)
    asked = answer("Cancel")
    widget.classes_panel.remove.press()
    assert asked == ["“vessel” is painted in 1 image, which is not accepted."]


def test_a_class_that_is_nowhere_is_deleted_without_asking(widget, make_session, monkeypatch):
    session = make_session(classes=("lesion", "vessel"))
    widget.controller.adopt(session)
    monkeypatch.setattr(QMessageBox, "exec", lambda *_: pytest.fail("nobody has to be asked"))
    widget.classes_panel.list.setCurrentRow(0)
    widget.classes_panel.remove.press()
    assert [info.name for info in session.classes] == ["vessel"]


def test_a_refused_name_is_told_and_the_old_one_stays(widget, make_session, qtbot, notices):
    widget.controller.adopt(make_session(classes=("lesion", "vessel")))
    rows = widget.classes_panel.list
    rows.item(1).setText("lesion")
    assert any("lesion" in notice for notice in notices())
    qtbot.waitUntil(lambda: rows.item(1).text() == "vessel")


def test_picking_a_label_in_napari_marks_the_class(widget, make_session, viewer):
    widget.controller.adopt(make_session(classes=("lesion", "vessel")))
    mask_layer(viewer).selected_label = 2
    assert widget.classes_panel.list.currentItem().text() == "vessel"


def test_a_label_that_is_no_class_cannot_be_picked(widget, make_session, viewer, notices):
    widget.controller.adopt(make_session())
    mask_layer(viewer).selected_label = 7
    assert mask_layer(viewer).selected_label == 1
    assert any("not a class" in notice for notice in notices())


def test_unknown_pixels_are_painted_and_accepted(widget, make_session, viewer, click):
    session = make_session()
    widget.controller.adopt(session)
    widget.classes_panel.list.setCurrentRow(2)
    paint(viewer, (40, 40))
    click(widget.mask_panel.accept)
    assert set(np.unique(session.labels.get(widget.controller.annotation.item))) == {0, 255}


def test_files_that_are_no_images_are_told(widget, folder_of_images, qtbot, notices):
    (folder_of_images / "broken.png").write_bytes(b"no picture")
    widget.controller.create(SessionPlan(folder_of_images, folder_of_images.with_name("s")).make)
    qtbot.waitUntil(lambda: widget.controller.session is not None, timeout=PATIENCE)
    assert any("broken.png" in notice for notice in notices())


def test_making_a_session_is_shown_in_the_activity_dock_and_cancelled_there(
    widget, folder_of_images, qtbot, notices
):
    plan = SessionPlan(folder_of_images, folder_of_images.with_name("s"))
    pressed = threading.Event()

    def when_pressed(progress, cancelled):
        pressed.wait()
        return plan.make(progress, cancelled)

    widget.controller.create(when_pressed)
    activity("reading the images").cancel()
    pressed.set()
    qtbot.waitUntil(lambda: not widget.controller.is_creating, timeout=PATIENCE)
    assert widget.controller.session is None
    assert not plan.folder.exists()
    assert not notices()


def test_samples_open_from_naparis_file_menu(viewer):
    for key in ("lesions", "cells"):
        pictures, masks = viewer.open_sample("napari-semigda", key)
        assert pictures.data.shape == masks.data.shape == (22, 128, 128)
        assert set(np.unique(masks.data)) == {0, 1}
        assert masks.data.reshape(22, -1).any(axis=1).all()


def test_the_menus_offer_the_dock(viewer):
    from app_model import Application

    app = Application.get_app("test_app")
    for menu in ("napari/plugins", "napari/layers/segment"):
        entries = [getattr(item, "command", None) for item in app.menus.get_menu(menu)]
        assert any(entry is not None and entry.id == "napari-semigda.annotate_and_train" for entry in entries)


def test_a_session_open_elsewhere_can_be_looked_at_only(viewer, dock, make_session):
    dock, session = dock(), make_session()  # which stays open, as in another window

    dock.open_session(session.folder)

    section = dock.session_panel
    assert "read-only" in section.name.text()
    assert "is open elsewhere" in section.name.toolTip()
    assert not mask_layer(viewer).editable
    masks = dock.mask_panel
    for button in (masks.accept, masks.clear, dock.image_panel.skip, dock.train_panel.train):
        assert not button.isEnabled()
        assert "is open elsewhere" in button.toolTip()
    dock.image_panel.next.click()
    assert dock.controller.annotation.position == 1
    assert not mask_layer(viewer).editable

    session.close()
    dock.open_session(session.folder)
    assert "read-only" not in section.name.text()
    assert mask_layer(viewer).editable
    assert masks.accept.isEnabled()


def test_moved_images_are_found_again_from_the_dock(
    viewer, dock, folder_of_images, tmp_path, qtbot, monkeypatch, notices
):
    Session.create(tmp_path / "session", folder_of_images).close()
    folder_of_images.rename(tmp_path / "moved")
    dock = dock()
    dock.open_session(tmp_path / "session")
    assert any("is missing" in notice for notice in notices())
    assert not viewer.layers
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path / "moved"))

    dock.session_panel.find_moved.trigger()
    qtbot.waitUntil(lambda: bool(viewer.layers), timeout=PATIENCE)

    assert any("4 images were found again." in notice for notice in notices())
    assert mask_layer(viewer).editable
