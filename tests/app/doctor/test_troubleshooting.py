"""The page on troubles quotes what the program really says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
ROWS = re.findall(
    r"^\| (`.*?) \|", (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8"), re.MULTILINE
)
QUOTES = sorted({quote for row in ROWS for quote in re.findall(r"`([^`]+)`", row)})


@pytest.fixture(scope="module")
def source() -> str:
    """All source, strings that continue on another line joined."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.py")))
    return re.sub(r'"\s*\n\s*f?"', "", text)


@pytest.mark.parametrize("quote", QUOTES)
def test_a_quoted_message_is_in_the_source(quote: str, source: str) -> None:
    assert quote in source


def test_there_are_quotes() -> None:
    assert len(QUOTES) > 20
