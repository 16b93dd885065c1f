"""Tiles computed by onnxruntime from an exported folder. Tiling, noise and statistics are those of torch.

The graph has a fixed number of steps and of samples N in one call; any number of samples is as many calls as
it takes, what is too much of the last one is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ldseg.errors import InputError
from ldseg.inference.backends.backend import Computation, OnFeatures, TileBlock, ignore_features
from ldseg.inference.case_noise import CaseNoise
from ldseg.inference.onnx_spec import (
    FRESH_NOISE,
    IMAGE,
    NOISE,
    PROBABILITIES,
    SPEC_FILE,
    OnnxSpec,
    read_onnx_spec,
)
from ldseg.inference.predictor import Predictor
from ldseg.inference.provenance import identify
from ldseg.planning.plan import Plan, read_plan
from ldseg.runs.files import PLAN_FILE, SETTINGS_FILE
from ldseg.runs.saved_model import read_settings
from ldseg.settings import SamplingSettings

_LARGEST = 2**16
"""Any size in a contract: far more than an export has."""
_LONGEST_FINDING = 160
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def load_onnx_predictor(folder: Path | str, device: str | None = None) -> Predictor:
    """A predictor from a folder that `ldseg export --format onnx` wrote; `device` is cpu (default) or cuda.

    Raises:
        InputError: the folder or one of its files cannot be used, onnxruntime is not installed, or the device
            is not here.
    """
    folder = Path(folder)
    contract = read_onnx_spec(folder)
    plan = read_plan(folder / PLAN_FILE)
    _check_contract(contract, folder)
    _check_plan(plan, contract, folder)
    settings = read_settings(folder / SETTINGS_FILE).fixed(contract.sampling)
    session = open_session(folder / contract.graph, device or "cpu")
    identity = identify(folder, contract.graph)
    return Predictor(plan, settings, OnnxBackend(session, contract), contract.recalibration, identity)


def open_session(path: Path, device: str) -> Any:
    """An onnxruntime session of the graph at `path`, with as many threads as torch uses.

    Raises:
        InputError: onnxruntime or the device is not here, or the file is missing or damaged.
    """
    onnxruntime = require("onnxruntime")
    provider = _PROVIDERS.get(device, "")
    if provider not in onnxruntime.get_available_providers():
        raise InputError(f"device {device!r} cannot be used by onnxruntime here; try --device cpu")
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; export the model again")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors alone; warnings are about how it optimises the graph
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=[provider])
    except Exception as error:  # onnxruntime's own kinds have no common base but this
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: onnxruntime cannot read it ({reason}); export the model again") from error


def require(library: str) -> Any:
    """A library of the extra `export`. Raises InputError when it is not installed."""
    try:
        return import_module(library)
    except ImportError as error:
        raise InputError(f'{library} is missing; install it with pip install "ldseg[export]"') from error


@dataclass(frozen=True)
class OnnxBackend:
    """An exported graph, ready to run."""

    session: Any
    """onnxruntime.InferenceSession."""
    contract: OnnxSpec

    @property
    def computation(self) -> Computation:
        """On the device of the session; a graph computes in single precision."""
        first = str(self.session.get_providers()[0])
        device = next((name for name, provider in _PROVIDERS.items() if provider == first), first)
        return Computation("onnx", device, "fp32")

    @property
    def latent_factor(self) -> tuple[int, ...]:
        """f."""
        return self.contract.latent_factor

    @property
    def stochastic(self) -> bool:
        """As the exported model is."""
        return self.contract.stochastic

    def possible(self, sampling: SamplingSettings) -> SamplingSettings:
        """The contract's sampler and steps with any number of samples; one of a deterministic model.

        Raises:
            InputError: another sampler or number of steps is asked for.
        """
        fixed = self.contract.sampling
        if not self.stochastic:
            return replace(fixed, samples=1)
        for name in ("sampler", "steps", "tta"):
            wanted, made = getattr(sampling, name), getattr(fixed, name)
            if wanted != made:
                raise InputError(
                    f"{name} is {wanted}, the graph was made with {made}; leave out --{name}, or export again"
                )
        return sampling

    def tiles(
        self, sampling: SamplingSettings, seed: int, name: str, mirrored: int | None
    ) -> OnnxTileSampler:
        """Tiles of the case `name`; whether they are mirrored too is built into the graph."""
        del mirrored
        contract = self.contract
        noise = CaseNoise(seed, name, contract.latent_channels, contract.latent_factor)
        return OnnxTileSampler(self.session, contract, noise, contract.answers if sampling.samples > 1 else 0)


@dataclass(frozen=True)
class OnnxTileSampler:
    """Draws samples of tiles of one case, N at a time."""

    session: Any
    contract: OnnxSpec
    noise: CaseNoise
    answers: int
    """How many blocks of a tile are answers of one call."""

    @property
    def classes(self) -> int:
        """K."""
        return len(self.contract.classes)

    def blocks(
        self, x: Tensor, corner: Sequence[int], samples: range, on_features: OnFeatures = ignore_features
    ) -> Iterator[TileBlock]:
        """What is said of the tile x (M, *S) at `corner`; B is N, or less in the last block of samples. The
        graph shows no features."""
        del on_features
        together = self.contract.sampling.samples
        for first in range(samples.start, samples.stop, together):
            feed = {IMAGE: x[None].numpy()}
            if self.contract.stochastic:
                feed |= self._read_noise(corner, x.shape[1:], range(first, first + together))
            try:
                (found,) = self.session.run([PROBABILITIES], feed)
            except Exception as error:  # as above
                reason = " ".join(str(error).split())[:_LONGEST_FINDING]
                raise InputError(
                    f"the graph cannot compute what {SPEC_FILE} says ({reason}); export again"
                ) from error
            maps = torch.from_numpy(found[0])
            for answer in maps[: self.answers if first == samples.start else 0]:
                yield TileBlock(answer[None], range(0))
            drawn = range(first, min(first + together, samples.stop))
            yield TileBlock(maps[self.contract.answers :][: len(drawn)], drawn)

    def _read_noise(self, corner: Sequence[int], patch: Sequence[int], samples: range) -> dict[str, Any]:
        """What the graph takes besides the image; step 0 of the noise is the start, the draws follow."""
        steps = [self.noise.read(step, corner, patch, samples) for step in range(1 + self.contract.draws)]
        feed = {NOISE: steps[0][None].numpy()}
        if self.contract.draws:
            feed[FRESH_NOISE] = torch.stack(steps[1:], 1)[None].numpy()
        return feed


def _check_contract(contract: OnnxSpec, folder: Path) -> None:
    """A folder from a stranger leads to no file elsewhere, and asks for no noise of absurd size."""
    others = (contract.latent_channels + 1, contract.draws + 1)  # these may be 0
    sizes = (*contract.latent_factor, contract.sampling.samples, *others)
    fits = len(contract.latent_factor) == len(contract.patch)
    if not fits or not all(0 < size <= _LARGEST for size in sizes):
        raise InputError(f"{folder / SPEC_FILE}: its sizes contradict each other; export again")
    if Path(contract.graph).name != contract.graph:
        raise InputError(f"{folder / SPEC_FILE}: graph is {contract.graph!r}; name a file beside it")


def _check_plan(plan: Plan, contract: OnnxSpec, folder: Path) -> None:
    """A plan edited after the export may not say otherwise than the graph."""
    pairs = {
        "axes": (plan.axes, contract.axes),
        "patch": (plan.patch, contract.patch),
        "channels": (len(plan.channels), len(contract.channels)),
        "classes": (len(plan.classes), len(contract.classes)),
    }
    for name, (planned, made) in pairs.items():
        if planned != made:
            raise InputError(
                f"{folder / PLAN_FILE}: {name} is {planned}, {SPEC_FILE} has {made}; export again"
            )
