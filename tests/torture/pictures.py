"""A set of small pictures with a bright square each, and the trainings that are tortured on it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from volume_builders import save_image, save_volume, volume

from ldseg.data.volume import Volume

STEPS = 24
_SHORT = (
    *("--steps", str(STEPS), "--device", "cpu", "--training.validations", "3", "--planning.batch", "2"),
    *("--training.save_minutes", "0.004", "--training.validation_cases", "2"),
)
TRAININGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "2D": ("pictures", _SHORT),
    "2D, patches made by a worker": ("pictures", (*_SHORT, "--training.workers", "1")),
    "2D, U-Net": ("pictures", (*_SHORT, "--baseline", "unet")),
    "3D": ("volumes", _SHORT),
}
"""Name to data and arguments."""
FOLDS = (*_SHORT, "--folds", "2")
CONTINUED = ("--continue", "--steps", str(STEPS // 2), "--device", "cpu")
"""Arguments of a cross-validation on the pictures, and of going on with it for longer."""


def write_sets(folder: Path) -> None:
    """`folder`/pictures and `folder`/volumes."""
    for number in range(6):
        rng = np.random.default_rng(number)
        ids = np.zeros((32, 32), np.uint8)
        top, left = rng.integers(2, 16, 2)
        ids[top : top + 14, left : left + 12] = 1
        grey = (120 * ids + rng.integers(0, 60, ids.shape)).astype(np.uint8)
        save_image(folder / "pictures" / "images" / f"p{number}.png", grey)
        save_image(folder / "pictures" / "masks" / f"p{number}.png", ids)
        place = volume(seed=number, shape=(8, 16, 16))
        solid = np.kron(ids[None, ::4, ::4], np.ones((8, 2, 2), np.uint8))
        _put(folder / "volumes" / "images" / f"v{number}.nii.gz", place, solid * 100.0 + grey[0, 0])
        _put(folder / "volumes" / "masks" / f"v{number}.nii.gz", place, solid)


def _put(path: Path, place: Volume, voxels: np.ndarray) -> None:
    kind = "labels" if voxels.dtype == np.uint8 else "image"
    save_volume(path, place.with_array(voxels[None], kind))


def predict_words(work: Path, model: Path, save: str) -> list[str]:
    """The command that predicts the set of pictures, up to its folder of results."""
    return ["predict", str(work / "pictures" / "images"), "-m", str(model), "--save", save, "-o"]
