"""Files that look like images and are passed over: which they are, why, and what helps.

What is read is the business of `ldseg.data.formats`: a kind that has a reader there does not count here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from ldseg.data.formats import all_endings, is_volume
from ldseg.errors import listed

_PNG, _NIFTI, _TIFF = "convert to PNG", "convert to .nii.gz", "convert to .tif"
_ARRAY = "save the array as .nii.gz, .tif or .png"
_FILM = "save the frames as .tif or .nii.gz"
_KINDS: tuple[tuple[str, str, str], ...] = (
    (".webp", "WebP", _PNG),
    (".gif", "GIF", _PNG),
    (".heic .heif", "HEIC", _PNG),
    (".avif", "AVIF", _PNG),
    (".jp2 .j2k .jpx .jpf", "JPEG 2000", _PNG),
    (".jxl", "JPEG XL", _PNG),
    (".jfif .jpe", "JPEG", "rename to .jpg"),
    (".dib", "BMP", "rename to .bmp"),
    (".ppm .pgm .pbm .pnm .pfm", "PNM", _PNG),
    (".tga", "TGA", _PNG),
    (".pcx", "PCX", _PNG),
    (".ras .sun", "Sun raster", _PNG),
    (".psd", "Photoshop", _PNG),
    (".xcf", "GIMP", _PNG),
    (".exr", "OpenEXR", _TIFF),
    (".btf .tf2 .tf8", "BigTIFF", "rename to .tif"),
    (".svs", "Aperio SVS", _TIFF),
    (".ndpi", "Hamamatsu NDPI", _TIFF),
    (".mrxs", "MIRAX", _TIFF),
    (".scn", "Leica SCN", _TIFF),
    (".bif", "Ventana BIF", _TIFF),
    (".vsi .oir .oib .oif", "Olympus", _TIFF),
    (".czi", "Zeiss CZI", _TIFF),
    (".lif", "Leica LIF", _TIFF),
    (".nd2", "Nikon ND2", _TIFF),
    (".lsm .stk", "microscope TIFF", "rename to .tif"),
    (".npy .npz", "NumPy", _ARRAY),
    (".mat", "MATLAB", _ARRAY),
    (".h5 .hdf5 .he5", "HDF5", _ARRAY),
    (".zarr", "Zarr", _ARRAY),
    (".img", "data without its header .hdr", "add the header, or convert to .nii.gz"),
    (".nii.bz2 .nii.xz .nii.zst .nii.zip", "compressed NIfTI", _NIFTI),
    (".mnc .mnc2", "MINC", _NIFTI),
    (".nhdr", "NRRD with its data apart", "convert to .nrrd"),
    (".nrrd.gz .mha.gz .mhd.gz", "compressed a second time", "unpack with gunzip"),
    (".par .rec", "Philips PAR/REC", _NIFTI),
    (".head .brik .brik.gz", "AFNI", _NIFTI),
    (".vtk .vti", "VTK", _NIFTI),
    (".gipl .gipl.gz", "GIPL", _NIFTI),
    (".ima", "DICOM by its name", "rename to .dcm"),
    (".avi .mp4 .mov .mkv .webm .wmv .m4v", "a video", _FILM),
)
_HEADERS = {".img": ".hdr", ".raw": ".mhd", ".zraw": ".mhd", ".rec": ".par", ".brik": ".head"}
_BY_ENDING = {end: (kind, remedy) for ends, kind, remedy in _KINDS for end in ends.split()}


OnRemark = Callable[[str], None]
"""Takes a sentence for the user."""


def ignore_remark(text: str) -> None:
    """Say nothing."""
    del text


@dataclass(frozen=True)
class Unread:
    """A file or folder that looks like an image and is passed over."""

    path: Path
    kind: str
    """What it is, as in "is WebP, which is not read"."""
    remedy: str

    def sentence(self) -> str:
        """Say what the file is."""
        return f"{self.path.parent.name}/{self.path.name} is {self.kind}, which is not read"


def unread_in(folder: Path, folders: bool = True) -> tuple[Unread, ...]:
    """Return what looks like an image directly in `folder` and is not read, ascending by name.

    Hidden files and small companions (.txt, .json, .csv, Thumbs.db) are no images. With `folders`,
    sub-folders count where they are empty, cannot be opened, or hold images that are not DICOM.
    """
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError:
        return ()  # whoever lists the folder says so
    found = (
        _look(path, folders) for path in entries if not path.name.startswith(".") and not is_volume(path)
    )
    return tuple(one for one in found if one is not None)


def header_of(path: Path) -> Path:
    """Return the header beside a file that holds its data alone; `path` itself where there is none."""
    end = _HEADERS.get(path.suffix.lower())
    headers = () if end is None else (path.with_suffix(one) for one in (end, end.upper()))
    return next((header for header in headers if header.exists()), path)


def describe_unread(unread: Iterable[Unread]) -> tuple[str, ...]:
    """Return a remark for each kind: how many were passed over, which, and what helps."""
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for one in unread:
        groups[one.kind, one.remedy].append(one.path)
    return tuple(
        f"passed over: {len(paths)} that {'is' if len(paths) == 1 else 'are'} {kind}, which is not read "
        f"({listed([f'{path.parent.name}/{path.name}' for path in paths], 3)}); {remedy}"
        for (kind, remedy), paths in groups.items()
    )


def _look(path: Path, folders: bool) -> Unread | None:
    """The entry of a folder, when it looks like an image; it is known not to be read."""
    name = path.name.lower()
    for end, (kind, remedy) in _BY_ENDING.items():
        if name.endswith(end) and end not in all_endings():
            return None if _is_half(path) else Unread(path, kind, remedy)
    if path.is_symlink() and not path.exists():
        return Unread(path, "a link to nowhere", "fetch its target, or remove the link")
    return _look_into(path) if folders and path.is_dir() else None


def _look_into(folder: Path) -> Unread | None:
    """A sub-folder that might be a case; it is no DICOM series."""
    try:
        inside = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError as problem:
        return Unread(folder, f"a folder that cannot be opened ({problem.strerror})", "check its rights")
    if not inside:
        return Unread(folder, "an empty folder", "fill it with its DICOM series, or remove it")
    if any(is_volume(path) or path.name.lower().endswith(tuple(_BY_ENDING)) for path in inside):
        remedy = "move the images up, or give the folder by itself"
        return Unread(folder, "a folder with images of its own", remedy)
    return None


def _is_half(path: Path) -> bool:
    """Whether the file is the data of a header that is read, or of one that counts already."""
    return header_of(path) != path
