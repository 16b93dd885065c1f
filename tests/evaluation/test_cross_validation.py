"""A cross-validation end to end: folds are trained, interrupted, resumed, continued and scored."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import ldseg
from ldseg.api import plan_run, train_run
from ldseg.app.cli.main import main
from ldseg.data.cases import DataOptions
from ldseg.data.formats import read_volume
from ldseg.data.splits import read_splits, write_splits
from ldseg.errors import InputError
from ldseg.evaluation.cross_validation import cross_validate
from ldseg.evaluation.evaluate_folders import EvaluationOptions
from ldseg.planning.plan import read_plan, write_plan
from ldseg.runs.folds import fold_folders
from ldseg.runs.run_setup import SplitOptions
from ldseg.runs.saved_model import read_settings
from ldseg.training.train_step import TrainStep
from ldseg.training.trainer import TrainingResult

CHANGES: dict[str, Any] = {"training": {"steps": 2, "validations": 1, "calibrate": False, "batch": 2}}


def write_data(root: Path) -> Path:
    """Eight pictures of four subjects, each with a bright square."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number in range(8):
        rng = np.random.default_rng(number)
        mask = np.zeros((32, 32), np.uint8)
        top, left = rng.integers(4, 16, 2)
        mask[top : top + 10, left : left + 10] = 1
        image = (100 * mask + rng.integers(0, 60, mask.shape)).astype(np.uint8)
        for folder, pixels in (("images", image), ("masks", mask)):
            Image.fromarray(pixels).save(root / folder / f"{number // 2}_{number}.png")
    return root


def make_plan(data: Path, run: Path, folds: int) -> None:
    """Plan a small model for the folds of `run`, split by subject."""
    options = DataOptions(subject_pattern=r"^(\d)_")
    plan = plan_run(data, run, options, split=SplitOptions(folds=folds))
    write_plan(run / "plan.json", replace(plan, widths=tuple(8 for _ in plan.widths), latent_channels=4))


