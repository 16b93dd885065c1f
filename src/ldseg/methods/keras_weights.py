"""Read the weights of a Keras model from an HDF5 file (`.h5`, `.weights.h5`), layer by layer, with h5py.

Kernels are (*kernel, in, out) there, those of transposed convolutions (*kernel, out, in). An older `.h5`
lists its layers in the order of the model. A newer `.weights.h5` numbers them by class: the order of layers
of one class is known, that between classes is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ldseg.errors import InputError, file_error

Kind = Literal["convolution", "transposed", "dense", "batch_norm", "group_norm", "layer_norm"]
Array = NDArray[np.float32]
_REMEDY = "give the HDF5 file of one of the published networks"
_MOST_NUMBERS = 2**27
_ROLES = ("norm", "query", "key", "value", "proj|out")
"""Layers within an attention, in the order in which they work."""
_CONTAINERS = ("model_weights", "layers", "_layer_checkpoint_dependencies", "")


@dataclass(frozen=True)
class KerasLayer:
    """The weights of one layer."""

    kind: Kind
    arrays: tuple[Array, ...]
    """Kernel and bias; or scale and shift, of batch norm also moving mean and variance."""
    within_attention: bool = False
    """Whether it is stored as a part of a layer that does attention."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the shape of the kernel or the scale."""
        return self.arrays[0].shape


def read_layers(path: Path) -> list[KerasLayer]:
    """Return the layers with weights of a file, in its order.

    Raises:
        InputError: h5py is missing, the file is no HDF5 file, or it has a layer of an unknown kind.
    """
    try:
        h5py: Any = import_module("h5py")
    except ImportError as problem:
        raise InputError(
            'h5py is missing, which released weights need; install it with pip install "ldseg[paper]"'
        ) from problem
    try:
        with h5py.File(path, "r") as file:
            return list(_layers(file, path))
    except OSError as error:
        reason = " ".join(str(error).split())[:120]
        raise file_error(path, f"cannot be read as HDF5 ({reason})", _REMEDY) from error


def _layers(file: Any, path: Path) -> Iterator[KerasLayer]:
    found = list(_leaves(file))
    if sum(one.size for _, arrays in found for one in arrays) > _MOST_NUMBERS:
        raise file_error(path, "has far more weights than a published network", _REMEDY)
    parts: dict[str, list[Kind]] = {}
    kinds: list[Kind] = []
    for name, stored in found:
        kind = _kind(name, [tuple(one.shape) for one in stored])
        if kind is None:
            shapes = ", ".join(str(tuple(one.shape)) for one in stored)
            raise file_error(path, f"{name[:80]} has weights of an unknown kind ({shapes[:80]})", _REMEDY)
        kinds.append(kind)
        parts.setdefault(name.rpartition("/")[0], []).append(kind)
    for kind, (name, stored) in zip(kinds, found, strict=True):
        arrays = [np.asarray(one, dtype=np.float32) for one in stored]
        if not all(np.isfinite(one).all() for one in arrays):
            raise file_error(path, f"{name[:80]} has numbers that are none", _REMEDY)
        beside = parts[name.rpartition("/")[0]]
        attends = beside.count("dense") == 4 and set(beside) <= {"dense", "group_norm"} and len(beside) <= 5
        yield KerasLayer(kind, _flat_dense(arrays) if kind == "dense" else tuple(arrays), attends)


def _leaves(file: Any) -> Iterator[tuple[str, list[Any]]]:
    """Yield the name and the stored arrays of each layer that has some."""
    root = next(file[name] if name else file for name in _CONTAINERS if not name or name in file)
    if "layer_names" in root.attrs:
        leaves: dict[str, list[Any]] = {}
        for layer in map(_text, root.attrs["layer_names"]):
            for weight in map(_text, root[layer].attrs["weight_names"]):
                leaves.setdefault(weight.rpartition("/")[0] or layer, []).append(root[layer][weight])
        yield from leaves.items()
    else:
        yield from _leaves_below(root, "")


def _leaves_below(group: Any, name: str) -> Iterator[tuple[str, list[Any]]]:
    """Yield the layers of a `.weights.h5`: a group with "vars" is a layer, others hold layers."""
    own = group.get("vars")
    if own is not None and len(own):
        yield name, [own[key] for key in sorted(own, key=int)]
    for key in sorted((key for key in group if key != "vars"), key=_place):
        if hasattr(group[key], "keys"):
            yield from _leaves_below(group[key], f"{name}/{key}" if name else key)


def _place(key: str) -> tuple[int, str, int]:
    """Return what sorts the layers of a group: role in an attention, class, number."""
    role = next((n for n, pattern in enumerate(_ROLES) if re.search(pattern, key)), len(_ROLES))
    base, number = re.fullmatch(r"(.*?)(?:_(\d+))?", key).groups()  # pyright: ignore[reportOptionalMemberAccess]
    return role, base, int(number or 0)


def _kind(name: str, shapes: list[tuple[int, ...]]) -> Kind | None:
    """Return what layer has weights of these shapes, None if none of those known."""
    ranks = [len(shape) for shape in shapes]
    if ranks == [1] * 4:
        return "batch_norm"
    if ranks == [1, 1]:
        return "group_norm"
    if len(shapes) != 2:
        return None
    first, second = shapes
    if first == second:
        return "layer_norm"
    if ranks in ([2, 1], [3, 1], [3, 2]):
        return "dense"
    if ranks not in ([4, 1], [5, 1]):
        return None
    if "transpose" in name.casefold() or (second[0] == first[-2] and second[0] != first[-1]):
        return "transposed"
    return "convolution" if second[0] == first[-1] else None


def _flat_dense(arrays: list[Array]) -> tuple[Array, ...]:
    """Return kernel (in, out) and bias (out) of a dense layer that may keep its heads as an axis."""
    kernel, bias = arrays
    if kernel.ndim == 3:
        inputs = kernel.shape[0] if bias.ndim == 2 else kernel.shape[0] * kernel.shape[1]
        kernel = kernel.reshape(inputs, -1)
    return kernel, bias.reshape(-1)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
