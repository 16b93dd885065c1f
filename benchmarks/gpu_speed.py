"""How fast is a GPU, and how much of it is used?

    python benchmarks/gpu_speed.py --out FILE --work FOLDER            ceilings, steps, predictions, patches
    python benchmarks/gpu_speed.py --out FILE --work FOLDER --graphs   steps by CUDA graph
    python benchmarks/gpu_speed.py ... --compiled default:3d_128_batch_2 --gate FOLDER     one compiled step

Ceilings are measured first: a bf16 matrix product of 8192^3 and a copy within the memory. A step's FLOPs are
those of convolutions and products (torch.utils.flop_counter), its bytes the inputs and outputs of every
operation that PyTorch starts, so that what a kernel reads twice is not in it and what a cache serves is.
"""

from __future__ import annotations

import cProfile
import gc
import pstats
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from gpu_graph import capture, with_graphs
from gpu_journal import Journal, part_parser, synchronize
from gpu_workloads import (
    NETWORKS,
    Step,
    Workload,
    find_workloads,
    make_step,
    noise_image,
    plan_of,
    predictor_of,
    settings_of,
)
from ldseg.data.dataset import open_dataset
from ldseg.data.phantom import write_phantom_dataset
from ldseg.preprocessing.augment import make_augment
from ldseg.preprocessing.cache import Cache, build_cache
from ldseg.training.compile import compile_modules
from ldseg.training.patch_dataset import PatchDataset, batches, loader_workers

KINDS = ("ceilings", "default", "predict", "augment", "unet", "dynunet", "loader")
"""What is measured: the card, steps of the three networks, predictions, augmentation on the card, patches of
the data loader."""
WARM_UP = 12
"""Steps in which every form of a step occurs, most likely: in some the decoder takes a case more."""
WINDOW = 5
"""Steps between two looks at the clock."""
SAMPLINGS = {"1_step": (1, 1), "8_samples": (None, 8)}
HOST_FUNCTIONS = 12
PATIENCE = 400.0
"""Seconds that a compiled step waits for its turn."""


def main() -> None:
    parser = part_parser(__doc__)
    parser.add_argument("--seconds", type=float, default=1.0, help="for each timing, after warming up")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=KINDS, help="without a compiled step")
    parser.add_argument("--graphs", action="store_true", help="steps by CUDA graph, and nothing else")
    parser.add_argument("--compiled", help="NETWORK:WORKLOAD, and nothing else")
    parser.add_argument("--gate", type=Path, help="folder where it says that it is ready and waits to go")
    arguments = parser.parse_args()
    device, journal = torch.device(arguments.device), Journal(arguments.out)
    workloads = find_workloads(arguments.tiny)
    if arguments.compiled:
        network, name = arguments.compiled.split(":")
        workload = next(one for one in workloads if one.name == name)
        time_compiled(network, workload, device, arguments.seconds, arguments.gate, journal)
        return
    if arguments.graphs:
        for network in NETWORKS[:2]:
            measure_all("graph", time_graph, network, workloads, device, arguments.seconds, journal)
        return
    images = [one for one in workloads if one.batch == min(w.batch for w in workloads if w.axes == one.axes)]
    for what in arguments.only:
        if what == "ceilings":
            journal.attempt("ceilings", arguments.device, lambda: ceilings(device, arguments.tiny))
        elif what == "predict":
            for network, workload in product(NETWORKS[:2], images):
                name = f"{network}-{'x'.join(map(str, workload.image))}"
                journal.attempt("predict", name, lambda n=network, w=workload: predictions(n, w, device))
        elif what in ("loader", "augment"):
            measure = loader if what == "loader" else augmentation
            for workload in images:
                work = lambda m=measure, w=workload: m(w, device, arguments.seconds)  # noqa: E731
                journal.attempt(what, workload.name, work)
        else:
            measure_all("step", measure_step, what, workloads, device, arguments.seconds, journal)


def measure_all(
    part: str,
    measure: Callable[[str, Workload, torch.device, float], dict[str, Any]],
    network: str,
    workloads: tuple[Workload, ...],
    device: torch.device,
    seconds: float,
    journal: Journal,
) -> None:
    """Measure a network on each workload, and free its memory before the next."""
    for workload in workloads:
        work = lambda w=workload: measure(network, w, device, seconds)  # noqa: E731
        journal.attempt(part, f"{network}-{workload.name}", work)
        gc.collect()
        if device.type == "cuda":
            torch.cuda.empty_cache()


