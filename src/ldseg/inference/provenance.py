"""`prediction.json`: the provenance of the files of an output folder, case by case.

    {"version": 2,
     "cases": {NAME: {"files", "inputs", "notes", "unlike_training", "model", "settings", "ldseg", "time"}},
     "failed": {NAME: "what was wrong with it"},
     "passed_over": ["what the last command did not take for an image"]}

NAME is the stem of the case's files. Each case has its own model and settings, because several commands, and
several processes of one command, may write into one folder. Each takes the folder's lock while it updates
the file. A case is recorded just before its files are written, so that a killed command leaves no file
without a record. Files of an earlier prediction of the case are removed at that moment; they stay where
image, model and settings are the same.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

from ldseg.data.cases import Case
from ldseg.inference.backends.backend import Computation
from ldseg.inference.temperature_scaling import Calibration
from ldseg.runs.files import WEIGHTS_FILE
from ldseg.runs.folder_lock import lock_folder
from ldseg.settings import SamplingSettings
from ldseg.utils.serialization import from_json, read_versioned, to_json, write_bytes_atomic

FILE = "prediction.json"
VERSION = 2
_PATIENCE = 60.0
"""Seconds to wait for other processes; each needs the file for milliseconds."""
_REMEDY = "remove it and the predictions beside it, or choose another -o"


@dataclass(frozen=True)
class ModelIdentity:
    """The identity of a model."""

    name: str
    """Its folder's name."""
    sha256: str
    """Hash of its weights, or of the graph of an exported model."""


UNKNOWN_MODEL = ModelIdentity("", "")
"""A model that was made in memory."""


def identify(folder: Path, weights: str = WEIGHTS_FILE) -> ModelIdentity:
    """Return the identity of the model in `folder`."""
    return ModelIdentity(folder.resolve().name, sha256((folder / weights).read_bytes()).hexdigest())


@dataclass(frozen=True)
class Method:
    """The settings of a prediction: all that the result depends on beside the image and its name."""

    sampling: SamplingSettings
    seed: int
    harmonize: bool = field(metadata={"key": "harmonise"})
    """True where images that differ from the training images were harmonized with them."""
    recalibration: Calibration
    computation: Computation
    max_memory_gb: float | None = None
    """Less memory may mean smaller tiles."""


@dataclass(frozen=True)
class CaseRecord:
    """The provenance of one case of an output folder."""

    case: str
    """Its name, which the noise depends on."""
    inputs: tuple[str, ...]
    """Paths of the image's files."""
    input_bytes: int
    input_modified: str
    """Time of the newest of them, ISO 8601 in UTC."""
    files: tuple[str, ...]
    """Names in this folder."""
    notes: tuple[str, ...]
    """Assumptions and changes made on reading the image."""
    unlike_training: tuple[str, ...]
    model: ModelIdentity
    settings: Method
    ldseg: str
    """Version."""
    time: str
    """Time of the prediction, ISO 8601 in UTC."""

    def same_origin(self, other: CaseRecord) -> bool:
        """Return True where both were made from the same image by the same model in the same way."""
        return replace(self, files=other.files, time=other.time) == other


@dataclass(frozen=True)
class Records:
    """The content of prediction.json."""

    cases: dict[str, CaseRecord] = field(default_factory=dict[str, CaseRecord])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    passed_over: tuple[str, ...] = ()
    """What the last command found among its inputs and did not predict, a sentence each."""


def describe_inputs(case: Case) -> tuple[tuple[str, ...], int, str]:
    """Return the paths of a case's images, their bytes in all, and the time of the newest."""
    facts = [path.stat() for path in case.images]
    newest = max(fact.st_mtime for fact in facts)
    when = datetime.fromtimestamp(newest, timezone.utc).isoformat()
    return tuple(str(path) for path in case.images), sum(fact.st_size for fact in facts), when


def now() -> str:
    """Return the time in ISO 8601, UTC, in seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def read_records(folder: Path) -> Records:
    """Return what prediction.json says, nothing where there is none or an older ldseg wrote it.

    Raises:
        InputError: it is damaged, or a newer ldseg wrote it.
    """
    path = folder / FILE
    if not path.exists():
        return Records()
    content = read_versioned(path, VERSION, _REMEDY)
    known = {name: content[name] for name in ("cases", "failed", "passed_over") if name in content}
    return from_json(Records, known, str(path))


@contextmanager
def changing(folder: Path) -> Generator[dict[str, Records]]:
    """Hold the lock of `folder`; what "records" is set to inside becomes the content of prediction.json."""
    with lock_folder(folder, "prediction", _PATIENCE):
        held = {"records": read_records(folder)}
        before = held["records"]
        yield held
        if held["records"] != before or not (folder / FILE).exists():
            _write(folder / FILE, held["records"])


def begin_case(folder: Path, name: str, record: CaseRecord) -> tuple[str, ...]:
    """Record a case whose files are about to be written, and remove those of an earlier prediction that would
    lie beside them. Return the names of the files that were removed."""
    with changing(folder) as held:
        records = held["records"]
        earlier = records.cases.get(name)
        stale: tuple[str, ...] = ()
        if earlier is not None and record.same_origin(earlier):
            record = replace(record, files=tuple(dict.fromkeys((*record.files, *earlier.files))))
        elif earlier is not None:
            stale = tuple(file for file in earlier.files if file not in record.files)
        removed = _remove(folder, stale)
        failed = {one: why for one, why in records.failed.items() if one != name}
        held["records"] = replace(records, cases={**records.cases, name: record}, failed=failed)
    return removed


def record_passed_over(folder: Path, remarks: Sequence[str]) -> None:
    """Record what a command found among its inputs and does not predict."""
    with changing(folder) as held:
        held["records"] = replace(held["records"], passed_over=tuple(remarks))


def fail_case(folder: Path, name: str, problem: str, begun: Sequence[str]) -> bool:
    """Record that a case could not be predicted, and remove the files `begun`. Return whether files of an
    earlier prediction remain."""
    with changing(folder) as held:
        records = held["records"]
        _remove(folder, begun)
        cases = dict(records.cases)
        if name in cases:
            kept = tuple(file for file in cases[name].files if (folder / file).exists())
            cases[name] = replace(cases[name], files=kept)
            if not kept:
                del cases[name]
        held["records"] = replace(records, cases=cases, failed={**records.failed, name: problem})
    return name in cases


def _remove(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """Remove and return those files that are there; a damaged record leads to no file elsewhere."""
    headers = [Path(name).stem for name in names if name.endswith(".mhd")]
    voxels = [f"{header}{ending}" for header in headers for ending in (".raw", ".zraw")]
    here = [n for n in (*names, *voxels) if Path(n).name == n and (folder / n).is_file()]
    for name in here:
        (folder / name).unlink()
    return tuple(here)


def _write(path: Path, records: Records) -> None:
    """Write one line per case, which is fast: the whole file is written again for each case."""
    parts = {"cases": _lines(to_json(records.cases)), "failed": _lines(records.failed)}
    body = [f' "{part}": {{{lines}}}' for part, lines in parts.items()]
    body.append(f' "passed_over": {json.dumps(records.passed_over)}')
    text = "{\n" + ",\n".join([f' "version": {VERSION}', *body]) + "\n}\n"
    write_bytes_atomic(path, text.encode())


def _lines(entries: Mapping[str, object]) -> str:
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(entry)}" for name, entry in entries.items())
    return f"\n{lines}\n " if lines else ""
