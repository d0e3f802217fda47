import pytest
import torch

pytest.importorskip("monai")

from baselines import MeanTeacherUNet, SupervisedUNet, UNet, consistency_loss, supervised_loss
from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.predictor import Predictor
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.model.annotation import UNKNOWN
from napari_semigda.training.data import Batch
from napari_semigda.training.recipe import Budget
from tests.training.conftest import SIZE, disc_example

LABELED = [disc_example(seed) for seed in range(3)]
UNLABELED = [disc_example(seed, labeled=False) for seed in range(10, 14)]


def trained(method, steps, **changes):
    given = {"budget": Budget(steps=steps), "working_size": SIZE, "seed": 0} | changes
    training = method(LABELED, UNLABELED, **given)
    return training, [step.loss for step in training.run()]


def weights(network):
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])


@pytest.mark.parametrize("method", [SupervisedUNet, MeanTeacherUNet])
def test_training_lowers_the_loss_and_keeps_to_the_budget(method):
    training, losses = trained(method, 8)

    assert losses[-1] < 0.9 * losses[0]
    assert training.steps_done == len(losses) == 8
    assert training.seconds_done > 0


@pytest.mark.parametrize("method", [SupervisedUNet, MeanTeacherUNet])
def test_the_same_seed_trains_the_same_weights_and_another_seed_others(method):
    first, again, other = (trained(method, 2, seed=seed)[0] for seed in (1, 1, 2))

    assert torch.equal(weights(first.predicting), weights(again.predicting))
    assert not torch.equal(weights(first.predicting), weights(other.predicting))


def test_a_time_budget_ends_training():
    training, losses = trained(SupervisedUNet, None, budget=Budget(seconds=0.2))

    assert losses
    assert training.seconds_done >= 0.2


def test_the_supervised_network_predicts_as_trained_and_the_teacher_as_averaged():
    supervised, _ = trained(SupervisedUNet, 2)
    teacher, _ = trained(MeanTeacherUNet, 2)

    assert supervised.predicting is supervised.network
    assert teacher.predicting is teacher.average
    assert not torch.equal(weights(teacher.network), weights(teacher.average))


def test_unlabeled_images_teach_the_mean_teacher_something_and_the_supervised_network_nothing():
    def after(method, unlabeled):
        training = method(LABELED, unlabeled, budget=Budget(steps=3), working_size=SIZE)
        list(training.run())
        return weights(training.network)

    assert not torch.equal(after(MeanTeacherUNet, UNLABELED), after(MeanTeacherUNet, []))
    assert torch.equal(after(SupervisedUNet, UNLABELED), after(SupervisedUNet, []))


def test_training_goes_on_from_given_weights():
    start = UNet(seed=5)
    before = weights(start)

    training = SupervisedUNet(LABELED, budget=Budget(steps=1), working_size=SIZE, network=start)

    assert torch.equal(weights(training.average), before)
    list(training.run())
    assert training.network is start


def batch(labels, valid=None):
    valid = torch.ones(labels.shape, dtype=torch.bool) if valid is None else valid
    return Batch(torch.zeros(len(labels), 3, *labels.shape[1:]), labels, valid)


def test_unknown_pixels_and_padding_change_neither_the_loss_nor_its_gradient():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (2, 8, 8), generator=generator).to(torch.uint8)
    outside = torch.zeros(2, 8, 8, dtype=torch.bool)
    outside[:, 5:] = True
    unknown = batch(labels.masked_fill(outside, UNKNOWN))
    padding = batch(labels, ~outside)
    logits = torch.randn(2, 2, 8, 8, generator=generator)
    changed = torch.where(outside[:, None], torch.randn(2, 2, 8, 8, generator=generator), logits)

    seen = []
    for given, answer in ((unknown, logits), (unknown, changed), (padding, changed)):
        answer = answer.clone().requires_grad_()
        loss = supervised_loss(answer, given)
        loss.backward()
        assert not answer.grad[:, :, 5:].any()
        seen.append((loss.detach(), answer.grad))

    assert seen[0][0] > 0
    for loss, gradient in seen[1:]:
        torch.testing.assert_close(loss, seen[0][0])
        torch.testing.assert_close(gradient, seen[0][1])


def test_a_batch_that_nobody_looked_at_has_no_loss():
    labels = torch.full((2, 8, 8), UNKNOWN, dtype=torch.uint8)

    assert supervised_loss(torch.randn(2, 2, 8, 8), batch(labels)) == 0


def test_padding_does_not_count_in_the_consistency():
    student, teacher = torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4)
    student[:, :, 2:] = 1
    valid = torch.ones(1, 4, 4, dtype=torch.bool)

    assert consistency_loss(student, teacher, valid) == pytest.approx(0.5)
    valid[:, 2:] = False
    assert consistency_loss(student, teacher, valid) == 0


@pytest.mark.parametrize("framing", ["whole", "tiles"])
def test_the_project_s_predictor_predicts_with_a_u_net(framing):
    network = UNet(seed=1)
    predictor = Predictor(network, ImageSettings(working_size=SIZE, framing=framing))
    pixels = torch.randint(256, (40, 56), generator=torch.Generator().manual_seed(0)).to(torch.uint8).numpy()

    prediction = predictor.predict(pixels)

    assert prediction.probabilities.shape == (2, 40, 56)
    assert prediction.probabilities.sum(axis=0) == pytest.approx(1, abs=1e-5)
    assert 0 < prediction.labels.mean() < 1


def test_a_size_the_u_net_cannot_halve_is_refused_in_words():
    with pytest.raises(SemiGDAError, match="16"):
        UNet()(torch.zeros(1, 3, 40, 40))


def test_training_without_labels_is_refused():
    with pytest.raises(SemiGDAError, match="labeled"):
        SupervisedUNet([], budget=Budget(steps=1), working_size=SIZE)
