"""Read the spacing in a TIFF's ImageJ or OME metadata; bare resolution tags concern printing."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import tifffile

_MICROMETRE_NAMES = ("um", "µm", "μm", "\\u00b5m", "micron", "microns")
_MILLIMETRES = {"mm": 1.0, "cm": 10.0, "m": 1e3, "nm": 1e-6} | dict.fromkeys(_MICROMETRE_NAMES, 1e-3)
_SECONDS = {"s": 1.0, "ms": 1e-3, "min": 60.0}


def spacing_of(file: tifffile.TiffFile, series: Any) -> dict[str, float]:
    """Return the known steps of the image `series` by axis letter (z, y, x in mm, t in s)."""
    if file.is_ome and file.ome_metadata:
        return _from_ome(file.ome_metadata, series)
    if file.is_imagej and file.imagej_metadata:
        return _from_imagej(file)
    return {}


def _from_ome(text: str, series: Any) -> dict[str, float]:
    """Return the steps in OME-XML, whose default unit of length is the micrometre."""
    pixels = _pixels_of(ElementTree.fromstring(text), series)
    if pixels is None:
        return {}
    found: dict[str, float] = {}
    for letter in "zyx":
        value = pixels.get(f"PhysicalSize{letter.upper()}")
        factor = _MILLIMETRES.get(pixels.get(f"PhysicalSize{letter.upper()}Unit", "µm"))
        if value is not None and factor is not None and float(value) > 0:
            found[letter] = float(value) * factor
    step, unit = pixels.get("TimeIncrement"), _SECONDS.get(pixels.get("TimeIncrementUnit", "s"))
    if step is not None and unit is not None and float(step) > 0:
        found["t"] = float(step) * unit
    return found


def _pixels_of(root: ElementTree.Element, series: Any) -> ElementTree.Element | None:
    """Return OME-XML's Pixels element of the image `series`, by name and size, else by size, or None."""
    size = (str(series.keyframe.imagewidth), str(series.keyframe.imagelength))
    fitting = [
        (image.get("Name"), pixels)
        for image in root.iter()
        if image.tag.endswith("}Image")
        for pixels in image
        if pixels.tag.endswith("}Pixels") and (pixels.get("SizeX"), pixels.get("SizeY")) == size
    ]
    named = [pixels for name, pixels in fitting if name == series.name]
    return next(iter(named or [pixels for _, pixels in fitting]), None)


def _from_imagej(file: tifffile.TiffFile) -> dict[str, float]:
    """Return the steps in ImageJ's metadata; x and y are in the resolution tags, as pixels per unit."""
    metadata: dict[str, Any] = file.imagej_metadata or {}
    factor = _MILLIMETRES.get(str(metadata.get("unit", "")).lower())
    found: dict[str, float] = {}
    if float(metadata.get("finterval", 0) or 0) > 0:
        found["t"] = float(metadata["finterval"])
    if factor is None:
        return found
    for letter, name in (("x", "XResolution"), ("y", "YResolution")):
        tag = file.pages.first.tags.get(name)
        if tag is not None and tag.value[0] > 0:
            found[letter] = tag.value[1] / tag.value[0] * factor
    if float(metadata.get("spacing", 0) or 0) > 0:
        found["z"] = float(metadata["spacing"]) * factor
    return found
