"""Score a folder of predictions against a folder or data set of masks, matched by the cases' names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import prod
from pathlib import Path

from ldseg.data.align import align_label_to_image, align_to_whole_grid
from ldseg.data.cases import Case, DataOptions, DataSet
from ldseg.data.checks import group_notes
from ldseg.data.file_names import by_stem, name_key, volumes_in
from ldseg.data.formats import format_of, read_volume
from ldseg.data.loading import with_own_spacing
from ldseg.data.segment_names import map_ids_by_name
from ldseg.data.units import OneUnit
from ldseg.data.unread import OnRemark, describe_unread, ignore_remark, unread_in
from ldseg.data.volume import Volume, merge_notes
from ldseg.errors import InputError, file_error, listed
from ldseg.evaluation.case_metrics import ClassScores, evaluate_case, evaluate_cine, mean_over_raters
from ldseg.evaluation.ground_truth import open_ground_truth, read_ground_truth
from ldseg.evaluation.scores import Scores
from ldseg.inference.provenance_journal import read_records
from ldseg.metrics.cine import CineMetrics


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of the evaluation of a folder of predictions."""

    tolerance_mm: float | None = None
    """Distance up to which surfaces are equal (NSD), >= 0, in mm; None: 1. For masks with a physical
    spacing."""
    tolerance_px: float | None = None
    """The same in voxels, or in pixels in 2D; None: 1. For masks without a physical spacing."""
    partial: bool = False
    """Score only the cases that have a prediction, e.g. a test split against all masks of a data set."""
    keep_going: bool = False
    """Score the other cases when one cannot be scored, and list it as failed."""
    data: DataOptions = field(default_factory=DataOptions)
    """How to read the masks."""

    def __post_init__(self) -> None:
        for name in ("tolerance_mm", "tolerance_px"):
            length = getattr(self, name)
            if length is not None and not length >= 0:
                raise InputError(f"{name} is {length}; choose a length of at least 0, e.g. 1")

    def tolerance(self, mask: Volume, path: Path) -> float:
        """Return the tolerance in the unit of `mask`, read from `path`.

        Raises InputError where one in the other unit was given.
        """
        given, other = (self.tolerance_mm, self.tolerance_px)[:: 1 if mask.physical else -1]
        if other is not None:
            wrong, right = ("px", "mm") if mask.physical else ("mm", "px")
            finding = (
                f"has {'a' if mask.physical else 'no'} physical spacing, which --tolerance-{wrong} is not for"
            )
            raise file_error(path, finding, f"use --tolerance-{right}")
        return 1.0 if given is None else given


def evaluate_folders(
    predictions: Path,
    labels: Path,
    options: EvaluationOptions | None = None,
    on_case: Callable[[str], None] | None = None,
    on_remark: OnRemark = ignore_remark,
) -> Scores:
    """Score every case; `on_case` is called with its name after each, for a progress bar.

    `on_remark` gets a sentence for what was skipped, and for what was assumed or changed on reading.

    `predictions` is a folder of label files with the cases' names; files named CASE_something are taken for
    other results of the case. Where its prediction.json says that a part of a training's split was asked for,
    only the cases of this part are expected.

    Raises:
        InputError: a missing prediction, a file without a mask or one that is the mask itself, a prediction
            on another grid or with undeclared ids; with `keep_going` only where nothing at all can be scored.
    """
    options = options or EvaluationOptions()
    predictions = Path(predictions)
    if not predictions.is_dir():
        raise file_error(predictions, "there is no such folder", "give the folder of predicted label files")
    ground_truth = open_ground_truth(Path(labels), predictions, options.data)
    for remark in (*ground_truth.remarks, *describe_unread(unread_in(predictions, folders=False))):
        on_remark(remark)
    spelling = {name_key(case.name): case.name for case in ground_truth.cases}
    found = by_stem(volumes_in(predictions)).items()
    files = {spelling.get(name_key(name), name): paths[0] for name, paths in found}
    parts: dict[str, tuple[str, ...]] = {}
    with suppress(InputError):  # labels may come from any program, and any file may lie beside them
        parts = read_records(predictions).asked_parts()
    expected = {name_key(name) for names in parts.values() for name in names} or set(spelling)
    if options.partial:
        expected = set()
    cases = [case for case in ground_truth.cases if case.name in files or name_key(case.name) in expected]
    _refuse_masks_as_predictions(cases, files)
    failed = _partners_missing(predictions, ground_truth, cases, files)
    if failed and not options.keep_going:
        raise InputError(next(iter(failed.values())))
    scores = score_files(ground_truth, cases, files, options, failed, on_case, on_remark)
    return replace(scores, part=" and ".join(parts) or None)


