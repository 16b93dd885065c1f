"""Prepared cases on disk."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from preprocessing_grids import plan

from ldseg.data.dataset import DataSet, open_dataset
from ldseg.errors import InputError
from ldseg.planning.plan import ChannelPlan
from ldseg.preprocessing import cache as cache_module
from ldseg.preprocessing.cache import build_cache, changed_cases

PLAN = plan("yx", classes={"background": 0, "class_1": 1, "class_2": 2})


@pytest.fixture
def pictures(tmp_path: Path) -> DataSet:
    """Three pictures with squares of the ids 1 and, in the first, 2."""
    root = tmp_path / "set"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for n in range(3):
        mask = np.zeros((20, 30), dtype=np.uint8)
        mask[3:9, 5 + n : 15 + n] = 1
        mask[12, 4] = 2 if n == 0 else 0
        image = (mask * 50 + np.arange(30, dtype=np.uint8)).astype(np.uint8)
        Image.fromarray(image).save(root / "images" / f"p {n}.png")
        Image.fromarray(mask).save(root / "masks" / f"p {n}.png")
    return open_dataset(root)


def _count_builds(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    built: list[str] = []
    original = cache_module.preprocess_image

    def counting(volume, plan, name):  # type: ignore[no-untyped-def]
        built.append(name)
        return original(volume, plan, name)

    monkeypatch.setattr(cache_module, "preprocess_image", counting)
    return built


def test_it_gives_back_image_labels_and_foreground(pictures: DataSet, tmp_path: Path) -> None:
    cache = build_cache(pictures, pictures.cases, PLAN, tmp_path / "cache")
    assert cache.names == ("p 0", "p 1", "p 2")
    image, labels = cache.image("p 0"), cache.labels("p 0", 0)
    assert isinstance(image, np.memmap)
    assert isinstance(labels, np.memmap)
    assert (image.dtype, labels.dtype) == (np.float16, np.int16)
    assert cache.shape("p 0") == labels.shape == (20, 30)
    assert abs(float(np.asarray(image, np.float32).mean())) < 1e-3
    assert cache.raters("p 0") == 1
    found = cache.foreground("p 0")
    assert set(found) == {1, 2}
    np.testing.assert_array_equal(found[2], [[12, 4]])
    assert all(labels[tuple(at)] == 1 for at in found[1])
    assert set(cache.foreground("p 1")) == {1}


def test_numbers_that_are_taken_as_they_are_are_kept_as_they_are(tmp_path: Path) -> None:
    """Half precision has no number above 65504, and of those above 2048 not every whole one."""
    for folder, kind in (("images", np.uint16), ("labels", np.uint8)):
        (tmp_path / "set" / folder).mkdir(parents=True)
        Image.fromarray(np.eye(8, dtype=kind)).save(tmp_path / "set" / folder / "a.png")
    numbers = np.arange(64, dtype=np.uint16).reshape(8, 8) + 65472
    Image.fromarray(numbers).save(tmp_path / "set/images/a.png")
    dataset = open_dataset(tmp_path / "set")
    made_for = plan("yx", classes=dict(dataset.classes), channels=(ChannelPlan("noNorm", "none"),))
    cache = build_cache(dataset, dataset.cases, made_for, tmp_path / "cache")
    np.testing.assert_array_equal(cache.image("a")[0], numbers)


def test_only_what_changed_is_made_again(
    pictures: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = _count_builds(monkeypatch)
    folder = tmp_path / "cache"
    build_cache(pictures, pictures.cases, PLAN, folder)
    assert built == ["p 0", "p 1", "p 2"]
    build_cache(pictures, pictures.cases, replace(PLAN, batch=9, patch=(8, 8)), folder)
    assert len(built) == 3
    Image.fromarray(np.full((20, 30), 9, np.uint8)).save(pictures.cases[1].images[0])
    build_cache(pictures, pictures.cases, PLAN, folder)
    assert built[3:] == ["p 1"]
    build_cache(pictures, pictures.cases, replace(PLAN, spacing=(2.0, 1.0)), folder)
    assert len(built) == 7


def test_other_voxels_below_the_same_header_are_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voxels: dict[str, Path] = {}
    for folder in ("images", "labels"):
        (tmp_path / "set" / folder).mkdir(parents=True)
        for name in "ab":
            voxels[folder + name] = tmp_path / "set" / folder / f"{name}.raw"
            voxels[folder + name].write_bytes(bytes(range(2)) * 32)
            voxels[folder + name].with_suffix(".mhd").write_text(
                "ObjectType = Image\nNDims = 2\nDimSize = 8 8\nElementSpacing = 1 1\n"
                f"ElementType = MET_UCHAR\nElementDataFile = {name}.raw\n"
            )
    dataset, built = open_dataset(tmp_path / "set"), _count_builds(monkeypatch)
    made_for = plan("yx", classes=dict(dataset.classes))
    build_cache(dataset, dataset.cases, made_for, tmp_path / "cache")
    voxels["imagesb"].write_bytes(bytes(range(64)))
    assert changed_cases(dataset.cases, made_for, tmp_path / "cache") == ["b"]
    build_cache(dataset, dataset.cases, made_for, tmp_path / "cache")
    assert built == ["a", "b", "b"]


def test_an_interrupted_build_resumes_and_leaves_nothing_half_made(
    pictures: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    original = np.savez

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def stop_at_second(name: str) -> None:
        if name == "p 0":
            monkeypatch.setattr(np, "savez", fail)

    with pytest.raises(KeyboardInterrupt):
        build_cache(pictures, pictures.cases, PLAN, folder, stop_at_second)
    assert len(list(folder.iterdir())) == 1
    monkeypatch.setattr(np, "savez", original)
    built = _count_builds(monkeypatch)
    cache = build_cache(pictures, pictures.cases, PLAN, folder)
    assert built == ["p 1", "p 2"]
    assert cache.image("p 2").shape == (1, 20, 30)


def test_a_full_disk_is_one_line(pictures: DataSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(InputError, match=r"No space left on device\); free space"):
        build_cache(pictures, pictures.cases, PLAN, tmp_path / "cache")


def test_two_builds_are_equal_bytes(pictures: DataSet, tmp_path: Path) -> None:
    for name in ("a", "b"):
        build_cache(pictures, pictures.cases, PLAN, tmp_path / name)
    files = [p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.np[yz]")]
    assert len(files) == 9
    for file in files:
        if file.suffix == ".npy":
            assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
