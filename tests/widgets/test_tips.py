"""Tooltips break their lines, and show what they say as it is."""

from hypothesis import given
from hypothesis import strategies as st
from qtpy.QtCore import Qt
from qtpy.QtGui import QTextDocument

from napari_semigda.widgets.panels.parts import wrapped

WORDS = st.text(st.characters(categories=["L", "N", "P", "S"], max_codepoint=0x2FFF), min_size=1)


@given(st.lists(WORDS, min_size=1))
def test_a_tip_says_what_it_was_given(words):
    given = "\n".join(words)
    document = QTextDocument()
    document.setHtml(wrapped(given))
    assert document.toPlainText().replace("\u00a0", " ") == given
    assert Qt.mightBeRichText(wrapped(given))  # which is what Qt breaks the lines of


def test_without_words_there_is_no_tip():
    assert wrapped("") == ""
