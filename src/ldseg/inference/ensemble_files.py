"""Loads one or several models as one predictor, and stores an ensemble's weights and calibration.

RUN/fold_0 ...         the trained folds of a run are an ensemble of equal weights
FOLDER/ensemble.json   members by their paths (relative to FOLDER where they lie in it) and SHA-256,
                           their weights, and the calibration of all together
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ldseg.errors import InputError, file_error
from ldseg.inference.base_predictor import BasePredictor
from ldseg.inference.ensemble import Ensemble
from ldseg.inference.predictor import Predictor
from ldseg.inference.temperature_scaling import Calibration
from ldseg.runs.files import ENSEMBLE_FILE
from ldseg.runs.folds import fold_folders
from ldseg.utils.serialization import from_json, read_versioned, to_json, write_json_atomic
from ldseg.zoo.catalogue import find_model, is_shipped, shipped

VERSION = 2
_REMEDY = "make it again with `ldseg calibrate`"
Load = Callable[[Path], Predictor]
Models = Path | str | Sequence[Path | str]
"""A model's folder or name, a run with folds, an ensemble's folder, or several of them."""


@dataclass(frozen=True)
class StoredMember:
    """A member in ensemble.json."""

    model: str
    """Path of its folder, relative to the file's where it lies there; the name of a shipped model."""
    sha256: str
    weight: float


@dataclass(frozen=True)
class StoredEnsemble:
    """The content of ensemble.json."""

    members: tuple[StoredMember, ...]
    calibration: Calibration | None = None


def load_models(models: Models, device: str | None = None, allow_code: bool = False) -> BasePredictor:
    """Load a model from its folder, a shipped model by its name, or several as an ensemble; the package has
    it as `ldseg.load`.

    A run with folds is the ensemble of its trained folds. One member is that model alone. Beside others an
    ensemble's members keep their weights among each other, and its calibration, which is of them alone,
    counts no more. `allow_code` runs the code outside of ldseg that the models' settings name; give it for
    models you trust.

    Raises:
        InputError: neither a folder nor a name, members that do not fit each other, or see `Predictor.load`.
    """
    return load_members(models, lambda folder: Predictor.load(folder, device, allow_code=allow_code))


def load_members(models: Models, load: Load) -> BasePredictor:
    """Load one or several models by `load`, which gets the folder of each.

    Raises:
        InputError: as `load_models`, or from `load`.
    """
    listed = [models] if isinstance(models, (str, Path)) else list(models)
    if not listed:
        raise InputError("there is no model; give the folder of at least one")
    folders = [find_model(one) for one in listed]
    if len(folders) > 1:
        members_together(folders)  # each once
    loaded = [_load_folder(folder, load) for folder in folders]
    members = [member for one in loaded for member in one.members]
    if len(members) == 1:
        return members[0]
    weights = [weight for one in loaded for weight in one.weights]
    if len(folders) > 1:
        return Ensemble(members, weights)
    return Ensemble(members, weights, loaded[0].calibration, folders[0].resolve().name)


@dataclass(frozen=True)
class _Loaded:
    """The models that one folder stands for."""

    members: list[Predictor]
    weights: list[float]
    """1 in the mean."""
    calibration: Calibration | None = None
    """Of these members together."""


def _load_folder(folder: Path, load: Load) -> _Loaded:
    """Load the models that a folder stands for. Raises InputError."""
    if not (folder / ENSEMBLE_FILE).is_file():
        members = [load(member) for member in member_folders(folder)]
        return _Loaded(members, [1.0] * len(members))
    stored = read_ensemble(folder)
    total = sum(one.weight for one in stored.members)
    weights = [len(stored.members) * one.weight / total for one in stored.members]
    members = [_load_member(folder, one, load) for one in stored.members]
    return _Loaded(members, weights, stored.calibration)


def members_together(folders: Sequence[Path]) -> list[Path]:
    """Return the folders of the members of all `folders`. Raises InputError where one is there twice."""
    members = [member for folder in folders for member in member_folders(folder)]
    places = [member.resolve() for member in members]
    for number, (member, place) in enumerate(zip(members, places, strict=True)):
        if place in places[:number]:
            raise InputError(f"{member}: is given twice; name each member once")
    return members


def member_folders(folder: Path) -> list[Path]:
    """Return the folders of the models that a folder stands for: itself, or those of its members or folds."""
    if (folder / ENSEMBLE_FILE).is_file():
        return [_place(folder, one) for one in read_ensemble(folder).members]
    return fold_folders(folder) or [folder]


def read_ensemble(folder: Path) -> StoredEnsemble:
    """Read ensemble.json in `folder`. Raises InputError: missing, damaged or newer."""
    path = folder / ENSEMBLE_FILE
    stored = from_json(StoredEnsemble, read_versioned(path, VERSION, _REMEDY), str(path))
    if not stored.members or not all(one.weight > 0 for one in stored.members):
        raise file_error(path, "has no members, or weights that are not above 0", _REMEDY)
    return stored


def store_ensemble(folder: Path, ensemble: Ensemble, places: Sequence[Path]) -> None:
    """Write ensemble.json with an ensemble whose members lie in `places`. Raises InputError."""
    home, members = folder.resolve(), list[StoredMember]()
    for place, one in zip(places, ensemble.identity.members, strict=True):
        path = place.resolve()
        shown = path.relative_to(home) if path.is_relative_to(home) else path
        shown = path.name if is_shipped(path) else shown
        members.append(StoredMember(str(shown), one.sha256, one.weight))
    write_ensemble(folder, StoredEnsemble(tuple(members), ensemble.fitted))


def write_ensemble(folder: Path, stored: StoredEnsemble) -> None:
    """Write ensemble.json into `folder`. Raises InputError when the disk refuses."""
    write_json_atomic(folder / ENSEMBLE_FILE, {"version": VERSION, **to_json(stored)})


def _place(folder: Path, member: StoredMember) -> Path:
    """Return the folder of a member of the ensemble in `folder`."""
    place = folder / member.model
    return place if place.is_dir() else shipped().get(member.model, place)


def _load_member(folder: Path, stored: StoredMember, load: Load) -> Predictor:
    """Load a member of the ensemble in `folder`. Raises InputError where it is gone or has changed."""
    place = _place(folder, stored)
    if not place.is_dir():
        raise file_error(folder / ENSEMBLE_FILE, f"its member {stored.model} is not there", _REMEDY)
    member = load(place)
    if member.identity.sha256 != stored.sha256:
        finding = f"was made with other weights than {stored.model} has now"
        raise file_error(folder / ENSEMBLE_FILE, finding, _REMEDY)
    return member
