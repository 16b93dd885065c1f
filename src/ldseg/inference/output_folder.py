"""Checks the folder of predictions before the first is written, for files that must not be there."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from ldseg.data.cases import Case
from ldseg.data.unread import voxel_files
from ldseg.errors import InputError, file_error
from ldseg.inference.provenance_journal import FILE, JOURNAL, read_records
from ldseg.planning.plan import Plan, read_plan
from ldseg.runs.files import PLAN_FILE, SETTINGS_FILE, SPLITS_FILE

_OWN = (PLAN_FILE, FILE, JOURNAL)
_OTHER = "choose another folder with -o"
_MAP = r"(uncertainty|disagreement|member_disagreement|probabilities|sample\d+)"
_PARTS = re.compile(rf"_{_MAP}\.[\w.]+|_summary\.json")
"""The part of a map's file name after the case's name."""


def prepare_folder(out: Path, cases: Sequence[Case], files: Mapping[str, Sequence[Path]]) -> None:
    """Make the folder `out` for `files`, by the name that they begin with.

    Raises:
        InputError: a result would take the place of an input, of a model's plan or of another result, or
            would lie beside maps of an earlier prediction that nothing is known of.
    """
    if (out / SETTINGS_FILE).exists() or (out / SPLITS_FILE).exists():
        raise InputError(f"{out}: is the folder of a training; choose another for the results with -o")
    inputs = {os.path.realpath(path) for case in cases for path in case.images}
    owners: dict[Path, str] = {}
    for name, paths in files.items():
        for path in paths:
            if os.path.realpath(path) in inputs:
                raise InputError(f"{path}: the result would replace the image; {_OTHER}")
            if path.name in _OWN:
                finding = f"would be a result of {name}, and is the name of a file that ldseg keeps there"
                raise file_error(path, finding, "rename the image, or choose another --format")
            if path in owners:
                finding = f"would be a result of {owners[path]} and of {name}"
                raise file_error(path, finding, "predict them into two folders")
            owners[path] = name
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{out}: cannot be made ({error.strerror}); {_OTHER}") from error
    _refuse_leftovers(out, files, inputs)


def refuse_other_classes(out: Path, plan: Plan, names: Mapping[str, object]) -> None:
    """Raise InputError where `out` holds predictions with other classes of cases that are not in `names`: one
    plan.json cannot say what the ids of both mean."""
    others = [name for name in read_records(out).cases if name not in names]
    path = out / PLAN_FILE
    if not others or not path.is_file():
        return
    known = read_plan(path).classes
    if known != plan.classes:
        finding = f"holds predictions with other classes ({', '.join(known)}), of {others[0]} for one"
        raise file_error(out, finding, _OTHER)


def _refuse_leftovers(out: Path, files: Mapping[str, Sequence[Path]], inputs: set[str]) -> None:
    """Raise InputError for maps of these cases that are neither recorded nor written again."""
    recorded = {out / file for one in read_records(out).cases.values() for file in one.files}
    expected = recorded.union(*files.values())
    expected |= {voxels for header in expected for voxels in voxel_files(header)}
    for path in sorted(out.iterdir()):
        part = _PARTS.search(path.name)
        name = path.name[: part.start()] if part and part.end() == len(path.name) else None
        if name in files and path not in expected and os.path.realpath(path) not in inputs:
            finding = f"is of an earlier prediction of {name} that {out.name or out} has no record of"
            raise file_error(path, finding, f"remove it, or {_OTHER}")
