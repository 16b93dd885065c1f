"""Writes a folder whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ldseg.errors import InputError


@contextmanager
def atomic_directory(out: Path) -> Generator[Path]:
    """Yield a temporary folder, which becomes `out` on success and is removed otherwise.

    Raises:
        InputError: `out` holds something already, or the disk refuses.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out}: is there already; remove it, or choose another folder with -o")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{out.name}.", dir=out.parent))
    except OSError as error:
        raise InputError(f"{out}: cannot be made ({error.strerror}); choose another with -o") from error
    try:
        yield staged
        staged.chmod(0o755)
        try:
            os.replace(staged, out)
        except OSError as error:
            raise InputError(f"{out}: cannot be written ({error.strerror}); choose another") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