def score_files(
    ground_truth: DataSet,
    cases: Sequence[Case],
    files: dict[str, Path],
    options: EvaluationOptions,
    failed: dict[str, str],
    on_case: Callable[[str], None] | None = None,
    on_remark: OnRemark = ignore_remark,
) -> Scores:
    """Score the `cases` whose names are in `files`, which map to the predicted label files.

    `failed` are cases that have no score, and the reasons; with `options.keep_going` those that cannot be
    scored are added. Raises InputError like `evaluate_folders`.
    """
    scored: dict[str, dict[str, ClassScores]] = {}
    cine: dict[str, dict[str, CineMetrics]] = {}
    units, tolerance, notes = OneUnit(), 1.0, _Notes()
    for case in (case for case in cases if case.name in files):
        try:
            scored[case.name], over_time, tolerance = _evaluate(
                ground_truth, case, files[case.name], options, units, notes
            )
            if over_time:
                cine[case.name] = over_time
        except InputError as problem:
            if not options.keep_going:
                raise
            failed[case.name] = str(problem)
        if on_case is not None:
            on_case(case.name)
    for remark in (*group_notes("mask", notes.masks), *group_notes("prediction", notes.predictions)):
        on_remark(remark)
    if not scored:
        reason = next(iter(failed.values()), f"{ground_truth.root}: no prediction has the name of a case")
        raise InputError(f"nothing could be scored; {reason}")
    subjects = {case.name: case.subject for case in cases if case.name in scored}
    if all(name == subject for name, subject in subjects.items()):
        subjects = {}
    return Scores(scored, ground_truth.classes, tolerance, subjects, failed, cine)


def _refuse_masks_as_predictions(cases: Sequence[Case], files: dict[str, Path]) -> None:
    """Raise InputError where a predicted file is the mask that it would be scored against."""
    for case in cases:
        file = files.get(case.name)
        if file is not None and any(path.exists() and path.samefile(file) for path in case.labels):
            finding = "is the reference mask itself, which any score against it is perfect for"
            raise file_error(file, finding, "give the folder of predictions first, then the masks")


@dataclass
class _Notes:
    """Remarks on reading files, each a path and a sentence: what was assumed or changed."""

    masks: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    predictions: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def _partners_missing(
    predictions: Path, ground_truth: DataSet, cases: Sequence[Case], files: dict[str, Path]
) -> dict[str, str]:
    """Return an error message per case or file name: masks without prediction, predictions without mask."""
    missing = [case.name for case in cases if case.name not in files]
    names = {case.name for case in ground_truth.cases}
    others = tuple(f"{name_key(name)}_" for name in names)
    extra = [name for name in files if name not in names and not name_key(name).startswith(others)]
    because = f"has no prediction for {listed(missing)}"
    remedy = "predict all of them, or score those that are there with --partial"
    found = dict.fromkeys(missing, f"{predictions}: {because}; {remedy}")
    because = f"has no mask for {listed([files[name].name for name in extra])}"
    remedy = "remove them, or give the masks of these cases"
    return found | dict.fromkeys(extra, f"{ground_truth.root}: {because}; {remedy}")


def _evaluate(
    ground_truth: DataSet, case: Case, file: Path, options: EvaluationOptions, units: OneUnit, notes: _Notes
) -> tuple[dict[str, ClassScores], dict[str, CineMetrics], float]:
    """Return one case's scores, its cine metrics (empty unless 2D+time) and the tolerance.

    With several raters each metric is the mean over them; the cine metrics are against the first.
    """
    prediction = map_ids_by_name(read_volume(file, "labels", ground_truth.axes), ground_truth, file)
    masks = read_ground_truth(ground_truth, case)
    pairs = [_on_one_grid(ground_truth, case, file, prediction, mask) for mask in masks]
    for path, read, (_, mask) in zip(case.labels, masks, pairs, strict=True):
        units.add(str(path), mask.physical)
        notes.masks += [(str(path), text) for text in merge_notes(read, mask)]
    notes.predictions += [(str(file), text) for text in merge_notes(pairs[0][0])]
    tolerance = options.tolerance(pairs[0][1], case.labels[0])
    scores: list[dict[str, ClassScores]] = []
    for predicted, mask in pairs:
        try:
            scores.append(
                evaluate_case(predicted, mask, ground_truth.classes, ground_truth.ignore_id, tolerance)
            )
        except InputError as problem:
            raise InputError(f"{file}: {problem}") from problem
    if ground_truth.axes != "tyx":
        return mean_over_raters(scores), {}, tolerance
    over_time = evaluate_cine(*pairs[0], ground_truth.classes, ground_truth.ignore_id)
    return mean_over_raters(scores), over_time, tolerance


def _on_one_grid(
    ground_truth: DataSet, case: Case, file: Path, prediction: Volume, mask: Volume
) -> tuple[Volume, Volume]:
    """Return prediction and mask on one voxel grid, aligned by their geometry.

    A mask of no known image may be cut to its segments: it is 0 in what else the prediction covers. Raises
    InputError where the two do not lie on the same voxels.
    """
    source = (case.images or case.labels)[0]
    if format_of(file).has_geometry and format_of(source).has_geometry:
        tolerance = ground_truth.geometry_tolerance
        if not mask.physical:  # the prediction may have a spacing that was given beside the image
            prediction = replace(prediction, spacing=mask.spacing, physical=False)
        if not case.images and prod(mask.shape) < prod(prediction.shape):
            mask = align_label_to_image(mask, prediction, source, file, tolerance)
        else:
            prediction = align_to_whole_grid(prediction, mask, file, source, "its reference", tolerance)
    return with_own_spacing(case, prediction), with_own_spacing(case, mask)
