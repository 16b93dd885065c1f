"""Does everything work on a GPU, and is it the same as on a CPU?

    python benchmarks/gpu_works.py --out FILE --work FOLDER [--data-root FOLDER]

Each check is a record with `ok`, what it found, and its seconds. Labels of the shipped models are compared
between the CPU in fp32 and the GPU in fp32 and bf16: the share of voxels that differ, and of those how sure
the CPU was. The suite's tests of training and prediction choose the GPU by themselves where there is one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from gpu_graph import with_graphs
from gpu_journal import Journal, part_parser
from gpu_workloads import Workload, find_workloads, make_step
from ldseg.data.dataset import load_image, open_dataset
from ldseg.data.phantom import make_phantom, write_phantom_dataset
from ldseg.data.splits import make_splits
from ldseg.data.volume import Volume
from ldseg.inference.backends.torch_backend import TorchBackend
from ldseg.inference.predictor import Predictor
from ldseg.planning.plan import PlanSettings
from ldseg.presets import PRESETS
from ldseg.runs.run_setup import fingerprint_and_plan
from ldseg.runs.saved_model import load_model
from ldseg.training.trainer import train
from ldseg.zoo.catalogue import find_model
from sets import open_set, set_aside

SHIPPED = {"hippocampus": "hippocampus", "fetal-head": "hc18", "nuclei": "dsb2018"}
"""Models of the package, and the set that each was trained on."""
REAL_IMAGES = 2
SUITE = (
    "tests/training/test_trainer.py",
    "tests/training/test_activation_checkpointing.py",
    "tests/training/test_parts.py",
    "tests/inference/test_predictor.py",
    "tests/inference/test_view_agreement.py",
    "tests/inference/test_posterior.py",
    "tests/inference/test_seams.py",
    "tests/test_api.py",
)
SUITE_LIMIT = 150
PROCESS_LIMIT = 30
"""Seconds after everything else was checked."""
PORTS = {"gloo": "29613", "nccl": "29614"}
ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = part_parser(__doc__)
    parser.add_argument("--rank", type=int, help="this is one of two processes that train together")
    arguments = parser.parse_args()
    device, journal = torch.device(arguments.device), Journal(arguments.out)
    if arguments.rank is not None:
        take_steps_as_one_of_two(arguments.rank, arguments.work, device)
        return
    torch.set_num_threads(4)  # for what is computed on the CPU to compare with
    suite = start_suite(arguments.work / "suite.txt", arguments.tiny)
    pairs = {one: start_pair(one, arguments.work, arguments.device) for one in PORTS}
    small = find_workloads(tiny=True)
    journal.attempt("works", "resume", lambda: compare_resumed(arguments.work, device))
    for workload in small:
        for network in ("default", "unet"):
            checks: dict[str, Callable[[str, Workload, torch.device], dict[str, Any]]] = {
                "no_wait": step_without_waiting,
                "precision": compare_precisions,
            }
            for kind, check in checks.items():
                one = lambda c=check, n=network, w=workload: c(n, w, device)  # noqa: E731
                journal.attempt("works", f"{kind}-{network}-{workload.name}", one)
    for backend, ranks in pairs.items():
        check = lambda b=backend, r=ranks: finish_pair(r, arguments.work / f"two-{b}")  # noqa: E731
        journal.attempt("works", f"two-processes-{backend}", check)
    for network in ("default", "paper"):
        check = lambda n=network: compare_graph(n, small[0], device)  # noqa: E731
        journal.attempt("works", f"graph-{network}", check)
    for name, data in SHIPPED.items():
        check = lambda n=name, d=data: compare_labels(n, d, arguments.data_root, device)  # noqa: E731
        journal.attempt("works", f"labels-{name}", check)
    journal.attempt("works", "suite", lambda: finish_suite(suite, arguments.work / "suite.txt"))


def start_suite(output: Path, tiny: bool) -> subprocess.Popen[bytes]:
    """Start the tests beside the other checks."""
    chosen = SUITE[2:3] if tiny else SUITE
    workers = ("-n", "8") if not tiny else ()
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--continue-on-collection-errors",
        "-o",
        f"faulthandler_timeout={SUITE_LIMIT - 30}",  # says where a test is that does not end
        *workers,
        *chosen,
    ]
    with output.open("w") as file:
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, env=one_thread)


def finish_suite(suite: subprocess.Popen[bytes], output: Path) -> dict[str, Any]:
    """Return how many tests passed, and those that did not."""
    try:
        suite.wait(SUITE_LIMIT)
    except subprocess.TimeoutExpired:
        suite.kill()
    text = output.read_text()
    print(text[-9000:])
    counts = {kind: int(n) for n, kind in re.findall(r"(\d+) (passed|failed|error|skipped)", text)}
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)(?: - (.{0,120}))?", text, re.MULTILINE)
    return {"ok": suite.returncode == 0, "code": suite.returncode, **counts, "not_passed": failed}


def compare_labels(name: str, data: str, root: Path | None, device: torch.device) -> dict[str, Any]:
    """Return the share of voxels whose label differs between CPU and device, for each image."""
    folder = find_model(name)
    reference = predictor_in(folder, torch.device("cpu"), "fp32")
    others = {precision: predictor_in(folder, device, precision) for precision in ("fp32", "bf16")}
    rows: list[dict[str, Any]] = []
    for kind, label, image in images_for(reference, data, root):
        one = reference(image, label)
        row: dict[str, Any] = {"image": f"{kind} {label}", "voxels": int(one.labels.array.size)}
        row["foreground"] = int(np.count_nonzero(one.labels.array))
        sure = one.probabilities.array.max(0)
        for precision, predictor in others.items():
            other = predictor(image, label)
            different = (other.labels.array != one.labels.array)[0]
            row[f"{precision}_different"] = int(different.sum())
            row[f"{precision}_surest_different"] = float(sure[different].max(initial=0.0))
            gap = np.abs(other.probabilities.array - one.probabilities.array)
            row[f"{precision}_largest_probability_gap"] = float(gap.max())
        several = [predictor_samples(p, image, label) for p in (reference, others["fp32"])]
        row["8_samples_fp32_different"] = int((several[0] != several[1]).sum())
        again = predictor_samples(others["fp32"], image, label)
        row["8_samples_repeat_different"] = int((several[1] != again).sum())
        rows.append(row)
    voxels = sum(row["voxels"] for row in rows)
    shares = {p: sum(row[f"{p}_different"] for row in rows) / voxels for p in others}
    surest = max(row["fp32_surest_different"] for row in rows)
    return {"ok": shares["fp32"] < 1e-4 and surest < 0.51, "share_different": shares, "images": rows}


def predictor_in(folder: Path, device: torch.device, precision: str) -> Predictor:
    """Return a model of a folder on a device in a precision."""
    predictor = Predictor.load(folder, str(device))
    backend = TorchBackend(predictor.segmenter, device, precision)
    return Predictor(
        predictor.plan,
        predictor.settings,
        backend,
        predictor.calibration,
        predictor.identity,
        predictor.detector,
    )


def predictor_samples(predictor: Predictor, image: Volume, name: str) -> Any:
    """Return the labels of eight samples."""
    found = predictor(image, name, samples=8, keep_samples=True)
    return np.stack([sample.array for sample in found.samples])


def images_for(predictor: Predictor, data: str, root: Path | None) -> list[tuple[str, str, Volume]]:
    """Return synthetic images, and test images of the set where its data is here."""
    plan = predictor.plan
    axes: Any = plan.axes
    shape = tuple(max(n, 32) for n in plan.patch)
    made = [("phantom", f"phantom{seed}", make_phantom(axes, shape, seed)[0]) for seed in range(2)]
    found = [(kind, name, with_channels(image, len(plan.channels))) for kind, name, image in made]
    if root is not None and root.is_dir():
        try:
            dataset, splits = open_set(data, root)
        except (ValueError, OSError):
            return found
        cases, _ = set_aside(dataset, splits)
        found += [("real", case.name, load_image(dataset, case)) for case in cases[:REAL_IMAGES]]
    return found


def with_channels(image: Volume, channels: int) -> Volume:
    """Return the image with its one channel repeated."""
    return replace(image, array=np.repeat(image.array[:1], channels, 0))


def step_without_waiting(network: str, workload: Workload, device: torch.device) -> dict[str, Any]:
    """Take steps while PyTorch turns every wait for the GPU into an error."""
    step = make_step(network, workload, device)
    step.run()
    step.run()
    if device.type == "cuda":
        torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(6):
            step.run()
    finally:
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("default")
    finite = all(bool(parameter.isfinite().all()) for parameter in step.model.parameters())
    return {"ok": finite}


def compare_precisions(network: str, workload: Workload, device: torch.device) -> dict[str, Any]:
    """Return how far the gradient in bf16 on the device is from that in fp32 on the CPU."""
    found = {}
    for place, precision in ((torch.device("cpu"), "fp32"), (device, "fp32"), (device, "bf16")):
        found[str(place), precision] = gradient(network, workload, place, precision)
    reference = found["cpu", "fp32"]
    gaps = {
        precision: float((found[str(device), precision] - reference).norm() / reference.norm())
        for precision in ("fp32", "bf16")
    }
    return {"ok": gaps["fp32"] < 1e-2 and gaps["bf16"] < 0.2, "relative_gap_of_gradient": gaps}


def gradient(network: str, workload: Workload, device: torch.device, precision: Any) -> torch.Tensor:
    """Return the gradient of the same weights, data, times and noise, on any device."""
    step = make_step(network, workload, torch.device("cpu"))
    if step.train_step is None:
        raise ValueError(f"{network} has no step of ldseg")
    model: Any = step.train_step.model
    torch.manual_seed(1)
    with torch.no_grad():  # residual branches start at zero; this wakes all of the network
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    model.to(device)
    x, y = (one.to(device) for one in step.batch)
    draws = torch.Generator().manual_seed(2)
    originals = torch.rand, torch.randn
    torch.rand = lambda *shape, device=None, **_: originals[0](*shape, generator=draws).to(device)
    torch.randn = lambda *shape, device=None, **_: originals[1](*shape, generator=draws).to(device)
    try:
        enabled = precision == "bf16"
        with torch.autocast(device.type, torch.bfloat16, enabled=enabled):
            losses = model.loss(x, y, None, replace(step.train_step.settings.loss, reconstruction_share=0.5))
        losses.total.backward()
    finally:
        torch.rand, torch.randn = originals
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    return torch.cat([one.detach().float().cpu().flatten() for one in grads])


def compare_resumed(work: Path, device: torch.device) -> dict[str, Any]:
    """Return how far a training that was interrupted ends from one that was not."""
    weights: list[dict[str, torch.Tensor]] = []
    for name, pauses in (("whole", ()), ("again", ()), ("resumed", (7,))):
        folder = work / f"resume-{name}"
        for stop_at in pauses:
            small_training(work, folder, device, stop_at)
        small_training(work, folder, device, None, resume=bool(pauses))
        model = load_model(folder, torch.device("cpu")).segmenter
        weights.append({key: value.clone() for key, value in model.state_dict().items()})
    gaps = [max(float((w[k] - weights[0][k]).abs().max()) for k in weights[0]) for w in weights[1:]]
    size = max(float(value.abs().max()) for value in weights[0].values())
    return {
        "ok": gaps[1] <= max(10 * gaps[0], 1e-3 * size),
        "largest_gap_of_a_weight": {"same_again": gaps[0], "resumed": gaps[1]},
        "largest_weight": size,
    }


def small_training(
    work: Path, folder: Path, device: torch.device, stop_at: int | None, resume: bool = False
) -> None:
    """Train a small model for 14 steps; up to `stop_at`, as a kill after a checkpoint would leave it."""
    data = work / "resume-data"
    if not data.is_dir():
        write_phantom_dataset(data, "yx", 6, seed=0, shape=(64, 64))
    dataset = open_dataset(data)
    _, plan = fingerprint_and_plan(dataset, dataset.cases, PlanSettings(patch=(64, 64), batch=2))
    settings = PRESETS["default"](plan)
    every_step = 0.0 if stop_at is not None else 60.0
    training = replace(settings.training, steps=14, validations=2, workers=0, save_minutes=every_step)
    settings = replace(settings, training=training)

    def on_event(record: dict[str, Any]) -> None:
        if stop_at is not None and record["event"] == "saved" and record["step"] == stop_at:
            raise _Stopped

    try:
        train(
            dataset,
            plan,
            make_splits(dataset.cases, folds=3),
            settings,
            folder,
            resume,
            on_event,
            str(device),
        )
    except _Stopped:
        return


class _Stopped(Exception):
    """Ends a training in its middle."""


def start_pair(backend: str, work: Path, device: str) -> list[subprocess.Popen[bytes]]:
    """Start two processes on one card that take steps together."""
    folder = work / f"two-{backend}"
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": PORTS[backend], "WORLD_SIZE": "2"}
    environment["TWO_PROCESSES_BACKEND"] = backend
    command = [sys.executable, __file__, "--device", device, "--work", str(folder), "--out", os.devnull]
    return [
        subprocess.Popen([*command, "--rank", str(rank)], env={**environment, "RANK": str(rank)})
        for rank in range(2)
    ]


def finish_pair(ranks: list[subprocess.Popen[bytes]], folder: Path) -> dict[str, Any]:
    """Return whether both trained and ended with equal weights."""
    try:
        codes = [one.wait(PROCESS_LIMIT) for one in ranks]
    finally:
        for one in ranks:
            one.kill()
    if any(codes):
        errors = [path.read_text()[-300:] for path in folder.glob("error-*")]
        return {"ok": False, "codes": codes, "errors": errors}
    weights = [torch.load(folder / f"weights-{rank}", weights_only=True) for rank in range(2)]
    return {"ok": bool(torch.equal(*weights))}


def take_steps_as_one_of_two(rank: int, folder: Path, device: torch.device) -> None:
    """Take three steps of a training that two processes share, and write the weights."""
    from ldseg.training.gradient_averaging import broadcast_weights
    from ldseg.utils.distributed import DistributedContext

    backend = os.environ["TWO_PROCESSES_BACKEND"]
    try:
        torch.distributed.init_process_group(backend)
        context = DistributedContext(rank, 2, 0)
        step = make_step("default", find_workloads(tiny=True)[0], device)
        if step.train_step is None:
            raise ValueError("the default has no step of ldseg")
        step.train_step.context = context
        broadcast_weights(step.model, context)
        for _ in range(3):
            step.run()
        weights = torch.cat([one.detach().cpu().flatten() for one in step.model.parameters()])
        torch.save(weights, folder / f"weights-{rank}")
        torch.distributed.destroy_process_group()
    except Exception as error:
        (folder / f"error-{rank}").write_text(str(error))
        sys.exit(1)


def compare_graph(network: str, workload: Workload, device: torch.device) -> dict[str, Any]:
    """Return how far the gradients of steps by CUDA graph are from those of the same steps as they are."""
    step = make_step(network, workload, device)
    if step.train_step is None:
        raise ValueError(f"{network} has no step of ldseg")
    one = step.train_step
    for module in step.model.modules():  # its numbers come from another generator without a graph
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if (
        device.type == "cpu"
    ):  # where one generator draws everything, and a number drawn before shifts the rest
        always = replace(one.settings.loss, reconstruction_share=1 / workload.batch)
        one.settings = replace(one.settings, loss=always)
    x, y = step.batch
    gaps: list[float] = []
    graphs = with_graphs(one)
    for number in range(8):
        found: list[torch.Tensor] = []
        for way in (None, graphs):
            one.graphs = way
            parts = one.differentiate(x, y, number).parts  # the total would keep what a graph cannot record
            grads = [p.grad for p in step.model.parameters() if p.grad is not None]
            found.append(torch.cat([grad.detach().float().cpu().flatten() for grad in grads]))
            print(number, {name: float(part) for name, part in parts.items()})
        gaps.append(float((found[1] - found[0]).norm() / found[0].norm()))
    step.run()
    return {"ok": max(gaps) < 0.02, "relative_gap_of_gradient": {"largest_of_8_steps": max(gaps)}}


if __name__ == "__main__":
    main()
