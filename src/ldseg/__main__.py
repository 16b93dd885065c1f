"""`python -m ldseg` is `ldseg`; torchrun starts it by this name."""

from __future__ import annotations

from ldseg.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
