"""An exported graph answers as torch does, for any batch, sampler and number of samples."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from predicting import image

from ldseg.diffusion.samplers import SAMPLERS
from ldseg.errors import InputError
from ldseg.export.exportable_sampler import ExportableSampler, count_draws
from ldseg.export.io_documentation import TILING
from ldseg.export.onnx import TOLERANCE, export_onnx, make_onnx_spec
from ldseg.inference.backends.onnx_backend import OnnxBackend, load_onnx_predictor
from ldseg.inference.backends.torch_backend import TorchBackend
from ldseg.inference.onnx_spec import OnnxSpec, read_onnx_spec, write_onnx_spec
from ldseg.inference.predictor import Predictor
from ldseg.inference.temperature_scaling import Calibration, store_calibration
from ldseg.planning.plan import read_plan, write_plan
from ldseg.preprocessing.patches import gaussian_weights, tile_corners
from ldseg.runs.saved_model import load_model, read_settings
from ldseg.settings import SamplingRecord, SamplingSettings

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

MakeModel = Callable[..., Path]
CPU = torch.device("cpu")


def feed_of(contract: OnnxSpec, cases: int) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    return {
        one.name: rng.standard_normal([cases, *one.shape[1:]], dtype=np.float32)  # type: ignore[list-item]
        for one in contract.inputs
    }


@pytest.mark.parametrize(
    "baseline, axes, shape",
    [
        *((one, "yx", (20, 27)) for one in ("none", "unet", "ssn", "probabilistic_unet")),
        *((one, "zyx", (9, 20, 16)) for one in ("none", "unet", "probabilistic_unet")),
    ],
)
def test_onnx_predicts_as_torch_does(make_export, baseline: str, axes: str, shape: tuple[int, ...]) -> None:  # type: ignore[no-untyped-def]
    """Through tiles and padding, with three samples of which the graph computes two at a time."""
    made = make_export(axes, baseline, steps=2, samples=2)
    predictor = load_onnx_predictor(made.onnx)
    found = predictor(image(axes, shape), "a", samples=3, seed=5)
    wanted = Predictor.load(made.model, "cpu")(image(axes, shape), "a", steps=2, samples=3, seed=5)
    np.testing.assert_allclose(found.probabilities.array, wanted.probabilities.array, atol=TOLERANCE)
    np.testing.assert_allclose(found.disagreement.array, wanted.disagreement.array, atol=TOLERANCE)
    assert np.mean(found.labels.array != wanted.labels.array) < 0.01
    other = predictor(image(axes, shape), "a", samples=3, seed=6)
    assert np.array_equal(other.probabilities.array, found.probabilities.array) == (baseline == "unet")


@pytest.mark.parametrize(
    "model", [("yx", "pixel_diffusion"), pytest.param(("yx", "none", "paper"), marks=pytest.mark.slow)]
)
def test_other_models_can_be_exported(make_export, model: tuple[str, ...]) -> None:  # type: ignore[no-untyped-def]
    """The paper's preset: noise prediction, batch norm, attention, a latent normalised over the case."""
    assert read_onnx_spec(make_export(*model, steps=1).onnx).difference <= TOLERANCE


class TorchSession:
    """What onnxruntime.InferenceSession is for a graph, for the sampler that the graph is traced from."""

    def __init__(self, sampler: ExportableSampler) -> None:
        self.sampler = sampler

    def run(self, names: list[str], feed: dict[str, NDArray[np.float32]]) -> list[NDArray[np.float32]]:
        del names
        return [self.sampler(*(torch.from_numpy(value) for value in feed.values())).numpy()]


