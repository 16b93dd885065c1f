"""Begin with the weights of another model: every tensor that fits is carried over, and what did not is told.

Tensors of one name and shape are copied. Where the number or the order of classes or image channels differs,
the rows of each class and channel are carried to the one of the same name:

    classes     background to background, equal names, then the others in their order; further ones are new
    channels    equal names; the others in their order where there are as many, else they begin with weights
                of 0. Without a common name and a common number each takes the mean of the source's, scaled so
                that an image that is the same in all channels has the same features.

Which axis of a tensor counts classes or channels is found by building the model with one more of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from ldseg.errors import InputError
from ldseg.methods.base import Segmenter
from ldseg.planning.adoption import check_dimensions
from ldseg.planning.plan import Plan
from ldseg.runs.saved_model import build_segmenter, load_model
from ldseg.runs.source import Source
from ldseg.settings import RunSettings


@dataclass(frozen=True)
class Transfer:
    """The tensors that were carried over from the source, by name, and those that were not."""

    source: str
    """Name of the source."""
    sha256: str
    """Of its weights."""
    carried: tuple[str, ...]
    in_part: tuple[str, ...]
    """Tensors of which the rows of some classes or channels are new, or that were made of other channels."""
    new: tuple[str, ...]
    """Tensors with fresh weights, for the source has none of their shape."""
    share: float
    """Share of the model's weights that were carried over, 0 to 1, those in part included."""

    def record(self) -> dict[str, Any]:
        """Return the record of the training's log."""
        return {"event": "transferred", "step": 0, **vars(self)}


@dataclass(frozen=True)
class _Axis:
    """An axis of a tensor that counts classes or channels, each as `cell` consecutive entries."""

    axis: int
    cell: int


@dataclass
class _Rows:
    """A linear map from the classes or channels of the source to those of the model."""

    matrix: Tensor
    """(new, old): weight of each of the source's in each of the model's."""
    fresh: list[int] = field(default_factory=list[int])
    """Those of the model that keep their fresh weights."""

    @property
    def is_identity(self) -> bool:
        """Return whether all stay as they are."""
        rows, columns = self.matrix.shape
        return rows == columns and not self.fresh and bool((self.matrix == torch.eye(rows)).all())

    def apply(self, value: Tensor, fresh: Tensor, axis: _Axis) -> Tensor:
        """Return the source's `value` with this axis as in the model; `fresh` are the model's own weights."""
        cells = value.movedim(axis.axis, 0).unflatten(0, (-1, axis.cell))
        mixed = torch.einsum("no,o...->n...", self.matrix, cells)
        if self.fresh:
            own = fresh.movedim(axis.axis, 0).unflatten(0, (-1, axis.cell))
            if own.shape != mixed.shape:
                raise ValueError("the other axes differ")
            mixed[self.fresh] = own[self.fresh]
        return mixed.flatten(0, 1).movedim(0, axis.axis)


def check_source(plan: Plan, settings: RunSettings, source: Source) -> None:
    """Raise InputError if the source is of other dimensions or another architecture than the model."""
    check_dimensions(plan, source.plan(), source.name)
    theirs = source.settings()
    if settings.baseline != theirs.baseline:
        kinds = [
            name if name != "none" else "latent diffusion" for name in (theirs.baseline, settings.baseline)
        ]
        raise InputError(
            f"{source.name}: is a model of the kind {kinds[0]}, and {kinds[1]} is to be trained; begin with "
            "one of its kind"
        )
    own, other = settings.model.denoiser.architecture, theirs.model.denoiser.architecture
    if own != other:
        raise InputError(
            f"{source.name}: has the denoiser {other}, and {own} is to be trained; give --preset "
            f"{theirs.preset}"
        )


def first_weights(
    segmenter: Segmenter, plan: Plan, settings: RunSettings, source: Source | None
) -> Transfer | None:
    """Fill the fresh model `segmenter` with pretrained weights of its parts, then with those of the source,
    if there are any, and return what came from the source.

    Raises:
        InputError: weights cannot be read.
    """
    segmenter.load_pretrained()
    return None if source is None else transfer_weights(segmenter, plan, settings, source)


