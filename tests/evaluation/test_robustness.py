"""A sweep measures every strength once, goes on where it stopped, and refuses what it cannot continue."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ldseg.app.cli.main import main
from ldseg.data.cases import DataSet
from ldseg.data.dataset import open_dataset
from ldseg.data.splits import Fold, Splits, write_splits
from ldseg.errors import InputError
from ldseg.evaluation.corruptions import CORRUPTIONS
from ldseg.evaluation.robustness import (
    CLEAN,
    Robustness,
    RobustnessOptions,
    cases_to_test,
    start_sweep,
    sweep,
)
from ldseg.evaluation.robustness_files import read_robustness, resume_sweep, write_robustness
from ldseg.inference.predictor import Predictor

MakeModel = Callable[..., Path]
NAMES = ("a", "b", "c")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Three pictures with masks of ids 0, 2 and 5."""
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for number, name in enumerate(NAMES):
        random = np.random.default_rng(number)
        mask = np.zeros((16, 16), np.uint8)
        mask[4:12, 2:7], mask[4:12, 9:14] = 2, 5
        grey = (20 * mask + random.integers(0, 60, mask.shape)).astype(np.uint8)
        Image.fromarray(grey).save(folder / "images" / f"{name}.png")
        Image.fromarray(mask).save(folder / "masks" / f"{name}.png")
    return folder


def with_test_part(run: Path, *names: str) -> Path:
    rest = tuple(name for name in NAMES if name not in names)
    write_splits(run / "splits.json", Splits(1, 0, names, (Fold(rest[:1], rest[1:]),)))
    return run


def measure(run: Path, dataset: DataSet, **options: object) -> tuple[Robustness, list[Robustness]]:
    predictor, kept = Predictor.load(run, "cpu"), list[Robustness]()
    chosen = RobustnessOptions(**options)  # type: ignore[arg-type]
    begun = start_sweep(run, predictor, dataset, chosen)
    return sweep(predictor, dataset, begun, chosen.corruptions, kept.append), kept


@pytest.mark.parametrize("baseline", ["none", "unet", "pixel_diffusion", "ssn", "probabilistic_unet"])
def test_every_corruption_is_measured_at_five_strengths(
    make_model: MakeModel, data: Path, baseline: str
) -> None:
    found, kept = measure(make_model("yx", baseline), open_dataset(data))
    assert list(found.curves()) == list(CORRUPTIONS)
    assert len(found.points) == 1 + 4 * len(CORRUPTIONS)
    assert [len(state.points) for state in kept] == list(range(1, len(found.points) + 1))
    for name, points in found.curves().items():
        assert [p.strength for p in points[1:]] == list(CORRUPTIONS[name].strengths[1:])
        assert points[0].corruption == CLEAN
    for point in found.points:
        dice = [one["dice"] for case in point.cases.values() for one in case.values()]
        assert (len(dice), point.mean_dice) == (6, pytest.approx(np.mean(dice)))
        assert point.mean_dice_interval[0] <= point.mean_dice <= point.mean_dice_interval[1]
    assert len({point.mean_dice for point in found.points}) > 5


@pytest.mark.parametrize(
    "baseline, samples, told",
    [("none", 4, ("ddim", 3)), ("unet", 4, (None, 1)), ("ssn", 4, (None, None)), ("ssn", 1, (None, None))],
)
def test_a_sweep_names_a_sampler_only_where_one_is_at_work(
    make_model: MakeModel,
    data: Path,
    tmp_path: Path,
    baseline: str,
    samples: int,
    told: tuple[str | None, int | None],
) -> None:
    run, dataset = make_model("yx", baseline), open_dataset(data)
    settings = json.loads((run / "settings.json").read_text())
    settings["posterior"]["sampler"] = "ddim"
    (run / "settings.json").write_text(json.dumps(settings))
    found, _ = measure(run, dataset, corruptions=("blur",), steps=3, samples=samples)
    write_robustness(tmp_path, found)
    sampling = json.loads((tmp_path / "robustness.json").read_text())["setup"]["sampling"]
    assert (sampling["sampler"], sampling["steps"]) == told
    assert read_robustness(tmp_path / "robustness.json") == found


def test_a_sweep_that_named_a_sampler_of_a_model_without_one_goes_on(
    make_model: MakeModel, data: Path, tmp_path: Path
) -> None:
    found, _ = measure(make_model("yx", "ssn"), open_dataset(data), corruptions=("blur",), samples=4)
    write_robustness(tmp_path, found)
    path = tmp_path / "robustness.json"
    content = json.loads(path.read_text())
    content["setup"]["sampling"] |= {"sampler": "ddim", "steps": 8}
    path.write_text(json.dumps({**content, "version": 3}))
    assert resume_sweep(tmp_path, replace(found, points=())) == found


def test_the_clean_point_is_what_prediction_and_evaluation_give(
    make_model: MakeModel, data: Path, tmp_path: Path
) -> None:
    run = make_model()
    found, _ = measure(run, open_dataset(data), corruptions=("blur",), steps=3, seed=4)
    predictions, scores = tmp_path / "predictions", tmp_path / "scores.json"
    words = ["predict", str(data / "images"), "-m", str(run), "-o", str(predictions), "--steps", "3"]
    assert main([*words, "--seed", "4", "--device", "cpu"]) == 0
    assert main(["evaluate", str(predictions), str(data / "masks"), "-o", str(scores)]) == 0
    clean = found.find(CLEAN, 0)
    assert clean is not None
    assert clean.mean_dice == pytest.approx(json.loads(scores.read_text())["mean_dice"], abs=1e-9)


