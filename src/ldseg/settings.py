"""Settings of the model and of its training: frozen dataclasses, each field with its meaning, unit and range.

A model is built from `ModelSettings` alone. Presets (`ldseg.presets`) fill them from a plan; the command line
overrides single fields as `--section.field value`; the whole is written beside the weights as settings.json.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

Strides = tuple[tuple[int, ...], ...]
Norm = Literal["group", "batch"]


def _require(holds: bool, name: str, value: object, remedy: str) -> None:
    if not holds:
        raise ValueError(f"{name} is {value}; {remedy}")


@dataclass(frozen=True)
class NoiseSettings:
    """The forward process in the label latent and how the denoiser's output is read."""

    schedule: Literal["cosine", "linear", "quadratic"] = "cosine"
    """Signal power over time; cosine after Nichol & Dhariwal 2021, the others by their noise rate beta(t)."""
    parameterisation: Literal["noise", "clean", "velocity"] = "clean"
    """What the full form of the denoiser predicts; the light one always makes a clean estimate."""
    shift: float = 1.0
    """What the schedule's ratio of signal to noise is divided by, in amplitudes. What the image leaves open
    of the latent is small, and noise hides it until it is small as well: steps should lie there. Above 0."""
    stretch: float = 1.0
    """What the logarithm of that ratio is multiplied by before the shift. Whether a whole structure is there
    is decided at far more noise than where its edge runs; steps should lie at both. Above 0."""
    min_signal: float = 1e-4
    """Lower bound of the signal power a(t); keeps the clean estimate finite. In (0, 1)."""
    pure_noise_share: float = 0.8
    """Share of the decoded training cases noised to t = 1, where sampling starts; the others draw t
    uniformly. 0 to 1."""

    def __post_init__(self) -> None:
        _require(self.stretch > 0, "noise.stretch", self.stretch, "choose a value above 0")
        _require(0 < self.min_signal < 1, "noise.min_signal", self.min_signal, "choose a value in (0, 1)")
        _require(
            0 <= self.pure_noise_share <= 1, "noise.pure_noise_share", self.pure_noise_share, "choose 0 to 1"
        )


@dataclass(frozen=True)
class PyramidSettings:
    """A stack of levels, each `strides` coarser than the one before, with residual blocks of `widths`."""

    widths: tuple[int, ...]
    """Channels per level."""
    strides: Strides
    """Factor per level and axis; the first is reached by space-to-depth, the others by convolution."""
    blocks: int = 1
    """Residual blocks per level."""
    norm: Norm = "group"
    dropout: float = 0.0
    attention: tuple[int, ...] = ()
    """Levels with self-attention after their blocks."""
    stem_width: Literal[1, 3] = 3
    """Width of the first convolution, after space-to-depth."""
    down: Literal["convolution", "pool"] = "convolution"
    """How a level is reached from the one before: a strided convolution, or the largest value."""

    def __post_init__(self) -> None:
        _require(
            len(self.widths) == len(self.strides) > 0,
            "pyramid.widths",
            self.widths,
            f"give one width for each of the {len(self.strides)} strides",
        )
        _require(0 <= self.dropout < 1, "pyramid.dropout", self.dropout, "choose a value in [0, 1)")

    @property
    def factor(self) -> tuple[int, ...]:
        """Product of the strides per axis."""
        total = [1] * len(self.strides[0])
        for stride in self.strides:
            total = [a * b for a, b in zip(total, stride, strict=True)]
        return tuple(total)


@dataclass(frozen=True)
class ImageEncoderSettings:
    """Image to embedding on the latent grid."""

    pyramid: PyramidSettings
    """Down to the latent grid and, with `context`, below it."""
    context: int = 0
    """Levels of the pyramid below the latent grid; they are brought back up to it."""
    embedding: int = 64
    """Channels of the embedding c."""
    embedding_norm: Literal["none", "batch"] = "none"


@dataclass(frozen=True)
class DenoiserSettings:
    """U-Net on the latent grid."""

    pyramid: PyramidSettings
    form: Literal["light", "full"] = "light"
    """light: one skip per level. full: the U-Net of DDPM, a skip per block and a middle (paper)."""
    time_features: int = 64
    """Length of the sinusoidal time embedding, even."""

    def embedding(self, latent_channels: int) -> int:
        """Channels of the embedding that the light form takes: a guess of the latent, how far it may be off,
        and features for the first level, which are folded by that level's strides."""
        folded = 1
        for stride in self.pyramid.strides[0]:
            folded *= stride
        return 2 * latent_channels + self.pyramid.widths[0] // folded


