"""The Dice coefficient: 2 |A and B| / (|A| + |B|), for masks and for counts.

The differentiable Dice of training is `ldseg.methods.losses.dice_loss`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def dice_of_counts(common: ArrayLike, total: ArrayLike, empty: float = 1.0) -> NDArray[np.float64]:
    """Return 2 `common` / `total` element by element, and `empty` where `total` is 0.

    `common` is the size of the intersection and `total` the sum of both sizes, as counts of voxels or as sums
    of probabilities (soft Dice).
    """
    doubled, sizes = 2 * np.asarray(common, np.float64), np.asarray(total, np.float64)
    return np.divide(doubled, sizes, out=np.full(sizes.shape, empty), where=sizes > 0)


def dice(a: NDArray[np.bool_] | Any, b: NDArray[np.bool_] | Any, empty: float = 1.0) -> float:
    """Return the Dice coefficient of two masks (NumPy or torch) of one shape, `empty` if both are empty."""
    return float(dice_of_counts(int((a & b).sum()), int(a.sum()) + int(b.sum()), empty))
