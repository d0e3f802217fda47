"""How errors are put into words for the user."""

import pytest

from napari_semigda.errors import SemiGDAError, user_message
from napari_semigda.log import log_file


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SemiGDAError("Choose another folder."), "Choose another folder."),
        (MemoryError(), "not enough memory"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
        (RuntimeError("CUDA error: unspecified launch failure"), "graphics card stopped responding"),
        (
            PermissionError(13, "Permission denied", "/data/a.tif"),
            "“/data/a.tif” could not be read",
        ),
        (OSError("disk gone"), "disk gone"),
        (ValueError("odd"), "ValueError: odd"),
    ],
)
def test_the_user_is_told_what_happened(error: Exception, words: str) -> None:
    assert words in user_message(error)


def test_only_what_is_unexpected_points_to_the_log() -> None:
    assert str(log_file()) in user_message(ValueError("odd"))
    assert str(log_file()) not in user_message(SemiGDAError("Choose another folder."))


def test_letters_that_no_file_name_may_have_here_are_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    error = UnicodeEncodeError("ascii", "/data/zoë.png", 8, 9, "ordinal not in range(128)")
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "utf-8")
    assert "UnicodeEncodeError" in user_message(error)
    monkeypatch.setattr("sys.getfilesystemencoding", lambda: "ascii")
    assert "“/data/zoë.png” could not be read or written" in user_message(error)
