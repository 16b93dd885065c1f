"""Exports a trained model as one ONNX graph with its specification.

OUT/model.onnx      image patch and noise to probabilities, fp32, any number of patches at once
    contract.json   see inference/onnx_spec.py
    plan.json, settings.json, card.md    as training wrote them, the sampling as exported
    segments.json       codes of DICOM segmentations, where the model has them
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ldseg import __version__
from ldseg.data.formats.dicom.segments import SEGMENTS_FILE
from ldseg.export.atomic_directory import atomic_directory
from ldseg.export.exportable_sampler import ExportableSampler, count_draws
from ldseg.export.io_documentation import RULES, TILING
from ldseg.inference.backends.onnx_backend import open_session, require
from ldseg.inference.backends.torch_backend import check_sampling, count_deterministic, find_tta_axis
from ldseg.inference.onnx_spec import (
    FRESH_NOISE,
    IMAGE,
    NOISE,
    PROBABILITIES,
    SPEC_VERSION,
    ClassSpec,
    OnnxSpec,
    TensorSpec,
    write_onnx_spec,
)
from ldseg.inference.predictor import Predictor
from ldseg.inference.temperature_scaling import Calibration, stored_calibration
from ldseg.planning.plan import write_plan
from ldseg.runs.files import CARD_FILE, PLAN_FILE, SETTINGS_FILE
from ldseg.runs.saved_model import SavedModel, copy_files, load_model, write_settings
from ldseg.settings import SamplingSettings

OnStage = Callable[[float, str], None]
"""Gets the share of the work that is done, and what is done next."""

GRAPH_FILE = "model.onnx"
OPSET = 20
TOLERANCE = 1e-3
"""Return the largest difference of a probability between the graph and torch with which a graph is
written."""
_CPU = torch.device("cpu")
_TRANSLATION = (2, 5)
"""Least and largest time of the translation to ONNX as a multiple of that of recording the computation, as
measured from one step of one sample to eight of eight."""
_BATCH = 2  # cases of the example that is traced; 1 would be taken for a constant


def ignore_stage(share: float, text: str) -> None:
    """Do nothing."""
    del share, text


@dataclass(frozen=True)
class OnnxExport:
    """The files that were written."""

    folder: Path
    spec: OnnxSpec
    megabytes: float
    """Size of the graph with its weights."""


def export_onnx(
    folder: Path,
    out: Path,
    steps: int | None = None,
    samples: int | None = None,
    sampler: str | None = None,
    tta: bool | None = None,
    on_stage: OnStage = ignore_stage,
    loaded: SavedModel | None = None,
) -> OnnxExport:
    """Export the model in `folder` to the new folder `out`; what is None is the model's own. `on_stage` is
    called with the share of the work that is done, and with what is done next. `loaded` is the model in
    `folder`, on the CPU, where it has been loaded already.

    Raises:
        InputError: a folder or the sampling cannot be used, or onnx and onnxruntime are not installed.
        RuntimeError: the graph's probabilities are not torch's.
    """
    for library in ("onnx", "onnxscript", "onnxruntime"):
        require(library)
    model = load_model(Path(folder), _CPU) if loaded is None else loaded
    sampling = model.settings.sampling_of(sampler, steps, samples, tta, model.segmenter.stochastic)
    check_sampling(sampling)
    sampling = model.segmenter.resolve_sampling(sampling)
    with atomic_directory(Path(out)) as staged:
        spec = _write(model, sampling, stored_calibration(Path(folder)), staged, on_stage)
        copy_files(Path(folder), staged, (CARD_FILE, SEGMENTS_FILE))
        size = (staged / GRAPH_FILE).stat().st_size
    return OnnxExport(Path(out), spec, size / 1e6)


def saved_model_of(predictor: Predictor) -> SavedModel:
    """Return what the folder of a loaded model holds, its weights laid out in memory as `load_model` does.

    Raises:
        InputError: the model was exported, and what is left of it is a graph.
    """
    # torch's stubs know `memory_format` only together with other arguments.
    plain = predictor.segmenter.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
    return SavedModel(plain, predictor.plan, predictor.settings)


def make_onnx_spec(model: SavedModel, sampling: SamplingSettings, difference: float) -> OnnxSpec:
    """Return the specification of a graph of `model` that samples in this way."""
    plan, segmenter = model.plan, model.segmenter
    stochastic = segmenter.stochastic and not sampling.single_call
    draws = count_draws(segmenter, sampling) if stochastic else 0
    latent = segmenter.start_shape(plan.patch)
    axes = tuple(plan.axes)
    noise = ("batch", sampling.samples)
    grid_axes = ("latent channel", *(f"latent {axis}" for axis in axes))
    inputs = [
        TensorSpec(
            IMAGE,
            ("batch", "channel", *axes),
            ("batch", len(plan.channels), *plan.patch),
            "patch of the normalized image",
        )
    ]
    if stochastic:
        meaning = "standard normal, the start of each sample"
        inputs.append(TensorSpec(NOISE, ("batch", "sample", *grid_axes), (*noise, *latent), meaning))
    if draws:
        meaning = "standard normal, for each draw during sampling in its order"
        names = ("batch", "sample", "draw", *grid_axes)
        inputs.append(TensorSpec(FRESH_NOISE, names, (*noise, draws, *latent), meaning))
    deterministic = count_deterministic(segmenter, sampling, find_tta_axis(plan, sampling))
    meaning = "probability of each class in each sample; sums to 1 over the classes"
    output = TensorSpec(
        PROBABILITIES,
        ("batch", "sample", "class", *axes),
        ("batch", deterministic + sampling.samples, segmenter.classes, *plan.patch),
        f"{meaning}; the first {deterministic} are deterministic predictions" if deterministic else meaning,
    )
    return OnnxSpec(
        version=SPEC_VERSION,
        made_by=f"ldseg {__version__}",
        graph=GRAPH_FILE,
        opset=OPSET,
        difference=difference,
        stochastic=stochastic,
        sampling=sampling.record(segmenter.stepwise),
        draws=draws,
        inputs=tuple(inputs),
        outputs=(output,),
        axes=plan.axes,
        spacing=plan.spacing,
        resample=plan.resample,
        patch=plan.patch,
        channels=plan.channels,
        latent_factor=segmenter.latent_factor,
        latent_channels=segmenter.latent_channels,
        classes=tuple(ClassSpec(k, plan.classes[name], name) for k, name in enumerate(plan.classes)),
        tiling=replace(TILING, align=segmenter.latent_factor),
        rules=RULES,
        answers=deterministic,
        global_channels=segmenter.global_channels,
        physical_spacing=plan.had_spacing,
    )


def _write(
    model: SavedModel,
    sampling: SamplingSettings,
    calibration: Calibration,
    staged: Path,
    on_stage: OnStage,
) -> OnnxSpec:
    """Write graph, specification, plan and settings into the folder `staged`."""
    spec = replace(make_onnx_spec(model, sampling, 0.0), recalibration=calibration)
    sampler = ExportableSampler(model.segmenter, sampling, find_tta_axis(model.plan, sampling)).eval()
    _trace(sampler, spec, staged / GRAPH_FILE, on_stage)
    on_stage(0.95, "comparing the graph with torch")
    spec = replace(spec, difference=_difference(sampler, spec, staged / GRAPH_FILE))
    if not spec.difference <= TOLERANCE:
        raise RuntimeError(
            f"the graph's probabilities differ from torch's by up to {spec.difference:.2g}, "
            f"more than {TOLERANCE}"
        )
    write_plan(staged / PLAN_FILE, model.plan)
    write_settings(staged / SETTINGS_FILE, model.settings.fixed(sampling))
    write_onnx_spec(staged, spec)
    return spec


def _trace(sampler: ExportableSampler, spec: OnnxSpec, path: Path, on_stage: OnStage) -> None:
    """Write the graph of `sampler`, with its weights, in one file."""
    example = _example(spec, _BATCH, seed=0)
    batch = torch.export.Dim("batch")
    arguments = tuple(torch.from_numpy(example[tensor.name]) for tensor in spec.inputs)
    on_stage(0.05, "recording what the network computes")
    started = time.monotonic()
    with _quiet(), torch.no_grad():
        shapes = ({0: batch},) * len(arguments)
        recorded = torch.export.export(sampler, arguments, dynamic_shapes=shapes, strict=False)
        least, most = (times * (time.monotonic() - started) for times in _TRANSLATION)
        on_stage(0.2, f"translating it to ONNX, which takes {least:.0f} to {most:.0f} s")
        program = torch.onnx.export(
            recorded,
            dynamo=True,
            input_names=[tensor.name for tensor in spec.inputs],
            output_names=[PROBABILITIES],
            dynamic_shapes=shapes,  # for the name of the axis
            opset_version=spec.opset,
            verbose=False,
        )
        if program is None:
            raise RuntimeError("torch.onnx.export gave no program")
        program.save(str(path), external_data=False)


def _difference(sampler: ExportableSampler, spec: OnnxSpec, path: Path) -> float:
    """Return the largest difference of a probability between the graph and torch, with one case and with
    several."""
    session = open_session(path, "cpu")
    largest = 0.0
    for cases in (1, _BATCH + 1):
        feed = _example(spec, cases, seed=cases)
        with torch.inference_mode():
            wanted: Tensor = sampler(*(torch.from_numpy(feed[tensor.name]) for tensor in spec.inputs))
        found: NDArray[np.float32] = session.run([PROBABILITIES], feed)[0]
        largest = max(largest, float(np.abs(found - wanted.numpy()).max()))
    return largest


def _example(spec: OnnxSpec, cases: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Return standard normal numbers in the shape of each input."""
    rng = np.random.default_rng(seed)
    return {
        tensor.name: rng.standard_normal(
            [cases if n == "batch" else n for n in tensor.shape], dtype=np.float32
        )
        for tensor in spec.inputs
    }


@contextmanager
def _quiet() -> Generator[None]:
    """Suppress the exporter's remarks on libraries and names, which a user cannot act on."""
    logger: Any = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
