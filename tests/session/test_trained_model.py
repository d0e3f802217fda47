"""What a checkpoint says of itself, wherever it lies."""

import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch

from napari_semigda.errors import SemiGDAError
from napari_semigda.inference.preparation import ImageSettings
from napari_semigda.model.checkpoint import read_metadata, save_checkpoint
from napari_semigda.model.network import SemiGDANet
from napari_semigda.session.rounds import MODEL
from napari_semigda.session.session import Session
from napari_semigda.session.trained_model import TrainedModel, weights_in_words
from napari_semigda.training.recipe import Budget, Recipe

SETTINGS = ImageSettings(working_size=64, percentiles=(1.0, 99.0))


@pytest.fixture
def trained(session: Session) -> Session:
    """The session of six pictures, with the weights of one round."""
    record = session.rounds.begin(Recipe(), Budget(steps=1), 0, warm=False)
    save_checkpoint(
        session.rounds.folder(record.number) / MODEL,
        SemiGDANet("compact", 3),
        {"class_names": ["cell", "edge"], "settings": SETTINGS.to_dict(), "round": 1},
    )
    session.rounds.finish(record, "complete", steps=1, seconds=0.0)
    return session


@pytest.mark.parametrize("place", [".", "semigda.json", "rounds/001/model.safetensors"])
def test_it_is_found_by_its_session_or_its_file(trained: Session, place: str) -> None:
    model = TrainedModel.find(trained.folder / place)
    assert model.path == trained.last_model()
    assert model.class_names == ("cell", "edge")
    assert model.settings == SETTINGS
    for words in ("round 1 of “session”", "cell, edge", "whole images, resized to 64 pixels", "1 to 99 %"):
        assert words in model.in_words()


def test_a_file_of_its_own_is_named_by_its_name(trained: Session, tmp_path: Path) -> None:
    copy = tmp_path / "yesterday.safetensors"
    copy.write_bytes(trained.last_model().read_bytes())
    assert TrainedModel.find(copy).origin == "yesterday.safetensors"


def test_it_predicts(trained: Session) -> None:
    predictor = TrainedModel.find(trained.folder).load("cpu")
    prediction = predictor.predict(np.zeros((40, 50), np.uint8))
    assert prediction.probabilities.shape == (3, 40, 50)


def test_what_is_no_model_is_refused_in_words(session: Session, tmp_path: Path) -> None:
    with pytest.raises(SemiGDAError, match="no weights yet"):
        TrainedModel.find(session.folder)
    with pytest.raises(SemiGDAError, match="not a session"):
        TrainedModel.find(tmp_path)
    save_checkpoint(tmp_path / "bare.safetensors", SemiGDANet("compact", 2), {})
    with pytest.raises(SemiGDAError, match="how its images were seen"):
        TrainedModel.find(tmp_path / "bare.safetensors")


def test_brought_along_it_is_what_the_first_round_starts_from(
    trained: Session, pictures: Path, tmp_path: Path
) -> None:
    model = TrainedModel.find(trained.folder)
    with Session.create(tmp_path / "today", pictures, classes=["cell", "edge"]) as today:
        model.import_into(today.folder)
        path = today.last_model()
        assert path is not None
        assert path.read_bytes() == model.path.read_bytes()
        assert weights_in_words(path) == "round 1 of “session”"
        assert today.rounds == ()
        assert today.begin_round(Recipe(), Budget(steps=1), 0, warm=True).number == 1


def test_a_session_with_an_encoder_of_before_opens_and_starts_from_scratch(trained: Session) -> None:
    mask = np.zeros(trained.item("image_1").shape, np.uint8)
    trained.accept("image_1", mask)
    model = trained.last_model()
    header = read_metadata(model) | {"encoder": {"name": "microsoft/resnet-18", "architecture": {}}}
    model.write_bytes(
        safetensors.torch.save(safetensors.torch.load_file(model), {"semigda": json.dumps(header)})
    )
    manifest = trained.folder / "semigda.json"
    values = json.loads(manifest.read_text()) | {"encoder": "microsoft/resnet-18"}
    trained.close()
    manifest.write_text(json.dumps(values))

    with Session.open(trained.folder) as again:
        (warning,) = again.warnings
        assert "“microsoft/resnet-18” of this session is no longer supported" in warning
        np.testing.assert_array_equal(again.labels.get("image_1"), mask)
        assert again.rounds.last_model() is None
        with pytest.raises(SemiGDAError, match="pre-trained encoder, which is no longer supported"):
            TrainedModel.find(model)
        record = again.rounds.begin(Recipe(), Budget(steps=1), 0, warm=False)
        save_checkpoint(again.rounds.folder(record.number) / MODEL, SemiGDANet("compact", 2), {})
    with Session.open(trained.folder) as again:
        assert again.warnings == ()
        assert again.rounds.last_model() == again.rounds.folder(2) / MODEL
