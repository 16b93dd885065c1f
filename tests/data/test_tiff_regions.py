"""Regions of a large TIFF are what the whole file has there, and nothing else of it is decoded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from ldseg.data.formats import read_volume
from ldseg.data.formats.tiff_regions import TiffRegions
from ldseg.data.formats.tiff_tiles import TiledTiffWriter
from ldseg.errors import InputError

FORMS: dict[str, dict[str, Any]] = {
    "tiles": {"tile": (64, 32), "compression": "zlib"},
    "plain tiles": {"tile": (32, 32)},
    "strips": {"rowsperstrip": 7, "compression": "zlib"},
    "one plain strip": {},
    "big-endian": {"byteorder": ">"},
    "predictor": {"tile": (64, 64), "compression": "zlib", "predictor": True},
}


def pixels(shape: tuple[int, ...], kind: str = "uint8") -> np.ndarray[Any, Any]:
    return np.random.default_rng(0).integers(0, 255, shape).astype(kind)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "kind, shape", [("uint8", (130, 201, 3)), ("uint16", (90, 301)), ("float32", (77, 65))]
)
def test_a_region_is_what_the_whole_file_has_there(
    tmp_path: Path, form: str, kind: str, shape: tuple[int, ...]
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, pixels(shape, kind), photometric="rgb" if len(shape) == 3 else "minisblack", **FORMS[form]
    )
    whole = read_volume(path, "image", "yx")
    regions = TiffRegions(path, len(whole.array))
    assert regions.outline.shape == whole.shape
    for rows, columns in (((0, 5), (0, 5)), ((30, 77), (20, 65)), ((0, shape[0]), (0, shape[1]))):
        part = regions.read((slice(*rows), slice(*columns)))
        np.testing.assert_array_equal(part, whole.array[:, slice(*rows), slice(*columns)])
    regions.close()


def test_only_what_a_region_touches_is_decoded_and_once(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels((640, 640, 3)), photometric="rgb", tile=(64, 64), compression="zlib")
    regions = TiffRegions(path, 3)
    regions.read((slice(100, 190), slice(0, 64)))
    assert regions.decoded == 2
    regions.read((slice(64, 128), slice(0, 65)))
    assert regions.decoded == 3


def test_decoded_parts_are_forgotten_beyond_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ldseg.data.formats.tiff_regions._CACHE_BYTES", 3 * 64 * 64)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels((640, 640)), tile=(64, 64), compression="zlib")
    regions = TiffRegions(path, 1)
    regions.read((slice(0, 640), slice(0, 640)))
    assert regions._bytes <= 3 * 64 * 64
    assert len(regions._kept) <= 3


def test_of_a_pyramid_the_finest_level_is_read(tmp_path: Path) -> None:
    path, fine = tmp_path / "a.tif", pixels((256, 192, 3))
    with tifffile.TiffWriter(path) as file:
        file.write(fine, subifds=2, photometric="rgb", tile=(64, 64))
        for step in (2, 4):
            file.write(fine[::step, ::step], subfiletype=1, photometric="rgb", tile=(64, 64))
    np.testing.assert_array_equal(
        TiffRegions(path, 3).read((slice(10, 200), slice(64, 180))), fine[10:200, 64:180].transpose(2, 0, 1)
    )


@pytest.mark.parametrize(
    "more, shape, message",
    [
        ({"photometric": "minisblack"}, (2, 64, 64), "has 2 pages"),
        ({"photometric": "rgb", "planarconfig": "separate"}, (3, 64, 64), "in separate planes"),
    ],
)
def test_what_cannot_be_read_by_regions_is_refused(
    tmp_path: Path, more: dict[str, Any], shape: tuple[int, ...], message: str
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels(shape), **more)
    with pytest.raises(InputError, match=rf"a\.tif: .*{message}.*; save it as one tiled page"):
        TiffRegions(tmp_path / "a.tif", 1)


@pytest.mark.parametrize("channels", [1, 2])
def test_other_channels_than_the_model_takes_are_refused(tmp_path: Path, channels: int) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels((64, 64, 3)), photometric="rgb")
    with pytest.raises(InputError, match=f"has 3 channels where {channels} are expected; convert it"):
        TiffRegions(tmp_path / "a.tif", channels)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_spool_comes_out_as_a_tiled_tiff(tmp_path: Path, channels: int) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels((700, 530)))
    outline = TiffRegions(tmp_path / "a.tif", 1, (0.5, 0.25)).outline
    values = np.random.default_rng(0).random((channels, 700, 530)).astype(np.float32)
    spool = TiledTiffWriter(tmp_path / "spool", channels, outline, np.dtype("float32"))
    spool.put((300, 0), values[:, 300:])
    for column in (0, 200, 400):
        spool.put((0, column), values[:, :300, column : column + 200])
    spool.write(tmp_path / "out.tif")
    spool.close()
    with tifffile.TiffFile(tmp_path / "out.tif") as file:
        assert file.pages.first.is_tiled
    found = read_volume(tmp_path / "out.tif", "image", "yx")
    np.testing.assert_array_equal(found.array, values)
    assert found.spacing == (0.5, 0.25)
