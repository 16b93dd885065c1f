"""Settings of the model and of its training: frozen dataclasses, each field with its meaning, unit and range.

A model is built from `ModelSettings` alone. Presets (`ldseg.presets`) fill them from a plan; the command line
overrides single fields as `--section.field value`; the whole is written beside the weights as settings.json.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Literal

from ldseg.settings.model import (
    DecoderSettings,
    DenoiserSettings,
    ImageEncoderSettings,
    LabelEncoderSettings,
    ModelSettings,
    NoiseSettings,
    Options,
    StagesSettings,
    Strides,
    refuse_options,
    require,
)

__all__ = [
    "AugmentSettings",
    "DecoderSettings",
    "DenoiserSettings",
    "ImageEncoderSettings",
    "LabelEncoderSettings",
    "LossSettings",
    "ModelSettings",
    "NoiseSettings",
    "Options",
    "RunSettings",
    "SamplingSettings",
    "StagesSettings",
    "Strides",
    "TrainingSettings",
    "is_stepwise",
    "refuse_options",
]


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
        require(not twice, "loss.terms", ", ".join(twice), "give these weights as loss.NAME")
        weights = {"cross_entropy": self.cross_entropy, "dice": self.dice, **self.terms}
        require(
            min(weights.values()) >= 0 < max(weights.values()),
            "loss",
            weights,
            "choose weights of 0 or more for the terms, and one above 0",
        )
        require(
            self.reconstruction > 0 or not self.stop_latent_gradient,
            "loss.reconstruction",
            self.reconstruction,
            "choose a weight above 0, or turn loss.stop_latent_gradient off: the label encoder must learn",
        )
        for name in ("latent", "latent_draws", "reconstruction"):
            require(getattr(self, name) >= 0, f"loss.{name}", getattr(self, name), "choose 0 or more")
        share = self.reconstruction_share
        require(0 < share <= 1, "loss.reconstruction_share", share, "choose a value in (0, 1]")
        require(0 <= self.feature_drop <= 1, "loss.feature_drop", self.feature_drop, "choose 0 to 1")


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

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if name.endswith("_probability"):
                require(0 <= value <= 1, f"augment.{name}", value, "choose 0 to 1")
        for name in ("rotation", "shift", "noise_deviation", "blur_width"):
            require(getattr(self, name) >= 0, f"augment.{name}", getattr(self, name), "choose 0 or more")
        require(0 <= self.scale < 1, "augment.scale", self.scale, "choose a value in [0, 1)")
        require(self.gamma >= 1, "augment.gamma", self.gamma, "choose 1 or more; 1 changes nothing")
        zoom = self.low_resolution_zoom
        require(0 < zoom <= 1, "augment.low_resolution_zoom", zoom, "choose a value in (0, 1]")

    def flipped_axes(self, planned: tuple[int, ...]) -> tuple[int, ...]:
        """Return the axes that training flips, ascending; `planned` are the plan's `mirror_axes`."""
        axes = planned if self.mirror_axes is None else self.mirror_axes
        return tuple(sorted(set(axes))) if self.mirror and "mirror" in self.pipeline else ()


