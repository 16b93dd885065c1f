"""Settings of the model: its networks and the noise in the label latent."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import prod
from typing import Literal

Strides = tuple[tuple[int, ...], ...]
Options = dict[str, int | float | str | bool | None]
"""Settings of one architecture beyond those that all have; the architecture checks them."""


def require(holds: bool, name: str, value: object, remedy: str) -> None:
    """Raise ValueError with the setting's name, value and remedy unless the condition holds."""
    if not holds:
        raise ValueError(f"{name} is {value}; {remedy}")


def refuse_options(section: str, options: Options) -> None:
    """Raise ValueError for options that an architecture without any is given."""
    require(not options, f"{section}.options", options, f"{section}.architecture has none, remove them")


@dataclass(frozen=True)
class NoiseSettings:
    """The forward process in the label latent and the parameterization of the denoiser."""

    schedule: str = "cosine"
    """Noise schedule: cosine (Nichol & Dhariwal 2021), a linear or quadratic noise rate beta(t), or
    rectified_flow, the straight path from the clean latent to the noise (Liu et al. 2023)."""
    parameterization: str = "sample"
    """What the denoiser predicts: epsilon (the noise), sample (the clean latent), v_prediction, or flow (the
    velocity of a straight path). Denoiser `preconditioned` predicts the sample whatever this says."""
    shift: float = 1.0
    """Divisor of the schedule's signal-to-noise ratio (amplitudes), above 0. The image leaves little of the
    latent open, which only small noise no longer hides: a larger shift places more steps there."""
    stretch: float = 1.0
    """Factor of the logarithm of that ratio, before the shift; above 0. Whether a structure is there is
    decided at much more noise than where its edge runs: a larger stretch places steps at both."""
    min_alpha_bar: float = 1e-4
    """Lower bound of the signal power alpha_bar(t); keeps the clean estimate finite. In (0, 1)."""
    pure_noise_share: float = 0.8
    """Fraction of the decoded training cases noised to t = 1, where sampling starts; t is uniform for the
    others. 0 to 1."""
    timesteps: int | None = None
    """Number T of discrete times 0, 1/T ... (T - 1)/T (paper: 1000); None for continuous time."""

    def __post_init__(self) -> None:
        require(self.shift > 0, "noise.shift", self.shift, "choose a value above 0")
        require(self.stretch > 0, "noise.stretch", self.stretch, "choose a value above 0")
        require(
            0 < self.min_alpha_bar < 1, "noise.min_alpha_bar", self.min_alpha_bar, "choose a value in (0, 1)"
        )
        require(
            0 <= self.pure_noise_share <= 1, "noise.pure_noise_share", self.pure_noise_share, "choose 0 to 1"
        )
        require(
            self.timesteps is None or self.timesteps >= 2,
            "noise.timesteps",
            self.timesteps,
            "choose 2 or more, or none for continuous time",
        )


@dataclass(frozen=True)
class StagesSettings:
    """The stages of a network: residual blocks of `widths`, each stage `strides` coarser than the last."""

    widths: tuple[int, ...]
    """Channels of each stage."""
    strides: Strides
    """Stride of each stage and axis; the first is reached by space-to-depth, the others by a convolution."""
    blocks: int = 1
    """Residual blocks of each stage."""
    dropout: float = 0.0
    attention: tuple[int, ...] = ()
    """Stages with self-attention after their blocks, from 0 on."""
    stem_kernel_size: Literal[1, 3] = 3
    """Kernel size of the first convolution, after space-to-depth."""

    def __post_init__(self) -> None:
        require(
            len(self.widths) == len(self.strides) > 0,
            "stages.widths",
            self.widths,
            f"give one width for each of the {len(self.strides)} strides",
        )
        require(0 <= self.dropout < 1, "stages.dropout", self.dropout, "choose a value in [0, 1)")
        require(self.blocks >= 1, "stages.blocks", self.blocks, "choose 1 or more")
        last = len(self.widths) - 1
        require(
            all(0 <= stage <= last for stage in self.attention),
            "stages.attention",
            self.attention,
            f"number the stages from 0 to {last}",
        )

    @property
    def factor(self) -> tuple[int, ...]:
        """Product of the strides per axis."""
        return tuple(prod(axis) for axis in zip(*self.strides, strict=True))


