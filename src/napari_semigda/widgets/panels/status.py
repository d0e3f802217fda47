"""What the panels say about the session, the image and the mask on screen; knows nothing of Qt."""

from __future__ import annotations

from napari_semigda.session.drafts import draft_in_words
from napari_semigda.session.items import ItemState
from napari_semigda.session.session import Session
from napari_semigda.session.trained_model import weights_in_words
from napari_semigda.widgets.annotation import Annotation
from napari_semigda.widgets.controller import NO_SESSION, Controller

NO_MASK = "There is no mask on screen."
NO_DRAFT = "There is no draft of this image yet: train a round first."
NO_WEIGHTS = "There is no trained model yet: train a round first."
NOT_ACCEPTED = "No mask of this image has been accepted yet."
NOTHING_TO_UNDO = "No mask was accepted since the session was opened."
DRAFT_SHOWN = "Showing the draft. To return to your mask, press {}."
DRAW = "Draw around the region with the mouse, or choose another shape in the layer controls."
MASK_DELETED = "The mask layer was deleted. What you painted is kept."
UNCERTAINTY_MEANS = (
    "Uncertainty: 0 is certain (no color), 0.5 is undecided; at 1 the network's two branches disagree."
)
NOT_SAVED = "painted by you, NOT SAVED"
STATES = {
    ItemState.UNLABELED: "no mask yet",
    ItemState.DRAFT: "draft",
    ItemState.ACCEPTED: "accepted",
    ItemState.SKIPPED: "skipped",
}


def weights_status(session: Session, drafting: int | None) -> str:
    """Return which weights drafts come from: the session's last ones, or those of a running round."""
    model = session.rounds.last_model()
    source = "" if session.weights is None else f" with {session.weights.name}"
    if drafting and (model is None or drafting != int(model.parent.name)):
        words = f"round {drafting} so far"
    elif model is not None:
        words = weights_in_words(model)
    elif session.starts_trained:
        return f"Weights: pretrained, no round yet (preset {session.preset})"
    else:
        words = "none yet"
    return f"Weights: {words} (preset {session.preset}{source})"


def image_status(annotation: Annotation) -> str:
    """Return in a few words how far the image on screen is."""
    assert annotation.item is not None
    assert annotation.state is not None
    if annotation.why_unsaved is not None:
        return NOT_SAVED
    if annotation.touched or annotation.session.labels.edit(annotation.item) is not None:
        changed = annotation.state is ItemState.ACCEPTED
        return "accepted, then painted again" if changed else "painted by you, not accepted"
    info = annotation.session.drafts.info(annotation.item)
    if annotation.state is ItemState.DRAFT and info is not None:
        return f"{draft_in_words(info)}, score {info.score:.2f}"
    return STATES[annotation.state]


class MaskStatus:
    """Why something cannot be done with the mask on screen, None where it can; and what is special.

    `draft_key` is how to get from the draft to the mask.
    """

    viewing: str | None = NO_SESSION
    changing: str | None = NO_SESSION
    undoing: str | None = NO_SESSION
    using_draft: str | None = NO_SESSION
    using_accepted: str | None = NO_SESSION
    using_weights: str | None = NO_SESSION
    showing_draft: str | None = NO_SESSION
    deleted = missing = False
    drawn_elsewhere: str | None = None
    notice = ""

    def __init__(self, controller: Controller, draft_key: str) -> None:
        annotation, corrections, runner = controller.annotation, controller.corrections, controller.runner
        if annotation is None or corrections is None or runner is None:
            return
        session, item = annotation.session, annotation.item
        self.deleted = item is not None and not annotation.visible
        self.missing = self.deleted and annotation.missing
        self.drawn_elsewhere = annotation.drawn_elsewhere
        self.viewing = annotation.failure or (NO_MASK if self.deleted else None)
        draft_shown = DRAFT_SHOWN.format(draft_key) if corrections.shows_draft else None
        no_draft = NO_DRAFT if item is None or session.drafts.info(item) is None else None
        self.changing = self.viewing or session.read_only or draft_shown
        self.undoing = (None if session.labels.undoable else NOTHING_TO_UNDO) or session.read_only
        self.using_draft = self.changing or no_draft
        self.using_accepted = self.changing or (
            None if annotation.state is ItemState.ACCEPTED else NOT_ACCEPTED
        )
        self.using_weights = self.viewing or (None if runner.engine.has_model else NO_WEIGHTS)
        self.showing_draft = self.viewing or no_draft
        if item is None:
            return
        if self.deleted:
            self.notice = annotation.failure or MASK_DELETED
        elif controller.canvas.region.active:
            self.notice = DRAW
        elif draft_shown is not None:
            self.notice = draft_shown
        elif self.drawn_elsewhere is not None:
            self.notice = f"You drew in the layer “{self.drawn_elsewhere}”, not in the mask."
        elif annotation.newer_draft:
            self.notice = "A newer draft of this image is ready; “Use draft” shows it."
        elif corrections.shows_uncertainty:
            self.notice = UNCERTAINTY_MEANS
