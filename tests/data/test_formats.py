"""What every format must do, whatever it is."""

from __future__ import annotations

import errno
import pickle
import resource
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from volume_builders import plain, save_image, save_volume, volume

from ldseg.data.formats import (
    FORMATS,
    ending,
    files_of,
    format_of,
    output_ending,
    read_channels,
    read_volume,
    stem,
    writable_endings,
    write_volume,
)
from ldseg.errors import InputError
from ldseg.inference.predict_cases import PredictOptions

# DICOM holds label maps of DICOM images only, nothing is written as Analyze: they have tests of their own.
OF_THEIR_OWN = ("DICOM", "Analyze or NIfTI")
ENDINGS = [e for form in FORMATS for e in form.endings if form.name not in OF_THEIR_OWN]
WRITABLE = [e for e in ENDINGS if e not in (".jpg", ".jpeg")]
FLAT = (".png", ".bmp", ".jpg", ".jpeg")


def labels_for(kind: str):
    """Labels that the format can hold with all their geometry."""
    if kind in FLAT:
        return plain("yx")
    return volume("zyx") if format_of(f"a{kind}").has_geometry else plain("zyx")


@pytest.mark.parametrize("kind", WRITABLE)
def test_labels_come_back_as_they_were_written(kind: str, tmp_path: Path) -> None:
    given = labels_for(kind)
    read = read_volume(save_volume(tmp_path / f"a{kind}", given), "labels")
    np.testing.assert_array_equal(read.array, given.array)
    assert read.array.dtype == given.array.dtype
    assert (read.axes, read.kind) == (given.axes, "labels")
    np.testing.assert_allclose(read.spacing, given.spacing, rtol=1e-6)
    np.testing.assert_allclose(read.origin, given.origin, rtol=1e-6)
    np.testing.assert_allclose(read.direction, given.direction, atol=1e-6)


@pytest.mark.parametrize("kind", WRITABLE)
def test_what_is_written_for_a_file_has_its_geometry_bit_for_bit(kind: str, tmp_path: Path) -> None:
    first = read_volume(save_volume(tmp_path / f"a{kind}", labels_for(kind)), "labels")
    second = read_volume(save_volume(tmp_path / f"b{kind}", first), "labels")
    assert (second.spacing, second.origin, second.direction) == (first.spacing, first.origin, first.direction)


@pytest.mark.parametrize("kind", ENDINGS)
def test_images_are_float32_with_channels_first(kind: str, tmp_path: Path) -> None:
    if kind in (".jpg", ".jpeg"):
        path = save_image(tmp_path / f"a{kind}", np.full((5, 7), 90, np.uint8))
    else:
        path = save_volume(tmp_path / f"a{kind}", replace(labels_for(kind), kind="image"))
    read = read_volume(path, "image")
    assert read.array.dtype == np.float32
    assert read.array.shape == (1, *read.shape)
    assert read.array.flags["C_CONTIGUOUS"]


@pytest.mark.parametrize("kind", ENDINGS)
def test_paths_with_spaces_and_other_scripts_work(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "Études 2024 脑 é"
    folder.mkdir()
    path = folder / f"Größe 1 №{kind}"
    if kind in (".jpg", ".jpeg"):
        save_image(path)
    else:
        save_volume(path, labels_for(kind))
    assert read_volume(path, "image").array.size
    assert stem(path) == "Größe 1 №"


@pytest.mark.parametrize("kind", ENDINGS)
@pytest.mark.parametrize("part", [0.01, 0.3, 0.7, 0.95])
def test_a_truncated_file_is_one_line_for_the_user(kind: str, part: float, tmp_path: Path) -> None:
    path = tmp_path / f"a{kind}"
    noise = np.random.default_rng(0).integers(0, 255, (24, 32), dtype=np.uint8)
    if kind in (".jpg", ".jpeg"):
        save_image(path, noise)
    elif kind in FLAT:
        save_volume(path, replace(plain("yx"), array=noise[None]))
    else:
        save_volume(path, replace(plain("zyx"), array=noise.reshape(1, 4, 8, 24)))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(InputError, match="a" + kind.replace(".", r"\.")) as error:
        read_volume(path, "labels")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ENDINGS)
@pytest.mark.parametrize("content", [b"", b"\x00" * 600, b"<html>404 not found</html>" * 40])
def test_a_file_of_other_content_is_refused(kind: str, content: bytes, tmp_path: Path) -> None:
    path = tmp_path / f"a{kind}"
    path.write_bytes(content)
    with pytest.raises(InputError, match="export it again"):
        read_volume(path, "image")


@pytest.mark.parametrize("kind", [".nii.gz", ".mha", ".nrrd", ".png", ".tif"])
def test_damage_inside_compressed_voxels_is_noticed(kind: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 4, (1, 8, 16, 16), dtype=np.uint8)
    given = replace(plain("zyx"), array=noise)
    if kind == ".png":
        given = replace(plain("yx"), array=noise[:, 0])
    path = save_volume(tmp_path / f"a{kind}", given)
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 2, len(content) // 2 + 20):
        content[place] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        read_volume(path, "labels")