@dataclass(frozen=True)
class LabelEncoderSettings(StagesSettings):
    """The encoder from the label map to the clean latent."""

    architecture: str = "resnet"
    """A label encoder's name; resnet: stages of residual blocks. paper: the published one."""
    options: Options = field(default_factory=dict[str, int | float | str | bool | None])
    """Settings that only this architecture has."""


@dataclass(frozen=True)
class ImageEncoderSettings:
    """The encoder from the image to its embedding on the latent grid."""

    stages: StagesSettings
    """Stages down to the latent grid, followed by the `context_stages` below it."""
    context_stages: int = 0
    """Number of stages below the latent grid; they are upsampled back to it."""
    embedding_channels: int = 64
    """Channels of the embedding c."""
    architecture: str = "unet"
    """An image encoder's name; unet: stages of residual blocks down, and up again to the latent grid. paper:
    the published one."""
    options: Options = field(default_factory=dict[str, int | float | str | bool | None])
    """Settings that only this architecture has."""


@dataclass(frozen=True)
class DenoiserSettings:
    """The U-Net on the latent grid."""

    stages: StagesSettings
    architecture: str = "preconditioned"
    """A denoiser's name; preconditioned: small, corrects a Gaussian estimate. paper: the published U-Net."""
    time_features: int = 64
    """Length of the sinusoidal time embedding: even, 4 or more."""
    options: Options = field(default_factory=dict[str, int | float | str | bool | None])
    """Settings that only this architecture has."""

    def __post_init__(self) -> None:
        even = self.time_features >= 4 and self.time_features % 2 == 0
        require(even, "denoiser.time_features", self.time_features, "choose an even number from 4 on")

    def embedding_channels(self, latent_channels: int) -> int:
        """Return the embedding channels that `preconditioned` takes: mean and standard deviation of the
        latent, and features for the first stage, which are folded by that stage's strides."""
        return 2 * latent_channels + self.stages.widths[0] // prod(self.stages.strides[0])


@dataclass(frozen=True)
class DecoderSettings:
    """The decoder from the latent to logits, through the label grid's stages in reverse."""

    stages: StagesSettings
    """Stages, finest first as in the encoders; the decoder walks them backwards."""
    image_features: bool = True
    """Whether the image features of each stage are added on the way up."""
    logit_scale: bool = False
    """Whether the image features predict a scale of the logits for each latent cell."""
    architecture: str = "resnet"
    """A label decoder's name; resnet: stages of residual blocks. paper: the published one."""
    options: Options = field(default_factory=dict[str, int | float | str | bool | None])
    """Settings that only this architecture has."""


@dataclass(frozen=True)
class ModelSettings:
    """Settings of the model, complete for `LDSeg.from_settings`."""

    spatial_dims: Literal[2, 3]
    in_channels: int
    """Channels of the image."""
    classes: int
    """Number of classes K, background included; at least 2."""
    label_encoder: LabelEncoderSettings
    image_encoder: ImageEncoderSettings
    denoiser: DenoiserSettings
    decoder: DecoderSettings
    latent_channels: int = 8
    linear_shortcut: bool = True
    """Whether a linear map of each latent cell's voxels bypasses the label encoder's network, and another the
    decoder's: the latent then carries most of a label from the start, and the networks correct the rest."""
    deterministic_head: bool = False
    """Whether a head on the image features predicts the offset of the best single segmentation from the
    posterior mean. The denoiser then learns the mean from the latent alone; if it had to give the best single
    segmentation as well, samples would follow the majority too often."""
    renormalize: bool = False
    """Whether sampling brings the latent of each case to zero mean and unit variance before the first step
    and after each (paper)."""
    patch: tuple[int, ...] | None = None
    """Voxels of an image along each axis, for a model that takes images of one size only (paper)."""
    noise: NoiseSettings = field(default_factory=NoiseSettings)

    def __post_init__(self) -> None:
        require(self.classes >= 2, "model.classes", self.classes, "at least background and one structure")
        require(
            self.label_encoder.factor == self.decoder.stages.factor,
            "model.decoder.stages",
            self.decoder.stages.strides,
            f"its strides must multiply to those of the label encoder, {self.label_encoder.factor}",
        )
