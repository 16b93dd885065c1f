"""`BasePredictor`: the interface of what segments whole images, one model or an ensemble of several.

K classes in the plan's order; *S the image's own grid.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from ldseg.data.cases import Case
from ldseg.data.inputs import find_inputs
from ldseg.data.loading import load_input
from ldseg.data.volume import Volume, volume_of_array
from ldseg.errors import InputError, file_error
from ldseg.inference.backends.backend import Computation
from ldseg.inference.decision import Decision
from ldseg.inference.output import (
    DISAGREEMENT,
    FREQUENCIES,
    LABELS,
    LEVELS,
    MAPS,
    MEMBER_DISAGREEMENT,
    PROBABILITIES,
    SAMPLES,
    UNCERTAINTY,
    CaseSummary,
    ImageMaps,
    OnPlanes,
    ignore_planes,
)
from ldseg.inference.provenance import ModelIdentity
from ldseg.inference.temperature_scaling import Calibration
from ldseg.planning.plan import Plan
from ldseg.settings import RunSettings, SamplingSettings

Self = TypeVar("Self", bound="BasePredictor")


@dataclass(frozen=True, kw_only=True)
class Prediction(CaseSummary):
    """The segmentation of one image with its uncertainty; all volumes are on the image's own grid."""

    labels: Volume
    """(1, *S) ids as in the training masks: the likeliest class of the mean probabilities, or what `decision`
    makes of the samples."""
    probabilities: Volume
    """(K, *S) float32, mean over the samples, classes in the plan's order. A deterministic prediction, where
    the model has one, has the weight of all samples together."""
    uncertainty: Volume
    """(1, *S) float32, entropy of the mean probabilities in nats, 0 to log K."""
    disagreement: Volume
    """(1, *S) float32, mutual information in nats: the part of the entropy on which the samples disagree,
    before any calibration."""
    samples: tuple[Volume, ...]
    """(1, *S) ids of each sample; empty unless they were to be kept."""
    frequencies: Volume
    """(K, *S) float32, share of the samples that decide for each class, classes in the plan's order."""
    member_disagreement: Volume | None = None
    """(1, *S) float32, mutual information in nats: the part of the entropy on which the members of an
    ensemble disagree; None for a single model."""


