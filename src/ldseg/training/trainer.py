"""The training loop with its cache, validation and checkpoints, which writes into the run's folder:

RUN/model.safetensors plan.json settings.json card.md     the newest model (moving average of the weights)
    best/                                                 the model at the best validation
    log.jsonl curves.png splits.json                      log and curves (tensorboard/ on request)
    state/ cache/                                         for resuming; may be deleted afterwards
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ldseg.data.cases import Case
from ldseg.data.dataset import DataSet
from ldseg.data.splits import Splits, write_splits
from ldseg.errors import InputError
from ldseg.planning.plan import Plan
from ldseg.preprocessing.cache import Cache, build_cache
from ldseg.runs.files import BEST_FOLDER, CACHE_FOLDER, SETTINGS_FILE, SPLITS_FILE, STATE_FILE, WEIGHTS_FILE
from ldseg.runs.saved_model import build_segmenter, save_model, write_settings
from ldseg.runs.source import Source
from ldseg.settings import RunSettings
from ldseg.training.activation_checkpointing import checkpoint_residual_blocks
from ldseg.training.budget import Budget, make_budget
from ldseg.training.checkpoint import Counters, load_state, read_counters, save_state
from ldseg.training.compile import compile_modules
from ldseg.training.ema import make_ema_copy
from ldseg.training.flatness import FIRST_VALIDATION, GROWTH, is_flat, recent_gain
from ldseg.training.gradient_averaging import broadcast_weights
from ldseg.training.graphed_loss import starts_graphs
from ldseg.training.log_files import (
    Record,
    append_once,
    draw_curves,
    drop_records_after,
    last_validation_dice,
    read_records,
)
from ldseg.training.loggers import Logger, check_loggers, make_loggers
from ldseg.training.model_card import render_card
from ldseg.training.pace import PaceMeter, calibration_seconds, pace_event, start_event, time_prediction
from ldseg.training.patch_dataset import PatchDataset, batches, central_patch, loader_workers
from ldseg.training.signals import stop_on_signal
from ldseg.training.train_step import TrainStep, make_optimizer, refuse_divergence
from ldseg.training.transfer import Transfer, first_weights
from ldseg.training.unlearned import warn_of_unlearned
from ldseg.training.validation import Validation, validate
from ldseg.utils.device import choose_device, memory_format, prepare_training, synchronize
from ldseg.utils.distributed import SINGLE_PROCESS, DistributedContext

_LOG_EVERY = 10  # steps between records of losses
OnEvent = Callable[[Record], None]


def ignore_record(record: Record) -> None:
    """Do nothing with a record of the training."""
    del record


@dataclass(frozen=True)
class TrainingResult:
    """The outcome of a training."""

    folder: Path
    steps: int
    dice: float | None
    """Dice of the last validation on the network's grid, None without validation."""
    interrupted: bool
    already: bool = False
    """Whether the training was finished before, so that nothing was trained."""


