import imageio.v3 as iio
import pytest
import torch

pytest.importorskip("monai")

from baselines import UNet
from judge import Judge, SideBySide
from napari_semigda.inference.predictor import Predictor
from napari_semigda.inference.preparation import ImageSettings
from packs import split_pack, truth
from scores import scores


@pytest.mark.parametrize("framing", ["whole", "tiles"])
def test_answers_side_by_side_score_as_each_network_by_itself(make_pack, framing):
    pairs = split_pack(make_pack([""] * 4, size=72), "1", test=2, seed=0).test
    settings = ImageSettings(working_size=32, framing=framing)
    networks = [UNet(seed=seed) for seed in range(2)]

    def answers(image):
        return [network.latents(image) for network in networks]

    judge = Judge(SideBySide(networks, answers, ["first", "second"]), pairs, settings, torch.device("cpu"))
    judged = judge.scores()

    assert list(judged) == ["first", "second"]
    assert judged["first"] != judged["second"]
    for network, values in zip(networks, judged.values(), strict=True):
        predictor = Predictor(network, settings)
        for index, pair in enumerate(pairs):
            alone = scores(predictor.predict(iio.imread(pair.image)).labels, truth(pair))
            assert {name: values[name][index] for name in values} == pytest.approx(alone, abs=1e-3)
