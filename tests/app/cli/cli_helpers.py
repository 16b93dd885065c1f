"""Commands as a user gives them, and what they complain of."""

from __future__ import annotations

import pytest

from ldseg.app.cli.main import main

Output = pytest.CaptureFixture[str]

TRAIN = ("--steps", 3, "--training.validations", 1, "--device", "cpu")
"""Options of a training that ends at once."""


def run(*words: object) -> int:
    """Return the exit code of a command."""
    return main([str(word) for word in words])


def complaint(output: Output) -> str:
    """Return the last line on stderr, which must be a complaint."""
    lines = output.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("ldseg: error: ")
    assert "Traceback" not in "\n".join(lines)
    return lines[-1]