@dataclass(frozen=True)
class DecoderSettings:
    """Latent to logits, through the label grid's levels in reverse."""

    pyramid: PyramidSettings
    """Described finest level first, as the encoders; the decoder walks it backwards."""
    image_features: bool = True
    """Whether the image's features of each level are added on the way up."""
    raise_width: Literal[1, 3] = 1
    """Width of the convolutions between two levels."""
    sharpened: bool = False
    """Whether the image says at each cell of the latent grid what the logits are multiplied by."""


@dataclass(frozen=True)
class ModelSettings:
    """Everything that `LDSeg.from_settings` needs."""

    dimensions: Literal[2, 3]
    image_channels: int
    classes: int
    """K, background included; at least 2."""
    label_encoder: PyramidSettings
    image_encoder: ImageEncoderSettings
    denoiser: DenoiserSettings
    decoder: DecoderSettings
    latent_channels: int = 8
    latent_norm: Literal["position", "case"] = "position"
    """position: unit mean square over channels at each position. case: zero mean, unit variance over a case
    (paper; cannot represent an empty mask)."""
    linear_shortcut: bool = True
    """Whether a linear map of each latent cell's voxels leads around the label encoder's network, and another
    around the decoder's: the latent carries most of a label from the start and the networks mend the rest."""
    direct_answer: bool = False
    """Whether the image says how far the answer of a single call lies from the mean of the posterior. The
    denoiser then learns that mean from the latent alone; where it must give the best single answer as well,
    samples follow the majority too often. For the light form of the denoiser."""
    renormalise: bool = False
    """Whether sampling normalises each clean estimate as the label encoder does (paper)."""
    noise: NoiseSettings = field(default_factory=NoiseSettings)

    def __post_init__(self) -> None:
        _require(
            not self.direct_answer or self.denoiser.form == "light",
            "model.direct_answer",
            self.direct_answer,
            "choose model.denoiser.form light, or turn it off",
        )
        _require(self.classes >= 2, "model.classes", self.classes, "at least background and one structure")
        _require(
            self.label_encoder.factor == self.decoder.pyramid.factor,
            "model.decoder.pyramid",
            self.decoder.pyramid.strides,
            f"its strides must multiply to those of the label encoder, {self.label_encoder.factor}",
        )


@dataclass(frozen=True)
class LossSettings:
    """Weights of the one loss over all four modules (DESIGN 2.2)."""

    dice: float = 1.0
    """Weight of 1 - soft Dice beside the cross-entropy."""
    latent: float = 1.0
    """Weight of the mean squared error of the denoiser's prediction."""
    latent_draws: int = 1
    """Further noisy latents of each case, at any time, on which the denoiser alone is trained: cheap, and it
    leaves what is decoded to the times where the image is needed. 0 or more."""
    reconstruction: float = 1.0
    """Weight of the segmentation loss of the decoded clean latent, without image features; 0: none."""
    reconstruction_share: float = 0.1
    """Share of the cases that the reconstruction term decodes, on average over steps. In (0, 1]."""
    feature_drop: float = 0.0
    """Probability per case that the decoder goes without image features, so that it listens to the latent."""
    stop_latent_gradient: bool = True
    """Whether what the denoiser sees and aims at is kept from moving the label encoder: a latent that is easy
    to predict is a constant one. The label encoder then learns from the reconstruction term."""
    decode: Literal["clean", "residual"] = "clean"
    """What the decoder sees in training: the clean estimate, or z_t minus the noise estimate (paper)."""

    def __post_init__(self) -> None:
        _require(
            self.reconstruction > 0 or not self.stop_latent_gradient,
            "loss.reconstruction",
            self.reconstruction,
            "choose a weight above 0, or turn loss.stop_latent_gradient off: the label encoder must learn",
        )


@dataclass(frozen=True)
class AugmentSettings:
    """Augmentation, drawn anew for every visit of a case. Probabilities are per visit."""

    rotation: float = 15.0
    """Largest rotation about each axis, in degrees (2D: twice this)."""
    scale: float = 0.15
    """Largest relative change of size."""
    shift: float = 0.05
    """Largest translation, as a share of the patch."""
    affine_probability: float = 0.7
    elastic_probability: float = 0.0
    """Of a smooth deformation, not along time. It is half of what augmentation costs, and gave nothing."""
    intensity_probability: float = 0.3
    """Of a change of contrast and of brightness, each."""
    gamma_probability: float = 0.3
    gamma: float = 1.5
    """Largest power of the intensity, and the inverse of the least."""
    noise_probability: float = 0.15
    noise_deviation: float = 0.8
    """Largest standard deviation of Gaussian noise, in units of the normalised image."""
    blur_probability: float = 0.1
    blur_width: float = 2.0
    """Largest standard deviation of a Gaussian blur, in voxels of the finest axis."""
    coarse_probability: float = 0.1
    """Of an image as if taken with larger voxels; not where axes differ much or one is time."""
    coarse_zoom: float = 0.4
    """Least share of the voxels that are left along each axis."""
    mirror: bool = True
    """Whether the plan's `mirror_axes` are flipped, each in half of the visits."""


