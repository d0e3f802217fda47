"""A sequence whose content lives elsewhere, such as on the disk."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeVar, overload

T = TypeVar("T")


class LiveSequence(Sequence[T]):
    """Shows what `_now` returns at the moment of each access; equal to any sequence of the same."""

    def _now(self) -> tuple[T, ...]:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self._now())

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        return self._now()[index]

    def __iter__(self) -> Iterator[T]:
        return iter(self._now())

    def __reversed__(self) -> Iterator[T]:
        return reversed(self._now())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Iterable) and self._now() == tuple(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return repr(self._now())