@dataclass(frozen=True)
class TrainingSettings:
    """The training loop. Exactly one of `steps`, `minutes`, `cpu_minutes` and `epochs` is the budget."""

    steps: int | None = None
    """Steps of training."""
    minutes: float | None = None
    """Wall-clock minutes of training, all sessions together."""
    cpu_minutes: float | None = None
    """CPU minutes of the process (all its threads); comparable on a machine that does other work too."""
    epochs: int | None = None
    """Visits of every training case."""
    until_flat: bool = False
    """Whether to end when validation has stopped improving: when doubling the time raised its mean Dice by
    less than 0.002. The budget is then the most that training may take, 24 hours if none is given."""
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
    cuda_graphs: bool | None = None
    """Start loss and gradient of a step as one CUDA graph: faster on a GPU that waits for small kernels. None
    does so where one process trains the networks of the default preset or its `unet` as they are on a GPU."""
    activation_checkpointing: bool = False
    """Compute residual blocks a second time for the gradient, which takes more time and less memory; those of
    the paper's networks are not."""
    workers: int | None = None
    """Processes that prepare patches, 0 for none. None takes 0, with a GPU all cores but one, at most 16."""
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
    """Seed of the first weights, the patches and the noise."""
    fold: int | Literal["all"] = 0
    """Fold whose validation cases the model does not train on, from 0 on; "all" trains on every case outside
    the test part, which leaves none to calibrate on. `ldseg train --folds` trains every fold."""
    loggers: tuple[str, ...] = ()
    """Loggers beside log.jsonl: tensorboard, mlflow or wandb (offline); each needs the extra of its name."""

    def __post_init__(self) -> None:
        require(
            self.workers is None or self.workers >= 0,
            "training.workers",
            self.workers,
            "choose a number of processes, 0 or more",
        )
        require(self.batch is None or self.batch >= 1, "training.batch", self.batch, "choose 1 or more cases")
        require(
            self.learning_rate > 0, "training.learning_rate", self.learning_rate, "choose a value above 0"
        )
        require(
            self.gradient_clip is None or self.gradient_clip > 0,
            "training.gradient_clip",
            self.gradient_clip,
            "choose a value above 0, or none",
        )
        require(0 <= self.ema < 1, "training.ema", self.ema, "choose a value in [0, 1)")
        require(0 <= self.seed < 2**63, "training.seed", self.seed, "choose a whole number from 0 on")
        for name in ("validations", "validation_cases", "warmup", "weight_decay", "save_minutes"):
            require(getattr(self, name) >= 0, f"training.{name}", getattr(self, name), "choose 0 or more")


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

    def record(self, stepwise: bool) -> SamplingRecord:
        """Return how samples are drawn in fact, by a model that does so in steps or not."""
        steps = self.steps if stepwise else None
        return SamplingRecord(
            self.sampler if stepwise else None, 1 if self.single_call else steps, self.samples, self.tta
        )


@dataclass(frozen=True)
class SamplingRecord:
    """The sampling of a result, as files beside it have it."""

    sampler: str | None
    """None of a model without steps, in which no sampler is at work."""
    steps: int | None
    """1 of a deterministic prediction, None where samples were drawn at once."""
    samples: int
    tta: bool

    def settings(self, own: SamplingSettings) -> SamplingSettings:
        """Return the settings that ask for this; what is None here is as in the model's `own`."""
        return SamplingSettings(
            own.sampler if self.sampler is None else self.sampler,
            own.steps if self.steps is None else self.steps,
            self.samples,
            self.tta,
        )


def is_stepwise(baseline: str) -> bool:
    """Return whether a model of this baseline draws samples in steps."""
    return baseline not in ("unet", "ssn", "probabilistic_unet")


@dataclass(frozen=True)
class RunSettings:
    """Settings of one training, written as settings.json."""

    preset: str
    model: ModelSettings
    baseline: Literal["none", "unet", "pixel_diffusion", "ssn", "probabilistic_unet"] = "none"
    """Baseline that is trained instead of the latent diffusion model."""
    loss: LossSettings = field(default_factory=LossSettings)
    augment: AugmentSettings = field(default_factory=AugmentSettings)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    sampling: SamplingSettings = field(default_factory=SamplingSettings)
    """Sampling when nothing else is asked for."""
    posterior: SamplingSettings = field(default_factory=lambda: SamplingSettings(steps=8, samples=8))
    """Sampling when several samples are asked for; `samples` is the default number of them."""

    def __post_init__(self) -> None:
        for section in ("sampling", "posterior"):
            for name in ("steps", "samples"):
                value = getattr(getattr(self, section), name)
                require(value >= 1, f"{section}.{name}", value, "choose 1 or more")

    @property
    def stepwise(self) -> bool:
        """True if samples are drawn in steps; if not, steps (2 or more) and sampler change nothing."""
        return is_stepwise(self.baseline)

    @property
    def deterministic(self) -> bool:
        """True of a model whose predictions of an image are all equal."""
        return self.baseline == "unet"

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
