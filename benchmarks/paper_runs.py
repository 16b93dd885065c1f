"""Command line, processes and results of the trainings that are compared with the paper."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from gpu_journal import Journal, read_journal
from paper_jobs import FOLD, SIDE, Job, Limits, open_resized, score_job, train_job
from records import as_a_command, commit, write_result

FindJob = Callable[[str], Job]
"""The job of DATA:NAME[:SEED]."""


def run_parser(about: str | None, jobs: Sequence[str]) -> argparse.ArgumentParser:
    """Return a parser of what all scripts take; `jobs` are trained by default."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True, help="where runs are kept")
    parser.add_argument("--out", type=Path, required=True, help="file of JSON lines, appended to")
    parser.add_argument("--jobs", nargs="+", default=list(jobs), metavar="DATA:NAME[:SEED]")
    parser.add_argument("--parallel", type=int, default=2, help="jobs at once")
    parser.add_argument("--minutes", type=float, default=60.0, help="of each training, validations aside")
    parser.add_argument("--steps", type=int, help="of each training, in place of the minutes")
    parser.add_argument("--limit", type=float, help="seconds after which what still runs is ended")
    parser.add_argument("--side", type=int, default=SIDE, help="pixels of 2D images along each axis")
    parser.add_argument("--validations", type=int, default=8)
    parser.add_argument("--validation-cases", type=int, default=32)
    parser.add_argument("--workers", type=int, help="of the data loader of each job")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), help="the preset's by default")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cuda-graphs", action="store_true", help="training.cuda_graphs")
    parser.add_argument("--records", action="store_true", help="write results/ from FILE, train nothing")
    parser.add_argument("--commit", help="of the code that trained, with --records; this one's by default")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    return parser


def run(arguments: argparse.Namespace, benchmark: str, find_job: FindJob) -> None:
    """Do what the command line asks for."""
    if arguments.records:
        print(write_records(arguments, benchmark))
    elif arguments.one:
        run_one(arguments, find_job(arguments.one))
    else:
        run_all(arguments, [find_job(text) for text in arguments.jobs])


def run_all(arguments: argparse.Namespace, jobs: Sequence[Job]) -> None:
    """Run all jobs, each in a process of its own, so many at once."""
    begun = time.monotonic()
    for data in dict.fromkeys(job.data for job in jobs):
        open_resized(data, arguments.data_root, arguments.work, arguments.side)
    waiting, running = list(arguments.jobs), list[subprocess.Popen[bytes]]()
    while waiting or running:
        running = [one for one in running if one.poll() is None]
        while waiting and len(running) < arguments.parallel:
            running.append(subprocess.Popen([sys.executable, *sys.argv, "--one", waiting.pop(0)]))
        if arguments.limit is not None and time.monotonic() - begun > arguments.limit:
            for one in running:
                one.kill()
            return
        time.sleep(0.2)


def run_one(arguments: argparse.Namespace, job: Job) -> None:
    """Train and score one job."""
    as_a_command(1)
    job.prepare()
    limits = Limits(
        arguments.minutes,
        arguments.steps,
        arguments.side,
        arguments.validations,
        arguments.validation_cases,
        arguments.workers,
        arguments.precision,
        arguments.cuda_graphs,
    )
    journal = Journal(arguments.out)
    dataset, splits = open_resized(job.data, arguments.data_root, arguments.work, arguments.side)
    part = splits.part(FOLD)
    about: dict[str, Any] = {
        "data": job.data,
        "variant": job.name,
        "preset": job.variant.preset,
        "seed": job.seed,
        "split": f"fold {FOLD}: {len(part.train)} train, {len(part.validation)} validation, by subject",
        "cases": min(len(part.validation), limits.validation_cases),
        "budget_minutes": limits.minutes if limits.steps is None else None,
        "device": arguments.device,
    }

    def on_validation(record: dict[str, Any]) -> None:
        kept = {key: record[key] for key in ("step", "seconds", "dice", "ceiling")}
        journal.add("curve", job.label, **about, **kept)

    def trained() -> dict[str, Any]:
        return about | train_job(
            job, dataset, splits, arguments.work, limits, arguments.device, on_validation
        )

    def scored() -> dict[str, Any]:
        return about | score_job(job, splits, arguments.work, limits, arguments.device)

    journal.attempt("trained", job.label, trained)
    journal.attempt("scored", job.label, scored)


def write_records(arguments: argparse.Namespace, benchmark: str) -> list[Path]:
    """Write results/BENCHMARK-JOB.json for each job; one that was cut off has its curve and no scores, for
    the step of the network that was saved last is not told."""
    found = read_journal(arguments.out)
    written: list[Path] = []
    for name in dict.fromkeys(one["name"] for one in found if one["part"] != "trained"):
        mine = [one for one in found if one["name"] == name and one.get("ok", True)]
        curve = [one for one in mine if one["part"] == "curve"]
        trained = [one for one in mine if one["part"] == "trained"]
        scored = [one for one in mine if one["part"] == "scored"] if trained else []
        known = [*curve, *scored]
        if not known:
            continue
        about = known[0]
        common = {
            "benchmark": benchmark,
            **{key: about[key] for key in ("data", "split")},
            "model": about["variant"],
            **{key: about[key] for key in ("preset", "seed", "budget_minutes", "cases")},
            "command": command(arguments, benchmark),
            "commit": arguments.commit or commit(),
        }
        whole = {
            **common,
            "device": about["device"],
            "curve": [{key: one[key] for key in ("step", "seconds", "dice", "ceiling")} for one in curve],
            "records": [],
        }
        if scored:
            whole |= scores(scored[-1], trained[-1], curve, common)
        device = "" if about["device"] == "cpu" else f"-{about['device']}"
        written.append(write_result(f"{benchmark.replace('_', '-')}-{name}{device}", whole))
    return written


def scores(
    scored: dict[str, Any], trained: dict[str, Any], curve: list[dict[str, Any]], common: dict[str, Any]
) -> dict[str, Any]:
    """Return what the record of a job has once it was trained to its end and scored."""
    figures: dict[str, float] = {"training_steps": trained["steps"]}
    figures |= {"validation_dice": curve[-1]["dice"]} if curve else {}  # none of another job's training
    figures |= {f"validation_dice_steps_{one['steps']}": one["dice"] for one in scored["dice_by_steps"]}
    figures |= {f"validation_dice_noise_{one['noise']}": one["dice"] for one in scored["dice_by_noise"]}
    return {
        "training": {key: trained[key] for key in ("steps", "batch", "patch", "precision")},
        "dice_by_steps": scored["dice_by_steps"],
        "dice_by_noise": scored["dice_by_noise"],
        "records": [{**common, "metric": metric, "value": value} for metric, value in figures.items()],
    }


def command(arguments: argparse.Namespace, benchmark: str) -> str:
    """Return the command that trained, without the folders of this machine."""
    words = [f"python benchmarks/{benchmark}.py --data-root DATA --work WORK --out FILE"]
    names = ("minutes", "steps", "side", "validations", "validation_cases", "workers", "precision", "device")
    given = [(name, getattr(arguments, name)) for name in names]
    words += [f"--{n.replace('_', '-')} {v}" for n, v in given if v is not None]
    return " ".join([*words, *(["--cuda-graphs"] if arguments.cuda_graphs else [])])
