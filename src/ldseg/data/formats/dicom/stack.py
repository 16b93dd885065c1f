"""Sort frames into a stack on a regular grid, or raise an error that says why this is impossible.

n is the normal of the slices (row x column), h = position . n the height of a slice along it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ldseg.data.formats.dicom.frames import Frame, ImagePlane
from ldseg.data.geometry import Grid
from ldseg.data.volume import Axes
from ldseg.errors import file_error

_SAME_DIRECTION = 1e-3  # of cosines: headers round them to 3 to 6 digits
_SAME_SPACING = 1e-3  # relative
_EVEN = 0.05  # of a step; scanners round positions to hundredths of a millimetre
_SAME_HEIGHT_MM = 1e-3
_STRAIGHT = 0.5  # pixels that the last slice may lie beside the first one's axis
_UNIT = 1e-2
STEP_DIGITS = 9  # of mm: beyond them is the rounding of sums


@dataclass(frozen=True)
class Stack:
    """Ordered frames and their grid of four index axes (x, y, slice, time)."""

    frames: tuple[Frame, ...]
    grid: Grid
    axes: Axes


def stack_of(frames: Sequence[Frame], axes: Axes | None, name: Path) -> Stack:
    """Return `frames` ordered as `axes`; None detects a volume (positions differ), a cine or a single image.

    `name` is the image's path in messages. Raises InputError for frames off a regular grid.
    """
    if axes is None:
        axes = "yx" if len(frames) == 1 else ("zyx" if _positions_differ(frames) else "tyx")
    _check_alike(frames, axes)
    pixel = frames[0].plane.spacing
    if pixel is not None and min(pixel) <= 0:
        raise file_error(frames[0].file, f"has pixels of {pixel} mm", "export it again")
    if axes == "zyx":
        return _volume(frames, name)
    if axes == "tyx":
        return _cine(frames, name)
    if len(frames) > 1:
        finding = f"has {len(frames)} frames where one 2D image is expected"
        raise file_error(name, finding, "export its frames one by one, or use a model of volumes or 2D+time")
    return Stack(tuple(frames), stack_grid(frames[0], 1.0, 1.0), "yx")


def same_direction(first: ImagePlane, second: ImagePlane) -> bool:
    """Return whether two frames have equal orientation, or both have none."""
    return not _differ(first.orientation, second.orientation, relative=False)


def slice_normal(frame: Frame) -> NDArray[np.float64]:
    """Return the slice's unit normal. Raises InputError if the frame has no valid orientation."""
    row, column = np.asarray(_needed(frame, "ImageOrientationPatient")).reshape(2, 3)
    lengths = (float(np.linalg.norm(row)), float(np.linalg.norm(column)))
    if max(abs(length - 1) for length in lengths) > _UNIT or abs(float(row @ column)) > _UNIT:
        finding = "has an ImageOrientationPatient that is not two perpendicular unit vectors"
        raise file_error(frame.file, finding, "export it again")
    across = np.cross(row, column)
    return across / np.linalg.norm(across)


def slice_position(frame: Frame, across: NDArray[np.float64]) -> float:
    """Return the position h of a frame along the normal, in mm."""
    return float(np.asarray(_needed(frame, "ImagePositionPatient")) @ across)


def _volume(frames: Sequence[Frame], name: Path) -> Stack:
    across = slice_normal(frames[0])
    ordered = sorted(frames, key=lambda frame: (slice_position(frame, across), frame.time.number))
    heights = np.array([slice_position(frame, across) for frame in ordered])
    if len(ordered) == 1:
        return Stack(tuple(ordered), stack_grid(ordered[0], ordered[0].plane.thickness or 1.0, 1.0), "zyx")
    _refuse_duplicates(ordered, heights, name)
    _refuse_tilt(ordered, heights, across, name)
    _refuse_gaps(ordered, heights)
    step = round(float(heights[-1] - heights[0]) / (len(ordered) - 1), STEP_DIGITS)
    return Stack(tuple(ordered), stack_grid(ordered[0], step, 1.0), "zyx")


