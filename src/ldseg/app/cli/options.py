"""Settings as command-line arguments: a dataclass field is `--section.field`, its docstring the help.

Values are only parsed here; the dataclass and `ldseg.utils.serialization` validate them, for files and for
arguments alike.

jsonargparse can add a dataclass by itself (`add_class_arguments`, with docstring-parser for the docstrings).
It then asks for all fields without a default, which presets fill here from a plan, returns defaults as if
they had been given, and has error messages of its own beside those for files.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import NoneType
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

from ldseg.errors import InputError
from ldseg.utils.serialization import describe_type, from_json

DATA_ALIASES = {
    "data.axes": "--axes",
    "data.classes": "--classes",
    "data.ignore_id": "--ignore-id",
    "data.subject_pattern": "--subject-pattern",
    "data.layout": "--layout",
}
MODEL_HELP = "folder that ldseg train wrote, or the name of a shipped model (see ldseg models)"


def add_section(parser: Any, kind: type, section: str, aliases: Mapping[str, str] | None = None) -> None:
    """Add arguments for all fields of the dataclass `kind`; `aliases` are short names by `section.field`."""
    group = parser.add_argument_group(section)
    _add_fields(group, kind, section, aliases or {})


def add_model(parser: Any) -> None:
    """Add `-m`, which `zoo.catalogue.find_model` resolves to a folder, and `--allow-code`."""
    parser.add_argument("-m", "--model", type=Path, required=True, metavar="MODEL", help=MODEL_HELP)
    add_allow_code(parser)


def add_models(parser: Any, required: bool = True) -> None:
    """Add `-m`, which may be given several times and gives a list of texts: with a type, jsonargparse would
    convert the list. `models_of` has the paths."""
    parser.add_argument(
        "-m",
        "--model",
        required=required,
        action="append",
        metavar="MODEL",
        help=f"{MODEL_HELP}; a run with folds, or several -m, predict together as an ensemble",
    )
    add_allow_code(parser)


def models_of(arguments: Any) -> list[Path]:
    """Return the folders or names that `-m` was given, in order."""
    return [Path(one) for one in arguments.model or ()]


def add_sampler(parser: Any) -> None:
    """Add `--sampler` and `--tta`; sampler names are literal because importing samplers would load torch."""
    names = "ddim, ddim_stochastic, ddpm, dpmpp_2m, dpmpp_2s, euler, preconditioned_ddim or one_step"
    parser.add_argument("--sampler", help=names)
    parser.add_argument(
        "--tta",
        type=bool | None,
        metavar="true|false",
        help="test-time augmentation: average with the prediction of the flipped image, in twice the time; "
        "the model's own setting by default",
    )


def add_allow_code(parser: Any) -> None:
    """Add `--allow-code`."""
    parser.add_argument(
        "--allow-code",
        action="store_true",
        help="import and run code outside of ldseg that settings name as package.module:NAME; only for "
        "models and settings you trust",
    )


def admit_model(arguments: Any, model: Path) -> None:
    """Admit the code outside of ldseg that the model's settings and `--sampler` name, if `--allow-code` says
    so. Raises InputError if it does not."""
    from ldseg.runs.files import SETTINGS_FILE
    from ldseg.runs.folds import begun_folds
    from ldseg.runs.saved_model import admit_model_code, read_settings
    from ldseg.utils.registry import admit
    from ldseg.zoo.catalogue import find_model

    admit(getattr(arguments, "sampler", None), arguments.allow_code, "--sampler")
    if arguments.allow_code:
        folder = find_model(model)
        for one in (folder, *begun_folds(folder)):
            path = one / SETTINGS_FILE
            if path.is_file():
                admit_model_code(read_settings(path), True, path)


def admit_models(arguments: Any) -> None:
    """Admit as `admit_model` for each model of `-m` and its members. Raises InputError."""
    from ldseg.inference.ensemble_files import member_folders
    from ldseg.zoo.catalogue import find_model

    for model in models_of(arguments):
        for folder in (model, *member_folders(find_model(model))):
            admit_model(arguments, folder)


def add_decision(parser: Any) -> None:
    """Add `--decision`; its values are literal because importing them would load NumPy."""
    parser.add_argument(
        "--decision",
        choices=("argmax", "expected-dice"),
        help="argmax: labels are the likeliest class of each voxel; expected-dice: the segmentation with the "
        "highest mean Dice with several samples; by default what the calibration chose",
    )


def add_harmonize(parser: Any) -> None:
    """`--harmonize`."""
    parser.add_argument(
        "--harmonize",
        type=bool,
        default=True,
        metavar="true|false",
        help="bring images that are noisier, more blurred or of another contrast than all of training nearer "
        "to them; true by default",
    )


def add_data_section(parser: Any) -> None:
    """Add the options for reading a data set, `--data.*`."""
    from ldseg.data.cases import DataOptions

    add_section(parser, DataOptions, "data", DATA_ALIASES)
    parser.add_argument(
        "--labels-above-zero", action="store_true", help="every id above zero is one class (instance masks)"
    )


def add_json(parser: Any) -> None:
    """Add `--json`, the switch for machine-readable output."""
    parser.add_argument("--json", action="store_true", help="print the result as JSON on stdout")


def given_section(arguments: Any, section: str) -> dict[str, Any]:
    """Return the given values of a section as nested dicts; empty if none was given."""
    found = getattr(arguments, section, None)
    return {} if found is None else cast(dict[str, Any], found.as_dict())


def data_options(arguments: Any) -> Any:
    """Return the given `DataOptions`. Raises InputError for an invalid value."""
    from ldseg.data.cases import DataOptions

    given = given_section(arguments, "data")
    if arguments.labels_above_zero:
        if given.get("labels_above_zero") is False:
            raise InputError("--labels-above-zero contradicts --data.labels_above_zero false; give one")
        given["labels_above_zero"] = True
    if isinstance(given.get("classes"), str):
        raise InputError(f"--classes is {given['classes']!r}; write names and ids, e.g. liver=1,tumour=2")
    return from_json(DataOptions, given, "", "data")


def _add_fields(group: Any, kind: type, section: str, aliases: Mapping[str, str]) -> None:
    hints, notes = get_type_hints(kind), field_notes(kind)
    for field in fields(kind):
        hint, path = hints[field.name], f"{section}.{field.name}"
        if is_dataclass(hint):
            _add_fields(group, cast(type, hint), path, aliases)
            continue
        names = [f"--{path}", *([aliases[path]] if path in aliases else [])]
        note = f"{notes.get(field.name, '')} ({describe_type(hint)})".strip()
        action = group.add_argument(
            *names, type=_reader(hint), default=argparse.SUPPRESS, metavar="VALUE", help=note
        )
        action.rare = path not in aliases  # `ArgumentParser` leaves it out of the short help


def field_notes(kind: type) -> dict[str, str]:
    """Return the docstring of each field as one line."""
    (declaration,) = ast.parse(inspect.cleandoc(inspect.getsource(kind))).body
    notes: dict[str, str] = {}
    previous: ast.stmt | None = None
    for statement in cast(ast.ClassDef, declaration).body:
        told = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
        if told and isinstance(previous, ast.AnnAssign) and isinstance(previous.target, ast.Name):
            text = cast(ast.Constant, cast(ast.Expr, statement).value).value
            notes[previous.target.id] = " ".join(str(text).split())
        previous = statement
    return notes


def _reader(hint: Any) -> Callable[[Any], Any]:
    """Return a function that parses an argument: as JSON if possible, else as plain text."""
    kinds = {one for one in (get_args(hint) or (hint,)) if one is not NoneType}
    is_mapping = any(get_origin(one) is dict for one in (hint, *kinds))
    is_list = any(get_origin(one) is tuple for one in (hint, *kinds))
    holds_words = any(one is str or get_origin(one) is Literal for one in kinds)

    def read(value: Any) -> Any:
        if not isinstance(value, str) or kinds == {str}:
            return value
        found = _parsed(value)
        if is_mapping and isinstance(found, str) and "=" in found:
            entries = (part.partition("=") for part in names_of(found))
            return {key.strip(): _parsed(entry.strip()) for key, _, entry in entries}
        if is_list and found is not None and not isinstance(found, list):
            wrapped = _parsed(f"[{value}]")  # 8,16 and [2,2],[1,2] do without the outer brackets
            words = list(names_of(value)) if holds_words else value
            return wrapped if isinstance(wrapped, list) else words
        return found

    return read


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def names_of(text: str) -> tuple[str, ...]:
    """Return the names in a list that is separated by commas."""
    return tuple(part.strip() for part in text.split(","))
