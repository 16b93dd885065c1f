"""A trained model's folder: weights, plan, settings and card, written and read in this one place.

    model.safetensors   the weights that predict (moving average)
    plan.json           how images are brought to the network's grid
    settings.json       everything the model is built from, and how it was trained
    card.md             for people

Sits above `model` and `baselines`, whose registry is here, and below training and inference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from ldseg.errors import InputError, file_error
from ldseg.methods.base import Segmenter
from ldseg.methods.latent_diffusion import LDSeg
from ldseg.methods.pixel_diffusion import PixelDiffusion
from ldseg.methods.probabilistic_unet import ProbabilisticUNet
from ldseg.methods.ssn import StochasticSegmentationNetwork
from ldseg.methods.unet import UNet
from ldseg.planning.plan import Plan, read_plan, write_plan
from ldseg.runs.files import CARD_FILE, PLAN_FILE, SETTINGS_FILE, SPEC_FILE, WEIGHTS_FILE
from ldseg.settings import ModelSettings, RunSettings
from ldseg.utils.registry import admit
from ldseg.utils.serialization import (
    from_json,
    read_versioned,
    to_json,
    write_bytes_atomic,
    write_json_atomic,
)

SETTINGS_VERSION = 2
RETIRED = {
    "norm": "group",
    "downsampling": "convolution",
    "embedding_norm": "none",
    "up_kernel_size": 1,
    "latent_norm": "channel_rms",
}
"""Former settings of a model, with the only value that can still be built."""
_LARGEST, _MOST_BLOCKS, _MOST_LEVELS = 2**16, 64, 64
"""Any number in a model's settings, blocks of a level, entries of a list: far more than a model has."""
_LARGEST_ID = 2**31 - 1
_LONGEST_FINDING = 160
_ILLEGAL = (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError)
"""What torch raises for sizes that it cannot build."""

Shape = tuple[int, ...]

SEGMENTERS: dict[str, Callable[[ModelSettings], Segmenter]] = {
    "none": LDSeg.from_settings,
    "unet": UNet,
    "pixel_diffusion": PixelDiffusion,
    "ssn": StochasticSegmentationNetwork,
    "probabilistic_unet": ProbabilisticUNet,
}
"""By `RunSettings.baseline`."""


@dataclass(frozen=True)
class SavedModel:
    """The content of a model folder."""

    segmenter: Segmenter
    """In evaluation mode, on the device asked for."""
    plan: Plan
    """Its `mirror_axes` are those that training flipped."""
    settings: RunSettings


def build_segmenter(settings: RunSettings) -> Segmenter:
    """A new model with fresh weights.

    Raises:
        InputError: there is no such baseline, or the settings contradict each other.
    """
    if settings.baseline not in SEGMENTERS:
        known = ", ".join(SEGMENTERS)
        raise InputError(f"baseline is {settings.baseline!r}; choose one of {known}")
    try:
        return SEGMENTERS[settings.baseline](settings.model)
    except _ILLEGAL as error:
        finding = " ".join(str(error).split())[:_LONGEST_FINDING]
        raise InputError(f"settings: the model cannot be built ({finding}); correct model.*") from error


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


def copy_model(source: Path, target: Path, further: Sequence[str] = ()) -> None:
    """Copy the files that predict, and those of the names `further`, the weights last. Raises InputError when
    the disk refuses."""
    copy_files(source, target, (*further, PLAN_FILE, SETTINGS_FILE, CARD_FILE, WEIGHTS_FILE))


def copy_files(source: Path, target: Path, names: Sequence[str]) -> None:
    """Copy those files of a folder that are there, in the order of `names`. Raises InputError when the disk
    refuses."""
    for name in names:
        if (source / name).is_file():
            write_bytes_atomic(target / name, (source / name).read_bytes())


def admit_model_code(settings: RunSettings, allow_code: bool, path: Path) -> None:
    """Import the code outside of ldseg that a trained model needs, if that is allowed: not that of the loss,
    the augmentation and the loggers. Raises InputError if it is not allowed, or not there."""
    used = [settings.model, settings.sampling, settings.posterior]
    admit(to_json(used), allow_code, str(path))


def refuse_export(folder: Path) -> None:
    """Raise InputError where `folder` holds no model itself: an exported graph or models below it."""
    if (folder / WEIGHTS_FILE).is_file():
        return
    if (folder / SPEC_FILE).is_file():
        remedy = "predict with --runtime onnx, or give the folder of its training"
        raise file_error(folder, "is an exported model", remedy)
    if not (folder / SETTINGS_FILE).is_file():
        below = sorted(path.parent for path in folder.glob(f"*/{WEIGHTS_FILE}"))
        remedy = f"give one of those below it, e.g. {below[0]}" if below else "give what `ldseg train` wrote"
        raise file_error(folder, "holds no model", remedy)