@pytest.mark.parametrize(
    "sampler, preset", [*((sampler, "default") for sampler in SAMPLERS), ("ddpm", "paper")]
)
@pytest.mark.parametrize("steps", [1, 3])
def test_the_chain_samples_as_the_predictor_does(
    make_model: MakeModel, sampler: str, preset: str, steps: int
) -> None:
    """Whatever the sampler draws, in the same order; what tracing makes of it is another test."""
    folder = make_model(preset=preset)
    model = load_model(folder, CPU)
    asked = SamplingSettings(sampler, steps, 2, tta=model.settings.posterior.tta)
    sampling = model.segmenter.resolve_sampling(asked)
    contract = make_onnx_spec(model, sampling, 0.0)
    assert contract.draws == count_draws(model.segmenter, sampling)
    backend = OnnxBackend(TorchSession(ExportableSampler(model.segmenter, sampling).eval()), contract)
    samples = 1 if sampling.single_call else 3
    found = Predictor(model.plan, model.settings, backend)(
        image("yx", (16, 20)), steps=sampling.steps, samples=samples, sampler=sampler
    )
    wanted = Predictor.load(folder, "cpu")(image("yx", (16, 20)), steps=steps, samples=3, sampler=sampler)
    np.testing.assert_allclose(found.probabilities.array, wanted.probabilities.array, atol=1e-4)


@pytest.mark.parametrize(
    "baseline, made, samples",
    [("none", 1, 1), ("none", 4, 4), ("none", 2, 1), ("none", 3, 8), ("none", 2, 5), ("unet", 1, 1)],
)
def test_the_chain_looks_at_the_mirror_image_as_the_predictor_does(
    make_model: MakeModel, baseline: str, made: int, samples: int
) -> None:
    """Whatever the number of samples that a call of the graph computes."""
    model = load_model(make_model(baseline=baseline), CPU)
    model = replace(model, plan=replace(model.plan, mirror_axes=(1,)))
    sampling = SamplingSettings("ddpm", 3, made, tta=True)
    sampler = ExportableSampler(model.segmenter, sampling, tta_axis=-1).eval()
    backend = OnnxBackend(TorchSession(sampler), make_onnx_spec(model, sampling, 0.0))
    wanted = Predictor(model.plan, model.settings, TorchBackend(model.segmenter, CPU, "fp32"))
    found, expected = (
        one(image("yx", (16, 20)), steps=3, samples=samples, sampler="ddpm", tta=True)
        for one in (Predictor(model.plan, model.settings, backend), wanted)
    )
    np.testing.assert_allclose(found.probabilities.array, expected.probabilities.array, atol=1e-4)
    plain = wanted(image("yx", (16, 20)), steps=3, samples=samples, sampler="ddpm", tta=False)
    assert np.abs(plain.probabilities.array - expected.probabilities.array).max() > 0.001


def test_a_graph_of_the_mean_over_the_mirror_image_draws_no_several_samples(make_model: MakeModel) -> None:
    model = load_model(make_model(), CPU)
    made = SamplingSettings("ddim", 3, 1, tta=True)
    backend = OnnxBackend(None, make_onnx_spec(model, made, 0.0))
    assert backend.resolve_sampling(made) == made
    with pytest.raises(InputError, match="samples is 4, the graph was made with 1, the mean over the image"):
        backend.resolve_sampling(replace(made, samples=4))


@pytest.mark.parametrize("sampler, draws", [("ddpm", 2), ("dpmpp_2m", 0)])
def test_samplers_that_draw_or_remember_can_be_exported(make_export, sampler: str, draws: int) -> None:  # type: ignore[no-untyped-def]
    made = make_export(steps=3, samples=1, sampler=sampler)
    found = load_onnx_predictor(made.onnx)(image("yx", (16, 20)), samples=2)
    wanted = Predictor.load(made.model, "cpu")(image("yx", (16, 20)), steps=3, samples=2, sampler=sampler)
    np.testing.assert_allclose(found.probabilities.array, wanted.probabilities.array, atol=TOLERANCE)
    assert read_onnx_spec(made.onnx).draws == draws


def test_an_export_is_recalibrated_as_its_model_is_and_has_its_codes(
    make_model: MakeModel, tmp_path: Path
) -> None:
    folder = make_model(baseline="unet")
    (folder / "segments.json").write_text("codes")
    plain = Predictor.load(folder, "cpu")(image("yx", (16, 20)))
    store_calibration(folder, Calibration(temperature=2.0, widening=0.1))
    out = export_onnx(folder, tmp_path / "onnx").folder
    assert (out / "segments.json").read_text() == "codes"
    found = load_onnx_predictor(out)(image("yx", (16, 20)))
    wanted = Predictor.load(folder, "cpu")(image("yx", (16, 20)))
    np.testing.assert_allclose(found.probabilities.array, wanted.probabilities.array, atol=TOLERANCE)
    assert np.abs(wanted.probabilities.array - plain.probabilities.array).max() > 0.01
    assert found.volumes["left"].high == pytest.approx(wanted.volumes["left"].high)


