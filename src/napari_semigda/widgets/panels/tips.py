"""Tooltips that stay on the screen."""

from html import escape


def wrapped(words: str) -> str:
    """Words as a tooltip of several lines: Qt breaks the lines of rich text only, others leave the screen."""
    lines = escape(words, quote=False).replace("\n", "<br>")
    return f"<qt>{lines}</qt>" if words else ""
