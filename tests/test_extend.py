"""The examples of how to extend ldseg: each trains for a moment, is loaded again and predicts."""

from __future__ import annotations

import json
import runpy
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import ldseg
from ldseg.app.cli.main import main
from ldseg.data.formats import write_volume
from ldseg.data.volume import volume_of_array
from ldseg.errors import InputError
from ldseg.networks.image_encoders.base import ImageEncoder
from ldseg.presets import default_model
from ldseg.settings import ModelSettings
from ldseg.utils import registry
from ldseg.utils.registry import admit

EXAMPLES = Path(__file__).parent.parent / "examples" / "extend"
SHORT = {"steps": 2, "batch": 2, "validations": 1, "validation_cases": 1, "calibrate": False, "workers": 0}
SMALL = [word for name, value in SHORT.items() for word in (f"--training.{name}", str(value).lower())]
SMALL += ["--device", "cpu"]


@pytest.fixture(autouse=True)
def examples_can_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(EXAMPLES)
    monkeypatch.setattr(registry, "_admitted", {})


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Five grey images of 32 pixels with a square each."""
    rng = np.random.default_rng(0)
    for name in ("images", "labels"):
        (tmp_path / "data" / name).mkdir(parents=True)
    for case in range(5):
        mask = np.zeros((32, 32), np.uint8)
        mask[6 + case : 20 + case, 8:24] = 1
        image = (60 + 120 * mask + rng.integers(0, 40, mask.shape)).astype(np.uint8)
        Image.fromarray(image).save(tmp_path / "data" / "images" / f"{case}.png")
        Image.fromarray(mask).save(tmp_path / "data" / "labels" / f"{case}.png")
    return tmp_path / "data"


def train_and_predict(data: Path, changes: dict[str, Any], **sampling: Any) -> ldseg.Prediction:
    """Train for two steps with code from outside allowed, load the model and segment an image."""
    run = data.parent / "run"
    ldseg.train(data, run, changes={"training": SHORT, **changes}, device="cpu", allow_code=True)
    return ldseg.load(run, "cpu", allow_code=True)(data / "images" / "0.png", **sampling)


def command(*words: object) -> int:
    return main([str(word) for word in words])


def sees(prediction: ldseg.Prediction) -> bool:
    """Return whether the prediction has finite probabilities on the grid of the image."""
    probabilities = prediction.probabilities.array
    return probabilities.shape == (2, 32, 32) and bool(np.isfinite(probabilities).all())


def test_an_image_encoder_of_monai(data: Path) -> None:
    encoder = {"architecture": "monai_encoder:SegResNetEncoder", "options": {"width": 8}}
    assert sees(train_and_predict(data, {"model": {"image_encoder": encoder}}))


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_encoder_of_monai_fits_the_decoder_in_2d_and_3d(spatial_dims: int) -> None:
    settings = with_encoder(default_model(spatial_dims, 1, 2), "monai_encoder:SegResNetEncoder")
    model = ldseg.LDSeg.from_settings(settings)
    x = torch.randn(1, 1, *(32,) * spatial_dims)
    assert model.sample(x).shape == (1, 1, 2, *x.shape[2:])


def with_encoder(settings: ModelSettings, architecture: str, **options: Any) -> ModelSettings:
    admit(architecture, True, "settings")
    encoder = replace(settings.image_encoder, architecture=architecture, options=options)
    return replace(settings, image_encoder=encoder)


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Stand in for timm with three strided convolutions, whose weights have timm's names."""

    class Encoder(nn.Module):
        def __init__(self, in_channels: int) -> None:
            super().__init__()
            widths = (in_channels, 8, 16, 24)
            self.layers = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in pairwise(widths))
            self.feature_info = SimpleNamespace(reduction=lambda: [2, 4, 8], channels=lambda: [8, 16, 24])

        def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
            return [x := layer(x) for layer in self.layers]

    stub = ModuleType("timm")
    stub.create_model = lambda name, features_only, in_chans: Encoder(in_chans)  # type: ignore[attr-defined]  # noqa: ARG005
    monkeypatch.setitem(sys.modules, "timm", stub)
    monkeypatch.delitem(sys.modules, "timm_encoder", raising=False)
    return stub


