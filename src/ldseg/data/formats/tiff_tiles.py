"""Write a large 2D map as a tiled TIFF through a temporary file, without holding it in memory."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from ldseg.data.formats import write_with
from ldseg.data.formats.tiff import description
from ldseg.data.volume import Volume

_TILE = 512
_BUFFER = 2**24  # bytes of tiles that are compressed together
_BIG = 2**31  # bytes from which offsets need 64 bits


class TiledTiffWriter:
    """A writer that collects voxels (C, Y, X) of a map in a temporary file, then writes a tiled TIFF."""

    def __init__(self, path: Path, channels: int, outline: Volume, kind: np.dtype[Any]) -> None:
        """Create an empty map on the grid of `outline`; its voxels are collected in the file `path`."""
        self.shape, self.kind, self._outline = (channels, *outline.shape), kind, outline
        self._file = path.open("w+b")
        self._file.truncate(prod(self.shape) * kind.itemsize)

    def put(self, corner: tuple[int, int], part: NDArray[Any]) -> None:
        """Store the part (C, h, w) at `corner` (row, column)."""
        (top, left), (rows, columns) = corner, part.shape[1:]
        for channel, values in enumerate(np.ascontiguousarray(part, self.kind)):
            if columns == self.shape[2]:
                self._seek(channel, top, 0)
                self._file.write(values.tobytes())
                continue
            for row in range(rows):
                self._seek(channel, top + row, left)
                self._file.write(values[row].tobytes())

    def read(self, rows: range, columns: range) -> NDArray[Any]:
        """Return a part (C, rows, columns) of the stored voxels."""
        self._file.flush()
        voxels = np.memmap(self._file, self.kind, "r", shape=self.shape)
        return np.array(voxels[:, rows.start : rows.stop, columns.start : columns.stop])

    def write(self, path: Path) -> None:
        """Write the TIFF atomically. Raises InputError if it cannot be written."""
        self._file.flush()
        words = description(self._outline, self.shape[0])
        shape = self.shape if self.shape[0] > 1 else self.shape[1:]
        write_with(
            path,
            lambda staged: tifffile.imwrite(
                staged,
                self._tiles(),
                shape=shape,
                dtype=self.kind,
                tile=(_TILE, _TILE),
                photometric="minisblack",
                compression="zlib",
                bigtiff=prod(self.shape) * self.kind.itemsize > _BIG,
                maxworkers=1,
                buffersize=_BUFFER,
                **words,
            ),
        )

    def close(self) -> None:
        """Close the temporary file; the owner of its folder removes it."""
        self._file.close()

    def _tiles(self) -> Iterator[NDArray[Any]]:
        """Yield all tiles in TIFF order, channel by channel, padded with 0 beyond the edge."""
        channels, rows, columns = self.shape
        for channel in range(channels):
            for top in range(0, rows, _TILE):
                height = min(_TILE, rows - top)
                self._seek(channel, top, 0)
                band = np.frombuffer(self._file.read(height * columns * self.kind.itemsize), self.kind)
                for left in range(0, columns, _TILE):
                    part = band.reshape(height, columns)[:, left : left + _TILE]
                    tile = np.zeros((_TILE, _TILE), self.kind)
                    tile[: part.shape[0], : part.shape[1]] = part
                    yield tile

    def _seek(self, channel: int, row: int, column: int) -> None:
        _, rows, columns = self.shape
        self._file.seek(((channel * rows + row) * columns + column) * self.kind.itemsize)
