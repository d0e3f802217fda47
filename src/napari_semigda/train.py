"""Rounds from a script or a notebook."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from napari_semigda.engine.engine import Engine
from napari_semigda.engine.events import PredictionFailed, RoundEnded, RoundFailed, RoundNotSaved, Stepped
from napari_semigda.errors import SemiGDAError
from napari_semigda.session.session import Session
from napari_semigda.training.recipe import Recipe, chosen_budget
from napari_semigda.training.round import StepReport


def train_round(
    session: Session,
    *,
    seconds: float | None = None,
    steps: int | None = None,
    recipe: str = "default",
    fresh: bool = False,
    resume: bool = False,
    seed: int = 0,
    drafts: bool = True,
    device: str = "auto",
    weights: Path | str | None = None,
) -> Iterator[StepReport]:
    """Train a round on all accepted masks and all other images of a session.

    Nothing happens before the iterator is asked for its first report. To leave the loop early stops the
    round: what it learned is kept, and ``resume=True`` goes on with it.

    Parameters
    ----------
    session
        With at least one accepted mask. The round starts from its last one's weights.
    seconds
        How long. 60 if no number of steps is given, either.
    steps
        After how many optimizer steps it ends at the latest.
    recipe
        ``"default"``, or ``"paper"``: the published schedule, without a limit its 200 + 350 epochs.
    fresh
        Start from nothing instead of the last round's weights.
    resume
        Go on with the round that was stopped; recipe, length and seed are then those of that round.
    seed
        The same seed gives the same losses on the same machine.
    drafts
        Predict, after the last report, all images that are neither accepted nor skipped; those that cannot
        be are named in `Session.warnings`.
    device
        ``"auto"`` (CUDA, else MPS, else the CPU), or a device by torch's name.
    weights
        The autoencoder's file or folder on this machine, if elsewhere than the session says.

    Yields
    ------
    StepReport
        After each optimizer step: losses, stage, and how much of the round is done.

    Raises
    ------
    SemiGDAError
        If nothing is accepted yet, there is nothing to resume, or the round fails; the weights from before it
        then stay in use.

    Examples
    --------
    >>> for report in train_round(session, seconds=60):
    ...     print(f"{report.fraction:.0%}", report.losses["total"])
    """
    engine = Engine(session, device, weights=None if weights is None else Path(weights))
    engine.request_round(
        recipe=Recipe.named(recipe).with_one_object(session.one_object),
        budget=chosen_budget(recipe, steps, seconds),
        fresh=fresh,
        resume=resume,
        seed=seed,
    )
    return _reports(engine, drafts)


def _reports(engine: Engine, drafts: bool) -> Iterator[StepReport]:
    try:
        while engine.start_work():
            for event in engine.work():
                match event:
                    case Stepped(_, report):
                        yield report
                    case RoundEnded() if not drafts:
                        engine.close()
                    case RoundFailed(_, message) | RoundNotSaved(_, message):
                        raise SemiGDAError(message)
                    case PredictionFailed(item, message):
                        engine.session.warn(f"{item.name}: {message}")
    finally:
        engine.close()
        if engine.start_work():  # the loop was left: the round is stopped
            for _ in engine.work():
                pass
