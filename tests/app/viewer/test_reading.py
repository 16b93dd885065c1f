"""References are found by the names of the cases, and lie where their files say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from viewer_helpers import MakeSession, an_image

from ldseg.app.viewer.reading import read_case, with_references
from ldseg.app.viewer.state import describe
from ldseg.data.cases import Case
from ldseg.data.formats import write_volume
from ldseg.errors import InputError
from ldseg.planning.plan import Plan


def case_of(path: Path) -> Case:
    return Case(path.name.split(".")[0], (path,), (), "a")


def test_masks_of_several_raters_and_cases_without_a_mask(tmp_path: Path) -> None:
    for name in ("a_rater1.png", "a_rater2.png", "b.png"):
        (tmp_path / name).write_bytes(b"")
    found = with_references([case_of(Path(f"{name}.png")) for name in "abc"], tmp_path)
    assert [[path.name for path in case.labels] for case in found] == [
        ["a_rater1.png", "a_rater2.png"],
        ["b.png"],
        [],
    ]


def test_one_mask_is_not_for_several_images(tmp_path: Path) -> None:
    (tmp_path / "mask.png").write_bytes(b"")
    with pytest.raises(InputError, match="is one mask for 2 images"):
        with_references([case_of(Path("a.png")), case_of(Path("b.png"))], tmp_path / "mask.png")


def test_a_reference_that_is_stored_backwards_lies_by_its_affine(tmp_path: Path, a_plan: Plan) -> None:
    image = an_image("zyx")
    labels = np.zeros(image.shape, np.uint8)
    labels[2, 3, 4] = 5
    turned = replace(
        image.with_array(labels[None, ::-1], "labels"),
        origin=(0.0, 0.0, 2.0 * (image.shape[0] - 1)),
        direction=(1.0, 0, 0, 0, 1.0, 0, 0, 0, -1.0),
    )
    write_volume(tmp_path / "a.nii.gz", image)
    write_volume(tmp_path / "mask.nii.gz", turned)
    (case,) = with_references([case_of(tmp_path / "a.nii.gz")], tmp_path / "mask.nii.gz")
    _, (found,) = read_case(case, replace(a_plan, axes="zyx"))
    assert np.argwhere(found == 2).tolist() == [[2, 3, 4]]


def test_dice_and_size_against_the_reference_leave_out_what_nobody_labelled(
    make_session: MakeSession,
) -> None:
    reference = np.zeros((20, 24), np.int16)
    reference[:4, :6] = 1
    reference[10:] = -1
    session = make_session(references=[reference])
    labels = session.prediction.layers["labels"].array
    labels[:] = 0
    labels[:4, :3] = 1
    labels[12:, :] = 1
    session.reference_dice = session._reference_dice(session.prediction)
    left, right = describe(session)["structures"]
    assert left["reference_dice"] == pytest.approx(2 * 12 / (12 + 24))
    assert left["reference"] == [24 * 1.5]
    assert right["reference_dice"] is None
    assert session.layers["reference-1"].array.max() == 3