def load_model(folder: Path, device: torch.device, allow_code: bool = False) -> SavedModel:
    """Read a model's folder. Nothing in it is ever run; code that its settings name outside of ldseg is, but
    only with `allow_code`.

    Raises:
        InputError: there is no such folder, or a file is missing, damaged, of a newer version, unlike the
            others, asks for what no model needs, or names code that is not allowed.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; give the folder that `ldseg train` wrote")
    refuse_export(folder)
    settings = read_settings(folder / SETTINGS_FILE)
    admit_model_code(settings, allow_code, folder / SETTINGS_FILE)
    plan = read_plan(folder / PLAN_FILE)
    plan = replace(plan, mirror_axes=settings.augment.flipped_axes(plan.mirror_axes))
    check_sizes(settings, plan, folder)
    with torch.device("meta"):  # without memory: only the file's size says how large a model may be
        outline = build_segmenter(settings)
    check_fit(plan, settings, outline, folder / PLAN_FILE)
    weights = _read_weights(folder / WEIGHTS_FILE, outline.state_dict())
    segmenter = build_segmenter(settings)
    segmenter.load_state_dict(weights)
    return SavedModel(segmenter.to(device).eval().requires_grad_(False), plan, settings)


def write_settings(path: Path, settings: RunSettings) -> None:
    """Write all settings of a run. Raises InputError when the disk refuses."""
    write_json_atomic(path, {"version": SETTINGS_VERSION, **to_json(settings)})


def read_settings(path: Path) -> RunSettings:
    """Read what `write_settings` wrote. Raises InputError: missing, damaged, newer, illegal values."""
    remedy = "copy it from the training again, or train anew"
    data = read_versioned(path, SETTINGS_VERSION, remedy, oldest=SETTINGS_VERSION)
    return from_json(RunSettings, {**data, "model": _without_retired(data.get("model"), path)}, str(path))


def _without_retired(found: Any, path: Path) -> Any:
    """Return a model's settings without those in `RETIRED`. Raises InputError for another value of one."""
    if not isinstance(found, dict):
        return found
    kept: dict[str, Any] = {}
    for name, value in cast(dict[str, Any], found).items():
        if name not in RETIRED:
            kept[name] = _without_retired(value, path)
        elif value != RETIRED[name]:
            raise InputError(
                f"{path}: {name} is {value!r}, of the `paper` preset of an earlier ldseg; train anew with it"
            )
    return kept


def check_fit(plan: Plan, settings: RunSettings, segmenter: Segmenter, path: Path) -> None:
    """Raise InputError when the plan at `path` is not one that the model can work with."""
    model = settings.model
    pairs = {
        "axes": (len(plan.axes), model.spatial_dims, "dimensions"),
        "channels": (len(plan.channels), model.in_channels, "image channels"),
        "classes": (len(plan.classes), model.classes, "classes"),
    }
    for name, (found, wanted, what) in pairs.items():
        if found != wanted:
            raise InputError(f"{path}: {name} has {found} entries, the model has {wanted} {what}; correct it")
    strange = [axis for axis in settings.augment.mirror_axes or () if not 0 <= axis < len(plan.axes)]
    if strange:
        raise InputError(
            f"augment.mirror_axes has {strange[0]}; the axes {plan.axes} are 0 to {len(plan.axes) - 1}"
        )
    if any(size % factor for size, factor in zip(plan.patch, segmenter.image_factor, strict=True)):
        raise InputError(
            f"{path}: patch is {plan.patch}; each axis must be a multiple of {segmenter.image_factor}"
        )


def check_sizes(settings: RunSettings, plan: Plan, folder: Path) -> None:
    """Raise InputError for numbers far beyond any model: with them, building one would never end."""
    small = {name: to_json(getattr(settings, name)) for name in ("model", "sampling", "posterior")}
    planned = {"patch": plan.patch, "strides": plan.strides, "latent_channels": plan.latent_channels}
    if any(abs(number) > _LARGEST_ID for number in plan.classes.values()):
        raise InputError(f"{folder / PLAN_FILE}: classes has ids beyond {_LARGEST_ID}; correct it")
    for path, found in ((folder / SETTINGS_FILE, small), (folder / PLAN_FILE, planned)):
        for name, value in _numbers(found, ""):
            largest = _MOST_BLOCKS if name.endswith(".blocks") else _LARGEST
            least = -_LARGEST if ".options." in name else 0
            if not least <= value <= largest:
                raise InputError(f"{path}: {name} is {str(value)[:24]}; it must be {least} to {largest}")


def _numbers(found: Any, name: str) -> Iterator[tuple[str, float]]:
    """Yield each number in dicts and lists with its place, and lengths of lists that are too long."""
    if isinstance(found, dict):
        for key, value in cast(dict[str, Any], found).items():
            yield from _numbers(value, f"{name}.{key}" if name else key)
    elif isinstance(found, (list, tuple)):
        items = cast("list[Any]", found)
        if len(items) > _MOST_LEVELS:
            yield f"the length of {name}", _LARGEST + 1
        for index, value in enumerate(items):
            yield from _numbers(value, f"{name}[{index}]")
    elif isinstance(found, (int, float)):
        yield name, found


def _read_weights(path: Path, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights, which must have the names and shapes of `wanted`; read when that is known."""
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; finish the training, or copy the whole folder")
    try:
        with safe_open(path, framework="pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        _check_shapes(path, {name: tuple(value.shape) for name, value in wanted.items()}, shapes)
        weights = load_file(path)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{path}: the weights are damaged ({error}); copy the file again") from error
    for name, value in weights.items():
        if value.is_complex() or not bool(torch.isfinite(value.float()).all()):
            raise InputError(f"{path}: {name} has numbers that are none; the training diverged, train anew")
    return weights


def _check_shapes(path: Path, wanted: dict[str, Shape], found: dict[str, Shape]) -> None:
    """Name the first tensor that does not fit, instead of torch's list of all."""
    misfits = sorted(wanted.keys() ^ found.keys()) or [
        name for name, shape in wanted.items() if shape != found[name]
    ]
    if misfits:
        raise InputError(
            f"{path}: the weights do not fit settings.json (first of {len(misfits)}: {misfits[0][:80]}); "
            "use the two files of one training"
        )
