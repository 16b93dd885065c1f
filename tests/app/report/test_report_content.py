"""What a report shows of the data and the model, case by case."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from made_reports import EVERYTHING, anchors, make_report
from tiny_models import know_soft_pictures

from ldseg.app.report.collect import ReportOptions, extremes
from ldseg.app.report.page import to_html
from ldseg.app.report.report_charts import write_figures
from ldseg.inference.predictor import Predictor
from ldseg.planning.plan import Plan
from ldseg.preprocessing.preprocess import preprocess_image
from ldseg.presets import PRESETS
from ldseg.runs.saved_model import build_segmenter, read_settings, save_model

MakeRun = Callable[..., Path]
MakeData = Callable[..., Path]


def test_the_limit_takes_cases_evenly(make_run: MakeRun) -> None:
    report = make_report(make_run(), ReportOptions(limit=2, samples=2, steps=2))
    assert list(report.scores.cases) == ["a", "b"]
    assert "2 of 3 cases" in to_html(report)


def test_the_extremes_are_the_extremes(make_run: MakeRun) -> None:
    report = make_report(make_run())
    dice = dict(zip(report.scores.cases, report.scores.case_dice(), strict=True))
    chosen = extremes(report.scores, list(dice))
    assert dice[chosen["best"]] == max(dice.values())
    assert dice[chosen["worst"]] == min(dice.values())
    assert dice[chosen["best"]] >= dice[chosen["median"]] >= dice[chosen["worst"]]
    assert extremes(report.scores, ["a", "nobody"]) == {"only case": "a"}
    assert set(extremes(report.scores, ["a", "b"])) == {"best", "worst"}


def test_the_page_is_the_same_for_the_same_run(make_run: MakeRun) -> None:
    run = make_run()
    first, second = make_report(run), make_report(run)
    assert first.scores == second.scores
    assert to_html(first) == to_html(second)


def test_a_report_leaves_the_run_as_it_is(make_run: MakeRun) -> None:
    run = make_run()
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    make_report(run)
    assert {path.name: path.read_bytes() for path in run.iterdir()} == before
    assert read_settings(run / "settings.json") == Predictor.load(run, "cpu").settings


def test_all_raters_are_shown_and_counted(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    labels = tmp_path / "data" / "labels"
    for file in list(labels.iterdir()):
        shutil.copy(file, labels / f"{file.stem}_rater2.png")
        file.rename(labels / f"{file.stem}_rater1.png")
    report = make_report(run)
    page = to_html(report)
    assert set(report.scores.cases) == {"a", "b", "c"}
    assert len(report.measurements.calibration.cases) == 6
    assert page.count("references of 2 raters") == 2 * len(report.case_figures)
    write_figures(tmp_path / "figures", report)
    drawn = (tmp_path / "figures" / "raters_1.svg").read_text()
    for words in ("2 raters", "2 samples", "share that marks a structure"):
        assert f">{words}</text>" in drawn


def test_voxels_that_nobody_labelled_do_not_count(make_run: MakeRun) -> None:
    run = make_run()
    before = make_report(run)
    for name, text in (("data.json", '"axes": "yx"'), ("plan.json", '"ignore_id": null')):
        stored = (run / name).read_text()
        assert text in stored
        changed = f'{text}, "ignore_id": 2' if name == "data.json" else '"ignore_id": 2'
        (run / name).write_text(stored.replace(text, changed))
    plan = (run / "plan.json").read_text().replace('"left": 2', '"left": 1')
    (run / "plan.json").write_text(plan)
    after = make_report(run)
    assert after.measurements.volumes.keys() <= before.measurements.volumes.keys()
    assert sum(map(len, after.measurements.volumes.values())) == 2  # the case without structures
    page = to_html(after)
    assert "not labelled throughout" in page


def test_a_page_has_room_for_many_structures(tmp_path: Path, a_plan: Plan, make_data: MakeData) -> None:
    classes = {"background": 0} | {f"structure {number}": number for number in range(1, 31)}
    plan = replace(a_plan, classes=classes)
    run = tmp_path / "run"
    settings = PRESETS["default"](plan)
    torch.manual_seed(0)
    save_model(run, build_segmenter(settings), plan, settings, "card")
    make_data("yx")
    options = ReportOptions(data=tmp_path / "data", limit=2, samples=2, steps=2)
    page = to_html(make_report(run, options))
    assert anchors(page) == EVERYTHING
    (scores,) = re.findall(r'<section id="scores">.*?</table>', page, re.DOTALL)
    assert scores.count('<th scope="row">structure ') == 30


def test_a_case_that_was_brought_nearer_to_the_training_images_is_named(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ldseg.inference.predictor.agrees_better", lambda *_: True)
    run = make_run()
    plan = know_soft_pictures(run, (20, 16))
    report = make_report(run, ReportOptions(samples=2, steps=1, cases=("a",)))
    assert re.search(r"the image is noisier[^;]* than the training images", to_html(report))
    assert report.trajectory is not None
    image = next(iter(report.case_figures.values())).image
    assert not np.array_equal(report.trajectory.image, preprocess_image(image, plan).array)


def test_a_report_of_pictures_without_a_spacing_has_nothing_in_mm(make_run: MakeRun) -> None:
    page = to_html(make_report(make_run()))
    assert "HD95 (pixels)" in page
    assert "area (pixels)" in page
    assert "within 1 pixel;" in page
    assert "voxel" not in page
    assert not re.search(r"\bmm\b|mm[²³]", page)
