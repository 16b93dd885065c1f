"""An earlier prediction, read from the files that `ldseg predict` wrote; nothing is predicted again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldseg.app.viewer.layers import prediction_layers
from ldseg.app.viewer.reading import dataset_of
from ldseg.app.viewer.session import SampledPrediction
from ldseg.data.align import align_to_whole_grid
from ldseg.data.cases import Case
from ldseg.data.class_indices import class_indices
from ldseg.data.file_names import by_stem, find_path, name_key, volumes_in
from ldseg.data.formats import format_of, read_volume, stem
from ldseg.data.loading import read_label
from ldseg.data.units import size_unit
from ldseg.data.volume import Volume
from ldseg.errors import file_error
from ldseg.evaluation.predictions import structure_volumes
from ldseg.inference.output import LABELS, SAMPLES, CaseSummary, ImageMaps, OnPlanes
from ldseg.inference.posterior import VolumeEstimate
from ldseg.inference.provenance_journal import read_records
from ldseg.inference.writer import MAP_OF, SUMMARY_VERSION
from ldseg.planning.plan import Plan, read_plan
from ldseg.runs.files import PLAN_FILE
from ldseg.settings import SamplingRecord
from ldseg.utils.serialization import from_json, read_versioned

_NAN = float("nan")
_REMEDY = "predict it again"
_SUMMARY_KEYS = (
    "volumes",
    "pairwise_dice",
    "confidence",
    "volume_unit",
    "out_of_distribution",
    "notes",
    "harmonized",
    "decision",
    "expected_dice",
)
"""Keys of NAME_summary.json with the names of the fields of `CaseSummary`."""


class StoredSource:
    """Reads predictions from a folder that `ldseg predict` wrote."""

    varies = False

    def __init__(self, path: Path, plan: Plan | None = None) -> None:
        """Find the files of `path`, a folder, or the labels of one image; `plan` is for a place without a
        plan.json.

        Raises:
            InputError: there is no such place, or nothing says what its classes are.
        """
        path = find_path(Path(path))
        if not path.exists():
            raise file_error(path, "there is no such file or folder", "give what ldseg predict wrote")
        self._folder = path if path.is_dir() else path.parent
        self._only = None if path.is_dir() else path
        file = self._folder / PLAN_FILE
        if plan is None and not file.is_file():
            finding = f"has no {PLAN_FILE} beside it, which says what the classes are"
            raise file_error(path, finding, "give the model as well, with -m")
        self.plan = read_plan(file) if plan is None else plan
        self._files = {name_key(name): one for name, (one,) in by_stem(volumes_in(self._folder)).items()}
        # Predictions hold the ids of classes, whatever the masks of the training held.
        self._reading = replace(dataset_of(self.plan, self._folder), labels_above_zero=False)

    def predict(
        self, image: Volume, name: str, path: str, samples: int | None, on_planes: OnPlanes
    ) -> SampledPrediction:
        """Return what the files of the case `name` hold, see `PredictionSource`.

        Raises:
            InputError: there is no prediction of the case, or one of its files is damaged or off the image.
        """
        del samples  # as many as there are files
        prefix = name if self._only is None else stem(self._only)
        if name_key(prefix) not in self._files:
            raise file_error(
                self._folder, f"has no prediction of {name}", "predict it, or leave out --prediction"
            )
        case, maps = Case(name, (Path(path),), (), name), dict[str, NDArray[Any]]()
        for part, kind in MAP_OF.items():
            file = self._files.get(name_key(prefix + part))
            if file is not None:
                on_planes()
                labels = kind == LABELS
                maps[kind] = self._labels(case, file, image) if labels else self._map(case, file, image)
        numbers = list[NDArray[Any]]()
        while (file := self._files.get(name_key(f"{prefix}_sample{len(numbers) + 1}"))) is not None:
            on_planes()
            numbers.append(self._labels(case, file, image)[0])
        if numbers:
            maps[SAMPLES] = np.stack(numbers)
        return self._with_findings(image, name, prefix, maps)

    def _with_findings(
        self, image: Volume, name: str, prefix: str, maps: dict[str, NDArray[Any]]
    ) -> SampledPrediction:
        """Return the maps as layers, with what the summary or the record beside them says."""
        indices = class_indices(maps[LABELS][0], self.plan.classes, self.plan.ignore_id)
        sizes = structure_volumes(indices, image, self.plan.classes)
        volumes = {structure: VolumeEstimate(size, _NAN, _NAN) for structure, size in sizes.items()}
        findings = CaseSummary(volumes, {}, _NAN, size_unit(image.axes, image.physical))
        sampling: SamplingRecord | None = None
        seed: int | None = None
        record, summary = read_records(self._folder).cases.get(name), self._folder / f"{prefix}_summary.json"
        if record is not None:
            sampling, seed = record.settings.sampling, record.settings.seed
            findings = replace(findings, out_of_distribution=record.out_of_distribution, notes=record.notes)
        if summary.is_file():
            content = read_versioned(summary, SUMMARY_VERSION, _REMEDY, oldest=SUMMARY_VERSION)
            known = {key: content[key] for key in _SUMMARY_KEYS if key in content}
            findings = from_json(CaseSummary, known, str(summary))
            sampling = from_json(SamplingRecord, content["sampling"], str(summary))
            seed = content.get("seed")
        kept = len(maps.get(SAMPLES, ()))
        samples = max(1, kept) if sampling is None else sampling.samples
        layers = {one.name: one for one in prediction_layers(ImageMaps(image, maps), self.plan, samples)}
        return SampledPrediction(samples, sampling, seed, layers, findings)

    def _labels(self, case: Case, file: Path, image: Volume) -> NDArray[Any]:
        """Return label ids (1, *S) on the image's grid."""
        return read_label(self._reading, case, file, image.as_stated()).array

    def _map(self, case: Case, file: Path, image: Volume) -> NDArray[Any]:
        """Return numbers (channels, *S) on the image's grid."""
        found, source = read_volume(file, "image", self.plan.axes), case.images[0]
        if format_of(file).has_geometry and format_of(source).has_geometry:
            return align_to_whole_grid(found, image.as_stated(), file, source, "its image").array
        if found.shape != image.shape:
            finding = f"has shape {found.shape} but its image {source.name} has {image.shape}"
            raise file_error(file, finding, _REMEDY)
        return found.array
