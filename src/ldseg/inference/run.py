"""Many cases one after the other: read, segment, write. Several processes share them out.

OUT/NAME.ext ...       results (see writer.py)
    plan.json          of the model: classes and their ids
    prediction.json    how they were made
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ldseg.data.cases import Case
from ldseg.data.formats import all_endings, dicom, is_ending
from ldseg.data.formats.dicom.segments import SegmentCodes
from ldseg.data.loading import load_input
from ldseg.errors import InputError
from ldseg.inference.answer import Findings
from ldseg.inference.large import is_large, predict_large
from ldseg.inference.memory import cost_in_memory, within
from ldseg.inference.predictor import Predictor
from ldseg.inference.writer import (
    OUTPUTS,
    FileForm,
    output_paths,
    wanted_maps,
    write_prediction,
    write_summary,
)
from ldseg.planning.plan import Plan, write_plan
from ldseg.preprocessing.prepare import grid_record
from ldseg.processes import ALONE, Team
from ldseg.records import write_json_atomic
from ldseg.settings import SamplingSettings

RUN_VERSION = 1
Event = dict[str, Any]
OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class PredictOptions:
    """How to predict; None takes what the model was trained to do."""

    steps: int | None = None
    samples: int | None = None
    sampler: str | None = None
    mirror: bool | None = None
    seed: int = 0
    save: tuple[str, ...] = ("labels",)
    """Any of `writer.OUTPUTS`."""
    max_memory: float | None = None
    """GB that the process may take in all; None: as much as the plan's patch needs."""
    format: str | None = None
    """Ending of the results, e.g. ".nii.gz"; None: that of the input."""
    harmonise: bool = True
    """Whether images that are unlike those of training are brought nearer to them."""
    codes: dict[str, SegmentCodes] = field(default_factory=dict[str, SegmentCodes])
    """Class name to its codes in DICOM segmentations; the others take default ones."""

    def __post_init__(self) -> None:
        if self.format is not None and not is_ending(self.format):
            raise InputError(f"format is {self.format!r}; choose one of {' '.join(all_endings())}")
        strange = [name for name in self.save if name not in OUTPUTS]
        if strange or not self.save:
            found = strange[0] if strange else ""
            raise InputError(f"save is {found!r}; choose any of {', '.join(OUTPUTS)}, separated by commas")


