"""Imports within `ldseg` go down the list of floors in CONTRIBUTING.md."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from documented import ROOT

PACKAGE = ROOT / "src" / "ldseg"
TOP = {"__init__", "__main__", "__version__"}
"""The package's own names: its public API is above all floors, its version below them."""
EXCEPTIONS: dict[tuple[str, str], str] = {}
"""Importing and imported package, and the reason for an import that does not go down."""


def floors() -> dict[str, int]:
    """Return each package's floor as CONTRIBUTING.md lists them, the top one 0."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.split("## Find your way", 1)[1].split("\n## ", 1)[0]
    lines = [line.strip().split(", ") for line in section.splitlines() if line.startswith("    ")]
    return {package: number for number, names in enumerate(lines) for package in names}


def imported_modules(tree: ast.AST) -> Iterator[str]:
    """Yield each imported module's full name, from within functions and TYPE_CHECKING blocks too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imports_between_packages() -> dict[tuple[str, str], list[str]]:
    """Return the files of each pair of an importing and an imported package."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        importer = path.relative_to(PACKAGE).with_suffix("").parts[0]
        for module in imported_modules(ast.parse(path.read_text(encoding="utf-8"))):
            parts = module.split(".")
            if parts[0] == "ldseg" and len(parts) > 1 and parts[1] != importer:
                found.setdefault((importer, parts[1]), []).append(str(path.relative_to(PACKAGE)))
    return {pair: files for pair, files in found.items() if not TOP & set(pair)}


def test_every_package_has_a_floor_and_every_floor_exists() -> None:
    present = {
        path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert set(floors()) == present - TOP


def test_imports_only_go_down() -> None:
    floor = floors()
    upward = {
        pair: files for pair, files in imports_between_packages().items() if floor[pair[0]] >= floor[pair[1]]
    }
    assert {pair: files for pair, files in upward.items() if pair not in EXCEPTIONS} == {}
    assert set(EXCEPTIONS) <= set(upward), "an exception is no longer needed"


@pytest.mark.parametrize(
    "source",
    ["import ldseg.app.demo", "def f():\n    from ldseg.app.demo import x", "from ldseg.app import demo"],
)
def test_imports_are_found_wherever_they_stand(source: str) -> None:
    assert any(name.startswith("ldseg.app.demo") for name in imported_modules(ast.parse(source)))
