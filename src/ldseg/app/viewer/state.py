"""State of a case as JSON: image, layers, volumes with their intervals, progress of sampling."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np

from ldseg.app.report.palette import class_color, css, reference_color
from ldseg.app.viewer.layers import palette
from ldseg.app.viewer.nifti import downsample, downsampling_steps
from ldseg.app.viewer.session import Session
from ldseg.data.units import pretty, voxel_size
from ldseg.planning.orientation import orientation_of
from ldseg.preprocessing.orient import to_canonical

_LAYER_KEYS = ("name", "group", "title", "colors", "low", "high", "index")


def describe(session: Session) -> dict[str, Any]:
    """Return everything but the voxels as JSON values; null for numbers that are not known."""
    image, prediction, plan = session.image, session.prediction, session.plan
    sampling, findings = prediction.sampling, prediction.findings
    return {
        "name": session.name,
        "axes": image.axes,
        "shape": image.shape,
        "spacing": image.spacing,
        "physical": image.physical,
        "start": _start(session),
        "unlike": findings.out_of_distribution,
        "harmonized": findings.harmonized,
        "notes": findings.notes,
        "downsampled": max(downsampling_steps(image.shape, image.axes)),
        "samples": prediction.samples,
        "more": session.more,
        "busy": session.busy,
        "problem": session.problem,
        "seed": prediction.seed,
        "steps": None if sampling is None else sampling.steps,
        "sampler": None if sampling is None else sampling.sampler,
        "confidence": _known(findings.confidence),
        "unit": pretty(findings.volume_unit),
        "raters": len(session.references),
        "structures": _structures(session),
        "layers": [{key: getattr(one, key) for key in _LAYER_KEYS} for one in session.layers.values()],
        "palette": palette(plan),
    }


def _known(number: float | None) -> float | None:
    """Return the number, None for one that is not finite, which JSON does not have."""
    return number if number is not None and isfinite(number) else None


def _start(session: Session) -> list[int]:
    """Return the initial slice along each axis: the one with the most foreground.

    Axes are in canonical order; indices count the voxels that are shown.
    """
    image = session.image
    steps = downsampling_steps(image.shape, image.axes)
    labels = downsample(session.prediction.layers["labels"].array, steps)
    structures = to_canonical(labels[None] > 0, orientation_of(image))[0]
    if not structures.any():
        return [n // 2 for n in structures.shape]
    every = range(structures.ndim)
    areas = (structures.sum(axis=tuple(other for other in every if other != axis)) for axis in every)
    return [int(area.argmax()) for area in areas]


def _structures(session: Session) -> list[dict[str, Any]]:
    """Return name, colors, volume, and agreement with the reference of each class except the background."""
    findings, image = session.prediction.findings, session.image
    voxel, dice = voxel_size(image.axes, image.spacing), session.reference_dice
    return [
        {
            "name": name,
            "color": css(class_color(k)),
            "reference_color": css(reference_color(k)),
            "volume": _known(volume.mean),
            "low": _known(volume.low),
            "high": _known(volume.high),
            "dice": findings.pairwise_dice.get(name),
            "reference": [int(np.count_nonzero(mask == k + 1)) * voxel for mask in session.references],
            "reference_dice": _known(dice.get(name)),
        }
        for k, (name, volume) in enumerate(findings.volumes.items())
    ]
