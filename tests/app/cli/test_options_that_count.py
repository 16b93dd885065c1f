"""No option is taken without effect in silence: each acts, is said to change nothing, or is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_models import make_tiny_model

from ldseg.app.cli.main import main
from ldseg.utils.serialization import to_json, write_json_atomic
from ldseg.zoo import catalogue
from ldseg.zoo.catalogue import ABOUT_FILE, ABOUT_VERSION, About

Output = pytest.CaptureFixture[str]
ABOUT = About("A test", "noise", ("blob",), "nothing", 0.5, 3, "CC0-1.0")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set, a picture, a model, a deterministic one, a shipped one and a run."""
    root = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (root / "DATA" / part).mkdir(parents=True)
    for number in range(6):
        mask = np.zeros((32, 32), np.uint8)
        mask[4 + number : 16 + number, 8:20] = 1
        grey = (120 * mask + rng.integers(0, 60, mask.shape)).astype(np.uint8)
        Image.fromarray(grey).save(root / "DATA" / "images" / f"p{number}.png")
        Image.fromarray(mask).save(root / "DATA" / "masks" / f"p{number}.png")
    shutil.copy(root / "DATA" / "images" / "p0.png", root / "p.png")
    (root / "a.yaml").write_text("{}")
    make_tiny_model(root).rename(root / "MODEL")
    make_tiny_model(root, baseline="unet").rename(root / "UNET")
    make_tiny_model(root, baseline="ssn").rename(root / "SSN")
    words = ("train", root / "DATA", "-o", root / "RUN", "--steps", 2, "--training.validations", 1)
    assert main([*map(str, words), "--device", "cpu", "--training.calibrate", "false"]) == 0
    folder = root / "zoo" / "blob"
    shutil.copytree(
        root / "RUN", folder, ignore=shutil.ignore_patterns("state", "cache", "best", "data.json")
    )
    (folder / "splits.json").unlink()
    write_json_atomic(folder / ABOUT_FILE, {"version": ABOUT_VERSION, **to_json(ABOUT)})
    return root


