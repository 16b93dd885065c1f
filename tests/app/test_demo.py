"""The demonstration's data: held-out means held out, slabs keep their place; and its picture."""

from __future__ import annotations

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from ldseg.app.demo import (
    CLASSES,
    SUBJECT_PATTERN,
    TEST_CASE,
    demo_files,
    write_demo_dataset,
    write_demo_figure,
    write_demo_splits,
)
from ldseg.data.dataset import DataOptions, open_dataset
from ldseg.data.formats import read_volume
from ldseg.data.geometry import affine
from ldseg.data.splits import read_splits
from ldseg.data.volume import Volume
from ldseg.errors import InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("nilearn")
    made = tmp_path_factory.mktemp("demo") / "dataset"
    write_demo_dataset(made)
    return made


def world_box(volume: Volume) -> np.ndarray:
    """Lowest and highest voxel centre in LPS mm, (2, 3)."""
    corners = [affine(volume) @ [*corner, 1] for corner in product(*((0, n - 1) for n in volume.shape[::-1]))]
    return np.array([np.min(corners, axis=0)[:3], np.max(corners, axis=0)[:3]])


def test_it_is_a_data_set_of_many_cases_with_both_tissues(folder: Path) -> None:
    dataset = open_dataset(folder, DataOptions(subject_pattern=SUBJECT_PATTERN))
    assert len(dataset.cases) == 17
    assert dataset.classes == CLASSES
    assert len({case.subject for case in dataset.cases}) >= 5
    for case in dataset.cases[::3]:
        ids = np.unique(read_volume(case.labels[0], "labels").array)
        assert ids.tolist() == [0, 1, 2]
        assert np.ptp(read_volume(case.images[0], "image").array) > 100


def test_no_training_slab_meets_the_test_case_or_its_mirror_image(folder: Path) -> None:
    """The template is symmetric, so the other hemisphere's copy must be held out too."""
    low, high = world_box(read_volume(folder / "labelsTr" / f"{TEST_CASE}.nii.gz", "labels"))
    assert (high - low).min() > 45
    for case in (one for one in open_dataset(folder).cases if one.name != TEST_CASE):
        start, end = world_box(read_volume(case.images[0], "image"))
        for mirrored in (False, True):
            left, right = (-end[0], -start[0]) if mirrored else (start[0], end[0])
            apart = [right < low[0] or left > high[0], *((end < low) | (start > high))[1:]]
            assert any(apart), case.name


def test_the_test_case_is_the_test_part(folder: Path) -> None:
    """A report of the run then measures what the demonstration's headline says."""
    files = demo_files(folder.parent)
    write_demo_splits(files)
    splits = read_splits(files.splits)
    assert splits.test == (TEST_CASE,)
    assert all(TEST_CASE not in (*fold.train, *fold.validation) for fold in splits.folds)
    assert sum(len(fold.validation) for fold in splits.folds) == 16


def test_slabs_keep_their_place_in_the_world(folder: Path) -> None:
    """Each voxel is the mean of the template's eight voxels around the same millimetres."""
    datasets = pytest.importorskip("nilearn.datasets")
    template = datasets.load_mni152_template(resolution=1)
    whole = np.asarray(template.dataobj)
    for path in sorted((folder / "imagesTr").iterdir())[::6]:
        slab = read_volume(path, "image")
        index = (7, 5, 31)  # x, y, z
        left, posterior, superior = (affine(slab) @ [*index, 1])[:3]
        there = np.linalg.solve(template.affine, [-left, -posterior, superior, 1])[:3]
        around = whole[tuple(slice(int(n - 0.5), int(n + 1.5)) for n in there)]
        assert around.shape == (2, 2, 2)
        assert slab.array[0][index[::-1]] == pytest.approx(255 * around.mean(), abs=0.51)


def test_without_nilearn_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(InputError, match=r'pip install "ldseg\[demo\]"'):
        write_demo_dataset(tmp_path / "demo")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("shape", [(20, 30), (6, 30, 20), (30, 8, 20)])
def test_the_picture_is_drawn_in_two_and_three_dimensions(tmp_path: Path, shape: tuple[int, ...]) -> None:
    draw, d = np.random.default_rng(0), len(shape)
    direction = tuple(np.eye(d).ravel().tolist())
    axes = "yx" if d == 2 else "zyx"
    image = Volume(draw.random((1, *shape)), (1.0,) * d, (0.0,) * d, direction, axes, "image")
    labels = image.with_array(draw.integers(0, 3, (1, *shape)), "labels")
    path = tmp_path / "new" / "figure.png"
    write_demo_figure(path, image, labels, labels, image, CLASSES, "caption")
    picture = read_volume(path, "image")
    assert picture.shape[1] > 1000
    assert np.ptp(picture.array) > 100
