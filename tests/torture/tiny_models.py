"""Saved models that are small, untrained and answer to their noise and their image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.ndimage import gaussian_filter

from ldseg.planning.plan import ChannelPlan, Plan, read_plan, write_plan
from ldseg.preprocessing.intensity_statistics import measure_intensity_statistics
from ldseg.presets import PRESETS
from ldseg.runs.saved_model import build_segmenter, save_model


def tiny_plan(axes: str = "yx", channels: int = 1, patch: int = 16) -> Plan:
    """Patches of `patch` voxels an axis, a latent grid of 1/4, three classes with ids 0, 2 and 5."""
    dimensions = len(axes)
    return Plan(
        version=1,
        dimensions=2 if dimensions == 2 else 3,
        axes=axes,  # type: ignore[arg-type]
        channels=tuple(ChannelPlan(f"channel{n}", "zscore") for n in range(channels)),
        classes={"background": 0, "left": 2, "right": 5},
        ignore_id=None,
        labels_above_zero=False,
        file_ending=".nii.gz",
        spacing=(1.0,) * dimensions,
        patch=(patch,) * dimensions,
        tiled=True,
        strides=((2,) * dimensions,) * 2,
        latent_levels=2,
        latent_channels=2,
        widths=(4, 4),
        batch=2,
        mirror_axes=(),
        training_memory_gb=0.1,
    )


def make_tiny_model(
    root: Path,
    axes: str = "yx",
    baseline: str = "none",
    preset: str = "default",
    channels: int = 1,
    patch: int = 16,
) -> Path:
    """Save a model below `root` and return its folder."""
    plan = tiny_plan(axes, channels, patch)
    chosen: Any = baseline
    settings = replace(PRESETS[preset](plan), baseline=chosen)
    # fp32: on machines with bf16 the last bits would depend on how many samples share a call.
    settings = replace(settings, training=replace(settings.training, precision="fp32", steps=1))
    torch.manual_seed(0)
    model = build_segmenter(settings)
    with torch.no_grad():  # residual branches start at zero; this wakes all of the network
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    folder = root / f"model_{axes}_{baseline}_{preset}_{channels}"
    save_model(folder, model, plan, settings, "card")
    return folder


def know_soft_pictures(folder: Path, shape: tuple[int, int]) -> Plan:
    """Let a 2D model know what twelve soft pictures of a shape look like; its plan as it was before."""
    plan, random = read_plan(folder / "plan.json"), np.random.default_rng(0)
    noise = (random.normal(size=(len(plan.channels), *shape)) for _ in range(12))
    soft = (gaussian_filter(one, (0, 2, 2)).astype(np.float32) for one in noise)
    write_plan(folder / "plan.json", replace(plan, appearance=measure_intensity_statistics(soft, plan)))
    return plan
