"""Convert label ids of files to class indices 0..K-1, with -1 for the ignore id."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

IGNORE_INDEX = -1
"""Class index of unlabelled voxels."""


def class_indices(
    ids: NDArray[np.integer], classes: Mapping[str, int], ignore_id: int | None, above_zero: bool = False
) -> NDArray[np.int16]:
    """Return the index of each id in `classes`, `IGNORE_INDEX` for the ignore id.

    With `above_zero` every id above zero is class 1. Raises ValueError for an id that is not declared.
    """
    indices = np.zeros(ids.shape, dtype=np.int16)
    known = np.zeros(ids.shape, dtype=bool)
    for index, label_id in enumerate(classes.values()):
        found = ids > 0 if above_zero and index == 1 else ids == label_id
        indices[found] = index
        known |= found
    if ignore_id is not None:
        ignored = ids == ignore_id
        indices[ignored] = IGNORE_INDEX
        known |= ignored
    if not known.all():
        strange = np.unique(ids[~known]).tolist()
        raise ValueError(f"label ids {strange[:5]} are not among {sorted(classes.values())}")
    return indices