@dataclass(frozen=True)
class Summary:
    """What became of each case."""

    done: dict[str, tuple[Path, ...]]
    """Case to the files written."""
    failed: dict[str, str]
    """Case to what is wrong with it."""
    unlike: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Case to the ways in which it is unlike the training images; the others are like them."""


def predict_cases(
    predictor: Predictor,
    cases: Sequence[Case],
    out: Path,
    options: PredictOptions,
    keep_going: bool = False,
    on_event: OnEvent = lambda _: None,
    team: Team = ALONE,
) -> Summary:
    """Predict `cases` into the folder `out`; the processes of a `team` predict a share each.

    `on_event` gets {"event": "predicted", "case", "seconds", "files"} or {"event": "failed", "case",
    "error"} for each case of this process. The summary is of all.

    Raises:
        InputError: illegal options, a folder that cannot be used, or (unless `keep_going`) a bad case;
            the cases before it stay written.
    """
    predictor = predictor if options.harmonise else predictor.as_they_are()
    sampling = predictor.sampling(options.steps, options.samples, options.sampler, options.mirror)
    team.first_does(lambda: _begin(predictor, cases, out, options, sampling))

    def predict_share() -> Summary:
        return _predict_all(predictor, team.share(cases), out, options, sampling, keep_going, on_event)

    return _joined(team.checked(predict_share), team)


def _begin(
    predictor: Predictor,
    cases: Sequence[Case],
    out: Path,
    options: PredictOptions,
    sampling: SamplingSettings,
) -> None:
    """The folder, and in it what is said once for all cases."""
    _prepare_folder(out, cases, options, sampling, _form(options, predictor.plan))
    write_plan(out / "plan.json", predictor.plan)
    made = {
        "version": RUN_VERSION,
        "sampling": sampling,
        "seed": options.seed,
        "save": options.save,
        "harmonise": options.harmonise,
    }
    write_json_atomic(out / "prediction.json", made)


def _joined(summary: Summary, team: Team) -> Summary:
    """The summaries of all processes as one."""
    files = {name: [str(path) for path in paths] for name, paths in summary.done.items()}
    done: dict[str, tuple[Path, ...]] = {}
    failed: dict[str, str] = {}
    unlike: dict[str, tuple[str, ...]] = {}
    for text in team.texts(json.dumps([files, summary.failed, summary.unlike])):
        their_files, their_failed, their_unlike = json.loads(text)
        done |= {name: tuple(Path(path) for path in paths) for name, paths in their_files.items()}
        failed |= their_failed
        unlike |= {name: tuple(ways) for name, ways in their_unlike.items()}
    return Summary(done, failed, unlike)


def _predict_all(
    predictor: Predictor,
    cases: Sequence[Case],
    out: Path,
    options: PredictOptions,
    sampling: SamplingSettings,
    keep_going: bool,
    on_event: OnEvent,
) -> Summary:
    """One case after the other, in this process."""
    done: dict[str, tuple[Path, ...]] = {}
    failed: dict[str, str] = {}
    unlike: dict[str, tuple[str, ...]] = {}
    for case in cases:
        started = time.monotonic()
        try:
            done[case.name], findings = _predict_case(predictor, case, out, options, sampling)
        except InputError as problem:
            if not keep_going:
                raise
            failed[case.name] = str(problem)
            on_event({"event": "failed", "case": case.name, "error": str(problem)})
            continue
        if findings.unlike:
            unlike[case.name] = findings.unlike
        files = [str(path) for path in done[case.name]]
        seconds = round(time.monotonic() - started, 3)
        on_event({"event": "predicted", "case": case.name, "seconds": seconds, "files": files})
    return Summary(done, failed, unlike)


def _predict_case(
    predictor: Predictor, case: Case, out: Path, options: PredictOptions, sampling: SamplingSettings
) -> tuple[tuple[Path, ...], Findings]:
    plan, save = predictor.plan, options.save
    if options.format is None and is_large(case, plan.axes):
        written, findings = predict_large(
            predictor, case, out, save, sampling, options.seed, options.max_memory
        )
    else:
        written, findings = _predict_in_memory(predictor, case, out, options, sampling)
    if "uncertainty" in save or "samples" in save:
        written.insert(0, write_summary(out, case, plan.axes, findings, sampling, options.seed))
    return tuple(written), findings


def _predict_in_memory(
    predictor: Predictor, case: Case, out: Path, options: PredictOptions, sampling: SamplingSettings
) -> tuple[list[Path], Findings]:
    plan, save = predictor.plan, options.save
    image = dicom.described(load_input(case, len(plan.channels), plan.axes), plan.classes, options.codes)
    wanted, source = wanted_maps(save, sampling.samples), str(case.images[0])
    if options.max_memory is not None:
        cost = cost_in_memory(grid_record(image, plan, source), plan, sampling.samples, wanted)
        predictor = within(predictor, cost, sampling, options.max_memory)
    maps, findings = predictor.maps(image, case.name, sampling, options.seed, wanted, source)
    return write_prediction(out, case, maps, save, sampling.samples, _form(options, plan)), findings


def _form(options: PredictOptions, plan: Plan) -> FileForm:
    """The format of the results. Raises InputError for one that cannot hold them."""
    if options.format in dicom.DICOM.endings and plan.axes == "tyx":
        raise InputError(f"format is {options.format!r}; films have no DICOM segmentation, choose .nii.gz")
    return FileForm(options.format, plan.axes)


def _prepare_folder(
    out: Path,
    cases: Sequence[Case],
    options: PredictOptions,
    sampling: SamplingSettings,
    form: FileForm,
) -> None:
    """Make the folder; refuse where a result would take the place of an input, or a model's plan."""
    if (out / "settings.json").exists() or (out / "splits.json").exists():
        raise InputError(f"{out}: is the folder of a training; choose another for the results with -o")
    inputs = {os.path.realpath(path) for case in cases for path in case.images}
    for case in cases:
        for path in output_paths(out, case, options.save, sampling.samples, form).values():
            if os.path.realpath(path) in inputs:
                raise InputError(f"{path}: the result would replace the image; choose another folder with -o")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{out}: cannot be made ({error.strerror}); choose another folder with -o"
        ) from error
