"""`OnnxSpec`: what a program must know to run an exported graph, as contract.json beside it.

Sizes and spacings are in the order of `axes`; f is the latent factor, K the number of classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ldseg.inference.backends.backend import DETERMINISTIC_WEIGHT
from ldseg.inference.temperature_scaling import UNCALIBRATED, Calibration
from ldseg.planning.plan import ChannelPlan
from ldseg.settings import SamplingSettings
from ldseg.utils.serialization import from_json, read_versioned, write_json_atomic

SPEC_FILE = "contract.json"
SPEC_VERSION = 2
IMAGE, NOISE, FRESH_NOISE, PROBABILITIES = "image", "noise", "fresh_noise", "probabilities"
"""Names of the graph's inputs and its output."""


@dataclass(frozen=True)
class TensorSpec:
    """An input or output of the graph, float32."""

    name: str
    axes: tuple[str, ...]
    shape: tuple[int | Literal["batch"], ...]
    """"batch" where any number will do."""
    meaning: str


@dataclass(frozen=True)
class ClassSpec:
    """One class."""

    index: int
    """On the class axis of the probabilities."""
    id: int
    """In mask files."""
    name: str


@dataclass(frozen=True)
class TilingSpec:
    """How patches cover an image that is larger."""

    overlap: float
    """Least share of a patch that neighbours have in common, per axis."""
    align: tuple[int, ...]
    """Corners are multiples of this, so that tiles share the cells of one noise field."""
    deviation: float
    """Of the Gaussian weight of a tile about its middle, as a share of the patch; the largest is 1."""
    floor: float
    """No weight is below this."""


@dataclass(frozen=True)
class OnnxSpec:
    """All of contract.json."""

    version: int
    made_by: str
    """ldseg and its version."""
    graph: str
    """Name of the ONNX file, in the same folder."""
    opset: int
    difference: float
    """Largest difference of a probability from torch's that was seen when the graph was checked."""
    stochastic: bool
    """Whether the answer depends on noise; without it the graph has the image as its only input."""
    sampling: SamplingSettings
    """Built into the graph: sampler, steps, and the samples of one call."""
    draws: int
    """Times that sampling draws fresh noise, besides the noise it starts from; 0 for most samplers."""
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    axes: Literal["yx", "zyx", "tyx"]
    spacing: tuple[float, ...]
    """Of the grid that the network works on, in mm if `physical_spacing`, else in the image's own voxels."""
    resample: bool
    """Whether images are brought to `spacing` (never along t), or keep their own voxels."""
    patch: tuple[int, ...]
    channels: tuple[ChannelPlan, ...]
    """Normalisation of each channel; `rules` says how."""
    latent_factor: tuple[int, ...]
    latent_channels: int
    classes: tuple[ClassSpec, ...]
    tiling: TilingSpec
    rules: dict[str, str]
    """Each step from an image to its labels, in words."""
    recalibration: Calibration = UNCALIBRATED
    """What was fitted to the answers of this model; it comes after the graph."""
    answers: int = 0
    """How many of the graph's maps, the first, are no samples but answers of one call."""
    answers_weight: float = DETERMINISTIC_WEIGHT
    """Share of these in the probabilities, beside several samples."""
    physical_spacing: bool | None = None
    """Whether the training images had a physical spacing; null where that is not known."""


def write_onnx_spec(folder: Path, contract: OnnxSpec) -> None:
    """Write the contract, whole or not at all."""
    write_json_atomic(folder / SPEC_FILE, contract)


def read_onnx_spec(folder: Path) -> OnnxSpec:
    """Read the contract of an exported folder.

    Raises:
        InputError: it is missing, damaged, or of a newer version.
    """
    path = folder / SPEC_FILE
    remedy = "make it with `ldseg export RUN --format onnx -o OUT` and predict with OUT"
    data = read_versioned(path, SPEC_VERSION, remedy, oldest=SPEC_VERSION)
    return from_json(OnnxSpec, {"version": SPEC_VERSION, **data}, str(path))
