"""A question to the person, with a verb on every button, so that nobody has to think what “yes” means."""

from collections.abc import Sequence

from qtpy.QtGui import QIcon
from qtpy.QtWidgets import QMessageBox, QPushButton, QWidget

CANCEL = "Cancel"


def ask(
    parent: QWidget, title: str, words: str, answers: Sequence[str], *, more: str = "", by_enter: str = CANCEL
) -> str | None:
    """Ask, and wait for the answer.

    Parameters
    ----------
    parent
        The widget that asks.
    title, words, more
        Of the window; what is asked; what else to know, in smaller letters where the desktop does so.
    answers
        What stands on the buttons; one to cancel is added.
    by_enter
        The answer that the Enter key gives.

    Returns
    -------
    str or None
        The answer; None where the question was cancelled or closed.
    """
    question = QMessageBox(QMessageBox.Icon.Question, title, words, parent=parent)
    question.setInformativeText(more)
    buttons = {text: QPushButton(text) for text in (*answers, CANCEL)}
    for text, button in buttons.items():
        refuses = QMessageBox.ButtonRole.RejectRole
        question.addButton(button, refuses if text == CANCEL else QMessageBox.ButtonRole.AcceptRole)
        button.setIcon(QIcon())  # the desktop's suit no theme of napari
    question.setDefaultButton(buttons[by_enter])
    question.setEscapeButton(buttons[CANCEL])
    question.exec()
    clicked = question.clickedButton()
    question.deleteLater()
    return next((text for text in answers if buttons[text] is clicked), None)
