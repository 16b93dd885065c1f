"""The plan: rules on fingerprints made by hand, and its file."""

from dataclasses import replace
from math import prod
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from planning_sets import dataset, fingerprint

from ldseg.errors import InputError
from ldseg.planning.fingerprint import CaseFingerprint
from ldseg.planning.heuristics import plan_mirror_axes
from ldseg.planning.patch import check_patch
from ldseg.planning.plan import Plan, PlanSettings, check_plan, make_plan, read_plan, write_plan

ROOMY = PlanSettings(cpu_memory_gb=14.0)


def plan(settings: PlanSettings = ROOMY, **changes: object) -> Plan:
    print_ = fingerprint(**changes)  # type: ignore[arg-type]
    names = tuple(channel.name for channel in print_.channels)
    return make_plan(print_, dataset(print_.axes, names), settings)


def test_small_volumes_are_one_patch_on_a_fine_latent_grid() -> None:
    made = plan()
    assert made.patch == (48, 64, 48)
    assert not made.tiled
    assert made.strides == ((2, 2, 2),) * 3
    assert made.latent_levels == 2
    assert made.latent_factor == (4, 4, 4)
    assert made.latent_channels == 32
    assert made.batch == 2
    assert made.mirror_axes == (2,)


def test_large_structures_get_a_coarser_latent_grid() -> None:
    made = plan(shapes=((96, 96, 96),), width=40.0)
    assert made.latent_factor == (8, 8, 8)
    assert made.latent_channels == 32
    assert len(made.strides) > made.latent_levels


def test_large_pictures_of_large_structures_start_at_a_quarter() -> None:
    made = plan(axes="yx", shapes=((534, 512), (512, 512), (632, 661)), spacing=(1.0, 1.0), width=40.0)
    assert made.strides[0] == (4, 4)
    assert made.latent_factor == (8, 8)
    assert all(p >= n for p, n in zip(made.patch, (632, 661), strict=True))
    fine = plan(axes="yx", shapes=((534, 512),), spacing=(1.0, 1.0), width=8.0)
    assert fine.strides[0] == (2, 2)
    assert fine.latent_factor == (4, 4)
    assert (made.latent_channels, fine.latent_channels) == (16, 8)


def test_thick_slices_are_halved_late() -> None:
    made = plan(shapes=((24, 320, 320),), spacing=(6.0, 1.0, 1.0), width=20.0)
    assert made.strides[0] == (1, 2, 2)
    assert made.strides[1] == (1, 2, 2)
    assert prod(stride[0] for stride in made.strides) < prod(stride[1] for stride in made.strides)


def test_time_is_halved_once_at_the_last_level_and_never_flipped() -> None:
    made = plan(axes="tyx", shapes=((20, 160, 160),), spacing=(1.0, 1.4, 1.4), width=38.0)
    assert [stride[0] for stride in made.strides] == [1] * (len(made.strides) - 1) + [2]
    assert made.patch == (20, 160, 160)
    assert made.mirror_axes == ()


def test_left_and_right_are_not_exchanged_where_a_structure_has_a_side() -> None:
    print_ = fingerprint()
    sided = ("kidney_L", "Left lung", "LeftLung", "lungRight", "LEFT LUNG", "L-Lung", "cortex lh")
    for name, axes in (
        *((one, ()) for one in sided),
        ("lung", (2,)),
        ("bright spot", (2,)),
        ("Leftover", (2,)),
    ):
        renamed = replace(print_, classes=(replace(print_.classes[0], name=name), *print_.classes[1:]))
        assert plan_mirror_axes(renamed) == axes


def test_a_varied_set_is_tiled() -> None:
    shapes = ((256, 256),) * 5 + ((1040, 1388),)
    made = plan(axes="yx", shapes=shapes, spacing=(1.0, 1.0))
    assert made.patch == (256, 256)
    assert made.tiled


def test_a_patch_shrinks_along_its_longest_side_until_it_fits() -> None:
    big = {"shapes": ((300, 512, 512),), "spacing": (1.0, 0.7, 0.7), "width": 30.0}
    roomy, tight = plan(**big), plan(PlanSettings(gpu_memory_gb=2.0), **big)
    assert prod(roomy.patch) <= 128**3
    assert prod(tight.patch) < prod(roomy.patch)
    assert tight.training_memory_gb <= 2.0
    assert tight.tiled
    extents = [n * step for n, step in zip(roomy.patch, roomy.spacing, strict=True)]
    assert max(extents) / min(extents) < 2


def test_normalisation_follows_the_kind_of_image() -> None:
    assert plan(channels=("CT",)).channels[0].scheme == "foreground"
    assert plan(channels=("CT",)).channels[0].low == 5.0
    assert plan(channels=("T1 MRI",)).channels[0].scheme == "zscore"
    assert plan(channels=("pct",)).channels[0].scheme == "zscore"
    raster = {"axes": "yx", "shapes": ((64, 64),), "spacing": (1.0, 1.0)}
    photo = plan(channels=("R", "G", "B"), colour=True, **raster)
    assert {channel.scheme for channel in photo.channels} == {"range"}
    assert photo.mirror_axes == (0, 1)
    grey = plan(channels=("red", "green", "blue"), colour=False, **raster)
    assert {channel.scheme for channel in grey.channels} == {"zscore"}
    assert grey.mirror_axes == (1,)