def test_several_samples_of_a_deterministic_model_are_exported_as_its_single_answer(
    make_model: MakeModel, tmp_path: Path
) -> None:
    folder = make_model(baseline="unet")
    sampling = export_onnx(folder, tmp_path / "onnx", samples=6).spec.sampling
    assert sampling == Predictor.load(folder, "cpu").sampling().record(stepwise=False)


@pytest.mark.parametrize(
    "baseline, asked, told",
    [
        ("none", SamplingSettings("ddim", 3, 4), SamplingRecord("ddim", 3, 4, False)),
        ("none", SamplingSettings("one_step", 3, 4), SamplingRecord("one_step", 1, 1, False)),
        ("pixel_diffusion", SamplingSettings("ddim", 3, 4), SamplingRecord("ddim", 3, 4, False)),
        ("ssn", SamplingSettings("ddim", 3, 4), SamplingRecord(None, None, 4, False)),
        ("ssn", SamplingSettings("ddim", 1, 4), SamplingRecord(None, 1, 1, False)),
        ("unet", SamplingSettings("ddim", 3, 4), SamplingRecord(None, 1, 1, False)),
    ],
)
def test_the_contract_names_a_sampler_only_where_one_is_at_work(
    make_model: MakeModel, baseline: str, asked: SamplingSettings, told: SamplingRecord
) -> None:
    model = load_model(make_model(baseline=baseline), CPU)
    assert make_onnx_spec(model, model.segmenter.resolve_sampling(asked), 0.0).sampling == told


def test_a_graph_that_draws_its_samples_at_once_takes_any_sampler_and_several_steps(
    make_model: MakeModel,
) -> None:
    model = load_model(make_model(baseline="ssn"), CPU)
    made = SamplingSettings("ddim", 8, 4)
    graph = TorchSession(ExportableSampler(model.segmenter, made).eval())
    backend = OnnxBackend(graph, make_onnx_spec(model, made, 0.0))
    assert backend.resolve_sampling(SamplingSettings("euler", 3, 6)).samples == 6
    with pytest.raises(InputError, match="steps is 1, the graph was made with samples that are drawn at"):
        backend.resolve_sampling(SamplingSettings("ddim", 1, 4))


def test_the_graph_of_a_deterministic_prediction_takes_the_image_alone(make_export) -> None:  # type: ignore[no-untyped-def]
    made = make_export("yx", "none", steps=1, samples=3)
    spec, predictor = read_onnx_spec(made.onnx), load_onnx_predictor(made.onnx)
    assert [one.name for one in spec.inputs] == ["image"]
    assert spec.outputs[0].shape[1] == 1
    found, other = (predictor(image("yx", (20, 27)), name, seed=ord(name)) for name in "ab")
    np.testing.assert_array_equal(found.probabilities.array, other.probabilities.array)
    wanted = Predictor.load(made.model, "cpu")(image("yx", (20, 27)), steps=1)
    np.testing.assert_allclose(found.probabilities.array, wanted.probabilities.array, atol=TOLERANCE)


def test_deterministic_predictions_beside_samples_do_not_depend_on_their_noise(make_export) -> None:  # type: ignore[no-untyped-def]
    made = make_export("yx", "none", steps=2, samples=2)
    spec = read_onnx_spec(made.onnx)
    session = onnxruntime.InferenceSession(str(made.onnx / spec.graph))
    feed = feed_of(spec, 1)
    first, second = (session.run(None, {**feed, "noise": scale * feed["noise"]})[0][0] for scale in (1, -2))
    assert spec.answers == 1
    np.testing.assert_array_equal(first[0], second[0])
    assert np.abs(first[1:] - second[1:]).max() > 0.001


