"""What README and docs tell people to type."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


def commands() -> list[tuple[str, str]]:
    """(page, command) of each indented line that starts with ldseg."""
    return [
        (page.name, line.strip())
        for page in PAGES
        for line in page.read_text(encoding="utf-8").splitlines()
        if line.startswith("    ldseg ")
    ]
