"""`Predictor`: segments whole images with a trained model, on each image's own grid.

An image passes these containers, in this order:

    Volume              the voxels and their geometry, as read
    PreprocessedImage   the voxels on the network's grid (`LazyImage` where they are read by regions)
    NetworkInput        the same or its harmonized version, whichever is segmented
    TileBlock           probabilities of several samples of a tile
    Slab                statistics of the samples over complete planes of the network's grid
    InMemory            maps on the image's own grid (another `Sink` holds them in files)
    Prediction          the maps, and the `CaseSummary` that it extends

M channels, K classes, *S the image's grid, *S' the network's grid.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch

from ldseg.data.loading import with_channels
from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.inference.backends.backend import Backend, Computation, TileBlock, TileSampler, ignore_features
from ldseg.inference.backends.torch_backend import TorchBackend, check_sampling, find_tta_axis
from ldseg.inference.base_predictor import BasePredictor
from ldseg.inference.coherence import Coherence, coherent_samples, gather
from ldseg.inference.decision import Decision
from ldseg.inference.feature_statistics import FeatureStatistics, Statistics
from ldseg.inference.out_of_distribution import Detector, stored_detector
from ldseg.inference.output import (
    SAMPLES,
    CaseSummary,
    InMemory,
    OnPlanes,
    OutputAssembler,
    Sink,
    ignore_planes,
)
from ldseg.inference.posterior import Posterior, Slab, mean_weights
from ldseg.inference.provenance import UNKNOWN_MODEL, ModelIdentity, identify
from ldseg.inference.requested_sampling import explain_single, refuse_beyond_graph
from ldseg.inference.sliding_window import Tile, Tiling, make_tiling
from ldseg.inference.temperature_scaling import UNCALIBRATED, Calibration, stored_calibration
from ldseg.inference.tile_decisions import TileDecisions
from ldseg.inference.view_agreement import agrees_better
from ldseg.methods.base import Segmenter
from ldseg.planning.plan import Plan
from ldseg.preprocessing.harmonize import harmonize
from ldseg.preprocessing.number_scale import check_content
from ldseg.preprocessing.preprocess import GridTransform, PatchSource, notes_of, preprocess_image
from ldseg.runs.saved_model import load_model
from ldseg.settings import RunSettings, SamplingSettings
from ldseg.utils.device import choose_device, memory_format

HARMONIZED = "it was brought nearer to the training images, because its predictions agree better then"
LEFT_AS_IT_IS = "it was segmented as it is: nearer to the training images its predictions agree no better"


@dataclass(frozen=True)
class NetworkInput:
    """An image as it is segmented."""

    image: PatchSource
    out_of_distribution: tuple[str, ...] = ()
    """See `CaseSummary`; as far as intensities show it."""
    harmonized: bool = False
    notes: tuple[str, ...] = ()
    """See `CaseSummary`."""


class Predictor(BasePredictor):
    """A trained model: its plan and settings, and the backend that computes tiles."""

    def __init__(
        self,
        plan: Plan,
        settings: RunSettings,
        backend: Backend,
        calibration: Calibration = UNCALIBRATED,
        identity: ModelIdentity = UNKNOWN_MODEL,
        detector: Detector | None = None,
        decision: Decision | None = None,
    ) -> None:
        """Without a `detector`, images of another kind than the training images go unnoticed. None for the
        `decision` is that of the calibration."""
        self.plan = plan
        self.settings = settings
        self.backend = backend
        self.calibration = calibration
        self.identity = identity
        self.detector = detector
        self.asked_decision = decision

    @classmethod
    def load(
        cls,
        folder: Path | str,
        device: str | None = None,
        calibrated: bool = True,
        allow_code: bool = False,
    ) -> Predictor:
        """Load a folder that training wrote, on the best device here unless one is named.

        Unless `calibrated` is False, predictions are calibrated, and images are compared with the training
        images, as the folder has it. `allow_code` runs the code outside of ldseg that the settings name: the
        model's own classes, if it has any.

        Raises:
            InputError: such code is not allowed, the folder or one of its files cannot be used, or the device
                is not here.
        """
        chosen = choose_device(device)
        model = load_model(Path(folder), chosen, allow_code)
        layout = memory_format(model.settings.model.spatial_dims)
        # torch's stubs know `memory_format` only together with other arguments.
        placed = model.segmenter.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
        backend = TorchBackend(placed, chosen, model.settings.training.precision)
        stored = stored_calibration(Path(folder)) if calibrated else UNCALIBRATED
        identity = identify(Path(folder))
        detector = stored_detector(Path(folder), identity.sha256) if calibrated else None
        return cls(model.plan, model.settings, backend, stored, identity, detector)

    def uncalibrated(self) -> Predictor:
        """Return the same model without its calibration; its samples stay as coherent as they are."""
        return self.with_changes(calibration=Calibration(coherence=self.calibration.coherence))

    def without_harmonization(self) -> Predictor:
        """Return the same model, which never harmonizes an image."""
        return self.with_changes(plan=replace(self.plan, appearance=()))

    def with_changes(
        self,
        plan: Plan | None = None,
        backend: Backend | None = None,
        calibration: Calibration | None = None,
    ) -> Predictor:
        """Return the same model with what is given here instead."""
        return Predictor(
            plan or self.plan,
            self.settings,
            backend or self.backend,
            calibration or self.calibration,
            self.identity,
            self.detector,
            self.asked_decision,
        )

    @property
    def stochastic(self) -> bool:
        """True where two samples of one image can differ."""
        return self.backend.stochastic

    @property
    def computation(self) -> Computation:
        """Runtime, device and precision."""
        return self.backend.computation

    @property
    def segmenter(self) -> Segmenter:
        """The network itself.

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
        if samples is None and self.asked_decision == "expected-dice":
            samples = self.settings.posterior.samples
        return self._resolve(steps, samples, sampler, tta)

    def posterior_sampling(
        self,
        steps: int | None = None,
        samples: int | None = None,
        sampler: str | None = None,
        tta: bool | None = None,
    ) -> SamplingSettings:
        number = self.settings.posterior.samples if samples is None else samples
        several = max(number, 2) if self.stochastic else number
        chosen = self._resolve(steps, several, sampler, tta)
        asked = replace(chosen, samples=number)
        check_sampling(asked)
        return self.backend.resolve_sampling(asked)

    def explain_samples(self, asked: int | None, sampling: SamplingSettings) -> str | None:
        if asked is None or asked == sampling.samples:
            return None
        return explain_single(asked, self.settings.deterministic)

    def predict_maps(
        self,
        volume: Volume,
        name: str,
        sampling: SamplingSettings,
        seed: int,
        wanted: Sequence[str],
        source: str | None = None,
        on_planes: OnPlanes = ignore_planes,
    ) -> tuple[InMemory, CaseSummary]:
        """Return the maps `wanted` (of `output.MAPS`) of an image in memory, and nothing else as large as
        the image.

        Raises:
            InputError: as when it is called.
        """
        chosen = self.preprocess(volume, name, source)
        tiling = self.tiling(chosen.image.grid)
        sink = InMemory(volume, chosen.image.grid, tiling.axis, on_planes)
        return sink, self.segment(chosen, tiling, name, sampling, seed, wanted, sink)

    def preprocess(self, volume: Volume, name: str, source: str | None = None) -> NetworkInput:
        """Bring an image to the network's grid and intensities, and harmonize it where that gives the more
        consistent prediction. `source` is its name in messages.

        Raises:
            InputError: as when it is called.
        """
        if self.plan.is_colour or len(self.plan.channels) == 1:
            volume = with_channels(volume, len(self.plan.channels))
        prepared = preprocess_image(volume, self.plan, source or name)
        content = check_content(volume, self.plan, source or name)
        found = harmonize(prepared, self.plan)
        notes = (*notes_of(volume, self.plan), *prepared.notes, *content)
        return self.choose_input(
            prepared, found.image, (found.deviations, found.certain_deviations), notes, name
        )

    def choose_input(
        self,
        image: PatchSource,
        changed: PatchSource,
        ways: tuple[tuple[str, ...], tuple[str, ...]],
        notes: tuple[str, ...],
        name: str,
    ) -> NetworkInput:
        """Choose between an image and its harmonized version, by how consistent the predictions of each are.

        `ways` are those in which the image is out of distribution: the first if it is harmonized, the second,
        which are certain, in any case.
        """
        if changed is image:
            return NetworkInput(image, ways[1], notes=notes)
        tiling = self.tiling(image.grid)
        settings, flips = self.settings, self.plan.mirror_axes
        sampling = settings.sampling if flips else settings.posterior  # without noise nothing else differs
        how = (self.backend, self.plan, tiling, sampling, name)
        if agrees_better(changed, image, *how):
            return NetworkInput(changed, ways[0], True, (*notes, HARMONIZED))
        return NetworkInput(image, ways[1], notes=(*notes, LEFT_AS_IT_IS) if ways[1] else notes)

    def tiling(self, grid: GridTransform) -> Tiling:
        """Return the tiles that cover an image."""
        return make_tiling(grid.shape, self.plan.patch, self.backend.latent_factor)

    @torch.inference_mode()
    def segment(
        self,
        chosen: NetworkInput,
        tiling: Tiling,
        name: str,
        sampling: SamplingSettings,
        seed: int,
        wanted: Sequence[str],
        sink: Sink,
    ) -> CaseSummary:
        """Segment an image tile by tile; the maps `wanted` go to `sink`."""
        image = chosen.image
        tiles = self.tiles(sampling, name, seed)
        keep = SAMPLES in wanted
        posterior = Posterior(tiles.classes, tiling, sampling.samples, keep, tiles.deterministic_predictions)
        decisions = None
        if self.decides(sampling):
            decisions = TileDecisions(
                tiles.classes, tiling, sampling.samples, tiles.deterministic_predictions
            )
        assembler = OutputAssembler(
            self.plan,
            image.grid,
            tiling.axis,
            self.calibration.for_samples(sampling.samples),
            sampling.samples,
            wanted,
            sink,
            decides=decisions is not None,
        )
        statistics = None if self.detector is None else FeatureStatistics(tiling)
        coherence = self.calibration.coherence if sampling.samples > 1 else None
        samples = _Samples(tiles, sampling.samples, coherence, self.backend.latent_factor)
        for slab in _slabs(samples, image, tiling, posterior, statistics, decisions):
            assembler.add(slab)
        summary = assembler.summarize(posterior, image.grid)
        if decisions is not None:
            summary = assembler.decide(decisions.counts.decide(), summary)
        if statistics is not None:
            summary = self._compare(summary, statistics.result())
        ways = tuple(dict.fromkeys((*chosen.out_of_distribution, *summary.out_of_distribution)))
        return replace(summary, out_of_distribution=ways, harmonized=chosen.harmonized, notes=chosen.notes)

    def _resolve(
        self, steps: int | None, samples: int | None, sampler: str | None, tta: bool | None
    ) -> SamplingSettings:
        """Return the model's sampling with what is given instead, as the backend computes it."""
        chosen = self.settings.sampling_of(sampler, steps, samples, tta, self.backend.stochastic)
        check_sampling(chosen)
        found = self.backend.resolve_sampling(chosen)
        if not self.backend.stochastic:
            refuse_beyond_graph(found, self.settings.deterministic, steps, samples, tta)
        return found

    def tiles(self, sampling: SamplingSettings, name: str, seed: int) -> TileSampler:
        """Return what draws the samples of the case `name`, tile by tile."""
        return self.backend.tiles(sampling, seed, name, find_tta_axis(self.plan, sampling))

    def _compare(self, summary: CaseSummary, statistics: Statistics) -> CaseSummary:
        """Return the summary with what the comparison of an image with the training images finds."""
        if self.detector is None or not statistics:
            return summary
        found = self.detector.judge(statistics)
        confidence = found.lowered(summary.confidence)
        return replace(
            summary, out_of_distribution=found.ways, distance=found.distance, confidence=confidence
        )


