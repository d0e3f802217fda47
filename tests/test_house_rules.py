"""Small classes, small files and no import circle in the package."""

import ast
from collections.abc import Iterator
from pathlib import Path

import napari_semigda

PACKAGE = Path(napari_semigda.__file__).parent
GENERATED = {"_version"}
LONGEST_CLASS, LONGEST_FILE = 350, 500

#: What still breaks the rules. Remove what no longer does; add nothing.
LONG_CLASSES: set[str] = set()
LONG_FILES: set[str] = set()
IN_A_CIRCLE: set[str] = set()


def module_name(path: Path) -> str:
    """The name of a module below the package; that of the package itself is empty."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {
    name: ast.parse(path.read_text("utf-8"))
    for path in sorted(PACKAGE.rglob("*.py"))
    if (name := module_name(path)) not in GENERATED
}


def imported(tree: ast.Module) -> Iterator[str]:
    """Modules of the package that a module imports anywhere: in functions and for type checking, too."""
    root = PACKAGE.name
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import"
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name[len(root) + 1 :] in MODULES else str(node.module) for name in members]
        else:
            continue
        yield from (name[len(root) :].lstrip(".") for name in names if name.split(".")[0] == root)


def longer_than(limit: int, lengths: dict[str, int]) -> set[str]:
    return {name for name, length in lengths.items() if length > limit}


def test_no_class_is_longer_than_its_limit() -> None:
    lengths = {
        f"{module}.{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for module, tree in MODULES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    assert longer_than(LONGEST_CLASS, lengths) == LONG_CLASSES


def test_no_file_is_longer_than_its_limit() -> None:
    lengths = {
        module_name(path): len(path.read_text("utf-8").splitlines())
        for path in PACKAGE.rglob("*.py")
        if module_name(path) in MODULES
    }
    assert longer_than(LONGEST_FILE, lengths) == LONG_FILES


def test_no_module_imports_itself_through_others() -> None:
    graph = {module: set(imported(tree)) & set(MODULES) - {module} for module, tree in MODULES.items()}

    def reached(module: str) -> set[str]:
        found: set[str] = set()
        ahead = [module]
        while ahead:
            new = graph[ahead.pop()] - found
            found |= new
            ahead += new
        return found

    assert {module for module in graph if module in reached(module)} == IN_A_CIRCLE
