"""Read a 2D TIFF by regions: tiles or strips are decoded on demand, the last used ones are cached.

Regions refer to the image as displayed, as `tiff` reads it whole. The finest level of a pyramid is read.
Colours must be stored together (not plane by plane).

tifffile's zarr store could read the tiles. It keeps no decoded ones, so that a tile would be decoded again
for each of a prediction's overlapping regions. It also needs zarr 3, and with it Python 3.11.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ldseg.data.formats.displayed import apply_orientation, orientation_note, stored_region, swaps_axes
from ldseg.data.formats.dtypes import as_image
from ldseg.data.formats.tiff import grid_of_tiff, open_tiff
from ldseg.data.formats.tiff_check import check_chain, check_codec, check_page
from ldseg.data.formats.tiff_colours import as_displayed, channel_counts, colour_notes
from ldseg.data.formats.tiff_pages import select_image
from ldseg.data.formats.tiff_spacing import spacing_of
from ldseg.data.volume import Volume
from ldseg.errors import file_error, suppress_stderr, translate_errors

_CACHE_BYTES = 2**27  # of decoded segments
_LARGEST = 2**28  # bytes of one segment; more defeats reading by regions
_GRAY, _RGB = 1, 3
"""Numbers of channels."""
_RUN = 2**20  # bytes of contiguous rows read at once


class TiffRegions:
    """A 2D TIFF opened for reading by regions."""

    def __init__(self, path: Path, channels: int, spacing: Sequence[float] | None = None) -> None:
        """Open the image at `path`, which must have `channels`, not counting an opaque alpha channel.

        `spacing` (y, x) overrides that of the file.

        Raises:
            InputError: the file is damaged, has several pages, separate planes, a palette, one large block,
                or is rotated and not tiled.
        """
        self._path = path
        with translate_errors(path, "TIFF"):
            self._file = open_tiff(path)
            check_chain(self._file)
            tiff_image = select_image(self._file, path)
            self._page: Any = tiff_image.page
            self._orientation = tiff_image.orientation
            check_codec(self._page, path)
            self._check(len(tiff_image.series.pages), channels)
            said = spacing_of(self._file, tiff_image.series)
            self._rows, self._columns = self._segment_shape()
            check_page(self._page, self._page, path, path.stat().st_size)
        self._kept: OrderedDict[tuple[int, int], NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self.decoded = 0
        """Segments decoded so far."""
        grid, guessed = grid_of_tiff(said, "yx", tiff_image)
        steps = tuple(spacing or reversed(grid.spacing))
        shape = (self._page.imagelength, self._page.imagewidth)
        voxels = np.broadcast_to(
            np.float32(0), (channels, *(shape[::-1] if swaps_axes(self._orientation) else shape))
        )
        self.outline = Volume(
            voxels,
            steps,
            grid.origin,
            grid.direction,
            "yx",
            "image",
            stored=str(self._page.dtype.newbyteorder("=")),
            physical=grid.physical or spacing is not None,
            notes=(
                *tiff_image.notes,
                *orientation_note(self._orientation),
                *colour_notes(self._page),
                *(guessed if spacing is None else ()),
            ),
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, region: Sequence[slice]) -> NDArray[np.float32]:
        """Return the voxels (M, h, w) of `region` = (rows, columns). Raises InputError for damaged data."""
        down, across = stored_region(region, self.outline.shape, self._orientation)
        pieces = [
            np.concatenate([self._part(y, x, down, across) for x in _blocks(across, self._columns)], axis=1)
            for y in _blocks(down, self._rows)
        ]
        values = np.moveaxis(np.concatenate(pieces), -1, 0)
        wanted = len(self.outline.array)
        keep_unstated = wanted == max(channel_counts(self._page))
        shown = as_displayed(values, self._page, self._path, "image", keep_unstated)
        if len(shown) == _GRAY and wanted == _RGB:  # as `load_input` does for an image in memory
            shown = np.repeat(shown, _RGB, axis=0)
        elif len(shown) != wanted:
            finding = f"has {len(shown)} channels where {wanted} are expected"
            raise file_error(self._path, finding, f"convert it to {wanted} channels")
        return as_image(apply_orientation(shown, self._orientation), self._path)

    def _segment_shape(self) -> tuple[int, int]:
        """Return rows and columns read at once. Raises InputError for too many, ValueError for 0."""
        page = self._page
        row = max(1, page.imagewidth * page.samplesperpixel * page.dtype.itemsize)
        rows = page.tilelength if page.is_tiled else page.rowsperstrip
        rows = max(1, _RUN // row) if self._plain else rows
        columns = page.tilewidth if page.is_tiled else page.imagewidth
        if min(rows, columns, page.imagelength, page.imagewidth) <= 0:
            raise ValueError(
                f"its size is {page.imagewidth} x {page.imagelength}, in parts of {columns} x {rows}"
            )
        if rows * columns * page.samplesperpixel * page.dtype.itemsize > _LARGEST:
            raise file_error(self._path, "is one large block", "save it in tiles, e.g. of 512 x 512")
        return rows, columns

    @property
    def _plain(self) -> bool:
        """Return whether rows are stored contiguously without compression."""
        page = self._page
        return bool(page.is_contiguous) and page.compression == 1 and not page.is_tiled

    def _part(self, y: int, x: int, down: slice, across: slice) -> NDArray[Any]:
        """Return the part of a region inside a segment, (h, w, samples)."""
        segment = self._segment(y, x)
        top, left = y * self._rows, x * self._columns
        rows = slice(max(0, down.start - top), min(self._rows, down.stop - top))
        columns = slice(max(0, across.start - left), min(self._columns, across.stop - left))
        return segment[rows, columns]

    def _segment(self, y: int, x: int) -> NDArray[Any]:
        """Return a decoded segment (rows, columns, samples), from the cache if possible."""
        if (y, x) in self._kept:
            self._kept.move_to_end((y, x))
            return self._kept[y, x]
        with translate_errors(self._path, "TIFF"):
            made = self._read_rows(y) if self._plain else self._decode(y, x)
        self.decoded += 1
        self._kept[y, x] = made
        self._bytes += made.nbytes
        while self._bytes > _CACHE_BYTES and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return made

    def _read_rows(self, y: int) -> NDArray[Any]:
        """Return contiguous uncompressed rows of the file."""
        page = self._page
        first = y * self._rows
        count = min(self._rows, page.imagelength - first) * page.imagewidth * page.samplesperpixel
        handle = self._file.filehandle
        kind = page.dtype.newbyteorder(self._file.byteorder)
        handle.seek(page.dataoffsets[0] + first * page.imagewidth * page.samplesperpixel * kind.itemsize)
        found = handle.read_array(kind, count)
        return found.reshape(-1, page.imagewidth, page.samplesperpixel)

    def _decode(self, y: int, x: int) -> NDArray[Any]:
        page = self._page
        index = y * -(-page.imagewidth // self._columns) + x
        handle = self._file.filehandle
        handle.seek(page.dataoffsets[index])
        data = handle.read(page.databytecounts[index])
        with suppress_stderr():
            found, _, shape = page.decode(data, index, jpegtables=page.jpegtables)
        if found is None:  # a segment without data is empty by definition
            return np.full(shape[1:], page.nodata, dtype=page.dtype)
        return found[0]

    def _check(self, pages: int, wanted: int) -> None:
        """Raise InputError for files that cannot be read by regions with the same result as whole."""
        page, space = self._page, self._page.photometric
        finding, remedy = "", "save it as one tiled page with the colours of a pixel together"
        found = channel_counts(page)
        if pages != 1:
            finding = f"has {pages} pages"
        elif space == tifffile.PHOTOMETRIC.PALETTE:
            finding = "has colours in a palette"
        elif page.samplesperpixel > 1 and page.planarconfig != tifffile.PLANARCONFIG.CONTIG:
            finding = "has its colours in separate planes"
        elif swaps_axes(self._orientation) and not page.is_tiled:
            finding, remedy = "is on its side (Orientation tag) and in strips", "save it upright and in tiles"
        elif page.dtype.kind == "f" and space == tifffile.PHOTOMETRIC.MINISWHITE:
            finding, remedy = "stores white as 0 in fractions", "save it with black as 0 (BlackIsZero)"
        elif wanted not in found and (found, wanted) != ({_GRAY}, _RGB):
            finding = f"has {max(found)} channels where {wanted} are expected"
            remedy = f"convert it to {wanted} channels, or use a model that was trained on such images"
        if finding:
            raise file_error(self._path, finding, remedy)


def _blocks(along: slice, size: int) -> range:
    """Return the indices of the segments that a range of pixels overlaps."""
    return range(along.start // size, -(-along.stop // size))
