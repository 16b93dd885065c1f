"""The maps of an answer as layers over the image, each with how it is to be drawn.

*S the image's own grid; K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import log
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ldseg.app.report.figures import grey_or_colour
from ldseg.app.report.palette import class_colour, heat
from ldseg.data.class_indices import class_indices
from ldseg.data.volume import Volume
from ldseg.inference.output import DISAGREEMENT, LABELS, PROBABILITIES, SAMPLES, UNCERTAINTY, InMemory
from ldseg.planning.plan import Plan

Group = Literal["image", "probability", "uncertainty", "disagreement", "labels", "sample"]
"""Layers of which one is seen at a time."""
Colours = Literal["grey", "own", "classes", "share", "heat"]
"""How numbers become colours: greys, pixels that are colours, those of the classes, of one class, of heat."""
Rgba = list[tuple[int, int, int, int]]

WANTED = (LABELS, PROBABILITIES, UNCERTAINTY, DISAGREEMENT, SAMPLES)
_COLOUR_CHANNELS = 3
_LEAST_DISAGREEMENT = 0.05  # nats at the end of the scale: below it there is nothing to see


@dataclass(frozen=True)
class Layer:
    """One picture of the stack."""

    name: str
    """In addresses: letters, digits, hyphens."""
    group: Group
    title: str
    colours: Colours
    low: float
    """The number that has the first colour of the scale."""
    high: float
    """The number that has the last."""
    array: NDArray[Any]
    """(*S), or (*S, 3) colours."""
    index: int = 0
    """Of the class (0 is the background) or of the sample, from 0."""


def image_layers(image: Volume, plan: Plan) -> list[Layer]:
    """The image itself: one layer in colour where it is a picture of three channels, else one per channel."""
    if image.axes == "yx" and len(image.array) == _COLOUR_CHANNELS:
        return [Layer("image-1", "image", "image", "own", 0, 255, grey_or_colour(image.array, True))]
    names = [channel.name for channel in plan.channels]
    return [
        Layer(f"image-{n}", "image", name, "grey", *_window(one), one, n - 1)
        for n, (name, one) in enumerate(zip(names, image.array, strict=True), start=1)
    ]


def prediction_layers(maps: InMemory, plan: Plan, samples: int) -> Iterator[Layer]:
    """What the model says of the image, of `samples` samples."""
    last, most = len(plan.classes) - 1, log(len(plan.classes))
    labels = class_indices(maps.volume(LABELS).array[0], plan.classes, None)
    yield Layer("labels", "labels", "segmentation", "classes", 0, last, labels)
    probabilities = maps.volume(PROBABILITIES).array
    for k, name in list(enumerate(plan.classes))[1:]:
        yield Layer(f"probability-{k}", "probability", name, "share", 0, 1, probabilities[k], k)
    entropy = maps.volume(UNCERTAINTY).array[0]
    yield Layer("uncertainty", "uncertainty", "uncertainty", "heat", 0, most, entropy)
    if samples > 1:
        between = maps.volume(DISAGREEMENT).array[0]
        high = max(_LEAST_DISAGREEMENT, float(between.max()))
        yield Layer("disagreement", "disagreement", "disagreement of the samples", "heat", 0, high, between)
        for n, one in enumerate(maps.samples()):
            indices = class_indices(one.array[0], plan.classes, None)
            yield Layer(f"sample-{n + 1}", "sample", f"sample {n + 1}", "classes", 0, last, indices, n)


def palette(plan: Plan) -> dict[str, Rgba]:
    """Colours (red, green, blue, opacity) of each scale, from low to high; "share-K" is that of class K."""
    structures = [class_colour(k) for k in range(len(plan.classes) - 1)]
    scales: dict[str, Rgba] = {
        "classes": [(0, 0, 0, 0), *((*colour, 255) for colour in structures)],
        "heat": [tuple(map(int, colour)) for colour in heat(np.linspace(0, 1, 64))],  # type: ignore[misc]
    }
    for k, colour in enumerate(structures, start=1):
        scales[f"share-{k}"] = [(*colour, 0), (*colour, 255)]
    return scales


def _window(channel: NDArray[np.floating[Any]]) -> tuple[float, float]:
    """Numbers that are black and white."""
    low, high = (float(q) for q in np.percentile(channel, [0.5, 99.5]))
    return (low, high) if high > low else (low, low + 1)
