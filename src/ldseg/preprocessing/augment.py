"""Augment training patches by MONAI's transforms, drawn anew each time a case is used.

A patch is {"image": (M, *S) float32, "label": (1, *S) class index + 1, 0 where ignored}. The shift by one
makes voxels that a rotation brings in from outside of the patch ignored, not background. A new augmentation
is a function here and a line in `AUGMENTATIONS`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data.meta_tensor import MetaTensor
from monai.transforms.compose import Compose
from monai.transforms.intensity.dictionary import (
    RandAdjustContrastd,
    RandGaussianNoised,
    RandGaussianSmoothd,
    RandScaleIntensityd,
    RandShiftIntensityd,
)
from monai.transforms.spatial.dictionary import (
    Rand2DElasticd,
    Rand3DElasticd,
    RandAffined,
    RandFlipd,
    RandSimulateLowResolutiond,
)
from torch import Tensor

from ldseg.planning.plan import Plan
from ldseg.settings import AugmentSettings
from ldseg.utils.registry import Registry

Augment = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
"""augment(image (M, *S), labels (*S) with -1 where ignored, seed) -> the same, augmented."""

BuildAugmentation = Callable[[Plan, AugmentSettings], Sequence[Any]]
"""What a name in `augment.pipeline` stands for: a function to transforms of a dict with "image" and "label",
as MONAI's are. A random one is a MONAI `Randomizable`, so that it repeats with its seed."""

_KEYS = ("image", "label")
_IMAGE: tuple[Hashable, ...] = ("image",)
_INTERPOLATION = ("bilinear", "nearest")
_FILLING = ("border", "zeros")


def make_augment(plan: Plan, settings: AugmentSettings) -> Augment:
    """Return the augmentation that the plan's axes allow: no flip or rotation along time.

    Raises:
        ValueError: the pipeline names an augmentation that there is not.
    """
    transforms = [
        transform for name in settings.pipeline for transform in AUGMENTATIONS.find(name)(plan, settings)
    ]
    return _Augment(Compose(transforms), plan.axes.index("t") if "t" in plan.axes else None)


@dataclass(frozen=True)
class _Augment:
    """An `Augment` that can be pickled for another process."""

    pipeline: Compose
    time: int | None
    """Index of the time axis in *S, or None."""

    def __call__(self, image: Tensor, labels: Tensor, seed: int) -> tuple[Tensor, Tensor]:
        if self.time is not None:
            image, labels = _random_time_roll(image, labels, self.time, seed)
        self.pipeline.set_random_state(seed=seed % 2**32)
        data: Any = self.pipeline({"image": image, "label": (labels + 1)[None].float()})
        return _plain(data["image"]), _plain(data["label"])[0].round().long() - 1


