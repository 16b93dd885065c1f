"""Posterior samples of a tile by onnxruntime. Tiling, noise and statistics are those of PyTorch.

The graph has a fixed number of steps, and of samples N per call; any number of samples takes several calls,
and excess samples of a call are dropped. With test-time augmentation every second sample of a call is drawn
on the flipped tile.
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
from ldseg.inference.backends.torch_backend import tta_flips
from ldseg.inference.case_noise import CaseNoise
from ldseg.inference.onnx_spec import (
    FRESH_NOISE,
    IMAGE,
    NOISE,
    PROBABILITIES,
    OnnxSpec,
    read_onnx_spec,
)
from ldseg.inference.predictor import Predictor
from ldseg.inference.provenance import identify
from ldseg.planning.plan import Plan, read_plan
from ldseg.runs.files import PLAN_FILE, SETTINGS_FILE, SPEC_FILE
from ldseg.runs.saved_model import read_settings
from ldseg.settings import SamplingSettings

_LARGEST = 2**16
"""Largest size that is accepted in contract.json; far above those of any export."""
_LONGEST_FINDING = 160
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def load_onnx_predictor(folder: Path | str, device: str | None = None) -> Predictor:
    """Return a predictor from a folder that `ldseg export --format onnx` wrote; `device` is cpu (default) or
    cuda.

    Raises:
        InputError: the folder or one of its files cannot be used, onnxruntime is not installed, or the device
            is not here.
    """
    folder = Path(folder)
    spec = read_onnx_spec(folder)
    plan = read_plan(folder / PLAN_FILE)
    _check_spec(spec, folder)
    _check_plan(plan, spec, folder)
    settings = read_settings(folder / SETTINGS_FILE)
    settings = settings.fixed(spec.sampling.settings(settings.sampling))
    session = open_session(folder / spec.graph, device or "cpu")
    identity = identify(folder, spec.graph)
    return Predictor(plan, settings, OnnxBackend(session, spec), spec.recalibration, identity)


def open_session(path: Path, device: str) -> Any:
    """Return an onnxruntime session of the graph at `path`, with as many threads as torch uses.

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
    """Import a library of the extra `export`. Raises InputError when it is not installed."""
    try:
        return import_module(library)
    except ImportError as error:
        raise InputError(f'{library} is missing; install it with pip install "ldseg[export]"') from error


@dataclass(frozen=True)
class OnnxBackend:
    """Computes tiles with an exported graph."""

    session: Any
    """onnxruntime.InferenceSession."""
    spec: OnnxSpec

    @property
    def computation(self) -> Computation:
        """The device of the session; a graph computes in single precision."""
        first = str(self.session.get_providers()[0])
        device = next((name for name, provider in _PROVIDERS.items() if provider == first), first)
        return Computation("onnx", device, "fp32")

    @property
    def latent_factor(self) -> tuple[int, ...]:
        """The graph's f."""
        return self.spec.latent_factor

    @property
    def stochastic(self) -> bool:
        """True where two samples of one image can differ."""
        return self.spec.stochastic

    def resolve_sampling(self, sampling: SamplingSettings) -> SamplingSettings:
        """Return `sampling`, whose sampler and steps must be the graph's; one sample where all
        would be equal.

        Raises:
            InputError: another sampler or number of steps is asked for, or several samples of a graph whose
                only one is the mean over the image and its mirror image.
        """
        fixed = self.spec.sampling
        if not self.stochastic:
            return replace(sampling, steps=1, samples=1, tta=fixed.tta)
        asked = sampling.record(fixed.sampler is not None)
        for name in ("sampler", "steps", "tta"):
            wanted, made = getattr(asked, name), getattr(fixed, name)
            if wanted != made:
                how = "samples that are drawn at once" if made is None else made
                raise InputError(
                    f"{name} is {wanted}, the graph was made with {how}; leave out --{name}, or export again"
                )
        if sampling.single_call:
            return replace(sampling, samples=1)
        if sampling.samples > 1 and fixed.samples == 1 and fixed.tta:
            raise InputError(
                f"samples is {sampling.samples}, the graph was made with 1, the mean over the image and its "
                f"mirror image; leave out --samples, or export again with --samples {sampling.samples}"
            )
        return sampling

    def tiles(
        self, sampling: SamplingSettings, seed: int, name: str, tta_axis: int | None
    ) -> OnnxTileSampler:
        """Return the sampler of the case `name`; test-time augmentation is built into the graph."""
        spec = self.spec
        noise = CaseNoise(seed, name, spec.latent_channels, spec.latent_factor, spec.global_channels)
        deterministic = spec.answers if sampling.samples > 1 else 0
        return OnnxTileSampler(self.session, spec, noise, deterministic, len(tta_flips(tta_axis)))


