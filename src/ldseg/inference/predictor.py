"""`Predictor`: a trained model that answers for whole images, on the image's own grid.

M channels, K classes, *S the image's grid, *S' the network's grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from ldseg.data.cases import Case
from ldseg.data.inputs import find_inputs
from ldseg.data.loading import load_input, with_channels
from ldseg.data.volume import Volume
from ldseg.errors import InputError, file_error
from ldseg.inference.backends.backend import Backend, Tiles, ignore_features
from ldseg.inference.backends.torch_backend import TorchBackend, check_sampling, find_tta_axis
from ldseg.inference.feature_statistics import FeatureStatistics, Statistics
from ldseg.inference.out_of_distribution import Detector, stored_detector
from ldseg.inference.output import (
    DISAGREEMENT,
    FREQUENCIES,
    LABELS,
    MAPS,
    PROBABILITIES,
    SAMPLES,
    UNCERTAINTY,
    Answer,
    CaseSummary,
    InMemory,
    Sink,
)
from ldseg.inference.posterior import Posterior, Slab, VolumeEstimate
from ldseg.inference.provenance import UNKNOWN_MODEL, ModelIdentity, identify
from ldseg.inference.sliding_window import Tiling, make_tiling
from ldseg.inference.temperature_scaling import UNCALIBRATED, Calibration, stored_calibration
from ldseg.inference.view_agreement import is_steadier
from ldseg.methods.base import Segmenter
from ldseg.planning.plan import Plan
from ldseg.preprocessing.harmonize import harmonize
from ldseg.preprocessing.number_scale import check_content
from ldseg.preprocessing.preprocess import GridTransform, PatchSource, notes_of, preprocess_image
from ldseg.runs.saved_model import load_model
from ldseg.settings import RunSettings, SamplingSettings
from ldseg.utils.device import choose_device, memory_format
from ldseg.zoo.catalogue import find_model

HARMONIZED = "it was brought nearer to the training images, for the answers to that agree better"
LEFT_AS_IT_IS = "it was segmented as it is: answers to what was brought nearer to training agree no better"


@dataclass(frozen=True)
class Prediction:
    """What the model says of one image; all volumes are on the image's own grid."""

    labels: Volume
    """(1, *S) ids as in the training masks: the likeliest class of the mean probabilities."""
    probabilities: Volume
    """(K, *S) float32, mean over the samples, classes in the plan's order; the answer of one call, where the
    model has one, counts in it as much as all samples together."""
    uncertainty: Volume
    """(1, *S) float32, entropy of the mean probabilities in nats, 0 to log K."""
    disagreement: Volume
    """(1, *S) float32, mutual information in nats: the part of the entropy on which the samples disagree,
    before any calibration."""
    samples: tuple[Volume, ...]
    """(1, *S) ids of each sample; empty unless they were to be kept."""
    volumes: dict[str, VolumeEstimate]
    """Per structure, in `volume_unit`, counted on the network's grid."""
    frequencies: Volume
    """(K, *S) float32, share of the samples that decide for each class, classes in the plan's order."""
    volume_unit: str
    """"mm^3", in 2D "mm^2"; "voxels" or "pixels" where the image has no physical spacing; in 2D+time with
    " summed over frames"."""
    pairwise_dice: dict[str, float]
    """Per structure, the Dice between two samples, over all pairs; empty where there is one sample."""
    confidence: float
    """Of the case as a whole, 0 to 1: the Dice to expect (see `posterior.case_confidence`); lower where the
    image is of another kind than the training images (see `out_of_distribution.Difference`)."""
    unlike: tuple[str, ...]
    """In which ways the image differs from the training images: those of `preprocessing.harmonize` and of
    `out_of_distribution`; empty where it is like them."""
    notes: tuple[str, ...] = ()
    """What was assumed or changed when the image was read and preprocessed, one sentence each."""
    distance: float | None = None
    """Of the image from the training images in the model's features; beyond 1 it is of another kind. None
    where the model does not know them."""
    harmonized: bool = False
    """Whether it was brought nearer to the training images before it was segmented."""


@dataclass(frozen=True)
class Seen:
    """An image as it is segmented."""

    image: PatchSource
    unlike: tuple[str, ...] = ()
    """See `Prediction`."""
    harmonized: bool = False
    notes: tuple[str, ...] = ()


