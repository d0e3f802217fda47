"""Label maps become pictures and come back exactly."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_semigda.model.annotation import (
    MOST_CLASSES,
    UNKNOWN,
    class_palette,
    image_to_probabilities,
    labels_to_image,
)


def test_two_classes_are_black_and_white_on_all_channels() -> None:
    labels = torch.tensor([[[0, 1], [1, 0]]], dtype=torch.uint8)
    image = labels_to_image(labels, 2)
    expected = torch.tensor([[-1.0, 1.0], [1.0, -1.0]]).expand(1, 3, 2, 2)
    torch.testing.assert_close(image, expected)


def test_the_binary_probability_is_the_shifted_channel_mean() -> None:
    image = (
        torch.tensor([-3.0, -1.0, 0.5, 1.0]).reshape(1, 1, 2, 2) + torch.tensor([-0.1, 0, 0.1])[:, None, None]
    )
    foreground = image_to_probabilities(image, 2)[:, 1]
    torch.testing.assert_close(foreground, torch.tensor([[[0.0, 0.0], [0.75, 1.0]]]))


@given(classes=st.integers(2, MOST_CLASSES), seed=st.integers(0, 999))
def test_every_label_map_comes_back(classes: int, seed: int) -> None:
    labels = torch.randint(classes, (1, 5, 7), generator=torch.Generator().manual_seed(seed))
    probabilities = image_to_probabilities(labels_to_image(labels, classes), classes)
    assert probabilities.shape == (1, classes, 5, 7)
    assert torch.equal(probabilities.argmax(dim=1), labels)
    assert probabilities.amax(dim=1).min() > 0.99
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(1, 5, 7))


@pytest.mark.parametrize("classes", [2, 3, 8, 20, MOST_CLASSES])
def test_every_class_comes_back(classes: int) -> None:
    labels = torch.arange(classes).reshape(1, 1, classes)
    assert torch.equal(image_to_probabilities(labels_to_image(labels, classes), classes).argmax(1), labels)


def test_every_class_comes_back_in_the_midst_of_half_precision() -> None:
    labels = torch.arange(MOST_CLASSES).reshape(1, 1, MOST_CLASSES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        probabilities = image_to_probabilities(labels_to_image(labels, MOST_CLASSES), MOST_CLASSES)
    assert torch.equal(probabilities.argmax(1), labels)
    assert probabilities.amax(dim=1).min() > 0.99


@pytest.mark.parametrize(
    ("classes", "best"),
    [(2, 12**0.5), (3, 8**0.5), (4, 8**0.5), (8, 2.0), (9, 3**0.5), (14, 2**0.5)],
)
def test_colors_are_as_far_apart_as_any_can_be(classes: int, best: float) -> None:
    """The best spreads of so many points in a cube, from the packing literature."""
    distances = torch.pdist(class_palette(classes).double())
    assert float(distances.min()) == pytest.approx(best, abs=1e-6)


@given(classes=st.integers(2, MOST_CLASSES))
def test_more_classes_still_have_colors_of_their_own_in_the_cube(classes: int) -> None:
    palette = class_palette(classes)
    assert palette.shape == (classes, 3)
    assert palette.abs().max() <= 1
    assert torch.equal(palette[0], torch.full((3,), -1.0))
    assert torch.pdist(palette).min() > 0.4


@given(share=st.floats(0, 1))
def test_a_blurred_edge_between_two_classes_never_reads_as_a_third(share: float) -> None:
    palette = class_palette(4)
    blurred = ((1 - share) * palette[0] + share * palette[2]).reshape(1, 3, 1, 1)
    assert int(image_to_probabilities(blurred, 4).argmax()) in (0, 2)


def test_a_changed_palette_does_not_change_the_next_one() -> None:
    class_palette(5).zero_()
    assert torch.pdist(class_palette(5)).min() == 2


@pytest.mark.parametrize("classes", [-1, 0, 1, 255])
def test_there_are_two_to_254_classes(classes: int) -> None:
    with pytest.raises(ValueError, match="2 to 254 classes"):
        class_palette(classes)


def test_unknown_pixels_cannot_be_painted() -> None:
    with pytest.raises(ValueError, match="255"):
        labels_to_image(torch.full((1, 2, 2), UNKNOWN, dtype=torch.uint8), 3)
