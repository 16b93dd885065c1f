"""Released weights: imitations of the published networks' HDF5 files, in both layouts of Keras, are read."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ldseg.errors import InputError
from ldseg.methods.latent_diffusion import LDSeg
from ldseg.methods.paper_weights import PARTS, import_paper_weights
from ldseg.planning.plan import Plan
from ldseg.presets import PRESETS

h5py: Any = pytest.importorskip("h5py")

RANDOM = np.random.default_rng(0)
Layer = tuple[str, str, list[tuple[int, ...]]]
"""Our name, its class in Keras, and the shapes of its weights there."""


def conv(name: str, d: int, before: int, after: int, width: int = 3) -> Layer:
    return name, f"conv{d}d", [(*(width,) * d, before, after), (after,)]


def batch_norm(name: str, channels: int) -> Layer:
    return name, "batch_normalization", [(channels,)] * 4


def group_norm(name: str, channels: int) -> Layer:
    return name, "group_normalization", [(channels,)] * 2


def attention(name: str, channels: int, heads: int) -> Iterator[Layer]:
    """Keras's own multi-head attention, whose heads are an axis, behind a norm of its own."""
    yield group_norm(f"{name}.norm", channels)
    width = channels // heads
    for part in ("query", "key", "value"):
        yield f"{name}.{part}", f"multi_head_attention/{part}", [(channels, heads, width), (heads, width)]
    yield f"{name}.proj", "multi_head_attention/attention_output", [(heads, width, channels), (channels,)]


def own_attention(name: str, channels: int) -> Iterator[Layer]:
    """A layer of the authors' own, which holds its norm."""
    yield f"{name}.norm", "attention_block/group_normalization", [(channels,)] * 2
    for part in ("query", "key", "value", "proj"):
        yield f"{name}.{part}", f"attention_block/{part}", [(channels, channels), (channels,)]


def label_block(name: str, d: int, before: int, after: int) -> Iterator[Layer]:
    yield conv(f"{name}.conv1", d, before, after)
    yield batch_norm(f"{name}.norm1", after)
    yield conv(f"{name}.conv2", d, after, after)
    yield batch_norm(f"{name}.norm2", after)
    yield conv(f"{name}.shortcut", d, before, after, 1)
    yield batch_norm(f"{name}.shortcut_norm", after)


def label_encoder(d: int, grid: Sequence[int]) -> Iterator[Layer]:
    h = 1
    for n, width in enumerate((16, 32, 64, 64, 32)):
        if d == 3 and n > 0:
            yield conv(f"downsample.{n - 1}.1", d, h, h)
        yield from label_block(f"blocks.{n}", d, h, width)
        h = width
    yield conv("head" if d == 2 else "head.1", d, h, 1, 1 if d == 2 else 2)
    yield "norm", "layer_normalization", [tuple(grid)] * 2


def decoder(d: int, classes: int) -> Iterator[Layer]:
    h = 1
    for n, width in enumerate((32, 64, 64, 32)):
        if d == 2:
            yield f"upsample.{n}.conv", "conv2d_transpose", [(3, 3, width, h), (width,)]
        else:
            yield conv(f"upsample.{n}.conv", d, h, width)
        yield from label_block(f"blocks.{n}", d, width, width)
        h = width
    yield conv("head", d, h, classes, 1)
    yield batch_norm("norm", classes)


