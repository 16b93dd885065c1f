"""What the shipped models are, and the cards that say so. Words by hand, numbers from the result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np


@dataclass(frozen=True)
class Shipped:
    """One model: on what it is trained and what a person must know of that."""

    title: str
    image: str
    data: str
    """Of `sets.SETS`."""
    source: str
    licence: str
    classes: dict[str, int]
    widths: tuple[int, ...]
    """Narrower than the plan's, so that the file is small."""
    minutes: float
    """CPU minutes of training."""
    unit: Literal["mm", "pixel"]
    """Return the unit of distances, "pixel" where the images have no physical spacing."""
    limits: str


SHIPPED = {
    "hippocampus": Shipped(
        title="Anterior and posterior hippocampus in T1-weighted MR",
        image="3D MR, T1-weighted, cropped around one hippocampus",
        data="hippocampus",
        source="Medical Segmentation Decathlon, task 4",
        licence="CC-BY-SA-4.0",
        classes={"background": 0, "anterior hippocampus": 1, "posterior hippocampus": 2},
        widths=(32, 64, 80),
        minutes=30,
        unit="mm",
        limits="Crops of about 35 x 50 x 35 mm around the hippocampus, in one orientation.\n"
        "A whole head must be cropped first: elsewhere in it the model may find structures that are none.",
    ),
    "fetal-head": Shipped(
        title="Fetal head in 2D ultrasound",
        image="2D ultrasound, grey, about 400 x 270 pixels",
        data="hc18",
        source="HC18 challenge (van den Heuvel et al. 2018), training images at half size",
        licence="CC-BY-4.0",
        classes={"background": 0, "head": 1},
        widths=(24, 48, 96, 128),
        minutes=10,
        unit="mm",
        limits="Standard planes that a sonographer chose for measuring the head, from one hospital. The\n"
        "reference is a filled ellipse fitted to the skull's outer edge, and so is what the model learnt.",
    ),
    "nuclei": Shipped(
        title="Nuclei in stained tissue sections",
        image="2D microscopy in colour (H&E-like)",
        data="dsb2018",
        source="Data Science Bowl 2018 (BBBC038), the stained sections",
        licence="CC0-1.0",
        classes={"background": 0, "nucleus": 1},
        widths=(24, 48, 96, 96, 96),
        minutes=10,
        unit="pixel",
        limits="Nuclei are one class: touching ones are not told apart. 54 images of a few stains and\n"
        "magnifications are little; a new stain needs training of your own.",
    ),
}


def card(shipped: Shipped, result: dict[str, Any]) -> str:
    """Markdown."""
    own, found, fitted = result["own"], result["calibration"], result["recalibration"]
    mean, (low, high) = own["mean"], own["dice_interval"]
    rows = "\n".join(f"| {name} | {dice:.3f} |" for name, dice in by_structure(own).items())
    near = f", {found['ece_near']:.4f} near the structures" if "ece_near" in found else ""
    return f"""\
# {shipped.title}

- Model: `ldseg` {result["preset"]} preset, widths {shipped.widths}, weights in half precision
- Image: {shipped.image}
- Data: {shipped.source}
- Split: {result["split"]}; drawn with seed 0 (`benchmarks/sets.py`)
- Training: {shipped.minutes:g} CPU minutes, {result["training_steps"]} steps, seed {result["seed"]},
  commit {_commits(result)}
- Licence of the weights: {shipped.licence}, that of the data; name the source when you share them

## Scores on the test cases

Default answer (one call): mean Dice {mean["dice"]:.3f}, 95 % interval over subjects {low:.3f} to {high:.3f};
HD95 {_hd95(mean):.2f} {shipped.unit}; NSD (border voxels) at 1 {shipped.unit} {mean["nsd"]:.3f}.
Mean of {result["posterior_samples"]} samples: mean Dice {result["posterior"]["dice"]:.3f}.

| structure | Dice |
| --- | ---: |
{rows}

## Calibration

Fitted on the validation cases: temperature {fitted["temperature"]:.2f} of the mean of samples,
{fitted["single_temperature"]:.2f} of the default answer. Of the mean of samples after it, on the test cases:
expected calibration error {found["ece"]:.4f} over all voxels{near};
{100 * found["interval_coverage"]:.0f} % of the true volumes lie in the 90 % intervals.

## Limits

{shipped.limits}
Not a medical device; not validated for clinical use.

## Reproduce

    {result["command"].removesuffix(" --keep-weights")}
"""


def _hd95(mean: dict[str, float]) -> float:
    """In mm or in pixels; early results call pixels mm."""
    return mean["hd95_px"] if "hd95_px" in mean else mean["hd95_mm"]


def _commits(result: dict[str, Any]) -> str:
    """Of the training and, where it was another, of the rest."""
    trained, scored = result["trained_at"], result["commit"]
    return trained if trained == scored else f"{trained}; calibrated and scored at {scored}"


def by_structure(own: dict[str, Any]) -> dict[str, float]:
    """Return the mean Dice of each structure over the cases."""
    cases = list(own["cases"].values())
    return {name: float(np.mean([case[name]["dice"] for case in cases])) for name in cases[0]}
