"""What does each part of the paper's recipe give? One change at a time, scored on validation cases.

    python benchmarks/paper_ablation.py --data-root DATA --work WORK --out FILE --minutes 30 --parallel 2 \\
        --jobs hc18:as_published hc18:clean_estimates_normalized hc18:dice_over_foreground:1

Jobs are DATA:CHANGE[:SEED]; see `paper_curves.py` for the rest. Most changes are settings. The others take
the place of a part of the published networks or of its sampling, in the process that trains and scores.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

import ldseg.diffusion.samplers.renormalized as sampling
import ldseg.methods.latent_diffusion as latent_diffusion
import ldseg.networks.denoisers.paper as denoiser
import ldseg.networks.image_encoders.paper as image_encoder
import ldseg.networks.label_decoders.paper as label_decoder
import ldseg.networks.label_encoders.paper as label_encoder
from ldseg.diffusion.samplers.types import Denoise, DrawNoise, OnStep, Sampler, ignore
from ldseg.diffusion.timesteps import Timestep, Timesteps
from ldseg.networks.paper_blocks import batch_norm, convolution, group_norm, he_uniform
from paper_jobs import Job, Variant
from paper_runs import run, run_parser
from sets import SETS

SCORED = ("hc18", "hippocampus")


def normalize_clean_estimates() -> None:
    """Let sampling normalize each clean estimate, and not the latent."""

    def normalized(sampler: Sampler) -> Sampler:
        def run_sampler(
            denoise: Denoise, z: Tensor, timesteps: Timesteps, draw: DrawNoise, on_step: OnStep = ignore
        ) -> Tensor:
            def normalizing(z: Tensor, now: Timestep) -> Tensor:
                return sampling.normalize(denoise(z, now))

            return sampler(normalizing, z, timesteps, draw, on_step)

        return run_sampler

    latent_diffusion.renormalized = normalized


def normalize_nothing() -> None:
    """Let sampling leave the latent as each step leaves it."""

    def unchanged(sampler: Sampler) -> Sampler:
        return sampler

    latent_diffusion.renormalized = unchanged


def normalize_over_batch() -> None:
    """Let sampling normalize the latents of all cases of a call together, as the published program does."""

    def over_batch(z: Tensor) -> Tensor:
        return (z - z.mean()) * torch.rsqrt(z.var(correction=0) + 1e-6)

    sampling.normalize = over_batch


def take_ids_as_numbers() -> None:
    """Let the label encoder read the id of a class as a number: other channels of the one-hot are empty."""

    def as_number(y: Tensor, classes: int) -> Tensor:
        number = y.clamp_min(0)[:, None].float()
        return torch.cat([number, number.new_zeros(len(y), classes - 1, *y.shape[1:])], 1)

    label_encoder.one_hot = as_number


def take_eight_groups() -> None:
    """Let group norms of image encoder and denoiser have 8 groups instead of 4."""

    def eight_groups(channels: int, groups: int = 8) -> nn.Module:
        return group_norm(channels, groups)

    image_encoder.group_norm = denoiser.group_norm = eight_groups


def leave_out_position_scales() -> None:
    """Let the label encoder's layer norm have no scale and shift of positions."""
    built = label_encoder.PaperLabelEncoder.__init__

    def without(self: Any, *given: Any) -> None:
        built(self, *given)
        self.norm = nn.LayerNorm(self.norm.normalized_shape, self.norm.eps, elementwise_affine=False)

    setattr(label_encoder.PaperLabelEncoder, "__init__", without)  # noqa: B010


def leave_out_attention() -> None:
    """Let the denoiser's attention pass its normalized input on."""

    class NormOnly(nn.Module):
        def __init__(self, channels: int, heads: int, groups: int) -> None:
            super().__init__()
            del heads
            self.norm = group_norm(channels, groups)

        def forward(self, h: Tensor) -> Tensor:
            return self.norm(h)

    setattr(denoiser, "NormalizedSelfAttention", NormOnly)  # noqa: B010


class PreActivationBlock(nn.Module):
    """Batch norm, swish, convolution, twice, beside a shortcut."""

    def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = batch_norm(spatial_dims, in_channels)
        self.conv1 = he_uniform(convolution(spatial_dims, in_channels, out_channels))
        self.norm2 = batch_norm(spatial_dims, out_channels)
        self.conv2 = he_uniform(convolution(spatial_dims, out_channels, out_channels))
        self.dropout = nn.Dropout(dropout)
        self.shortcut = he_uniform(convolution(spatial_dims, in_channels, out_channels, 1))

    def forward(self, h: Tensor) -> Tensor:
        branch = self.conv1(functional.silu(self.norm1(h)))
        return self.dropout(self.conv2(functional.silu(self.norm2(branch)))) + self.shortcut(h)


def activate_before() -> None:
    """Let the label networks have pre-activation blocks."""
    for module in (label_encoder, label_decoder):
        setattr(module, "PostActivationBlock", PreActivationBlock)  # noqa: B010


@dataclass(frozen=True)
class Change:
    """One difference from the published recipe."""

    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    normalization: str | None = None
    replace: Callable[[], None] | None = None
    """Puts another part in place of a published one."""
    samples_otherwise: bool = False
    """Whether nothing but sampling differs: the weights are those of the published recipe."""


PUBLISHED = "as_published"
CHANGES = {
    PUBLISHED: Change(),
    "clean_estimates_normalized": Change(replace=normalize_clean_estimates, samples_otherwise=True),
    "nothing_normalized": Change(replace=normalize_nothing, samples_otherwise=True),
    "normalized_over_the_batch": Change(replace=normalize_over_batch, samples_otherwise=True),
    "ids_as_numbers": Change(replace=take_ids_as_numbers),
    "eight_groups": Change(replace=take_eight_groups),
    "no_position_scales": Change(replace=leave_out_position_scales),
    "no_attention_in_the_denoiser": Change(replace=leave_out_attention),
    "pre_activation": Change(replace=activate_before),
    "dice_over_foreground": Change({"loss": {"dice_form": "foreground"}}),
    "decoder_trained_on_the_clean_estimate": Change({"loss": {"decode": "clean"}}),
    "reconstruction_term": Change({"loss": {"reconstruction": 1.0}}),
    "plans_normalization": Change(normalization="by_channel"),
    "batch_of_16": Change({"training": {"batch": 16}}),
    "warm_up": Change({"training": {"warmup": 50}}),
    "gradient_clipping": Change({"training": {"gradient_clip": 1.0}}),
    "adamw": Change({"training": {"optimizer": "adamw"}}),
    "average_with_warm_up": Change({"training": {"ema_warmup": True}}),
    "average_of_all_networks": Change({"training": {"ema_modules": "all"}}),
    "precision_of_the_device": Change({"training": {"precision": "auto"}}),
}


def main() -> None:
    jobs = [f"{data}:{name}" for data in SCORED for name in CHANGES]
    run(run_parser(__doc__, jobs).parse_args(), "paper_ablation", find_job)


def find_job(text: str) -> Job:
    """Return the job of DATA:CHANGE[:SEED]."""
    data, name, *seed = text.split(":")
    if data not in SETS or name not in CHANGES:
        sys.exit(f"{text}: choose a set of {', '.join(SETS)} and a change of {', '.join(CHANGES)}")
    change = CHANGES[name]
    variant = Variant(normalization=change.normalization, changes=change.settings)
    trained_as = PUBLISHED if change.samples_otherwise else None
    return Job(data, name, variant, int(seed[0]) if seed else 0, change.replace, trained_as)


if __name__ == "__main__":
    main()
