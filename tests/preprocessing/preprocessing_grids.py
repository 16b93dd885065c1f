"""Volumes and plans made by hand."""

import numpy as np

from ldseg.data.volume import Volume
from ldseg.planning.plan import ChannelPlan, Plan


def plan(axes: str = "zyx", **changes: object) -> Plan:
    """A plan of one z-scored channel and the ids 0, 1 and 4."""
    count = len(axes)
    values: dict[str, object] = {
        "version": 1,
        "dimensions": 2 if count == 2 else 3,
        "axes": axes,
        "channels": (ChannelPlan("MRI", "zscore"),),
        "classes": {"background": 0, "ball": 1, "box": 4},
        "ignore_id": None,
        "labels_above_zero": False,
        "file_ending": ".nii.gz",
        "spacing": (1.0,) * count,
        "patch": (16,) * count,
        "tiled": True,
        "strides": ((2,) * count, (2,) * count),
        "latent_levels": 1,
        "latent_channels": 8,
        "widths": (32, 64),
        "batch": 4,
        "mirror_axes": (),
        "training_memory_gb": 1.0,
    }
    return Plan(**(values | changes))  # type: ignore[arg-type]


def volume(
    array: np.ndarray,
    axes: str = "zyx",
    spacing: tuple[float, ...] | None = None,
    direction: np.ndarray | None = None,
    kind: str = "image",
) -> Volume:
    """`array` (M, *S) with a place in the world."""
    world = np.eye(3 if axes == "zyx" else 2) if direction is None else direction
    return Volume(
        array=array,
        spacing=spacing or (1.0,) * len(axes),
        origin=(0.0,) * len(world),
        direction=tuple(world.ravel().tolist()),
        axes=axes,  # type: ignore[arg-type]
        kind=kind,  # type: ignore[arg-type]
    )


def blobs(shape: tuple[int, ...]) -> np.ndarray:
    """Ids (*shape): a ball, id 1, of half the size and a box, id 4, in a corner."""
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    ids = np.zeros(shape, dtype=np.uint8)
    ids[sum(g**2 for g in grid) < 0.3] = 1
    ids[tuple(slice(0, max(1, n // 4)) for n in shape)] = 4
    return ids


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())