@pytest.fixture
def here(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "here"
    shutil.copytree(world, copy)
    monkeypatch.chdir(copy)
    monkeypatch.setattr(catalogue, "MODELS", copy / "zoo")
    return copy


PREDICT = ("predict", "p.png", "-m", "MODEL", "-o", "OUT")
TRAIN = ("train", "DATA", "-o", "NEW", "--steps", "1")
VIEW = ("view", "p.png", "-m", "MODEL")
REFUSED: list[tuple[tuple[str, ...], str]] = [
    # given twice
    ((*PREDICT, "-m", "MODEL"), "MODEL: is given twice; name each member once"),
    (("calibrate", "MODEL", "./MODEL", "-o", "NEW"), "MODEL: is given twice; name each member once"),
    ((*PREDICT, "-o", "OTHER"), "argument -o/--output: given twice (OUT and OTHER); give it once"),
    ((*PREDICT, "--output=OTHER"), "-o/--output: given twice"),
    ((*PREDICT, "-oOTHER"), "-o/--output: given twice"),
    ((*PREDICT, "--samples", "2", "--samples=3"), "--samples: given twice (2 and 3)"),
    ((*PREDICT, "--harmonize", "true", "--harmonize", "false"), "--harmonize: given twice"),
    ((*PREDICT, "--save", "labels", "--save", "samples"), "--save: given twice"),
    (("check", "DATA", "--axes", "yx", "--data.axes", "zyx"), "--data.axes/--axes: given twice"),
    ((*TRAIN, "--training.steps", "2"), "--training.steps/--steps: given twice"),
    ((*TRAIN, "--config", "a.yaml", "--config", "a.yaml"), "--config: given twice"),
    ((*TRAIN, "-o", "OTHER"), "-o/--output: given twice"),
    (("evaluate", "a", "b", "-o", "s.json", "-o", "t.json"), "-o/--output: given twice"),
    (("predict", "x", "-m", "hippocampus", "--seed", "1", "--seed", "1"), "--seed: given twice"),
    (("report", "RUN", "--part", "test", "--part", "validation"), "--part: given twice"),
    (("export", "RUN", "-o", "x", "--format", "onnx", "--format", "monai-bundle"), "--format: given twice"),
    (("view", "p.png", "-m", "MODEL", "-m", "MODEL"), "MODEL: is given twice; name each member once"),
    (("doctor", "--seconds", "1", "--seconds", "2"), "--seconds: given twice"),
    (("calibrate", "RUN", "--steps", "1", "--steps", "2"), "--steps: given twice"),
    (("robustness", "DATA", "-m", "a", "-m", "b", "-o", "c"), "-m/--model: given twice"),
    (("demo", "-o", "a", "--output", "b"), "-o/--output: given twice"),
    (("plan", "DATA", "-o", "a", "--cpu-memory", "1", "--planning.cpu_memory_gb", "2"), "given twice"),
    # names in short
    ((*PREDICT, "--sample", "2"), "unrecognized arguments: --sample 2; did you mean --samples?"),
    # contradictions
    (("check", "DATA", "--labels-above-zero", "--data.labels_above_zero", "false"), "contradicts"),
    ((*PREDICT, "--sampler", "one_step", "--steps", "4"), "one_step makes one step, --steps is 4"),
    ((*VIEW, "--sampler", "one_step", "--steps", "4"), "one_step makes one step, --steps is 4"),
    ((*TRAIN, "--minutes", "1"), "give exactly one"),
    ((*TRAIN, "--until-flat", "--fold", "all"), "--until-flat needs validation cases"),
    (("check", "DATA", "--classes", "liver"), "write names and ids, e.g. liver=1,tumour=2"),
    ((*TRAIN, "--splits", "RUN/splits.json", "--test-fraction", "0.2"), "--splits says how cases are split"),
    ((*TRAIN, "--splits", "RUN/splits.json", "--split-seed", "3"), "--splits says how cases are split"),
    (("train", "DATA", "-o", "RUN", "--resume", "--preset", "paper"), "leave out what sets preset"),
    (("train", "DATA", "-o", "RUN", "--resume", "--baseline", "unet"), "leave out what sets baseline"),
    (("train", "DATA", "-o", "RUN", "--resume", "--steps", "9"), "leave out what sets training"),
    (("report", "RUN", "--part", "test", "--scores", "s.json"), "leave out --part, or --scores"),
    # numbers that mean nothing
    ((*PREDICT, "--samples", "0"), "samples is 0"),
    ((*PREDICT, "--steps", "-1"), "steps is -1"),
    ((*PREDICT, "--samples", "1000000000"), "samples is 1000000000; choose at most 65536"),
    ((*VIEW, "--steps", "1000000000"), "steps is 1000000000; choose at most 65536"),
    # paths that are empty, e.g. of a variable that is not set
    ((*PREDICT[:-1], ""), "argument -o/--output: is empty; give a path"),
    (("predict", "", "-m", "MODEL", "-o", "OUT"), "argument INPUT: is empty; give a path"),
    (("predict", "p.png", "-m", "", "-o", "OUT"), "-m/--model: is empty; give a path"),
    (("train", "DATA", "-o="), "-o/--output: is empty; give a path"),
    ((*PREDICT, "--max-memory", "0"), "--max-memory is 0; give GB above 0"),
    ((*PREDICT, "--max-memory", "nan"), "Got value: nan"),
    ((*VIEW, "--samples", "0"), "samples is 0"),
    (("train", "DATA", "-o", "NEW", "--minutes", "0"), "training.minutes is 0"),
    (("train", "DATA", "-o", "NEW", "--minutes", "-1"), "training.minutes is -1"),
    (("train", "DATA", "-o", "NEW", "--minutes", "nan"), "minutes is 'nan'"),
    ((*TRAIN, "--training.batch", "0"), "training.batch is 0"),
    ((*TRAIN, "--training.validations", "-1"), "training.validations is -1"),
    ((*TRAIN, "--training.learning_rate", "-1"), "training.learning_rate is -1"),
    ((*TRAIN, "--training.validation_cases", "-1"), "training.validation_cases is -1"),
    ((*TRAIN, "--seed", "-1"), "training.seed is -1"),
    ((*TRAIN, "--augment.gamma", "0"), "augment.gamma is 0.0; choose 1 or more"),
    (("calibrate", "MODEL", "--seed", "-1"), "--seed is -1; give 0 or more"),
    (("demo", "-o", "NEW", "--seed", "-1"), "training.seed is -1"),
    (("demo", "-o", "NEW", "--minutes", "0"), "--minutes is 0"),
    (("doctor", "--seconds", "-1"), "--seconds is -1"),
    (("report", "RUN", "--limit", "0"), "limit is 0"),
    # names that nothing has
    ((*PREDICT, "--save", "labels,mask"), "save is 'mask'"),
    ((*PREDICT, "--save", ""), "save is ''"),
    ((*PREDICT, "--save", "labels,labels"), "name each once"),
    ((*PREDICT, "--format", "jpg"), "format is '.jpg'; choose one of"),
    ((*PREDICT, "--sampler", "dddim"), "dddim"),
    ((*PREDICT, "--device", "cuda:99"), "device 'cuda:99' cannot be used here"),
    ((*PREDICT, "--part", "test"), "splits.json"),
    ((*PREDICT, "--segment-codes", "codes.json"), "codes.json"),
    ((*PREDICT, "--runtime", "onnx", "--max-memory", "1"), "--max-memory needs a model as trained"),
    ((*TRAIN, "--preset", "best"), "preset is 'best'"),
    (("report", "RUN", "--cases", "p99"), "has no case p99"),
    (("robustness", "DATA", "-m", "RUN", "-o", "OUT", "--corruptions", ""), "corruptions is ''"),
    (("models", "blub"), "there is no such model"),
    # what is no training and no predictions with masks
    (
        ("evaluate", "DATA/images"),
        "images: holds no training; give a training, or predictions and their masks",
    ),
    (("evaluate", "nowhere"), "nowhere: is not there; give a training, or predictions and their masks"),
    (
        ("report", "RUN", "--robustness", "nowhere"),
        "there is no such file; give the folder that ldseg robust",
    ),
    # shipped models stay as they are
    (("calibrate", "blob"), "came with ldseg and stays as it is"),
    (("calibrate", "blob", "-o", "RUN"), "RUN: is there already"),
    (("report", "blob"), "--data"),
]


@pytest.mark.parametrize("words, finding", REFUSED, ids=[" ".join(words) for words, _ in REFUSED])
def test_what_cannot_be_done_is_refused_in_one_line_and_leaves_nothing(
    here: Path, capsys: Output, words: tuple[str, ...], finding: str
) -> None:
    before = sorted(path.name for path in here.iterdir())
    assert main([*words]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("ldseg: error: ")
    assert finding in lines[-1]
    assert sorted(path.name for path in here.iterdir()) == before


SAID: list[tuple[tuple[str, ...], str]] = [
    (
        ("predict", "p.png", "-m", "UNET", "-o", "OUT", "--samples", "4"),
        "gives one prediction: --samples changes",
    ),
    (
        (
            "predict",
            "p.png",
            "-m",
            "UNET",
            "-o",
            "OUT",
            "--samples",
            "4",
            "--steps",
            "3",
            "--sampler",
            "ddpm",
        ),
        "gives one prediction: --steps, --samples, --sampler change nothing",
    ),
    (("predict", "p.png", "-m", "MODEL", "-o", "OUT", "--tta", "true"), "--tta true changes nothing"),
    ((*PREDICT, "--steps", "1", "--samples", "4"), "one step gives the deterministic prediction: --samples"),
    ((*PREDICT, "--sampler", "one_step", "--samples", "4"), "--samples changes nothing"),
    (
        (*PREDICT, "--sampler", "ddpm"),
        "one step gives the deterministic prediction: --sampler changes nothing",
    ),
    (
        ("export", "MODEL", "--format", "monai-bundle", "-o", "OUT", "--sampler", "ddpm"),
        "one step gives the deterministic prediction: --sampler changes nothing",
    ),
    (
        ("report", "RUN", "-o", "page.html", "--steps", "1", "--samples", "4", "--limit", "1"),
        "one step gives the deterministic prediction: --samples changes nothing",
    ),
    (
        ("predict", "p.png", "-m", "SSN", "-o", "OUT", "--samples", "2", "--steps", "9", "--sampler", "ddim"),
        "the model draws its samples at once: --steps, --sampler change nothing",
    ),
]


@pytest.mark.parametrize("words, sentence", SAID)
def test_what_changes_nothing_is_said(
    here: Path, capsys: Output, words: tuple[str, ...], sentence: str
) -> None:
    plan = json.loads((here / "MODEL" / "plan.json").read_text())
    (here / "MODEL" / "plan.json").write_text(json.dumps({**plan, "mirror_axes": []}))
    device = () if words[0] == "export" else ("--device", "cpu")
    assert main([*words, *device]) == 0
    assert sentence in capsys.readouterr().err


def test_several_steps_of_a_model_that_samples_at_once_are_not_said_to_change_nothing(
    here: Path, capsys: Output
) -> None:
    del here
    words = ("predict", "p.png", "-m", "SSN", "-o", "OUT", "--device", "cpu")
    assert main([*words]) == 0
    assert main([*words, "--steps", "9"]) == 0  # a sample in place of the mean
    assert "nothing" not in capsys.readouterr().err


def test_switches_may_be_repeated(here: Path, capsys: Output) -> None:
    del here
    assert main([*PREDICT, "--device", "cpu", "--json", "--json", "--keep-going", "--keep-going"]) == 0
    assert list(json.loads(capsys.readouterr().out)["done"]) == ["p"]


def test_a_key_that_stands_twice_in_a_file_is_an_error(here: Path, capsys: Output) -> None:
    (here / "c.yaml").write_text("training:\n  steps: 1\n  batch: 2\n  steps: 2\n")
    assert main(["train", "DATA", "-o", "NEW", "--config", "c.yaml"]) == 2
    assert "c.yaml: training.steps is given twice; give it once" in capsys.readouterr().err
    assert not (here / "NEW").exists()


def test_a_shipped_model_is_calibrated_in_a_copy(here: Path, capsys: Output) -> None:
    before = {path.name: path.read_bytes() for path in (here / "zoo" / "blob").iterdir() if path.is_file()}
    words = ("calibrate", "blob", "-o", "mine", "--data", "DATA", "--samples", "2", "--device", "cpu")
    assert main([*words]) == 0
    assert "blob has no splits.json: all 6 cases are used" in capsys.readouterr().err
    after = {path.name: path.read_bytes() for path in (here / "zoo" / "blob").iterdir() if path.is_file()}
    assert before == after
    assert (here / "mine" / "calibration.json").is_file()
    assert main(["predict", "p.png", "-m", "mine", "-o", "OUT", "--device", "cpu"]) == 0


def test_a_shipped_model_is_reported_here(here: Path) -> None:
    words = ("report", "blob", "--data", "DATA", "--limit", "1", "--samples", "2", "--device", "cpu")
    assert main([*words]) == 0
    assert (here / "blob-report.html").is_file()
    assert not (here / "zoo" / "blob" / "report.html").exists()


def test_the_viewer_draws_as_several_samples_are_drawn(
    here: Path, capsys: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ldseg.app.viewer.case_list import CaseList
    from ldseg.app.viewer.server import ViewerServer
    from ldseg.app.viewer.session import SampledPrediction

    shown: list[SampledPrediction] = []

    def show(_: ViewerServer, cases: CaseList) -> None:
        cases.open(0)
        cases.wait()
        session = cases.find(0)
        assert session is not None
        shown.append(session.prediction)
        raise KeyboardInterrupt

    monkeypatch.setattr(ViewerServer, "show", show)
    posterior = json.loads((here / "RUN" / "settings.json").read_text())["posterior"]
    for words in ((), ("--samples", "1")):
        assert main(["view", "p.png", "-m", "RUN", "--no-browser", "--device", "cpu", *words]) == 0
    for prediction, samples in zip(shown, (posterior["samples"], 1), strict=True):
        assert prediction.sampling is not None
        assert (prediction.sampling.sampler, prediction.sampling.steps) == ("preconditioned_ddim", 4)
        assert prediction.samples == samples
    assert "8 samples by preconditioned_ddim in 4 steps" in capsys.readouterr().err
