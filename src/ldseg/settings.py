"""Settings of the model and of its training: frozen dataclasses, each field with its meaning, unit and range.

A model is built from `ModelSettings` alone. Presets (`ldseg.presets`) fill them from a plan; the command line
overrides single fields as `--section.field value`; the whole is written beside the weights as settings.json.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import Literal

Strides = tuple[tuple[int, ...], ...]
Options = dict[str, int | float | str | bool | None]
"""Settings of one architecture beyond those that all have; the architecture checks them."""


def _require(holds: bool, name: str, value: object, remedy: str) -> None:
    """Raise ValueError with the setting's name, value and remedy unless the condition holds."""
    if not holds:
        raise ValueError(f"{name} is {value}; {remedy}")


def refuse_options(section: str, options: Options) -> None:
    """Raise ValueError for options that an architecture without any is given."""
    _require(not options, f"{section}.options", options, f"{section}.architecture has none, remove them")


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
        _require(self.stretch > 0, "noise.stretch", self.stretch, "choose a value above 0")
        _require(
            0 < self.min_alpha_bar < 1, "noise.min_alpha_bar", self.min_alpha_bar, "choose a value in (0, 1)"
        )
        _require(
            0 <= self.pure_noise_share <= 1, "noise.pure_noise_share", self.pure_noise_share, "choose 0 to 1"
        )
        _require(
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
    """Stages with self-attention after their blocks."""
    stem_kernel_size: Literal[1, 3] = 3
    """Kernel size of the first convolution, after space-to-depth."""

    def __post_init__(self) -> None:
        _require(
            len(self.widths) == len(self.strides) > 0,
            "stages.widths",
            self.widths,
            f"give one width for each of the {len(self.strides)} strides",
        )
        _require(0 <= self.dropout < 1, "stages.dropout", self.dropout, "choose a value in [0, 1)")

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
    """Length of the sinusoidal time embedding, even."""
    options: Options = field(default_factory=dict[str, int | float | str | bool | None])
    """Settings that only this architecture has."""

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
        _require(self.classes >= 2, "model.classes", self.classes, "at least background and one structure")
        _require(
            self.label_encoder.factor == self.decoder.stages.factor,
            "model.decoder.stages",
            self.decoder.stages.strides,
            f"its strides must multiply to those of the label encoder, {self.label_encoder.factor}",
        )


@dataclass(frozen=True)
class LossSettings:
    """Weights of the one loss that trains all four modules."""

    cross_entropy: float = 1.0
    """Weight of the cross-entropy in the segmentation loss; 0 for none."""
    dice: float = 1.0
    """Weight of 1 - soft Dice in the segmentation loss; 0 for none."""
    dice_form: Literal["foreground", "joint"] = "foreground"
    """foreground: the mean over the foreground classes, smoothed by a voxel. joint: one ratio over all
    classes, background included (paper). Sums run over the batch in both."""
    terms: dict[str, float] = field(default_factory=dict[str, float])
    """Weights of further terms of the segmentation loss by name, e.g. {"boundary": 0.5}: tversky (missed
    voxels cost more than false ones) or boundary (edges within two voxels match)."""
    latent: float = 1.0
    """Weight of the mean squared error of the denoiser's prediction."""
    latent_draws: int = 1
    """Number of further noisy latents of each case, at uniform times, that train the denoiser alone: cheap,
    and they leave the decoded cases to the times at which the image is needed. 0 or more."""
    reconstruction: float = 1.0
    """Weight of the segmentation loss of the decoded clean latent, without image features; 0 for none."""
    reconstruction_share: float = 0.1
    """Fraction of the cases that the reconstruction term decodes, on average over steps. In (0, 1]."""
    feature_drop: float = 0.0
    """Probability per case that the decoder gets no image features, so that it relies on the latent."""
    stop_latent_gradient: bool = True
    """Whether the denoiser's input and target are detached from the label encoder: a latent that is easy to
    predict is a constant one. The label encoder then learns from the reconstruction term."""
    decode: Literal["clean", "residual"] = "clean"
    """What the decoder sees in training: the clean estimate, or z_t minus the noise estimate (paper)."""

    def __post_init__(self) -> None:
        twice = sorted({"cross_entropy", "dice"} & self.terms.keys())
        _require(not twice, "loss.terms", ", ".join(twice), "give these weights as loss.NAME")
        weights = {"cross_entropy": self.cross_entropy, "dice": self.dice, **self.terms}
        _require(
            min(weights.values()) >= 0 < max(weights.values()),
            "loss",
            weights,
            "choose weights of 0 or more for the terms, and one above 0",
        )
        _require(
            self.reconstruction > 0 or not self.stop_latent_gradient,
            "loss.reconstruction",
            self.reconstruction,
            "choose a weight above 0, or turn loss.stop_latent_gradient off: the label encoder must learn",
        )


@dataclass(frozen=True)
class AugmentSettings:
    """Augmentation, drawn anew each time a case is used. Probabilities are per use."""

    rotation: float = 15.0
    """Largest rotation about each axis, in degrees (2D: twice this)."""
    scale: float = 0.15
    """Largest relative change of size."""
    shift: float = 0.05
    """Largest translation, as a fraction of the patch."""
    affine_probability: float = 0.7
    elastic_probability: float = 0.0
    """Probability of a smooth deformation, not along time. It doubles the cost of augmentation and gained
    nothing."""
    intensity_probability: float = 0.3
    """Probability of a change of contrast and of one of brightness, each."""
    gamma_probability: float = 0.3
    gamma: float = 1.5
    """Largest gamma; the smallest is its inverse."""
    noise_probability: float = 0.15
    noise_deviation: float = 0.8
    """Largest standard deviation of Gaussian noise, in units of the normalized image."""
    blur_probability: float = 0.1
    blur_width: float = 2.0
    """Largest standard deviation of a Gaussian blur, in voxels of the finest axis."""
    low_resolution_probability: float = 0.1
    """Probability of simulated low resolution; never where spacings differ much or one axis is time."""
    low_resolution_zoom: float = 0.4
    """Smallest fraction of the voxels that simulated low resolution keeps along each axis."""
    mirror: bool = True
    """Whether axes are flipped, each with probability one half."""
    mirror_axes: tuple[int, ...] | None = None
    """Axes to flip, as indices into the plan's `axes`; none takes the plan's `mirror_axes`."""
    pipeline: tuple[str, ...] = (
        "mirror",
        "elastic",
        "affine",
        "blur",
        "low_resolution",
        "intensity",
        "gamma",
        "noise",
    )
    """The augmentations in the order in which they are applied, by name."""


@dataclass(frozen=True)
class TrainingSettings:
    """The training loop. Exactly one of `steps`, `minutes`, `cpu_minutes` and `epochs` is the budget."""

    steps: int | None = None
    minutes: float | None = None
    """Wall-clock minutes of training, all sessions together."""
    cpu_minutes: float | None = None
    """CPU minutes of the process (all its threads); comparable on a machine that does other work too."""
    epochs: int | None = None
    batch: int | None = None
    """Cases per step; none takes the plan's."""
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    optimizer: Literal["muon", "adamw", "adam"] = "muon"
    lr_schedule: Literal["cosine", "constant"] = "cosine"
    """Course of the learning rate over the budget, after `warmup` steps."""
    warmup: int = 50
    """Steps of linear warm-up of the learning rate."""
    gradient_clip: float | None = 1.0
    """Largest norm of the gradient; none does not clip it (paper)."""
    ema: float = 0.999
    """Decay of the exponential moving average of the weights. In [0, 1)."""
    ema_warmup: bool = True
    """Whether the decay is reached gradually over the first steps, so that early weights fade quickly."""
    ema_modules: Literal["all", "denoiser"] = "all"
    """Modules whose weights are averaged; of the others the last weights are kept."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """auto: bf16 autocast where the device multiplies it natively."""
    compile: bool = False
    """Use torch.compile; what it cannot compile runs as it is."""
    activation_checkpointing: bool = False
    """Compute residual blocks a second time for the gradient, which takes more time and less memory."""
    workers: int | None = None
    """Processes that prepare patches; 0 prepares them in the training process. None takes 0 on a CPU and, so
    that a GPU does not wait, one for each core but one beside a GPU, at most 16."""
    validations: int = 10
    """Number of validations, evenly spaced over the budget; the last is at the end."""
    validation_cases: int = 16
    """Largest number of cases in each validation."""
    calibrate: bool = True
    """Whether `ldseg train` ends as `ldseg calibrate` does: it fits the temperature and the width of volume
    intervals on validation cases, and the out-of-distribution detector on all cases."""
    save_minutes: float = 2.0
    """Wall-clock minutes between checkpoints."""
    seed: int = 0
    fold: int | Literal["all"] = 0
    loggers: tuple[str, ...] = ()
    """Loggers beside log.jsonl: tensorboard, mlflow or wandb (offline); each needs the extra of its name."""

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
            self.gradient_clip is None or self.gradient_clip > 0,
            "training.gradient_clip",
            self.gradient_clip,
            "choose a value above 0, or none",
        )
        _require(0 <= self.ema < 1, "training.ema", self.ema, "choose a value in [0, 1)")
        for name in ("validations", "validation_cases", "warmup", "weight_decay", "save_minutes"):
            _require(getattr(self, name) >= 0, f"training.{name}", getattr(self, name), "choose 0 or more")


@dataclass(frozen=True)
class SamplingSettings:
    """Sampler, steps and samples of a prediction."""

    sampler: str = "ddim"
    steps: int = 1
    samples: int = 1
    tta: bool = False
    """Whether to use test-time augmentation where the plan mirrors an axis: a single prediction is the mean
    over the image and its mirror image; of several samples every second one is drawn on the mirror image."""

    @property
    def single_call(self) -> bool:
        """True if the denoiser is called only once, which asks for the deterministic prediction."""
        return self.steps == 1 or self.sampler == "one_step"


@dataclass(frozen=True)
class RunSettings:
    """Settings of one training, written as settings.json."""

    preset: str
    model: ModelSettings
    baseline: Literal["none", "unet", "pixel_diffusion"] = "none"
    """Baseline that is trained instead of the latent diffusion model."""
    loss: LossSettings = field(default_factory=LossSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    """Sampling when nothing else is asked for."""
    posterior: SamplingSettings = field(default_factory=lambda: SamplingSettings(steps=8, samples=8))
    """Sampling when several samples are asked for; `samples` is the default number of them."""

    def sampling_of(
        self,
        sampler: str | None = None,
        steps: int | None = None,
        samples: int | None = None,
        tta: bool | None = None,
        stochastic: bool = True,
    ) -> SamplingSettings:
        """Return the given values, completed by this model's defaults for that number of samples.

        A model that is not `stochastic` takes the defaults of one sample, since all samples would be equal.
        """
        number = self.sampling.samples if samples is None else samples
        own = self.posterior if number > 1 and stochastic else self.sampling
        return SamplingSettings(
            own.sampler if sampler is None else sampler,
            own.steps if steps is None else steps,
            number,
            own.tta if tta is None else tta,
        )

    def fixed(self, sampling: SamplingSettings) -> RunSettings:
        """Return these settings with one way of sampling, as an exported model has."""
        return replace(self, sampling=sampling, posterior=sampling)
