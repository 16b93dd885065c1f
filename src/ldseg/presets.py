"""Presets: from a plan to all settings of a run. `default` is ours, `paper` is the published recipe."""

from __future__ import annotations

from dataclasses import replace
from math import prod
from typing import Literal

from ldseg.planning.plan import Plan, PlanSettings
from ldseg.settings import (
    AugmentSettings,
    DecoderSettings,
    DenoiserSettings,
    ImageEncoderSettings,
    LabelEncoderSettings,
    LossSettings,
    ModelSettings,
    NoiseSettings,
    RunSettings,
    SamplingSettings,
    StagesSettings,
    Strides,
    TrainingSettings,
)


def default_preset(plan: Plan) -> RunSettings:
    """Return our settings, the best that was measured: clean prediction, latent normalized per position,
    trained where sampling starts; an image encoder with all the context, a small denoiser on a fine latent
    grid."""
    model = _default_model(
        plan.dimensions,
        len(plan.channels),
        len(plan.classes),
        StagesSettings(plan.widths, plan.strides, blocks=2, attention=(len(plan.widths) - 1,)),
        plan.latent_levels,
        plan.latent_channels,
    )
    return RunSettings(
        preset="default",
        model=model,
        training=TrainingSettings(learning_rate=2e-3, weight_decay=0.01),
        posterior=SamplingSettings("preconditioned_ddim", steps=4, samples=8, tta=True),
    )


def default_model(spatial_dims: int, in_channels: int, classes: int) -> ModelSettings:
    """Return model settings for images of unknown size: each axis must be a multiple of 16 (2D) or 8 (3D).

    Raises:
        ValueError: spatial_dims is neither 2 nor 3, or there are fewer than two classes.
    """
    if spatial_dims == 2:
        stages = StagesSettings((24, 48, 96, 96), ((2, 2),) * 4, blocks=2, attention=(3,))
        return _default_model(2, in_channels, classes, stages, latent_stages=2, latent_channels=8)
    if spatial_dims == 3:
        stages = StagesSettings((32, 64, 80), ((2, 2, 2),) * 3, blocks=2, attention=(2,))
        return _default_model(3, in_channels, classes, stages, latent_stages=2, latent_channels=32)
    raise ValueError(f"spatial_dims is {spatial_dims}; choose 2 or 3")


def _default_model(
    spatial_dims: Literal[2, 3],
    in_channels: int,
    classes: int,
    stages: StagesSettings,
    latent_stages: int,
    latent_channels: int,
) -> ModelSettings:
    """Return the default model with these stages of the image encoder, the first `latent_stages` of which
    lead to the latent grid."""
    n, widths, strides = latent_stages, stages.widths, stages.strides
    label_stem = tuple(prod(axis) for axis in zip(*strides[:n], strict=True))
    denoiser = _preconditioned(spatial_dims, strides[n:])
    return ModelSettings(
        spatial_dims=spatial_dims,
        in_channels=in_channels,
        classes=classes,
        label_encoder=LabelEncoderSettings((widths[n - 1],), (label_stem,), stem_kernel_size=1),
        image_encoder=ImageEncoderSettings(
            stages,
            context_stages=len(widths) - n,
            embedding_channels=denoiser.embedding_channels(latent_channels),
        ),
        denoiser=denoiser,
        decoder=DecoderSettings(StagesSettings(widths[:n], strides[:n]), logit_scale=True),
        latent_channels=latent_channels,
        deterministic_head=True,
        noise=NoiseSettings(shift=4.0, stretch=2.0),
    )


def _preconditioned(spatial_dims: int, strides_below: Strides) -> DenoiserSettings:
    """Return the denoiser: one block suffices, since the image encoder supplies the context. In 2D it works
    on cells folded once more, whose channels fit its width; in 3D they would not."""
    if spatial_dims == 2 and strides_below:
        return DenoiserSettings(StagesSettings((48,), strides_below[:1], stem_kernel_size=1))
    return DenoiserSettings(StagesSettings((32,), ((1,) * spatial_dims,), stem_kernel_size=1))