def test_a_pretrained_encoder_of_timm_is_loaded_when_a_training_begins(
    timm: ModuleType, data: Path, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    encoder = timm.create_model("any", True, 1)
    weights = {name: torch.full_like(value, 0.01) for name, value in encoder.state_dict().items()}
    save_file(weights, tmp_path / "weights.safetensors")
    options = {"name": "resnet18", "weights": str(tmp_path / "weights.safetensors")}
    settings = with_encoder(default_model(2, 1, 2), "timm_encoder:TimmEncoder", **options)
    model = ldseg.LDSeg.from_settings(settings)
    model.load_pretrained()
    assert isinstance(model.image_encoder, ImageEncoder)
    assert all((value == 0.01).all() for value in model.image_encoder.encoder.state_dict().values())  # type: ignore[union-attr,operator]

    part = {"architecture": "timm_encoder:TimmEncoder", "options": options}
    assert sees(train_and_predict(data, {"model": {"image_encoder": part}}))
    (tmp_path / "weights.safetensors").unlink()  # needed by the beginning of a training only
    assert sees(ldseg.load(tmp_path / "run", "cpu", allow_code=True)(data / "images" / "1.png"))


@pytest.mark.usefixtures("timm")
def test_missing_weights_of_timm_end_in_one_line(data: Path) -> None:
    part = {"architecture": "timm_encoder:TimmEncoder", "options": {"weights": "no-such-file"}}
    with pytest.raises(InputError, match=r"no-such-file: there is no such file; save timm's weights there"):
        train_and_predict(data, {"model": {"image_encoder": part}})


def test_an_encoder_of_timm_itself() -> None:
    try:
        import timm  # noqa: F401  # pyright: ignore
    except (ImportError, RuntimeError) as error:  # RuntimeError: its torchvision is for another torch
        pytest.skip(f"timm cannot be imported: {error}")
    model = ldseg.LDSeg.from_settings(
        with_encoder(default_model(2, 1, 2), "timm_encoder:TimmEncoder", name="resnet10t")
    )
    assert model.sample(torch.randn(1, 1, 64, 64)).shape == (1, 1, 2, 64, 64)


def test_another_denoiser_from_the_command_line_trains_resumes_predicts_and_is_reported(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    chosen = ["--model.denoiser.architecture", "dit_denoiser:DiT"]
    chosen += ["--model.denoiser.options", '{"width": 16, "depth": 1, "heads": 2}']
    words = ["train", data, "-o", run, *SMALL, *chosen]
    assert command(*words) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()[-1:]
    assert "settings: names code outside of ldseg, dit_denoiser:DiT; if you trust it, add --allow-c" in line
    assert command(*words, "--allow-code") == 0
    assert f"segment with it: ldseg predict IMAGE -m {run} -o OUT --allow-code" in capsys.readouterr().out
    stored = json.loads((run / "settings.json").read_text())["model"]["denoiser"]
    assert stored["architecture"] == "dit_denoiser:DiT"
    assert stored["options"] == {"width": 16, "depth": 1, "heads": 2}

    monkeypatch.setattr(registry, "_admitted", {})  # as in a new process
    longer = ["train", data, "-o", run, "--continue", "--steps", "2", "--device", "cpu"]
    for refused in (
        ["predict", data / "images", "-m", run, "-o", out],
        ["report", run, "--device", "cpu"],
        ["export", run, "--format", "onnx", "-o", tmp_path / "onnx"],
        longer,
    ):
        capsys.readouterr()
        assert command(*refused) == 2
        assert "names code outside of ldseg, dit_denoiser:DiT" in capsys.readouterr().err
    assert not out.exists()
    assert command(*longer, "--allow-code") == 0
    several = ["--steps", "2", "--samples", "2", "--device", "cpu", "--allow-code"]
    assert command("predict", data / "images", "-m", run, "-o", out, *several) == 0
    assert len(list(out.glob("*.png"))) == 5
    assert command("report", run, *several) == 0
    assert (run / "report.html").is_file()


def test_wrong_options_of_ones_own_denoiser_are_refused_by_name(data: Path) -> None:
    part = {"architecture": "dit_denoiser:DiT", "options": {"widht": 16}}
    with pytest.raises(InputError, match=r"model.denoiser.options: widht is not a field here"):
        train_and_predict(data, {"model": {"denoiser": part}})


@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_the_transformer_denoises_in_2d_and_3d_and_learns(spatial_dims: int) -> None:
    admit("dit_denoiser:DiT", True, "settings")
    settings = default_model(spatial_dims, 1, 2)
    settings = replace(settings, denoiser=replace(settings.denoiser, architecture="dit_denoiser:DiT"))
    model = ldseg.LDSeg.from_settings(settings)
    x = torch.randn(2, 1, *(16,) * spatial_dims)
    model.loss(x, (x[:, 0] > 0).long(), torch.Generator().manual_seed(0)).total.backward()
    assert model.denoiser.head.weight.grad.abs().sum() > 0  # type: ignore[union-attr]
    assert model.sample(x, samples=2, steps=2).shape == (2, 2, 2, *x.shape[2:])


def test_another_loss_term_from_the_command_line(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, terms = tmp_path / "run", '{"focal_tversky:focal_tversky": 0.5}'
    words = ["train", data, "-o", run, *SMALL, "--loss.dice", "0", "--loss.terms", terms]
    assert command(*words) == 2
    assert command(*words, "--allow-code") == 0
    monkeypatch.setattr(registry, "_admitted", {})  # a prediction does without the loss, and its code
    assert command("predict", data / "images" / "0.png", "-m", run, "-o", tmp_path / "out") == 0
    stored = json.loads((run / "settings.json").read_text())["loss"]["terms"]
    assert stored == {"focal_tversky:focal_tversky": 0.5}


def test_the_loss_term_falls_as_the_segmentation_gets_better() -> None:
    term = runpy.run_path(str(EXAMPLES / "focal_tversky.py"))["focal_tversky"]
    y = torch.zeros(1, 8, 8, dtype=torch.long)
    y[:, 2:6, 2:6] = 1
    right = torch.stack([y == 0, y == 1], 1).float()
    assert term(10 * right, y) < term(right, y) < term(-right, y)


def test_flow_matching(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flow = runpy.run_path(str(EXAMPLES / "flow_matching.py"))
    changes: dict[str, Any] = flow["FLOW"]
    assert sees(train_and_predict(data, changes, steps=4, samples=2, sampler="euler"))
    stored = json.loads((tmp_path / "run" / "settings.json").read_text())["model"]["noise"]
    assert (stored["schedule"], stored["parameterization"]) == ("rectified_flow", "flow")
    flow["main"](data, tmp_path / "again", 1)
    assert "1 " in capsys.readouterr().out


def test_another_sampler_is_named_where_a_prediction_is_made(
    data: Path, make_model: Any, tmp_path: Path
) -> None:
    model, out = make_model(), tmp_path / "out"
    words = ["predict", data / "images" / "0.png", "-m", model, "-o", out, "--steps", "2", "--samples", "2"]
    words += ["--sampler", "midpoint_sampler:midpoint", "--device", "cpu"]
    assert command(*words) == 2
    assert command(*words, "--allow-code") == 0
    assert (out / "0.png").is_file()


def test_another_output_writer_from_the_command_line(
    data: Path, make_model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = make_model(), tmp_path / "out"
    words = ["predict", data / "images", "-m", model, "-o", out, "--device", "cpu"]
    words += ["--format", "geojson_writer:GeoJsonWriter"]
    assert command(*words) == 2
    assert "--format: names code outside of ldseg, geojson_writer:GeoJsonWriter" in capsys.readouterr().err
    assert command(*words, "--allow-code", "--save", "labels,probabilities") == 2
    assert "holds label maps only; leave probabilities out of --save" in capsys.readouterr().err
    assert not out.exists()
    assert command(*words, "--allow-code", "--save", "labels,samples", "--samples", "2") == 0
    assert len(list(out.glob("*.geojson"))) == 15  # labels and two samples of five images
    record = json.loads((out / "prediction.json").read_text())["cases"]["0"]
    assert record["files"] == ["0_summary.json", "0_sample1.geojson", "0_sample2.geojson", "0.geojson"]
    assert json.loads((out / "0.geojson").read_text())["type"] == "FeatureCollection"


def test_outlines_are_of_parts_and_of_their_holes_in_pixels(tmp_path: Path) -> None:
    mask = np.zeros((1, 12, 20), np.uint8)
    mask[0, 0:6, 2:9] = 1
    mask[0, 2:4, 4:6] = 0
    mask[0, 8:10, 15:20] = 1
    example = runpy.run_path(str(EXAMPLES / "geojson_writer.py"))
    volume = replace(volume_of_array(mask, "yx"), array=mask, kind="labels")
    plan = SimpleNamespace(classes={"background": 0, "gland": 1})
    example["GeoJsonWriter"](plan).write(tmp_path / "a.geojson", volume)
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert {one["properties"]["classification"]["name"] for one in features} == {"gland"}
    first, second = (one["geometry"]["coordinates"] for one in features)
    assert (len(first), len(second)) == (2, 1)
    assert all(ring[0] == ring[-1] for ring in (*first, *second))
    corners = [(np.min(ring, 0).tolist(), np.max(ring, 0).tolist()) for ring in (*first, *second)]
    assert corners == [([2, 0], [9, 6]), ([4, 2], [6, 4]), ([15, 8], [20, 10])]  # (x, y) of pixel borders


def test_the_example_writer_refuses_a_volume_before_it_is_segmented(
    make_model: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = tmp_path / "scan.nii.gz"
    write_volume(image, volume_of_array(np.random.default_rng(0).normal(size=(16, 16, 16)), "zyx", (1, 1, 1)))
    words = ["predict", image, "-m", make_model("zyx"), "-o", tmp_path / "out", "--device", "cpu"]
    assert command(*words, "--format", "geojson_writer:GeoJsonWriter", "--allow-code") == 2
    assert "scan.nii.gz: is not a 2D image; leave out --format" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("scan*"))


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_training_is_logged(name: str, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[str] = []
    logged: list[str] = []

    class Recorder:
        def __init__(self, folder: Path, step: int) -> None:
            pages.append(f"{folder.name} {step}")

        def log(self, record: dict[str, Any]) -> None:
            logged.append(record["event"])

        def close(self) -> None:
            pages.append("closed")

    from ldseg.training.loggers import LOGGERS

    monkeypatch.setitem(LOGGERS._entries, name, Recorder)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    runpy.run_path(str(EXAMPLES / f"log_to_{name}.py"))["main"](data, tmp_path / "run", 1)
    assert pages == ["run 0", "closed"]
    assert {"losses", "validation"} & set(logged)


def test_every_example_has_a_page_and_a_test() -> None:
    pages = Path(__file__).parent.parent / "docs" / "extend"
    shown = "".join(page.read_text(encoding="utf-8") for page in pages.glob("*.md"))
    tested = Path(__file__).read_text(encoding="utf-8")
    for path in EXAMPLES.glob("*.py"):
        assert f"<!-- code: examples/extend/{path.name} -->" in shown, path.name
        assert path.stem.removeprefix("log_to_") in tested, path.name