class BasePredictor(ABC):
    """Segments whole images, on each image's own grid."""

    plan: Plan
    """Classes, channels and axes; the grid of the first member of an ensemble."""
    settings: RunSettings
    calibration: Calibration
    identity: ModelIdentity
    asked_decision: Decision | None
    """The decision that is asked for; None for that of the calibration."""
    extra_maps: tuple[str, ...] = ()
    """Maps that are made beside those of `output.MAPS`."""

    @property
    @abstractmethod
    def stochastic(self) -> bool:
        """True where two samples of one image can differ."""

    @property
    def stepwise(self) -> bool:
        """True where samples are drawn in steps, by a sampler."""
        return self.settings.stepwise

    @property
    @abstractmethod
    def computation(self) -> Computation:
        """Runtime, device and precision."""

    @property
    def decision(self) -> Decision:
        """Return how labels follow from several samples."""
        return self.asked_decision or self.calibration.decision

    @abstractmethod
    def uncalibrated(self: Self) -> Self:
        """Return the same without its calibration; its samples stay as coherent as they are."""

    def before_calibration(self: Self) -> Self:
        """Return what `calibration` is applied to: of an ensemble without one of its own, the mixture of its
        members as they are calibrated alone."""
        return self.uncalibrated()

    @abstractmethod
    def without_harmonization(self: Self) -> Self:
        """Return the same, which never harmonizes an image."""

    def deciding_by(self: Self, decision: Decision | None) -> Self:
        """Return the same with another decision from samples to labels; None takes its own."""
        found = copy(self)
        found.asked_decision = decision
        return found

    @abstractmethod
    def sampling(
        self,
        steps: int | None = None,
        samples: int | None = None,
        sampler: str | None = None,
        tta: bool | None = None,
    ) -> SamplingSettings:
        """Return the model's sampling with what is given here instead; one sample where all would be equal.

        Where a decision by expected Dice is asked for, the default is the number of several samples.

        Raises:
            InputError: an unknown sampler, a number below 1, or what the backend cannot do.
        """

    @abstractmethod
    def posterior_sampling(
        self,
        steps: int | None = None,
        samples: int | None = None,
        sampler: str | None = None,
        tta: bool | None = None,
    ) -> SamplingSettings:
        """Return the sampling of one of many samples, also where `samples` is 1; the model's own number of
        samples by default.

        Raises:
            InputError: as `sampling`.
        """

    @abstractmethod
    def explain_samples(self, asked: int | None, sampling: SamplingSettings) -> str | None:
        """Return a sentence on why `sampling` has another number of samples than was `asked` for; None where
        it has that number, or where none was asked for."""

    @abstractmethod
    def predict_maps(
        self,
        volume: Volume,
        name: str,
        sampling: SamplingSettings,
        seed: int,
        wanted: Sequence[str],
        source: str | None = None,
        on_planes: OnPlanes = ignore_planes,
    ) -> tuple[ImageMaps, CaseSummary]:
        """Return the maps `wanted` (of `output.MAPS`) of an image in memory.

        Raises:
            InputError: as when it is called.
        """

    def held_maps(self, wanted: Sequence[str], sampling: SamplingSettings) -> tuple[str, ...]:
        """Return the maps that are held on the way to those `wanted`, and these."""
        return (*wanted, LEVELS) if LABELS in wanted and self.decides(sampling) else tuple(wanted)

    def decides(self, sampling: SamplingSettings) -> bool:
        """Return whether labels wait for a decision on the whole image; one sample's labels are its
        argmax."""
        return self.decision == "expected-dice" and sampling.samples > 1

    def __call__(
        self,
        image: Volume | NDArray[Any] | Path | str,
        name: str | None = None,
        steps: int | None = None,
        samples: int | None = None,
        sampler: str | None = None,
        seed: int = 0,
        keep_samples: bool = False,
        source: str | None = None,
        tta: bool | None = None,
        spacing: Sequence[float] | None = None,
    ) -> Prediction:
        """Segment an image: a `Volume`, an array, or the path of a file or DICOM folder.

        An array is (*S), or (M, *S), in the order of `plan.axes`; `spacing` is the size of its voxels in mm
        along these axes (along t in seconds or frames), None where it is unknown.

        The result depends on the image and the model, that of samples on `seed` and `name` too, which the
        noise is drawn from, and on nothing else. The default `name` is that of the file, as with `ldseg
        predict`, or "image". `source` is the image's name in messages (default: its path, or `name`).

        Raises:
            InputError: the image cannot be read, has other axes or channels than the model takes, or voxels
                without a value; or the spacing does not suit it.
        """
        if spacing is not None and not isinstance(image, np.ndarray):
            raise InputError("spacing is given for an image that has its own; leave it out")
        if isinstance(image, np.ndarray):
            volume, name = volume_of_array(image, self.plan.axes, spacing), name or "image"
        elif isinstance(image, Volume):
            volume, name = image, name or "image"
        else:
            volume, case = self._read(Path(image))
            name, source = name or case.name, source or str(case.images[0])
        wanted = MAPS if keep_samples else tuple(one for one in MAPS if one != SAMPLES)
        sampling = self.sampling(steps, samples, sampler, tta)
        maps, summary = self.predict_maps(volume, name, sampling, seed, wanted, source)
        explained = self.explain_samples(samples, sampling)
        if explained is not None:
            summary = replace(summary, notes=(*summary.notes, explained))
        return Prediction(
            **vars(summary),
            labels=maps.volume(LABELS),
            probabilities=maps.volume(PROBABILITIES),
            uncertainty=maps.volume(UNCERTAINTY),
            disagreement=maps.volume(DISAGREEMENT),
            samples=maps.samples(),
            frequencies=maps.volume(FREQUENCIES),
            member_disagreement=maps.volume(MEMBER_DISAGREEMENT) if self.extra_maps else None,
        )

    def _read(self, path: Path) -> tuple[Volume, Case]:
        """Return the one image at `path`, read as `ldseg predict` reads it. Raises InputError."""
        plan, remarks = self.plan, list[str]()
        channels = len(plan.channels)
        cases = find_inputs([path], channels, plan.axes, plan.stored_in_channel_files, remarks.append)
        if len(cases) != 1:
            raise file_error(path, f"holds {len(cases)} images", "give the path of one of them")
        volume = load_input(cases[0], channels, plan.axes)
        return replace(volume, notes=(*remarks, *volume.notes)), cases[0]