def image_encoder(d: int, channels: int) -> Iterator[Layer]:
    yield conv("stem", d, channels, 16)
    h, groups = 16, 1 if d == 2 else 4
    for n, width in enumerate((32, 64, 64, 32)):
        name = f"stages.{n}"
        yield f"{name}.conv1", f"conv{d}d", [(*(3,) * d, h // groups, width), (width,)]
        yield f"{name}.conv2", f"conv{d}d", [(*(3,) * d, width // groups, width), (width,)]
        yield conv(f"{name}.shortcut", d, h, width, 1)
        if d == 2:
            yield conv(f"{name}.downsample.1", d, width, width)
        yield group_norm(f"{name}.norm", width)
        if d == 2 and n >= 2:
            yield from attention(f"attention.{n}", width, 8)
        h = width
    yield conv("head", d, h, 1, 1 if d == 2 else 3)
    if d == 2:
        yield from attention("last_attention", 1, 1)
    yield batch_norm("last_norm", 1)


def timed_block(name: str, d: int, before: int, after: int, attends: bool) -> Iterator[Layer]:
    yield group_norm(f"{name}.norm1", before)
    yield conv(f"{name}.conv1", d, before, after)
    yield f"{name}.time_proj", "dense", [(64, after), (after,)]
    yield group_norm(f"{name}.norm2", after)
    yield conv(f"{name}.conv2", d, after, after)
    if before != after:
        yield conv(f"{name}.shortcut", d, before, after, 1)
    if attends:
        yield from own_attention(f"{name}.attention", after)


def denoiser(d: int) -> Iterator[Layer]:
    for name in ("time1", "time2"):
        yield name, "dense", [(64, 64), (64,)]
    yield conv("stem", d, 2, 16)
    widths, h, skips = (16, 32, 64), 16, [16] if d == 2 else []
    for level, width in enumerate(widths):
        for n in range(2):
            yield from timed_block(f"down_stages.{level}.{n}", d, h, width, level > 0)
            h = width
            skips.append(width)
        if level < 2:
            yield conv(f"downsample.{level}.1", d, width, width)
            skips += [width] if d == 2 else []
    yield from timed_block("middle1", d, h, h, True)
    yield from timed_block("middle2", d, h, h, False)
    for n, level in enumerate((2, 1, 0)):
        for k in range(3 if d == 2 else 2):
            yield from timed_block(f"up_stages.{n}.{k}", d, h + skips.pop(), widths[level], level > 0)
            h = widths[level]
        if level > 0:
            yield conv(f"upsample.{n}.conv", d, h, h)
    yield group_norm("norm", h)
    yield conv("head", d, h, 1)


def networks(d: int, grid: Sequence[int]) -> dict[str, list[Layer]]:
    return {
        "label_encoder": list(label_encoder(d, grid)),
        "image_encoder": list(image_encoder(d, 2)),
        "denoiser": list(denoiser(d)),
        "decoder": list(decoder(d, 3)),
    }


Weights = list[tuple[str, str, list[Any]]]


def weights_of(layers: list[Layer]) -> Weights:
    return [
        (name, kind, [RANDOM.normal(size=shape).astype(np.float32) for shape in shapes])
        for name, kind, shapes in layers
    ]


def write_numbered(path: Path, weights: Weights) -> None:
    """Write a `.weights.h5`: layers are numbered by class, and come in alphabetical order."""
    counts: Counter[str] = Counter()
    with h5py.File(path, "w") as file:
        for _, kind, arrays in weights:
            outer, _, inner = kind.partition("/")
            first = inner in ("", "query", "group_normalization") and not (
                outer == "attention_block" and inner == "query"
            )
            if first:
                counts[outer] += 1
            number = counts[outer] - 1
            group = f"layers/{outer}{f'_{number}' if number else ''}{f'/{inner}' if inner else ''}"
            for n, array in enumerate(arrays):
                file[f"{group}/vars/{n}"] = array
        file["optimizer/vars/0"] = np.zeros(3)


def write_listed(path: Path, weights: Weights) -> None:
    """Write an older `.h5`: layers and weights are listed in order, with numbers that say nothing."""
    names = {2: ("kernel:0", "bias:0"), 4: ("gamma:0", "beta:0", "moving_mean:0", "moving_variance:0")}
    layers: dict[str, list[str]] = {}
    outer = ""
    with h5py.File(path, "w") as file:
        for n, (_, kind, arrays) in enumerate(weights):
            before, _, inner = kind.partition("/")
            if not inner or not outer.startswith(before) or inner == "group_normalization":
                outer = f"{before}_{900 - n}"
            leaf = f"{outer}/{inner}_{n}" if inner else outer
            for array, weight in zip(arrays, names[len(arrays)], strict=True):
                file[f"model_weights/{outer}/{leaf}/{weight}"] = array
                layers.setdefault(outer, []).append(f"{leaf}/{weight}")
            outer = outer if inner and not inner.startswith(("proj", "attention_output")) else ""
        root = file["model_weights"]
        root.attrs["layer_names"] = [name.encode() for name in layers]
        for name, listed in layers.items():
            root[name].attrs["weight_names"] = [weight.encode() for weight in listed]


def turned(kernel: Any, classes: int) -> Any:
    """Return a published kernel as it stands in a network of ours; `classes` of one that reads labels."""
    if kernel.ndim < 4:
        return kernel
    *_, before, after = range(kernel.ndim)
    found = kernel.transpose(after, before, *range(kernel.ndim - 2))
    return np.concatenate([k * found for k in range(classes)], 1) if classes else found


@pytest.mark.parametrize("write", [write_numbered, write_listed])
def test_each_published_tensor_has_its_place(plan: Plan, tmp_path: Path, write: Any) -> None:
    d = plan.dimensions
    plan = replace(plan, patch=(64,) * d)
    model = LDSeg.from_settings(PRESETS["paper"](plan).model)
    grid = model.start_shape(plan.patch)[1:]
    stored = {part: weights_of(layers) for part, layers in networks(d, grid).items()}
    files = {part: tmp_path / f"{part}.weights.h5" for part in PARTS}
    for part, path in files.items():
        write(path, stored[part])
    import_paper_weights(model, files)
    for part, weights in stored.items():
        network = model.get_submodule(part)
        state, seen = network.state_dict(), set[str]()
        for name, kind, arrays in weights:
            if "query" in kind or "key" in kind or "value" in kind:
                wanted = arrays[0].reshape(len(arrays[0]), -1).T
            elif re.search("dense|proj|attention_output", kind):
                wanted = arrays[0].reshape(-1, arrays[0].shape[-1]).T
            else:
                labels = part == "label_encoder" and name in ("blocks.0.conv1", "blocks.0.shortcut")
                wanted = turned(arrays[0], 3 if labels else 0)
            parts = {"weight": wanted, "bias": arrays[1]}
            if len(arrays) == 4:
                parts |= {"running_mean": arrays[2], "running_var": arrays[3]}
            for suffix, value in parts.items():
                found = state[f"{name}.{suffix}"].numpy()
                np.testing.assert_array_equal(found, value.reshape(found.shape), err_msg=f"{part} {name}")
                seen.add(f"{name}.{suffix}")
        assert {name for name in state if not name.endswith("num_batches_tracked")} == seen


def test_a_file_of_another_network_is_refused_and_changes_nothing(plan: Plan, tmp_path: Path) -> None:
    model = LDSeg.from_settings(PRESETS["paper"](plan).model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    path = tmp_path / "decoder.h5"
    write_numbered(path, weights_of(list(decoder(plan.dimensions, 2))))  # the model has three classes
    with pytest.raises(
        InputError, match=r"has 0 layers of kind convolution and shape .*, the network has 1; give"
    ):
        import_paper_weights(model, {"decoder": path})
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with pytest.raises(ValueError, match="part is 'encoder'; choose one of label_encoder"):
        import_paper_weights(model, {"encoder": path})


@pytest.mark.parametrize(
    "arrays, message",
    [
        ([np.zeros((2, 2, 2, 2, 2, 2))], "conv2d has weights of an unknown kind"),
        ([np.full((4,), np.nan), np.zeros(4)], "conv2d has numbers that are none"),
    ],
)
def test_weights_of_another_kind_are_refused(plan: Plan, tmp_path: Path, arrays: Any, message: str) -> None:
    model, path = LDSeg.from_settings(PRESETS["paper"](plan).model), tmp_path / "a.h5"
    write_numbered(path, [("", "conv2d", arrays)])
    with pytest.raises(InputError, match=message):
        import_paper_weights(model, {"decoder": path})


def test_a_file_that_is_none_is_refused(plan: Plan, tmp_path: Path) -> None:
    model, path = LDSeg.from_settings(PRESETS["paper"](plan).model), tmp_path / "a.h5"
    path.write_bytes(b"no HDF5")
    for file in (path, tmp_path / "missing.h5"):
        with pytest.raises(InputError, match=r"cannot be read as HDF5 .*; give the HDF5 file"):
            import_paper_weights(model, {"decoder": file})