@dataclass(frozen=True)
class _Samples:
    """The source of the samples of a case: as drawn, or coherent."""

    tiles: TileSampler
    number: int
    coherence: Coherence | None
    factor: tuple[int, ...]
    """Size of a latent cell in voxels."""

    def counted(self, blocks: Iterator[TileBlock]) -> Iterator[TileBlock]:
        """Return the samples of a tile that count: `blocks`, or coherent ones once all of them are drawn."""
        if self.coherence is None:
            return blocks
        weights = mean_weights(self.number, self.tiles.deterministic_predictions)
        return coherent_samples(*gather(blocks, self.factor, weights), self.coherence)


def _slabs(
    samples: _Samples,
    image: PatchSource,
    tiling: Tiling,
    posterior: Posterior,
    statistics: FeatureStatistics | None,
    decisions: TileDecisions | None,
) -> Iterator[Slab]:
    """Yield the statistics of the samples as planes are complete; those of the features go to `statistics`,
    the counts for a decision to `decisions`."""
    for tile in tiling.tiles():
        slab = posterior.finish(before=tile.corner[tiling.axis])
        if slab is not None:
            yield slab
        x = torch.from_numpy(image.read(tile.corner, tiling.patch))
        on_features = ignore_features if statistics is None else partial(statistics.add, tile)
        drawn = samples.tiles.blocks(x, tile.corner, range(samples.number), on_features)
        for block in samples.counted(_added(drawn, tile, posterior, decisions)):
            posterior.count(tile, block)
            if decisions is not None:
                decisions.count(block)
        if decisions is not None:
            decisions.finish(tile)
    last = posterior.finish()
    if last is not None:
        yield last


def _added(
    blocks: Iterator[TileBlock], tile: Tile, posterior: Posterior, decisions: TileDecisions | None
) -> Iterator[TileBlock]:
    """Add the blocks of a tile to the means, and yield them."""
    for block in blocks:
        posterior.add(tile, block)
        if decisions is not None:
            decisions.add(block)
        yield block
