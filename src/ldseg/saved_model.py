"""A trained model's folder: weights, plan, settings and card, written and read in this one place.

    model.safetensors   the weights that predict (moving average)
    plan.json           how images are brought to the network's grid
    settings.json       everything the model is built from, and how it was trained
    card.md             for people

Sits above `model` and `controls`, whose registry is here, and below training and inference.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ldseg.controls.pixel_diffusion import PixelDiffusion
from ldseg.controls.unet import UNet
from ldseg.errors import InputError
from ldseg.model.ldseg import LDSeg
from ldseg.model.segmenter import Segmenter
from ldseg.planning.plan import Plan, read_plan, write_plan
from ldseg.records import from_json, read_versioned, to_json, write_bytes_atomic, write_json_atomic
from ldseg.settings import ModelSettings, RunSettings

WEIGHTS_FILE = "model.safetensors"
PLAN_FILE = "plan.json"
SETTINGS_FILE = "settings.json"
CARD_FILE = "card.md"
SETTINGS_VERSION = 1

SEGMENTERS: dict[str, Callable[[ModelSettings], Segmenter]] = {
    "none": LDSeg,
    "unet": UNet,
    "pixel_diffusion": PixelDiffusion,
}
"""By `RunSettings.control`."""


@dataclass(frozen=True)
class SavedModel:
    """What a model's folder holds."""

    segmenter: Segmenter
    """In evaluation mode, on the device asked for."""
    plan: Plan
    settings: RunSettings


def build_segmenter(settings: RunSettings) -> Segmenter:
    """A new model with fresh weights.

    Raises:
        InputError: there is no such control, or the settings contradict each other.
    """
    if settings.control not in SEGMENTERS:
        known = ", ".join(SEGMENTERS)
        raise InputError(f"control is {settings.control!r}; choose one of {known}")
    try:
        return SEGMENTERS[settings.control](settings.model)
    except ValueError as error:
        raise InputError(f"settings: the model cannot be built ({error}); correct model.*") from error


def save_model(folder: Path, segmenter: Segmenter, plan: Plan, settings: RunSettings, card: str) -> None:
    """Write the four files, each whole or not at all, the weights last.

    Raises:
        InputError: the disk refuses.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in segmenter.state_dict().items()}
    write_plan(folder / PLAN_FILE, plan)
    write_settings(folder / SETTINGS_FILE, settings)
    write_bytes_atomic(folder / CARD_FILE, card.encode())
    write_bytes_atomic(folder / WEIGHTS_FILE, save(weights))


def load_model(folder: Path, device: torch.device) -> SavedModel:
    """Read a model's folder.

    Raises:
        InputError: there is no such folder, or a file is missing, damaged, of a newer version, or unlike the
            others.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; give the folder that `ldseg train` wrote")
    settings = read_settings(folder / SETTINGS_FILE)
    plan = read_plan(folder / PLAN_FILE)
    segmenter = build_segmenter(settings)
    check_fit(plan, settings, segmenter, folder / PLAN_FILE)
    weights = _read_weights(folder / WEIGHTS_FILE)
    _check_weights(folder / WEIGHTS_FILE, segmenter.state_dict(), weights)
    segmenter.load_state_dict(weights)
    return SavedModel(segmenter.to(device).eval().requires_grad_(False), plan, settings)


def write_settings(path: Path, settings: RunSettings) -> None:
    """Write all settings of a run. Raises InputError when the disk refuses."""
    write_json_atomic(path, {"version": SETTINGS_VERSION, **to_json(settings)})


def read_settings(path: Path) -> RunSettings:
    """Read what `write_settings` wrote. Raises InputError: missing, damaged, newer, illegal values."""
    data = read_versioned(path, SETTINGS_VERSION, "copy it from the training again, or train anew")
    return from_json(RunSettings, data, str(path))


def check_fit(plan: Plan, settings: RunSettings, segmenter: Segmenter, path: Path) -> None:
    """Raise InputError when the plan at `path` is not one that the model can work with."""
    model = settings.model
    pairs = {
        "axes": (len(plan.axes), model.dimensions, "dimensions"),
        "channels": (len(plan.channels), model.image_channels, "image channels"),
        "classes": (len(plan.classes), model.classes, "classes"),
    }
    for name, (found, wanted, what) in pairs.items():
        if found != wanted:
            raise InputError(f"{path}: {name} has {found} entries, the model has {wanted} {what}; correct it")
    if any(size % factor for size, factor in zip(plan.patch, segmenter.image_factor, strict=True)):
        raise InputError(
            f"{path}: patch is {plan.patch}; each axis must be a multiple of {segmenter.image_factor}"
        )


def _read_weights(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; finish the training, or copy the whole folder")
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: the weights are damaged ({error}); copy the file again") from error


def _check_weights(path: Path, wanted: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    """Name the first tensor that does not fit, instead of torch's list of all."""
    misfits = sorted(wanted.keys() ^ found.keys()) or [
        name for name, value in wanted.items() if value.shape != found[name].shape
    ]
    if misfits:
        raise InputError(
            f"{path}: the weights do not fit settings.json (first of {len(misfits)}: {misfits[0]}); "
            "use the two files of one training"
        )