def paper_preset(plan: Plan) -> RunSettings:
    """Return the settings of Zaman et al. 2026 as published; docs/method.md lists what differs."""
    training = TrainingSettings(
        batch=4,
        learning_rate=1e-3,
        weight_decay=0.0,
        optimizer="adam",
        lr_schedule="constant",
        warmup=0,
        gradient_clip=None,
        ema_warmup=False,
        ema_modules="denoiser",
        precision="fp32",
    )
    loss = LossSettings(
        dice=2.0,
        dice_form="joint",
        latent_draws=0,
        reconstruction=0.0,
        feature_drop=0.0,
        stop_latent_gradient=False,
        decode="residual",
    )
    return RunSettings(
        preset="paper",
        model=_paper_model(plan),
        loss=loss,
        augment=_paper_augmentation(plan),
        training=training,
        sampling=SamplingSettings(steps=15),
        posterior=SamplingSettings(steps=15, samples=8),
    )


def _paper_model(plan: Plan) -> ModelSettings:
    """Return the published networks, with one latent channel at 1/16 as far as the patch divides."""
    halvings = _paper_halvings(plan)
    strides: Strides = (_ones(plan), *halvings)
    attention = (3, 4) if plan.dimensions == 2 else ()
    return ModelSettings(
        spatial_dims=plan.dimensions,
        in_channels=len(plan.channels),
        classes=len(plan.classes),
        label_encoder=LabelEncoderSettings((16, 32, 64, 64, 32), strides, dropout=0.2, architecture="paper"),
        image_encoder=ImageEncoderSettings(
            StagesSettings((16, 32, 64, 64, 32), strides, dropout=0.2, attention=attention),
            embedding_channels=1,
            architecture="paper",
        ),
        denoiser=DenoiserSettings(
            StagesSettings((16, 32, 64), _paper_denoiser_strides(plan), blocks=2, attention=(1, 2)),
            architecture="paper",
        ),
        decoder=DecoderSettings(
            StagesSettings((32, 64, 64, 32), halvings, dropout=0.2),
            image_features=False,
            architecture="paper",
        ),
        latent_channels=1,
        linear_shortcut=False,
        renormalize=True,
        patch=plan.patch,
        noise=NoiseSettings(
            schedule="cosine",
            parameterization="epsilon",
            min_alpha_bar=1e-6,  # below the least of the 1000 times
            pure_noise_share=0.0,
            timesteps=1000,
        ),
    )


def _paper_augmentation(plan: Plan) -> AugmentSettings:
    """Return flips only: of both axes in 2D, unless structures have sides, none in 3D."""
    return AugmentSettings(
        affine_probability=0.0,
        intensity_probability=0.0,
        gamma_probability=0.0,
        noise_probability=0.0,
        blur_probability=0.0,
        low_resolution_probability=0.0,
        mirror_axes=(0, 1) if plan.dimensions == 2 and plan.mirror_axes else (),
    )


PRESETS = {"default": default_preset, "paper": paper_preset}


def with_preset_limits(limits: PlanSettings | None, preset: str | None) -> PlanSettings | None:
    """Return what a plan for a preset must keep to: `limits`, and images scaled to 0..1 for `paper`."""
    if preset != "paper" or (limits is not None and limits.normalization is not None):
        return limits
    return replace(limits or PlanSettings(), normalization="unit")


def _ones(plan: Plan) -> tuple[int, ...]:
    return (1,) * len(plan.patch)


def _paper_halvings(plan: Plan) -> Strides:
    """Return four halvings of each axis, as far as the patch allows on that axis: it divides and keeps two
    cells, without which a latent normalized over the case says nothing."""
    remaining = list(plan.patch)
    halvings: list[tuple[int, ...]] = []
    for _ in range(4):
        stride = tuple(2 if n % 2 == 0 and n > 2 else 1 for n in remaining)
        remaining = [n // s for n, s in zip(remaining, stride, strict=True)]
        halvings.append(stride)
    return tuple(halvings)


def _paper_denoiser_strides(plan: Plan) -> Strides:
    """Return two halvings of the latent grid, as far as it divides."""
    grid = list(plan.patch)
    for stride in _paper_halvings(plan):
        grid = [n // s for n, s in zip(grid, stride, strict=True)]
    strides = [_ones(plan)]
    for _ in range(2):
        stride = tuple(2 if n % 2 == 0 else 1 for n in grid)
        grid = [n // s for n, s in zip(grid, stride, strict=True)]
        strides.append(stride)
    return tuple(strides)
