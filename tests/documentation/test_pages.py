"""What README and docs tell people to type is understood, and what they link to exists."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from documented import EXTEND_PAGES, PAGES, ROOT, commands

import ldseg
from ldseg.app.cli import COMMANDS
from ldseg.app.cli.main import make_parser


@pytest.mark.parametrize(("page", "line"), commands([*PAGES, *EXTEND_PAGES]))
def test_a_documented_command_is_understood(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    assert words[0] in COMMANDS, page
    make_parser(words[0], import_module(COMMANDS[words[0]])).parse_args(words[1:])


def test_there_are_documented_commands() -> None:
    assert len(commands(PAGES)) >= 10


@pytest.mark.parametrize("page", [*PAGES, *EXTEND_PAGES], ids=lambda page: page.name)
def test_links_lead_to_files(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_pages_build_without_a_warning(tmp_path: Path) -> None:
    pytest.importorskip("mkdocs", reason="the extra docs is not installed")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Predictor" in (tmp_path / "reference" / "index.html").read_text(encoding="utf-8")
    assert "--save SAVE" in (tmp_path / "command-line" / "index.html").read_text(encoding="utf-8")


def test_make_targets_of_the_readme_exist() -> None:
    targets = re.findall(r"`make (\w+)`", PAGES[0].read_text(encoding="utf-8"))
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert targets
    assert all(f"\n{target}:" in makefile for target in targets)


def test_every_public_name_is_there() -> None:
    assert all(getattr(ldseg, name) for name in ldseg.__all__)
