"""Small data sets on disk and fingerprints made by hand."""

from pathlib import Path

import numpy as np
from PIL import Image

from ldseg.data.dataset import DataSet
from ldseg.planning.fingerprint import (
    CaseFingerprint,
    ChannelFingerprint,
    ClassFingerprint,
    Fingerprint,
)


def write_pictures(root: Path, count: int = 3, colour: bool = False) -> Path:
    """Images and masks, 40 x 60, with a bright square of 12 pixels, id 1, and a bar of id 2 in the first."""
    rng = np.random.default_rng(0)
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for number in range(count):
        mask = np.zeros((40, 60), dtype=np.uint8)
        mask[10:22, 20 + number : 32 + number] = 1
        if number == 0:
            mask[30:36, 5:50] = 2
        image = (40 * mask + rng.integers(0, 30, mask.shape)).astype(np.uint8)
        if colour:
            image = np.stack([image, 255 - image, image // 2], axis=-1)
        Image.fromarray(image).save(root / "images" / f"case_{number}.png")
        Image.fromarray(mask).save(root / "masks" / f"case_{number}.png")
    return root


def fingerprint(
    axes: str = "zyx",
    shapes: tuple[tuple[int, ...], ...] = ((35, 50, 36), (43, 59, 47)),
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
    width: float = 10.0,
    channels: tuple[str, ...] = ("MRI",),
    colour: bool = False,
) -> Fingerprint:
    """A fingerprint of cases of one spacing and one structure `width` mm wide."""
    return Fingerprint(
        version=1,
        axes=axes,  # type: ignore[arg-type]
        cases=tuple(CaseFingerprint(f"c{n}", shape, spacing) for n, shape in enumerate(shapes)),
        channels=tuple(ChannelFingerprint(n, 0.0, 255.0, True, 5.0, 200.0, 100.0, 30.0) for n in channels),
        colour=colour,
        classes=(
            ClassFingerprint(
                "object",
                2,
                0.1,
                100.0,
                50.0,
                (width,) * len(axes),
                tuple(width / step for step in spacing),
            ),
        ),
        anisotropy=max(spacing) / min(spacing),
    )


def dataset(axes: str = "zyx", channels: tuple[str, ...] = ("MRI",), **changes: object) -> DataSet:
    """A data set without files, for planning."""
    values: dict[str, object] = {
        "root": Path("set"),
        "cases": (),
        "channel_names": channels,
        "classes": {"background": 0, "object": 1},
        "ignore_id": None,
        "axes": axes,
        "file_ending": ".nii.gz",
        "labels_above_zero": False,
        "label_threshold": None,
    }
    return DataSet(**(values | changes))  # type: ignore[arg-type]
