"""Loggers: every record reaches each of them, whatever becomes of the training."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from training_setup import Setup, make_setup

from ldseg.app.cli.main import main
from ldseg.errors import InputError
from ldseg.training.log_files import read_records
from ldseg.training.loggers import LOGGERS, check_loggers, make_loggers
from ldseg.training.loggers.scalars import scalars

LOSSES = {"event": "losses", "step": 10, "losses": {"total": 1.5, "dice": 0.5}}
VALIDATION = {
    "event": "validation",
    "step": 20,
    "dice": 0.8,
    "class_dice": (0.7, 0.9),
    "shuffled_dice": None,
    "ceiling": 0.99,
    "latent_spread": 0.4,
}


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return make_setup(tmp_path)


def test_losses_and_validations_have_names_of_their_own() -> None:
    assert scalars(LOSSES) == {"loss/total": 1.5, "loss/dice": 0.5}
    assert scalars(VALIDATION) == {
        "validation/dice": 0.8,
        "validation/ceiling": 0.99,
        "validation/latent_spread": 0.4,
        "validation/dice_class_1": 0.7,
        "validation/dice_class_2": 0.9,
    }
    assert scalars({"event": "saved", "step": 3}) == {}


def test_a_logger_gets_what_the_log_has_and_is_closed(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[dict[str, Any]] = []
    began: list[int] = []
    closed: list[bool] = []

    class Keeper:
        def log(self, record: dict[str, Any]) -> None:
            kept.append(record)

        def close(self) -> None:
            closed.append(True)

    def make(_: Path, step: int) -> Keeper:
        began.append(step)
        return Keeper()

    usual = make_loggers
    monkeypatch.setattr(
        "ldseg.training.trainer.make_loggers",
        lambda _, folder, step: (*usual((), folder, step), make(folder, step)),
    )
    setup.run(tmp_path / "run", steps=2, validations=1)
    assert [(one["event"], one["step"]) for one in kept] == [
        (one["event"], one["step"]) for one in read_records(tmp_path / "run")
    ]
    assert (began, closed) == ([0], [True])


def test_a_missing_package_is_one_line_before_anything_is_prepared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"needs the package wandb, which is not installed; pip install"):
        check_loggers(("wandb",))
    data = make_setup(tmp_path).dataset.root
    words = ["train", str(data), "-o", str(tmp_path / "run"), "--steps", "1"]
    assert main([*words, "--training.loggers", "wandb"]) == 2
    assert 'pip install "ldseg[wandb]"' in capsys.readouterr().err
    assert not (tmp_path / "run" / "cache").exists()
    assert main([*words, "--training.loggers", "tensorbord"]) == 2
    assert "'tensorbord'; choose one of tensorboard, mlflow, wandb" in capsys.readouterr().err


def test_tensorboard_shows_the_curves_also_of_a_training_that_goes_on(setup: Setup, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    setup.run(tmp_path / "run", loggers=("tensorboard",))
    _, again = make_loggers(("tensorboard",), tmp_path / "run", 3)
    again.log({**VALIDATION, "step": 5})
    again.close()
    found = EventAccumulator(str(tmp_path / "run" / "tensorboard"))
    found.Reload()
    assert [one.step for one in found.Scalars("validation/dice")] == [2, 5]


@pytest.mark.parametrize("name", LOGGERS)
def test_every_logger_has_an_extra_of_its_name(name: str) -> None:
    project = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert f'{name} = ["{name}>=' in project


def log_both(name: str, folder: Path, step: int = 0) -> None:
    """Log losses, a validation and something without figures of a training that begins at `step`."""
    _, logger = make_loggers((name,), folder, step)
    for record in (LOSSES, VALIDATION, {"event": "saved"}):
        logger.log({**record, "step": step + 10})
    logger.close()


@pytest.fixture
def mlflow_calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Replace MLflow's client, so that it notes its calls; every store has one run called "first"."""
    calls: list[tuple[Any, ...]] = []

    class MlflowClient:
        def __init__(self, tracking_uri: str) -> None:
            calls.append(("store", tracking_uri))

        def create_run(self, experiment: str, run_name: str) -> Any:
            calls.append(("run", experiment, run_name))
            return SimpleNamespace(info=SimpleNamespace(run_id="new"))

        def search_runs(self, experiments: list[str], max_results: int) -> list[Any]:
            assert (experiments, max_results) == (["0"], 1)
            return [SimpleNamespace(info=SimpleNamespace(run_id="first"))]

        def log_metric(self, run: str, name: str, value: float, step: int) -> None:
            calls.append((run, name, value, step))

        def set_terminated(self, run: str) -> None:
            calls.append((run, "finished"))

    tracking = ModuleType("mlflow.tracking")
    tracking.MlflowClient = MlflowClient  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    monkeypatch.setitem(sys.modules, "mlflow.tracking", tracking)
    return calls


def test_mlflow_gets_a_run_in_a_store_beside_the_model(
    mlflow_calls: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    check_loggers(("mlflow",))
    log_both("mlflow", tmp_path)
    assert mlflow_calls[:2] == [("store", f"sqlite:///{tmp_path}/mlflow.db"), ("run", "0", tmp_path.name)]
    assert ("new", "loss/total", 1.5, 10) in mlflow_calls
    assert ("new", "validation/dice", 0.8, 10) in mlflow_calls
    assert mlflow_calls[-1] == ("new", "finished")


def test_a_training_that_goes_on_continues_its_mlflow_run(
    mlflow_calls: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    log_both("mlflow", tmp_path, step=30)
    assert ("first", "loss/total", 1.5, 40) in mlflow_calls
    assert not any(call[0] == "run" for call in mlflow_calls)


def test_weights_and_biases_gets_an_offline_run_beside_the_model(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened: list[dict[str, Any]] = []
    logged: list[tuple[dict[str, float], int]] = []
    finished: list[bool] = []

    def init(**given: Any) -> Any:
        opened.append(given)
        return SimpleNamespace(
            log=lambda values, step: logged.append((values, step)), finish=lambda: finished.append(True)
        )

    stub = ModuleType("wandb")
    stub.init, stub.Settings = init, SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wandb", stub)
    check_loggers(("wandb",))
    log_both("wandb", tmp_path)
    assert opened[0]["mode"] == "offline"
    assert (opened[0]["dir"], opened[0]["group"]) == (str(tmp_path), tmp_path.name)
    assert logged == [(scalars(LOSSES), 10), (scalars(VALIDATION), 10)]
    assert finished == [True]


def test_mlflow_itself_keeps_the_curves_of_both_parts_of_a_training(tmp_path: Path) -> None:
    tracking = pytest.importorskip("mlflow.tracking")
    pytest.importorskip("sqlalchemy")
    log_both("mlflow", tmp_path)
    log_both("mlflow", tmp_path, step=30)
    client = tracking.MlflowClient(tracking_uri=f"sqlite:///{tmp_path}/mlflow.db")
    (run,) = client.search_runs(["0"])
    history = client.get_metric_history(run.info.run_id, "validation/dice")
    assert [one.step for one in history] == [10, 40]


def test_weights_and_biases_itself_writes_offline_runs(tmp_path: Path) -> None:
    pytest.importorskip("wandb")
    log_both("wandb", tmp_path)
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
