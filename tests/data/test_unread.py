"""What looks like an image and is not read does not vanish."""

from __future__ import annotations

from pathlib import Path

import pytest
from volume_builders import mask, save_image, save_volume, volume

from ldseg.data.checks import check
from ldseg.data.dataset import find_inputs, open_dataset
from ldseg.data.unread import describe_unread, unread_in
from ldseg.errors import InputError
from ldseg.evaluation.evaluate_folders import evaluate_folders


def pairs(root: Path, count: int = 5) -> Path:
    for number in range(count):
        save_image(root / f"images/c{number}.png")
        mask(root / f"masks/c{number}.png")
    return root


def remarks(folder: Path) -> str:
    return " | ".join(describe_unread(unread_in(folder)))


def link(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("/nowhere/annex/objects/x")
    return path


def test_files_of_other_formats_are_counted_with_kind_and_remedy(tmp_path: Path) -> None:
    for name in ("a.webp", "b.WEBP", "c.gif", "d.svs", "e.npy", "f.btf"):
        (tmp_path / name).write_bytes(b"x")
    text = remarks(tmp_path)
    assert "2 that are WebP, which is not read" in text
    assert "convert to PNG" in text
    assert all(kind in text for kind in ("GIF", "Aperio SVS", "NumPy", "BigTIFF"))


def test_companions_of_images_are_no_images(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    for name in ("Thumbs.db", "a.json", "notes.txt", "spacing.csv", ".hidden.webp", "a.raw", "dataset.xml"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/readme.md").write_text("x")
    assert unread_in(tmp_path) == ()


def test_folders_that_could_be_cases_are_told(tmp_path: Path) -> None:
    (tmp_path / "case7").mkdir()
    save_image(tmp_path / "case8/a.png")
    text = remarks(tmp_path)
    assert "an empty folder" in text
    assert "a folder with images of its own" in text
    assert unread_in(tmp_path, folders=False) == ()


def test_a_kind_that_has_a_reader_is_not_unread(tmp_path: Path) -> None:
    save_volume(tmp_path / "a.nii.gz", volume("zyx", "image"))
    save_image(tmp_path / "B.PNG")
    assert unread_in(tmp_path) == ()


def test_the_data_of_a_header_are_no_image_of_their_own(tmp_path: Path) -> None:
    save_volume(tmp_path / "a.mhd", volume("zyx", "image"))
    assert unread_in(tmp_path) == ()
    assert [case.name for case in find_inputs(sorted(tmp_path.iterdir()), 1)] == ["a"]
    (tmp_path / "b.hdr").write_bytes(b"x")
    (tmp_path / "b.img").write_bytes(b"x")
    (tmp_path / "c.img").write_bytes(b"x")
    (unread,) = unread_in(tmp_path)
    assert unread.sentence().endswith("c.img is data without its header .hdr, which is not read")


def test_check_hints_at_pairs_that_were_passed_over(tmp_path: Path) -> None:
    pairs(tmp_path)
    for part in ("images", "masks"):
        (tmp_path / part / "c9.webp").write_bytes(b"x")
    report = check(open_dataset(tmp_path))
    assert report.faults == ()
    assert any("2 that are WebP" in hint and "images/c9.webp" in hint for hint in report.hints)


def test_a_link_to_nowhere_is_a_fault_and_names_its_target(tmp_path: Path) -> None:
    pairs(tmp_path)
    link(tmp_path / "images/c7.png")
    link(tmp_path / "masks/c7.png")
    (fault,) = check(open_dataset(tmp_path)).faults
    assert fault.file.endswith("images/c7.png")
    assert "is a link to /nowhere/annex/objects/x, which is not there" in fault.finding
    assert "git annex get" in fault.remedy


def test_a_link_to_nowhere_is_an_image_to_predict(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    path = link(tmp_path / "b.png")
    assert [case.name for case in find_inputs([tmp_path], 1)] == ["a", "b"]
    with pytest.raises(InputError, match="which is not there"):
        find_inputs([path], 1)


@pytest.mark.parametrize("partner, other", [("masks", "images"), ("images", "masks")])
def test_a_partner_in_another_format_is_named(partner: str, other: str, tmp_path: Path) -> None:
    (pairs(tmp_path) / partner / "c0.png").rename(tmp_path / partner / "c0.gif")
    with pytest.raises(
        InputError, match=rf"{other}/c0\.png: .*: {partner}/c0\.gif is GIF, .* convert to PNG"
    ):
        open_dataset(tmp_path)


def test_a_folder_of_unread_images_alone_is_refused_with_their_kind(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "masks").mkdir()
    (tmp_path / "images/a.webp").write_bytes(b"x")
    with pytest.raises(InputError, match=r"has no images in the layout two_folders.*WebP"):
        open_dataset(tmp_path)
    with pytest.raises(InputError, match=r"has no images directly in it.*WebP"):
        find_inputs([tmp_path / "images"], 1)


def test_prediction_tells_what_it_passed_over(tmp_path: Path) -> None:
    save_image(tmp_path / "a.png")
    (tmp_path / "b.webp").write_bytes(b"x")
    save_image(tmp_path / "more/c.png")
    told: list[str] = []
    find_inputs([tmp_path], 1, on_remark=told.append)
    assert len(told) == 2
    assert "b.webp" in told[0]
    assert "more" in told[1]


def test_evaluation_tells_what_it_passed_over(tmp_path: Path) -> None:
    mask(tmp_path / "out/a.png")
    mask(tmp_path / "truth/a.png")
    (tmp_path / "truth/b.webp").write_bytes(b"x")
    (tmp_path / "out/b.webp").write_bytes(b"x")
    told: list[str] = []
    evaluate_folders(tmp_path / "out", tmp_path / "truth", on_remark=told.append)
    assert [("truth/b.webp" in text, "out/b.webp" in text) for text in told] == [(True, False), (False, True)]


def test_a_mask_of_other_letters_is_named(tmp_path: Path) -> None:
    save_image(tmp_path / "images/Case1.png")
    mask(tmp_path / "masks/case1.png")
    with pytest.raises(InputError, match=r"case1\.png has other upper and lower case letters; rename"):
        open_dataset(tmp_path)


def test_an_empty_folder_of_a_case_is_told(tmp_path: Path) -> None:
    for number in range(2):
        save_image(tmp_path / f"{number}/image_1.png")
        mask(tmp_path / f"{number}/label0_.png")
    (tmp_path / "2").mkdir()
    assert any("an empty folder" in remark for remark in open_dataset(tmp_path).remarks)
