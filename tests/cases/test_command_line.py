"""Odd names, odd arguments and Ctrl-C at any moment: the command line answers in words."""

import os
import random
import shutil
import signal
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_semigda import Session, train_round
from napari_semigda.cli import main
from tests.cases.conftest import SIZE, MakeSession, square, stored_mask

linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere not every name is possible")

#: File names as bytes, since not all of them are text.
ODD_NAMES = (
    b"caf\xe9.tif",
    "é.tif".encode(),
    unicodedata.normalize("NFD", "é.tif").encode(),
    b"A.tif",
    b"a.tif",
    b"a.tiff",
    b"CON.tif",
    b"x .tif",
    b"x..tif",
    b"-rf.tif",
    b"=cmd|'C calc'!A0.tif",
    b"[bold red]m[x].tif",
    b"new\nline.tif",
    b"\x1b[31mred.tif",
    "\u202egnp.tif".encode(),
    b"$(touch executed).tif",
    b"a" * 240 + b".tif",
)


@pytest.fixture
def odd_images(tmp_path: Path) -> Path:
    images = tmp_path / "images"
    images.mkdir()
    for number, name in enumerate(ODD_NAMES):
        tifffile.imwrite(tmp_path / "one.tif", np.full((SIZE, SIZE), number, np.uint8))
        os.rename(os.fsencode(tmp_path / "one.tif"), os.path.join(os.fsencode(images), name))
    return images


def accept_all(folder: Path) -> None:
    with Session.open(folder) as session:
        assert len(session.items) == len(ODD_NAMES)
        for number, item in enumerate(session.items):
            session.accept(item, square(number))


@linux
@pytest.mark.slow
def test_files_of_any_name_go_through_all_commands(
    odd_images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "session"
    assert main(["new", str(folder), "--images", str(odd_images)]) == 0
    accept_all(folder)
    for words in (["info"], ["info", "--json"]):
        assert main([words[0], str(folder), *words[1:]]) == 0
    for name in ("tiff", "imagej", "ome-tiff", "objects", "overlays", "coco", "measurements"):
        assert main(["export", str(folder), name, "--format", name]) == 0
    assert len(list((tmp_path / "tiff").rglob("*.tif"))) == len(ODD_NAMES)
    assert not (tmp_path / "executed").exists()
    said = capfd.readouterr()
    assert "unexpected" not in said.out + said.err
    assert "\x1b[31m" not in said.out + said.err
    with Session.open(folder) as session:
        for number, item in enumerate(session.items):
            np.testing.assert_array_equal(stored_mask(folder, item.id), square(number))


@linux
@pytest.mark.slow
def test_files_of_any_name_are_found_and_exported_where_only_ascii_can_be_written(
    odd_images: Path, tmp_path: Path
) -> None:
    def run(*words: str) -> None:
        ascii_only = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
        command = [sys.executable, "-m", "napari_semigda", *words]
        done = subprocess.run(command, capture_output=True, env=os.environ | ascii_only, cwd=tmp_path)
        assert done.returncode == 0, done.stderr

    run("new", "session", "--images", "images")
    accept_all(tmp_path / "session")
    run("export", "session", "masks")
    assert len(list((tmp_path / "masks").rglob("*.tif"))) == len(ODD_NAMES)


ODD_VALUES = (
    *("-1", "0", "", "nan", "inf", "1e400", "9" * 23, "x", "²", "١٢", "1,2,3,4,5", "-", "--", "\udce9"),
    *("a\nb", "0x10", "1e-320", "🙂", "9" * 5000),
)
OPTIONS = {
    "new": (
        "working-size",
        "zoom",
        "channels",
        "label-count",
        "seed",
        "classes",
        "preset",
        "weights",
        "masks",
    ),
    "train": ("steps", "seconds", "seed", "device", "weights", "recipe"),
    "export": ("minimum-size", "format", "stack", "weights", "device"),
}


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("command", "option"), [(command, option) for command, options in OPTIONS.items() for option in options]
)
def test_no_value_of_an_option_is_unexpected(
    make_session: MakeSession,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    option: str,
) -> None:
    folder = make_session()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")  # a value may name a folder to write to
    for number, value in enumerate(ODD_VALUES):
        if option == "steps" and value in ("9" * 23, "9" * 5000, "١٢"):
            continue  # these are numbers, and training would take as long
        first = {
            "new": ["new", f"new {number}", "--images", str(tmp_path / "images")],
            "train": ["train", str(folder), "--device", "cpu", "--steps", "1", "--no-drafts"],
            "export": ["export", str(folder), f"out {number}"],
        }[command]
        assert main([*first, f"--{option}", value]) in (0, 1, 2, 3)
    said = capsys.readouterr()
    assert "unexpected" not in said.out + said.err
    assert "Traceback" not in said.out + said.err


COMMANDS = {
    "train": (["train", "{session}", "--steps", "30", "--device", "cpu"], 9.0),
    "resume": (["train", "{session}", "--resume", "--device", "cpu"], 6.0),
    "predict": (["predict", "{session}", "--all", "--device", "cpu"], 6.0),
    "export": (["export", "{session}", "{out}", "--overwrite"], 2.5),
    "info": (["info", "{session}"], 2.0),
    "relocate": (["relocate", "{session}", "{images}"], 2.0),
    "new": (["new", "{new}", "--images", "{images}"], 3.0),
}


@pytest.mark.nightly
@pytest.mark.skipif(os.name != "posix", reason="another process cannot press Ctrl-C for it")
@pytest.mark.parametrize("name", COMMANDS)
def test_ctrl_c_at_any_moment_leaves_a_whole_session(
    make_session: MakeSession, tmp_path: Path, name: str
) -> None:
    words, longest = COMMANDS[name]
    made = make_session()
    with Session.open(made) as session:
        list(train_round(session, steps=1, drafts=False, device="cpu"))
        items = [item.id for item in session.items[:2]]
    moments = random.Random(name)
    for number in range(3):
        folder = tmp_path / f"session {number}"
        shutil.copytree(made, folder)
        places = {"session": folder, "out": tmp_path / "out", "new": tmp_path / f"new {number}"}
        places["images"] = tmp_path / "images"
        command = [sys.executable, "-m", "napari_semigda", *(word.format(**places) for word in words)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            process.wait(moments.uniform(0.02, longest))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert "Traceback" not in said
        assert process.returncode in ((0, 1, 130) if name == "resume" else (0, 130)), said
        with Session.open(folder) as session:
            assert session.read_only is None
            assert session.journal()
        for seed, item_id in enumerate(items):
            np.testing.assert_array_equal(stored_mask(folder, item_id), square(seed))