def test_a_sweep_is_repeated_bit_by_bit_and_in_any_order(make_model: MakeModel, data: Path) -> None:
    run, dataset = make_model(), open_dataset(data)
    first, _ = measure(run, dataset, corruptions=("speckle", "gaussian_noise"))
    second, _ = measure(run, dataset, corruptions=("gaussian_noise", "speckle"))
    assert first.curves() == second.curves()
    other, _ = measure(run, dataset, corruptions=("gaussian_noise", "speckle"), seed=1)
    assert first.curves() != other.curves()


def test_a_sweep_goes_on_where_it_stopped(make_model: MakeModel, data: Path, tmp_path: Path) -> None:
    run, dataset, out = make_model(), open_dataset(data), tmp_path / "out"
    whole, _ = measure(run, dataset, corruptions=("blur",))
    write_robustness(out, replace(whole, points=whole.points[:2]))
    predictor = Predictor.load(run, "cpu")
    fresh = start_sweep(run, predictor, dataset, RobustnessOptions())
    begun = resume_sweep(out, fresh)
    asked: list[str] = []
    again = sweep(predictor, dataset, begun, ("blur",), lambda _: None, lambda _, text: asked.append(text))
    assert again == whole
    assert len(asked) == 3 * len(NAMES)


def test_a_sweep_of_another_model_seed_or_sampling_is_not_mixed_in(
    make_model: MakeModel, data: Path, tmp_path: Path
) -> None:
    run, dataset, out = make_model(), open_dataset(data), tmp_path / "out"
    predictor = Predictor.load(run, "cpu")
    write_robustness(out, start_sweep(run, predictor, dataset, RobustnessOptions()))
    for options, name in (
        (RobustnessOptions(seed=1), "seed"),
        (RobustnessOptions(steps=7), "sampling"),
        (RobustnessOptions(harmonize=False), "harmonize"),
    ):
        with pytest.raises(InputError, match=rf"different setup \({name}:"):
            resume_sweep(out, start_sweep(run, predictor, dataset, options))
    other = make_model("yx", "unet")
    with pytest.raises(InputError, match=r"different setup \(weights:"):
        resume_sweep(out, start_sweep(other, Predictor.load(other, "cpu"), dataset, RobustnessOptions()))


def test_the_test_part_is_measured_where_there_is_one(make_model: MakeModel, data: Path) -> None:
    run, dataset = make_model(), open_dataset(data)

    def chosen() -> tuple[str, list[str]]:
        part, cases = cases_to_test(dataset, run)
        return part, [case.name for case in cases]

    assert chosen() == ("all", ["a", "b", "c"])
    with_test_part(run)
    assert chosen() == ("all", ["a", "b", "c"])
    with_test_part(run, "b")
    assert chosen() == ("test", ["b"])
    with_test_part(run, "elsewhere")
    assert chosen() == ("all", ["a", "b", "c"])


def test_the_command_writes_scores_table_and_plot(
    make_model: MakeModel, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, out = with_test_part(make_model(), "a", "c"), tmp_path / "out"
    words = ["robustness", str(data), "-m", str(run), "-o", str(out), "--device", "cpu"]
    assert main([*words, "--corruptions", "blur, contrast", "--samples", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert list(told["curves"]) == ["blur", "contrast"]
    assert told["setup"]["cases"] == ["a", "c"]
    found = read_robustness(out / "robustness.json")
    assert told["curves"]["blur"]["mean_dice"] == [p.mean_dice for p in found.curves()["blur"]]
    with (out / "robustness.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 9 * 2 * 2
    assert np.mean([float(row["dice"]) for row in rows if row["corruption"] == CLEAN]) == pytest.approx(
        told["curves"]["contrast"]["mean_dice"][0]
    )
    assert Image.open(out / "robustness.png").width > 300
    assert sorted(path.name for path in out.iterdir()) == [
        "robustness.csv",
        "robustness.json",
        "robustness.png",
    ]
    assert main([*words, "--corruptions", "blur,speckle", "--samples", "2"]) == 0
    shown = capsys.readouterr()
    assert all(name in shown.out for name in ("blur", "contrast", "speckle"))
    assert "9 strengths are measured already" in shown.err


@pytest.mark.parametrize(("tested", "told"), [((), True), (("a",), False)])
def test_the_command_says_that_cases_trained_the_model(
    make_model: MakeModel,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    tested: tuple[str, ...],
    told: bool,
) -> None:
    run = with_test_part(make_model(), *tested)  # without a test part all cases are measured
    words = ["robustness", str(data), "-m", str(run), "-o", str(tmp_path / "out"), "--device", "cpu"]
    assert main([*words, "--corruptions", "contrast"]) == 0
    assert ("1 of the 3 cases trained the model" in capsys.readouterr().err) == told


BAD: dict[str, tuple[list[str], str]] = {
    "corruption": (["--corruptions", "fog"], "corruptions is 'fog'; choose any of gaussian_noise"),
    "no corruption": (["--corruptions", ""], "corruptions is ''"),
    "steps": (["--steps", "0"], "steps is 0"),
    "model": (["-m", "nowhere"], "there is no such folder"),
    "classes": (["--labels-above-zero"], "read the masks as in training"),
}


@pytest.mark.parametrize("bad", BAD)
def test_bad_input_is_one_line_and_exit_code_2(
    make_model: MakeModel, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], bad: str
) -> None:
    given, message = BAD[bad]
    model = [] if "-m" in given else ["-m", str(make_model())]
    words = ["robustness", str(data), *model, "-o", str(tmp_path / "out"), *given]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_damaged_file_is_named(
    make_model: MakeModel, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "robustness.json").write_text('{"version": 1, "points": [')
    assert main(["robustness", str(data), "-m", str(make_model()), "-o", str(out)]) == 2
    assert "robustness.json: cannot be read as JSON" in capsys.readouterr().err
