"""`check` has a fault exactly where training would refuse the set, with the same line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from volume_builders import save_image, save_volume, volume, write_json

from ldseg.data.checks import check
from ldseg.data.dataset import open_dataset
from ldseg.errors import InputError
from ldseg.runs.run_setup import prepare_run


def write_images(root: Path, count: int = 3, mask_id: int = 1, size: tuple[int, int] = (24, 32)) -> Path:
    for number in range(count):
        image = np.random.default_rng(number).integers(0, 255, size, dtype=np.uint8)
        label = np.zeros(size, np.uint8)
        label[: size[0] // 2, : size[1] // 2] = mask_id
        save_image(root / f"images/c{number}.png", image)
        save_image(root / f"masks/c{number}.png", label)
    return root


def volumes(root: Path, slices: tuple[int, ...]) -> Path:
    for number, depth in enumerate(slices):
        shape = (depth, 12, 12)
        save_volume(root / f"images/c{number}.nii.gz", volume("zyx", "image", seed=number, shape=shape))
        save_volume(root / f"labels/c{number}.nii.gz", volume("zyx", seed=number, shape=shape))
    return root


def described(root: Path, **content: object) -> Path:
    write_json(root / "dataset.json", content)
    return root


def constant(root: Path) -> Path:
    for path in (write_images(root) / "images").iterdir():
        save_image(path, np.full((24, 32), 7, np.uint8))
    return root


def other_shape(root: Path) -> Path:
    save_image(write_images(root) / "masks/c1.png", np.zeros((3, 3), np.uint8))
    return root


def dangling(root: Path) -> Path:
    path = write_images(root) / "masks/c1.png"
    path.unlink()
    path.symlink_to("/nowhere/c1.png")
    return root


def sixteen_bits(root: Path) -> Path:
    save_image(described(write_images(root), channel_names=["rgb_to_0_1"]) / "images/c1.png", _WIDE)
    return root


_WIDE = np.full((24, 32), 4000, np.uint16)
_NEVER = {"background": 0, "a": 1, "b": 2}
_IGNORED = {"background": 0, "a": 2, "ignore": 1}

SETS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "sound": (write_images, ""),
    "two cases": (lambda root: write_images(root, 2), ""),
    "one case": (lambda root: write_images(root, 1), "1 subject leaves 1 to train and validate on"),
    "empty masks": (lambda root: write_images(root, mask_id=0), "every mask is empty"),
    "all ignored": (lambda root: described(write_images(root), labels=_IGNORED), "every mask is empty"),
    "a class that never occurs": (lambda root: described(write_images(root), labels=_NEVER), ""),
    "specks only": (lambda root: write_images(root, size=(2, 2)), ""),
    "constant images": (constant, ""),
    "an undeclared id": (
        lambda root: described(write_images(root, mask_id=7), labels=_NEVER),
        "label ids outside",
    ),
    "a mask of another shape": (other_shape, "has shape (3, 3)"),
    "a link to nowhere": (dangling, "is a link to"),
    "16 bits for 8": (sixteen_bits, "rgb_to_0_1 is for 0 to 255"),
    "a first volume of one slice": (lambda root: volumes(root, (1, 5, 5, 5)), ""),
    "a last volume among slices": (lambda root: volumes(root, (1, 1, 1, 5)), "has 5 slices"),
    "volumes of one slice": (lambda root: volumes(root, (1, 1, 1)), ""),
}


@pytest.mark.parametrize("name", SETS)
def test_check_and_train_refuse_the_same_sets_with_the_same_line(name: str, tmp_path: Path) -> None:
    build, expected = SETS[name]
    root = build(tmp_path / "set")
    faults = [f"{fault.finding}; {fault.remedy}" for fault in check(open_dataset(root)).faults]
    if not expected:
        assert faults == []
        prepare_run(root, tmp_path / "run")
        return
    with pytest.raises(InputError) as refused:
        prepare_run(root, tmp_path / "run")
    assert expected in faults[0]
    assert any(str(refused.value).endswith(fault) for fault in faults)


def test_volumes_among_which_the_first_has_one_slice_are_volumes(tmp_path: Path) -> None:
    assert open_dataset(volumes(tmp_path, (1, 5, 5))).axes == "zyx"
    assert open_dataset(volumes(tmp_path / "even", (1, 5))).axes == "zyx"
    assert open_dataset(volumes(tmp_path / "few", (1, 1, 5))).axes == "yx"
