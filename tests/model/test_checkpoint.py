"""A trained network goes into one file, and comes back the same or not at all."""

import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch

from napari_semigda.errors import SemiGDAError
from napari_semigda.model.checkpoint import load_checkpoint, read_metadata, save_checkpoint
from napari_semigda.model.loading import load_autoencoder, random_autoencoder
from napari_semigda.model.network import SemiGDANet

from .conftest import learn_something, pictures


@pytest.fixture(scope="module")
def trained() -> SemiGDANet:
    model = SemiGDANet("compact", 3)
    learn_something(model)
    return model.eval()


@pytest.fixture
def file(trained: SemiGDANet, tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, trained, {"class_names": ["Zelle", "核"], "settings": {"working_size": 128}})
    return path


def rewrite(path: Path, **changes: object) -> None:
    """Write the same file with another header."""
    header = {**read_metadata(path), **changes}
    tensors = safetensors.torch.load_file(path)
    path.write_bytes(safetensors.torch.save(tensors, {"semigda": json.dumps(header)}))


def test_a_network_comes_back_the_same(trained: SemiGDANet, file: Path) -> None:
    loaded, _ = load_checkpoint(file)
    assert not loaded.training
    assert loaded.classes == 3
    for one, two in zip(trained.branches(pictures()), loaded.branches(pictures()), strict=True):
        assert torch.equal(one, two)


def test_it_says_what_it_was_trained_for(file: Path) -> None:
    metadata = read_metadata(file)
    assert (metadata["format"], metadata["preset"], metadata["classes"]) == (1, "compact", 3)
    assert metadata["class_names"] == ["Zelle", "核"]
    assert metadata["settings"] == {"working_size": 128}
    assert load_checkpoint(file)[1] == metadata


def test_it_can_be_trained_on_from_a_half_precision_copy(trained: SemiGDANet, tmp_path: Path) -> None:
    half = SemiGDANet("compact", 3)
    half.load_trainable_state(trained.trainable_state())
    half.encoder.half()
    save_checkpoint(tmp_path / "half.safetensors", half)
    loaded, _ = load_checkpoint(tmp_path / "half.safetensors")
    assert {tensor.dtype for tensor in loaded.parameters()} == {torch.float32}


def test_a_random_autoencoder_is_made_again_from_its_seed(tmp_path: Path) -> None:
    model = SemiGDANet("taesd", seed=5, autoencoder=random_autoencoder("taesd", 5)).eval()
    save_checkpoint(tmp_path / "random.safetensors", model)
    loaded, _ = load_checkpoint(tmp_path / "random.safetensors")
    for one, two in zip(model.branches(pictures()), loaded.branches(pictures()), strict=True):
        assert torch.equal(one, two)


def test_another_autoencoder_than_in_training_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    weights = random_autoencoder("compact", 9).state_dict()
    safetensors.torch.save_file(weights, other / "diffusion_pytorch_model.safetensors")
    model = SemiGDANet("compact", autoencoder=load_autoencoder("compact", other))
    save_checkpoint(tmp_path / "model.safetensors", model)
    with pytest.raises(SemiGDAError, match="another “compact” autoencoder"):
        load_checkpoint(tmp_path / "model.safetensors")
    loaded, _ = load_checkpoint(tmp_path / "model.safetensors", other)
    assert loaded.autoencoder.signature() == load_autoencoder("compact", other).signature()


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SemiGDAError, match=r"no file “.*absent\.safetensors”"):
        load_checkpoint(tmp_path / "absent.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_torn_file_is_called_damaged(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(SemiGDAError, match="damaged"):
        load_checkpoint(file)


def test_other_files_are_no_models(tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"weight": torch.ones(3)}, other)
    with pytest.raises(SemiGDAError, match="not a model of this program"):
        read_metadata(other)
    other.write_text("not weights at all, but a text that is long enough to look like a header")
    with pytest.raises(SemiGDAError, match="damaged or not a safetensors file"):
        read_metadata(other)


def test_a_newer_format_asks_for_an_update(file: Path) -> None:
    rewrite(file, format=2)
    with pytest.raises(SemiGDAError, match="newer version"):
        load_checkpoint(file)


def test_an_unknown_preset_is_named(file: Path) -> None:
    rewrite(file, preset="colossal")
    with pytest.raises(SemiGDAError, match="colossal"):
        load_checkpoint(file)


@pytest.mark.parametrize("header", ["[1, 2]", "{}", "{not json", '{"format": 1, "preset": "compact"}'])
def test_a_header_that_says_too_little_is_called_damaged(file: Path, header: str) -> None:
    tensors = safetensors.torch.load_file(file)
    file.write_bytes(safetensors.torch.save(tensors, {"semigda": header}))
    with pytest.raises(SemiGDAError, match="damaged"):
        load_checkpoint(file)


def test_weights_that_do_not_fit_are_refused(file: Path) -> None:
    tensors = safetensors.torch.load_file(file)
    tensors.popitem()
    header = {"semigda": json.dumps(read_metadata(file))}
    file.write_bytes(safetensors.torch.save(tensors, header))
    with pytest.raises(SemiGDAError, match="whole “compact” network"):
        load_checkpoint(file)


