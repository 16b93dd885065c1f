"""Sound files of every format, small and different from number to number: what the damage is done to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import SimpleITK as sitk
import tifffile
from dicom_builders import a_series
from PIL import Image
from volume_builders import plain, volume

from ldseg.data.formats import write_volume
from ldseg.data.volume import Axes

SHAPE = (6, 16, 20)
"""Slices, rows, columns; pictures have the last two."""


@dataclass(frozen=True)
class Kind:
    """A format as the suite counts it."""

    ending: str
    """Of the file; "" for a folder."""
    axes: Axes
    write: Callable[[Path, int], None]
    """Make the file (or folder) at a path; the number makes variants."""
    may_be_mask: bool = True


def _nifti(path: Path, number: int) -> None:
    kind = (np.int16, np.float32, np.uint8, np.float64)[number % 4]
    make = nib.Nifti2Image if number % 5 == 4 else nib.Nifti1Image
    header = None if number % 5 == 4 else nib.Nifti1Header(endianness=">" if number % 3 == 0 else "<")
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(volume(seed=number).direction, (3, 3)) * (0.7, 1.1, 2.5)
    image = make(_voxels(number).T.astype(kind), matrix, header)
    if kind is np.int16:
        image.header.set_slope_inter(0.5, -10)
    nib.save(image, path)


def _itk(path: Path, number: int) -> None:
    image = sitk.GetImageFromArray(_voxels(number).astype((np.int16, np.float32, np.uint8)[number % 3]))
    given = volume(seed=number)
    image.SetSpacing(given.spacing)
    image.SetOrigin(given.origin)
    image.SetDirection(given.direction)
    sitk.WriteImage(image, str(path), useCompression=number % 2 == 0)


def _picture(path: Path, number: int) -> None:
    pixels = Image.fromarray(_voxels(number)[0].astype(np.uint8))
    if path.suffix != ".jpg" and number % 3 == 1:
        pixels = pixels.convert("P")
    pixels.save(path)


def _tiff(path: Path, number: int) -> None:
    voxels = _voxels(number).astype(np.uint8)
    if number % 4 == 3:
        pages = [Image.fromarray(page) for page in voxels]
        pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_lzw")
        return
    tile = (16, 16) if number % 2 else None
    compression = "zlib" if number % 4 == 1 else None
    tifffile.imwrite(path, voxels, photometric="minisblack", tile=tile, compression=compression)


def _ome_tiff(path: Path, number: int) -> None:
    spaced = replace(plain("yx", "image"), array=_voxels(number)[None, 0], spacing=(0.5, 0.25))
    write_volume(path, spaced)


def _pyramid(path: Path, number: int) -> None:
    pixels = _voxels(number, (64, 64)).astype(np.uint8)
    words = {"photometric": "minisblack", "tile": (16, 16), "compression": "zlib" if number % 2 else None}
    with tifffile.TiffWriter(path) as file:
        file.write(pixels, subifds=1, **words)
        file.write(pixels[::2, ::2], subfiletype=1, **words)


def _dicom(path: Path, number: int) -> None:
    a_series(path, _voxels(number).astype(np.int16), series=f"series {number}")


def _voxels(number: int, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    """A few whole numbers in blocks, so that it can be a mask and compresses a little."""
    rng = np.random.default_rng(number)
    return np.kron(rng.integers(0, 4, [n // 2 for n in shape]), np.ones([2] * len(shape), int))


KINDS: dict[str, Kind] = {
    "nifti": Kind(".nii", "zyx", _nifti),
    "nifti_gz": Kind(".nii.gz", "zyx", _nifti),
    "mha": Kind(".mha", "zyx", _itk),
    "mhd": Kind(".mhd", "zyx", _itk),
    "nrrd": Kind(".nrrd", "zyx", _itk),
    "png": Kind(".png", "yx", _picture),
    "bmp": Kind(".bmp", "yx", _picture),
    "jpeg": Kind(".jpg", "yx", _picture, may_be_mask=False),
    "tiff": Kind(".tif", "zyx", _tiff),
    "ome_tiff": Kind(".ome.tif", "yx", _ome_tiff),
    "tiff_pyramid": Kind(".tiff", "yx", _pyramid),
    "dicom": Kind("", "zyx", _dicom, may_be_mask=False),
}