class Predictor:
    """A model's plan and settings, and the backend that computes its answers."""

    def __init__(
        self,
        plan: Plan,
        settings: RunSettings,
        backend: Backend,
        calibration: Calibration = UNCALIBRATED,
        identity: ModelIdentity = UNKNOWN_MODEL,
        detector: Detector | None = None,
    ) -> None:
        """Without a `detector` images of another kind than the training images are not found."""
        self.plan = plan
        self.settings = settings
        self.backend = backend
        self.calibration = calibration
        self.identity = identity
        self.detector = detector

    @classmethod
    def load(cls, folder: Path | str, device: str | None = None, calibrated: bool = True) -> Predictor:
        """From a folder that training wrote; on the best device here unless one is named. It answers with
        the calibration, and compares images with the training images, as they are stored there, unless not
        `calibrated`.

        Raises:
            InputError: the folder or one of its files cannot be used, or the device is not here.
        """
        chosen = choose_device(device)
        model = load_model(Path(folder), chosen)
        layout = memory_format(model.settings.model.spatial_dims)
        # torch's stubs know `memory_format` only together with other arguments.
        placed = model.segmenter.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
        backend = TorchBackend(placed, chosen, model.settings.training.precision)
        stored = stored_calibration(Path(folder)) if calibrated else UNCALIBRATED
        identity = identify(Path(folder))
        detector = stored_detector(Path(folder), identity.sha256) if calibrated else None
        return cls(model.plan, model.settings, backend, stored, identity, detector)

    def uncalibrated(self) -> Predictor:
        """The same model, answering as it was trained."""
        return Predictor(self.plan, self.settings, self.backend, UNCALIBRATED, self.identity, self.detector)

    def without_harmonization(self) -> Predictor:
        """The same model, which takes images that are unlike those of training as they are."""
        plan = replace(self.plan, appearance=())
        return Predictor(plan, self.settings, self.backend, self.calibration, self.identity, self.detector)

    @property
    def segmenter(self) -> Segmenter:
        """The network itself, for those who look inside.

        Raises:
            InputError: the model was exported, and what is left of it is a graph.
        """
        if not isinstance(self.backend, TorchBackend):
            raise InputError(
                "an exported model cannot be looked into; load the folder that ldseg train wrote"
            )
        return self.backend.segmenter

    def sampling(
        self,
        steps: int | None = None,
        samples: int | None = None,
        sampler: str | None = None,
        tta: bool | None = None,
    ) -> SamplingSettings:
        """The model's own sampling with what is given here instead; one sample where all would be equal.

        Raises:
            InputError: an unknown sampler, a number below 1, or what the backend cannot do.
        """
        chosen = self.settings.sampling_of(sampler, steps, samples, tta, self.backend.stochastic)
        check_sampling(chosen)
        return self.backend.possible(chosen)

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
        number = self.settings.posterior.samples if samples is None else samples
        chosen = self.sampling(steps, max(number, 2), sampler, tta)
        asked = replace(chosen, samples=number)
        check_sampling(asked)
        return self.backend.possible(asked)

    def __call__(
        self,
        image: Volume | Path | str,
        name: str | None = None,
        steps: int | None = None,
        samples: int | None = None,
        sampler: str | None = None,
        seed: int = 0,
        keep_samples: bool = False,
        source: str | None = None,
        tta: bool | None = None,
    ) -> Prediction:
        """Segment an image: one that was read, or the path of its file or DICOM folder.

        The result depends on the image, the model, `seed` and `name`, which the noise is drawn from, and on
        nothing else. The default `name` is that of the file, as with `ldseg predict`, or "image". `source` is
        what messages call the image (default: its path, or `name`).

        Raises:
            InputError: the image cannot be read, has other axes or channels than the model takes, or voxels
                without a value.
        """
        if isinstance(image, Volume):
            volume, name = image, name or "image"
        else:
            volume, case = self._read(Path(image))
            name, source = name or case.name, source or str(case.images[0])
        wanted = MAPS if keep_samples else tuple(one for one in MAPS if one != SAMPLES)
        sampling = self.sampling(steps, samples, sampler, tta)
        maps, findings = self.maps(volume, name, sampling, seed, wanted, source)
        return Prediction(
            maps.volume(LABELS),
            maps.volume(PROBABILITIES),
            maps.volume(UNCERTAINTY),
            maps.volume(DISAGREEMENT),
            maps.samples(),
            findings.volumes,
            maps.volume(FREQUENCIES),
            findings.volume_unit,
            findings.pairwise_dice,
            findings.confidence,
            findings.unlike,
            findings.notes,
            findings.distance,
            findings.harmonized,
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

    def maps(
        self,
        volume: Volume,
        name: str,
        sampling: SamplingSettings,
        seed: int,
        wanted: Sequence[str],
        source: str | None = None,
    ) -> tuple[InMemory, CaseSummary]:
        """The maps `wanted` (of `answer.MAPS`) of an image in memory, and nothing else as large as the image.

        Raises:
            InputError: as when it is called.
        """
        seen = self.prepare(volume, name, source)
        tiling = self.tiling(seen.image.grid)
        sink = InMemory(volume, seen.image.grid, tiling.axis)
        findings = self.stream(seen.image, tiling, name, sampling, seed, wanted, sink)
        return sink, told(findings, seen)

    def prepare(self, volume: Volume, name: str, source: str | None = None) -> Seen:
        """Bring an image to the network's grid and intensities, and nearer to the training images where that
        gives the steadier answer. `source` is what messages call it.

        Raises:
            InputError: as when it is called.
        """
        if self.plan.is_colour or len(self.plan.channels) == 1:
            volume = with_channels(volume, len(self.plan.channels))
        prepared = preprocess_image(volume, self.plan, source or name)
        content = check_content(volume, self.plan, source or name)
        found = harmonize(prepared, self.plan)
        notes = (*notes_of(volume, self.plan), *prepared.notes, *content)
        return self.settle(prepared, found.image, (found.deviations, found.certain_deviations), notes, name)

    def settle(
        self,
        image: PatchSource,
        changed: PatchSource,
        unlike: tuple[tuple[str, ...], tuple[str, ...]],
        notes: tuple[str, ...],
        name: str,
    ) -> Seen:
        """Choose between an image and what harmonizing made of it, by the answers to both; `unlike` are the
        ways that it has if it is changed, and those that it has in any case."""
        if changed is image:
            return Seen(image, unlike[1], notes=notes)
        tiling = self.tiling(image.grid)
        asked = (self.backend, self.plan, tiling, self.settings.sampling, name)
        if is_steadier(changed, image, *asked):
            return Seen(changed, unlike[0], True, (*notes, HARMONIZED))
        return Seen(image, unlike[1], notes=(*notes, LEFT_AS_IT_IS) if unlike[1] else notes)

    def tiling(self, record: GridTransform) -> Tiling:
        """The tiles of an image."""
        return make_tiling(record.shape, self.plan.patch, self.backend.latent_factor)

    @torch.inference_mode()
    def stream(
        self,
        image: PatchSource,
        tiling: Tiling,
        name: str,
        sampling: SamplingSettings,
        seed: int,
        wanted: Sequence[str],
        sink: Sink,
    ) -> CaseSummary:
        """Segment an image tile by tile; the maps `wanted` go to `sink`."""
        tiles = self.backend.tiles(sampling, seed, name, find_tta_axis(self.plan, sampling))
        posterior = Posterior(tiles.classes, tiling, sampling.samples, SAMPLES in wanted, tiles.answers)
        answer = Answer(self.plan, image.grid, tiling.axis, self.calibration, sampling.samples, wanted, sink)
        statistics = None if self.detector is None else FeatureStatistics(tiling)
        for slab in _slabs(tiles, image, tiling, posterior, sampling.samples, statistics):
            answer.add(slab)
        findings = answer.findings(posterior, image.grid)
        return findings if statistics is None else self._compared(findings, statistics.result())

    def _compared(self, findings: CaseSummary, statistics: Statistics) -> CaseSummary:
        """Return what is known of an image after it is compared with the training images."""
        if self.detector is None or not statistics:
            return findings
        found = self.detector.judge(statistics)
        confidence = found.lowered(findings.confidence)
        return replace(findings, unlike=found.ways, distance=found.distance, confidence=confidence)


def told(findings: CaseSummary, seen: Seen) -> CaseSummary:
    """Return the findings with what is known of the image."""
    ways = tuple(dict.fromkeys((*seen.unlike, *findings.unlike)))
    return replace(findings, unlike=ways, harmonized=seen.harmonized, notes=seen.notes)


def _slabs(
    tiles: Tiles,
    image: PatchSource,
    tiling: Tiling,
    posterior: Posterior,
    samples: int,
    statistics: FeatureStatistics | None,
) -> Iterator[Slab]:
    """Statistics of all tiles, as they are complete; those of the features go to `statistics`."""
    for tile in tiling.tiles():
        slab = posterior.finish(before=tile.corner[tiling.axis])
        if slab is not None:
            yield slab
        x = torch.from_numpy(image.read(tile.corner, tiling.patch))
        on_features = ignore_features if statistics is None else partial(statistics.add, tile)
        for block in tiles.blocks(x, tile.corner, range(samples), on_features):
            posterior.add(tile, block)
    last = posterior.finish()
    if last is not None:
        yield last


def load_predictor(folder: Path | str, device: str | None = None) -> Predictor:
    """`Predictor.load` of a folder or of a shipped model's name, as the package's `ldseg.load`.

    Raises:
        InputError: neither a folder nor a name, or see `Predictor.load`.
    """
    return Predictor.load(find_model(folder), device)
