"""Predicts many cases one after the other: read, segment, write. Several processes divide them.

OUT/NAME.ext ...       results (see writer.py)
    plan.json          of the model: classes and their ids
    prediction.json    what made them (see provenance.py)

Where the result is one file, there is no plan.json: the folder is the user's own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ldseg import __version__
from ldseg.data.cases import Case
from ldseg.data.formats import TIFF_ENDINGS, dicom
from ldseg.data.formats.dicom.segments import SegmentCodes
from ldseg.data.loading import load_input
from ldseg.data.splits import Part
from ldseg.errors import InputError, file_error
from ldseg.inference.base_predictor import BasePredictor
from ldseg.inference.decision import Decision
from ldseg.inference.fit_to_memory import cost_in_memory, fit_any_to_memory
from ldseg.inference.output import MEMBER_DISAGREEMENT, CaseSummary
from ldseg.inference.output_folder import prepare_folder, refuse_other_classes
from ldseg.inference.output_writers import find_output_writer, make_output_writer
from ldseg.inference.predictor import Predictor
from ldseg.inference.provenance import CaseRecord, Method, describe_inputs, now
from ldseg.inference.provenance_journal import ProvenanceJournal
from ldseg.inference.tiled_tiff import BeforeWriting, LargeOptions, is_large, predict_large
from ldseg.inference.writer import (
    OUTPUTS,
    OutputFormat,
    output_paths,
    summary_path,
    wanted_maps,
    write_prediction,
    write_summary,
)
from ldseg.planning.plan import write_plan
from ldseg.preprocessing.preprocess import grid_transform
from ldseg.runs.files import PLAN_FILE
from ldseg.settings import SamplingRecord, SamplingSettings
from ldseg.utils.distributed import SINGLE_PROCESS, DistributedContext
from ldseg.utils.serialization import from_json, to_json

Event = dict[str, Any]
OnEvent = Callable[[Event], None]


@dataclass(frozen=True)
class PredictOptions:
    """Options of a prediction; None takes what the model was trained to do."""

    steps: int | None = None
    samples: int | None = None
    sampler: str | None = None
    tta: bool | None = None
    seed: int = 0
    save: tuple[str, ...] = ("labels",)
    """Any of `writer.OUTPUTS`."""
    max_memory: float | None = None
    """GB that the process may take in all; None: as much as the plan's patch needs."""
    format: str | None = None
    """Name of an output writer, e.g. the ending ".nii.gz"; None: the format of the input."""
    harmonize: bool = True
    """True where images that differ from the training images are harmonized with them."""
    file: str | None = None
    """Name of the labels' file of the only case; None: the case's name with the ending of the results."""
    codes: dict[str, SegmentCodes] = field(default_factory=dict[str, SegmentCodes])
    """Class name to its codes in DICOM segmentations; the others take default ones."""
    decision: Decision | None = None
    """How labels follow from several samples; None: as the model's calibration chose."""
    part: Part | None = None
    """Part of the training's split that the cases are; prediction.json says so, for their evaluation."""

    def __post_init__(self) -> None:
        if self.format is not None:
            find_output_writer(self.format)
        strange = [name for name in self.save if name not in (*OUTPUTS, MEMBER_DISAGREEMENT)]
        if strange or not self.save:
            found = strange[0] if strange else ""
            raise InputError(f"save is {found!r}; choose any of {', '.join(OUTPUTS)}, separated by commas")
        if len(set(self.save)) < len(self.save):
            raise InputError(f"save is {','.join(self.save)}; name each once")


class CaseError(InputError):
    """A case that cannot be predicted, though others can."""