@dataclass(frozen=True)
class OnnxTileSampler:
    """Draws samples of tiles of one case, N at a time."""

    session: Any
    spec: OnnxSpec
    noise: CaseNoise
    deterministic_predictions: int
    """Number of deterministic predictions, the first maps of the graph's first call."""
    views: int = 1
    """2 where every second sample of a call is drawn on the flipped tile."""

    @property
    def classes(self) -> int:
        """Number of classes, K."""
        return len(self.spec.classes)

    def blocks(
        self, x: Tensor, corner: Sequence[int], samples: range, on_features: OnFeatures = ignore_features
    ) -> Iterator[TileBlock]:
        """Yield the blocks of the tile x (M, *S) at `corner`; B is at most N, and 1 of a single sample, which
        is the mean over the views. The graph shows no features."""
        del on_features
        made, answers = self.spec.sampling.samples, self.spec.answers
        if len(samples) == 1 and made > 1:
            maps = self._maps(x, corner, [samples.start] * made)[answers:]
            yield TileBlock(maps[: self.views].mean(0, keepdim=True), samples)
            return
        # Each call but the last gives all views equally many samples, so that no sample changes its view.
        together = made if len(samples) <= made else made // self.views * self.views
        for first in range(samples.start, samples.stop, together):
            maps = self._maps(x, corner, range(first, first + made))
            for deterministic in maps[: self.deterministic_predictions if first == samples.start else 0]:
                yield TileBlock(deterministic[None], range(0))
            drawn = range(first, min(first + together, samples.stop))
            yield TileBlock(maps[answers:][: len(drawn)], drawn)

    def _maps(self, x: Tensor, corner: Sequence[int], samples: Sequence[int]) -> Tensor:
        """Return what one call of the graph gives for the tile x (M, *S), with the noise of N samples: the
        deterministic predictions and the samples (P + N, K, *S)."""
        feed = {IMAGE: x[None].numpy()}
        if self.spec.stochastic:
            feed |= self._read_noise(corner, x.shape[1:], samples)
        try:
            (found,) = self.session.run([PROBABILITIES], feed)
        except Exception as error:  # as above
            reason = " ".join(str(error).split())[:_LONGEST_FINDING]
            raise InputError(
                f"the graph cannot compute what {SPEC_FILE} says ({reason}); export again"
            ) from error
        return torch.from_numpy(found[0])

    def _read_noise(
        self, corner: Sequence[int], patch: Sequence[int], samples: Sequence[int]
    ) -> dict[str, Any]:
        """Return the graph's noise inputs; step 0 of the noise field starts sampling, the fresh draws
        follow."""
        steps = [self.noise.read(step, corner, patch, samples) for step in range(1 + self.spec.draws)]
        feed = {NOISE: steps[0][None].numpy()}
        if self.spec.draws:
            feed[FRESH_NOISE] = torch.stack(steps[1:], 1)[None].numpy()
        return feed


def _check_spec(spec: OnnxSpec, folder: Path) -> None:
    """Raise InputError for a graph outside the folder and for noise of absurd size: the folder is not
    trusted."""
    others = (spec.latent_channels + 1, spec.global_channels + 1, spec.draws + 1)  # these may be 0
    sizes = (*spec.latent_factor, spec.sampling.samples, *others)
    fits = len(spec.latent_factor) == len(spec.patch)
    if not fits or not all(0 < size <= _LARGEST for size in sizes):
        raise InputError(f"{folder / SPEC_FILE}: its sizes contradict each other; export again")
    if Path(spec.graph).name != spec.graph:
        raise InputError(f"{folder / SPEC_FILE}: graph is {spec.graph!r}; name a file beside it")


def _check_plan(plan: Plan, spec: OnnxSpec, folder: Path) -> None:
    """Raise InputError where a plan that was edited after the export contradicts the graph."""
    pairs = {
        "axes": (plan.axes, spec.axes),
        "patch": (plan.patch, spec.patch),
        "channels": (len(plan.channels), len(spec.channels)),
        "classes": (len(plan.classes), len(spec.classes)),
    }
    for name, (planned, made) in pairs.items():
        if planned != made:
            raise InputError(
                f"{folder / PLAN_FILE}: {name} is {planned}, {SPEC_FILE} has {made}; export again"
            )
