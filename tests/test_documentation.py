"""What the README and the documentation show can be done as it stands there."""

import ast
import re
import runpy
import shlex
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from napari_semigda import ImageSettings
from napari_semigda.cli import main
from napari_semigda.model.checkpoint import save_checkpoint
from napari_semigda.model.network import SemiGDANet
from napari_semigda.samples import sample_pairs

REPOSITORY = Path(__file__).parents[1]
TOP_LEVEL = sorted(REPOSITORY.glob("*.md"))
PAGES = [*TOP_LEVEL, *sorted((REPOSITORY / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.MULTILINE | re.DOTALL)


def name(page: Path) -> str:
    return page.relative_to(REPOSITORY).as_posix()


def blocks(page: Path, *languages: str) -> list[str]:
    """The code of a page in these languages."""
    return [code for language, code in FENCE.findall(page.read_text("utf-8")) if language in languages]


def commands(page: Path) -> list[str]:
    """The `semigda` commands of a page, without the demo and without descriptions of what to type."""
    lines = "\n".join(blocks(page, "", "bash")).splitlines()
    return [
        line
        for line in lines
        if line.startswith("semigda ") and "demo" not in line and not re.search(r"\b[A-Z]{3,}\b", line)
    ]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with a trained model and a slide in it."""
    monkeypatch.chdir(tmp_path)
    metadata = {"settings": ImageSettings(working_size=32, framing="tiles").to_dict()}
    save_checkpoint(tmp_path / "model.safetensors", SemiGDANet("compact", seed=0), metadata)
    np.save("slide.npy", iio.imread(sample_pairs()[0][0]))
    return tmp_path


def run_python(page: Path, *changes: tuple[str, str]) -> dict[str, object]:
    """Run the code of a page in one go, after these replacements of patterns; returns its names."""
    names: dict[str, object] = {}
    for number, code in enumerate(blocks(page, "python"), start=1):
        for pattern, replacement in changes:
            code = re.sub(pattern, replacement, code)
        exec(compile(code, f"{name(page)}, block {number}", "exec"), names)
    return names


WITH_PYTHON = [page for page in PAGES if blocks(page, "python")]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_python_runs_from_top_to_bottom(page: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With fewer images than it has, and with steps instead of seconds."""
    few = sample_pairs()[:8]
    monkeypatch.setattr("napari_semigda.samples.sample_pairs", lambda: few)
    run_python(page, (r"seconds=\d+", "steps=6"))


@pytest.mark.nightly
@pytest.mark.parametrize("page", WITH_PYTHON, ids=name)
def test_python_does_as_it_says(page: Path, workplace: Path) -> None:
    names = run_python(page)
    if page.name == "README.md":
        labels = names["prediction"].labels
        truth = iio.imread(sample_pairs()[-1][1]) > 0
        assert 2 * (labels & truth).sum() / (labels.sum() + truth.sum()) > 0.8


@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=name)
def test_commands_are_spelled_right(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in commands(page):
        ended = main(shlex.split(command, comments=True)[1:])
        assert ended == 1, f"{command}: {capsys.readouterr().err}"  # there are no such files here


@pytest.mark.parametrize("page", TOP_LEVEL, ids=name)
def test_links_outside_the_site_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8"))
    relative = [target.partition("#")[0] for target in targets if not re.match(r"\w+:|#", target)]
    assert [target for target in relative if not (page.parent / target).exists()] == []


def test_released_readmes_links_need_no_other_file() -> None:
    script = runpy.run_path(str(REPOSITORY / ".ci" / "absolute_links.py"))
    text = (REPOSITORY / "README.md").read_text("utf-8")
    released = script["absolute"](text, "https://example.org/us/here", "v1.2.0")
    assert "accepted](https://example.org/us/here/raw/v1.2.0/docs/pictures/loop.webp)" in released
    assert "[Python](https://example.org/us/here/blob/v1.2.0/docs/python.md)" in released
    targets = re.findall(r"\]\(([^)\s]+)\)", released)
    assert all(target.startswith("https://") for target in targets)
    assert len(targets) == len(re.findall(r"\]\(([^)\s]+)\)", text))


def spoken(source: Path) -> str:
    """All texts in a module's code, with … for what is filled in."""

    def text(node: ast.AST) -> str:
        if isinstance(node, ast.JoinedStr):
            return "".join(text(part) for part in node.values)
        return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else "…"

    nodes = ast.walk(ast.parse(source.read_text("utf-8")))
    return "\n".join(text(node) for node in nodes if isinstance(node, ast.JoinedStr | ast.Constant))


def test_troubles_are_named_by_what_the_program_says() -> None:
    page = (REPOSITORY / "docs" / "troubleshooting.md").read_text("utf-8")
    sections = re.split(r"^## ", page, flags=re.MULTILINE)[1:-1]  # the last one is about other programs
    titles = [title for section in sections for title in re.findall(r"^### (.+)$", section, re.MULTILINE)]
    everything = "\n".join(map(spoken, sorted((REPOSITORY / "src").rglob("*.py"))))
    told = [title for title in titles if title not in ("Rounds are slow", "Drafts do not get better")]
    assert len(told) > 15
    for part in (part.strip(" .(“”)") for title in told for part in title.split("…")):
        assert part in everything