def _cine(frames: Sequence[Frame], name: Path) -> Stack:
    if _positions_differ(frames):
        count = len(distinct_positions(frames))
        finding = f"has {count} slice positions, which is not 2D+time"
        raise file_error(name, finding, "name one file of the slice that is meant")
    times = _times(frames)
    ordered = [frame for _, frame in sorted(zip(times, frames, strict=True), key=lambda pair: pair[0])]
    seconds = [frame.time.seconds for frame in ordered]
    step = 1.0
    if len(ordered) > 1 and seconds[0] is not None and seconds[-1] is not None and seconds[-1] > seconds[0]:
        step = (seconds[-1] - seconds[0]) / (len(ordered) - 1)
    return Stack(tuple(ordered), stack_grid(ordered[0], 1.0, step), "tyx")


def _times(frames: Sequence[Frame]) -> list[float]:
    """Return a time for each frame, by the first kind of time that is distinct for all.

    Raises InputError if there is none: two frames would have no order.
    """
    for kind in ("seconds", "index", "acquired", "number"):
        found = [getattr(frame.time, kind) for frame in frames]
        if None not in found and len(set(found)) == len(found):
            return found
    numbers = Counter(frame.time.number for frame in frames)
    twice = [frame for frame in frames if numbers[frame.time.number] > 1]
    finding = f"is a frame of the same time and number as {twice[0].file.name}"
    raise file_error(twice[-1].file, finding, "remove one of the two")


def _check_alike(frames: Sequence[Frame], axes: Axes) -> None:
    """Raise InputError for frames whose orientation or pixel size differs from the first."""
    first = frames[0]
    for frame in frames[1:]:
        if _differ(first.plane.spacing, frame.plane.spacing, relative=True):
            sizes = (frame.plane.spacing, first.plane.spacing)
            finding = f"has pixels of {sizes[0]} mm where {_called(first).name} has {sizes[1]}"
        elif _differ(first.plane.orientation, frame.plane.orientation, relative=False):
            finding = f"lies in another plane than {_called(first).name} (localizer or mixed series?)"
        else:
            continue
        own = frame.file == first.file
        remedy = "export it in parts" if own else "split the series, or remove the file"
        raise file_error(_called(frame), finding, remedy)
    if axes == "zyx":
        for frame in frames:
            _needed(frame, "ImagePositionPatient")


def _differ(first: tuple[float, ...] | None, second: tuple[float, ...] | None, relative: bool) -> bool:
    if first is None or second is None:
        return first is not second
    limit = _SAME_SPACING * max(map(abs, first)) if relative else _SAME_DIRECTION
    return max(abs(a - b) for a, b in zip(first, second, strict=True)) > limit


def _refuse_duplicates(ordered: list[Frame], heights: NDArray[np.float64], name: Path) -> None:
    """Raise InputError for two slices at one position (a duplicate, or several phases or b-values)."""
    same = np.flatnonzero(np.diff(heights) < _SAME_HEIGHT_MM)
    if not len(same):
        return
    places = 1 + int(np.count_nonzero(np.diff(heights) >= _SAME_HEIGHT_MM))
    if places * 2 <= len(ordered):
        finding = f"has {len(ordered)} frames at {places} places (phases, echoes or several acquisitions?)"
        raise file_error(name, finding, "export each of them as a series of its own")
    first, second = ordered[same[0]], ordered[same[0] + 1]
    raise file_error(_called(second), f"lies at the same position as {_called(first).name}", "remove one")


def _refuse_tilt(
    ordered: list[Frame], heights: NDArray[np.float64], across: NDArray[np.float64], name: Path
) -> None:
    """Raise InputError if the slices do not lie on one axis, as with a tilted gantry."""
    positions = np.array([frame.plane.position for frame in ordered])  # (N, 3)
    rise = heights - heights[0]
    beside = np.linalg.norm(positions - positions[0] - rise[:, None] * across, axis=1)  # (N,) mm
    worst = int(beside.argmax())
    pixel = min(ordered[0].plane.spacing or (1.0,))
    if beside[worst] > _STRAIGHT * pixel:
        angle = math.degrees(math.atan2(beside[worst], rise[worst]))
        finding = f"its slices are sheared by {angle:.1f} degrees, {beside[worst]:.1f} mm in all: gantry tilt"
        raise file_error(name, finding, "convert it to NIfTI with a tool that corrects the tilt (dcm2niix)")


