"""State of the viewer as JSON: image, layers, volumes with their intervals, progress of sampling."""

from __future__ import annotations

from typing import Any

from ldseg.app.report.palette import class_color, css
from ldseg.app.viewer.layers import palette
from ldseg.app.viewer.nifti import downsample, downsampling_steps
from ldseg.app.viewer.session import Session
from ldseg.data.units import pretty
from ldseg.planning.orientation import orientation_of
from ldseg.preprocessing.orient import to_canonical

_LAYER_KEYS = ("name", "group", "title", "colors", "low", "high", "index")


def describe(session: Session) -> dict[str, Any]:
    """Return everything but the voxels as JSON values."""
    image, prediction, plan = session.image, session.prediction, session.plan
    layers = [*session.images.values(), *prediction.layers.values()]
    return {
        "name": session.name,
        "axes": image.axes,
        "shape": image.shape,
        "spacing": image.spacing,
        "physical": image.physical,
        "start": _start(session),
        "unlike": prediction.findings.out_of_distribution,
        "harmonized": prediction.findings.harmonized,
        "notes": prediction.findings.notes,
        "downsampled": max(downsampling_steps(image.shape, image.axes)),
        "samples": prediction.samples,
        "more": session.more,
        "busy": session.busy,
        "problem": session.problem,
        "seed": session.seed,
        "steps": session.sampling.steps,
        "sampler": session.sampling.sampler,
        "confidence": prediction.findings.confidence,
        "unit": pretty(prediction.findings.volume_unit),
        "structures": _structures(session),
        "layers": [{key: getattr(one, key) for key in _LAYER_KEYS} for one in layers],
        "palette": palette(plan),
    }


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
    """Return name, color and volume of each class except the background."""
    findings = session.prediction.findings
    return [
        {
            "name": name,
            "color": css(class_color(k)),
            "volume": volume.mean,
            "low": volume.low,
            "high": volume.high,
            "dice": findings.pairwise_dice.get(name),
        }
        for k, (name, volume) in enumerate(findings.volumes.items())
    ]
