"""Small plans of either dimension."""

from __future__ import annotations

import pytest

from ldseg.planning.plan import ChannelPlan, Plan


def small_plan(dimensions: int) -> Plan:
    patch = (32, 32) if dimensions == 2 else (16, 16, 24)
    return Plan(
        version=1,
        dimensions=dimensions,  # type: ignore[arg-type]
        axes="yx" if dimensions == 2 else "zyx",
        channels=(ChannelPlan("a", "zscore"), ChannelPlan("b", "zscore")),
        classes={"background": 0, "left": 1, "right": 2},
        ignore_id=None,
        labels_above_zero=False,
        file_ending=".nii.gz",
        spacing=(1.0,) * dimensions,
        patch=patch,
        tiled=False,
        strides=((2,) * dimensions,) * 3,
        latent_levels=2,
        latent_channels=4,
        widths=(8, 16, 16),
        batch=2,
        mirror_axes=(),
        training_memory_gb=1.0,
    )


@pytest.fixture(params=[2, 3])
def plan(request: pytest.FixtureRequest) -> Plan:
    return small_plan(request.param)
