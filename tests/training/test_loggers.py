"""Loggers: every record reaches each of them, whatever becomes of the training."""

from __future__ import annotations

from pathlib import Path
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
    monkeypatch.setitem(LOGGERS, "tensorboard", ("ldseg.training.loggers.tensorboard", "no_such_package"))
    with pytest.raises(InputError, match=r"no_such_package, which is not installed; pip install"):
        check_loggers(("tensorboard",))
    data = make_setup(tmp_path).dataset.root
    words = ["train", str(data), "-o", str(tmp_path / "run"), "--steps", "1"]
    assert main([*words, "--training.loggers", "tensorboard"]) == 2
    assert "no_such_package" in capsys.readouterr().err
    assert not (tmp_path / "run" / "cache").exists()
    assert main([*words, "--training.loggers", "tensorbord"]) == 2
    assert "training.loggers[0] is 'tensorbord'; expected 'tensorboard'" in capsys.readouterr().err


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
    assert f'{name} = ["{LOGGERS[name][1]}' in project
