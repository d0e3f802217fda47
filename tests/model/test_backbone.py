"""E on a pre-trained backbone; here pre-trained means random weights out of a file."""

import json
import sys
from pathlib import Path

import pytest
import safetensors.torch
import torch
import torch.nn.functional as F

from napari_semigda.errors import SemiGDAError
from napari_semigda.model.backbone import Backbone, known_encoder, load_backbone
from napari_semigda.model.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from napari_semigda.model.presets import PRESETS, build_model
from tests.backbones import SMALL, change_config, classifier, repository

from .conftest import learn_something, pictures, small_paper_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    pytest.importorskip("transformers")
    return repository(tmp_path / "small resnet")


@pytest.fixture
def described(tmp_path: Path) -> Path:
    """A folder that can be judged without transformers; its weights are none."""
    folder = tmp_path / "described"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": "resnet", **SMALL["resnet"]}))
    safetensors.torch.save_file({"weight": torch.ones(1)}, folder / "model.safetensors")
    return folder


def test_without_the_extra_the_words_say_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SemiGDAError, match=r"pip install .napari-semigda\[backbone\]"):
        build_model("compact", encoder="someone/network")


def test_a_name_that_is_no_encoder_is_answered_with_an_example() -> None:
    for name in ("resnet-18", "no such/folder/here", "../up", "", "/absent", "a b/c"):
        with pytest.raises(SemiGDAError, match="microsoft/resnet-18"):
            known_encoder(name)


def test_a_hub_name_stays_and_a_folder_becomes_its_whole_path(
    described: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(described.parent)
    assert known_encoder("microsoft/resnet-18") == "microsoft/resnet-18"
    assert known_encoder(described.name) == str(described)


@pytest.mark.parametrize("kind", SMALL)
def test_its_features_are_those_of_the_classifier_in_the_file(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    backbone = load_backbone(str(repository(tmp_path / kind, kind))).eval()
    image = pictures(height=64, width=96)
    mean, deviation = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
    with torch.no_grad():
        found = backbone(image)
        normalized = ((image + 1) / 2 - mean) / deviation
        expected = classifier(kind)(normalized, output_hidden_states=True).hidden_states
    if kind != "resnet":  # the library norms each position of a ConvNeXt's stages
        expected = [F.layer_norm(x.movedim(1, -1), x.shape[1:2], eps=1e-6).movedim(-1, 1) for x in expected]
    assert backbone.channels == tuple(SMALL[kind]["hidden_sizes"])
    assert len(found) == len(backbone.channels)
    for number, (one, two) in enumerate(zip(found, expected[1:], strict=True)):
        assert one.shape[-2:] == (64 >> number + 2, 96 >> number + 2)
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("preset", "kind"), zip(PRESETS, SMALL, strict=True))
def test_every_preset_takes_a_backbone_at_its_own_widths(preset: str, kind: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    folder = str(repository(tmp_path / kind, kind))
    if preset == "sd":  # a few channels wide
        own, model = small_paper_model(), small_paper_model(load_backbone(folder))
    else:
        own, model = (build_model(preset, random_autoencoder=True, encoder=e) for e in (None, folder))
    image = pictures(height=40, width=24)
    with torch.no_grad():
        expected, found = (one.eval().encoder(image) for one in (own, model))
        assert [one.shape for one in model(image)] == [(2, 2, 40, 24)] * 2
    assert [one.shape for one in found[0]] == [one.shape for one in expected[0]]
    assert found[1].shape == expected[1].shape
    assert model.encoder.channels == own.encoder.channels


def test_what_lies_coarser_than_the_latent_is_context(folder: Path) -> None:
    model = build_model("compact", random_autoencoder=True, encoder=str(folder)).eval()
    image = pictures(1, 128, 128)
    changed = image.clone()
    changed[..., :8, :8] = 1
    with torch.no_grad():
        one, two = (model.encoder(picture)[0] for picture in (image, changed))
    assert torch.equal(one[0][..., 64:, 64:], two[0][..., 64:, 64:])  # the stem sees a few pixels only
    assert not torch.equal(one[-1][..., 8:, 8:], two[-1][..., 8:, 8:])


def test_training_keeps_the_statistics_it_was_trained_with(folder: Path) -> None:
    encoder = build_model("taesd", random_autoencoder=True, encoder=str(folder)).encoder
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items() if "running" in name}
    encoder.train()(pictures())
    after = encoder.state_dict()
    changed = {name for name, tensor in before.items() if not torch.equal(tensor, after[name])}
    assert any("backbone" in name for name in before)
    assert changed == {name for name in before if "backbone" not in name}


def test_the_same_seed_builds_the_same_network_and_leaves_the_callers_random_numbers(folder: Path) -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    one, two = (build_model("compact", random_autoencoder=True, encoder=str(folder)) for _ in range(2))
    assert torch.equal(torch.rand(3), expected)
    other = two.trainable_state()
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.trainable_state().items())


def test_with_compacts_own_autoencoder_what_never_saw_e_starts_as_ever(folder: Path) -> None:
    own = build_model("compact").parts()
    ours = build_model("compact", encoder=str(folder)).parts()
    for part in ("mapping", "image_adapters"):
        expected, found = own[part].state_dict(), ours[part].state_dict()
        assert all(torch.equal(tensor, found[name]) for name, tensor in expected.items())


# Checkpoints


