"""What training sees of a session: prepared when drawn, kept within bounds, unreadable images left out."""

from pathlib import Path

import numpy as np
import pytest
import torch

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import ImageSettings, frame, normalise
from napari_semigda.session.examples import ExampleCache
from napari_semigda.session.session import Session
from napari_semigda.training.examples import Example


@pytest.fixture
def labelled(session: Session) -> Session:
    session.settings = ImageSettings(working_size=32)
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


def test_accepted_items_are_labelled_and_the_others_are_not(labelled: Session) -> None:
    with_labels, without = labelled.examples()
    assert [item.id for item in with_labels.items] == ["image_1", "stack_p0002"]
    assert [item.id for item in without.items] == ["image_2", "stack_p0001", "stack_p0003"]
    assert (len(with_labels), len(without)) == (2, 3)
    assert all((one.labels == 255).all() for one in without)


def test_an_example_is_the_prepared_picture_with_its_mask(labelled: Session) -> None:
    drawn = labelled.examples()[0][1]
    image = normalise(labelled.picture("stack_p0002").pixels, labelled.settings)
    expected = frame(image, labelled.labels("stack_p0002"), labelled.settings)
    assert drawn.image.dtype == torch.float16, "half the room in memory"
    torch.testing.assert_close(drawn.image.float(), expected.image, atol=1 / 2048, rtol=0)
    assert torch.equal(drawn.labels, expected.labels)
    assert torch.equal(drawn.valid, expected.valid)
    assert drawn.image.shape == (3, 32, 32)
    assert set(drawn.labels.unique().tolist()) == {0, 1, 255}


def test_drawing_again_gives_the_same_numbers(labelled: Session) -> None:
    examples = labelled.examples()[0]
    for first, again in zip(examples[0], examples[0], strict=True):
        assert torch.equal(first, again)


def test_tiles_keep_the_resolution_of_the_picture(labelled: Session) -> None:
    labelled.settings = ImageSettings(working_size=32, framing="tiles", zoom=2.0)
    assert labelled.examples()[0][0].image.shape == (3, 80, 62)


def test_a_list_handed_out_stays_as_it_is_but_masks_are_up_to_date(labelled: Session) -> None:
    with_labels, without = labelled.examples()
    assert with_labels[0].labels.max() == 255
    everything = np.ones(labelled.item("image_1").shape, np.uint8)
    labelled.accept("image_1", everything)
    labelled.accept("image_2", np.ones(labelled.item("image_2").shape, np.uint8))
    assert [item.id for item in with_labels.items] == ["image_1", "stack_p0002"]
    assert len(without) == 3
    drawn = with_labels[0]
    assert (drawn.labels[drawn.valid] == 1).all()
    assert len(labelled.examples()[0]) == 3


def test_a_resumed_round_sees_the_masks_it_began_with(labelled: Session) -> None:
    began_with = [item.id for item in labelled.examples()[0].items]
    labelled.accept("image_2", np.ones(labelled.item("image_2").shape, np.uint8))
    with_labels, without = labelled.examples(began_with)
    assert [item.id for item in with_labels.items] == ["image_1", "stack_p0002"]
    assert [item.id for item in without.items] == ["image_2", "stack_p0001", "stack_p0003"]
    assert (without[0].labels == 255).all()


def test_indices_and_slices_are_those_of_a_sequence(labelled: Session) -> None:
    examples = labelled.examples()[1]
    assert torch.equal(examples[-1].image, examples[2].image)
    assert [part.image.shape for part in examples[1:]] == [(3, 32, 32)] * 2
    with pytest.raises(IndexError):
        examples[3]


def test_an_unreadable_picture_is_replaced_by_another_and_named_once(
    labelled: Session, pictures: Path
) -> None:
    (pictures / "image 1.png").write_bytes(b"damaged")
    examples = labelled.examples()[0]
    for _ in range(3):
        assert torch.equal(examples[0].image, examples[1].image)
    (warning,) = labelled.warnings
    assert "image 1.png is left out of training" in warning


def test_a_damaged_mask_is_left_out_too(labelled: Session) -> None:
    (labelled.folder / "labels" / "image_1.tif").write_bytes(b"damaged")
    examples = labelled.examples()[0]
    assert torch.equal(examples[0].labels, examples[1].labels)
    assert "image_1.tif" in labelled.warnings[0]


def test_nothing_readable_at_all_is_told(labelled: Session, pictures: Path) -> None:
    for path in pictures.rglob("*.*"):
        path.unlink()
    with pytest.raises(SemiGDAError, match="Not one of 2 labelled images can be read"):
        labelled.examples()[0][0]


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
