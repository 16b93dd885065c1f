"""What the viewer shows is what `ldseg predict` writes, however the samples were drawn."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from ldseg.app.cli.main import main
from ldseg.app.viewer import layers
from ldseg.app.viewer.model_source import ModelSource
from ldseg.app.viewer.readout import values_at
from ldseg.app.viewer.session import MOST_SAMPLES, Session
from ldseg.app.viewer.state import describe
from ldseg.data.formats import read_volume, write_volume
from ldseg.data.inputs import find_inputs
from ldseg.data.loading import load_input
from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.inference.predictor import Predictor
from ldseg.metrics.principal_variation import PrincipalVariation, principal_variation
from ldseg.settings import SamplingSettings

MakeModel = Callable[..., Path]
MakeSession = Callable[..., Session]
IDS = np.array([0, 2, 5])


def arrays(session: Session) -> dict[str, NDArray[Any]]:
    return {name: layer.array for name, layer in session.prediction.layers.items()}


def same(one: Session, other: Session) -> bool:
    a, b = arrays(one), arrays(other)
    return a.keys() == b.keys() and all(np.array_equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("axes", ["yx", "zyx", "tyx"])
def test_layers_are_what_predict_writes(make_model: MakeModel, tmp_path: Path, axes: str) -> None:
    rng, model, out = np.random.default_rng(1), make_model(axes), tmp_path / "out"
    shape = {"yx": (20, 24), "zyx": (9, 12, 15), "tyx": (5, 18, 14)}[axes]
    d = len(shape)
    turned = np.eye(d)[::-1] if axes == "zyx" else np.eye(d)
    volume = Volume(
        rng.normal(size=(1, *shape)).astype(np.float32),
        (1.0,) * d,
        (0.0,) * d,
        tuple(turned.ravel().tolist()),
        axes,  # type: ignore[arg-type]
        "image",
    )
    path = tmp_path / "scan.nii.gz"
    write_volume(path, volume)
    words = [
        "predict",
        path,
        "-m",
        model,
        "-o",
        out,
        "--samples",
        3,
        "--steps",
        2,
        "--seed",
        5,
        "--device",
        "cpu",
    ]
    assert main([str(word) for word in [*words, "--save", "labels,probabilities,uncertainty,samples"]]) == 0

    predictor = Predictor.load(model, "cpu")
    (case,) = find_inputs([path], 1, axes)  # type: ignore[arg-type]
    image = load_input(case, 1, axes)  # type: ignore[arg-type]
    source = ModelSource(predictor, predictor.sampling(2, 3), 5)
    shown = arrays(Session(source, image, case.name, str(path)))

    def written(suffix: str, kind: Any = "labels") -> NDArray[Any]:
        return read_volume(out / f"scan{suffix}.nii.gz", kind, axes).array  # type: ignore[arg-type]

    np.testing.assert_array_equal(IDS[shown["labels"]], written("")[0])
    for k in (1, 2):
        np.testing.assert_allclose(
            shown[f"probability-{k}"], written("_probabilities", "image")[k], atol=1e-6
        )
    np.testing.assert_allclose(shown["uncertainty"], written("_uncertainty", "image")[0], atol=1e-6)
    for k in (1, 2, 3):
        (file,) = out.glob(f"scan_sample*{k}.nii.gz")
        np.testing.assert_array_equal(
            IDS[shown[f"sample-{k}"]],
            read_volume(file, "labels", axes).array[0],  # type: ignore[arg-type]
        )


def test_more_samples_are_those_of_all_at_once(make_session: MakeSession) -> None:
    grown, whole = make_session(samples=4), make_session(samples=8)
    first = arrays(grown)
    assert grown.draw_more()
    grown.wait()
    assert grown.prediction.samples == 8
    assert same(grown, whole)
    assert grown.prediction.findings == whole.prediction.findings
    for k in range(1, 5):
        np.testing.assert_array_equal(first[f"sample-{k}"], arrays(whole)[f"sample-{k}"])


def test_one_drawing_at_a_time(make_session: MakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    session, gate = make_session(), threading.Event()
    stream = Predictor.segment

    def waiting(*words: Any) -> Any:
        gate.wait(20)
        return stream(*words)

    monkeypatch.setattr(Predictor, "segment", waiting)
    assert session.draw_more()
    assert session.busy
    assert not session.draw_more()
    gate.set()
    session.wait()
    assert (session.busy, session.prediction.samples) == (False, 7)


def test_the_end_does_not_wait_for_what_is_being_drawn(make_session: MakeSession) -> None:
    session = make_session()
    session._stopping.set()
    assert session.draw_more()
    session.stop()
    assert (session.prediction.samples, session.problem) == (3, "")


def test_what_goes_wrong_while_drawing_is_told_and_the_answer_stays(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = make_session()

    def full(*_: Any) -> Any:
        raise RuntimeError("not enough memory")

    monkeypatch.setattr(Predictor, "segment", full)
    session.draw_more()
    session.wait()
    state = describe(session)
    assert "not enough memory" in state["problem"]
    assert (state["samples"], state["busy"], state["more"]) == (3, False, 4)


def test_samples_have_an_end(make_session: MakeSession) -> None:
    session = make_session(samples=MOST_SAMPLES - 1)
    assert session.more == 1
    assert session.draw_more()
    session.wait()
    assert session.prediction.samples == MOST_SAMPLES
    assert session.more == 0
    assert not session.draw_more()


def test_the_principal_variation_goes_from_minus_to_plus_two_deviations(make_session: MakeSession) -> None:
    prediction = make_session(samples=4).prediction
    shown = [layer.title for layer in prediction.layers.values() if layer.group == "variation"]
    assert (len(shown), shown[0], shown[4], shown[-1]) == (
        9,
        "-2 standard deviations",
        "0 standard deviations",
        "+2 standard deviations",
    )


def test_the_principal_variation_is_computed_once_and_only_if_asked_for(
    make_session: MakeSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []

    def counted(samples: list[NDArray[Any]], *arguments: Any) -> PrincipalVariation:
        calls.append(len(samples))
        return principal_variation(samples, *arguments)

    monkeypatch.setattr(layers, "principal_variation", counted)
    session = make_session(samples=4)
    values_at(session, (0,) * len(session.image.shape))
    assert calls == []
    first, last = (session.prediction.layers[f"variation-{n}"].array for n in (1, 9))
    assert first.shape == last.shape == session.image.shape
    assert calls == [4]


def test_samples_that_are_drawn_at_once_have_no_steps(make_session: MakeSession) -> None:
    told = describe(make_session("yx", "ssn"))
    assert (told["samples"], told["steps"], told["sampler"]) == (3, None, None)


def test_a_deterministic_model_has_one_answer(make_session: MakeSession) -> None:
    session = make_session(baseline="unet", samples=8)
    assert (session.prediction.samples, session.more) == (1, 0)
    assert not session.draw_more()
    assert not [
        name for name in session.prediction.layers if name.startswith(("sample", "disagreement", "variation"))
    ]


def test_structures_have_volumes_with_an_interval_and_colors(make_session: MakeSession) -> None:
    session = make_session("zyx")
    left, right = describe(session)["structures"]
    assert (left["name"], right["name"]) == ("left", "right")
    assert left["color"] != right["color"]
    for one in (left, right):
        assert one["low"] <= one["volume"] <= one["high"]
        assert one["volume"] == session.prediction.findings.volumes[one["name"]].mean


def test_it_begins_where_the_structures_are(make_session: MakeSession) -> None:
    session = make_session("zyx")
    labels = session.prediction.layers["labels"].array
    labels[:] = 0
    labels[2, 3:5, 7:9] = 1
    labels[6, 4, 8] = 2
    assert describe(session)["start"] == [2, 4, 8]
    labels[:] = 0
    assert describe(session)["start"] == [4, 6, 7]


def test_an_image_that_does_not_fit_the_model_is_refused(
    make_session: MakeSession, make_model: MakeModel
) -> None:
    predictor = Predictor.load(make_model("yx", "none", "default", 2), "cpu")
    image = make_session().image
    with pytest.raises(InputError, match=r"scan\.png: has 1 channels"):
        Session(ModelSource(predictor, SamplingSettings(), 0), image, "a", "scan.png")


def test_a_picture_without_a_spacing_is_shown_in_pixels(make_session: MakeSession) -> None:
    session = make_session()
    flat = replace(session.image, spacing=(1.0, 1.0), physical=False)
    shown, known = describe(make_session(image=flat)), describe(session)
    assert (shown["unit"], shown["physical"]) == ("pixels", False)
    assert (known["unit"], known["physical"]) == ("mm²", True)
