from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_semigda.model.annotation import image_to_probabilities, labels_to_image
from napari_semigda.training.augmentation import mix, random_boxes
from napari_semigda.training.losses import (
    alignment_loss,
    cross_entropy_loss,
    dice_loss,
    latent_weights,
    one_hot,
    pseudo_labels,
    segmentation_loss,
)

seeds = st.integers(0, 2**31)


def random_probabilities(seed: int, classes: int = 2, size: int = 16) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, classes, size, size, generator=generator).softmax(dim=1)


@given(seeds, st.integers(2, 5))
def test_dice_is_zero_for_the_truth_and_near_one_for_its_opposite(seed: int, classes: int) -> None:
    labels = random_probabilities(seed, classes).argmax(dim=1)
    truth = one_hot(labels, classes)
    everywhere = torch.ones(labels.shape)
    assert dice_loss(truth, truth, everywhere).item() == pytest.approx(0, abs=1e-6)
    other = one_hot((labels + 1) % classes, classes)
    assert dice_loss(other, truth, everywhere).item() > 0.9


@given(seeds)
def test_pixels_without_weight_change_neither_loss_nor_gradient(seed: int) -> None:
    probabilities = random_probabilities(seed).requires_grad_()
    truth = one_hot(random_probabilities(seed + 1).argmax(dim=1), 2)
    weights = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(seed)) < 0.5
    loss = dice_loss(probabilities, truth, weights)
    loss.backward()
    assert not probabilities.grad[~weights[:, None].expand_as(truth)].any()
    disturbed = torch.where(weights[:, None], probabilities.detach(), 0.123)
    assert torch.equal(dice_loss(disturbed, truth, weights), loss.detach())


def test_an_empty_target_still_pulls_the_prediction_down() -> None:
    probabilities = torch.full((1, 2, 8, 8), 0.5, requires_grad=True)
    loss = dice_loss(probabilities, one_hot(torch.zeros(1, 8, 8), 2), torch.ones(1, 8, 8))
    loss.backward()
    assert (probabilities.grad[:, 1] > 0).all()


def test_a_batch_in_which_nothing_counts_costs_nothing() -> None:
    probabilities = random_probabilities(0).requires_grad_()
    loss = dice_loss(probabilities, one_hot(torch.ones(2, 16, 16), 2), torch.zeros(2, 16, 16))
    loss.backward()
    assert loss.item() == 0
    assert not probabilities.grad.any()


def test_each_image_counts_alike_whatever_the_size_of_its_object() -> None:
    truth = torch.zeros(2, 32, 32, dtype=torch.long)
    truth[0, :2, :2], truth[1, :16, :16] = 1, 1
    missed = torch.zeros(2, 32, 32, dtype=torch.long)
    missed[1] = truth[1]
    loss = dice_loss(one_hot(missed, 2), one_hot(truth, 2), torch.ones(2, 32, 32))
    assert loss.item() == pytest.approx(0.5, abs=0.15)


@pytest.mark.parametrize("classes", range(2, 10))
def test_classes_that_are_not_there_do_not_outweigh_the_one_that_is(classes: int) -> None:
    labels = torch.zeros(1, 128, 128, dtype=torch.long)
    labels[:, 20:60, 30:70] = classes - 1
    exact = image_to_probabilities(labels_to_image(labels, classes), classes)
    everywhere = torch.ones(labels.shape)
    assert dice_loss(exact, one_hot(labels, classes), everywhere).item() < 0.02
    if classes > 2:
        wrong = labels.clone()
        wrong[:, 100:, 100:] = 1
        mistaken = image_to_probabilities(labels_to_image(wrong, classes), classes)
        assert dice_loss(mistaken, one_hot(labels, classes), everywhere).item() > 0.4


def test_latents_next_to_an_unknown_pixel_do_not_count() -> None:
    known = torch.ones(1, 64, 64, dtype=torch.bool)
    known[0, 35, 20] = False  # lies in latent row 4, column 2
    weights = latent_weights(known)[0, 0]
    expected = torch.ones(8, 8)
    expected[3:6, 1:4] = 0
    assert torch.equal(weights, expected)


