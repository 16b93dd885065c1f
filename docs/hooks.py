"""Fill pages when the documentation is built: the help of each command, and the code of examples."""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any

from ldseg.app.cli import COMMANDS
from ldseg.app.cli.main import make_parser

_MARKER = "<!-- commands -->"
_CODE = re.compile(r"<!-- code: (\S+) -->")
_ROOT = Path(__file__).parents[1]


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Return the page with the help of all commands, and with files of code, in the place of markers."""
    markdown = _CODE.sub(lambda found: _listing(found[1]), markdown)
    if page.file.src_uri != "command-line.md":
        return markdown
    os.environ["COLUMNS"] = "80"
    return markdown.replace(_MARKER, "\n\n".join(_section(name) for name in COMMANDS))


def _section(name: str) -> str:
    command = import_module(COMMANDS[name])
    text = make_parser(name, command).format_full_help().rstrip()
    return f"## ldseg {name}\n\n```text\n{text}\n```"


def _listing(path: str) -> str:
    code = (_ROOT / path).read_text(encoding="utf-8").rstrip()
    return f"`{path}`:\n\n```python\n{code}\n```"
