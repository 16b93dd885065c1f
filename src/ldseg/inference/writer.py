"""Predictions as files: in the input's format, with its geometry, each whole or not at all.

    NAME.ext                    labels
    NAME_probabilities.ext      (K, *S) float32
    NAME_uncertainty.ext        entropy in nats; with several samples NAME_disagreement.ext beside it
    NAME_sample1.ext ...        labels of each sample
    NAME_summary.json           volumes, agreement of the samples, confidence; with uncertainty or samples

`ext` is the input's ending. Labels of a JPEG are PNG; numbers that a picture format cannot hold are TIFF.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ldseg.data.cases import Case
from ldseg.data.formats import output_ending, write_volume
from ldseg.data.volumes import Volume
from ldseg.inference.predictor import Prediction
from ldseg.records import write_json_atomic
from ldseg.settings import SamplingSettings

OUTPUTS = ("labels", "probabilities", "uncertainty", "samples")
"""What can be saved."""
SUMMARY_VERSION = 1
_MANY = 2  # more channels than a picture format has for numbers that are not whole


def output_paths(out: Path, case: Case, save: Sequence[str], samples: int) -> dict[str, Path]:
    """The file of each volume to be written, by its part of the name; "" is the labels."""
    labels, numbers = output_ending(case.images[0]), output_ending(case.images[0], _MANY)
    endings: dict[str, str] = {}
    if "samples" in save:
        endings |= {f"_sample{number}": labels for number in range(1, samples + 1)}
    if "probabilities" in save:
        endings["_probabilities"] = numbers
    if "uncertainty" in save:
        endings |= {"_uncertainty": numbers} | ({"_disagreement": numbers} if samples > 1 else {})
    if "labels" in save:
        endings[""] = labels
    return {part: out / f"{case.name}{part}{end}" for part, end in endings.items()}


def write_prediction(
    out: Path, case: Case, prediction: Prediction, save: Sequence[str], sampling: SamplingSettings, seed: int
) -> list[Path]:
    """Write what `save` names into the folder `out`, the labels last; returns the files.

    Raises:
        InputError: the format cannot hold the volume, or the disk refuses.
    """
    volumes = _volumes(prediction)
    paths = output_paths(out, case, save, sampling.samples)
    written: list[Path] = []
    if "uncertainty" in save or "samples" in save:
        written.append(_write_summary(out, case, prediction, sampling, seed))
    for part, path in paths.items():
        write_volume(path, volumes[part])
        written.append(path)
    return written


def _volumes(prediction: Prediction) -> dict[str, Volume]:
    """By their part of the file's name."""
    samples = {f"_sample{number}": one for number, one in enumerate(prediction.samples, start=1)}
    return {
        "": prediction.labels,
        "_probabilities": prediction.probabilities,
        "_uncertainty": prediction.uncertainty,
        "_disagreement": prediction.disagreement,
        **samples,
    }


def _write_summary(
    out: Path, case: Case, prediction: Prediction, sampling: SamplingSettings, seed: int
) -> Path:
    unit = "mm^3" if prediction.labels.axes == "zyx" else "mm^2"
    path = out / f"{case.name}_summary.json"
    content = {
        "version": SUMMARY_VERSION,
        "case": case.name,
        "sampling": sampling,
        "seed": seed,
        "volume_unit": unit + (" summed over frames" if prediction.labels.axes == "tyx" else ""),
        "volumes": prediction.volumes,
        "pairwise_dice": prediction.pairwise_dice,
        "confidence": prediction.confidence,
    }
    write_json_atomic(path, content)
    return path