@pytest.mark.parametrize("axes", ["yx", "zyx"])
def test_a_batch_is_its_cases(make_export, axes: str) -> None:  # type: ignore[no-untyped-def]
    made = make_export(axes, "none", steps=2, samples=2)
    contract = read_onnx_spec(made.onnx)
    session = onnxruntime.InferenceSession(str(made.onnx / contract.graph))
    feed = feed_of(contract, 5)
    (together,) = session.run(None, feed)
    assert together.shape == (5, *contract.outputs[0].shape[1:])
    np.testing.assert_allclose(together.sum(2), 1, atol=1e-5)
    for case in range(5):
        (alone,) = session.run(None, {name: value[case : case + 1] for name, value in feed.items()})
        np.testing.assert_allclose(alone[0], together[case], atol=1e-5)


@pytest.mark.parametrize(
    "model, sampling",
    [(("yx", "unet"), {"steps": 2, "samples": 2}), ((), {"steps": 3, "samples": 1, "sampler": "ddpm"})],
)
def test_the_contract_says_what_the_graph_takes(make_export, model, sampling) -> None:  # type: ignore[no-untyped-def]
    made = make_export(*model, **sampling)
    contract = read_onnx_spec(made.onnx)
    session = onnxruntime.InferenceSession(str(made.onnx / contract.graph))
    for told, found in zip(contract.inputs, session.get_inputs(), strict=True):
        assert (told.name, list(told.shape), found.type) == (found.name, found.shape, "tensor(float)")
        assert len(told.axes) == len(told.shape)
    (answer,) = session.get_outputs()
    assert (contract.outputs[0].name, list(contract.outputs[0].shape)) == (answer.name, answer.shape)
    plan = read_plan(made.onnx / "plan.json")
    assert (contract.patch, contract.spacing, contract.channels) == (plan.patch, plan.spacing, plan.channels)
    assert plan == read_plan(made.model / "plan.json")
    settings = read_settings(made.onnx / "settings.json")
    assert settings.sampling.record(settings.stepwise) == contract.sampling
    assert [(one.index, one.id, one.name) for one in contract.classes] == [
        (0, 0, "background"),
        (1, 2, "left"),
        (2, 5, "right"),
    ]
    files = ["card.md", "contract.json", "model.onnx", "plan.json", "settings.json"]
    assert sorted(path.name for path in made.onnx.iterdir()) == files


def test_the_shapes_of_the_contract(make_model: MakeModel) -> None:
    model = load_model(make_model("yx", channels=2), CPU)
    contract = make_onnx_spec(model, SamplingSettings("ddpm", 2, 3), 0.0)
    assert [(one.name, one.shape) for one in contract.inputs] == [
        ("image", ("batch", 2, 16, 16)),
        ("noise", ("batch", 3, 2, 4, 4)),
        ("fresh_noise", ("batch", 3, 1, 2, 4, 4)),
    ]
    assert contract.outputs[0].shape == ("batch", 1 + 3, 3, 16, 16)
    assert contract.answers == 1


def test_the_tiling_of_the_contract_is_that_of_the_code() -> None:
    patch = (16, 24)
    offsets = [(np.arange(n) - (n - 1) / 2) / (TILING.deviation * n) for n in patch]
    weights = np.exp(-0.5 * (offsets[0][:, None] ** 2 + offsets[1][None] ** 2))
    expected = np.maximum(weights / weights.max(), TILING.floor)
    np.testing.assert_allclose(gaussian_weights(patch), expected, rtol=1e-5)
    assert tile_corners((100, 90), patch) == tile_corners((100, 90), patch, overlap=TILING.overlap)


@pytest.mark.parametrize("options", [{"steps": 3}, {"sampler": "ddpm"}])
def test_a_graph_keeps_its_steps_and_sampler(make_export, options: dict[str, object]) -> None:  # type: ignore[no-untyped-def]
    predictor = load_onnx_predictor(make_export("yx", "none", steps=2, samples=2).onnx)
    assert predictor.sampling(samples=7) == SamplingSettings("preconditioned_ddim", 2, 7, tta=True)
    with pytest.raises(InputError, match=rf"{next(iter(options))} is .*, the graph was made with"):
        predictor.sampling(**options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="cannot be looked into"):
        _ = predictor.segmenter


