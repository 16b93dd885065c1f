"""A 2D TIFF read by regions: tiles or strips are decoded as they are needed, the last ones used are kept.

Of a pyramid the finest level is read. Colours must be stored together (not plane by plane).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ldseg.data.faults import decoding, file_error
from ldseg.data.formats.raster import without_alpha
from ldseg.data.formats.tiff import open_tiff, spacing_of_file
from ldseg.data.formats.tiff_check import check_chain, check_page
from ldseg.data.formats.voxels import as_image
from ldseg.data.volumes import Volume

_KEPT = 2**27  # bytes of decoded segments
_LARGEST = 2**28  # bytes of one segment; more is no reading by regions
_RUN = 2**20  # bytes of rows read at once where they lie one after the other


class TiffRegions:
    """Open until closed."""

    def __init__(self, path: Path, channels: int, spacing: Sequence[float] | None = None) -> None:
        """The image at `path`, which must have `channels`; an opaque alpha channel does not count.

        `spacing` (y, x) takes the place of what the file says.

        Raises:
            InputError: it is damaged, several pages, in separate planes or in a palette, or one large block.
        """
        self._path = path
        with decoding(path, "TIFF"):
            self._file = open_tiff(path)
            check_chain(self._file)
            series = self._file.series[0].levels[0]
            self._page: Any = series.keyframe
            self._check(len(series.pages), int(self._page.samplesperpixel), channels)
            said = spacing_of_file(self._file)
            self._rows, self._columns = self._segment_shape()
            check_page(self._page, self._page, path, path.stat().st_size)
        page = self._page
        self._kept: OrderedDict[tuple[int, int], NDArray[Any]] = OrderedDict()
        self._bytes = 0
        self.decoded = 0
        """Segments decoded so far."""
        shape = (page.imagelength, page.imagewidth)
        voxels = np.broadcast_to(np.float32(0), (channels, *shape))
        steps = tuple(spacing or (said.get("y", 1.0), said.get("x", 1.0)))
        physical = spacing is not None or {"y", "x"} <= set(said)
        self.outline = Volume(
            voxels, steps, (0.0, 0.0), (1.0, 0.0, 0.0, 1.0), "yx", "image", physical=physical
        )

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def read(self, region: Sequence[slice]) -> NDArray[np.float32]:
        """The voxels (M, h, w) of `region` = (rows, columns). Raises InputError: damaged."""
        down, across = region
        pieces = [
            np.concatenate([self._part(y, x, down, across) for x in _blocks(across, self._columns)], axis=1)
            for y in _blocks(down, self._rows)
        ]
        values = np.moveaxis(np.concatenate(pieces), -1, 0)
        return as_image(without_alpha(values, self._path), self._path)

    def _segment_shape(self) -> tuple[int, int]:
        """Rows and columns of what is read at once. Raises InputError when that is too much."""
        page = self._page
        row = page.imagewidth * page.samplesperpixel * page.dtype.itemsize
        rows = page.tilelength if page.is_tiled else page.rowsperstrip
        rows = max(1, _RUN // row) if self._plain else rows
        columns = page.tilewidth if page.is_tiled else page.imagewidth
        if rows * columns * page.samplesperpixel * page.dtype.itemsize > _LARGEST:
            raise file_error(self._path, "is one large block", "save it in tiles, e.g. of 512 x 512")
        return rows, columns

    @property
    def _plain(self) -> bool:
        """Whether rows lie one behind the other as they are."""
        page = self._page
        return bool(page.is_contiguous) and page.compression == 1 and not page.is_tiled

    def _part(self, y: int, x: int, down: slice, across: slice) -> NDArray[Any]:
        """What a segment has of a region, (h, w, samples)."""
        segment = self._segment(y, x)
        top, left = y * self._rows, x * self._columns
        rows = slice(max(0, down.start - top), min(self._rows, down.stop - top))
        columns = slice(max(0, across.start - left), min(self._columns, across.stop - left))
        return segment[rows, columns]

    def _segment(self, y: int, x: int) -> NDArray[Any]:
        """A decoded segment (rows, columns, samples), from those kept if it is there."""
        if (y, x) in self._kept:
            self._kept.move_to_end((y, x))
            return self._kept[y, x]
        with decoding(self._path, "TIFF"):
            made = self._read_rows(y) if self._plain else self._decode(y, x)
        self.decoded += 1
        self._kept[y, x] = made
        self._bytes += made.nbytes
        while self._bytes > _KEPT and len(self._kept) > 1:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes
        return made

    def _read_rows(self, y: int) -> NDArray[Any]:
        """Rows that lie in the file as they are."""
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
        try:
            found, _, shape = page.decode(data, index, jpegtables=page.jpegtables)
        except ValueError as problem:
            if "imagecodecs" not in str(problem):
                raise
            remedy = 'install it (pip install "ldseg[tiff]"), or save the image with deflate compression'
            raise file_error(
                self._path,
                f"is compressed with {page.compression.name}, for which imagecodecs is missing",
                remedy,
            ) from problem
        if found is None:  # a segment without data is empty by definition
            return np.full(shape[1:], page.nodata, dtype=page.dtype)
        return found[0]

    def _check(self, pages: int, stored: int, wanted: int) -> None:
        page, photometric = self._page, self._page.photometric
        alpha = 1 if stored in (2, 4) and stored == wanted + 1 else 0
        finding = ""
        if pages != 1:
            finding = f"has {pages} pages"
        elif photometric == tifffile.PHOTOMETRIC.PALETTE:
            finding = "has colours in a palette"
        elif stored > 1 and page.planarconfig != tifffile.PLANARCONFIG.CONTIG:
            finding = "has its colours in separate planes"
        elif stored - alpha != wanted:
            finding = f"has {stored} channels where {wanted} are expected"
        if finding:
            raise file_error(
                self._path, finding, "save it as one tiled page with the colours of a pixel together"
            )


def _blocks(along: slice, size: int) -> range:
    """Numbers of the segments that a run of pixels touches."""
    return range(along.start // size, -(-along.stop // size))
