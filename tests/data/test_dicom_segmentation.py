"""Label maps as DICOM segmentations: each voxel where it was, under its name, read back by others too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

pytest.importorskip("highdicom", reason="the extra dicom is not installed")

import highdicom
import pydicom
from dicom_builders import AXIAL, MR, a_cine, a_series, a_single_image, enhanced, uid
from test_dicom import OBLIQUE, SHAPE, voxels
from volume_builders import plain, volume, write_json

from ldseg.data.dataset import load_case, open_dataset
from ldseg.data.formats import read_volume, write_volume
from ldseg.data.formats.dicom import with_segments
from ldseg.data.formats.dicom.segments import Code, Segment, read_codes, segments_of
from ldseg.data.geometry import affine
from ldseg.data.volume import Volume
from ldseg.errors import InputError

SEGMENTS = (Segment(2, "left"), Segment(5, "right"))


def labelled(image: Volume, empty: bool = False) -> Volume:
    """Ids 0, 2 and 5 on the grid of `image`; its first slice is empty."""
    rng = np.random.default_rng(4)
    array = rng.choice(np.array([0, 2, 5], np.uint8), (1, *image.shape))
    array[:, 0] = 0
    return with_segments(image.with_array(array * (not empty), "labels"), SEGMENTS)


@pytest.fixture(params=["series", "enhanced"])
def source(request: pytest.FixtureRequest, tmp_path: Path) -> Volume:
    """An oblique volume, read from DICOM."""
    if request.param == "series":
        return read_volume(a_series(tmp_path / "scan", voxels(), orientation=OBLIQUE), "image")
    return read_volume(enhanced(tmp_path / "scan", voxels(), [2, 0, 1, 4, 3], orientation=OBLIQUE), "image")


def test_labels_come_back_in_their_place(source: Volume, tmp_path: Path) -> None:
    given = labelled(source)
    write_volume(tmp_path / "seg.dcm", given)
    read = read_volume(tmp_path / "seg.dcm", "labels")
    np.testing.assert_array_equal(read.array, given.array)
    np.testing.assert_allclose(affine(read), affine(source), atol=1e-9)


def test_highdicom_finds_each_voxel_where_it_was(source: Volume, tmp_path: Path) -> None:
    given = labelled(source)
    write_volume(tmp_path / "seg.dcm", given)
    segmentation = highdicom.seg.segread(tmp_path / "seg.dcm")
    assert segmentation.FrameOfReferenceUID == uid("frame of reference")
    theirs = segmentation.get_volume(combine_segments=True)  # segments 1 and 2, axes of its own
    for number, segment in enumerate(SEGMENTS, start=1):
        ours = np.argwhere(given.array[0] == segment.id)[:, ::-1]  # x, y, z
        expected = ours @ affine(given)[:3, :3].T + affine(given)[:3, 3]
        found = np.argwhere(theirs.array == number) @ theirs.affine[:3, :3].T + theirs.affine[:3, 3]
        assert len(found) == len(expected) > 0
        np.testing.assert_allclose(
            found[np.lexsort(found.round(6).T)], expected[np.lexsort(expected.round(6).T)], atol=1e-6
        )


def test_simpleitk_reads_the_same_pixels_and_orientation(source: Volume, tmp_path: Path) -> None:
    given = labelled(source)
    write_volume(tmp_path / "seg.dcm", given)
    image = sitk.ReadImage(str(tmp_path / "seg.dcm"))  # frame after frame; it knows the place of the first
    frames = sitk.GetArrayFromImage(image) > 0
    np.testing.assert_allclose(
        np.reshape(image.GetDirection(), (3, 3))[:, :2], affine(given)[:3, :2] / [0.5, 0.7]
    )
    groups = pydicom.dcmread(tmp_path / "seg.dcm").PerFrameFunctionalGroupsSequence
    for frame, group in zip(frames, groups, strict=True):
        segment = SEGMENTS[group.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1]
        position = [float(value) for value in group.PlanePositionSequence[0].ImagePositionPatient]
        place = np.linalg.solve(affine(given), [*position, 1.0])
        np.testing.assert_array_equal(frame, given.array[0, round(place[2])] == segment.id)
    first = [float(value) for value in groups[0].PlanePositionSequence[0].ImagePositionPatient]
    np.testing.assert_allclose(image.GetOrigin(), first, atol=1e-6)


def test_frames_refer_to_the_images_that_they_were_drawn_on(tmp_path: Path) -> None:
    image = read_volume(a_series(tmp_path / "scan", voxels()), "image")
    write_volume(tmp_path / "seg.dcm", labelled(image))
    places = {
        str(source.SOPInstanceUID): list(source.ImagePositionPatient)
        for source in map(pydicom.dcmread, (tmp_path / "scan").iterdir())
    }
    segmentation = pydicom.dcmread(tmp_path / "seg.dcm")
    assert segmentation.StudyInstanceUID == uid("study")
    assert segmentation.PatientName == "Nobody^Nora"
    for group in segmentation.PerFrameFunctionalGroupsSequence:
        referred = group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        assert places[referred] == list(group.PlanePositionSequence[0].ImagePositionPatient)


def test_an_empty_label_map_keeps_its_grid(tmp_path: Path) -> None:
    image = read_volume(a_series(tmp_path / "scan", voxels()), "image")
    write_volume(tmp_path / "seg.dcm", labelled(image, empty=True))
    read = read_volume(tmp_path / "seg.dcm", "labels")
    assert read.shape == SHAPE
    assert not read.array.any()


def test_an_image_has_a_segmentation_too(tmp_path: Path) -> None:
    image = read_volume(a_single_image(tmp_path / "a.dcm", voxels((6, 8), kind="uint8")), "image")
    given = labelled(image)
    write_volume(tmp_path / "seg.dcm", given)
    np.testing.assert_array_equal(read_volume(tmp_path / "seg.dcm", "labels").array, given.array)


def test_equal_labels_make_equal_objects(tmp_path: Path) -> None:
    image = read_volume(a_series(tmp_path / "scan", voxels()), "image")
    uids = []
    for name, given in (("a", labelled(image)), ("b", labelled(image)), ("c", labelled(image, empty=True))):
        write_volume(tmp_path / f"{name}.dcm", given)
        uids.append(pydicom.dcmread(tmp_path / f"{name}.dcm").SOPInstanceUID)
    assert uids[0] == uids[1] != uids[2]


def test_names_and_codes_are_those_given(tmp_path: Path) -> None:
    write_json(
        tmp_path / "segments.json",
        {
            "version": 1,
            "segments": {
                "lesion": {
                    "type": {"value": "52988006", "scheme": "SCT", "meaning": "Lesion"},
                    "category": {
                        "value": "49755003",
                        "scheme": "SCT",
                        "meaning": "Morphologically Abnormal Structure",
                    },
                }
            },
        },
    )
    classes = {"background": 0, "lesion": 2, "thing 7": 3, "left ventricle": 5, "Liver": 6}
    codes = read_codes(tmp_path / "segments.json", classes)
    segments = segments_of(classes, codes)
    image = read_volume(a_series(tmp_path / "scan", voxels()), "image")
    write_volume(tmp_path / "seg.dcm", with_segments(labelled(image), segments))
    found = {
        segment.SegmentLabel: (
            segment.SegmentedPropertyTypeCodeSequence[0].CodeValue,
            segment.SegmentedPropertyCategoryCodeSequence[0].CodeMeaning,
        )
        for segment in pydicom.dcmread(tmp_path / "seg.dcm").SegmentSequence
    }
    assert found["lesion"] == ("52988006", "Morphologically Abnormal Structure")
    assert found["thing 7"] == ("85756007", "Tissue")
    assert found["Liver"] == ("10200004", "Anatomical Structure")
    assert set(found) == set(classes) - {"background"}


@pytest.mark.parametrize(
    "content, message",
    [
        ({"version": 1, "segments": {"liver": {"colour": 3}}}, "colour is not a field"),
        ({"version": 9, "segments": {}}, "is of version 9"),
        (
            {"version": 1, "segments": {"lung": {}}},
            "there is no class 'lung'; choose among background, liver",
        ),
        (
            {"version": 1, "segments": {"liver": {"type": {"value": "", "scheme": "SCT", "meaning": "x"}}}},
            "give 1 to 16 characters",
        ),
    ],
)
def test_a_damaged_file_of_codes_is_refused(content: object, message: str, tmp_path: Path) -> None:
    write_json(tmp_path / "segments.json", content)
    with pytest.raises(InputError, match=message):
        read_codes(tmp_path / "segments.json", {"background": 0, "liver": 1})


def test_what_is_no_label_map_of_a_dicom_image_is_refused(tmp_path: Path) -> None:
    def cine_frame(dataset: object, number: int) -> None:
        dataset.ImagePositionPatient, dataset.TriggerTime = [0.0, 0.0, 0.0], number  # type: ignore[attr-defined]

    image = read_volume(a_series(tmp_path / "scan", voxels()), "image")
    cine = read_volume(a_series(tmp_path / "cine", voxels(), change=cine_frame, sop_class=MR), "image")
    clip = read_volume(a_cine(tmp_path / "clip.dcm", voxels((4, 6, 8), kind="uint8")), "image")
    stranger = labelled(image)
    stranger.array[0, 1, 0, 0] = 9
    for given, message in (
        (volume("zyx"), "segmentations of DICOM images only"),
        (image, "segmentations of DICOM images only"),
        (stranger, "has id 9, which is no class"),
        (labelled(cine), "cannot be written as DICOM SEG"),
        (labelled(clip), "does not say the size of its pixels"),
    ):
        with pytest.raises(InputError, match=message):
            write_volume(tmp_path / "seg.dcm", given)
        assert not (tmp_path / "seg.dcm").exists()


def test_a_segmentation_is_no_image(tmp_path: Path) -> None:
    image = read_volume(a_series(tmp_path / "scan", voxels()), "image")
    write_volume(tmp_path / "scan" / "seg.dcm", labelled(image))
    with pytest.raises(InputError, match="is a segmentation and not an image"):
        read_volume(tmp_path / "scan" / "seg.dcm", "image")
    assert read_volume(tmp_path / "scan", "image").shape == SHAPE  # it may lie beside the image


def pair(root: Path, label: Path) -> tuple[Volume, Volume]:
    """The series `root`/scan with a mask, through a list of pairs."""
    (root / "cases.csv").write_text(f"image,label\nscan,{label.name}\n", encoding="utf-8")
    dataset = open_dataset(root)
    assert (dataset.axes, dataset.cases[0].name) == ("zyx", "scan")
    image, (mask,) = load_case(dataset, dataset.cases[0])
    assert (mask.origin, mask.direction) == (image.origin, image.direction)
    return image, mask


def test_a_mask_that_leaves_out_empty_slices_is_laid_on_its_image(tmp_path: Path) -> None:
    image = read_volume(a_series(tmp_path / "scan", voxels(), orientation=OBLIQUE), "image")
    given = labelled(image)
    given.array[0, 3:] = 0
    write_volume(tmp_path / "whole.dcm", given)
    whole = highdicom.seg.segread(tmp_path / "whole.dcm")
    sources = [pydicom.dcmread(frame.file) for frame in image.native.frames]
    kept = highdicom.seg.Segmentation(
        sources,
        (given.array[0] == 5).astype(np.uint8),
        "BINARY",
        [_renumbered(whole)],
        uid("s"),
        7,
        uid("o"),
        1,
        "m",
        "m",
        "1",
        "1",
    )
    kept.save_as(tmp_path / "mask.dcm")
    assert kept.NumberOfFrames == 2
    _, mask = pair(tmp_path, tmp_path / "mask.dcm")
    np.testing.assert_array_equal(mask.array, (given.array == 5) * 5)


def _renumbered(whole: highdicom.seg.Segmentation) -> highdicom.seg.SegmentDescription:
    """The description of segment 2 as that of segment 1."""
    description = whole.get_segment_description(2)
    description.SegmentNumber = 1
    return description


@pytest.mark.parametrize("flip", [(0,), (1, 2), (0, 1, 2)])
def test_a_mask_counted_from_another_corner_is_laid_on_its_image(
    flip: tuple[int, ...], tmp_path: Path
) -> None:
    image = read_volume(a_series(tmp_path / "scan", voxels(), orientation=OBLIQUE), "image")
    given = labelled(image)
    corner = affine(image) @ [*((SHAPE[n] - 1 if n in flip else 0) for n in (2, 1, 0)), 1.0]
    signs = [-1.0 if n in flip else 1.0 for n in (2, 1, 0)]
    turned = replace(
        given,
        array=np.flip(given.array, [n + 1 for n in flip]).copy(),
        origin=tuple(corner[:3]),
        direction=tuple((np.reshape(image.direction, (3, 3)) * signs).ravel()),
        native=None,
    )
    write_volume(tmp_path / "mask.nii.gz", turned)
    _, mask = pair(tmp_path, tmp_path / "mask.nii.gz")
    np.testing.assert_array_equal(mask.array, given.array)


def test_a_folder_of_images_may_have_a_folder_per_series(tmp_path: Path) -> None:
    for name in ("a", "b"):
        image = read_volume(a_series(tmp_path / "images" / name, voxels()), "image")
        (tmp_path / "labels").mkdir(exist_ok=True)
        write_volume(tmp_path / "labels" / f"{name}.dcm", labelled(image))
    dataset = open_dataset(tmp_path)
    assert dataset.layout == "two_folders"
    assert dataset.classes == {"background": 0, "left": 2, "right": 5}
    for case in dataset.cases:
        image, (mask,) = load_case(dataset, case)
        np.testing.assert_array_equal(image.array[0], voxels())
        np.testing.assert_array_equal(mask.array, labelled(image).array)


def test_segments_of_other_programs_are_classes_by_their_names(tmp_path: Path) -> None:
    for name, order in (("a", ("left", "right")), ("b", ("right", "left"))):  # numbered in each file anew
        image = read_volume(a_series(tmp_path / "images" / name, voxels(), series=name), "image")
        numbered = tuple(Segment(number, segment) for number, segment in enumerate(order, start=1))
        array = np.zeros((1, *image.shape), np.uint8)
        array[:, 1] = order.index("left") + 1
        array[:, 2:4] = order.index("right") + 1
        path = tmp_path / "labels" / f"{name}.dcm"
        path.parent.mkdir(exist_ok=True)
        write_volume(path, with_segments(image.with_array(array, "labels"), numbered))
        theirs = pydicom.dcmread(path)
        for segment in theirs.SegmentSequence:
            del segment.SegmentDescription  # where ldseg keeps the id
        theirs.save_as(path)
    dataset = open_dataset(tmp_path)
    assert dataset.classes == {"background": 0, "left": 1, "right": 2}
    first, second = (load_case(dataset, case)[1][0].array for case in dataset.cases)
    np.testing.assert_array_equal(first, second)


def test_a_name_that_dicom_cuts_names_no_class(tmp_path: Path) -> None:
    image = read_volume(a_series(tmp_path / "scan", voxels()), "image")
    named = (Segment(2, "l" * 70), Segment(5, "right"))
    write_volume(tmp_path / "mask.dcm", with_segments(labelled(image), named))
    write_json(tmp_path / "classes.json", {"l" * 70: 2, "right": 5})
    _, mask = pair(tmp_path, tmp_path / "mask.dcm")
    np.testing.assert_array_equal(mask.array, labelled(image).array)


def test_a_mask_of_another_place_is_refused(tmp_path: Path) -> None:
    image = read_volume(a_series(tmp_path / "scan", voxels(), orientation=AXIAL), "image")
    for given, message in (
        (replace(labelled(image), origin=(0.0, 0.0, 0.0), native=None), "voxels away from its image scan"),
        (replace(plain("zyx"), spacing=(3.0, 2.0, 1.0)), "has shape"),
    ):
        write_volume(tmp_path / "mask.nii.gz", given)
        with pytest.raises(InputError, match=message):
            pair(tmp_path, tmp_path / "mask.nii.gz")


def test_a_code_has_the_lengths_that_dicom_allows() -> None:
    with pytest.raises(InputError, match="meaning is"):
        Code("1", "SCT", "x" * 65)