def _random_time_roll(image: Tensor, labels: Tensor, axis: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return a partly labeled 2D+time series rolled along time by a random number of frames.

    Where all series are labeled at the same frames, a network would learn to segment only at these times.
    """
    labelled = (labels >= 0).movedim(axis, 0).flatten(1).any(1)
    if bool(labelled.all()):
        return image, labels
    frames = int(torch.randint(len(labelled), (), generator=torch.Generator().manual_seed(seed % 2**63)))
    return image.roll(frames, 1 + axis), labels.roll(frames, axis)


def _plain(value: Tensor) -> Tensor:
    """Return MONAI's tensor with metadata as an ordinary one."""
    return value.as_tensor() if isinstance(value, MetaTensor) else torch.as_tensor(value)


def _spatial_ranges(plan: Plan, settings: AugmentSettings) -> tuple[list[float], list[Any], list[float]]:
    """Return the ranges of rotation (radians), scale and shift (voxels) per axis; 0 along time."""
    radians = np.deg2rad(settings.rotation)
    moves = [0.0 if axis == "t" else 1.0 for axis in plan.axes]
    shift = [settings.shift * n * move for n, move in zip(plan.patch, moves, strict=True)]
    scale = [settings.scale * move for move in moves]
    if plan.dimensions == 2:
        return [2 * radians], scale, shift
    if "t" in plan.axes:
        return [radians, 0.0, 0.0], scale, shift
    others = [[step for n, step in enumerate(plan.spacing) if n != axis] for axis in range(3)]
    # Other rotations would mix thin and thick voxels.
    return [radians if _nearly_isotropic(steps) else 0.0 for steps in others], scale, shift


def _nearly_isotropic(spacing: Sequence[float]) -> bool:
    """Return whether no axis has voxels more than twice as long as another's."""
    return max(spacing) <= 2 * min(spacing)


def affine(plan: Plan, settings: AugmentSettings) -> list[Any]:
    rotation, scale, shift = _spatial_ranges(plan, settings)
    affine = RandAffined(
        _KEYS,
        prob=settings.affine_probability,
        rotate_range=rotation,
        scale_range=scale,
        translate_range=shift,
        mode=_INTERPOLATION,
        padding_mode=_FILLING,
    )
    return [affine]


def elastic(plan: Plan, settings: AugmentSettings) -> list[Any]:
    """Return the elastic deformation; none for 2D+time, where all frames must move alike."""
    if settings.elastic_probability == 0 or "t" in plan.axes:
        return []
    if plan.dimensions == 2:
        return [
            Rand2DElasticd(
                _KEYS,
                spacing=(max(plan.patch[0] // 8, 8), max(plan.patch[1] // 8, 8)),
                magnitude_range=(0.0, max(plan.patch) / 80),
                prob=settings.elastic_probability,
                mode=_INTERPOLATION,
                padding_mode=_FILLING,
            )
        ]
    return [
        Rand3DElasticd(
            _KEYS,
            sigma_range=(4.0, 6.0),
            magnitude_range=(20.0, 80.0),
            prob=settings.elastic_probability,
            mode=_INTERPOLATION,
            padding_mode=_FILLING,
        )
    ]


def blur(plan: Plan, settings: AugmentSettings) -> list[Any]:
    """Return a Gaussian blur of equal width in mm along all spatial axes, none along time."""
    finest = min(s for s, axis in zip(plan.spacing, plan.axes, strict=True) if axis != "t")
    share = [0.0 if axis == "t" else finest / s for s, axis in zip(plan.spacing, plan.axes, strict=True)]
    names = ("sigma_x", "sigma_y", "sigma_z")  # the first, second and third axis
    widths: dict[str, Any] = {
        name: (0.5 * part, settings.blur_width * part) for name, part in zip(names, share, strict=False)
    }
    return [RandGaussianSmoothd(_IMAGE, **widths, prob=settings.blur_probability)]


def simulate_low_resolution(plan: Plan, settings: AugmentSettings) -> list[Any]:
    """Return simulated low resolution; none where that would blur time or slices that are thick already."""
    if "t" in plan.axes or not _nearly_isotropic(plan.spacing):
        return []
    return [
        RandSimulateLowResolutiond(
            _IMAGE,
            prob=settings.low_resolution_probability,
            downsample_mode="area",
            upsample_mode="bilinear" if plan.dimensions == 2 else "trilinear",
            zoom_range=(settings.low_resolution_zoom, 1.0),
        )
    ]


def mirror(plan: Plan, settings: AugmentSettings) -> list[Any]:
    """Return a flip along each of the axes that the plan or the settings name."""
    axes = settings.flipped_axes(plan.mirror_axes)
    return [RandFlipd(_KEYS, prob=0.5, spatial_axis=axis) for axis in axes]


def intensity(plan: Plan, settings: AugmentSettings) -> list[Any]:
    """Return changes of contrast and of brightness."""
    del plan
    return [
        RandScaleIntensityd(_IMAGE, factors=0.25, prob=settings.intensity_probability),
        RandShiftIntensityd(_IMAGE, offsets=0.25, prob=settings.intensity_probability),
    ]


def gamma_contrast(plan: Plan, settings: AugmentSettings) -> list[Any]:
    """Return a gamma change that keeps mean and deviation of the image."""
    del plan
    gamma = (1 / settings.gamma, settings.gamma)
    return [RandAdjustContrastd(_IMAGE, prob=settings.gamma_probability, gamma=gamma, retain_stats=True)]


def gaussian_noise(plan: Plan, settings: AugmentSettings) -> list[Any]:
    """Return Gaussian noise whose standard deviation is drawn from 0 to `noise_deviation`."""
    del plan
    probability, deviation = settings.noise_probability, settings.noise_deviation
    return [RandGaussianNoised(_IMAGE, prob=probability, std=deviation, sample_std=True)]


AUGMENTATIONS: Registry[BuildAugmentation] = Registry(
    "augment.pipeline",
    {
        "mirror": mirror,
        "elastic": elastic,
        "affine": affine,
        "blur": blur,
        "low_resolution": simulate_low_resolution,
        "intensity": intensity,
        "gamma": gamma_contrast,
        "noise": gaussian_noise,
    },
)
