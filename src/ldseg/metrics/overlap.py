"""Overlap and volume of two masks.

Dice = 2 |P and R| / (|P| + |R|), over all voxels of the case, all frames of a 2D+time case together.
volume_error = | |P| - |R| | / |R|, a share of the reference's volume.
volume_difference_mm3 (_mm2 in 2D; _mm2 per frame in 2D+time; _px, in voxels or pixels, without a physical
spacing) = |P| - |R|, positive where too much is predicted.

Empty masks. Both empty: Dice 1 and no error, the prediction is right. One empty: Dice 0; the volume error is
1, since a share of nothing has no value and the whole of the predicted volume is wrong.
"""

from __future__ import annotations

from ldseg.data.units import size_suffix, voxel_size
from ldseg.metrics.dice import dice_of_counts
from ldseg.metrics.masks import MaskPair, frames


def overlap_metrics(pair: MaskPair) -> dict[str, float]:
    """Return `dice`, `volume_error` and the signed volume difference of one class."""
    predicted, true = int(pair.prediction.sum()), int(pair.reference.sum())
    common = int((pair.prediction & pair.reference).sum())
    count = max(1, sum(1 for _ in frames(pair))) if pair.axes == "tyx" else 1  # makes sums means
    difference = (predicted - true) * (voxel_size(pair.axes, pair.spacing) / count)
    return {
        "dice": float(dice_of_counts(common, predicted + true)),
        "volume_error": abs(predicted - true) / (true or predicted or 1),
        f"volume_difference_{size_suffix(pair.axes, pair.physical)}": difference,
    }
