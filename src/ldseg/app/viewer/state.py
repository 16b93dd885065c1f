"""What the page is told: image, layers, volumes with their intervals, whether samples are being drawn."""

from __future__ import annotations

from typing import Any

from ldseg.app.report.palette import class_colour, css
from ldseg.app.viewer.layers import Layer, palette
from ldseg.app.viewer.nifti import downsample, downsampling_steps
from ldseg.app.viewer.session import Session
from ldseg.data.units import pretty
from ldseg.planning.orientation import orientation_of
from ldseg.preprocessing.orient import to_canonical


def describe(session: Session) -> dict[str, Any]:
    """Everything but the voxels, as JSON."""
    image, answer, plan = session.image, session.answer, session.plan
    layers = [*session.images.values(), *answer.layers.values()]
    return {
        "name": session.name,
        "axes": image.axes,
        "shape": image.shape,
        "spacing": image.spacing,
        "physical": image.physical,
        "start": _start(session),
        "unlike": tuple(dict.fromkeys((*session.unlike, *answer.findings.out_of_distribution))),
        "harmonised": session.harmonized,
        "notes": session.notes,
        "downsampled": max(downsampling_steps(image.shape, image.axes)),
        "samples": answer.samples,
        "more": session.more,
        "busy": session.busy,
        "problem": session.problem,
        "seed": session.seed,
        "steps": session.sampling.steps,
        "sampler": session.sampling.sampler,
        "confidence": answer.findings.confidence,
        "unit": pretty(answer.findings.volume_unit),
        "structures": _structures(session),
        "layers": [_layer(one) for one in layers],
        "palette": palette(plan),
    }


def _start(session: Session) -> list[int]:
    """Where to look first: along each axis, in canonical order, the slice with most of the structures; in
    voxels that are shown."""
    image = session.image
    labels = downsample(session.answer.layers["labels"].array, downsampling_steps(image.shape, image.axes))
    structures = to_canonical(labels[None] > 0, orientation_of(image))[0]
    if not structures.any():
        return [n // 2 for n in structures.shape]
    every = range(structures.ndim)
    areas = (structures.sum(axis=tuple(other for other in every if other != axis)) for axis in every)
    return [int(area.argmax()) for area in areas]


def _structures(session: Session) -> list[dict[str, Any]]:
    """Name, colour and size of each class but the background."""
    findings = session.answer.findings
    return [
        {
            "name": name,
            "colour": css(class_colour(k)),
            "volume": volume.mean,
            "low": volume.low,
            "high": volume.high,
            "dice": findings.pairwise_dice.get(name),
        }
        for k, (name, volume) in enumerate(findings.volumes.items())
    ]


def _layer(layer: Layer) -> dict[str, Any]:
    keys = ("name", "group", "title", "colours", "low", "high", "index")
    return {key: getattr(layer, key) for key in keys}