@given(seeds)
def test_alignment_is_the_mean_square_and_moves_only_the_first(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    latent = torch.randn(2, 4, 4, 4, generator=generator, requires_grad=True)
    target = torch.randn(2, 4, 4, 4, generator=generator, requires_grad=True)
    loss = alignment_loss(latent, target, torch.ones(2, 1, 4, 4))
    loss.backward()
    assert loss.item() == pytest.approx(torch.nn.functional.mse_loss(latent, target).item(), rel=1e-5)
    assert target.grad is None


def test_hard_pseudo_labels_need_a_sure_branch() -> None:
    probabilities = torch.tensor([0.0, 0.5, 0.93, 0.94, 1.0]).view(1, 1, 1, 5)
    hard = pseudo_labels(torch.cat([1 - probabilities, probabilities], dim=1), "hard", 0.1, False)
    assert hard[0, 1, 0].tolist() == [0, 0, 0, 1, 1]
    assert torch.equal(hard.sum(dim=1), torch.ones(1, 1, 5))


def test_soft_pseudo_labels_are_the_probabilities_without_their_gradient() -> None:
    probabilities = random_probabilities(3, 4).requires_grad_()
    soft = pseudo_labels(probabilities, "soft", 0.1, False)
    assert torch.allclose(soft, probabilities, atol=1e-6)
    assert not soft.requires_grad


def test_one_object_an_image_keeps_the_largest_component() -> None:
    foreground = torch.zeros(1, 1, 16, 16)
    foreground[..., 2:8, 2:8], foreground[..., 12:14, 12:14] = 0.99, 0.99
    labels = pseudo_labels(torch.cat([1 - foreground, foreground], dim=1), "hard", 0.1, True)
    assert labels[0, 1].sum() == 36
    assert labels[0, 1, 3, 3] == 1
    unsure = pseudo_labels(
        torch.full((1, 2, 16, 16), 0.5) - torch.tensor([-0.1, 0.1]).view(1, 2, 1, 1), "soft", 0.1, True
    )
    assert unsure[0, 1].min() == pytest.approx(0.4)
    everything = pseudo_labels(torch.cat([1 - foreground, foreground], dim=1), "hard", 0.1, False)
    assert everything[0, 1].sum() == 40


@given(seeds, st.integers(4, 40), st.floats(0.1, 1.0))
def test_mixing_swaps_a_box_and_loses_nothing(seed: int, size: int, side: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    first = torch.randn(3, 2, size, size, generator=generator)
    second = torch.randn(3, 2, size, size, generator=generator)
    boxes = random_boxes(3, size, side, generator)
    assert (boxes.sum(dim=(1, 2)) == max(1, round(size * side)) ** 2).all()
    mixed = mix(first, second, boxes)
    inside = boxes[:, None].expand_as(first)
    assert torch.equal(mixed[:3][inside], second[inside])
    assert torch.equal(mixed[3:][~inside], second[~inside])
    assert torch.equal(mix(mixed[:3], mixed[3:], boxes)[:3], first)


def test_for_two_classes_the_loss_is_dice_alone() -> None:
    first, second = random_probabilities(1), random_probabilities(2)
    weights = torch.rand(first.shape[0], 16, 16) > 0.3
    assert torch.equal(segmentation_loss(first, second, weights), dice_loss(first, second, weights))


def test_a_class_that_no_target_has_is_pushed_out_however_much_of_the_image_it_wins() -> None:
    """Dice alone even pulls it in: it pushes class 1 out of the background, wherever to."""
    target = torch.zeros(1, 3, 32, 32)
    target[:, 0, :, :16], target[:, 1, :, 16:] = 1, 1
    weights = torch.ones(1, 32, 32)

    def push(loss: Callable[..., torch.Tensor]) -> float:
        logits = 8 * target - 4
        logits[..., :16] = torch.tensor([-0.1, -0.1, 0.1])[None, :, None, None]
        logits.requires_grad_()
        loss(logits.softmax(dim=1), target, weights).backward()
        assert logits.grad is not None
        return float(logits.grad[0, 2, :, :16].mean())

    assert push(dice_loss) < 0 < push(segmentation_loss)


def test_a_class_that_seems_impossible_can_still_be_learned() -> None:
    logits = torch.tensor([[30.0, -30.0, -30.0]]).T.reshape(1, 3, 1, 1).requires_grad_()
    target = torch.tensor([0.0, 0.0, 1.0]).reshape(1, 3, 1, 1)
    segmentation_loss(logits.softmax(dim=1), target, torch.ones(1, 1, 1)).backward()
    assert logits.grad is not None
    assert float(logits.grad[0, 2]) < -0.5


def test_unlabeled_pixels_take_no_part_in_cross_entropy() -> None:
    probabilities = random_probabilities(3, 3)
    target = one_hot(torch.randint(3, (len(probabilities), 16, 16)), 3)
    weights = torch.zeros(len(probabilities), 16, 16, dtype=torch.bool)
    assert float(cross_entropy_loss(probabilities, target, weights)) == 0
    weights[:, 3:5] = True
    other = probabilities.clone()
    other[:, :, 8:] = random_probabilities(4, 3)[:, :, 8:]
    assert cross_entropy_loss(probabilities, target, weights) == cross_entropy_loss(other, target, weights)


def test_one_object_of_several_classes_is_kept_whole() -> None:
    probabilities = torch.zeros(1, 3, 16, 16)
    probabilities[:, 1, 2:10, 2:10], probabilities[:, 2, 4:6, 4:6] = 0.9, 0.9
    probabilities[:, 1, 4:6, 4:6] = 0.05
    probabilities[:, 2, 12:15, 12:15] = 0.9  # a larger piece of class 2, but not the larger object
    probabilities[:, 0] = 1 - probabilities[:, 1:].sum(dim=1)
    kept = pseudo_labels(probabilities, "soft", 0.1, True)
    assert kept[0, 2, 5, 5] == pytest.approx(0.9)
    assert kept[0, 2, 13, 13] == 0
