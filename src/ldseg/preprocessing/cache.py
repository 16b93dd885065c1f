"""Cache preprocessed training cases on disk: written once, memory-mapped, larger than memory if need be.

    FOLDER/NAME-HASH/case.json      what it was made of; written last, so that a case with it is whole
                     image.npy      (M, *S') float16: normalised intensities need no more; float32 where a
                                    channel is taken as it is
                     labels_R.npy   (*S') int16 class indices of rater R, -1 where nobody labelled
                     foreground.npz class -> (N, D) int32, a sample of its voxels for choosing patches

A case is made anew when the plan's preprocessing, or a file's size or time, is another than in case.json.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ldseg.data.dataset import Case, DataSet, load_case
from ldseg.data.formats import files_of
from ldseg.errors import InputError
from ldseg.planning.plan import Plan
from ldseg.preprocessing.preprocess import preprocess_image, preprocess_labels

CACHE_VERSION = 2
FOREGROUND_SAMPLE = 2048
"""Voxels kept per class and case."""
_PART = ".part"  # followed by the process id; a complete case's folder ends in its hash
_LARGEST_HALF = float(np.finfo(np.float16).max)
_PLAN_FIELDS = ("axes", "channels", "classes", "ignore_id", "labels_above_zero", "spacing", "resample")

OnCase = Callable[[str], None]


def ignore(name: str) -> None:
    """The hook that does nothing."""
    del name


@dataclass(frozen=True)
class Cache:
    """A folder of preprocessed cases."""

    folder: Path
    names: tuple[str, ...]

    def image(self, name: str) -> NDArray[np.floating[Any]]:
        """Return the normalised image (M, *S'), a memory map."""
        return np.load(self._case(name) / "image.npy", mmap_mode="r")

    def labels(self, name: str, rater: int = 0) -> NDArray[np.int16]:
        """Return one rater's class indices (*S'), -1 where nobody labelled, a memory map."""
        return np.load(self._case(name) / f"labels_{rater}.npy", mmap_mode="r")

    def foreground(self, name: str) -> dict[int, NDArray[np.int32]]:
        """Return class -> (N, D) coordinates of some of its voxels, for the classes that the case has."""
        with np.load(self._case(name) / "foreground.npz") as stored:
            return {int(k): stored[k] for k in stored.files}

    def structures(self, name: str) -> set[int]:
        """Return the classes, without the background, of which the case has a voxel."""
        with np.load(self._case(name) / "foreground.npz") as stored:
            return {int(k) for k in stored.files}

    def raters(self, name: str) -> int:
        """Return the number of label maps of the case."""
        return len(list(self._case(name).glob("labels_*.npy")))

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the grid *S' of a case."""
        return tuple(int(n) for n in self.image(name).shape[1:])

    def _case(self, name: str) -> Path:
        return case_folder(self.folder, name)


def build_cache(
    dataset: DataSet,
    cases: Sequence[Case],
    plan: Plan,
    folder: Path,
    on_case: OnCase = ignore,
) -> Cache:
    """Preprocess `cases` into `folder`; valid ones that are there already are kept, so that it resumes.

    `on_case` is called with the name of each case that is ready. Raises InputError for a case that cannot be
    preprocessed, and when the disk is full.
    """
    for case in cases:
        target = case_folder(folder, case.name)
        source = _source(case, plan)
        if _stored_source(target) != source:
            try:
                _build_case(dataset, case, plan, target, source)
            except OSError as error:
                raise InputError(
                    f"{target}: the cache cannot be written ({error.strerror or error}); "
                    "free space or choose another output folder"
                ) from error
        on_case(case.name)
    return Cache(folder, tuple(case.name for case in cases))


def changed_cases(cases: Sequence[Case], plan: Plan, folder: Path) -> list[str]:
    """Return the cases whose files have another size or time than when they were cached in `folder`."""
    changed: list[str] = []
    for case in cases:
        stored = _stored_source(case_folder(folder, case.name))
        if stored is None:
            continue
        before, now = (json.loads(source)["files"] for source in (stored, _source(case, plan)))
        if [facts[1:] for facts in before] != [facts[1:] for facts in now]:
            changed.append(case.name)
    return changed


def forget_parts(folder: Path) -> None:
    """Remove incomplete cases of a killed process from `folder`; no other process may be writing there."""
    for path in folder.glob(f"*{_PART}*"):
        shutil.rmtree(path, ignore_errors=True)


def _build_case(dataset: DataSet, case: Case, plan: Plan, target: Path, source: str) -> None:
    """Preprocess one case in a temporary folder and move it into place."""
    volume, masks = load_case(dataset, case)
    image: NDArray[np.floating[Any]] = preprocess_image(volume, plan, case.name).array
    raters = [preprocess_labels(mask, plan, case.name) for mask in masks]
    aside = target.with_name(f"{target.name}{_PART}{os.getpid()}")
    try:
        aside.mkdir(parents=True, exist_ok=True)
        if all(channel.scheme != "none" for channel in plan.channels):  # else numbers may be of any size
            image = np.clip(image, -_LARGEST_HALF, _LARGEST_HALF).astype(np.float16)
        np.save(aside / "image.npy", image)
        for rater, labels in enumerate(raters):
            np.save(aside / f"labels_{rater}.npy", labels)
        found = _sample_foreground(case.name, raters, len(plan.classes))
        np.savez(aside / "foreground.npz", **cast(dict[str, Any], {str(k): c for k, c in found.items()}))
        (aside / "case.json").write_text(source, encoding="utf-8")
        if target.exists():
            shutil.rmtree(target)
        os.replace(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _sample_foreground(
    name: str, raters: list[NDArray[np.int16]], classes: int
) -> dict[int, NDArray[np.int32]]:
    """Return sampled voxels of each structure that any rater marked, drawn with a seed of the case's name."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    samples: dict[int, NDArray[np.int32]] = {}
    for k in range(1, classes):
        marked = [np.flatnonzero(labels == k) for labels in raters]
        found = np.unique(np.concatenate(marked)) if marked else np.zeros(0, dtype=int)
        if len(found) > FOREGROUND_SAMPLE:
            found = np.sort(generator.choice(found, FOREGROUND_SAMPLE, replace=False))
        if len(found):
            samples[k] = np.stack(np.unravel_index(found, raters[0].shape), axis=1).astype(np.int32)
    return samples


def _source(case: Case, plan: Plan) -> str:
    """Return all that a preprocessed case depends on, as JSON text."""
    settings = asdict(plan)
    parts = [part for path in (*case.images, *case.labels) for part in files_of(path)]
    files = [[str(path), path.stat().st_size, path.stat().st_mtime_ns] for path in parts]
    source: dict[str, Any] = {
        "version": CACHE_VERSION,
        "name": case.name,
        "spacing": case.spacing,
        "files": files,
        "plan": {field: settings[field] for field in _PLAN_FIELDS},
    }
    return json.dumps(source, sort_keys=True, indent=1)


def _stored_source(target: Path) -> str | None:
    """Return the source of a case that is cached completely, else None."""
    try:
        return (target / "case.json").read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return None


def case_folder(folder: Path, name: str) -> Path:
    """Return the folder of a case in the cache: valid on every file system and unique to the case's name."""
    readable = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:80]
    return folder / f"{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
