"""`python -m ldseg` is `ldseg`; torchrun starts it by this name."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from ldseg.app.cli.main import main


def leave(code: int) -> NoReturn:
    """End this process. One of several ends without Python's clean-up, which stops threads wherever they are:
    now and then one of the process group's was in C++ and aborted the process, and the launcher would take a
    finished training for one that failed."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    raise SystemExit(code)


if __name__ == "__main__":
    leave(main())
