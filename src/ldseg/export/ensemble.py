"""Exports an ensemble: one ONNX graph a member, and how they are mixed.

OUT/MEMBER/model.onnx, contract.json, ...    each member as `export.onnx` writes it
    ensemble.json                            the graphs' SHA-256, weights and calibration
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ldseg.data.formats.dicom.segments import SEGMENTS_FILE
from ldseg.errors import file_error
from ldseg.export.atomic_directory import atomic_directory
from ldseg.export.onnx import OnnxExport, OnStage, export_onnx, ignore_stage, saved_model_of
from ldseg.inference.base_predictor import BasePredictor
from ldseg.inference.ensemble import Ensemble
from ldseg.inference.ensemble_files import (
    StoredEnsemble,
    StoredMember,
    load_models,
    member_folders,
    write_ensemble,
)
from ldseg.inference.provenance import identify
from ldseg.runs.saved_model import copy_files


def export_onnx_ensemble(
    folder: Path,
    out: Path,
    steps: int | None = None,
    samples: int | None = None,
    sampler: str | None = None,
    tta: bool | None = None,
    on_stage: OnStage = ignore_stage,
    loaded: BasePredictor | None = None,
) -> Sequence[OnnxExport]:
    """Export the members of the ensemble in `folder` (a run with folds, or ensemble.json) to the new folder
    `out`. What is None is that of the first member that draws samples, as where the models predict
    together. `on_stage` is called as by `export_onnx`. `loaded` is what `folder` holds, on the CPU, where it
    has been loaded already.

    Raises:
        InputError: a folder or the sampling cannot be used, members that do not fit each other, or onnx and
            onnxruntime are not installed.
        RuntimeError: a graph's probabilities are not torch's.
    """
    ensemble, places = load_models(folder, "cpu") if loaded is None else loaded, member_folders(folder)
    if not isinstance(ensemble, Ensemble):
        raise file_error(folder, "only one of its folds is trained", f"export that one, {places[0]}")
    shared = ensemble.sampling(steps, samples, sampler, tta)
    names = [f"{number}-{place.name}" for number, place in enumerate(places)]
    made: list[OnnxExport] = []
    members: list[StoredMember] = []
    with atomic_directory(Path(out)) as staged:
        for name, place, member, weight in zip(
            names, places, ensemble.members, ensemble.weights, strict=True
        ):
            begin = len(made)

            def tell(share: float, text: str, begin: int = begin, name: str = name) -> None:
                on_stage((begin + share) / len(names), f"{name}: {text}")

            export = export_onnx(
                place,
                staged / name,
                shared.steps,
                samples,
                shared.sampler,
                shared.tta,
                tell,
                saved_model_of(member),
            )
            graph = identify(staged / name, export.spec.graph).sha256
            members.append(StoredMember(name, graph, weight))
            made.append(replace(export, folder=Path(out) / name))
        copy_files(Path(folder), staged, (SEGMENTS_FILE,))
        write_ensemble(staged, StoredEnsemble(tuple(members), ensemble.fitted))
    return made