@dataclass(frozen=True)
class Summary:
    """The outcome of each case."""

    done: dict[str, tuple[Path, ...]] = field(default_factory=dict[str, tuple[Path, ...]])
    """Case to the files written."""
    failed: dict[str, str] = field(default_factory=dict[str, str])
    """Case to the problem with it."""
    out_of_distribution: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Case to the ways in which it differs from the training images; the others are like them."""
    notes: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Case to what was assumed or changed when its image was read; the others were read as they are."""
    removed: dict[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    """Case to the files of an earlier prediction that were removed, for they belong to other results."""
    kept: tuple[str, ...] = ()
    """The cases that failed and of which files of an earlier prediction remain."""


def predict_cases(
    predictor: BasePredictor,
    cases: Sequence[Case],
    out: Path,
    options: PredictOptions,
    keep_going: bool = False,
    on_event: OnEvent = lambda _: None,
    context: DistributedContext = SINGLE_PROCESS,
) -> Summary:
    """Predict `cases` into the folder `out`; the processes of a `context` divide the cases.

    `on_event` gets {"event": "predicted", "case", "seconds", "files"} or {"event": "failed", "case",
    "error"} for each case of this process. The summary is of all.

    Raises:
        InputError: illegal options, a folder that cannot be used, or (a `CaseError`, unless
            `keep_going`) a bad case; the cases before it stay written.
    """
    predictor = predictor if options.harmonize else predictor.without_harmonization()
    predictor = predictor if options.decision is None else predictor.deciding_by(options.decision)
    sampling = predictor.sampling(options.steps, options.samples, options.sampler, options.tta)
    beside = predictor.extra_maps if "uncertainty" in options.save else ()
    options = replace(options, save=tuple(dict.fromkeys((*options.save, *beside))))
    if options.format in dicom.DICOM.endings and predictor.plan.axes == "tyx":
        raise InputError(
            f"format is {options.format!r}; cine images have no DICOM segmentation, choose .nii.gz"
        )
    plan, form = predictor.plan, options.format
    writer = None if form is None else make_output_writer(form, plan, options.save)
    output_format = OutputFormat(plan, writer, options.file)
    run = _Run(predictor, out, options, sampling, output_format, ProvenanceJournal(out))
    context.on_rank_zero(lambda: run.begin(cases))
    try:
        summary = context.run_on_all_ranks(
            lambda: run.predict_all(context.shard(cases), keep_going, on_event)
        )
    finally:
        if context.is_rank_zero:
            run.journal.merge()
    return _all_summaries(summary, context)


def _all_summaries(summary: Summary, context: DistributedContext) -> Summary:
    """Return the summaries of all processes as one."""
    done = {name: tuple(map(str, files)) for name, files in summary.done.items()}
    plain = to_json(replace(summary, done=done))  # paths as text
    parts = [from_json(_Plain, json.loads(text), "") for text in context.all_gather(json.dumps(plain))]
    return Summary(
        {name: tuple(map(Path, files)) for part in parts for name, files in part.done.items()},
        {name: why for part in parts for name, why in part.failed.items()},
        {name: ways for part in parts for name, ways in part.out_of_distribution.items()},
        {name: notes for part in parts for name, notes in part.notes.items()},
        {name: files for part in parts for name, files in part.removed.items()},
        tuple(name for part in parts for name in part.kept),
    )


@dataclass(frozen=True)
class _Plain:
    """A summary whose types are those of JSON, to be sent between processes."""

    done: dict[str, tuple[str, ...]]
    failed: dict[str, str]
    out_of_distribution: dict[str, tuple[str, ...]]
    notes: dict[str, tuple[str, ...]]
    removed: dict[str, tuple[str, ...]]
    kept: tuple[str, ...]


@dataclass(frozen=True)
class _Run:
    """A prediction of several cases: the model, the folder of results and the options."""

    predictor: BasePredictor
    out: Path
    options: PredictOptions
    sampling: SamplingSettings
    format: OutputFormat
    journal: ProvenanceJournal

    @property
    def record(self) -> SamplingRecord:
        """Return the sampling as files of results have it."""
        return self.sampling.record(self.predictor.stepwise)

    def begin(self, cases: Sequence[Case]) -> None:
        """Make the folder, and write the files that all cases share."""
        if MEMBER_DISAGREEMENT in self.options.save and not self.predictor.extra_maps:
            finding = f"save is {MEMBER_DISAGREEMENT!r}, and a single model has no members"
            raise InputError(f"{finding}; leave it out")
        files = {self.name(case): self.files(case) for case in cases}
        prepare_folder(self.out, cases, files)
        if self.format.file is None:
            refuse_other_classes(self.out, self.predictor.plan, files)
            write_plan(self.out / PLAN_FILE, self.predictor.plan)
        part = self.options.part
        self.journal.merge(parts=None if part is None else {part: [case.name for case in cases]})

    def name(self, case: Case) -> str:
        """Return how the names of the case's files begin."""
        return self.format.stem(case)

    def files(self, case: Case) -> tuple[Path, ...]:
        """Return the files to be written for the case, the summary first and the labels last."""
        options, samples = self.options, self.sampling.samples
        summary = summary_path(self.out, case, options.save, samples, self.format)
        maps = output_paths(self.out, case, options.save, samples, self.format).values()
        return (*(() if summary is None else (summary,)), *maps)

    def predict_all(self, cases: Sequence[Case], keep_going: bool, on_event: OnEvent) -> Summary:
        """Predict one case after the other, in this process."""
        found = Summary()
        kept: list[str] = []
        for case in cases:
            started, name = time.monotonic(), self.name(case)
            begun: list[str] = []
            try:
                self._predict(case, found, begun)
            except InputError as problem:
                if self.journal.fail_case(name, str(problem), begun):
                    kept.append(case.name)
                if not keep_going:
                    raise CaseError(str(problem)) from problem
                found.failed[case.name] = str(problem)
                on_event({"event": "failed", "case": case.name, "error": str(problem)})
                continue
            files = [str(path) for path in found.done[case.name]]
            seconds = round(time.monotonic() - started, 3)
            on_event({"event": "predicted", "case": case.name, "seconds": seconds, "files": files})
        return replace(found, kept=tuple(kept))

    def _predict(self, case: Case, found: Summary, begun: list[str]) -> None:
        """Write the case's files, and record the outcome in `found`. `begun` gets the files' names as soon
        as the first is written."""
        files = self.files(case)

        def before_writing(case_summary: CaseSummary) -> None:
            removed = self.journal.begin_case(self.name(case), self._record(case, case_summary))
            begun.extend(path.name for path in files)
            for collected, of_case in (
                (found.out_of_distribution, case_summary.out_of_distribution),
                (found.notes, case_summary.notes),
                (found.removed, removed),
            ):
                if of_case:
                    collected[case.name] = of_case
            samples = self.sampling.samples
            path = summary_path(self.out, case, self.options.save, samples, self.format)
            if path is not None:
                write_summary(path, case, case_summary, self.record, self.options.seed)

        as_its_own = self.options.format is None or self.options.format in TIFF_ENDINGS
        if as_its_own and is_large(case, self.predictor.plan.axes):
            how = self.options
            if not isinstance(self.predictor, Predictor):
                finding = "is too large for an ensemble, whose members are mixed in memory"
                raise file_error(case.images[0], finding, "segment it with one model")
            large = LargeOptions(how.save, self.sampling, how.seed, how.max_memory, self.format)
            predict_large(self.predictor, case, self.out, large, before_writing)
        else:
            self._predict_in_memory(case, before_writing)
        found.done[case.name] = files

    def _predict_in_memory(self, case: Case, before_writing: BeforeWriting) -> None:
        predictor, plan, options, sampling = self.predictor, self.predictor.plan, self.options, self.sampling
        image = load_input(case, len(plan.channels), plan.axes)
        image = dicom.with_segment_codes(image, plan.classes, options.codes)
        if "labels" in options.save or "samples" in options.save:
            self.format.writer_for(case).check(image, case.images[0])
        wanted, source = wanted_maps(options.save, sampling.samples), str(case.images[0])
        if options.max_memory is not None:
            grid, held = grid_transform(image, plan, source), predictor.held_maps(wanted, sampling)
            cost = cost_in_memory(grid, plan, sampling.samples, held)
            predictor = fit_any_to_memory(predictor, cost, sampling, options.max_memory)
        maps, case_summary = predictor.predict_maps(image, case.name, sampling, options.seed, wanted, source)
        before_writing(case_summary)
        write_prediction(self.out, case, maps, options.save, sampling.samples, self.format)

    def _record(self, case: Case, case_summary: CaseSummary) -> CaseRecord:
        """Return the record of the case for prediction.json."""
        predictor, options = self.predictor, self.options
        method = Method(
            self.record,
            options.seed,
            options.harmonize,
            predictor.calibration,
            predictor.computation,
            options.max_memory,
            case_summary.decision,
        )
        return CaseRecord(
            case.name,
            *describe_inputs(case),
            tuple(path.name for path in self.files(case)),
            case_summary.notes,
            case_summary.out_of_distribution,
            predictor.identity,
            method,
            __version__,
            now(),
            case_summary.expected_dice,
            case_summary.ensemble,
        )