@pytest.mark.parametrize("kind", [".nii.gz", ".mha", ".nrrd", ".tif"])
def test_probabilities_of_several_classes_can_be_written(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for axes in ("yx", "zyx"):
        given = volume(axes, "image") if kind != ".tif" else plain(axes, "image")
        given = replace(given, array=rng.random((4, *given.shape), dtype=np.float32))
        read = read_volume(save_volume(tmp_path / f"{axes}{kind}", given), "image", axes)
        np.testing.assert_array_equal(read.array, given.array)
        np.testing.assert_allclose(read.spacing, given.spacing, rtol=1e-6)


@pytest.mark.parametrize("kind", [".nii.gz", ".nii", ".mha", ".nrrd", ".tif"])
@pytest.mark.parametrize("channels", [1, 3])
def test_cines_come_back_as_cines(kind: str, channels: int, tmp_path: Path) -> None:
    given = plain("tyx", "image", channels)
    given = replace(given, spacing=(0.04, 1.3, 1.4))
    read = read_volume(save_volume(tmp_path / f"a{kind}", given), "image", "tyx")
    np.testing.assert_array_equal(read.array, given.array)
    np.testing.assert_allclose(read.spacing, given.spacing, rtol=1e-6)
    again = read_volume(save_volume(tmp_path / f"b{kind}", read), "image", "tyx")
    assert (again.spacing, again.origin, again.direction) == (read.spacing, read.origin, read.direction)


@pytest.mark.parametrize("kind", [".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_image_with_nan_is_refused_with_their_number(kind: str, bad: float, tmp_path: Path) -> None:
    given = volume("zyx", "image")
    given.array[0, 0, 0, :3] = bad
    with pytest.raises(InputError, match="3 voxels are NaN or infinite"):
        read_volume(save_volume(tmp_path / f"a{kind}", given), "image")


@pytest.mark.parametrize("kind", [".nii.gz", ".mha", ".nrrd", ".tif"])
def test_float_masks_of_whole_numbers_become_integers(kind: str, tmp_path: Path) -> None:
    given = replace(plain("zyx"), kind="image")
    read = read_volume(save_volume(tmp_path / f"a{kind}", given), "labels")
    assert read.array.dtype == np.uint8
    np.testing.assert_array_equal(read.array, given.array)


@pytest.mark.parametrize("value", [0.5, np.nan])
def test_float_masks_with_fractions_are_refused(value: float, tmp_path: Path) -> None:
    given = volume("zyx", "image")
    given.array[0, 1, 1, 1] = value
    with pytest.raises(InputError, match=r"1 voxels that are (not whole numbers|NaN or infinite)"):
        read_volume(save_volume(tmp_path / "a.nii.gz", given), "labels")


def test_big_instance_ids_keep_their_numbers(tmp_path: Path) -> None:
    given = replace(plain("yx"), array=np.array([[[0, 300, 65535]]], dtype=np.uint16))
    for kind in (".png", ".tif", ".nii.gz", ".mha"):
        read = read_volume(save_volume(tmp_path / f"a{kind}", given), "labels")
        assert read.array.ravel().tolist() == [0, 300, 65535]


@pytest.mark.parametrize("source", [".nii.gz", ".mha", ".nrrd"])
@pytest.mark.parametrize("target", [".nii.gz", ".mha", ".nrrd"])
def test_geometry_survives_a_change_of_format(source: str, target: str, tmp_path: Path) -> None:
    first = read_volume(save_volume(tmp_path / f"a{source}", volume("zyx")), "labels")
    second = read_volume(save_volume(tmp_path / f"b{target}", first), "labels")
    np.testing.assert_allclose(second.spacing, first.spacing, rtol=1e-6)
    np.testing.assert_allclose(second.origin, first.origin, rtol=1e-6)
    np.testing.assert_allclose(second.direction, first.direction, atol=1e-6)


@pytest.mark.parametrize("kind", [".nii.gz", ".mha", ".nrrd"])
def test_a_stale_header_does_not_overrule_the_volume(kind: str, tmp_path: Path) -> None:
    first = read_volume(save_volume(tmp_path / f"a{kind}", volume("zyx")), "labels")
    resampled = replace(first, spacing=(9.0, 8.0, 7.0))
    np.testing.assert_allclose(
        read_volume(save_volume(tmp_path / f"b{kind}", resampled), "labels").spacing,
        (9.0, 8.0, 7.0),
        rtol=1e-6,
    )


@pytest.mark.parametrize("kind", [".nii.gz", ".mha", ".nrrd", ".png", ".tif"])
def test_volumes_survive_pickling_for_worker_processes(kind: str, tmp_path: Path) -> None:
    first = read_volume(save_volume(tmp_path / f"a{kind}", labels_for(kind)), "labels")
    copy = pickle.loads(pickle.dumps(first))
    assert (
        save_volume(tmp_path / f"b{kind}", first).read_bytes()
        == save_volume(tmp_path / f"c{kind}", copy).read_bytes()
    )


@pytest.mark.skipif(sys.platform == "win32", reason="limits on file size are POSIX")
@pytest.mark.parametrize("kind", WRITABLE)
def test_a_full_disk_leaves_the_old_file_and_nothing_else(kind: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (1, 120, 120), dtype=np.uint8)
    given = replace(plain("yx"), array=noise)
    path = save_volume(tmp_path / f"a{kind}", plain("yx"))
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(InputError, match="space"):
            write_volume(path, given)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_no_space_left_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("ldseg.data.formats.os.replace", full)
    with pytest.raises(InputError, match=r"a\.nii\.gz.*no space left"):
        write_volume(tmp_path / "a.nii.gz", volume())
    assert not list(tmp_path.iterdir())


def test_a_missing_folder_is_the_users_fault(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.png: cannot be written"):
        write_volume(tmp_path / "nowhere" / "a.png", plain("yx"))


def test_a_missing_file_and_an_unknown_ending_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        read_volume(tmp_path / "a.nii.gz", "image")
    with pytest.raises(InputError, match="no known image format"):
        read_volume(tmp_path / "a.docx", "image")


def test_endings_are_found_whatever_the_case_of_letters() -> None:
    assert ending("x/A.b.NII.GZ") == ".nii.gz"
    assert stem("x/A.b.NII.GZ") == "A.b"
    assert ending(Path("A.PNG")) == ".png"


def test_results_of_lossy_and_flat_formats_have_another_ending() -> None:
    assert output_ending("a.jpg") == ".png"
    assert output_ending("a.jpg", channels=3) == ".tif"
    assert output_ending("a.bmp") == ".bmp"
    assert output_ending("a.png", channels=2) == ".tif"
    assert output_ending("a.nii.gz", channels=5) == ".nii.gz"


def test_jpeg_is_no_format_to_choose_for_results() -> None:
    assert {".png", ".tif", ".nii.gz"} <= set(writable_endings())
    assert not {".jpg", ".jpeg"} & set(writable_endings())
    with pytest.raises(InputError, match=r"format is '\.jpg'; choose one of \.nii\.gz") as error:
        PredictOptions(format=".jpg")
    assert ".jpg " not in str(error.value) + " "


def test_channel_files_are_stacked_in_their_order(tmp_path: Path) -> None:
    given = [replace(volume("zyx", "image"), array=volume("zyx", "image", seed=n).array) for n in range(3)]
    paths = [save_volume(tmp_path / f"a_000{n}.nii.gz", channel) for n, channel in enumerate(given)]
    read = read_channels(paths)
    np.testing.assert_array_equal(read.array, np.concatenate([channel.array for channel in given]))


def test_channel_files_on_other_grids_are_refused(tmp_path: Path) -> None:
    first = save_volume(tmp_path / "a_0000.nii.gz", volume("zyx", "image", seed=0))
    moved = save_volume(tmp_path / "a_0001.nii.gz", volume("zyx", "image", seed=1))
    small = save_volume(tmp_path / "a_0002.nii.gz", volume("zyx", "image", shape=(2, 3, 4)))
    with pytest.raises(InputError, match=r"a_0001\.nii\.gz: lies up to .* voxels away"):
        read_channels([first, moved])
    with pytest.raises(InputError, match=r"a_0002\.nii\.gz: has shape"):
        read_channels([first, small])


def test_channel_files_with_several_channels_each_are_refused(tmp_path: Path) -> None:
    paths = [save_volume(tmp_path / f"a_000{n}.nii.gz", volume("zyx", "image", channels=2)) for n in range(2)]
    with pytest.raises(InputError, match="is one of 2 channel files"):
        read_channels(paths)


def test_an_image_is_made_of_its_header_and_its_voxels_or_of_a_series(tmp_path: Path) -> None:
    for name in ("a.hdr", "a.img", "series/1.dcm", "series/2.dcm", "b.png", "c.mhd", "d.nrrd", "d.raw"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"damaged")
    fields = "dimension: 2\nsizes: 1 1\ntype: uchar\nencoding: raw\ndata file: d.raw\n\n"
    (tmp_path / "d.nrrd").write_text(f"NRRD0004\n{fields}")
    found = {name: files_of(tmp_path / name) for name in ("a.hdr", "series", "b.png", "c.mhd", "d.nrrd")}
    assert {name: [str(one.relative_to(tmp_path)) for one in files] for name, files in found.items()} == {
        "a.hdr": ["a.hdr", "a.img"],
        "series": ["series/1.dcm", "series/2.dcm"],
        "b.png": ["b.png"],
        "c.mhd": ["c.mhd"],
        "d.nrrd": ["d.nrrd", "d.raw"],
    }
