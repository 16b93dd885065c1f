"""What label encoders read."""

from __future__ import annotations

import pytest
import torch

from ldseg.networks.blocks import space_to_depth
from ldseg.networks.label_encoders.base import one_hot, one_hot_cells


@pytest.mark.parametrize("stride", [(2, 4), (1, 2, 2)])
def test_the_one_hot_label_is_the_same_folded_before_and_after(stride: tuple[int, ...]) -> None:
    shape = tuple(3 * n for n in stride)
    y = torch.randint(-1, 3, (2, *shape), generator=torch.Generator().manual_seed(0))
    found = one_hot_cells(y, 3, stride)
    assert torch.equal(found, space_to_depth(one_hot(y, 3), stride))
    assert found.stride(1) == 1  # channels last, as convolutions want them
