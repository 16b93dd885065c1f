"""Whole pages: what they hold, that they need nothing else, and what is complained of."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from made_reports import EVERYTHING, anchors, make_report

from ldseg.app.cli.main import main
from ldseg.app.report.collect import ReportOptions, collect
from ldseg.app.report.page import to_html
from ldseg.app.report.reliability import reliability_notes
from ldseg.data.dataset import open_dataset
from ldseg.evaluation.ambiguity import evaluate_ambiguity
from ldseg.evaluation.scores import Scores
from ldseg.inference.ensemble import Ensemble
from ldseg.inference.ensemble_files import store_ensemble
from ldseg.inference.predictor import Predictor
from ldseg.inference.temperature_scaling import Calibration, store_calibration

MakeRun = Callable[..., Path]
MakeData = Callable[..., Path]
Output = pytest.CaptureFixture[str]
FAST = ("--device", "cpu", "--samples", 2, "--steps", 2)


def run_command(*words: object) -> int:
    return main([str(word) for word in ("report", *words, *FAST)])


def complaint(output: Output) -> str:
    """The only line on stderr."""
    (line,) = output.readouterr().err.strip().splitlines()
    assert line.startswith("ldseg: error: ")
    return line


def titles(page: str) -> list[str]:
    return re.findall(r"<h3>([^<]*)", page)


@pytest.mark.parametrize(
    ("axes", "baseline", "channels"),
    [
        ("yx", "none", 1),
        ("yx", "unet", 3),
        ("zyx", "none", 1),
        ("tyx", "pixel_diffusion", 2),
        ("yx", "ssn", 1),
        ("zyx", "probabilistic_unet", 1),
    ],
)
def test_a_page_has_all_parts_and_needs_nothing_else(
    make_run: MakeRun, axes: str, baseline: str, channels: int
) -> None:
    run = make_run(axes, baseline, channels)
    page = to_html(make_report(run))
    without_steps = baseline in ("unet", "ssn", "probabilistic_unet")
    assert anchors(page) == EVERYTHING - ({"trajectory"} if without_steps else set())
    assert "http:" not in page
    assert "https:" not in page
    assert "<script" not in page
    assert " src=" not in page
    assert "url(" not in page
    assert "@import" not in page
    links = re.findall(r'href="([^"]*)"', page)
    assert links
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    names = re.findall(r' id="([^"]*)"', page)
    assert len(names) == len(set(names))
    assert {link[1:] for link in links if link.startswith("#")} <= set(names)
    for shown in ("left", "right", "best: ", "median: ", "worst: ", "the image is hardly used"):
        assert shown in page


def test_the_command_measures_the_test_part_and_writes_the_page(
    make_run: MakeRun, tmp_path: Path, capsys: Output
) -> None:
    run, page = make_run(), tmp_path / "out" / "page.html"
    assert run_command(run, "-o", page, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["page"] == str(page)
    assert said["cases"] == 3
    assert set(said["shown"]) == {"best", "median", "worst"}
    assert set(said["shown"].values()) == {"a", "b", "c"}
    assert 0 <= said["mean_dice"] <= 1
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_figures_are_written_as_pdf_and_svg(make_run: MakeRun, tmp_path: Path, capsys: Output) -> None:
    run, folder = make_run("zyx"), tmp_path / "figures"
    assert run_command(run, "--figures", folder, "--json") == 0
    written = json.loads(capsys.readouterr().out)["figures"]
    assert sorted(written) == sorted(str(path) for path in folder.iterdir())
    names = {path.stem for path in folder.glob("*.pdf")}
    assert names == {path.stem for path in folder.glob("*.svg")}
    wanted = {"training_loss", "validation_dice", "dice", "reliability_near", "risk_cases", "volumes"}
    assert wanted | {"case_1", "case_2", "case_3", "trajectory"} <= names
    assert all(path.read_bytes().startswith(b"%PDF") for path in folder.glob("*.pdf"))
    volumes, case = (folder / "volumes.svg").read_text(), (folder / "case_1.svg").read_text()
    assert "reference (mm³)" in volumes
    for words in ("entropy (nats)", "prediction", "left", "right", "5 mm"):
        assert f">{words}</text>" in case


def test_a_file_is_no_folder_of_figures(make_run: MakeRun, tmp_path: Path, capsys: Output) -> None:
    run = make_run()
    (tmp_path / "figures").write_text("")
    assert run_command(run, "--figures", tmp_path / "figures") == 2
    assert "is a file" in complaint(capsys)
    assert run_command(run, "--figures", tmp_path / "figures" / "below") == 2
    assert "is a file, where a folder is needed; choose another folder with --figures" in complaint(capsys)
    assert not (run / "report.html").exists()


def test_the_page_goes_into_the_run_unless_named(make_run: MakeRun, capsys: Output) -> None:
    run = make_run()
    assert run_command(run, "--part", "validation") == 0
    assert "over 1 cases" in capsys.readouterr().out
    assert "only case: d" in (run / "report.html").read_text(encoding="utf-8")


def test_cases_can_be_named(make_run: MakeRun) -> None:
    run = make_run()
    report = make_report(run, ReportOptions(cases=("f", "a"), samples=2, steps=2))
    assert list(report.case_figures) == ["f", "a"]
    assert set(report.scores.cases) == {"a", "b", "c"}
    shown = [title for title in titles(to_html(report)) if title.strip() in ("f", "a")]
    assert len(shown) == 2


def test_samples_are_compared_with_several_raters(make_run: MakeRun) -> None:
    run = make_run()
    masks = run.parent / "data" / "labels"
    for path in sorted(masks.glob("*.png")):
        path.with_stem(f"{path.stem}_rater2").write_bytes(path.read_bytes())
        path.rename(path.with_stem(f"{path.stem}_rater1"))
    report = make_report(run)
    assert report.raters is not None
    assert set(report.raters.ambiguity.cases) == {"a", "b", "c"}
    measured, predictor = report.measurements, Predictor.load(run, "cpu")
    dataset, cases = open_dataset(run.parent / "data"), report.evaluation.cases
    sampling = measured.sampling
    alone = evaluate_ambiguity(predictor, dataset, cases, sampling.samples, sampling.steps, measured.seed)
    assert alone == report.raters.ambiguity
    ged = [report.raters.ambiguity.cases[name].ged2 for name in report.raters.panels]
    assert ged == sorted(ged, reverse=True)
    page = to_html(report)
    assert report.raters.rater_dice == 1
    assert "<b>1.000</b><span>Dice of two raters with each other" in page
    assert "reference (mean of 2 raters)" in page
    assert anchors(page) == EVERYTHING | {"raters"}
    assert "2 raters" in page


def test_the_fold_is_measured_where_there_is_no_test_part(make_run: MakeRun) -> None:
    run = make_run()
    content = json.loads((run / "splits.json").read_text())
    (run / "splits.json").write_text(json.dumps({**content, "test": []}))
    report = make_report(run)
    assert (report.evaluation.part, list(report.scores.cases)) == ("validation", ["d"])
    assert report.evaluation.seen == "none"


def test_cases_that_were_trained_on_are_pointed_out(make_run: MakeRun) -> None:
    run = make_run()
    content = json.loads((run / "splits.json").read_text())
    folds = [{"train": ["x"], "validation": ["y"]}]
    (run / "splits.json").write_text(json.dumps({**content, "test": [], "folds": folds}))
    assert make_report(run).evaluation.part == "all"
    folds = [{"train": ["a", "b", "c", "d", "e", "f"], "validation": []}]
    (run / "splits.json").write_text(json.dumps({**content, "test": [], "folds": folds}))
    report = make_report(run)
    assert report.evaluation.seen == "some"
    page = to_html(report)
    assert "trained on some of these cases" in page[: page.index('class="tiles"')]


def test_a_model_without_splits_may_have_been_trained_on_the_cases(make_run: MakeRun) -> None:
    run = make_run()
    (run / "splits.json").unlink()
    report = make_report(run)
    assert report.evaluation.seen == "unknown"
    page = to_html(report)
    assert "Nothing says which cases trained this model" in page[: page.index('class="tiles"')]


def test_the_splits_of_its_members_say_what_trained_an_ensemble(make_run: MakeRun, tmp_path: Path) -> None:
    run, data = make_run(), tmp_path / "data"
    members = [Path(shutil.copytree(run, tmp_path / name)) for name in ("one", "two")]
    store_ensemble(tmp_path, Ensemble([Predictor.load(member, "cpu") for member in members]), members)
    options = ReportOptions(data=data, samples=2, steps=2)
    assert collect(tmp_path, options, "cpu").evaluation.seen == "some"
    splits = json.loads((run / "splits.json").read_text())
    for member in members:
        other = {**splits, "folds": [{"train": ["x"], "validation": ["y"]}]}
        (member / "splits.json").write_text(json.dumps(other))
    assert collect(tmp_path, options, "cpu").evaluation.seen == "none"
    (members[0] / "splits.json").unlink()
    assert collect(tmp_path, options, "cpu").evaluation.seen == "unknown"


def test_a_run_without_log_fingerprint_and_splits_still_has_a_page(make_run: MakeRun) -> None:
    run = make_run()
    for name in ("log.jsonl", "splits.json"):
        (run / name).unlink()
    page = to_html(make_report(run))
    assert anchors(page) == EVERYTHING
    assert "no log of its training" in page


def test_data_may_have_moved(make_run: MakeRun, tmp_path: Path, capsys: Output) -> None:
    run = make_run()
    shutil.move(tmp_path / "data", tmp_path / "elsewhere")
    assert run_command(run) == 2
    line = complaint(capsys)
    assert "the data of" in line
    assert "no longer there; say where they are with --data" in line
    assert not (run / "report.html").exists()
    assert run_command(run, "--data", tmp_path / "elsewhere") == 0


def test_a_run_that_does_not_know_its_data_says_so(make_run: MakeRun, tmp_path: Path, capsys: Output) -> None:
    run = make_run()
    (run / "data.json").unlink()
    assert run_command(run) == 2
    assert "say where the images and masks are with --data" in complaint(capsys)
    assert run_command(run, "--data", tmp_path / "data") == 0


def test_what_is_no_run_is_refused_in_one_line(make_run: MakeRun, tmp_path: Path, capsys: Output) -> None:
    assert run_command(tmp_path / "nothing") == 2
    assert "there is no such folder" in complaint(capsys)
    run = make_run()
    (run / "model.safetensors").write_bytes(b"not weights")
    assert run_command(run) == 2
    assert "weights are damaged" in complaint(capsys)


def test_what_cannot_be_done_is_refused_in_one_line(
    make_run: MakeRun, tmp_path: Path, capsys: Output
) -> None:
    run = make_run()
    refusals = {
        ("--cases", "a,nobody"): "has no case nobody",
        ("--limit", "0"): "limit is 0",
        ("-o", str(tmp_path / "page.pdf")): "ends with .html",
        ("--scores", str(tmp_path / "none.json")): "there is no such file",
        ("--robustness", str(tmp_path)): "there is no such file",
    }
    for words, reason in refusals.items():
        assert run_command(run, *words) == 2
        assert reason in complaint(capsys)


def test_masks_of_another_set_are_refused(make_run: MakeRun, capsys: Output) -> None:
    run = make_run()
    plan = (run / "plan.json").read_text().replace('"right": 5', '"right": 7')
    (run / "plan.json").write_text(plan)
    assert run_command(run) == 2
    assert "its masks have the id 5, the model knows background: 0, left: 2, right: 7" in complaint(capsys)


def test_scores_of_an_evaluation_are_shown_as_they_are(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run()
    out, file = tmp_path / "predictions", tmp_path / "mine.json"
    predict = ("predict", tmp_path / "data" / "images", "-m", run, "-o", out, "--device", "cpu")
    assert main([str(word) for word in predict]) == 0
    evaluate = ("evaluate", out, tmp_path / "data" / "labels", "-o", file, "--tolerance-px", "3")
    assert main([str(word) for word in evaluate]) == 0
    stored = json.loads(file.read_text())
    del stored["cases"]["f"]
    file.write_text(json.dumps(stored))
    report = make_report(run, ReportOptions(scores=file, samples=2, steps=2))
    assert set(report.scores.cases) == {"a", "b", "c", "d", "e"} == set(report.measurements.scores.cases)
    page = to_html(report)
    assert "5 cases of mine.json" in page
    assert "within 3 pixels" in page
    assert "trained on some of these cases" in page


def test_a_sweep_is_shown_when_it_is_of_this_model(make_run: MakeRun, tmp_path: Path, capsys: Output) -> None:
    run = make_run()
    assert "Not measured yet" in to_html(make_report(run))
    words = ("robustness", tmp_path / "data", "-m", run, "-o", run / "robustness", "--corruptions", "blur")
    assert main([str(word) for word in (*words, "--device", "cpu", "--steps", "1")]) == 0
    page = to_html(make_report(run))
    assert "mean Dice under blur" in page
    assert "Not measured yet" not in page
    found = json.loads((run / "robustness" / "robustness.json").read_text())
    found["setup"]["weights"] = "0" * 64
    (run / "robustness" / "robustness.json").write_text(json.dumps(found))
    capsys.readouterr()
    assert run_command(run) == 2
    assert "was measured on other weights" in complaint(capsys)


def test_names_from_files_are_text_in_the_page(make_run: MakeRun) -> None:
    run = make_run()
    for file in ("plan.json",):
        (run / file).write_text((run / file).read_text().replace('"right"', '"<img src=x>&\'"'))
    page = to_html(make_report(run))
    assert "<img" not in page
    assert "&lt;img src=x&gt;&amp;&#x27;" in page


def test_a_deterministic_model_has_no_film_and_no_volume_intervals(make_run: MakeRun) -> None:
    run = make_run(baseline="unet")
    report = make_report(run)
    page = to_html(report)
    assert report.trajectory is None
    assert report.measurements.sampling.samples == 1
    assert "This model is deterministic" in page
    assert "area intervals" not in page
    assert "90 % interval" not in page


def test_stochastic_models_show_intervals(make_run: MakeRun) -> None:
    run = make_run()
    page = to_html(make_report(run))
    assert "area intervals" in page
    top = page[: page.index("<section")]
    assert "Measured on 3 cases: the test part, which neither trained nor chose anything." in top
    assert "of the true areas are within their 90 % interval" in top
    assert "2 samples of 2 steps (preconditioned_ddim)" in page


@pytest.mark.parametrize("baseline", ["ssn", "probabilistic_unet"])
def test_samples_that_are_drawn_at_once_have_no_steps(make_run: MakeRun, baseline: str) -> None:
    page = to_html(make_report(make_run(baseline=baseline)))
    assert "2 samples, drawn at once" in page
    assert "preconditioned_ddim" not in page


def test_reasons_not_to_rely_on_the_model_stand_above_its_figures(make_run: MakeRun) -> None:
    run = make_run()
    plain = to_html(make_report(run))
    top = plain[: plain.index('class="tiles"')]
    assert re.search(r"Do not rely on this model: its mean Dice is 0\.\d\d after 100 training steps", top)
    assert "The training warned: the image is hardly used." in top
    assert "are not calibrated; ldseg calibrate does it" in top
    assert "The scores are of 3 cases" in top
    store_calibration(run, Calibration(temperature=3.0))
    fitted = make_report(run)
    assert "intervals were fitted on 1 case:" in to_html(fitted)
    store_calibration(run, Calibration(temperature=3.0, cases=7))
    assert "intervals were fitted on 7 cases:" in to_html(make_report(run))
    good = replace(fitted, scores=_perfect(fitted.scores), calibrated_on=20)
    assert not [note for note in reliability_notes(good) if "scores are of" not in note]


def _perfect(scores: Scores) -> Scores:
    """The same cases with a Dice of 1."""
    cases = {
        case: {name: replace(one, metrics={**one.metrics, "dice": 1.0}) for name, one in of_case.items()}
        for case, of_case in scores.cases.items()
    }
    return replace(scores, cases=cases)


@pytest.mark.parametrize(("axes", "charts"), [("tyx", 3), ("zyx", 0)])
def test_films_show_their_areas_over_time(make_run: MakeRun, axes: str, charts: int) -> None:
    assert to_html(make_report(make_run(axes))).count("area over the frames of") == charts


def test_a_stored_recalibration_is_used_and_said(make_run: MakeRun) -> None:
    run = make_run()
    plain = make_report(run)
    store_calibration(run, Calibration(temperature=3.0))
    soft = make_report(run)
    assert "<dt>recalibrated</dt><dd>no</dd>" in to_html(plain)
    assert "<dt>recalibrated</dt><dd>yes" in to_html(soft)
    assert plain.measurements.calibration.everywhere is not None
    assert soft.measurements.calibration.everywhere is not None
    assert (
        soft.measurements.calibration.everywhere.confidence
        < plain.measurements.calibration.everywhere.confidence
    )
    assert plain.scores.case_dice() == soft.scores.case_dice()
