"""Label ids become class indices."""

from __future__ import annotations

import numpy as np
import pytest

from ldseg.data.class_indices import class_indices


def test_class_indices_follow_the_models_classes() -> None:
    classes = {"background": 0, "left": 2, "right": 5}
    ids = np.array([0, 5, 2, 255])
    assert class_indices(ids, classes, 255).tolist() == [0, 2, 1, -1]
    with pytest.raises(ValueError, match=r"label ids \[255\] are not among"):
        class_indices(ids, classes, None)


def test_every_id_above_zero_may_be_one_class() -> None:
    ids = np.array([0, 7, 3, 255])
    assert class_indices(ids, {"background": 0, "cell": 1}, 255, above_zero=True).tolist() == [0, 1, 1, -1]
