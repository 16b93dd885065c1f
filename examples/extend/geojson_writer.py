"""An output writer: outlines of the structures of a 2D image as GeoJSON, which QuPath and others open."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from contourpy import contour_generator
from numpy.typing import NDArray

from ldseg.data.volume import Volume
from ldseg.errors import file_error
from ldseg.inference.output_writers.base import OutputWriter
from ldseg.planning.plan import Plan

Ring = list[list[float]]


class GeoJsonWriter(OutputWriter):
    """Writes a polygon for each connected part of a class, in pixels from the image's upper left corner."""

    label_ending, number_ending = ".geojson", None

    def __init__(self, plan: Plan) -> None:
        self.structures = list(plan.classes.items())[1:]  # without the background

    def check(self, image: Volume, source: Path) -> None:
        if image.axes != "yx":
            raise file_error(source, "is not a 2D image", "leave out --format")

    def write(self, path: Path, volume: Volume) -> None:
        features: list[dict[str, Any]] = []
        for name, id_ in self.structures:
            for rings in outlines(volume.array[0] == id_):
                geometry = {"type": "Polygon", "coordinates": rings}
                properties = {"objectType": "annotation", "classification": {"name": name}}
                features.append({"type": "Feature", "geometry": geometry, "properties": properties})
        content = json.dumps({"type": "FeatureCollection", "features": features})
        path.write_text(content, encoding="utf-8")


def outlines(mask: NDArray[np.bool_]) -> list[list[Ring]]:
    """Return for each part of a mask (Y, X) its outline and those of its holes, closed rings of (x, y)."""
    padded = np.pad(mask, 1).astype(np.float64)  # so that parts at the border are closed
    found = contour_generator(z=padded, fill_type="OuterOffset").filled(0.5, 2.0)
    return [
        [(points[a:b] - 0.5).tolist() for a, b in pairwise(offsets.tolist())]
        for points, offsets in zip(*found, strict=True)
    ]
