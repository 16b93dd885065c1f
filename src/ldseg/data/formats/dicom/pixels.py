"""Decode the voxels of a stack, in colour or gray, with slope and intercept applied."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ldseg.data.formats.dicom.frames import Frame
from ldseg.data.formats.dicom.lazy_import import lazy_import, read_dataset, translate_dicom_errors
from ldseg.errors import file_error, first_line

_DECODERS = dict.fromkeys(
    ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203"),
    "pylibjpeg pylibjpeg-openjpeg",
)
"""Packages that decode transfer syntaxes unsupported by python-gdcm."""


def read_pixels(frames: Sequence[Frame]) -> NDArray[Any]:
    """Return the voxels (M, N, Y, X) of N frames, as the file's integers if unscaled, else as float32.

    Raises InputError when a file is truncated, compressed in an unsupported way, or differs from the
    others.
    """
    plain = all((frame.slope, frame.intercept) == (1.0, 0.0) for frame in frames)
    array: NDArray[Any] | None = None
    for place, (frame, stored) in enumerate(_decoded(frames)):
        values = stored if plain else stored * np.float64(frame.slope) + np.float64(frame.intercept)
        if array is None:
            kind = values.dtype if plain else np.dtype(np.float32)
            array = np.empty((len(values), len(frames), *values.shape[1:]), kind)
        if (len(array), *array.shape[2:]) != values.shape or (plain and array.dtype != values.dtype):
            finding = f"holds {values.dtype} {values.shape} where {frames[0].file.name} has {array.dtype}"
            raise file_error(frame.file, finding, "export the series again")
        array[:, place] = values
    if array is None:
        raise ValueError("a stack without frames")
    return array


def _decoded(frames: Sequence[Frame]) -> Iterator[tuple[Frame, NDArray[Any]]]:
    """Yield each frame with its stored values (M, Y, X); consecutive frames of a file open it once."""
    for file, together in groupby(frames, key=lambda frame: frame.file):
        own = list(together)
        dataset = read_dataset(file, pixels=True)
        with translate_dicom_errors(file):
            _refuse_unclear(dataset, own[0])
            for frame, stored in zip(own, _stored(dataset, own), strict=True):
                yield frame, _channels_first(stored, dataset)


def _channels_first(stored: NDArray[Any], dataset: Any) -> NDArray[Any]:
    """Return (M, Y, X) with palette, modality table and inversion of MONOCHROME1 applied."""
    pixels = lazy_import("pydicom.pixels")
    photometric = str(dataset.PhotometricInterpretation)
    if photometric == "PALETTE COLOR":
        stored = pixels.apply_color_lut(stored, dataset)[..., :3]
    if photometric == "MONOCHROME1":
        signed, bits = bool(dataset.PixelRepresentation), int(dataset.BitsStored)
        total = -1 if signed else (1 << bits) - 1  # sum of the lowest and the highest value
        stored = (total - stored.astype(np.int64)).astype(stored.dtype)
    if "ModalityLUTSequence" in dataset:
        stored = pixels.apply_modality_lut(stored, dataset)
    return stored[None] if stored.ndim == 2 else np.moveaxis(stored, -1, 0)


def _refuse_unclear(dataset: Any, frame: Frame) -> None:
    """Raise InputError for pixels that would be decoded wrongly or cannot be decoded."""
    if not any(name in dataset for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise file_error(frame.file, "has no pixels", "export it again")
    if frame.slope == 0:
        finding = "has a RescaleSlope of 0, which makes all its voxels equal"
        raise file_error(frame.file, finding, "export it again")
    stored, high = dataset.get("BitsStored"), dataset.get("HighBit")
    if "PixelData" in dataset and None not in (stored, high) and high != stored - 1:
        finding = f"has {stored} bits stored and HighBit {high}, so that it is not clear which bits they are"
        raise file_error(frame.file, finding, "export it again, or convert it to NIfTI")
    _refuse_unknown_compression(dataset.file_meta.TransferSyntaxUID, frame)
    _refuse_other_length(dataset, frame)


def _refuse_other_length(dataset: Any, frame: Frame) -> None:
    """Raise InputError for pixels that are compressed against the header, or are more than it declares."""
    if "PixelData" not in dataset or dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    if dataset["PixelData"].is_undefined_length:
        raise file_error(frame.file, "has compressed pixels and does not say how", "save it uncompressed")
    names = ("Rows", "Columns", "SamplesPerPixel", "BitsAllocated")
    bits = math.prod(int(dataset.get(name) or 0) for name in names)
    frames, found = int(dataset.get("NumberOfFrames") or 1), len(dataset.PixelData or b"")
    if bits and 8 * found >= bits * (frames + 1):
        finding = f"has {found} bytes of pixels where its header describes {bits * frames // 8}"
        raise file_error(frame.file, finding, "export it again")


def _refuse_unknown_compression(syntax: Any, frame: Frame) -> None:
    """Raise InputError that names the missing decoder, in place of the library's long message."""
    if not syntax.is_compressed or not syntax.is_encapsulated:
        return
    try:
        available = lazy_import("pydicom.pixels").get_decoder(syntax).is_available
        remedy = f"install one (pip install {_DECODERS.get(syntax, 'python-gdcm')}), or save it uncompressed"
    except NotImplementedError:
        available, remedy = False, "export its frames uncompressed"
    if not available:
        finding = f"is compressed as {syntax.name}, for which there is no decoder here"
        raise file_error(frame.file, finding, remedy)


def _stored(dataset: Any, frames: Sequence[Frame]) -> Iterator[NDArray[Any]]:
    """Yield the decoded frames of one file. Raises FileError if a decoder fails."""
    decoded = lazy_import("pydicom.pixels").iter_pixels(dataset, indices=[frame.index for frame in frames])
    try:
        yield from decoded
    except RuntimeError as problem:  # raised by pydicom if all decoders failed
        reasons = [line.strip() for line in str(problem).splitlines() if line.strip()]
        syntax = dataset.file_meta.TransferSyntaxUID.name
        finding = f"its pixels cannot be decoded as {syntax} ({first_line(ValueError(reasons[-1]))})"
        raise file_error(frames[0].file, finding, "save it uncompressed, or export it again") from problem
