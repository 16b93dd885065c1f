"""Presets: from a plan to all settings of a run. `default` is ours, `paper` is the published recipe."""

from __future__ import annotations

from ldseg.planning.plan import Plan
from ldseg.settings import (
    DecoderSettings,
    DenoiserSettings,
    ImageEncoderSettings,
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
    """The best that measurement found: clean prediction, normalised per position, trained where sampling
    starts; context gathered once by the image encoder, a light denoiser on a fine latent grid."""
    n = plan.latent_levels
    widths, strides = plan.widths, plan.strides
    latent_width = widths[n - 1]
    below = len(widths) - n
    label_stem = _merged(strides[:n])
    denoiser = _light_denoiser(plan)
    model = ModelSettings(
        spatial_dims=plan.dimensions,
        in_channels=len(plan.channels),
        classes=len(plan.classes),
        label_encoder=StagesSettings((latent_width,), (label_stem,), stem_kernel_size=1),
        image_encoder=ImageEncoderSettings(
            StagesSettings(widths, strides, blocks=2, attention=(len(widths) - 1,)),
            context_stages=below,
            embedding_channels=denoiser.embedding_channels(plan.latent_channels),
        ),
        denoiser=denoiser,
        decoder=DecoderSettings(StagesSettings(widths[:n], strides[:n]), logit_scale=True),
        latent_channels=plan.latent_channels,
        deterministic_head=True,
        noise=NoiseSettings(shift=4.0, stretch=2.0),
    )
    return RunSettings(
        preset="default",
        model=model,
        training=TrainingSettings(learning_rate=2e-3, weight_decay=0.01),
        posterior=SamplingSettings("preconditioned_ddim", steps=8, samples=8, tta=True),
    )


def _light_denoiser(plan: Plan) -> DenoiserSettings:
    """One block, for the image encoder has looked far already. In planes it works on cells folded together
    once more, whose channels fit its width; in volumes they would not."""
    below = plan.strides[plan.latent_levels :]
    if plan.dimensions == 2 and below:
        return DenoiserSettings(StagesSettings((48,), below[:1], stem_kernel_size=1))
    return DenoiserSettings(StagesSettings((32,), (_ones(plan),), stem_kernel_size=1))


def paper_preset(plan: Plan) -> RunSettings:
    """Zaman et al. 2026 as published (DESIGN 2.5): one latent channel at 1/16, noise prediction, the decoder
    trained on z_t minus the noise estimate, no reconstruction term."""
    ones = _ones(plan)
    halvings = _paper_halvings(plan)
    strides: Strides = (ones, *halvings)
    attention = (3, 4) if plan.dimensions == 2 else ()
    model = ModelSettings(
        spatial_dims=plan.dimensions,
        in_channels=len(plan.channels),
        classes=len(plan.classes),
        label_encoder=StagesSettings(
            (16, 32, 64, 64, 32),
            strides,
            norm="batch",
            dropout=0.2,
            downsampling="pool" if plan.dimensions == 2 else "convolution",
        ),
        image_encoder=ImageEncoderSettings(
            StagesSettings((16, 32, 64, 64, 32), strides, dropout=0.2, attention=attention),
            embedding_channels=1,
            embedding_norm="batch",
        ),
        denoiser=DenoiserSettings(
            StagesSettings((16, 32, 64), _paper_denoiser_strides(plan), blocks=2, attention=(1, 2)),
            architecture="ddpm_unet",
        ),
        decoder=DecoderSettings(
            StagesSettings((32, 64, 64, 32, 32), strides, norm="batch", dropout=0.2),
            image_features=False,
            up_kernel_size=3,
        ),
        latent_channels=1,
        latent_norm="layer",
        linear_shortcut=False,
        renormalize=True,
        noise=NoiseSettings(schedule="cosine", parameterization="epsilon", pure_noise_share=0.0),
    )
    return RunSettings(
        preset="paper",
        model=model,
        loss=LossSettings(
            dice=2.0,
            latent_draws=0,
            reconstruction=0.0,
            feature_drop=0.0,
            stop_latent_gradient=False,
            decode="residual",
        ),
        training=TrainingSettings(
            optimizer="adam", weight_decay=0.0, lr_schedule="constant", ema_modules="denoiser"
        ),
        sampling=SamplingSettings(steps=15),
        posterior=SamplingSettings(steps=15, samples=8),
    )


PRESETS = {"default": default_preset, "paper": paper_preset}


def _ones(plan: Plan) -> tuple[int, ...]:
    return (1,) * len(plan.patch)


def _merged(strides: Strides) -> tuple[int, ...]:
    merged = [1] * len(strides[0])
    for stride in strides:
        merged = [a * b for a, b in zip(merged, stride, strict=True)]
    return tuple(merged)


def _paper_halvings(plan: Plan) -> Strides:
    """Four halvings of each axis, as far as the patch allows on that axis."""
    remaining = list(plan.patch)
    halvings: list[tuple[int, ...]] = []
    for _ in range(4):
        stride = tuple(2 if n % 2 == 0 else 1 for n in remaining)
        remaining = [n // s for n, s in zip(remaining, stride, strict=True)]
        halvings.append(stride)
    return tuple(halvings)


def _paper_denoiser_strides(plan: Plan) -> Strides:
    """Two halvings of the latent grid, as far as it divides."""
    grid = list(plan.patch)
    for stride in _paper_halvings(plan):
        grid = [n // s for n, s in zip(grid, stride, strict=True)]
    strides = [_ones(plan)]
    for _ in range(2):
        stride = tuple(2 if n % 2 == 0 else 1 for n in grid)
        grid = [n // s for n, s in zip(grid, stride, strict=True)]
        strides.append(stride)
    return tuple(strides)