@pytest.mark.parametrize("kind", SMALL)
def test_a_checkpoint_needs_neither_the_folder_nor_the_hub(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    source = repository(tmp_path / f"my {kind}", kind)
    model = build_model("compact", random_autoencoder=True, encoder=str(source))
    learn_something(model)
    model.eval()
    save_checkpoint(tmp_path / "model.safetensors", model)
    for file in source.iterdir():
        file.unlink()
    source.rmdir()
    loaded, metadata = load_checkpoint(tmp_path / "model.safetensors")
    for one, two in zip(model(pictures()), loaded(pictures()), strict=True):
        assert torch.equal(one, two)
    assert metadata["encoder"]["name"] == f"my {kind}"
    assert metadata["encoder"]["architecture"]["model_type"] == kind
    assert str(tmp_path) not in json.dumps(metadata)


def test_a_checkpoint_says_all_of_the_architecture(folder: Path) -> None:
    (folder / "config.json").write_text(
        json.dumps({"model_type": "resnet", **SMALL["resnet"], "torch_dtype": "float16", "id2label": {}})
    )
    backbone = load_backbone(str(folder))
    defaults = {"hidden_act": "relu", "downsample_in_bottleneck": False}
    assert backbone.architecture == {"model_type": "resnet", **SMALL["resnet"], **defaults}
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}
    assert Backbone("again", backbone.architecture).architecture == backbone.architecture


@pytest.mark.parametrize(
    ("encoder", "words"),
    [
        ({"name": "x", "architecture": {"model_type": "timm_backbone"}}, "“timm_backbone”"),
        ({"name": "x", "architecture": {"model_type": "resnet", "depths": [10**6] * 4}}, "“depths”"),
        ({"name": "x", "architecture": "resnet"}, "cannot serve as encoder"),
        ({"name": "x"}, "damaged"),
        ("microsoft/resnet-18", "damaged"),
    ],
)
def test_a_checkpoint_with_another_encoder_is_refused(
    folder: Path, tmp_path: Path, encoder: object, words: str
) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, build_model("compact", random_autoencoder=True, encoder=str(folder)))
    header = {**read_metadata(path), "encoder": encoder}
    tensors = safetensors.torch.load_file(path)
    path.write_bytes(safetensors.torch.save(tensors, {"semigda": json.dumps(header)}))
    with pytest.raises(SemiGDAError, match=words):
        load_checkpoint(path)


def test_a_checkpoint_without_the_extra_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, build_model("compact", random_autoencoder=True, encoder=str(folder)))
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(SemiGDAError, match="pip install"):
        load_checkpoint(path)


# Folders


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"model_type": "timm_backbone", "backbone": "resnet18"}, "resnet, convnext, convnextv2"),
        ({"model_type": ["resnet"]}, "cannot serve as encoder"),
        ({"num_channels": 1}, "“num_channels” is 1"),
        ({"downsample_in_first_stage": True}, "“downsample_in_first_stage”"),
        ({"hidden_sizes": [8, 16]}, "how many stages"),
        ({"hidden_sizes": [8, 16, 24, 10**9]}, "“hidden_sizes”"),
        ({"depths": None}, "“depths”"),
        ({"hidden_act": "os.system"}, "“hidden_act”"),
    ],
)
def test_a_folder_with_another_network_is_refused(described: Path, fields: dict, words: str) -> None:
    change_config(described, **fields)
    for read in (known_encoder, load_backbone):
        with pytest.raises(SemiGDAError, match=words):
            read(str(described))


@pytest.mark.parametrize("content", ["{not json", "[1, 2]", "", '"resnet"'])
def test_a_damaged_configuration_is_named(described: Path, content: str) -> None:
    (described / "config.json").write_text(content)
    with pytest.raises(SemiGDAError, match=r"config\.json"):
        load_backbone(str(described))
    (described / "config.json").unlink()
    with pytest.raises(SemiGDAError, match=r"no config\.json"):
        load_backbone(str(described))


def test_code_beside_the_weights_is_not_executed(folder: Path, tmp_path: Path) -> None:
    trace = tmp_path / "executed"
    (folder / "modeling.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass Network: pass\n")
    names = dict.fromkeys(("AutoConfig", "AutoModel", "AutoBackbone"), "modeling.Network")
    change_config(folder, auto_map=names, attn_implementation="someone/kernel", backbone="someone/else")
    load_backbone(str(folder))
    assert not trace.exists()


def test_pickled_weights_are_refused(described: Path) -> None:
    (described / "model.safetensors").rename(described / "pytorch_model.bin")
    with pytest.raises(SemiGDAError, match="can execute code"):
        load_backbone(str(described))


def test_weights_that_do_not_fit_the_configuration_are_refused(folder: Path) -> None:
    file = folder / "model.safetensors"
    whole = safetensors.torch.load_file(file)
    name = "resnet.encoder.stages.1.layers.0.shortcut.convolution.weight"
    for tensors in (
        {other: tensor for other, tensor in whole.items() if other != name},
        {**whole, name: torch.zeros(3)},
        {**whole, "resnet.encoder.stages.9.weight": torch.zeros(3)},
    ):
        safetensors.torch.save_file(tensors, file)
        with pytest.raises(SemiGDAError, match=r"does not hold the weights .*: encoder\.stages"):
            load_backbone(str(folder))
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(SemiGDAError, match=r"model\.safetensors"):
        load_backbone(str(folder))
