"""What does an image cost on the CPU by torch, and what by onnxruntime from the exported graph?

    python benchmarks/export.py RUN --shape 512,512 --steps 2

The image is noise, which costs what any image costs. The runtimes take turns and the median counts, so that
other work on the machine weighs on all alike; CPU seconds are those of the whole process, all threads. torch
is measured in fp32, as the graph is, and in the precision that `ldseg predict` uses here.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
import torch

from ldseg.data.volume import Volume
from ldseg.export.onnx import TOLERANCE, export_onnx
from ldseg.inference.backends.onnx_backend import load_onnx_predictor
from ldseg.inference.backends.torch_backend import TorchBackend
from ldseg.inference.predictor import Predictor
from records import as_a_command, commit, peak_memory_gb, write_result

TIMES = {"torch_fp32": "in fp32", "torch": "as predict uses it", "onnxruntime": "the exported graph"}


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    as_a_command(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        made = export_onnx(
            arguments.run, Path(folder) / "onnx", arguments.steps, arguments.samples, arguments.sampler
        )
        predictors = load_all(arguments.run, made.folder)
    plan, own = predictors["torch"].plan, predictors["torch"].settings.sampling
    sampling = made.spec.sampling.settings(own)
    shape = tuple(arguments.shape or plan.patch)
    image = noise_image(plan.axes, len(plan.channels), shape)
    answers = {name: answer_of(predictor, image, sampling) for name, predictor in predictors.items()}
    seconds = time_all(answers, arguments.repeats)
    baseline = predictors["torch"].settings.baseline
    common = {
        "benchmark": "export",
        "data": "noise",
        "split": f"one image of {'x'.join(map(str, shape))}, {len(plan.channels)} channels",
        "model": "ldseg" if baseline == "none" else baseline,
        "preset": predictors["torch"].settings.preset,
        "seed": 0,
        "cases": 1,
        "command": command(arguments),
        "commit": commit(),
    }
    metrics: dict[str, float] = {f"predict_cpu_s_{name}": median(spent) for name, spent in seconds.items()}
    metrics["onnxruntime_to_torch_fp32_ratio"] = (
        metrics["predict_cpu_s_onnxruntime"] / metrics["predict_cpu_s_torch_fp32"]
    )
    metrics["onnx_probability_difference"] = float(
        np.abs(answers["onnxruntime"]() - answers["torch_fp32"]()).max()
    )
    if not metrics["onnx_probability_difference"] <= TOLERANCE:
        raise RuntimeError(f"the runtimes disagree ({metrics}); did the run train on in the meantime?")
    result = {
        **common,
        "sampling": {"sampler": sampling.sampler, "steps": sampling.steps, "samples": sampling.samples},
        "threads": arguments.threads,
        "torch": torch.__version__,
        "onnxruntime": onnxruntime.__version__,
        "graph_megabytes": round(made.megabytes, 3),
        "peak_rss_gb": peak_memory_gb(),
        "seconds": seconds,
        "records": [{**common, "metric": name, "value": value} for name, value in metrics.items()],
    }
    name = arguments.name or f"export-{common['model']}-{'x'.join(map(str, shape))}"
    path = write_result(name, result)
    print(path, {name: round(value, 6) for name, value in metrics.items()})


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("run", type=Path, help="folder that ldseg train wrote")
    parser.add_argument("--shape", type=numbers, help="of the image, e.g. 512,512; one patch by default")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--samples", type=int)
    parser.add_argument("--sampler")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", help="of the JSON file in results/")
    return parser.parse_args(argv)


def numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def command(arguments: argparse.Namespace) -> str:
    """Return the command without the folders of this machine."""
    words = ["python benchmarks/export.py RUN"]
    for name, value in vars(arguments).items():
        if value is not None and name != "run":
            words.append(f"--{name} {','.join(map(str, value)) if isinstance(value, tuple) else value}")
    return " ".join(words)


def load_all(run: Path, exported: Path) -> dict[str, Predictor]:
    """Return one predictor per entry of `TIMES`, on the CPU."""
    usual = Predictor.load(run, "cpu")
    fp32 = Predictor(usual.plan, usual.settings, TorchBackend(usual.segmenter, torch.device("cpu"), "fp32"))
    return {"torch_fp32": fp32, "torch": usual, "onnxruntime": load_onnx_predictor(exported)}


def noise_image(axes: Any, channels: int, shape: tuple[int, ...]) -> Volume:
    """Standard normal voxels of 1 mm."""
    array = np.random.default_rng(0).standard_normal((channels, *shape), dtype=np.float32)
    d = len(shape)
    return Volume(array, (1.0,) * d, (0.0,) * d, tuple(np.eye(d).ravel().tolist()), axes, "image")


def answer_of(predictor: Predictor, image: Volume, sampling: Any) -> Callable[[], Any]:
    """Return a function that predicts the probabilities of the image on its own grid."""
    predictor.plan = replace(predictor.plan, resample=False)

    def answer() -> Any:
        return predictor(
            image, steps=sampling.steps, samples=sampling.samples, sampler=sampling.sampler
        ).probabilities.array

    return answer


def time_all(answers: dict[str, Callable[[], Any]], repeats: int) -> dict[str, list[float]]:
    """CPU seconds of each repeat; one before them warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in answers}
    for repeat in range(repeats + 1):
        for name, answer in answers.items():
            started = time.process_time()
            answer()
            if repeat > 0:
                seconds[name].append(round(time.process_time() - started, 6))
    return seconds


if __name__ == "__main__":
    main()
