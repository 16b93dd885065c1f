"""`OnnxSpec`: the specification that a program needs to run an exported graph, as contract.json beside it.

Sizes and spacings are in the order of `axes`; f is the latent factor, K the number of classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ldseg.inference.backends.backend import DETERMINISTIC_WEIGHT
from ldseg.inference.temperature_scaling import UNCALIBRATED, Calibration
from ldseg.planning.plan import ChannelPlan
from ldseg.runs.files import SPEC_FILE
from ldseg.settings import SamplingRecord
from ldseg.utils.serialization import from_json, read_versioned, write_json_atomic

SPEC_VERSION = 2
IMAGE, NOISE, FRESH_NOISE, PROBABILITIES = "image", "noise", "fresh_noise", "probabilities"
"""Names of the graph's inputs and its output."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of the graph, float32."""

    name: str
    axes: tuple[str, ...]
    shape: tuple[int | Literal["batch"], ...]
    """"batch" stands for any number."""
    meaning: str


@dataclass(frozen=True)
class ClassSpec:
    """A class of the output."""

    index: int
    """Index on the class axis of the probabilities."""
    id: int
    """Id in mask files."""
    name: str


@dataclass(frozen=True)
class TilingSpec:
    """The sliding window over a larger image."""

    overlap: float
    """Least overlap of neighboring patches, as a fraction of the patch, per axis."""
    align: tuple[int, ...]
    """Corners are multiples of this, so that tiles share the cells of one noise field."""
    deviation: float
    """Standard deviation of a tile's Gaussian weight, as a fraction of the patch; the largest weight is 1."""
    floor: float
    """No weight is below this."""


@dataclass(frozen=True)
class OnnxSpec:
    """The content of contract.json."""

    version: int
    made_by: str
    """ldseg and its version."""
    graph: str
    """Name of the ONNX file, in the same folder."""
    opset: int
    difference: float
    """Largest difference of a probability from torch's that was seen when the graph was checked."""
    stochastic: bool
    """True where the output depends on noise. A deterministic prediction does not: its graph has the image as
    its only input."""
    sampling: SamplingRecord
    """Sampling that is built into the graph: sampler, steps, and the samples of one call."""
    draws: int
    """Number of fresh noise draws during sampling, besides the noise it starts from; 0 for most samplers."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    axes: Literal["yx", "zyx", "tyx"]
    spacing: tuple[float, ...]
    """Spacing of the network's grid, in mm if `physical_spacing`, else in the image's own voxels."""
    resample: bool
    """True where images are resampled to `spacing` (never along t); else they keep their own voxels."""
    patch: tuple[int, ...]
    channels: tuple[ChannelPlan, ...]
    """Normalization of each channel, explained in `rules`."""
    latent_factor: tuple[int, ...]
    latent_channels: int
    classes: tuple[ClassSpec, ...]
    tiling: TilingSpec
    rules: dict[str, str]
    """Each step from an image to its labels, in words."""
    recalibration: Calibration = UNCALIBRATED
    """Calibration of this model, which is applied after the graph."""
    answers: int = 0
    """Number of deterministic predictions, which come first among the graph's maps."""
    answers_weight: float = DETERMINISTIC_WEIGHT
    """Weight of their mean in the probabilities, beside several samples."""
    global_channels: int = 0
    """The first latent channels, whose noise is one number for the whole image, the same in each cell of each
    tile."""
    physical_spacing: bool | None = None
    """True where the training images had a physical spacing; null where that is unknown."""


def write_onnx_spec(folder: Path, spec: OnnxSpec) -> None:
    """Write contract.json, whole or not at all."""
    write_json_atomic(folder / SPEC_FILE, spec)


def read_onnx_spec(folder: Path) -> OnnxSpec:
    """Read contract.json of an exported folder.

    Raises:
        InputError: it is missing, damaged, or of a newer version.
    """
    path = folder / SPEC_FILE
    remedy = "make it with `ldseg export RUN --format onnx -o OUT` and predict with OUT"
    data = read_versioned(path, SPEC_VERSION, remedy, oldest=SPEC_VERSION)
    return from_json(OnnxSpec, {"version": SPEC_VERSION, **data}, str(path))
