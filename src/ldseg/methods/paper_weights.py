"""Put released weights of the published networks into the networks of architecture `paper`.

A layer's place is found by order: of all layers of one kind and shape, the n-th of the file is the n-th that
works in the network. Each layer of both must find its counterpart.

Kernels (*kernel, in, out) become (out, in, *kernel), those of transposed convolutions (*kernel, out, in)
become (in, out, *kernel), dense kernels (in, out) become (out, in). The published label encoder reads the id
of a class as a number, ours its one-hot: the kernel of class k is k times the published one, which is the
same.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ldseg.errors import file_error
from ldseg.methods.keras_weights import Array, KerasLayer, Kind, read_layers
from ldseg.methods.latent_diffusion import LDSeg
from ldseg.networks.label_encoders.paper import PaperLabelEncoder
from ldseg.networks.paper_blocks import SelfAttention

PARTS = ("label_encoder", "image_encoder", "denoiser", "decoder")
"""The networks of a model, as its attributes are called."""
_NORMS: dict[type[nn.Module], Kind] = {
    nn.BatchNorm2d: "batch_norm",
    nn.BatchNorm3d: "batch_norm",
    nn.GroupNorm: "group_norm",
    nn.LayerNorm: "layer_norm",
}


@dataclass(frozen=True)
class _Place:
    """A layer of ours, and the published layer that belongs there."""

    layer: nn.Module
    kind: Kind
    shape: tuple[int, ...]
    """Of the published kernel or scale."""
    within_attention: bool
    one_hot: int = 0
    """Classes of a convolution that reads labels; 0 for the others."""


def import_paper_weights(model: LDSeg, files: dict[str, Path]) -> None:
    """Load the released weights of some networks of a model; `files` has HDF5 files by names of `PARTS`.

    Raises:
        InputError: h5py is missing, a file cannot be read, or a tensor of it or of the network has no
            counterpart. The network of that file then keeps its weights.
        ValueError: there is no such network.
    """
    for part, path in files.items():
        if part not in PARTS:
            raise ValueError(f"part is {part!r}; choose one of {', '.join(PARTS)}")
        load_network(model.get_submodule(part), example_calls(model)[part], path)


def example_calls(model: LDSeg) -> dict[str, Callable[[], object]]:
    """Return a call of each network of a model with one zero input."""
    settings = model.settings
    grid = settings.patch or tuple(2 * f for f in model.image_factor)
    latent = torch.zeros(1, *model.start_shape(grid))
    embedding = latent.new_zeros(1, settings.image_encoder.embedding_channels, *latent.shape[2:])
    t = torch.zeros(1)
    denoiser = model.denoiser
    return {
        "label_encoder": lambda: model.label_encoder(torch.zeros(1, *grid, dtype=torch.long)),
        "image_encoder": lambda: model.image_encoder(torch.zeros(1, settings.in_channels, *grid)),
        "denoiser": lambda: denoiser(latent, embedding, model.schedule(t), denoiser.embed(t)),
        "decoder": lambda: model.decoder(latent),
    }


@torch.no_grad()
def load_network(network: nn.Module, call: Callable[[], object], path: Path) -> None:
    """Load the weights of an HDF5 file into a network; `call` runs it once, on anything.

    Raises:
        InputError: as `import_paper_weights`.
    """
    layers = read_layers(path)
    whole = any(one.kind == "group_norm" and one.within_attention for one in layers)
    split = any(one.within_attention for one in layers)
    places = _places(network, call, whole, split)
    pairs = _paired(places, layers, path)
    for place, layer in pairs:
        moving = [one for one in place.layer.buffers() if one.ndim == 1]  # of batch norm
        tensors = [*place.layer.parameters(), *moving]
        for ours, value in zip(tensors, _arrays(place, layer), strict=True):
            ours.copy_(torch.from_numpy(np.ascontiguousarray(value)).view(ours.shape))


def _places(network: nn.Module, call: Callable[[], object], whole: bool, split: bool) -> list[_Place]:
    """Return the layers of a network in the order in which they work.

    Args:
        whole: the file stores the norm of an attention within it.
        split: the file stores attentions as layers of their own.
    """
    inside: set[nn.Module] = set()
    for module in network.modules():
        if isinstance(module, SelfAttention) and split:
            inside |= {layer for layer in module.children() if whole or layer is not module.norm}
    reads_labels: set[nn.Module] = set()
    if isinstance(network, PaperLabelEncoder):
        first = network.blocks[0]
        reads_labels = {first.get_submodule("conv1"), first.get_submodule("shortcut")}
    order: list[nn.Module] = []
    leaves = [one for one in network.modules() if not list(one.children()) and list(one.parameters())]
    hooks = [one.register_forward_hook(lambda layer, *_: order.append(layer)) for one in leaves]
    training = network.training
    try:
        network.eval()
        call()
    finally:
        network.train(training)
        for hook in hooks:
            hook.remove()
    return [_place_of(layer, layer in inside, layer in reads_labels) for layer in dict.fromkeys(order)]


def _place_of(layer: nn.Module, inside: bool, reads_labels: bool) -> _Place:
    weight = next(layer.parameters())
    shape = tuple(weight.shape)
    if isinstance(layer, (nn.Conv2d, nn.Conv3d)):
        channels = 1 if reads_labels else shape[1]
        return _Place(
            layer, "convolution", (*shape[2:], channels, shape[0]), inside, shape[1] if reads_labels else 0
        )
    if isinstance(layer, nn.ConvTranspose2d):
        return _Place(layer, "transposed", (*shape[2:], shape[1], shape[0]), inside)
    if isinstance(layer, nn.Linear):
        return _Place(layer, "dense", shape[::-1], inside)
    kind: Kind = next(kind for norm, kind in _NORMS.items() if isinstance(layer, norm))
    return _Place(layer, kind, shape, inside)


def _paired(
    places: Sequence[_Place], layers: Sequence[KerasLayer], path: Path
) -> list[tuple[_Place, KerasLayer]]:
    """Return each place with its layer. Raises InputError if the numbers of a kind and shape differ."""
    ours: dict[object, list[_Place]] = defaultdict(list)
    theirs: dict[object, list[KerasLayer]] = defaultdict(list)
    for place in places:
        ours[place.kind, place.shape, place.within_attention].append(place)
    for layer in layers:
        shape = (layer.arrays[0].size,) if layer.kind == "layer_norm" else layer.shape  # ours is flat
        theirs[layer.kind, shape, layer.within_attention].append(layer)
    for key in {**ours, **theirs}:
        if len(ours[key]) != len(theirs[key]):
            kind, shape, _ = key  # type: ignore[misc]
            found = f"has {len(theirs[key])} layers of kind {kind} and shape {shape}"
            remedy = "give the file of this network, for images of this size"
            raise file_error(path, f"{found}, the network has {len(ours[key])}", remedy)
    return [pair for key, group in ours.items() for pair in zip(group, theirs[key], strict=True)]


def _arrays(place: _Place, layer: KerasLayer) -> list[Array]:
    """Return the arrays of a published layer as ours has them."""
    first, *others = layer.arrays
    turned = _TURNED.get(layer.kind, lambda kernel: kernel)(first)
    if place.one_hot:
        turned = np.concatenate([k * turned for k in range(place.one_hot)], 1)
    return [turned, *others]


def _turned_kernel(kernel: Array) -> Array:
    return np.moveaxis(kernel, (-1, -2), (0, 1))


_TURNED: dict[Kind, Callable[[Array], Array]] = {
    "convolution": _turned_kernel,
    "transposed": _turned_kernel,
    "dense": np.transpose,
}