def _refuse_gaps(ordered: list[Frame], heights: NDArray[np.float64]) -> None:
    """Raise InputError if the steps between slices are not equal."""
    steps = np.diff(heights)
    usual = float(np.median(steps))
    uneven = np.flatnonzero(np.abs(steps - usual) > max(_EVEN * usual, 0.01))
    if not len(uneven):
        _refuse_drift(ordered, heights)
        return
    worst = int(uneven[np.abs(steps[uneven] - usual).argmax()])
    step, below, above = float(steps[worst]), ordered[worst], ordered[worst + 1]
    lacking = round(step / usual) - 1
    if lacking >= 1 and abs(step - (lacking + 1) * usual) <= _EVEN * usual * (lacking + 1):
        missing = f"{lacking} slice{'s are' if lacking > 1 else ' is'} missing"
        finding = f"{missing} between it and {_called(below).name}"
        raise file_error(_called(above), finding, "export the whole series again")
    finding = f"lies {step:.4g} mm above {_called(below).name} where the others are {usual:.4g} mm apart"
    raise file_error(_called(above), finding, "export the series again, or resample it to equal steps")


def _refuse_drift(ordered: list[Frame], heights: NDArray[np.float64]) -> None:
    """Raise InputError if small deviations of the steps add up to a shift off the grid."""
    even = np.linspace(heights[0], heights[-1], len(heights))
    off = np.abs(heights - even) / (even[1] - even[0])
    worst = int(off.argmax())
    if off[worst] > _STRAIGHT:
        finding = f"lies {off[worst]:.2g} slices away from where equal steps put it"
        raise file_error(_called(ordered[worst]), finding, "resample the series to equal steps")


def _called(frame: Frame) -> Path:
    """Return a frame's name in messages: its file, with its number if the file has several."""
    return (
        frame.file if frame.index == 0 else frame.file.with_name(f"{frame.file.name} frame {frame.index + 1}")
    )


def _positions_differ(frames: Sequence[Frame]) -> bool:
    return len(distinct_positions(frames)) > 1


def distinct_positions(frames: Sequence[Frame]) -> list[float]:
    """Return the distinct positions along the normal, ascending; none if a frame has no position."""
    if any(frame.plane.position is None or frame.plane.orientation is None for frame in frames):
        return []
    across = slice_normal(frames[0])
    found: list[float] = []
    for value in sorted(slice_position(frame, across) for frame in frames):
        if not found or value - found[-1] >= _SAME_HEIGHT_MM:
            found.append(value)
    return found


def stack_grid(first: Frame, slice_step: float, time_step: float) -> Grid:
    """Return the grid that begins at the first pixel of `first`; unit directions if it has no orientation.

    If the pixel size is unknown, the steps of all spatial axes are 1.
    """
    known = first.plane.spacing is not None
    between_rows, between_columns = first.plane.spacing or (1.0, 1.0)
    direction = np.eye(4)
    if first.plane.orientation is not None:
        row, column = np.asarray(first.plane.orientation).reshape(2, 3)
        direction[:3, :3] = np.stack([row, column, slice_normal(first)], axis=1)
    spacing = (between_columns, between_rows, slice_step if known else 1.0, time_step)
    if min(spacing) <= 0:
        raise file_error(first.file, f"has voxels of {spacing[:3]} mm", "export it again")
    origin = (*(first.plane.position or (0.0, 0.0, 0.0)), 0.0)
    return Grid(spacing, origin, tuple(float(value) for value in direction.ravel()), known)


def _needed(frame: Frame, attribute: str) -> tuple[float, ...]:
    """Return the frame's orientation or position. Raises InputError if it has none."""
    value = frame.plane.position if "Position" in attribute else frame.plane.orientation
    if value is None:
        finding = f"has no {attribute}, so it is no slice of a volume"
        raise file_error(_called(frame), finding, "take a 2D model, or export the volume again")
    return value
