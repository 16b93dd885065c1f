"""`OutputAssembler`: from slabs of statistics to maps of the whole image on its own grid.

A map goes to a `Sink` plane by plane, which may hold it in memory or write it to a file. K classes; *S the
image's own grid; *R that of some of its planes, in canonical order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ldseg.data.units import size_unit, voxel_size
from ldseg.data.volume import Volume
from ldseg.inference.decision import Decision, LabelRule, pack_levels
from ldseg.inference.posterior import (
    Confidence,
    Posterior,
    Slab,
    VolumeEstimate,
    entropy,
    estimate_volumes,
    likeliest,
)
from ldseg.inference.temperature_scaling import (
    Calibration,
    expected_dice,
    scale_interval,
    with_temperature,
)
from ldseg.planning.plan import Plan
from ldseg.preprocessing.orient import to_canonical
from ldseg.preprocessing.preprocess import GridTransform, labels_to_ids
from ldseg.preprocessing.resample import StreamingResampler

LABELS, PROBABILITIES, UNCERTAINTY = "labels", "probabilities", "uncertainty"
DISAGREEMENT, FREQUENCIES, SAMPLES = "disagreement", "frequencies", "samples"
MEMBER_DISAGREEMENT = "member_disagreement"
"""Mutual information in nats between the members of an ensemble and the labels."""
MAPS = (LABELS, PROBABILITIES, UNCERTAINTY, DISAGREEMENT, FREQUENCIES, SAMPLES)
"""The maps that can be made."""
LEVELS = "levels"
"""What labels are decided from once the whole image is known, (K, *S); see `decision.pack_levels`."""


OnPlanes = Callable[[], None]
"""Called whenever some planes of a map are complete; what it raises ends the prediction."""


def ignore_planes() -> None:
    """Do nothing."""


class Sink(Protocol):
    """Takes maps as they are made."""

    def put(self, name: str, start: int, planes: NDArray[Any]) -> None:
        """Take the planes (channels, *R) of the map `name` from `start` on, each plane once, in order."""
        ...

    def take(self, name: str) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield the planes of a map that was put, in parts as `put` got them, and drop the map."""
        ...


@dataclass(frozen=True)
class EnsembleSummary:
    """Findings about how the members of an ensemble agree on an image."""

    pairwise_dice: dict[str, float]
    """Per structure, the mean Dice between the labels of two members; low where they are likely to fail."""
    member_disagreement: float
    """What members disagree on (epistemic), mutual information in nats, the mean over the image."""
    sample_disagreement: float
    """What the samples of a member disagree on (aleatoric), the same, the mean over members."""


@dataclass(frozen=True)
class CaseSummary:
    """Findings about an image as a whole."""

    volumes: dict[str, VolumeEstimate]
    """Per structure, in `volume_unit`, counted on the network's grid."""
    pairwise_dice: dict[str, float]
    """Per structure, the Dice between two samples, over all pairs; empty where there is one sample."""
    confidence: float
    """The Dice to expect of the case, 0 to 1 (see `posterior.Confidence`); lowered where the image is of
    another kind than the training images (see `out_of_distribution.Difference`)."""
    volume_unit: str
    """"mm^3", in 2D "mm^2"; "voxels" or "pixels" where the image has no physical spacing; in 2D+time with
    " summed over frames"."""
    out_of_distribution: tuple[str, ...] = ()
    """The ways in which the image differs from the training images: those of `preprocessing.harmonize` and of
    `inference.out_of_distribution`; empty where it is like them."""
    notes: tuple[str, ...] = ()
    """What was assumed or changed when the image was read and preprocessed, one sentence each."""
    distance: float | None = None
    """Distance from the training images in the model's features, in units of the farthest of them, so that
    beyond 1 the image is of another kind; None where the model does not know them."""
    harmonized: bool = False
    """True where the image was harmonized with the training images before it was segmented."""
    decision: Decision = "argmax"
    """How the labels were decided."""
    expected_dice: dict[str, float] = field(default_factory=dict[str, float])
    """Per structure, the Dice to expect of the labels: their mean Dice with the samples, corrected by what
    calibration found; empty unless it was asked for by the decision."""
    sample_volumes: dict[str, tuple[float, ...]] = field(default_factory=dict[str, tuple[float, ...]])
    """Per structure, its volume in each sample, before any calibration."""
    ensemble: EnsembleSummary | None = None
    """None for a single model."""


