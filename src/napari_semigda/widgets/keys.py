"""Keys of the widget: none that napari or its Labels layers use."""

from enum import StrEnum


class Key(StrEnum):
    """What a key does, by napari's name of the key."""

    ACCEPT_AND_GO_ON = "A"
    ACCEPT = "Shift-A"
    PREVIOUS = "S"
    NEXT = "D"
    TO_QUEUE = "W"
    SKIP = "K"
    RESET = "R"
    NEXT_CLASS = "Q"

    @property
    def label(self) -> str:
        """The key as people write it."""
        return self.value.replace("-", "+")
