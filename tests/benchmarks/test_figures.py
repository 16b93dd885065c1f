"""What of the plan is missing is done, what is there is skipped, stand-ins stay until they are replaced."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from result_files import Script


@pytest.fixture
def figures(script: Script) -> ModuleType:
    return script("figures")


def training(figures: ModuleType, label: str) -> Any:
    return next(one for one in figures.planned() if one.label == label)


def result_of(one: Any, step: Any, commit: str = "abc1234", **changes: Any) -> dict[str, Any]:
    model, preset = one.model
    benchmark = step.result.partition("-")[0]
    identity = {"benchmark": benchmark, "data": one.planned.data, "model": model, "preset": preset}
    return {**identity, "seed": one.seed, "budget_minutes": one.minutes, "commit": commit, **changes}


def done(*trainings: Any) -> dict[str, Any]:
    return {step.result: result_of(one, step) for one in trainings for step in one.steps}


def test_small_sets_are_cross_validated_and_seeds_repeated_as_planned(figures: ModuleType) -> None:
    labels = {one.label for one in figures.planned()}
    assert {f"hippocampus-unet-default-seed{seed}-40min" for seed in range(3)} <= labels
    assert {f"dsb2018-ldseg-paper-seed0-20min-fold{fold}" for fold in range(5)} <= labels
    assert {f"hippocampus-nnunet-default-seed0-{minutes}min" for minutes in (40, 160)} <= labels
    assert "hc18-ssn-default-seed0-20min" in labels
    assert "hc18-ssn-default-seed1-20min" not in labels
    assert len(labels) == len(figures.planned())


def test_a_finished_training_has_nothing_left_and_an_interrupted_one_its_rest(figures: ModuleType) -> None:
    one = training(figures, "hc18-unet-default-seed0-20min")
    results = done(one)
    assert figures.missing(one, results, False, lambda _: True) == []
    del results[one.steps[1].result]
    assert figures.missing(one, results, False, lambda _: True) == [one.steps[1]]


def test_what_is_of_other_code_is_kept_unless_it_is_asked_for_again(figures: ModuleType) -> None:
    one = training(figures, "hc18-unet-default-seed0-20min")
    results = done(one)
    assert figures.state(one.steps[0], one, results, lambda _: False) == "of other code"
    assert figures.missing(one, results, False, lambda _: False) == []
    assert figures.missing(one, results, True, lambda _: False) == list(one.steps)
    assert figures.missing(one, results, True, lambda _: True) == []


def test_a_row_of_another_budget_stands_in_and_goes_when_all_folds_are_there(figures: ModuleType) -> None:
    folds = [training(figures, f"dsb2018-unet-default-seed0-20min-fold{fold}") for fold in range(5)]
    old = "accuracy-dsb2018-unet-default-seed0-16min"
    results = {old: result_of(folds[0], folds[0].steps[0], budget_minutes=16.0)}
    assert figures.state(folds[0].steps[0], folds[0], results, lambda _: True) == "stand-in"
    assert folds[0].steps[0] in figures.missing(folds[0], results, False, lambda _: True)
    results |= done(*folds[:4])
    assert figures.replaced(folds, results) == []
    results |= done(folds[4])
    assert figures.replaced(folds, results) == [old]


def test_the_longer_budget_of_nnunet_is_no_stand_in_that_goes(figures: ModuleType) -> None:
    both = [training(figures, f"hippocampus-nnunet-default-seed0-{minutes}min") for minutes in (40, 160)]
    assert figures.replaced(both, done(*both)) == []


def test_the_list_says_what_is_missing_and_how_long_it_takes(figures: ModuleType) -> None:
    one = training(figures, "usgra-unet-default-seed1-20min")
    text = figures.listing([one], {}, lambda _: True)
    assert f"| {one.label} | accuracy | missing |  | {one.hours:.1f} |" in text
    assert text.endswith(f"there 0, of other code 0, stand-in 0, missing {one.hours:.0f}")
    there = figures.listing([one], done(one), lambda _: False)
    assert f"| {one.label} | accuracy | of other code | abc1234 |" in there


def test_only_what_is_asked_for_runs_each_step_in_one_thread_until_one_fails(
    figures: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[list[str]] = []

    def imitated(words: list[str], **how: Any) -> subprocess.CompletedProcess[str]:
        calls.append([Path(words[1]).name, *words[2:]])
        if "env" in how:
            assert how["env"]["OMP_NUM_THREADS"] == "1"
        return subprocess.CompletedProcess(words, 1 if "calibration.py" in words[1] else 0, "", "")

    monkeypatch.setattr(figures.subprocess, "run", imitated)
    places = ["--data-root", str(tmp_path), "--work", str(tmp_path), "--results", str(tmp_path)]
    ended = figures.main([*places, "--only", "hc18-unet-*-seed0-*", "--minutes-factor", "0.1"])
    assert ended == 1
    assert [call[0] for call in calls] == ["accuracy.py", "calibration.py", "summary.py"]
    wanted = ["--data", "hc18", "--minutes", "2", "--seed", "0", "--model", "unet", "--preset", "default"]
    assert [word for word in calls[0][1:] if word not in places] == wanted


def test_results_of_the_plan_are_taken_from_another_folder_with_their_cases(
    figures: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = training(figures, "hc18-unet-default-seed0-20min")
    there, here = tmp_path / "there", tmp_path / "here"
    for folder in (there, here):
        folder.mkdir()
    name = one.steps[0].result
    cases = {"p1": {"dice": 0.9}, "p2": {"dice": 0.8}}
    figures.store.write_result(there, name, {**result_of(one, one.steps[0]), "cases": cases})
    figures.store.write_result(there, "accuracy-of-no-plan", result_of(one, one.steps[0]))
    taking = ["--take", str(there), "--results", str(here)]
    assert figures.main(taking) == 0
    assert capsys.readouterr().out == f"taken: {name}\n"
    assert figures.store.read_results(here) == {name: figures.store.read_result(there, name)}
    figures.main(taking)
    assert capsys.readouterr().out == ""


def test_folds_of_raters_go_by_the_names_that_raters_gives(figures: ModuleType) -> None:
    one = training(figures, "bubil-ssn-default-seed0-20min-fold3")
    assert [step.result for step in one.steps] == ["raters-bubil-fold3-ssn-seed0-20min"]


def test_the_code_of_a_commit_is_told_by_the_packages_that_a_score_depends_on(
    figures: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tree(training: str, app: str) -> str:
        return f"040000 tree {training}\ttraining\n040000 tree {app}\tapp\n"

    trees = {
        "HEAD": tree("a", "b"),
        "abc1234": tree("a", "b"),
        "bcd2345": tree("a", "c"),
        "def5678": tree("b", "b"),
        "unknown": "",
    }

    def imitated(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.CompletedProcess(words, 0, trees[words[-1].removesuffix(":src/ldseg")], "")

    monkeypatch.setattr(figures.subprocess, "run", imitated)
    assert figures.same_code("abc1234", "HEAD")
    assert figures.same_code("abc1234, bcd2345", "HEAD")
    assert not figures.same_code("abc1234+", "HEAD")
    assert not figures.same_code("abc1234, def5678", "HEAD")
    assert not figures.same_code("unknown", "HEAD")
    assert figures.same_code("def5678", "def5678")
