"""Former names of what a session offers; they work for one release, with a warning."""

import warnings
from collections.abc import Callable
from functools import wraps
from operator import attrgetter
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

PATHS = {
    "accepted_drafts": "labels.accepted_drafts",
    "add_class": "classes.add",
    "begin_round": "rounds.begin",
    "class_count": "classes.channels",
    "class_names": "classes.names",
    "class_use": "classes.use",
    "discard_edit": "labels.discard_edit",
    "edit": "labels.edit",
    "effort": "labels.effort",
    "extend_round": "rounds.extend",
    "find_moved_pictures": "images.find_moved",
    "finish_round": "rounds.finish",
    "journal": "labels.journal",
    "keep_edit": "labels.keep_edit",
    "keep_for_validation": "labels.keep_for_validation",
    "label_stamp": "labels.stamp",
    "labels_nothing": "labels.nothing_labeled",
    "last_model": "rounds.last_model",
    "latents": "features",
    "leave_round": "rounds.leave",
    "missing_pictures": "images.missing",
    "opened_picture": "images.open",
    "picture_path": "images.path",
    "place": "index",
    "plane": "images.plane",
    "prediction_info": "drafts.info",
    "recolor_class": "classes.recolor",
    "remove_class": "classes.remove",
    "rename_class": "classes.rename",
    "restore_masks": "classes.restore_masks",
    "resume_round": "rounds.resume",
    "round_folder": "rounds.folder",
    "scores": "drafts.scores",
    "see_draft": "drafts.see",
    "shown_picture": "images.shown",
    "standing": "status",
    "starting_mask": "labels.starting_mask",
    "store_prediction": "drafts.store",
    "stored_picture": "images.stored",
    "undo_accept": "labels.undo_accept",
    "undoable_accepts": "labels.undoable",
    "unlabel_background": "classes.unlabel_background",
    "unskip": "labels.unskip",
    "validation": "labels.validation",
}
"""Former name: where it is now."""

_MADE: dict[str, Callable[[Any], Any]] = {
    "has_something_to_learn": lambda session: bool(session.labels.to_learn_from()),
    "labeled_examples": lambda session: lambda items: session.examples_of(items, session.labels),
    "new_masks": lambda session: (
        lambda record: session.labels.to_learn_from(() if record is None else record.labeled)
    ),
}

SETTABLE = frozenset({"settings", "preset", "weights", "one_object", "framing_by_objects"})
"""Could be assigned; now `Session.update` changes them."""


def renamed(session: Any, name: str) -> Any:
    """Return what a former attribute of a session stands for; raises AttributeError for any other name."""
    if name in _MADE:
        _warn(f"Session.{name} will be removed")
        return _MADE[name](session)
    if name not in PATHS:
        raise AttributeError(f"{type(session).__name__!r} object has no attribute {name!r}")
    _warn(f"Session.{name} is now Session.{PATHS[name]}")
    return attrgetter(PATHS[name])(session)


def assign(session: Any, name: str, value: Any) -> None:
    """Change a setting in the former way, by assigning it."""
    _warn(f"use Session.update({name}=…) instead of assigning it")
    session.update(**{name: value})


def takes_strategy(method: Callable[P, T]) -> Callable[P, T]:
    """Let a method take the keyword `strategy`, as its `order` was called."""

    @wraps(method)
    def taking(*args: P.args, **keywords: P.kwargs) -> T:
        if "strategy" in keywords:
            _warn(f"use Session.{method.__name__}(order=…) instead of strategy=…", stacklevel=3)
            keywords["order"] = keywords.pop("strategy")
        return method(*args, **keywords)

    return taking


def _warn(message: str, stacklevel: int = 4) -> None:
    warnings.warn(message, DeprecationWarning, stacklevel)
