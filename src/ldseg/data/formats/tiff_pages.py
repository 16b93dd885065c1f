"""Select the image among a TIFF's pages: the one at full resolution, anywhere in the file.

Levels of a pyramid, pages flagged as reduced, and the label, macro and thumbnail images of
slide scanners are ignored. A file with several separate images is rejected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tifffile

from ldseg.data.formats.displayed import KNOWN_ORIENTATIONS, ORIENTATION, UPRIGHT
from ldseg.errors import file_error, listed

_SLIDES = ("svs", "ndpi", "scn", "bif", "philips", "qpi", "sis", "avs")
"""tifffile's series kinds of slide scanner files."""
_PYRAMIDS = (*_SLIDES, "ome")
"""Series kinds whose levels are smaller copies by definition."""
_BESIDE_SLIDE = ("label", "macro", "thumbnail", "map")
_BESIDE = ("label image", "macro image", "overview image")
"""Names of extra images in files of slide scanners, and in files converted from them."""
_SHAPE_ROUNDING = 2.0
"""Tolerance for the size of a smaller copy, in its pixels."""
_COLOURMAP = 320
_MUST_AGREE = ("shape", "dtype", "photometric", "compression", "predictor", "planarconfig", "bitspersample")
_ALONE = "save the one to use as a file of its own"


@dataclass(frozen=True)
class TiffImage:
    """The selected image of a TIFF."""

    series: Any
    """tifffile's series of its pages at full resolution."""
    page: Any
    """Its first page, with the tags shared by all."""
    orientation: int
    """Orientation tag, 1 to 8; see `displayed`."""
    notes: tuple[str, ...] = ()
    """Assumptions made; see `Volume.notes`."""


def select_image(file: tifffile.TiffFile, path: Path) -> TiffImage:
    """Return the image of an open file.

    Raises:
        ValueError: the file has no pages.
        InputError: there are several images, planes are missing, or the pages differ in kind.
    """
    levels = [
        level
        for series in file.series
        for level in (series.levels[:1] if series.kind in _PYRAMIDS else series.levels)
    ]
    if not levels:
        raise ValueError("it has no pages")
    whole = [level for level in levels if not (level.keyframe.is_reduced or level.keyframe.is_mask)]
    main: list[Any] = []
    for level in whole:  # a label, macro or thumbnail image is not the specimen
        name = str(level.name or "").lower()
        if name not in _BESIDE and not (level.kind in _SLIDES and name in _BESIDE_SLIDE):
            main.append(level)
    series, notes = _largest(main or whole or levels, path)
    if series.kind == "ome" and any(page is None for page in series.pages):
        raise file_error(
            path, "its OME metadata names planes that it does not hold", "save it whole in one file"
        )
    return TiffImage(series, series.keyframe, _orientation(series, path), notes)


def _largest(found: Sequence[Any], path: Path) -> tuple[Any, tuple[str, ...]]:
    """Return the largest image and notes. Raises InputError unless all others are smaller copies of it."""
    first = max(found, key=lambda level: level.keyframe.imagewidth * level.keyframe.imagelength)
    others = [level for level in found if level is not first]
    if not others:
        return first, ()
    sizes = [f"{level.keyframe.imagewidth} x {level.keyframe.imagelength}" for level in (first, *others)]
    if not all(_is_smaller_copy(level.keyframe, first.keyframe) for level in others):
        raise file_error(path, f"has {len(found)} images ({listed(sizes)} pixels)", _ALONE)
    taken = (
        f"of its {len(found)} images the largest was read ({sizes[0]} pixels), as if the others were copies"
    )
    return first, (taken,)


def _is_smaller_copy(small: Any, large: Any) -> bool:
    """Return whether `small` may be a copy of `large`: same aspect ratio and number of samples."""
    width, height = small.imagewidth, small.imagelength
    factor = large.imagewidth / width
    fits = abs(height * factor - large.imagelength) <= _SHAPE_ROUNDING * factor
    return factor > 1 and fits and small.samplesperpixel == large.samplesperpixel


def _orientation(series: Any, path: Path) -> int:
    """Return the orientation of all pages. Raises InputError if the pages differ in kind."""
    key = series.keyframe
    orientation, kind = _kind_of(key)
    for page in series.pages:
        if page is None or page is key or not page.offset:  # pages without tags of their own
            continue
        own_orientation, own_kind = _kind_of(page.aspage() if page.is_frame else page)
        if own_orientation != orientation:
            finding = (
                f"has pages of orientation {orientation} and of {own_orientation} (its Orientation tags)"
            )
            raise file_error(path, finding, "save each page upright, as a file of its own")
        if own_kind != kind:
            finding = "has pages of several kinds (size, colours, compression or palette)"
            raise file_error(path, finding, "save each page as a file of its own")
    return orientation


def _kind_of(page: Any) -> tuple[int, tuple[object, ...]]:
    """Return a page's orientation, and the other properties that all pages of an image must share."""
    orientation = page.tags.valueof(ORIENTATION, UPRIGHT)
    known = orientation if orientation in KNOWN_ORIENTATIONS else UPRIGHT
    colours = page.tags.valueof(_COLOURMAP)
    palette = None if colours is None else bytes(memoryview(colours))
    return int(known), (palette, *(getattr(page, name) for name in _MUST_AGREE))