def test_a_failed_write_leaves_the_old_file(trained: SemiGDANet, file: Path) -> None:
    before = file.read_bytes()
    with pytest.raises(TypeError):
        save_checkpoint(file, trained, {"settings": object()})
    with pytest.raises(SemiGDAError, match="could not be written"):
        save_checkpoint(file.parent / "no such folder" / "model.safetensors", trained)
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_it_keeps_which_classes_it_was_shown(trained: SemiGDANet, file: Path) -> None:
    """A class that no mask has shown is not predicted, wherever its color is the nearest one."""
    assert load_checkpoint(file)[0].shown == trained.shown == set()
    assert (torch.stack(trained.branches(pictures())).argmax(dim=2) == 2).any()
    trained.shown = {1}
    try:
        save_checkpoint(file, trained)
        loaded, _ = load_checkpoint(file)
        assert loaded.shown == {1}
        for own, other in zip(trained.branches(pictures()), loaded.branches(pictures()), strict=True):
            assert torch.equal(own, other)
            assert not other[:, 2].any()
            torch.testing.assert_close(other.sum(dim=1), torch.ones_like(other[:, 0]))
    finally:
        trained.shown = set()


def test_a_file_from_before_that_was_written_was_shown_every_class(trained: SemiGDANet, file: Path) -> None:
    header = read_metadata(file)
    del header["shown"]
    tensors = safetensors.torch.load_file(file)
    file.write_bytes(safetensors.torch.save(tensors, {"semigda": json.dumps(header)}))
    loaded, _ = load_checkpoint(file)
    assert loaded.shown == {1, 2}
    for own, other in zip(trained.branches(pictures()), loaded.branches(pictures()), strict=True):
        assert torch.equal(own, other)


@pytest.mark.parametrize("shown", [3, [0], [3], ["1"], [True], {"1": 1}])
def test_classes_shown_that_cannot_be_are_called_damage(file: Path, shown: object) -> None:
    rewrite(file, shown=shown)
    with pytest.raises(SemiGDAError, match="damaged"):
        load_checkpoint(file)


NAN = float("nan")
HOSTILE: dict[str, list[object]] = {
    "format": [None, "1", -5, True, 1.0, [1], 10**400],
    "preset": [None, ["compact"], {"a": 1}, "", "x" * 10_000],
    "classes": [None, "2", -1, 0, 1, True, 2.0, 255, 10**9, 10**400, [2]],
    "autoencoder": [
        None,
        "package",
        [],
        {"source": "package"},
        {"source": 5, "signature": []},
        {"source": "random:", "signature": []},
        {"source": "random:99999999999999999999", "signature": [0.0] * 28},
        {"source": "random:-1", "signature": [0.0] * 28},
        {"source": "package", "signature": 1},
        {"source": "package", "signature": [NAN] * 28},
        {"source": "package", "signature": [float("inf")] * 28},
        {"source": "package", "signature": [10**400] * 28},
        {"source": "package", "signature": [0.0]},
        {"source": "package", "signature": []},
        {"source": "package", "signature": [[0.0], [1.0, 2.0]]},
        {"source": "package", "signature": [None] * 28},
    ],
    "encoder": [
        5,
        "resnet",
        {"name": "microsoft/resnet-18", "architecture": {"model_type": "resnet"}},
    ],
}


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in HOSTILE.items() for value in values],
    ids=lambda value: str(value)[:30],
)
def test_a_header_of_a_stranger_is_refused_in_words(file: Path, name: str, value: object) -> None:
    rewrite(file, **{name: value})
    with pytest.raises(SemiGDAError):
        load_checkpoint(file)


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5000, '"x"', "null"])
def test_a_header_that_is_nested_or_endless_is_damaged(file: Path, text: str) -> None:
    file.write_bytes(safetensors.torch.save(safetensors.torch.load_file(file), {"semigda": text}))
    with pytest.raises(SemiGDAError, match="damaged"):
        read_metadata(file)


def test_a_header_larger_than_a_networks_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    path.write_bytes((17 * 2**20).to_bytes(8, "little") + b" " * (17 * 2**20))
    with pytest.raises(SemiGDAError, match="header that is too large"):
        read_metadata(path)


@pytest.mark.parametrize("value", [NAN, float("inf")])
def test_weights_that_are_no_numbers_are_refused(file: Path, value: float) -> None:
    header = {"semigda": json.dumps(read_metadata(file))}
    tensors = safetensors.torch.load_file(file)
    name = next(name for name, tensor in tensors.items() if tensor.is_floating_point())
    tensors[name].view(-1)[0] = value
    file.write_bytes(safetensors.torch.save(tensors, header))
    with pytest.raises(SemiGDAError, match="not finite numbers"):
        load_checkpoint(file)


@pytest.mark.skipif(os.name != "posix", reason="pipes in folders are POSIX's")
def test_a_pipe_is_no_model(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    with pytest.raises(SemiGDAError, match="is a pipe"):
        load_checkpoint(tmp_path / "model.safetensors")
