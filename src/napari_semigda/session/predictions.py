"""What is remembered of a prediction beside its label map."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from napari_semigda.io.atomic import write_json


@dataclass(frozen=True)
class PredictionInfo:
    """What the queue and the annotator need to know of a draft.

    Parameters
    ----------
    score
        Acquisition score in [0, 1]; higher means: look at it sooner.
    round
        The round whose weights made it; 0 where they came from elsewhere.
    uncertainty
        Mean over the image, in [0, 1].
    latent
        The pooled latent, to tell how unlike other images this one is.
    """

    score: float
    round: int
    uncertainty: float = 0.0
    latent: tuple[float, ...] = ()


def write_info(path: Path, info: PredictionInfo) -> None:
    """Write beside the label map; it can be computed again, so nobody waits for the disk."""
    write_json(path, asdict(info), durable=False)


def read_info(path: Path) -> PredictionInfo | None:
    """Read what `write_info` wrote; None where it is missing or damaged."""
    try:
        values = json.loads(path.read_bytes())
        return PredictionInfo(
            score=_fraction(values["score"]),
            round=int(values["round"]),
            uncertainty=_fraction(values.get("uncertainty", 0.0)),
            latent=rounded(values.get("latent", ())),
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None


def rounded(values: Iterable[Any]) -> tuple[float, ...]:
    """As numbers that are short to write down."""
    return tuple(round(float(value), 5) for value in values)


def _fraction(value: Any) -> float:
    number = float(value)
    if not 0 <= number <= 1:
        raise ValueError(f"{number} is no fraction")
    return number
