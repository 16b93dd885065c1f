"""A small data set for the commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Eight gray images with a bright square each."""
    root = tmp_path / "data"
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(8):
        rng = np.random.default_rng(number)
        mask = np.zeros((32, 32), np.uint8)
        top, left = rng.integers(4, 16, 2)
        mask[top : top + 12, left : left + 12] = 1
        gray = (120 * mask + rng.integers(0, 60, mask.shape)).astype(np.uint8)
        Image.fromarray(gray).save(root / "images" / f"p{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"p{number}.png")
    return root
