"""What training sees of a session: prepared when drawn, kept within bounds, unreadable images left out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import ImageSettings, frame, normalize
from napari_semigda.io import bands
from napari_semigda.session.examples import ExampleCache
from napari_semigda.session.session import Session
from napari_semigda.training.data import Example, cut_window, draw_batch
from tests.stores import noise, write_store


@pytest.fixture
def labeled(session: Session) -> Session:
    session.update(settings=ImageSettings(working_size=32))
    for item_id in ("image_1", "stack_p0002"):
        mask = np.zeros(session.item(item_id).shape, np.uint8)
        mask[5:15, 5:15] = 1
        mask[20:] = 255
        session.accept(item_id, mask)
    session.skip("image_3")
    return session


def example(side: int, value: float = 0.0) -> Example:
    return Example(
        torch.full((3, side, side), value),
        torch.zeros((side, side), dtype=torch.uint8),
        torch.ones((side, side), dtype=torch.bool),
    )


def test_accepted_items_are_labeled_and_the_others_are_not(labeled: Session) -> None:
    with_labels, without = labeled.examples()
    assert [item.id for item in with_labels.items] == ["image_1", "stack_p0002"]
    assert [item.id for item in without.items] == ["image_2", "stack_p0001", "stack_p0003"]
    assert (len(with_labels), len(without)) == (2, 3)
    assert all((one.labels == 255).all() for one in without)


def test_an_example_is_the_prepared_picture_with_its_mask(labeled: Session) -> None:
    drawn = labeled.examples()[0][1]
    image = normalize(labeled.picture("stack_p0002").pixels, labeled.settings)
    expected = frame(image, labeled.labels.get("stack_p0002"), labeled.settings)
    assert drawn.image.dtype == torch.float16, "half the room in memory"
    torch.testing.assert_close(drawn.image.float(), expected.image, atol=1 / 2048, rtol=0)
    assert torch.equal(drawn.labels, expected.labels)
    assert torch.equal(drawn.valid, expected.valid)
    assert drawn.image.shape == (3, 32, 32)
    assert set(drawn.labels.unique().tolist()) == {0, 1, 255}


def test_drawing_again_gives_the_same_numbers(labeled: Session) -> None:
    examples = labeled.examples()[0]
    for first, again in zip(examples[0], examples[0], strict=True):
        assert torch.equal(first, again)


def test_tiles_keep_the_resolution_of_the_picture(labeled: Session) -> None:
    labeled.update(settings=ImageSettings(working_size=32, framing="tiles", zoom=2.0))
    assert labeled.examples()[0][0].image.shape == (3, 80, 62)


def test_a_list_handed_out_stays_as_it_is_but_masks_are_up_to_date(labeled: Session) -> None:
    with_labels, without = labeled.examples()
    assert with_labels[0].labels.max() == 255
    everything = np.ones(labeled.item("image_1").shape, np.uint8)
    labeled.accept("image_1", everything)
    labeled.accept("image_2", np.ones(labeled.item("image_2").shape, np.uint8))
    assert [item.id for item in with_labels.items] == ["image_1", "stack_p0002"]
    assert len(without) == 3
    drawn = with_labels[0]
    assert (drawn.labels[drawn.valid] == 1).all()
    assert len(labeled.examples()[0]) == 3


def test_a_resumed_round_sees_the_masks_it_began_with(labeled: Session) -> None:
    began_with = [item.id for item in labeled.examples()[0].items]
    labeled.accept("image_2", np.ones(labeled.item("image_2").shape, np.uint8))
    with_labels, without = labeled.examples(began_with)
    assert [item.id for item in with_labels.items] == ["image_1", "stack_p0002"]
    assert [item.id for item in without.items] == ["image_2", "stack_p0001", "stack_p0003"]
    assert (without[0].labels == 255).all()


def test_indices_and_slices_are_those_of_a_sequence(labeled: Session) -> None:
    examples = labeled.examples()[1]
    assert torch.equal(examples[-1].image, examples[2].image)
    assert [part.image.shape for part in examples[1:]] == [(3, 32, 32)] * 2
    with pytest.raises(IndexError):
        examples[3]


def test_an_unreadable_picture_is_replaced_by_another_and_named_once(
    labeled: Session, pictures: Path
) -> None:
    (pictures / "image 1.png").write_bytes(b"damaged")
    examples = labeled.examples()[0]
    for _ in range(3):
        assert torch.equal(examples[0].image, examples[1].image)
    (warning,) = labeled.warnings
    assert "image 1.png is left out of training" in warning


def test_a_damaged_mask_is_left_out_too(labeled: Session) -> None:
    (labeled.folder / "labels" / "image_1.tif").write_bytes(b"damaged")
    examples = labeled.examples()[0]
    assert torch.equal(examples[0].labels, examples[1].labels)
    assert "image_1.tif" in labeled.warnings[0]


def test_nothing_readable_at_all_is_told(labeled: Session, pictures: Path) -> None:
    for path in pictures.rglob("*.*"):
        path.unlink()
    with pytest.raises(SemiGDAError, match="None of 2 labeled images can be read"):
        labeled.examples()[0][0]


def test_the_cache_keeps_what_was_used_last_within_its_room() -> None:
    made: list[str] = []

    def make(name: str) -> Example:
        made.append(name)
        return example(16)

    room = 3 * 16 * 16 * (3 * 2 + 1 + 1)
    cache = ExampleCache(room)
    for name in "abcadbc":
        cache.get(name, lambda name=name: make(name))
        assert cache.bytes <= room
    assert made == ["a", "b", "c", "d", "b", "c"]
    cache.clear()
    assert cache.bytes == 0


def test_an_example_larger_than_the_cache_is_still_given() -> None:
    cache = ExampleCache(10)
    assert cache.get("a", lambda: example(16, 0.5)).image.mean() == 0.5
    assert cache.get("b", lambda: example(16, -0.5)).image.mean() == -0.5


# Large pictures ----------------------------------------------------------------------------------------


def _large(tmp_path: Path, zoom: float, pixels: NDArray[Any]) -> tuple[Session, NDArray[np.uint8]]:
    """A session of two stores, of which the first is labeled; its middle is an object, its end unknown."""
    stores = [write_store(tmp_path / name, pixels, "yx", chunks=(50, 50)) for name in ("a.zarr", "b.zarr")]
    settings = ImageSettings(working_size=32, framing="tiles", zoom=zoom)
    session = Session.create(tmp_path / "session", stores, settings=settings)
    mask = np.zeros(pixels.shape, np.uint8)
    mask[150:250, 100:200] = 1
    mask[300:] = 255
    session.accept(session.items[0], mask)
    return session, mask


@pytest.mark.parametrize(("zoom", "tolerance"), [(1.0, 1 / 1024), (0.5, 0.05)])
def test_windows_of_a_large_picture_are_those_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zoom: float, tolerance: float
) -> None:
    smooth = ndimage.gaussian_filter(noise((400, 360)).astype(np.float32), 4) * 100
    session, mask = _large(tmp_path, zoom, smooth.astype(np.uint16))
    image = normalize(session.picture("a").pixels, session.settings)
    whole = Example(*frame(image, mask, session.settings)[:3])
    monkeypatch.setattr(bands, "LARGE", 100)
    large = session.examples()[0][0]
    assert not isinstance(large.image, torch.Tensor)
    assert torch.equal(large.labels, whole.labels)
    for seed in range(20):
        one, other = (cut_window(given, 32, torch.Generator().manual_seed(seed)) for given in (large, whole))
        assert one.image.dtype == torch.float16
        difference = (one.image.float() - other.image).abs()
        assert difference[:, 2:-2, 2:-2].max() <= tolerance
        assert difference.max() <= 2 * tolerance, "what lies beyond the edge is not looked at"
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.valid, other.valid)


def test_only_the_windows_that_are_drawn_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bands, "LARGE", 100)
    session, _ = _large(tmp_path, 1.0, noise((400, 360)))
    for store in ("a.zarr", "b.zarr"):
        (tmp_path / store / "0" / "7.7").write_bytes(b"no chunk")  # the last one, looked at by nobody
    labeled, unlabeled = session.examples()
    batch = draw_batch(labeled, [0] * 8, 32, torch.Generator().manual_seed(0))
    assert batch.images.shape == (8, 3, 32, 32)
    assert bool(batch.known.flatten(1).any(dim=1).all())
    window = cut_window(unlabeled[0], 32, torch.Generator().manual_seed(0))
    assert (window.labels == 255).all()
    assert window.valid.all()
    assert session._examples.bytes < 2 * 8 * 2**20 + 2 * 400 * 360


def test_large_and_small_pictures_go_into_one_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = [write_store(tmp_path / f"{side}.zarr", noise((side, 90)), "yx") for side in (300, 80)]
    monkeypatch.setattr(bands, "LARGE", 80 * 90 + 1)
    settings = ImageSettings(working_size=32, framing="tiles")
    with Session.create(tmp_path / "session", stores, settings=settings) as session:
        batch = draw_batch(session.examples()[1], [0, 1], 32, torch.Generator().manual_seed(0))
    assert batch.images.dtype == torch.float32
    assert batch.images.shape == (2, 3, 32, 32)