def ceilings(device: torch.device, tiny: bool) -> dict[str, Any]:
    """Return what the card does at most: bf16 products and copies, on random data."""
    side, elements = (256, 2**20) if tiny else (8192, 2**30)
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = median_seconds(lambda: a @ b, device)
    source = torch.randn(elements, device=device)
    target = torch.empty_like(source)
    copy = median_seconds(lambda: target.copy_(source), device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {
        "device": name,
        "torch": torch.__version__,
        "bf16_tflop_per_s": round(2 * side**3 / product / 1e12, 2),
        "copy_tb_per_s": round(8 * elements / copy / 1e12, 3),
    }


def median_seconds(work: Callable[[], Any], device: torch.device, repeats: int = 10) -> float:
    """Return the median wall-clock seconds of a call and what it starts, after two calls."""
    spent: list[float] = []
    for repeat in range(repeats + 2):
        synchronize(device)
        started = time.perf_counter()
        work()
        synchronize(device)
        if repeat >= 2:
            spent.append(time.perf_counter() - started)
    return median(spent)


def measure_step(network: str, workload: Workload, device: torch.device, seconds: float) -> dict[str, Any]:
    """Return speed, memory and work of a training step."""
    step = make_step(network, workload, device)
    found = timed(step.run, device, seconds)
    weights = sum(parameter.numel() for parameter in step.model.parameters())
    return {
        "batch": workload.batch,
        "weights": weights,
        **found,
        "profile": profiled(step.run, device),
        "work": work_of(step.run),
    }


def time_graph(network: str, workload: Workload, device: torch.device, seconds: float) -> dict[str, Any]:
    """Return speed and memory of a training step by CUDA graph."""
    step = make_step(network, workload, device)
    return {"batch": workload.batch, **timed(graphed(step, device), device, seconds)}


def graphed(step: Step, device: torch.device) -> Callable[[], Any]:
    """Return the step by CUDA graph: all of it, or for ldseg's own all but the optimizer."""
    if step.train_step is None:
        return capture(step.run, device)
    with_graphs(step.train_step)
    return step.run


def timed(work: Callable[[], Any], device: torch.device, seconds: float) -> dict[str, float]:
    """Return steps per second, the host's part of a step, and the peak of the memory."""
    for _ in range(WARM_UP):
        work()
    synchronize(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    windows: list[float] = []
    hosts: list[float] = []
    until = time.perf_counter() + seconds
    while not windows or time.perf_counter() < until:
        started = time.perf_counter()
        for _ in range(WINDOW):
            work()
        hosts.append((time.perf_counter() - started) / WINDOW)
        synchronize(device)
        windows.append((time.perf_counter() - started) / WINDOW)
    peak = torch.cuda.max_memory_allocated(device) / 1e9 if device.type == "cuda" else 0.0
    return {
        "steps_per_s": round(1 / median(windows), 3),
        "step_ms": round(1000 * median(windows), 3),
        "host_ms": round(1000 * median(hosts), 3),
        "windows": len(windows),
        "peak_memory_gb": round(peak, 3),
    }


def profiled(work: Callable[[], Any], device: torch.device) -> dict[str, Any]:
    """Return number and time of the kernels of a step, and those that take longest."""
    kinds = [ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * (device.type == "cuda")
    with profile(activities=kinds) as seen:
        work()
        synchronize(device)
    on_gpu = [
        one
        for one in seen.events() or []
        if "CUDA" in str(one.device_type) and not one.name.startswith(("Optimizer.", "ProfilerStep"))
    ]
    totals: dict[str, list[float]] = {}
    for one in on_gpu:
        entry = totals.setdefault(one.name[:90], [0.0, 0.0])
        entry[0] += one.time_range.elapsed_us() / 1000
        entry[1] += 1
    longest = sorted(totals.items(), key=lambda item: -item[1][0])[:15]
    return {
        "kernels": len(on_gpu),
        "kernel_ms": round(sum(ms for ms, _ in totals.values()), 3),
        "longest": [[name, round(ms, 3), int(count)] for name, (ms, count) in longest],
    }


class _Bytes(TorchDispatchMode):
    """Sums the sizes of what each operation reads and writes; views are free."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        del types
        out = func(*args, **(kwargs or {}))
        aliases = [one.alias_info for one in func._schema.returns]
        if not any(alias is not None and not alias.is_write for alias in aliases):
            tensors = [one for one in tree_leaves((args, kwargs, out)) if isinstance(one, Tensor)]
            self.total += sum(one.numel() * one.element_size() for one in tensors)
        return out


def work_of(work: Callable[[], Any]) -> dict[str, float]:
    """Return FLOPs and bytes of a step."""
    with FlopCounterMode(display=False) as flops, _Bytes() as moved:
        work()
    return {"tflop": round(flops.get_total_flops() / 1e12, 4), "gb": round(moved.total / 1e9, 3)}


def predictions(network: str, workload: Workload, device: torch.device) -> dict[str, Any]:
    """Return the seconds from an image in memory to the result on its grid, where the host spends them, and
    the network's part."""
    plan = plan_of(workload)
    predictor, image = predictor_of(plan, network, device), noise_image(workload)
    found: dict[str, Any] = {}
    for name, (steps, samples) in SAMPLINGS.items():
        call = lambda steps=steps, samples=samples: predictor(image, steps=steps, samples=samples)  # noqa: E731
        found[f"{name}_s"] = round(median_seconds(call, device, 2), 4)
        found[f"{name}_host"] = host_functions(call)
    model: Any = predictor.segmenter
    x = torch.randn(1, workload.channels, *workload.patch).to(device)
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        found["network_1_step_one_patch_s"] = round(median_seconds(lambda: network_of(model, x), device), 5)
    return found


def host_functions(work: Callable[[], Any]) -> list[list[Any]]:
    """Return the functions in which the host spends a call, its waiting for the card included: name, seconds
    and calls."""
    profiler = cProfile.Profile()
    profiler.runcall(work)
    found = [
        (f"{Path(file).name}:{name}", own, calls)
        for (file, _, name), (_, calls, own, _, _) in pstats.Stats(profiler).stats.items()  # type: ignore[attr-defined]
    ]
    longest = sorted(found, key=lambda one: -one[1])[:HOST_FUNCTIONS]
    return [[name, round(own, 4), calls] for name, own, calls in longest]


def network_of(model: Any, x: Tensor) -> Tensor:
    """Return the logits of one patch by one call of each module."""
    conditioning = model.encode_image(x)
    shape = (len(x), *model.start_shape(tuple(x.shape[2:])))
    return model.decode(model.predict_deterministic(conditioning, shape), conditioning)


def loader(workload: Workload, device: torch.device, seconds: float) -> dict[str, Any]:
    """Return the augmented patches a second that the data loader delivers with its default of workers."""
    plan = plan_of(workload)
    with tempfile.TemporaryDirectory() as folder:
        write_phantom_dataset(Path(folder) / "data", workload.axes, 4, seed=0, shape=workload.image)
        dataset = open_dataset(Path(folder) / "data")
        cache = Cache(Path(folder) / "cache", tuple(case.name for case in dataset.cases))
        own = replace(plan, channels=plan.channels[:1])  # as the phantoms have
        build_cache(dataset, dataset.cases, own, cache.folder)
        patches = PatchDataset(cache, cache.names, own, settings_of(own, "default").augment, 0)
        workers = loader_workers(device, None)
        stream = batches(patches, workload.batch, 0, workers, pinned=device.type == "cuda")
        for _ in range(max(1, workers)):
            next(stream)
        started, count = time.perf_counter(), 0
        while time.perf_counter() < started + 3 * seconds:
            next(stream)
            count += workload.batch
        spent = time.perf_counter() - started
        del stream
    return {"workers": workers, "patches_per_s": round(count / spent, 2), "batch": workload.batch}


def augmentation(workload: Workload, device: torch.device, seconds: float) -> dict[str, Any]:
    """Return the patches a second that one process augments on the device."""
    plan = replace(plan_of(workload), channels=plan_of(workload).channels[:1])
    augment = make_augment(plan, settings_of(plan, "default").augment)
    image = torch.randn(1, *workload.patch, device=device)
    labels = torch.randint(0, len(plan.classes), workload.patch, device=device)
    for seed in range(WARM_UP):
        x, y = augment(image, labels, seed)
    synchronize(device)
    started, count = time.perf_counter(), 0
    while time.perf_counter() < started + seconds:
        x, y = augment(image, labels, count)
        count += 1
    synchronize(device)
    spent = time.perf_counter() - started
    return {"patches_per_s": round(count / spent, 2), "device": str(x.device), "labels_device": str(y.device)}


def time_compiled(
    network: str, workload: Workload, device: torch.device, seconds: float, gate: Path, journal: Journal
) -> None:
    """Compile a step beside others, then time it alone when it is told to go."""
    label = f"{network}-{workload.name}"
    started = time.perf_counter()
    step = make_step(network, workload, device)
    if step.train_step is None:
        step.model.compile(dynamic=False)
        problem = ""
    else:
        problem = compile_modules(step.model, device)
    for _ in range(20):  # until every form of the step has been compiled
        step.run()
    synchronize(device)
    compiling = round(time.perf_counter() - started, 1)
    (gate / f"ready-{label}").touch()
    while not (gate / f"go-{label}").exists() and time.perf_counter() < started + PATIENCE:
        time.sleep(0.05)
    found: dict[str, Any] = {"problem": problem, "compile_s": compiling, "batch": workload.batch}

    def measured() -> dict[str, Any]:
        return {**found, **timed(step.run, device, seconds), "profile": profiled(step.run, device)}

    journal.attempt("compiled", label, measured)
    journal.attempt("compiled_graph", label, lambda: timed(graphed(step, device), device, seconds))
    (gate / f"done-{label}").touch()


if __name__ == "__main__":
    main()
