"""Files that look like images but are not read: which they are, why, and how to convert them.

`ldseg.data.formats` decides what is read: a file type with a reader there is never listed here.
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
_VIDEO = "save the frames as .tif or .nii.gz"
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
    (".avi .mp4 .mov .mkv .webm .wmv .m4v", "a video", _VIDEO),
)
_HEADERS = {".img": ".hdr", ".raw": ".mhd", ".zraw": ".mhd", ".rec": ".par", ".brik": ".head"}
_BY_ENDING = {end: (kind, remedy) for ends, kind, remedy in _KINDS for end in ends.split()}


OnRemark = Callable[[str], None]
"""A function that receives a sentence for the user."""


def ignore_remark(text: str) -> None:
    """Do nothing with a remark."""
    del text


@dataclass(frozen=True)
class Unread:
    """A file or folder that looks like an image but is not read."""

    path: Path
    kind: str
    """File type, as in "is WebP, which is not read"."""
    remedy: str

    def sentence(self) -> str:
        """Return a sentence that says which type the file has."""
        return f"{self.path.parent.name}/{self.path.name} is {self.kind}, which is not read"


def unread_in(folder: Path, folders: bool = True) -> tuple[Unread, ...]:
    """Return the entries of `folder` that look like images but are not read, ascending by name.

    Hidden files and small companions (.txt, .json, .csv, Thumbs.db) are no images. With `folders`,
    sub-folders count where they are empty, cannot be opened, or hold images that are not DICOM.
    """
    try:
        entries = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError:
        return ()  # listing the folder for reading reports it
    found = (
        _look(path, folders) for path in entries if not path.name.startswith(".") and not is_volume(path)
    )
    return tuple(one for one in found if one is not None)


def header_of(path: Path) -> Path:
    """Return the header file beside a file of raw data; `path` itself if there is none."""
    end = _HEADERS.get(path.suffix.lower())
    headers = () if end is None else (path.with_suffix(one) for one in (end, end.upper()))
    return next((header for header in headers if header.exists()), path)


def voxel_files(header: Path) -> tuple[Path, ...]:
    """Return the files of raw data beside a header file; none beside a file that holds its voxels itself."""
    ends = [end for end, kind in _HEADERS.items() if kind == header.suffix.lower()]
    spelled = ((header.with_suffix(end), header.with_suffix(end.upper())) for end in ends)
    found = (next((path for path in paths if path.is_file()), None) for paths in spelled)
    return tuple(path for path in found if path is not None)


def describe_unread(unread: Iterable[Unread]) -> tuple[str, ...]:
    """Return one remark per file type: how many were skipped, which, and how to convert them."""
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for one in unread:
        groups[one.kind, one.remedy].append(one.path)
    return tuple(
        f"skipped: {len(paths)} that {'is' if len(paths) == 1 else 'are'} {kind}, which is not read "
        f"({listed([f'{path.parent.name}/{path.name}' for path in paths], 3)}); {remedy}"
        for (kind, remedy), paths in groups.items()
    )


def _look(path: Path, folders: bool) -> Unread | None:
    """Return the folder entry `path`, which is not read, if it looks like an image, else None."""
    name = path.name.lower()
    for end, (kind, remedy) in _BY_ENDING.items():
        if name.endswith(end) and end not in all_endings():
            return None if header_of(path) != path else Unread(path, kind, remedy)  # data of a header
    if path.is_symlink() and not path.exists():
        return Unread(path, "a link to nowhere", "fetch its target, or remove the link")
    return _look_into(path) if folders and path.is_dir() else None


def _look_into(folder: Path) -> Unread | None:
    """Return the sub-folder `folder`, which is no DICOM series, if it looks like a case, else None."""
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