@pytest.mark.parametrize(
    "options, message",
    [
        ({"steps": 0}, "steps is 0"),
        ({"samples": 0}, "samples is 0"),
        ({"sampler": "plms"}, "sampler is 'plms'"),
    ],
)
def test_bad_sampling_leaves_nothing_behind(
    make_model: MakeModel, options: dict[str, object], message: str
) -> None:
    folder = make_model()
    with pytest.raises(InputError, match=message):
        export_onnx(folder, folder / "onnx", **options)  # type: ignore[arg-type]
    assert not (folder / "onnx").exists()


def test_a_graph_unlike_torch_is_not_written(make_model: MakeModel, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_model(baseline="unet")
    monkeypatch.setattr("ldseg.export.onnx._difference", lambda *_: float("nan"))
    with pytest.raises(RuntimeError, match=r"differ from torch's"):
        export_onnx(folder, folder.parent / "out")
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_an_export_does_not_replace_what_is_there(make_model: MakeModel) -> None:
    folder = make_model(baseline="unet")
    with pytest.raises(InputError, match="is there already"):
        export_onnx(folder, folder)
    with pytest.raises(InputError, match="cannot be made"):
        export_onnx(folder, folder / "card.md" / "onnx")


def _truncate(folder: Path) -> None:
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:1000])


def _another_patch(folder: Path) -> None:
    plan = read_plan(folder / "plan.json")
    write_plan(folder / "plan.json", replace(plan, patch=(32, 32)))


def _newer(folder: Path) -> None:
    write_onnx_spec(folder, replace(read_onnx_spec(folder), version=99))


def _contract(folder: Path, **changes: Any) -> None:
    write_onnx_spec(folder, replace(read_onnx_spec(folder), **changes))


BAD: dict[str, tuple[Callable[[Path], object], str]] = {
    "a graph elsewhere": (lambda f: _contract(f, graph="../model.onnx"), "name a file beside it"),
    "absurd sizes": (lambda f: _contract(f, latent_channels=-128), "its sizes contradict each other"),
    "sizes without end": (lambda f: _contract(f, latent_factor=(10**9, 4)), "its sizes contradict"),
    "no contract": (lambda f: (f / "contract.json").unlink(), r"contract\.json: there is no such file"),
    "no graph": (lambda f: (f / "model.onnx").unlink(), r"model\.onnx: there is no such file"),
    "no plan": (lambda f: (f / "plan.json").unlink(), r"plan\.json: there is no such file"),
    "truncated graph": (_truncate, r"model\.onnx: onnxruntime cannot read it"),
    "another patch": (_another_patch, r"plan\.json: patch is \(32, 32\), contract\.json has \(16, 16\)"),
    "newer contract": (_newer, r"contract\.json: is of version 99"),
}


@pytest.fixture
def spoilable(make_export, tmp_path: Path) -> Path:  # type: ignore[no-untyped-def]
    """A copy of an export."""
    shutil.copytree(make_export("yx", "unet", steps=2, samples=2).onnx, tmp_path / "onnx")
    return tmp_path / "onnx"


@pytest.mark.parametrize("what", BAD)
def test_a_bad_folder_is_one_line_of_complaint(spoilable: Path, what: str) -> None:
    spoil, message = BAD[what]
    spoil(spoilable)
    with pytest.raises(InputError, match=message) as caught:
        load_onnx_predictor(spoilable)
    assert "\n" not in str(caught.value)


def test_a_device_that_is_not_here_is_refused(spoilable: Path) -> None:
    with pytest.raises(InputError, match="device 'nonsense' cannot be used by onnxruntime"):
        load_onnx_predictor(spoilable, "nonsense")


@pytest.mark.parametrize("library", ["onnxscript", "onnxruntime"])
def test_a_missing_library_is_named(
    make_model: MakeModel, spoilable: Path, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(InputError, match=rf"{library} is missing; install it with pip install"):
        export_onnx(make_model(), spoilable.parent / "out")
    if library == "onnxruntime":
        with pytest.raises(InputError, match="onnxruntime is missing"):
            load_onnx_predictor(spoilable)
