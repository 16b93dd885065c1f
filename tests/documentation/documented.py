"""What README and docs tell people to type."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
EXTEND_PAGES = sorted((ROOT / "docs" / "extend").glob("*.md"))
"""What they show runs in `tests/test_extend.py`."""


def commands(pages: list[Path]) -> list[tuple[str, str]]:
    """(page, command) of each indented line that starts with ldseg."""
    return [
        (page.name, line.strip())
        for page in pages
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith("    ldseg ")
    ]
