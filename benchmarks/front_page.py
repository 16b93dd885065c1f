"""Draw the strip on the front page: an image, three samples of its segmentation, their uncertainty, and the
size of each structure with its interval.

    python benchmarks/front_page.py IMAGE --model RUN -o docs/strip.png

The strip of the README is of set2_P12 of BU-BIL, a test image of the run that is trained and calibrated by

    python benchmarks/raters.py bubil --data-root DATA --work WORK --minutes 5 --fold 4
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

import ldseg
from ldseg.inference.base_predictor import Prediction

_COLORS = ("#35c4ff", "#ffb000", "#ff5c8a")
_SAMPLES = 3
_WIDTH = 1.4  # of the panel with the intervals, relative to an image


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("--model", required=True)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    volume = ldseg.read_image(arguments.image)
    predictor = ldseg.load(arguments.model)
    prediction = predictor(arguments.image, samples=arguments.samples, keep_samples=True)
    figure = draw(np.asarray(volume.array)[0], prediction)
    figure.savefig(arguments.output, dpi=110, bbox_inches="tight", metadata={"Software": None})


def draw(image: NDArray[np.float32], prediction: Prediction) -> Figure:
    """Return the strip; `image` is (Y, X), the prediction has samples."""
    ratio = image.shape[0] / image.shape[1]
    columns = 2 + _SAMPLES
    figure = Figure(figsize=(12, 12 / (columns + _WIDTH) * ratio + 0.6), layout="constrained")
    axes = figure.subplots(1, columns + 1, width_ratios=[1.0] * columns + [_WIDTH])
    for panel in axes[:-1]:
        panel.imshow(image, cmap="gray")
        panel.axis("off")
    axes[0].set_title("image")
    for k, sample in enumerate(prediction.samples[:_SAMPLES]):
        _outline(axes[1 + k], np.squeeze(sample.array))
        axes[1 + k].set_title(f"sample {k + 1}")
    axes[columns - 1].imshow(np.squeeze(prediction.uncertainty.array), cmap="magma")
    axes[columns - 1].set_title("uncertainty")
    _intervals(axes[-1], prediction)
    return figure


def _outline(panel: Axes, labels: NDArray[np.integer]) -> None:
    """Draw the outline of each structure of a label map (Y, X)."""
    for label in np.unique(labels[labels > 0]):
        color = _COLORS[(int(label) - 1) % len(_COLORS)]
        panel.contour(labels == label, levels=[0.5], colors=color, linewidths=1.8)


def _intervals(panel: Axes, prediction: Prediction) -> None:
    """Draw the size of each structure with its 90 % interval."""
    found = prediction.volumes
    for row, (name, size) in enumerate(found.items()):
        color = _COLORS[row % len(_COLORS)]
        panel.plot([size.low, size.high], [row, row], color=color, linewidth=5, solid_capstyle="butt")
        panel.plot(size.mean, row, "o", color="black")
        if len(found) > 1:
            panel.annotate(name, (size.low, row), xytext=(0, 8), textcoords="offset points")
    panel.set(
        ylim=(len(found) - 0.4, -0.6), yticks=[], title=f"size in {prediction.volume_unit}, 90 % interval"
    )
    panel.set_box_aspect(0.55)


if __name__ == "__main__":
    main()
