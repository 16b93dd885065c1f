"""Data and figure of the demonstration: one real brain, cut into coronal slabs of one hemisphere.

The brain is the MNI152 T1 template at 1 mm, which comes with the package nilearn, with its maps of grey and
of white matter. It is an average of 152 people: blurred, and exactly symmetric between left and right.
Testing on the other hemisphere would therefore be testing on the training data, mirrored. So 48 mm in the
middle are kept from training in both hemispheres; the right half of them is the test case, three times as
deep as a training slab, so that predicting it takes tiles. Voxels are averaged to 2 mm: three minutes on two
cores are then enough to learn something.

One brain shows that everything works; it says nothing about accuracy on other people's brains.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes as Panel
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from ldseg.data.cases import DataOptions
from ldseg.data.dataset import open_dataset
from ldseg.data.formats import write_volume
from ldseg.data.splits import make_splits, write_splits
from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.utils.serialization import write_bytes_atomic, write_json_atomic

CLASSES = {"background": 0, "grey_matter": 1, "white_matter": 2}
NOTE = (
    "One averaged brain, part of it for training and another part for testing: "
    "a demonstration that everything works, not a figure of accuracy."
)
SUBJECT_PATTERN = r"(row\d+|middle)"
"""Mirrored slabs are one subject, so that validation never contains the mirror image of a training slab."""
TEST_CASE = "middle_right"

_STEP = 2
"""Voxel size in mm, in voxels of the template."""
_SIZE = (40, 8, 64)
"""Voxels of a slab along x, y, z; with air in all of them, so that normalising each by itself compares."""
_SIDES = {"left": 9, "right": 49}
"""First voxel along x; the midline is between 48 and 49."""
_BACK, _BOTTOM = 12, 11
"""First voxel of the first row along y, and of all rows along z."""
_ROWS = 12
_TEST_ROWS = (6, 7, 8)
_LEAST_TISSUE = 0.05
"""Share of a slab that must be grey or white matter for it to be a training case."""
_COLORS = ("#3b7dba", "#f0a830", "#4aa564", "#b65bb0", "#d1495b")


@dataclass(frozen=True)
class DemoFiles:
    """Files of the demonstration in the order in which they are written; see `demo_files`."""

    dataset: Path
    splits: Path
    run: Path
    predictions: Path
    scores: Path
    figure: Path


@dataclass(frozen=True)
class _Brain:
    """T1 image (0 to 255) and label ids of `CLASSES` on one grid."""

    image: Volume
    labels: Volume


def demo_files(folder: Path) -> DemoFiles:
    """Return the files of a demonstration in `folder`. The steps of `ldseg demo` are:

    1. `write_demo_dataset(files.dataset)`: nnU-Net raw layout, 16 slabs to train on, one test case.
    2. `write_demo_splits(files)`: the test case is the test part, which `ldseg report` measures too.
    3. plan and train with them into `files.run`, three minutes, with `SUBJECT_PATTERN`.
    4. predict the test case with several samples into `files.predictions`, saving labels and uncertainty.
    5. evaluate it into `files.scores`.
    6. `write_demo_figure(files.figure, ...)`, and print the files, the scores and `NOTE`.
    """
    return DemoFiles(
        folder / "dataset",
        folder / "splits.json",
        folder / "run",
        folder / "predictions",
        folder / "scores.json",
        folder / "figure.png",
    )


def write_demo_dataset(folder: Path) -> None:
    """Write the brain as a data set in nnU-Net's raw layout, T1 as the image, `CLASSES` as the labels.

    Slabs keep their place in the world. Takes a few seconds and no network. Raises InputError when nilearn
    is not installed or the disk refuses.
    """
    brain = _load_brain()
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    cases = 0
    for (side, x), row in product(_SIDES.items(), range(_ROWS)):
        slab = _cut(brain, (x, _row(row), _BOTTOM), _SIZE)
        if row not in _TEST_ROWS and np.mean(slab.labels.array > 0) >= _LEAST_TISSUE:
            _write(folder, f"row{row:02d}_{side}", slab)
            cases += 1
    deep = (_SIZE[0], _SIZE[1] * len(_TEST_ROWS), _SIZE[2])
    _write(folder, TEST_CASE, _cut(brain, (_SIDES["right"], _row(_TEST_ROWS[0]), _BOTTOM), deep))
    description = {
        "name": "MNI152 grey and white matter",
        "channel_names": {"0": "T1"},
        "labels": CLASSES,
        "numTraining": cases + 1,
        "file_ending": ".nii.gz",
    }
    write_json_atomic(folder / "dataset.json", description)


def write_demo_splits(files: DemoFiles) -> None:
    """Write the splits: folds of the slabs, and the test case as the test part."""
    dataset = open_dataset(files.dataset, DataOptions(subject_pattern=SUBJECT_PATTERN))
    slabs = [case for case in dataset.cases if case.name != TEST_CASE]
    write_splits(files.splits, replace(make_splits(slabs), test=(TEST_CASE,)))


def write_demo_figure(
    path: Path,
    image: Volume,
    truth: Volume,
    prediction: Volume,
    uncertainty: Volume,
    classes: dict[str, int],
    caption: str = "",
) -> None:
    """Draw one slice in a row: image, truth, prediction, uncertainty. All volumes are on one grid.

    In 3D it is the slice across the shortest axis with most foreground in the truth; seen as radiologists do.
    `classes` is name to id, background included; `uncertainty` in nats.
    """
    axis, index = _best_slice(truth)
    grey, true, predicted, doubt = (
        _slice(volume, axis, index) for volume in (image, truth, prediction, uncertainty)
    )
    pixel_height, pixel_width = (step for n, step in enumerate(image.spacing) if n != axis)
    aspect = pixel_height / pixel_width
    height = 1.5 + 3.2 * grey.shape[0] * aspect / grey.shape[1]
    figure = Figure(figsize=(14, height), layout="constrained", facecolor="white")
    panels: list[Panel] = list(figure.subplots(1, 4))
    titles = ("Image", "Truth", "Prediction", "Uncertainty of the samples")
    for panel, title in zip(panels, titles, strict=True):
        panel.imshow(grey, cmap="gray", aspect=aspect, interpolation="nearest")
        panel.set_title(title, fontsize=13)
        panel.set_axis_off()
    shown = {name: id_ for name, id_ in classes.items() if id_ != 0}
    _paint(panels[1], true, list(shown.values()), aspect)
    _paint(panels[2], predicted, list(shown.values()), aspect)
    heat = panels[3].imshow(doubt, cmap="inferno", aspect=aspect, vmin=0, interpolation="nearest")
    figure.colorbar(heat, ax=panels[3], shrink=0.75, label="entropy (nats)")
    patches = [Patch(color=_color(k), label=name.replace("_", " ")) for k, name in enumerate(shown)]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), frameon=False, fontsize=12)
    figure.suptitle(caption, fontsize=14)
    content = BytesIO()
    figure.savefig(content, dpi=110, format="png")
    write_bytes_atomic(path, content.getvalue())


def _load_brain() -> _Brain:
    try:
        from nilearn import datasets
    except ImportError:
        raise InputError(
            'the demo needs nilearn, which is not installed; pip install "ldseg[demo]"'
        ) from None
    # 1 mm is the resolution of the packaged files: nothing is fetched.
    template: Any = datasets.load_mni152_template(resolution=1)
    grey = _coarse(datasets.load_mni152_gm_template(resolution=1))
    white = _coarse(datasets.load_mni152_wm_template(resolution=1))
    labels = np.argmax(np.stack([1 - grey - white, grey, white]), axis=0).astype(np.uint8)
    # From nibabel's (x, y, z) index and right, anterior, superior world to a Volume's (z, y, x) and LPS.
    x, y, z = (float(start) + (_STEP - 1) / 2 for start in template.affine[:3, 3])
    direction = (-1.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 1.0)
    array = np.rint(255 * _coarse(template)).astype(np.uint8).T[None]
    image = Volume(array, (float(_STEP),) * 3, (-x, -y, z), direction, "zyx", "image")
    return _Brain(image, image.with_array(labels.T[None], "labels"))


def _coarse(image: Any) -> NDArray[np.float32]:
    """Return the image downsampled by averaging cubes of the template's voxels."""
    values = np.asarray(image.dataobj, dtype=np.float32)
    x, y, z = (n // _STEP for n in values.shape)
    cubes = values[: x * _STEP, : y * _STEP, : z * _STEP].reshape(x, _STEP, y, _STEP, z, _STEP)
    return cubes.mean(axis=(1, 3, 5))


def _row(number: int) -> int:
    """Return the row's first voxel along y."""
    return _BACK + number * _SIZE[1]


def _cut(brain: _Brain, first: tuple[int, int, int], size: tuple[int, int, int]) -> _Brain:
    """Return the slab of `size` voxels that begins at voxel `first`, both in the order x, y, z."""
    window = tuple(slice(start, start + n) for start, n in zip(first[::-1], size[::-1], strict=True))
    x, y, z = brain.image.origin
    origin = (x - _STEP * first[0], y - _STEP * first[1], z + _STEP * first[2])  # LPS
    parts = (brain.image, brain.labels)
    return _Brain(*(replace(v, array=v.array[(slice(None), *window)], origin=origin) for v in parts))


def _write(folder: Path, name: str, slab: _Brain) -> None:
    write_volume(folder / "imagesTr" / f"{name}_0000.nii.gz", slab.image)
    write_volume(folder / "labelsTr" / f"{name}.nii.gz", slab.labels)


def _best_slice(truth: Volume) -> tuple[int | None, int]:
    """Return the axis to cut across (None in 2D) and the index of the slice with most foreground."""
    if truth.axes == "yx":
        return None, 0
    axis = 0 if truth.axes == "tyx" else int(np.argmin(truth.shape))
    others = tuple(n for n in range(3) if n != axis)
    return axis, int(np.argmax((truth.array[0] > 0).sum(axis=others)))


def _slice(volume: Volume, axis: int | None, index: int) -> NDArray[Any]:
    """Return the slice of the first channel: superior (else anterior) up, the patient's left on the right."""
    if axis is None or volume.axes == "tyx":
        return volume.array[0] if axis is None else volume.array[0, index]
    flat = np.take(volume.array[0], index, axis=axis)
    matrix = np.asarray(volume.direction).reshape(3, 3)
    rows, columns = (n for n in range(3) if n != axis)  # of z, y, x; LPS: left, posterior and superior grow
    if (matrix[2 - rows, 2 - rows] > 0) == (rows == 0):
        flat = flat[::-1]
    return flat[:, ::-1] if matrix[2 - columns, 2 - columns] < 0 else flat


def _paint(panel: Panel, ids: NDArray[Any], classes: list[int], aspect: float) -> None:
    """Overlay each class in its color."""
    order = np.zeros(ids.shape)
    for k, id_ in enumerate(classes):
        order[ids == id_] = k + 1
    colors = ListedColormap([_color(k) for k in range(len(classes))])
    panel.imshow(
        np.ma.masked_equal(order, 0),
        cmap=colors,
        vmin=0.5,
        vmax=len(classes) + 0.5,
        alpha=0.75,
        aspect=aspect,
        interpolation="nearest",
    )


def _color(k: int) -> str:
    return _COLORS[k % len(_COLORS)]
