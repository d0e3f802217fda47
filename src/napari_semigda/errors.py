"""What goes wrong, in words for the person at the screen."""


class SemiGDAError(Exception):
    """Something a person can act on: the message says what is wrong with which file, and what to do."""


class Cancelled(Exception):
    """The person cancelled the work; nothing is wrong."""