def train(data: Path, run: Path, **options: Any) -> TrainingResult:
    return train_run(data, run, device="cpu", **options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Data and a run of two trained folds; tests copy what they change."""
    root = tmp_path_factory.mktemp("folds")
    data, run = write_data(root / "data"), root / "run"
    make_plan(data, run, 2)
    train(data, run, changes=CHANGES, folds=2)
    return data, run


def test_each_fold_is_a_run_of_its_own(trained: tuple[Path, Path]) -> None:
    _, run = trained
    assert [folder.name for folder in fold_folders(run)] == ["fold_0", "fold_1"]
    for fold, folder in enumerate(fold_folders(run)):
        for name in ("data.json", "splits.json", "fingerprint.json", "plan.json", "card.md", "log.jsonl"):
            assert (folder / name).is_file(), name
        assert read_settings(folder / "settings.json").training.fold == fold
        assert not (folder / "cache").exists()
    assert len(list((run / "cache").iterdir())) == 8


def test_a_fold_is_the_model_that_fold_alone_trains(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, run = trained
    make_plan(data, tmp_path / "alone", 2)
    changes = {"training": {**CHANGES["training"], "fold": 1}}
    train(data, tmp_path / "alone", changes=changes)
    weights = [path / "model.safetensors" for path in (run / "fold_1", tmp_path / "alone")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_each_case_is_scored_by_the_model_that_had_not_seen_it(trained: tuple[Path, Path]) -> None:
    data, run = trained
    scores = ldseg.cross_validate(run, device="cpu")
    assert sorted(scores.cases) == sorted(path.stem for path in (data / "images").iterdir())
    assert len(set(scores.subjects.values())) == 4
    splits = read_splits(run / "splits.json")
    for fold, folder in zip(splits.folds, fold_folders(run), strict=True):
        predictor = ldseg.load(folder, device="cpu")
        for name in fold.validation:
            labels = predictor(data / "images" / f"{name}.png").labels.array
            stored = read_volume(folder / "validation" / f"{name}.png", "labels").array
            np.testing.assert_array_equal(stored, labels)


def test_the_command_writes_scores_into_the_run(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    data, run = trained
    assert main(["evaluate", str(run), "--device", "cpu"]) == 0
    assert "over 8 cases" in capsys.readouterr().out
    content = json.loads((run / "scores.json").read_text())
    assert len(content["cases"]) == 8
    assert content["mean_dice_interval"] is not None
    (run / "scores.csv").unlink()
    moved = shutil.copytree(data, tmp_path / "moved")
    assert main(["evaluate", str(run), str(moved), "-o", str(tmp_path / "s.json"), "--device", "cpu"]) == 0
    assert json.loads((tmp_path / "s.json").read_text())["cases"] == content["cases"]


def test_interrupted_folds_are_resumed_and_then_continued(
    trained: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, whole = trained
    run = tmp_path / "run"
    make_plan(data, run, 2)
    for step in (0, 3):  # of both folds together
        count = 0
        usual = TrainStep.run

        def die(self: TrainStep, *arguments: Any, limit: int = step, usual: Any = usual) -> Any:
            nonlocal count
            if count == limit:
                raise KeyboardInterrupt
            count += 1
            return usual(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(TrainStep, "run", die)
            asked = {"changes": CHANGES, "folds": 2} if step == 0 else {"resume": True}
            with pytest.raises(KeyboardInterrupt):
                train(data, run, **asked)
    with pytest.raises(InputError, match=r"fold_1: is not trained to its end \(1 of 2 are not\)"):
        cross_validate(run)
    scores = cross_validate(run, options=EvaluationOptions(partial=True), device="cpu")
    assert (len(scores.cases), scores.part) == (4, "validation")
    ended = train(data, run, resume=True, folds=2)
    assert (ended.folder, ended.steps, ended.already) == (run, 4, False)
    assert train(data, run, resume=True).already
    for fold in ("fold_0", "fold_1"):
        assert (run / fold / "model.safetensors").read_bytes() == (
            whole / fold / "model.safetensors"
        ).read_bytes()
    going_on = {"changes": {"training": {"steps": 1}}, "continue_training": True}
    assert train(data, run, **going_on).steps == 6
    with pytest.raises(InputError, match="has used up its budget"):
        train(data, run, continue_training=True)


def test_what_does_not_fit_is_one_line(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, folds = trained
    with pytest.raises(InputError, match=r"has 2 folds; give --folds 2, or choose another -o"):
        train(data, folds, folds=3, resume=True)
    with pytest.raises(InputError, match="holds a training already"):
        train(data, folds, changes=CHANGES)
    with pytest.raises(InputError, match="--folds trains every fold; leave out --fold"):
        train(data, tmp_path / "a", folds=2, changes={"training": {"steps": 1, "fold": 1}})
    with pytest.raises(InputError, match=r"9 folds need as many subjects, and there are 8"):
        train(data, tmp_path / "b", folds=9, changes=CHANGES)
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()
    plan_run(data, tmp_path / "c")
    with pytest.raises(InputError, match=r"splits\.json: has 5 folds; give --folds 5"):
        train(data, tmp_path / "c", folds=2, changes=CHANGES)
    with pytest.raises(InputError, match="holds no training"):
        cross_validate(tmp_path / "none")
    run = shutil.copytree(folds, tmp_path / "run")
    splits = read_splits(run / "splits.json")
    write_splits(run / "splits.json", replace(splits, folds=splits.folds[::-1]))
    with pytest.raises(InputError, match=r"fold_0/splits\.json: is not that of"):
        cross_validate(run)
    write_splits(run / "splits.json", splits)
    write_plan(run / "plan.json", replace(read_plan(run / "plan.json"), batch=7))
    with pytest.raises(InputError, match=r"plan\.json: has changed since the training began; copy it from"):
        train(data, run, resume=True)


def test_a_model_that_saw_every_case_has_no_scores(trained: tuple[Path, Path], tmp_path: Path) -> None:
    data, _ = trained
    make_plan(data, tmp_path / "run", 2)
    train(data, tmp_path / "run", changes={"training": {**CHANGES["training"], "fold": "all"}})
    with pytest.raises(InputError, match="there is no case that run had not seen"):
        cross_validate(tmp_path / "run", device="cpu")
