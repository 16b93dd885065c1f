"""How samples are drawn: in other steps, at other temperatures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from result_files import Script

from ldseg.data.cases import Case
from ldseg.data.dataset import open_dataset
from ldseg.data.formats import write_volume
from ldseg.data.volume import volume_of_array
from ldseg.inference.coherence import Coherence
from ldseg.inference.predictor import Predictor
from ldseg.inference.temperature_scaling import Calibration

MakeModel = Callable[..., Path]


def test_a_run_draws_in_other_steps_with_a_calibration_that_is_fitted_with_them(
    script: Script, make_model: MakeModel, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for name, values in (("images", range(256)), ("masks", (0, 2, 5))):
        (tmp_path / name).mkdir()
        for number in range(3):
            drawn = rng.choice(list(values), (32, 32)).astype(np.uint8)
            write_volume(tmp_path / name / f"{number}.png", volume_of_array(drawn, "yx"))
    dataset = open_dataset(tmp_path)
    run = Predictor.load(make_model("yx", "none"), "cpu")
    found = script("raters").in_steps(run, dataset, {"0", "1"}, 3)
    assert run.sampling(samples=4).steps != 3
    assert run.sampling(samples=4).steps != 3
    assert found.sampling(samples=4).steps == 3
    assert found.sampling(samples=1) == run.sampling(samples=1)
    assert found.calibration.temperature != 1


def test_halves_of_the_cases_share_no_subject(script: Script) -> None:
    cases = [Case(f"{n}", (Path(f"{n}.png"),), (), f"subject {n // 3}") for n in range(12)]
    first, second = script("sampling").halves(cases)
    assert len(first) == len(second) == 6
    assert not {case.subject for case in first} & {case.subject for case in second}


@pytest.mark.parametrize(("preset", "names"), [(False, 1), (True, 4)])
def test_temperatures_are_shares_of_that_of_the_mean(script: Script, preset: bool, names: int) -> None:
    sampling = script("sampling")
    fitted = Calibration(1.2, coherence=Coherence(4.0, sampling.SHARPNESS * 2))
    found = dict(sampling.ways(fitted, 4, preset))
    assert len(found) == names
    assert found["4_steps"] == fitted
    if preset:
        assert found["4_steps,_temperature_x_0.7"].coherence.temperature == pytest.approx(1.4)
        assert found["4_steps,_as_drawn"].coherence is None
