"""Whatever is gray says why when the mouse rests on it."""

from itertools import chain

import numpy as np
import pytest
from qtpy.QtWidgets import QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit, QMenu

from napari_semigda.widgets.menus import SegmentDialog
from napari_semigda.widgets.panels.new_session import NewSessionDialog
from napari_semigda.widgets.panels.parts import ActionButton, MenuAction, MenuButton, wrapped
from tests.widgets.conftest import paint

PARTS = (QAbstractButton, QAbstractSlider, QAbstractSpinBox, QComboBox, QLineEdit)


def gray(widget):
    """What is gray by itself, not with all around it: parts, and entries of menus."""
    parts = chain.from_iterable(widget.findChildren(kind) for kind in PARTS)
    entries = chain.from_iterable(menu.actions() for menu in widget.findChildren(QMenu))
    yield from (part for part in parts if not part.isEnabled() and part.parentWidget().isEnabled())
    yield from (entry for entry in entries if not entry.isEnabled() and not entry.isSeparator())


def assert_all_say_why(widget):
    found = list(gray(widget))
    assert found
    for part in found:
        if isinstance(part, ActionButton | MenuAction | MenuButton):
            assert part.why_not, part.text()
            assert part.toolTip() == wrapped(part.why_not)
        assert part.toolTip().strip(), part


def test_without_a_session(widget):
    assert_all_say_why(widget)


def test_before_anything_is_accepted(widget, make_session):
    widget.controller.adopt(make_session())
    assert_all_say_why(widget)


def test_with_something_painted_and_accepted(widget, make_session, viewer, click):
    widget.controller.adopt(make_session(classes=("lesion", "vessel")))
    paint(viewer)
    click(widget.mask_panel.accept)
    assert_all_say_why(widget)


def test_while_a_region_is_drawn_and_where_the_mask_is_gone(widget, make_session, viewer):
    widget.controller.adopt(make_session())
    widget.mask_panel.mark_unlabeled.press()
    assert_all_say_why(widget)
    viewer.layers.clear()
    assert_all_say_why(widget)


def test_where_one_may_only_look(widget, make_session):
    session = make_session()  # stays open, as in another window
    widget.open_session(session.folder)
    assert_all_say_why(widget)


@pytest.mark.parametrize("layers", [0, 1])
def test_in_the_dialogs(viewer, widget, make_trained, tmp_path, layers):
    session = make_trained()
    session.close()
    layer = viewer.add_image(np.zeros((8, 8)))
    new = NewSessionDialog([layer] * layers, tmp_path, widget)
    new.start.set_text(str(session.folder))
    segment = SegmentDialog([layer], layer, None, widget)
    for dialog in (new, segment):
        assert_all_say_why(dialog)
        dialog.deleteLater()
