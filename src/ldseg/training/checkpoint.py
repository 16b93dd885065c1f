"""The training state: one safetensors file, replaced atomically, from which training continues exactly.

Tensors are named model.*, average.*, optimizer.STATE.PARAMETER; the counters are JSON in the file's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ldseg.errors import InputError
from ldseg.preprocessing.cache import forget_parts
from ldseg.runs.files import BEST_FOLDER, CACHE_FOLDER, STATE_FILE
from ldseg.utils.serialization import from_json, remove_staged_files, write_bytes_atomic

_VERSION = 1
_REMEDY = "train anew in an empty folder"


@dataclass
class Counters:
    """Progress of a training."""

    step: int = 0
    spent: float = 0.0
    """Seconds of training."""
    validations: int = 0
    """Validations on the present budget."""
    best: float = -1.0
    """Best validation Dice so far."""
    finished: bool = False
    first_step: int = 0
    """Step at which the present budget began; above 0 in a continued training."""
    first_spent: float = 0.0
    """Seconds of training at that step."""
    validated_at: float = 0.0
    """How much of the budget was used at the last validation; see `Budget.used`."""
    flat_at: float | None = None
    """See `Budget.flat_at`."""


def save_state(
    folder: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer, counters: Counters
) -> None:
    """Write the state below `folder`.

    Raises:
        InputError: the disk is full.
    """
    tensors = {f"model.{name}": value for name, value in model.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in average.state_dict().items()}
    names = [name for name, _ in model.named_parameters()]
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{key}.{names[index]}": value for key, value in state.items()}
    whole = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    write_bytes_atomic(folder / STATE_FILE, save(whole, _metadata(counters)))


def _metadata(counters: Counters) -> dict[str, str]:
    return {"version": str(_VERSION), "counters": json.dumps(asdict(counters))}


def restart_counters(folder: Path, keep_best: bool) -> None:
    """Let the training in `folder` begin another budget at its present step; doing it twice changes nothing.

    Without `keep_best` the best validation so far is forgotten, for it was on other data. A folder without a
    state, whose training begins with its first step, stays as it is.

    Raises:
        InputError: the state is damaged, or the disk is full.
    """

    def restarted(counters: Counters) -> Counters:
        return Counters(
            counters.step,
            counters.spent,
            best=counters.best if keep_best else Counters.best,
            first_step=counters.step,
            first_spent=counters.spent,
        )

    _change_counters(folder, restarted)


def forget_best(folder: Path) -> None:
    """Let the next validation of the training in `folder` be its best so far, for the others were on other
    data. Raises InputError as `restart_counters`."""
    _change_counters(folder, lambda counters: replace(counters, best=Counters.best))


def _change_counters(folder: Path, change: Callable[[Counters], Counters]) -> None:
    path = folder / STATE_FILE
    if not path.is_file():
        return
    counters = read_counters(folder)
    if counters is None:
        raise InputError(f"{path}: the training state is damaged; {_REMEDY}")
    with safe_open(path, framework="pt") as file:
        tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    write_bytes_atomic(path, save(tensors, _metadata(change(counters))))


def read_counters(folder: Path) -> Counters | None:
    """Return the progress of the training in `folder`, None without a readable state."""
    try:
        with safe_open(folder / STATE_FILE, framework="pt") as file:
            metadata = file.metadata() or {}
        return from_json(Counters, json.loads(metadata["counters"]), str(folder / STATE_FILE))
    except (SafetensorError, OSError, LookupError, RecursionError, TypeError, ValueError):
        return None


def load_state(
    folder: Path, model: nn.Module, average: nn.Module, optimizer: torch.optim.Optimizer
) -> Counters:
    """Fill model, average and optimizer from `folder` and return the counters.

    Raises:
        InputError: the file is missing, damaged, of a newer version or of another model.
    """
    path = folder / STATE_FILE
    if not path.is_file():
        raise InputError(f"{path}: there is no training state to resume; {_REMEDY}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: the training state is damaged ({error}); {_REMEDY}") from error
    if metadata.get("version") != str(_VERSION):
        raise InputError(f"{path}: written by another version of ldseg; use that version, or {_REMEDY}")
    try:
        model.load_state_dict(_with_prefix("model.", tensors))
        average.load_state_dict(_with_prefix("average.", tensors))
    except RuntimeError as error:
        raise InputError(f"{path}: does not fit settings.json beside it; {_REMEDY}") from error
    try:
        _load_optimizer(optimizer, model, _with_prefix("optimizer.", tensors))
        return from_json(Counters, json.loads(metadata["counters"]), str(path))
    except (LookupError, RecursionError, RuntimeError, TypeError, ValueError) as error:
        raise InputError(f"{path}: the training state is damaged ({error!r}); {_REMEDY}") from error


def _with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors whose names begin with `prefix`, without it."""
    return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}


def _load_optimizer(optimizer: torch.optim.Optimizer, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    places = {name: index for index, (name, _) in enumerate(model.named_parameters())}
    state: dict[int, dict[str, Any]] = {}
    for full_name, value in tensors.items():
        key, name = full_name.split(".", 1)
        state.setdefault(places[name], {})[key] = value
    whole = optimizer.state_dict()
    whole["state"] = state
    optimizer.load_state_dict(whole)


def remove_partial_files(run_folder: Path) -> None:
    """Remove the half-written files of a killed training; no other process may be at work in the folder."""
    for folder in (run_folder, run_folder / BEST_FOLDER, (run_folder / STATE_FILE).parent):
        remove_staged_files(folder)
    forget_parts(run_folder / CACHE_FOLDER)