def _with_spacings(axes: str, cases: list[tuple[tuple[int, ...], tuple[float, ...]]]) -> Plan:
    made = tuple(CaseFingerprint(f"c{n}", *case) for n, case in enumerate(cases))
    print_ = replace(
        fingerprint(axes=axes, shapes=((8,) * len(axes),), spacing=(1.0,) * len(axes)), cases=made
    )
    return make_plan(print_, dataset(axes), ROOMY)


def test_the_spacing_is_the_median_and_finer_along_thick_slices() -> None:
    cases = [((20, 100, 100), (step, 1.0, 1.0)) for step in (4.0, 5.0, 6.0, 7.0, 8.0)]
    assert _with_spacings("zyx", cases).spacing == pytest.approx((4.4, 1.0, 1.0))


def test_zoomed_pictures_keep_their_pixels_and_scans_do_not() -> None:
    zoomed = _with_spacings("yx", [((270, 400), (step, step)) for step in (0.1, 0.2, 0.4)])
    assert not zoomed.resample
    assert not zoomed.tiled
    scans = [((200, 200), (1.0, 1.0)), ((400, 400), (0.5, 0.5)), ((100, 100), (2.0, 2.0))]
    assert _with_spacings("yx", scans).resample


def test_the_same_fingerprint_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_plan(tmp_path / name, plan())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert read_plan(tmp_path / "a") == plan()


@settings(deadline=None, max_examples=150)
@given(
    axes=st.sampled_from(["yx", "zyx", "tyx"]),
    data=st.data(),
    width=st.floats(2, 80),
    budget=st.floats(1.5, 30),
)
def test_every_plan_is_consistent(axes: str, data: st.DataObject, width: float, budget: float) -> None:
    count = len(axes)
    shape = data.draw(st.tuples(*[st.integers(8, 700)] * count))
    spacing = data.draw(st.tuples(*[st.sampled_from([0.5, 0.8, 1.0, 2.5, 6.0])] * count))
    made = plan(PlanSettings(cpu_memory_gb=budget), axes=axes, shapes=(shape,), spacing=spacing, width=width)
    check_plan(made)
    assert made.training_memory_gb <= budget
    assert made.widths[0] == (24 if count == 2 else 32)
    assert max(made.widths) <= 8 * made.widths[0]
    again = plan(
        PlanSettings(cpu_memory_gb=budget, patch=made.patch),
        axes=axes,
        shapes=(shape,),
        spacing=spacing,
        width=width,
    )
    assert again.strides == made.strides  # a planned patch may be given by hand


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("[48, 64, 48]", "[48, 60, 48]", ["patch is 60 along y", "8", "56 or 64"]),
        ("[48, 64, 48]", "[48, 64]", ["patch is (48, 64)"]),
        ('"version": 1', '"version": 99', ["99", "update ldseg"]),
        ('"latent_levels": 2', '"latent_levels": 7', ["latent_levels is 7", "1 to 3"]),
        ('"batch": 2', '"batch": "4"', ["batch is '4'", "whole number"]),
        ('"batch": 2', '"batch": 0', ["batch is 0"]),
        ("[32, 64, 128]", "[32, 64]", ["widths is (32, 64)", "3"]),
        ('"object": 1', '"object": 0', ["classes"]),
        ("[1.0, 1.0, 1.0]", "[1.0, 0.0, 1.0]", ["spacing is (1.0, 0.0, 1.0)", "above 0"]),
    ],
)
def test_an_edited_plan_that_cannot_be_says_so(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    path = tmp_path / "plan.json"
    write_plan(path, plan())
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as caught:
        read_plan(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)


def test_settings_are_honoured_or_refused() -> None:
    made = plan(PlanSettings(patch=(32, 32, 32), batch=7, spacing=(2.0, 2.0, 2.0)))
    assert (made.patch, made.batch, made.spacing) == ((32, 32, 32), 7, (2.0, 2.0, 2.0))
    with pytest.raises(InputError, match="patch is 500 along x"):
        plan(PlanSettings(patch=(512, 500)), axes="yx", shapes=((512, 512),), spacing=(1.0, 1.0))
    with pytest.raises(InputError, match="3 numbers"):
        plan(PlanSettings(patch=(32, 32)))
    with pytest.raises(InputError, match="batch is 0"):
        PlanSettings(batch=0)


def test_a_patch_is_refused_with_the_sizes_that_divide() -> None:
    check_patch("yx", (32, 64), (16, 32))
    with pytest.raises(InputError, match=r"use 32$"):
        check_patch("yx", (20, 64), (32, 32))


def test_a_plan_that_did_not_record_it_tells_by_its_spacing_whether_images_had_one(a_plan: Plan) -> None:
    assert a_plan.had_spacing is None
    assert replace(a_plan, spacing=(0.3, 0.3)).had_spacing is True
    assert replace(a_plan, spacing=(0.3, 0.3), physical_spacing=False).had_spacing is False
