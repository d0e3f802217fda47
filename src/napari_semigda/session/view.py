"""What the annotator chose in passing and would not like to choose again tomorrow: `view.json`."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    Strict,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic_core import PydanticUseDefault

from napari_semigda.io.files import json_or_none
from napari_semigda.session.ranking import current_name

_MOST_BYTES = 2**20
_MOST_NUMBER = 10**6  # what a field of the window can show


class View(BaseModel):
    """What is remembered from one opening of a session to the next; a wrong field takes its default."""

    model_config = ConfigDict(strict=True, frozen=True)

    current: str = ""  # id of the item on screen
    order: str = ""  # see `Session.queue`; empty: the default order
    # A round starts automatically after this many newly accepted masks; 0: only manually.
    round_after: Annotated[int, Field(ge=0, le=_MOST_NUMBER)] = 0
    # Limits of such a round, and of the next manual one; 0 steps: no limit.
    round_seconds: Annotated[float, Field(ge=0, le=_MOST_NUMBER)] = 60.0
    round_steps: Annotated[int, Field(ge=0, le=_MOST_NUMBER)] = 0
    folded: Annotated[tuple[str, ...], Strict(False)] = ("Session", "Train", "Export")  # sections of the dock

    @field_validator("order")
    @classmethod
    def _today(cls, order: str) -> str:
        return current_name(order)

    @field_validator("*", mode="wrap")
    @classmethod
    def _default_if_wrong(cls, value: Any, validate: ValidatorFunctionWrapHandler) -> Any:
        try:
            return validate(value)
        except ValidationError:
            raise PydanticUseDefault from None


def read_view(path: Path) -> View:
    """Read the view of a session; a convenience: what cannot be read takes its default."""
    values = json_or_none(path, most=_MOST_BYTES)
    return View.model_validate(values) if isinstance(values, dict) else View()
