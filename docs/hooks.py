"""Fill the page of the command line with the help of each command when the documentation is built."""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from ldseg.app.cli import COMMANDS
from ldseg.app.cli.main import make_parser

_MARKER = "<!-- commands -->"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return the page with the help of all commands in the place of its marker."""
    if page.file.src_uri != "command-line.md":
        return markdown
    os.environ["COLUMNS"] = "80"
    return markdown.replace(_MARKER, "\n\n".join(_section(name) for name in COMMANDS))


def _section(name: str) -> str:
    command = import_module(COMMANDS[name])
    text = make_parser(name, command).format_full_help().rstrip()
    return f"## ldseg {name}\n\n```text\n{text}\n```"
