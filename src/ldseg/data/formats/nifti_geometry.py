"""The geometry of NIfTI headers: which of the three descriptions counts, and contradictions among them.

A header may give an affine (sform, `sform_code` > 0), a rotation with spacing (qform, `qform_code` > 0), and
the spacing alone (pixdim). The sform takes precedence over the qform, and that over pixdim, as in nibabel and
most viewers; an empty sform is ignored, as in ITK and FSL. Index axes are i, j, k.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Literal

import numpy as np
from nibabel.nifti1 import Nifti1Header
from numpy.typing import NDArray

from ldseg.data.align import ROUNDING
from ldseg.data.geometry import Grid
from ldseg.errors import file_error

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_MILLIMETRES = {"meter": 1000.0, "micron": 0.001}
_SECONDS = {"msec": 1e-3, "usec": 1e-6}
_SAME_STEP = 0.01
"""Relative difference between two spacings that counts as rounding."""
_AGAIN = "write its geometry again"

Method = Literal["sform", "qform", "pixdim"]


def header_grid(header: Nifti1Header) -> Grid:
    """Return the grid of the index axes i, j, k, t in LPS mm and seconds, without validating it."""
    space_unit, time_unit = header.get_xyzt_units()
    lps = _RAS_TO_LPS @ _ras_affine(header)
    lps[:3] *= _MILLIMETRES.get(str(space_unit), 1.0)
    steps = np.linalg.norm(lps[:3, :3], axis=0)
    direction = np.eye(4)
    with np.errstate(invalid="ignore", divide="ignore"):
        direction[:3, :3] = lps[:3, :3] / steps
    physical = not _lacks_spacing(header)
    second = _SECONDS.get(str(time_unit), 1.0)
    frame = float(header["pixdim"][4]) * second
    return Grid(
        (*(steps.tolist() if physical else (1.0, 1.0, 1.0)), frame if frame > 0 else 1.0),
        (*lps[:3, 3].tolist(), float(header["toffset"]) * second),
        tuple(direction.ravel().tolist()),
        physical,
    )


def refuse_misleading(header: Nifti1Header, path: Path) -> None:
    """Raise InputError for `path` if its header gives an invalid or contradictory geometry."""
    used, pixdim = _used_axes(header), np.asarray(header["pixdim"][1:4], dtype=np.float64)
    method = _method(header)
    sizes = " x ".join(f"{step:.4g}" for step in pixdim[used])
    missing = [n for n in used if not np.isfinite(pixdim[n]) or pixdim[n] == 0]
    if method != "sform" and missing and not _lacks_spacing(header):
        raise file_error(path, f"has a voxel size of {sizes} (pixdim)", _AGAIN)
    matrix = _ras_affine(header)
    steps = np.linalg.norm(matrix[:3, :3], axis=0)
    if not np.isfinite(matrix).all() or abs(np.linalg.det(matrix)) == 0 or min(steps) <= 0:
        raise file_error(path, "has an affine that is singular or not finite", _AGAIN)
    stated = [n for n in used if n not in missing]
    if method == "sform" and not np.allclose(steps[stated], np.abs(pixdim[stated]), rtol=_SAME_STEP):
        own = " x ".join(f"{step:.4g}" for step in steps[used])
        finding = f"has an sform with voxels of {own} and a pixdim of {sizes}, which contradict each other"
        raise file_error(path, finding, "write the right spacing into both")
    other = _other_affine(header)
    if other is not None and np.linalg.det(other[:3, :3]) * np.linalg.det(matrix[:3, :3]) < 0:
        finding = "has an sform and a qform of which one is mirrored"
        raise file_error(path, finding, "find out which side is left, and write the right one into both")


def remarks(header: Nifti1Header, axes: str) -> tuple[str, ...]:
    """Return notes about assumptions for a header that `refuse_misleading` accepts."""
    notes: list[str] = []
    unit = str(header.get_xyzt_units()[0])
    grid = header_grid(header)
    if unit in _MILLIMETRES:
        steps = " x ".join(f"{grid.spacing[n]:.4g}" for n in _used_axes(header))
        notes.append(f"gives its lengths in {unit}: its voxels are taken for {steps} mm")
    if _lacks_spacing(header):
        notes.append("gives no voxel size (pixdim 0, no sform or qform): lengths are in voxels")
    if int(header["sform_code"]) > 0 and _method(header) != "sform":
        notes.append("has an sform that is empty; its qform is taken")
    other = _other_affine(header)
    apart = 0.0
    if other is not None:  # at the corner where it is largest
        first, corners = _ras_affine(header), list(product(*[(0, n - 1) for n in _shape(header)], [1]))
        apart = float(np.abs(np.linalg.solve(first, (other - first) @ np.array(corners, float).T)).max())
    if apart > ROUNDING:
        notes.append(f"has an sform and a qform that lie up to {apart:.3g} voxels apart; the sform is taken")
    if axes == "tyx" and _shape(header)[2] == 1 and not float(header["pixdim"][4]) > 0:
        notes.append("gives no time between frames; they are counted")
    return tuple(notes)


def _shape(header: Nifti1Header) -> tuple[int, ...]:
    """Return the number of voxels along i, j, k."""
    return tuple(int(n) for n in (*header.get_data_shape(), 1, 1, 1)[:3])


def _used_axes(header: Nifti1Header) -> list[int]:
    """Return the spatial axes whose voxel size must be known: i, j, and others with several voxels."""
    return [n for n, count in enumerate(_shape(header)) if n < 2 or count > 1]


def _method(header: Nifti1Header) -> Method:
    """Return which description of the geometry counts."""
    sform, qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    if sform and (not qform or np.linalg.det(_sform(header)[:3, :3]) != 0):
        return "sform"
    return "qform" if qform else "pixdim"


def _lacks_spacing(header: Nifti1Header) -> bool:
    """Return whether the voxel size is unknown: there is no affine, and every pixdim is 0."""
    return _method(header) == "pixdim" and not np.any(np.asarray(header["pixdim"][1:4])[_used_axes(header)])


def _ras_affine(header: Nifti1Header) -> NDArray[np.float64]:
    """Return the affine that counts, from index (i, j, k) to RAS in the header's own unit."""
    method = _method(header)
    if method == "sform":
        return _sform(header)
    repaired = _repaired(header)
    return np.array(repaired.get_qform() if method == "qform" else repaired.get_base_affine(), np.float64)


def _other_affine(header: Nifti1Header) -> NDArray[np.float64] | None:
    """Return the qform if both are set and the sform is used, else None."""
    if _method(header) != "sform" or int(header["qform_code"]) <= 0:
        return None
    return np.array(_repaired(header).get_qform(), np.float64)


def _repaired(header: Nifti1Header) -> Nifti1Header:
    """Return a copy with a valid pixdim: positive sizes, and handedness 1 or -1."""
    header = header.copy()
    steps = np.abs(header["pixdim"][1:4])
    header["pixdim"][1:4] = np.where(np.isfinite(steps) & (steps > 0), steps, 1.0)
    header["pixdim"][0] = -1.0 if header["pixdim"][0] == -1 else 1.0
    return header


def _sform(header: Nifti1Header) -> NDArray[np.float64]:
    """Return the sform; a third axis of one voxel and zero length becomes the normal of the plane."""
    matrix = np.eye(4)
    matrix[:3] = [header[row] for row in ("srow_x", "srow_y", "srow_z")]
    across = np.cross(matrix[:3, 0], matrix[:3, 1])
    length = float(np.linalg.norm(across))
    if _shape(header)[2] == 1 and not matrix[:3, 2].any() and length > 0:
        matrix[:3, 2] = across / length
    return matrix
