"""The maps of a prediction as layers over the image, each with its display range and colors.

*S the image's own grid; K classes.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from math import log
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ldseg.app.report.figures import to_gray_or_rgb
from ldseg.app.report.palette import class_color, heat, reference_color
from ldseg.data.class_indices import IGNORE_INDEX, class_indices
from ldseg.data.volume import Volume
from ldseg.inference.output import DISAGREEMENT, LABELS, PROBABILITIES, SAMPLES, UNCERTAINTY, ImageMaps
from ldseg.metrics.principal_variation import DEVIATIONS, PrincipalVariation, principal_variation
from ldseg.planning.plan import Plan

Group = Literal[
    "image", "probability", "uncertainty", "disagreement", "labels", "sample", "variation", "reference"
]
"""Group of layers of which one is visible at a time."""
Colors = Literal["gray", "own", "classes", "reference", "share", "heat"]
"""Color map: gray, RGB pixels, class colors, those of a reference, opacity of one class, or heat."""
Rgba = list[tuple[int, int, int, int]]

WANTED = (LABELS, PROBABILITIES, UNCERTAINTY, DISAGREEMENT, SAMPLES)
_COLOR_CHANNELS = 3
_MOST_DISTANCES = 2**28  # float32 of the principal variation: 1 GB
_NO_DISTANCE = 1e6
_UNLABELLED = (150, 150, 150, 255)
_LEAST_DISAGREEMENT = 0.05  # nats at the end of the scale: below it there is nothing to see


@dataclass(frozen=True)
class Layer:
    """A layer of the viewer."""

    name: str
    """Name in URLs: letters, digits, hyphens."""
    group: Group
    title: str
    colors: Colors
    low: float
    """Value with the first color of the scale."""
    high: float
    """Value with the last color of the scale."""
    source: NDArray[Any] | Callable[[], NDArray[Any]]
    """The voxels, or what computes them."""
    index: int = 0
    """Index of the class (0 is the background), of the sample, or along the principal variation."""

    @cached_property
    def array(self) -> NDArray[Any]:
        """Voxels (*S), or (*S, 3) colors; what takes time is computed when it is first asked for."""
        return self.source() if callable(self.source) else self.source

    @property
    def is_ready(self) -> bool:
        """True unless the voxels are still to be computed."""
        return not callable(self.source) or "array" in self.__dict__


def image_layers(image: Volume, plan: Plan) -> list[Layer]:
    """Return the image's layers: one RGB layer for a 2D image with three channels, else one per channel."""
    if image.axes == "yx" and len(image.array) == _COLOR_CHANNELS:
        return [Layer("image-1", "image", "image", "own", 0, 255, to_gray_or_rgb(image.array, True))]
    layers: list[Layer] = []
    for n, (channel, values) in enumerate(zip(plan.channels, image.array, strict=True)):
        black, white = (float(q) for q in np.percentile(values, [0.5, 99.5]))
        white = white if white > black else black + 1
        layers.append(Layer(f"image-{n + 1}", "image", channel.name, "gray", black, white, values, n))
    return layers


def reference_layers(masks: Sequence[NDArray[np.integer]], plan: Plan) -> list[Layer]:
    """Return a layer for each rater's class indices (*S); what nobody labelled is drawn as one more class."""
    count = len(plan.classes)
    return [
        Layer(
            f"reference-{n + 1}",
            "reference",
            "reference" if len(masks) == 1 else f"reference, rater {n + 1}",
            "reference",
            0,
            count,
            np.where(mask == IGNORE_INDEX, count, mask),
            n,
        )
        for n, mask in enumerate(masks)
    ]


def prediction_layers(maps: ImageMaps, plan: Plan, samples: int) -> Iterator[Layer]:
    """Yield the layers of a prediction with `samples` posterior samples, of those maps that there are."""
    last, most = len(plan.classes) - 1, log(len(plan.classes))
    labels = class_indices(maps.volume(LABELS).array[0], plan.classes, None)
    yield Layer("labels", "labels", "segmentation", "classes", 0, last, labels)
    if PROBABILITIES in maps:
        for k, name in list(enumerate(plan.classes))[1:]:
            array = maps.array(PROBABILITIES)[k]
            yield Layer(f"probability-{k}", "probability", name, "share", 0, 1, array, k)
    if UNCERTAINTY in maps:
        yield Layer("uncertainty", "uncertainty", "uncertainty", "heat", 0, most, maps.array(UNCERTAINTY)[0])
    if DISAGREEMENT in maps and samples > 1:
        between = maps.array(DISAGREEMENT)[0]
        high = max(_LEAST_DISAGREEMENT, float(between.max()))
        yield Layer("disagreement", "disagreement", "disagreement of the samples", "heat", 0, high, between)
    if SAMPLES in maps and samples > 1:
        drawn = [class_indices(one.array[0], plan.classes, None) for one in maps.samples()]
        for n, indices in enumerate(drawn):
            yield Layer(f"sample-{n + 1}", "sample", f"sample {n + 1}", "classes", 0, last, indices, n)
        if len(drawn) > 1:
            yield from _variation_layers(drawn, maps.volume(LABELS).spacing, plan)


def _variation_layers(
    samples: Sequence[NDArray[np.integer]], spacing: tuple[float, ...], plan: Plan
) -> Iterator[Layer]:
    """Yield label maps along the principal variation of samples, class indices (*S), which is computed when
    the first of them is asked for; none where it would take too much memory."""
    structures = len(plan.classes) - 1
    if len(samples) * structures * samples[0].size > _MOST_DISTANCES:
        return
    if plan.axes == "tyx":  # distances within frames, none between them
        spacing = (_NO_DISTANCE, *spacing[1:])
    variation = _Variation(samples, structures + 1, spacing)
    for n, place in enumerate(DEVIATIONS):
        yield Layer(
            f"variation-{n + 1}",
            "variation",
            f"{place:+g} standard deviations" if place else "0 standard deviations",
            "classes",
            0,
            structures,
            partial(variation.read, n),
            n,
        )


class _Variation:
    """The principal variation of samples, computed once, by the thread that asks first."""

    def __init__(
        self, samples: Sequence[NDArray[np.integer]], classes: int, spacing: tuple[float, ...]
    ) -> None:
        self._samples, self._classes, self._spacing = samples, classes, spacing
        self._lock = threading.Lock()
        self._found: PrincipalVariation | None = None

    def read(self, place: int) -> NDArray[Any]:
        """Return the label map (*S) at one place of `DEVIATIONS`."""
        with self._lock:
            if self._found is None:
                self._found = principal_variation(self._samples, self._classes, self._spacing)
            return self._found.maps[place]


def palette(plan: Plan) -> dict[str, Rgba]:
    """Return the RGBA colors of each scale, from low to high; "share-K" is that of class K."""
    count = len(plan.classes) - 1
    structures = [class_color(k) for k in range(count)]
    scales: dict[str, Rgba] = {
        "classes": [(0, 0, 0, 0), *((*color, 255) for color in structures)],
        "reference": [(0, 0, 0, 0), *((*reference_color(k), 255) for k in range(count)), _UNLABELLED],
        "heat": [tuple(map(int, color)) for color in heat(np.linspace(0, 1, 64))],  # type: ignore[misc]
    }
    for k, color in enumerate(structures, start=1):
        scales[f"share-{k}"] = [(*color, 0), (*color, 255)]
    return scales