def train(
    dataset: DataSet,
    plan: Plan,
    splits: Splits,
    settings: RunSettings,
    run_folder: Path,
    resume: bool = False,
    on_event: OnEvent = ignore_record,
    device_name: str | None = None,
    context: DistributedContext = SINGLE_PROCESS,
    cache_folder: Path | None = None,
    source: Source | None = None,
) -> TrainingResult:
    """Train the model or the baseline of the settings on one fold of `dataset` into `run_folder`.

    The processes of `context` share each step's batch and the preparation of the cases; rank 0 writes all
    files and reports. `cache_folder` holds the preprocessed cases, `run_folder`/cache by default.
    A training that has no state yet begins with the weights of `source`, if there is one.

    An interrupted run continues with `resume` as if it had not been interrupted (bit-equal on a CPU when the
    budget is steps or epochs).

    Raises:
        InputError: nothing to train on, a full disk, a case that cannot be preprocessed, no state to resume,
            fewer cases in a batch than processes.
    """
    context.run_on_all_ranks(lambda: check_loggers(settings.training.loggers))
    finished = context.run_on_all_ranks(lambda: finished_training(run_folder)) if resume else None
    if finished is not None:
        return finished
    part = splits.part(settings.training.fold)
    batch = settings.training.batch or plan.batch
    context.run_on_all_ranks(lambda: check_batch(part.train, batch, context.world_size, dataset.root))
    settings = replace(settings, training=replace(settings.training, batch=batch))
    run_folder.mkdir(parents=True, exist_ok=True)
    context.on_rank_zero(lambda: write_splits(run_folder / SPLITS_FILE, splits))
    wanted = set(part.train) | set(part.validation)
    cases = [case for case in dataset.cases if case.name in wanted]
    begun = time.monotonic()
    cache = _build_cache(dataset, cases, plan, cache_folder or run_folder / CACHE_FOLDER, on_event, context)
    device = context.run_on_all_ranks(lambda: choose_device(context.device_name(device_name)))
    prepared = time.monotonic() - begun
    on_event(start_event(device, settings, len(cases), prepared))
    warn_of_unlearned(cache, part.train, plan, on_event)
    begins = not (run_folder / STATE_FILE).is_file()
    train_step, transfer = _make_train_step(plan, settings, device, context, begins, source)
    if transfer is not None:
        context.on_rank_zero(lambda: append_once(run_folder, transfer.record()))
        on_event(transfer.record())
    if settings.training.activation_checkpointing and (none := checkpoint_residual_blocks(train_step.model)):
        on_event({"event": "warning", "warnings": [none]})
    if starts_graphs(settings, device, context.world_size):
        train_step.use_graphs()
    if settings.training.compile and (problem := compile_modules(train_step.model, device)):
        on_event({"event": "warning", "warnings": [problem]})
    run = _Run(plan, settings, run_folder, cache, train_step, on_event)
    run.case_seconds = prepared * context.world_size / len(cases)
    return run.train(part.train, part.validation, resume, str(dataset.root.name))


def check_batch(names: Sequence[str], batch: int, processes: int, root: Path) -> None:
    """Raise InputError if there is no training case, or a process would have no case of a step."""
    if not names:
        raise InputError(f"{root}: no case to train on; check splits.json")
    if batch < processes:
        raise InputError(
            f"training.batch is {batch}, for {processes} processes to share; start at most {batch} of them, "
            f"or choose --training.batch {processes} or more"
        )


def finished_training(run_folder: Path) -> TrainingResult | None:
    """Return the outcome of a finished training in `run_folder`, None if it is not finished."""
    counters = read_counters(run_folder)
    records = read_records(run_folder)
    if counters is None and (run_folder / STATE_FILE).exists():
        return None  # a damaged state, which loading reports
    if counters is None:  # state/ may be deleted when training has ended
        last = next((record for record in reversed(records) if record["event"] == "losses"), None)
        if last is None or last["progress"] < 1 or not (run_folder / WEIGHTS_FILE).is_file():
            return None
        step = int(last["step"])
    elif counters.finished:
        step = counters.step
    else:
        return None
    return TrainingResult(run_folder, step, last_validation_dice(records), False, already=True)


def _build_cache(
    dataset: DataSet,
    cases: Sequence[Case],
    plan: Plan,
    folder: Path,
    on_event: OnEvent,
    context: DistributedContext,
) -> Cache:
    """Preprocess all cases, each process its shard, and return the cache."""

    def report(name: str) -> None:
        on_event({"event": "prepared", "case": name})

    context.run_on_all_ranks(lambda: build_cache(dataset, context.shard(cases), plan, folder, report))
    return Cache(folder, tuple(case.name for case in cases))


def _make_train_step(
    plan: Plan,
    settings: RunSettings,
    device: torch.device,
    context: DistributedContext,
    begins: bool,
    source: Source | None,
) -> tuple[TrainStep, Transfer | None]:
    """Return the training step of a new model, and, if the training begins, what it has from `source`."""
    prepare_training(device)
    torch.manual_seed(settings.training.seed)
    model = build_segmenter(settings)
    transfer = None
    if begins:
        transfer = context.run_on_all_ranks(lambda: first_weights(model, plan, settings, source))
    model = model.to(device)
    model.to(memory_format=memory_format(settings.model.spatial_dims))  # pyright: ignore[reportCallIssue]
    broadcast_weights(model, context)
    optimizer = make_optimizer(model, settings.training)
    return TrainStep(model, make_ema_copy(model), optimizer, settings, device, context), transfer


