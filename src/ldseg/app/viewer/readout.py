"""The values of all layers at one voxel, for the line that follows the pointer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ldseg.app.viewer.nifti import downsample, downsampling_steps
from ldseg.app.viewer.session import Session
from ldseg.planning.orientation import orientation_of
from ldseg.preprocessing.orient import to_canonical

_LEAST_PROBABILITY = 0.01
"""Classes below it are left out."""
_MOST_CLASSES = 3


def values_at(session: Session, place: Sequence[int]) -> list[dict[str, Any]] | None:
    """Return title, value and unit of each layer at `place`, in canonical order counted in voxels that are
    shown; None outside of the image. Labels are the name of their class; probabilities are one entry, of the
    likeliest classes.
    """
    image, names = session.image, [*session.plan.classes, "not labelled"]
    steps, orientation = downsampling_steps(image.shape, image.axes), orientation_of(image)
    found: list[dict[str, Any]] = []
    shares: dict[str, float] = {}
    for layer in session.layers.values():
        if not layer.is_ready:  # nobody has looked at it
            continue
        array = downsample(layer.array, steps)
        array = np.moveaxis(array, -1, 0) if layer.colors == "own" else array[None]
        voxels = to_canonical(array, orientation)
        shape = voxels.shape[1:]
        if len(place) != len(shape) or any(
            n not in range(size) for n, size in zip(place, shape, strict=True)
        ):
            return None
        values = [float(value) for value in voxels[(slice(None), *place)]]
        entry: dict[str, Any] = {"layer": layer.name, "group": layer.group, "title": layer.title}
        if layer.group == "probability":
            shares[layer.title] = values[0]
        elif layer.colors in ("classes", "reference"):
            found.append({**entry, "text": names[int(values[0])]})
        else:
            found.append({**entry, "values": values, "unit": "nats" if layer.colors == "heat" else ""})
    if shares:
        every = {names[0]: 1 - sum(shares.values()), **shares}
        first = sorted(every.items(), key=lambda one: -one[1])[:_MOST_CLASSES]
        text = ", ".join(f"{name} {100 * p:.0f} %" for name, p in first if p >= _LEAST_PROBABILITY)
        found.append({"layer": "probability", "group": "probability", "title": "probability", "text": text})
    return found
