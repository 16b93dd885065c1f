"""The pieces of the page: slices, images, trajectory, measuring."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable
from io import BytesIO
from math import isclose
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ldseg.app.report.curves import average_points
from ldseg.app.report.figures import Panel, data_uri, label_overlay, make_base_image, to_gray_or_rgb
from ldseg.app.report.html import facts, panels, text
from ldseg.app.report.measurements import measure_cases
from ldseg.app.report.palette import class_color, heat, heat_stops
from ldseg.app.report.plotting import readable
from ldseg.app.report.sampling_trajectory import STEPS, record_trajectory
from ldseg.app.report.slice_selection import select_crop, select_slice
from ldseg.app.report.trajectory_panels import latent_colors
from ldseg.data.cases import DataOptions
from ldseg.data.dataset import load_case, open_dataset
from ldseg.evaluation.case_metrics import evaluate_case
from ldseg.inference.predictor import Predictor
from ldseg.preprocessing.preprocess import labels_to_ids
from ldseg.settings import SamplingSettings

MakeRun = Callable[..., Path]


def silent(_share: float, _text: str) -> None:
    return None


def decoded(uri: str) -> np.ndarray:
    return np.asarray(Image.open(BytesIO(b64decode(uri.split(",")[1]))))


@pytest.mark.parametrize("axes", ["yx", "zyx", "tyx"])
def test_scores_here_are_those_of_predicting_and_evaluating(make_run: MakeRun, axes: str) -> None:
    run = make_run(axes)
    predictor = Predictor.load(run, "cpu")
    dataset = open_dataset(run.parent / "data", DataOptions(axes=axes))  # type: ignore[arg-type]
    sampling = predictor.sampling(2, 3)
    measurements = measure_cases(predictor, dataset, dataset.cases[:2], sampling, 7, silent)
    for case in dataset.cases[:2]:
        image, masks = load_case(dataset, case)
        said = predictor(image, case.name, steps=2, samples=3, seed=7)
        assert measurements.scores.cases[case.name] == evaluate_case(
            said.labels, masks[0], predictor.plan.classes
        )
        expected = next(one for one in measurements.calibration.cases if one.case == case.name)
        assert isclose(expected.confidence, said.confidence, rel_tol=1e-5)
        point = next(one for one in measurements.volumes["left"] if one.case == case.name)
        assert point.estimate == said.volumes["left"]
        assert point.reference == (masks[0].array == 2).sum()


@pytest.mark.parametrize(("axes", "baseline"), [("yx", "none"), ("zyx", "none"), ("yx", "pixel_diffusion")])
def test_the_film_ends_with_the_models_answer(make_run: MakeRun, axes: str, baseline: str) -> None:
    run = make_run(axes, baseline)
    predictor = Predictor.load(run, "cpu")
    dataset = open_dataset(run.parent / "data", DataOptions(axes=axes))  # type: ignore[arg-type]
    image = load_case(dataset, dataset.cases[0])[0]
    patch = image.with_array(image.array, "image")
    said = predictor(patch, "a", steps=STEPS, samples=1, seed=3)
    trajectory = record_trajectory(predictor, patch, said.labels, "a", SamplingSettings("ddim", STEPS, 1), 3)
    assert trajectory is not None
    times = [state.time for state in trajectory.states]
    assert (times[0], times[-1], len(times)) == (1.0, 0.0, STEPS + 1)
    assert times == sorted(times, reverse=True)
    assert all(
        state.latent.shape[1:] == state.labels.shape == trajectory.image.shape[1:]
        for state in trajectory.states
    )
    assert (trajectory.states[-2].labels == trajectory.states[-1].labels).all()
    size = tuple(slice(0, n) for n in trajectory.image.shape[1:])
    if said.labels.shape == trajectory.image.shape[1:]:
        assert (
            labels_to_ids(trajectory.states[-1].labels, predictor.plan) == said.labels.array[0][size]
        ).all()


def test_the_film_starts_with_the_noise_of_the_first_sample(make_run: MakeRun) -> None:
    run = make_run("zyx")
    predictor = Predictor.load(run, "cpu")
    dataset = open_dataset(run.parent / "data")
    image, masks = load_case(dataset, dataset.cases[0])
    first, again, other = (
        record_trajectory(predictor, image, masks[0], name, SamplingSettings("ddim", 2, 1), 0)
        for name in ("a", "a", "b")
    )
    assert first is not None
    assert again is not None
    assert other is not None
    assert (first.states[0].latent == again.states[0].latent).all()
    assert not (first.states[0].latent == other.states[0].latent).all()


def test_the_view_is_the_slice_with_most_of_the_structure() -> None:
    structures = np.zeros((10, 12, 14), bool)
    structures[2:5, 3:9, 4:11] = True
    structures[7, 2:11, 2:12] = True
    view = select_slice(structures, (1.0, 1.0, 1.0), "zyx")
    assert (view.axis, view.index) == (0, 7)
    assert (view.cut(structures) == structures[7]).all()


def test_slices_are_not_cut_across_thick_voxels() -> None:
    structures = np.ones((4, 30, 30), bool)
    assert select_slice(structures, (6.0, 1.0, 1.0), "zyx").axis == 0
    assert select_slice(structures, (1.0, 1.0, 6.0), "zyx").axis == 2
    assert select_slice(structures, (1.0, 3.0, 9.0), "zyx").axis == 2


def test_superior_is_up_across_the_body() -> None:
    structures = np.zeros((6, 5, 4), bool)
    structures[1:6, 2, 1:4] = True
    view = select_slice(structures, (1.0, 1.0, 1.0), "zyx")
    assert (view.axis, view.describe()) == (1, "coronal slice 3")
    assert view.sides() == "counted from the front; the patient's right is on the left, head is up"
    assert (view.cut(structures)[0] == structures[5, 2]).all()


def test_a_frame_is_shown_of_a_time_series_and_all_of_a_picture() -> None:
    moving = np.zeros((5, 8, 8), bool)
    moving[3, 2:5, 2:5] = True
    view = select_slice(moving, (1.0, 0.5, 0.5), "tyx")
    assert (view.axis, view.index, view.describe()) == (0, 3, "frame 4")
    flat = select_slice(moving[3], (0.5, 0.5), "yx")
    assert flat.describe() == flat.sides() == ""
    assert (flat.cut(moving[3]) == moving[3]).all()


def test_nothing_to_see_is_shown_in_the_middle() -> None:
    assert select_slice(np.zeros((9, 8, 8), bool), (3.0, 1.0, 1.0), "zyx").index == 4
    assert select_crop(np.zeros((9, 8), bool), 1.0, 1.0) is None


@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    corner=st.tuples(st.integers(0, 89), st.integers(0, 89)),
    extent=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    height=st.floats(0.2, 5.0),
)
def test_an_enlarged_part_holds_the_structure_and_lies_in_the_image(
    size: tuple[int, int], corner: tuple[int, int], extent: tuple[int, int], height: float
) -> None:
    structures = np.zeros(size, bool)
    structures[corner[0] : corner[0] + extent[0], corner[1] : corner[1] + extent[1]] = True
    window = select_crop(structures, height, 1.0)
    if window is not None:
        top, left, rows, columns = window
        assert 0 <= top <= top + rows <= size[0]
        assert 0 <= left <= left + columns <= size[1]
        assert structures[top : top + rows, left : left + columns].sum() == structures.sum()


def test_overlays_leave_the_background_clear_and_outline_structures() -> None:
    indices = np.zeros((60, 80), int)
    indices[10:30, 20:50] = 1
    indices[40:50, 5:15] = -1
    overlay = label_overlay(indices)
    scale = overlay.shape[0] // 60
    assert overlay.shape == (60 * scale, 80 * scale, 4)
    alpha = overlay[..., 3].reshape(60, scale, 80, scale)
    assert alpha.max((1, 3))[indices == 0].max() == 0
    assert alpha.max() == 255
    assert 0 < alpha[20, :, 35].max() < 255
    assert tuple(overlay[10 * scale, 20 * scale]) == (*class_color(0), 255)
    assert len(
        {tuple(pixel) for pixel in overlay[45 * scale : 46 * scale, 7 * scale : 8 * scale, :3].reshape(-1, 3)}
    )


def test_pictures_come_back_from_the_page_as_they_were() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (7, 9, 3)).astype(np.uint8)
    assert (decoded(data_uri(pixels)) == pixels).all()


def test_color_pictures_keep_their_colors_and_others_use_all_greys() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 20, 20)).astype(np.float32)
    assert (to_gray_or_rgb(image, True) == np.moveaxis(image, 0, -1)).all()
    grey = to_gray_or_rgb(image * 7 - 300, False)
    assert (grey.shape, grey.min(), grey.max()) == ((20, 20), 0, 255)
    assert (to_gray_or_rgb(np.full((1, 4, 4), 3.0), False) == 0).all()


def test_panels_show_their_part_of_the_image_stretched_to_its_spacing() -> None:
    base = make_base_image("scan", np.zeros((10, 20), np.uint8), 2.5)
    drawn = panels([base], [Panel("image", base, frame=(2, 3, 4, 5))])
    assert 'width="20" height="25.000"' in drawn
    assert 'viewBox="0 0 20 25.000"' in drawn
    assert 'x="3" y="5.000" width="5" height="10.000"' in drawn
    assert 'href="#scan"' in drawn


def test_large_images_are_made_smaller_for_the_page() -> None:
    large = np.random.default_rng(0).integers(0, 256, (3000, 1500)).astype(np.uint8)
    base = make_base_image("scan", large, 1.0)
    assert (base.rows, base.columns) == (3000, 1500)
    assert base.pixels.shape == (1024, 512)
    drawn = panels([base], [Panel("image", base)])
    assert len(drawn) < 1.5e6
    found = re.search(r'href="(data[^"]*)"', drawn)
    assert found is not None
    assert (decoded(found[1]) == base.pixels).all()
    assert max(label_overlay(np.ones((3000, 1500), int)).shape) <= 1024


def test_any_number_of_classes_has_different_colors() -> None:
    colors = [class_color(index) for index in range(120)]
    assert len(set(colors)) == len(colors)


def test_more_uncertainty_is_brighter_and_more_opaque() -> None:
    colors = heat(np.linspace(-0.5, 1.5, 50)).astype(int)
    assert (np.diff(colors[:, 3]) >= 0).all()
    assert (np.diff(colors[:, :3].sum(1)) >= 0).all()
    assert (colors[0, 3], colors[-1, 3]) == (0, 255)
    assert len(heat_stops()) == 9


@pytest.mark.parametrize("channels", [1, 2, 3, 8])
def test_latents_of_any_number_of_channels_become_colors(channels: int) -> None:
    rng = np.random.default_rng(0)
    frames = tuple(rng.standard_normal((channels, 6, 5)).astype(np.float32) for _ in range(3))
    pictures = latent_colors(frames)
    assert all(one.shape == (6, 5, 3) and one.dtype == np.uint8 for one in pictures)
    grey = bool((pictures[-1] == pictures[-1][..., :1]).all())
    assert grey == (channels < 3)
    assert (latent_colors((np.zeros((channels, 4, 4), np.float32),))[0] == 128).all()


def test_curves_of_long_trainings_stay_small() -> None:
    points = [(float(step), 1.0) for step in range(10_000)]
    assert len(average_points(points)) == 200
    assert average_points(points[:3]) == points[:3]


def test_what_files_say_is_text() -> None:
    assert text('<a href="x">') == "&lt;a href=&quot;x&quot;&gt;"
    assert "<b>" not in facts("<b>", [("<b>", "<b>")])


@pytest.mark.parametrize(
    "value, text",
    [(48880.0, "48,880"), (1234567.0, "1,234,567"), (12.3456, "12.35"), (0.0, "0"), (0.00002, "0.000020")],
)
def test_sizes_are_never_powers_of_ten(value: float, text: str) -> None:
    assert readable(value) == text