class _Run:
    """State and steps of one training in one folder."""

    def __init__(
        self,
        plan: Plan,
        settings: RunSettings,
        folder: Path,
        cache: Cache,
        train_step: TrainStep,
        on_event: OnEvent,
    ) -> None:
        self.plan, self.settings, self.folder = plan, settings, folder
        self.cache, self.train_step, self.on_event, self.context = (
            cache,
            train_step,
            on_event,
            train_step.context,
        )
        self.counters = Counters()
        self.dice: float | None = None
        self.loggers: tuple[Logger, ...] = ()
        self.pace, self.case_seconds = PaceMeter(train_step.device), 0.0
        self.validations: list[Record] = []
        """Records of the validations on the present budget, on rank 0."""

    def train(
        self, train_names: Sequence[str], validation_names: Sequence[str], resume: bool, data_name: str
    ) -> TrainingResult:
        training = self.settings.training
        batch = training.batch or self.plan.batch
        budget = make_budget(training, -(-len(train_names) // batch), self.context)
        if resume:
            self.counters = self.context.run_on_all_ranks(self._load)
            budget.step, budget.spent = self.counters.step, self.counters.spent
            budget.first_step, budget.first_spent = self.counters.first_step, self.counters.first_spent
            budget.flat_at = self.counters.flat_at
            self.dice = last_validation_dice(read_records(self.folder))
        else:
            self.context.on_rank_zero(lambda: write_settings(self.folder / SETTINGS_FILE, self.settings))
        history = read_records(self.folder)
        self.validations = [
            one for one in history if one["event"] == "validation" and one["step"] > budget.first_step
        ]
        self.card = render_card(self.plan, self.settings, data_name, train_names, history)
        watched = [
            central_patch(self.cache, name, self.plan)
            for name in sorted(validation_names)[: training.validation_cases]
        ]
        dataset = PatchDataset(self.cache, train_names, self.plan, self.settings.augment, training.seed)
        with stop_on_signal(launched=self.context.world_size > 1) as stop, self._logging(budget.step):
            saved = time.monotonic()
            stopped = 0.0
            workers = loader_workers(self.train_step.device, training.workers, self.context)
            on_gpu = self.train_step.device.type == "cuda"
            stream = batches(dataset, batch, budget.step, workers, self.context, pinned=on_gpu)
            while budget.progress() < 1 and not stopped:
                self._step(stream, budget)
                self._tell_pace(budget, train_names, validation_names, watched)
                if self._is_due(budget):
                    self.context.run_on_all_ranks(lambda: self._validate(watched, budget))
                late = self.context.is_rank_zero and time.monotonic() - saved > 60 * training.save_minutes
                flat = budget.until_flat and budget.flat_at is None and is_flat(self.validations)
                due, stopped, flat = self.context.all_reduce(late, stop.requested, flat)
                if flat:
                    budget.flat_at = budget.used
                    self._log({"event": "flat", "step": budget.step, "dice": self.dice})
                if due:
                    self.context.run_on_all_ranks(lambda: self._save(budget))
                    saved = time.monotonic()
            self.counters.finished = not stopped
            self.context.run_on_all_ranks(lambda: self._save(budget))
        # What is learnt by heart says nothing of more time, nor does a training that has hardly begun.
        telling = training.fold != "all" and not stopped and budget.step >= 3 * FIRST_VALIDATION
        gain = recent_gain(self.validations) if telling else None
        if gain is not None:
            self.on_event({"event": "gain", "gain": gain, "flat": is_flat(self.validations)})
        return TrainingResult(self.folder, budget.step, self.dice, bool(stopped))

    def _is_due(self, budget: Budget) -> bool:
        """Return whether it is time for a validation."""
        if not budget.until_flat:
            return budget.progress() * self.settings.training.validations >= self.counters.validations + 1
        long_enough = budget.step - budget.first_step >= FIRST_VALIDATION
        grown = budget.used >= GROWTH * self.counters.validated_at
        return (long_enough and grown) or budget.progress() >= 1

    def _tell_pace(
        self,
        budget: Budget,
        train_names: Sequence[str],
        validation_names: Sequence[str],
        watched: list[tuple[Tensor, Tensor]],
    ) -> None:
        """Announce, once, how long the training will take and what follows it."""
        seconds = self.pace.count()
        if seconds is None or not self.context.is_rank_zero:
            return
        train_step, settings = self.train_step, self.settings
        x = central_patch(self.cache, train_names[0], self.plan)[0]
        times = time_prediction(train_step.average, x, settings, train_step.device)
        names = train_names, validation_names
        calibration = calibration_seconds(self.cache, self.plan, settings, *names, times, self.case_seconds)
        validations = len(watched) * 2 * (times.encoding + times.single)
        left = max(0, settings.training.validations - self.counters.validations)
        self.on_event(pace_event(seconds, budget, left * validations, calibration))

    @contextmanager
    def _logging(self, step: int) -> Generator[None]:
        """Keep the loggers open within the context, on rank 0 only."""
        if self.context.is_rank_zero:
            self.loggers = make_loggers(self.settings.training.loggers, self.folder, step)
        try:
            yield
        finally:
            for logger in self.loggers:
                logger.close()

    def _step(self, stream: object, budget: Budget) -> None:
        budget.start_step()
        x, y = next(stream)  # type: ignore[call-overload]
        losses = self.train_step.run(x, y, budget)
        if (budget.step + 1) % _LOG_EVERY == 0:
            synchronize(self.train_step.device)  # a GPU's work counts where time is the limit
        budget.end_step()
        if budget.step % _LOG_EVERY == 0 or budget.progress() >= 1:
            parts = {name: round(float(part), 5) for name, part in losses.parts.items()}
            self.context.run_on_all_ranks(lambda: refuse_divergence(parts, budget.step, self.folder))
            self._log(
                {
                    "event": "losses",
                    "step": budget.step,
                    "progress": round(budget.progress(), 4),
                    "seconds": round(budget.spent, 2),
                    "losses": parts,
                }
            )

    def _validate(self, watched: list[tuple[Tensor, Tensor]], budget: Budget) -> None:
        self.counters.validations += 1
        self.counters.validated_at = budget.used
        if not watched or not self.context.is_rank_zero:
            return
        found: Validation = validate(self.train_step.average, watched, self.settings, self.train_step.device)
        self.dice = found.dice
        self.validations.append(
            {
                "event": "validation",
                "step": budget.step,
                "progress": round(budget.progress(), 4),
                **asdict(found),
                "warnings": found.warnings(),
            }
        )
        self._log(self.validations[-1])
        if found.dice > self.counters.best:
            self.counters.best = found.dice
            save_model(
                self.folder / BEST_FOLDER, self.train_step.average, self.plan, self.settings, self.card
            )

    def _save(self, budget: Budget) -> None:
        if not self.context.is_rank_zero:
            return
        self.counters.step, self.counters.spent = budget.step, budget.spent
        self.counters.flat_at = budget.flat_at
        train_step = self.train_step
        save_model(self.folder, train_step.average, self.plan, self.settings, self.card)
        save_state(self.folder, train_step.model, train_step.average, train_step.optimizer, self.counters)
        draw_curves(self.folder)
        self.on_event({"event": "saved", "step": budget.step, "folder": str(self.folder)})

    def _load(self) -> Counters:
        train_step = self.train_step
        begun, saved = ((self.folder / file).is_file() for file in (SETTINGS_FILE, STATE_FILE))
        if begun and not saved:  # killed before its first checkpoint
            counters = Counters()
            text = f"{self.folder / STATE_FILE} is not there: the training begins again with its first step"
            self.on_event({"event": "warning", "warnings": [text]})
        else:
            counters = load_state(self.folder, train_step.model, train_step.average, train_step.optimizer)
        if self.context.is_rank_zero:
            drop_records_after(self.folder, counters.step)
        return counters

    def _log(self, record: Record) -> None:
        if not self.context.is_rank_zero:
            return
        for logger in self.loggers:
            logger.log(record)
        self.on_event(record)
