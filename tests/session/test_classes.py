"""Classes have names, values in order, and colors that can be told apart."""

import pytest

from napari_semigda.errors import SemiGDAError
from napari_semigda.session.classes import (
    MOST_NAMED,
    named_classes,
    with_changed_class,
    with_class,
    without_class,
)


def test_values_count_from_one() -> None:
    assert [(one.value, one.name) for one in named_classes(["cell", "edge"])] == [(1, "cell"), (2, "edge")]


def test_all_colors_differ() -> None:
    classes = named_classes(f"class {number}" for number in range(MOST_NAMED))
    assert len({one.color for one in classes}) == MOST_NAMED
    with pytest.raises(SemiGDAError, match="no room"):
        with_class(classes, "one more")


@pytest.mark.parametrize("names", [[], [""], ["  "], ["a\nb"], ["x" * 101], ["cell", "Cell "]])
def test_names_that_are_none_or_taken_are_refused(names: list[str]) -> None:
    with pytest.raises(SemiGDAError):
        named_classes(names)


def test_a_class_takes_another_name_or_color() -> None:
    classes = with_changed_class(named_classes(["cell", "edge"]), 2, "rim", None)
    classes = with_changed_class(classes, 1, None, "#ABCDEF")
    assert [one.name for one in classes] == ["cell", "rim"]
    assert classes[0].color == "#abcdef"
    for value, name, color in [(3, "x", None), (1, "RIM", None), (1, None, "red"), (1, "", None)]:
        with pytest.raises(SemiGDAError):
            with_changed_class(classes, value, name, color)


def test_the_others_keep_their_values_when_one_goes() -> None:
    classes = without_class(named_classes(["cell", "edge", "debris"]), 2)
    assert [(one.value, one.name) for one in classes] == [(1, "cell"), (3, "debris")]
    classes = with_class(classes, "edge")
    assert classes[-1].value == 4
    assert [one.name for one in with_changed_class(classes, 3, "dirt", None)] == ["cell", "dirt", "edge"]


def test_the_last_class_stays() -> None:
    with pytest.raises(SemiGDAError, match="at least one class"):
        without_class(named_classes(["cell"]), 1)


def test_a_value_that_became_free_is_used_when_there_is_no_other() -> None:
    classes = without_class(named_classes(f"class {number}" for number in range(MOST_NAMED)), 7)
    again = with_class(classes, "seventh")
    assert [one.value for one in again] == list(range(1, MOST_NAMED + 1))
    assert again[6].name == "seventh"
