"""Writes predictions by an output writer, by default in the input's format with its geometry; each file
whole or not at all.

    NAME.ext                    labels
    NAME_probabilities.ext      (K, *S) float32
    NAME_uncertainty.ext        entropy in nats; with several samples NAME_disagreement.ext beside it
    NAME_member_disagreement.ext    the same between the members of an ensemble, with uncertainty
    NAME_sample1.ext ...        labels of each sample
    NAME_summary.json           volumes, agreement of the samples, confidence; with uncertainty or samples

`ext` is the input's ending, or that of the writer that is asked for. Labels of a JPEG are PNG; numbers that
an image format cannot hold are TIFF. Labels of DICOM are a DICOM segmentation, except those of cine images,
which are NIfTI as its numbers are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ldseg.data.cases import Case
from ldseg.data.formats import ending, stem, write_with
from ldseg.inference.output import (
    DISAGREEMENT,
    LABELS,
    MEMBER_DISAGREEMENT,
    PROBABILITIES,
    SAMPLES,
    UNCERTAINTY,
    CaseSummary,
    ImageMaps,
)
from ldseg.inference.output_writers.base import OutputWriter
from ldseg.inference.output_writers.image_file import ImageFileWriter
from ldseg.planning.plan import Plan
from ldseg.settings import SamplingRecord
from ldseg.utils.serialization import write_json_atomic

OUTPUTS = ("labels", "probabilities", "uncertainty", "samples")
"""The outputs that can be saved; of an ensemble `MEMBER_DISAGREEMENT` lies beside the uncertainty."""
SUMMARY_VERSION = 2


@dataclass(frozen=True)
class OutputFormat:
    """The writer and the names of results."""

    plan: Plan
    """Of the model."""
    writer: OutputWriter | None = None
    """None: image files in the format of the input."""
    file: str | None = None
    """Name of the labels' file of the only case; None: the case's name with the ending."""

    def writer_for(self, case: Case) -> OutputWriter:
        """Return the writer of a case's results."""
        return self.writer or ImageFileWriter(ending(case.images[0]), self.plan)

    def stem(self, case: Case) -> str:
        """Return how the names of the case's files begin."""
        return case.name if self.file is None else stem(self.file)


def output_paths(
    out: Path, case: Case, save: Sequence[str], samples: int, output_format: OutputFormat
) -> dict[str, Path]:
    """Return the file of each volume to be written, by its part of the name; "" is the labels."""
    writer = output_format.writer_for(case)
    labels, numbers = writer.label_ending, writer.number_ending or ""
    endings: dict[str, str] = {}
    if "samples" in save:
        endings |= {f"_sample{number}": labels for number in range(1, samples + 1)}
    if "probabilities" in save:
        endings["_probabilities"] = numbers
    if "uncertainty" in save:
        endings |= {"_uncertainty": numbers} | ({"_disagreement": numbers} if samples > 1 else {})
    if MEMBER_DISAGREEMENT in save:
        endings["_member_disagreement"] = numbers
    if "labels" in save:
        endings[""] = labels
    paths = {part: out / f"{output_format.stem(case)}{part}{end}" for part, end in endings.items()}
    return paths if output_format.file is None else {**paths, "": out / output_format.file}


def summary_path(
    out: Path, case: Case, save: Sequence[str], samples: int, output_format: OutputFormat
) -> Path | None:
    """Return the path of NAME_summary.json, None where `save` asks for neither uncertainty nor samples and
    there is a single one."""
    wanted = samples > 1 or "uncertainty" in save or "samples" in save
    return out / f"{output_format.stem(case)}_summary.json" if wanted else None


def wanted_maps(save: Sequence[str], samples: int) -> tuple[str, ...]:
    """Return the maps (of `output.MAPS`) that the files of `save` hold."""
    beside = (DISAGREEMENT,) if "uncertainty" in save and samples > 1 else ()
    return (*save, *beside)


def write_prediction(
    out: Path,
    case: Case,
    maps: ImageMaps,
    save: Sequence[str],
    samples: int,
    output_format: OutputFormat,
) -> list[Path]:
    """Write the maps that `save` names into the folder `out`, the labels last, and return the files.

    Raises:
        InputError: the writer cannot hold the volume, or the disk refuses.
    """
    writer = output_format.writer_for(case)
    numbered = dict(enumerate(maps.samples(), start=1))
    paths = output_paths(out, case, save, samples, output_format)
    for part, path in paths.items():
        volume = maps.volume(MAP_OF[part]) if part in MAP_OF else numbered[sample_number(part)]
        write_with(path, partial(writer.write, volume=volume.as_stated()))
    return list(paths.values())


MAP_OF = {
    "": LABELS,
    "_probabilities": PROBABILITIES,
    "_uncertainty": UNCERTAINTY,
    "_disagreement": DISAGREEMENT,
    "_member_disagreement": MEMBER_DISAGREEMENT,
}
"""Part of a file's name to its map; all other parts are samples."""


def sample_number(part: str) -> int:
    """Return the sample's number, from 1, for the part of its file's name."""
    return int(part.removeprefix(f"_{SAMPLES[:-1]}"))


def write_summary(path: Path, case: Case, summary: CaseSummary, sampling: SamplingRecord, seed: int) -> None:
    """Write NAME_summary.json to `path`. Raises InputError when the disk refuses."""
    content = {
        "version": SUMMARY_VERSION,
        "case": case.name,
        "sampling": sampling,
        "seed": seed,
        "volume_unit": summary.volume_unit,
        "volumes": summary.volumes,
        "pairwise_dice": summary.pairwise_dice,
        "confidence": summary.confidence,
        "out_of_distribution": summary.out_of_distribution,
        "distance_from_training": summary.distance,
        "notes": summary.notes,
        "harmonized": summary.harmonized,
        "decision": summary.decision,
        "expected_dice": summary.expected_dice,
        "ensemble": summary.ensemble,
    }
    write_json_atomic(path, content)
