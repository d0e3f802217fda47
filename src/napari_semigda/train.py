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

    Training begins with the first report. Leaving the loop early stops the round: what it learned is kept,
    and ``resume=True`` continues it.

    Parameters
    ----------
    session
        With at least one accepted mask.
    seconds
        How long to train; 60 if neither seconds nor steps are given.
    steps
        Largest number of optimizer steps.
    recipe
        ``"default"``, or ``"paper"``: the published schedule, without a limit its 200 + 350 epochs.
    fresh
        Train from scratch instead of from the last round's weights.
    resume
        Resume the stopped round, with its own recipe, length and seed.
    seed
        The same seed gives the same losses on the same machine.
    drafts
        After the last report, predict all images that are neither accepted nor skipped; those that fail are
        named in `Session.warnings`.
    device
        ``"auto"`` (CUDA, else MPS, else the CPU), or a device by torch's name.
    weights
        The autoencoder's file or folder on this machine, if not where the session says.

    Yields
    ------
    StepReport
        After each optimizer step: losses, stage, and the fraction of the round that is done.

    Raises
    ------
    SemiGDAError
        If nothing is accepted yet, there is nothing to resume, or the round fails; the previous weights then
        stay in use.

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
