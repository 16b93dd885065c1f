"""`prediction.json`: the provenance of the files of an output folder, case by case.

    {"version": 3,
     "cases": {NAME: {"files", "inputs", "notes", "out_of_distribution", "model", "settings", "ldseg",
                      "time"}},
     "failed": {NAME: "what was wrong with it"},
     "skipped": ["what the last command did not take for an image"],
     "parts": {"test": [CASE, ..]}}    the cases that `--part` asked for

NAME is the stem of the case's files. Each case has its own model and settings, because several commands, and
several processes of one command, may write into one folder (see `provenance_journal`).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

from ldseg.data.cases import Case
from ldseg.data.formats import files_of
from ldseg.errors import file_error
from ldseg.inference.backends.backend import Computation
from ldseg.inference.decision import Decision
from ldseg.inference.output import EnsembleSummary
from ldseg.inference.temperature_scaling import UNCALIBRATED, Calibration
from ldseg.runs.files import WEIGHTS_FILE
from ldseg.settings import SamplingRecord


@dataclass(frozen=True)
class MemberIdentity:
    """The identity of a member of an ensemble."""

    name: str
    """Its folder's name."""
    sha256: str
    weight: float
    """Share of its probabilities in those of the ensemble."""
    calibration: Calibration = UNCALIBRATED
    """Its own, as it predicts within the ensemble."""


@dataclass(frozen=True)
class ModelIdentity:
    """The identity of a model."""

    name: str
    """Its folder's name."""
    sha256: str
    """Hash of its weights, or of the graph of an exported model; of an ensemble of those of its members."""
    members: tuple[MemberIdentity, ...] = ()
    """The members of an ensemble; none of a single model."""


UNKNOWN_MODEL = ModelIdentity("", "")
"""A model that was made in memory."""


def identify(folder: Path, weights: str = WEIGHTS_FILE) -> ModelIdentity:
    """Return the identity of the model in `folder`."""
    return ModelIdentity(folder.resolve().name, sha256((folder / weights).read_bytes()).hexdigest())


@dataclass(frozen=True)
class Method:
    """The settings of a prediction: all that the result depends on beside the image and its name."""

    sampling: SamplingRecord
    seed: int
    harmonize: bool
    """True where images that differ from the training images were harmonized with them."""
    recalibration: Calibration
    computation: Computation
    max_memory_gb: float | None = None
    """Less memory may mean smaller tiles."""
    decision: Decision = "argmax"
    """How labels follow from several samples."""


@dataclass(frozen=True)
class CaseRecord:
    """The provenance of one case of an output folder."""

    case: str
    """Its name, which the noise depends on."""
    inputs: tuple[str, ...]
    """Paths of the image's files."""
    input_bytes: int
    """Size of these files, and of all files in a folder of DICOM."""
    input_modified: str
    """Time of the newest of them, ISO 8601 in UTC."""
    files: tuple[str, ...]
    """Names in this folder."""
    notes: tuple[str, ...]
    """Assumptions and changes made on reading the image."""
    out_of_distribution: tuple[str, ...]
    model: ModelIdentity
    settings: Method
    ldseg: str
    """Version."""
    time: str
    """Time of the prediction, ISO 8601 in UTC."""
    expected_dice: dict[str, float] = field(default_factory=dict[str, float])
    """Per structure, the Dice that the samples expect of the labels; see `output.CaseSummary`."""
    ensemble: EnsembleSummary | None = None
    """How the members of an ensemble agree; None for a single model."""

    def same_origin(self, other: CaseRecord) -> bool:
        """Return True where both were made from the same image by the same model in the same way."""
        return replace(self, files=other.files, time=other.time) == other


@dataclass(frozen=True)
class Records:
    """The content of prediction.json."""

    cases: dict[str, CaseRecord] = field(default_factory=dict[str, CaseRecord])
    failed: dict[str, str] = field(default_factory=dict[str, str])
    skipped: tuple[str, ...] = ()
    """What the last command found among its inputs and did not predict, a sentence each."""
    parts: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Parts of a training's split that were asked for, and the cases of each, predicted or not."""

    def asked_parts(self) -> dict[str, tuple[str, ...]]:
        """Return `parts`, or nothing where some of the cases are of none of them."""
        asked = {name for names in self.parts.values() for name in names}
        others = {one.case for one in self.cases.values()}.union(self.failed) - asked
        return {} if others else self.parts


def describe_inputs(case: Case) -> tuple[tuple[str, ...], int, str]:
    """Return the paths of a case's images, the bytes of their files in all, and the time of the newest.

    Raises:
        InputError: a file is not there any more.
    """
    try:
        facts = [file.stat() for path in case.images for file in files_of(path)]
    except OSError as error:
        finding = f"changed while it was segmented ({error.strerror})"
        raise file_error(case.images[0], finding, "segment it again") from error
    newest = max(fact.st_mtime for fact in facts)
    when = datetime.fromtimestamp(newest, timezone.utc).isoformat()
    return tuple(str(path) for path in case.images), sum(fact.st_size for fact in facts), when


def now() -> str:
    """Return the time in ISO 8601, UTC, in seconds."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