def transfer_weights(segmenter: Segmenter, plan: Plan, settings: RunSettings, source: Source) -> Transfer:
    """Fill the fresh model `segmenter` with the weights of the source as far as they fit.

    Raises:
        InputError: the source cannot be read.
    """
    loaded = load_model(source.folder, torch.device("cpu"))
    rows = {
        "classes": _class_rows(list(plan.classes), list(loaded.plan.classes)),
        "in_channels": _channel_rows(
            [channel.name for channel in plan.channels], [channel.name for channel in loaded.plan.channels]
        ),
    }
    axes = [{kind: _axes(one, kind) for kind in rows} for one in (settings, loaded.settings)]
    theirs = {name: value.float() for name, value in loaded.segmenter.state_dict().items()}
    found: dict[str, list[str]] = {"carried": [], "in_part": [], "new": []}
    sizes = dict.fromkeys(found, 0)
    for name, own in segmenter.state_dict().items():
        value, exact = _carried(name, own.float().cpu(), theirs.get(name), rows, axes)
        kind = "new" if value is None else "carried" if exact else "in_part"
        found[kind].append(name)
        sizes[kind] += own.numel()
        if value is not None:
            own.copy_(value)
    share = 1 - sizes["new"] / max(1, sum(sizes.values()))
    names = (tuple(one) for one in found.values())
    return Transfer(source.name, source.sha256, *names, share=round(share, 4))


def _carried(
    name: str,
    own: Tensor,
    theirs: Tensor | None,
    rows: Mapping[str, _Rows],
    axes: Sequence[Mapping[str, Mapping[str, _Axis]]],
) -> tuple[Tensor | None, bool]:
    """Return the value for a tensor, None if nothing fits, and whether it is the source's unchanged."""
    if theirs is None or theirs.ndim != own.ndim:
        return None, False
    value, exact = theirs, True
    for kind, mapped in rows.items():
        here, there = (one[kind].get(name) for one in axes)
        if here != there:
            return None, False
        if here is None or mapped.is_identity:
            continue
        if here.cell == 0:
            return None, False
        try:
            value = mapped.apply(value, own, here)
        except (RuntimeError, ValueError):
            return None, False
        exact = False
    return (value, exact) if value.shape == own.shape else (None, False)


def _axes(settings: RunSettings, kind: str) -> dict[str, _Axis]:
    """Return the axis of each tensor that grows with `kind`, the number of classes or channels in
    `ModelSettings`. Its cell is 0 where that is not all that the axis counts."""
    number = getattr(settings.model, kind)
    model = replace(settings.model, **{kind: number + 1})
    with torch.device("meta"):  # without memory
        outlines = [build_segmenter(one) for one in (settings, replace(settings, model=model))]
    small, large = ({name: v.shape for name, v in one.state_dict().items()} for one in outlines)
    found: dict[str, _Axis] = {}
    for name, shape in small.items():
        grown = [axis for axis, (a, b) in enumerate(zip(shape, large[name], strict=True)) if a != b]
        if grown:
            cell = large[name][grown[0]] - shape[grown[0]]
            pure = len(grown) == 1 and shape[grown[0]] == cell * number
            found[name] = _Axis(grown[0], cell if pure else 0)
    return found


def _class_rows(own: Sequence[str], theirs: Sequence[str]) -> _Rows:
    """Return which class of the source becomes which of the model; the first of both is background."""
    names = [name.casefold() for name in theirs]
    found: dict[int, int] = {0: 0}
    for index, name in enumerate(own):
        if index and name.casefold() in names[1:]:
            found[index] = names.index(name.casefold(), 1)
    left = (index for index in range(1, len(theirs)) if index not in set(found.values()))
    for index in range(1, len(own)):
        if index not in found and (other := next(left, None)) is not None:
            found[index] = other
    matrix = torch.zeros(len(own), len(theirs))
    for index, other in found.items():
        matrix[index, other] = 1
    return _Rows(matrix, [index for index in range(len(own)) if index not in found])


def _channel_rows(own: Sequence[str], theirs: Sequence[str]) -> _Rows:
    """Return how much of each channel of the source each channel of the model takes."""
    mine, names = ([name.casefold() for name in one] for one in (own, theirs))
    found = {index: names.index(name) for index, name in enumerate(mine) if name in names}
    if not found and len(own) != len(theirs):
        return _Rows(torch.full((len(own), len(theirs)), 1 / len(own)))
    left = (index for index in range(len(theirs)) if index not in set(found.values()))
    matrix = torch.zeros(len(own), len(theirs))
    for index in range(len(own)):
        other = found.get(index)
        if other is None and len(own) == len(theirs):
            other = next(left)
        if other is not None:
            matrix[index, other] = 1
    return _Rows(matrix)