class OutputAssembler:
    """Turns slabs of statistics into maps."""

    def __init__(
        self,
        plan: Plan,
        grid: GridTransform,
        axis: int,
        calibration: Calibration,
        samples: int,
        wanted: Sequence[str],
        sink: Sink,
        decides: bool = False,
    ) -> None:
        """Send the maps `wanted` (of `MAPS`) to `sink`; slabs come along `axis` of the network's grid.

        If it `decides`, labels wait for the decision on the whole image, `decide`; else they are the argmax.
        """
        self._plan, self._calibration, self._samples, self._sink = plan, calibration, samples, sink
        self._wanted, self._axis, self._plane = frozenset(wanted), axis, 0
        if decides and LABELS in self._wanted:
            self._wanted = (self._wanted - {LABELS}) | {LEVELS}
        self._confidence = Confidence(len(plan.classes))
        of_map = {DISAGREEMENT: "entropy", FREQUENCIES: "frequencies", SAMPLES: "samples"}
        sources = [part for name, part in of_map.items() if name in self._wanted]
        grids = (grid.shape, grid.canonical_shape, axis)
        self._resamplers = {part: StreamingResampler(*grids) for part in ("mean", *sources)}

    def add(self, slab: Slab) -> None:
        """Take the next slab, and put the planes that it completes."""
        parts: dict[str, NDArray[np.float32]] = {}
        for part, resampler in self._resamplers.items():
            values = getattr(slab, part).numpy()
            grown = resampler.add(values.reshape(-1, *slab.mean.shape[1:]))
            parts[part] = grown.reshape(*values.shape[: values.ndim - slab.mean.ndim + 1], *grown.shape[1:])
        for name, planes in self._maps(parts).items():
            if name in self._wanted:
                self._sink.put(name, self._plane, planes)
        self._plane += parts["mean"].shape[self._axis + 1]

    def summarize(self, posterior: Posterior, grid: GridTransform) -> CaseSummary:
        """Return the summary of the case, after the last slab."""
        names = list(self._plan.classes)
        counts = posterior.counts()
        axes = self._plan.axes
        voxel = voxel_size(axes, grid.spacing)
        volumes = estimate_volumes(counts, names, voxel)
        dice = posterior.pairwise_dice().tolist() if len(counts) > 1 else []
        return CaseSummary(
            {name: scale_interval(one, self._calibration.widening) for name, one in volumes.items()},
            dict(zip(names[1:], dice, strict=False)),
            self._confidence.value(),
            size_unit(axes, grid.physical),
            sample_volumes={
                name: tuple((counts[:, k] * voxel).tolist()) for k, name in enumerate(names) if k > 0
            },
        )

    def decide(self, rule: LabelRule, summary: CaseSummary) -> CaseSummary:
        """Put the labels by a decision on the whole image, after the last slab, and return the summary with
        what it expects of them."""
        if LEVELS in self._wanted:
            for start, levels in self._sink.take(LEVELS):
                self._sink.put(LABELS, start, labels_to_ids(rule.classes(levels)[None], self._plan))
        expected = expected_dice(list(self._plan.classes)[1:], rule.risks, self._calibration)
        return replace(summary, decision="expected-dice", expected_dice=expected)

    def _maps(self, parts: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[Any]]:
        """Return planes of the maps, by name, from planes of the slabs' parts on the image's own grid."""
        raw = parts["mean"]
        probabilities = with_temperature(raw, self._calibration.temperature)
        classes = _likeliest(probabilities)
        self._confidence.add(probabilities, classes)
        maps: dict[str, NDArray[Any]] = {
            LABELS: labels_to_ids(classes[None], self._plan),
            PROBABILITIES: probabilities,
        }
        if LEVELS in self._wanted:
            maps[LEVELS] = pack_levels(raw)
        if UNCERTAINTY in self._wanted:
            maps[UNCERTAINTY] = _entropy(probabilities)
        if DISAGREEMENT in self._wanted:  # where tiles differ, one sample would seem to disagree with itself
            several = self._samples > 1
            zeros = np.zeros_like(parts["entropy"])
            maps[DISAGREEMENT] = np.maximum(_entropy(raw) - parts["entropy"], 0) if several else zeros
        if "frequencies" in parts:
            background = 1 - parts["frequencies"].sum(0, keepdims=True)
            maps[FREQUENCIES] = np.concatenate([background, parts["frequencies"]]).clip(0, 1)
        if "samples" in parts:
            samples = parts["samples"]  # (samples, K - 1, *R), without the background
            classes = [_likeliest(np.concatenate([1 - one.sum(0, keepdims=True), one])) for one in samples]
            maps[SAMPLES] = labels_to_ids(np.stack(classes), self._plan)
        return maps


def _likeliest(probabilities: NDArray[np.float32]) -> NDArray[np.int16]:
    """Return the likeliest classes (*R) of probabilities (K, *R)."""
    return likeliest(torch.from_numpy(probabilities), 0).numpy()


def _entropy(probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the entropy (1, *R) in nats of probabilities (K, *R)."""
    return entropy(torch.from_numpy(probabilities), 0)[None].numpy()


class ImageMaps:
    """Maps of an image as arrays (channels, *S) on its own grid."""

    def __init__(self, volume: Volume, arrays: dict[str, NDArray[Any]]) -> None:
        self._volume, self._arrays = volume, arrays

    def __contains__(self, name: str) -> bool:
        """Return whether there is a map of this name."""
        return name in self._arrays

    def array(self, name: str) -> NDArray[Any]:
        """Return the voxels of a map."""
        return self._arrays[name]

    def volume(self, name: str) -> Volume:
        """Return a whole map."""
        kind = "labels" if name == LABELS else "image"
        return self._volume.with_array(self._arrays[name], kind)

    def samples(self) -> tuple[Volume, ...]:
        """Return the labels of each sample."""
        return tuple(self._volume.with_array(one[None], "labels") for one in self._arrays.get(SAMPLES, ()))


class InMemory(ImageMaps):
    """A sink that holds the maps."""

    def __init__(
        self, volume: Volume, grid: GridTransform, axis: int, on_planes: OnPlanes = ignore_planes
    ) -> None:
        super().__init__(volume, {})
        self._grid, self._axis, self._on_planes = grid, axis, on_planes

    def put(self, name: str, start: int, planes: NDArray[Any]) -> None:
        """Take planes of a map, see `Sink`."""
        self._on_planes()
        if name not in self._arrays:
            self._arrays[name] = np.empty((len(planes), *self._volume.shape), planes.dtype)
        target = to_canonical(self._arrays[name], self._grid.orientation)
        region = [slice(None)] * target.ndim
        region[self._axis + 1] = slice(start, start + planes.shape[self._axis + 1])
        target[tuple(region)] = planes

    def take(self, name: str) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield a map whole, and drop it."""
        yield 0, to_canonical(self._arrays.pop(name), self._grid.orientation)
