"""Find the flips and transposes that bring a volume to the canonical orientation.

Canonical is LPS+, the convention of `Volume`: along the array's last axis (x) the index grows towards the
patient's left, along y towards posterior, along z (first) towards superior, each to the nearest axis. Only
"zyx" volumes have such a world; "yx" and "tyx" stay as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np

from ldseg.data.volume import Volume


@dataclass(frozen=True)
class Orientation:
    """The permutation and flips from a file's grid axes to the canonical ones."""

    permutation: tuple[int, ...]
    """Canonical axis k is the file's axis `permutation[k]` (array order, channels not counted)."""
    flips: tuple[bool, ...]
    """Whether canonical axis k runs backwards in the file."""

    def permuted(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        """Return shape, spacing or another per-axis value of the file in canonical order."""
        return tuple(values[axis] for axis in self.permutation)


def orientation_of(volume: Volume) -> Orientation:
    """Return the orientation of `volume`; the identity where it has no patient coordinates."""
    count = len(volume.shape)
    if volume.axes != "zyx" or len(volume.direction) != 9:
        return Orientation(tuple(range(count)), (False,) * count)
    cosines = np.asarray(volume.direction, dtype=np.float64).reshape(
        3, 3
    )  # rows: world x, y, z; columns: index x, y, z
    cosines = cosines[::-1, ::-1]  # (world axis, file axis), both in array order z, y, x
    # the nearest signed permutation as a whole is unambiguous in oblique scans too
    world = range(3)
    best = max(permutations(world), key=lambda files: sum(abs(cosines[k, files[k]]) for k in world))
    return Orientation(tuple(best), tuple(bool(cosines[k, best[k]] < 0) for k in world))