@dataclass(frozen=True)
class TrainingSettings:
    """The loop. Exactly one of `steps`, `minutes`, `cpu_minutes` and `epochs` is the budget."""

    steps: int | None = None
    minutes: float | None = None
    """Wall-clock minutes of training, all sittings together."""
    cpu_minutes: float | None = None
    """CPU minutes of the process (all its threads); comparable on a machine that does other work too."""
    epochs: int | None = None
    batch: int | None = None
    """Cases per step; none takes the plan's."""
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    optimiser: Literal["muon", "adamw", "adam"] = "muon"
    decay: Literal["cosine", "none"] = "cosine"
    """Course of the learning rate over the budget, after `warmup` steps."""
    warmup: int = 50
    gradient_clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.999
    """Decay of the moving average of all weights, reached gradually over the first steps. In [0, 1)."""
    ema_modules: Literal["all", "denoiser"] = "all"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 autocast where the device multiplies it natively."""
    compile: bool = False
    """Use torch.compile; what it cannot compile runs as it is."""
    recompute: bool = False
    """Gradient checkpointing: residual blocks are computed a second time for the gradient, which takes more
    time and less memory."""
    workers: int | None = None
    """Processes that prepare patches; 0 prepares them in the training process. None takes 0 on a CPU, beside
    a GPU, which would wait, one for each core but one, at most 8."""
    validations: int = 10
    """Evenly spaced validations over the budget; the last is at the end."""
    validation_cases: int = 16
    """Cases looked at in each validation, at most."""
    calibrate: bool = True
    """Whether `ldseg train` ends by fitting the temperature and the widths of volume intervals on validation
    cases, and what images of another kind are told by on all cases, as `ldseg calibrate` does."""
    save_minutes: float = 2.0
    """Wall-clock minutes between checkpoints."""
    seed: int = 0
    fold: int | Literal["all"] = 0
    loggers: tuple[Literal["tensorboard"], ...] = ()
    """Where losses and validations go beside log.jsonl; each needs the extra of its name."""

    def __post_init__(self) -> None:
        _require(
            self.workers is None or self.workers >= 0,
            "training.workers",
            self.workers,
            "choose a number of processes, 0 or more",
        )
        _require(
            self.batch is None or self.batch >= 1, "training.batch", self.batch, "choose 1 or more cases"
        )
        _require(
            self.learning_rate > 0, "training.learning_rate", self.learning_rate, "choose a value above 0"
        )
        _require(
            self.gradient_clip > 0, "training.gradient_clip", self.gradient_clip, "choose a value above 0"
        )
        _require(0 <= self.ema < 1, "training.ema", self.ema, "choose a value in [0, 1)")
        for name in ("validations", "validation_cases", "warmup", "weight_decay", "save_minutes"):
            _require(getattr(self, name) >= 0, f"training.{name}", getattr(self, name), "choose 0 or more")


@dataclass(frozen=True)
class SamplingSettings:
    """How a trained model answers."""

    sampler: str = "ddim"
    steps: int = 1
    samples: int = 1
    mirror: bool = False
    """Whether the model looks at the mirrored image too, where the plan mirrors an axis: a single answer is
    the mean of both, of several samples every second one is drawn there."""


@dataclass(frozen=True)
class RunSettings:
    """All settings of one training, written as settings.json."""

    preset: str
    model: ModelSettings
    control: Literal["none", "unet", "pixel_diffusion"] = "none"
    loss: LossSettings = field(default_factory=LossSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    """When nothing else is asked for."""
    posterior: SamplingSettings = field(default_factory=lambda: SamplingSettings(steps=8, samples=8))
    """When several samples are asked for; `samples` is how many there are where a number is left open."""

    def sampling_of(
        self,
        sampler: str | None = None,
        steps: int | None = None,
        samples: int | None = None,
        mirror: bool | None = None,
        stochastic: bool = True,
    ) -> SamplingSettings:
        """What is given here, the rest as this model answers best with that many samples; a model that is not
        `stochastic` as for one, for all would be equal."""
        number = self.sampling.samples if samples is None else samples
        own = self.posterior if number > 1 and stochastic else self.sampling
        return SamplingSettings(
            own.sampler if sampler is None else sampler,
            own.steps if steps is None else steps,
            number,
            own.mirror if mirror is None else mirror,
        )

    def fixed(self, sampling: SamplingSettings) -> RunSettings:
        """These settings with one way of sampling, as an exported model has."""
        return replace(self, sampling=sampling, posterior=sampling)
