"""Where do time and memory go, in prediction and training, beside what the bare convolutions cost?

    python benchmarks/speed.py 2d
    python benchmarks/speed.py 3d

2d: a colour image of 512 x 512, training in batches of 4. 3d: a volume of 128 x 128 x 256, training on the
plan's patch. The plan is made from synthetic images of that size, weights are untrained, images are noise:
none of it changes the cost. CPU seconds of one process with `--threads`, in the precision that ldseg chooses
on the machine at hand unless `--precision` says another, the median of interleaved repeats, so that other
work weighs on all alike; ratios from one run are what to trust. Samples are as many, in as many steps, as the
default preset draws.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch

from bare import bare_seconds, convolutions_of, multiplications
from export import noise_image
from ldseg.data.dataset import open_dataset
from ldseg.data.phantom import write_phantom_dataset
from ldseg.inference.backends.torch_backend import TorchBackend
from ldseg.inference.predictor import Predictor
from ldseg.planning.fingerprint import take_fingerprint
from ldseg.planning.plan import ChannelPlan, Plan, PlanSettings, make_plan
from ldseg.preprocessing.intensity_statistics import ENOUGH_IMAGES, measure_intensity_statistics
from ldseg.preprocessing.preprocess import preprocess_image
from ldseg.presets import PRESETS
from ldseg.runs.saved_model import build_segmenter
from ldseg.settings import RunSettings, SamplingSettings
from ldseg.training.budget import make_budget
from ldseg.training.compile import compile_modules
from ldseg.training.ema import make_ema_copy
from ldseg.training.train_step import TrainStep, make_optimizer
from ldseg.utils.device import autocast, precision_of
from records import as_a_command, commit, peak_memory_gb, write_result

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Size:
    """The size of the images that are measured."""

    axes: Any
    shape: tuple[int, ...]
    channels: int
    batch: int | None
    """In training; none takes the plan's."""


SIZES = {"2d": Size("yx", (512, 512), 3, 4), "3d": Size("zyx", (128, 128, 256), 1, None)}
STEPS = (1, 2, 15, 50)
PIXEL_STEPS = 20
COMPILED_STEPS = 8
"""Until every form of the step has been compiled: in some of them the decoder takes a case more."""


def main() -> None:
    arguments = parse()
    as_a_command(arguments.threads)
    size = SIZES[arguments.size]
    plan = plan_of(size, arguments.patch)
    batch = size.batch or plan.batch
    precision = precision_of(CPU, arguments.precision)
    settings = {name: settings_of(plan, name, precision) for name in ("none", "unet", "pixel_diffusion")}
    predictors = {name: predictor_of(plan, chosen) for name, chosen in settings.items()}
    metrics = prediction(predictors, size, arguments.repeats)
    metrics |= modules(predictors["none"], plan, arguments.repeats)
    metrics["predict_peak_rss_gb"] = peak_memory_gb()
    for baseline in ("none", "unet"):
        metrics |= training(plan, settings[baseline], batch, arguments.repeats)
    if arguments.compile:
        metrics |= training(plan, settings["none"], batch, arguments.repeats, compiled=True)
    metrics |= ratios(metrics, settings["none"].posterior)
    common = {
        "benchmark": "speed",
        "data": "noise",
        "split": f"one image of {'x'.join(map(str, size.shape))}, {size.channels} channels",
        "model": "ldseg",
        "preset": "default",
        "seed": 0,
        "cases": 1,
        "command": f"python benchmarks/speed.py {arguments.size} --threads {arguments.threads} "
        f"--repeats {arguments.repeats} --precision {precision}"
        + (f" --patch {arguments.patch}" if arguments.patch else "")
        + (" --compile" if arguments.compile else ""),
        "commit": commit(),
    }
    result = {
        **common,
        "plan": {"patch": plan.patch, "strides": plan.strides, "widths": plan.widths, "batch": plan.batch},
        "torch": torch.__version__,
        "records": [{**common, "metric": name, "value": value} for name, value in metrics.items()],
    }
    print(write_result(f"speed-{arguments.size}", result))
    for name, value in metrics.items():
        print(f"{name:45} {value:9.3f}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("size", choices=tuple(SIZES))
    parser.add_argument("--patch", help="instead of the plan's, e.g. 128,128,256")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto")
    parser.add_argument("--compile", action="store_true", help="training with torch.compile as well")
    return parser.parse_args()


def plan_of(size: Size, patch: str | None) -> Plan:
    """Return the plan of a data set of such images."""
    wanted = tuple(int(n) for n in patch.split(",")) if patch else None
    with tempfile.TemporaryDirectory() as folder:
        write_phantom_dataset(Path(folder), size.axes, cases=2, seed=0, shape=size.shape)
        dataset = open_dataset(Path(folder))
        plan = make_plan(take_fingerprint(dataset, dataset.cases), dataset, PlanSettings(patch=wanted))
    channels = tuple(ChannelPlan(f"channel {n}", "zscore") for n in range(size.channels))
    plan = replace(plan, channels=channels, resample=False)
    # A plan of real images knows what they look like, and each new one is compared with them.
    usual = preprocess_image(noise_image(size.axes, size.channels, size.shape), plan).array
    return replace(plan, appearance=measure_intensity_statistics([usual] * ENOUGH_IMAGES, plan))


def settings_of(plan: Plan, baseline: Any, precision: Any) -> RunSettings:
    settings = replace(PRESETS["default"](plan), baseline=baseline)
    return replace(settings, training=replace(settings.training, precision=precision, steps=1000))


def predictor_of(plan: Plan, settings: RunSettings) -> Predictor:
    layout: Any = torch.channels_last if plan.dimensions == 2 else torch.channels_last_3d
    segmenter = build_segmenter(settings).eval().to(memory_format=layout)
    return Predictor(plan, settings, TorchBackend(segmenter, CPU, settings.training.precision))


def prediction(predictors: dict[str, Predictor], size: Size, repeats: int) -> dict[str, float]:
    """Time a prediction from the image in memory to the result on its own grid."""
    image = noise_image(size.axes, size.channels, size.shape)
    own, unet, pixel = (predictors[name] for name in ("none", "unet", "pixel_diffusion"))
    posterior = own.settings.posterior
    samplings = {f"{n}_step{'s' * (n > 1)}": (n, 1) for n in STEPS}
    samplings[several_samples(posterior)] = (posterior.steps, posterior.samples)
    calls: dict[str, Callable[[], Any]] = {
        f"predict_cpu_s_{name}": lambda steps=steps, samples=samples: own(
            image, steps=steps, samples=samples, tta=False
        )
        for name, (steps, samples) in samplings.items()
    }
    calls["predict_cpu_s_posterior"] = lambda: own(image, samples=posterior.samples)
    calls["predict_cpu_s_unet"] = lambda: unet(image)
    found = interleaved(calls, repeats)
    steps = {"predict_cpu_s_pixel_diffusion_20_steps": lambda: pixel(image, steps=PIXEL_STEPS, samples=1)}
    return found | interleaved(steps, 1)


def several_samples(posterior: SamplingSettings) -> str:
    """Return what the metrics of a prediction with the preset's samples are called."""
    return f"{posterior.steps}_steps_{posterior.samples}_samples"


@torch.inference_mode()
def modules(predictor: Predictor, plan: Plan, repeats: int) -> dict[str, float]:
    """Time each module on one patch, and the bare convolutions of a prediction with one step."""
    model: Any = predictor.segmenter
    layout: Any = torch.channels_last if plan.dimensions == 2 else torch.channels_last_3d
    x = torch.randn(1, len(plan.channels), *plan.patch).contiguous(memory_format=layout)
    y = torch.zeros(1, *plan.patch, dtype=torch.long)
    t = torch.ones(1)
    conditioning, z = model.encode_image(x), torch.randn(1, *model.start_shape(plan.patch))
    cells = model.denoiser.fold(z)
    level, time = model.schedule(t), model.denoiser.embed(t)
    parts: dict[str, Callable[[], Any]] = {
        "label_encoder": lambda: model.label_encoder(y),
        "image_encoder": lambda: model.encode_image(x),
        "denoiser": lambda: model.denoiser(cells, conditioning.embedding, level, time),
        "decoder": lambda: model.decode(z, conditioning),
    }
    precision = predictor.settings.training.precision
    with autocast(CPU, precision):
        found = interleaved({f"patch_cpu_s_{name}": part for name, part in parts.items()}, repeats)
        called = {name: convolutions_of(model, part) for name, part in parts.items()}
    for name, calls in called.items():
        found[f"patch_bare_cpu_s_{name}"] = bare_seconds(calls, False, precision, repeats)
        found[f"patch_gmac_{name}"] = multiplications(calls)
    return found


def training(
    plan: Plan, settings: RunSettings, batch: int, repeats: int, compiled: bool = False
) -> dict[str, float]:
    """Time one training step (loss, gradients, optimizer, EMA) without reading and augmenting data."""
    layout: Any = torch.channels_last if plan.dimensions == 2 else torch.channels_last_3d
    model = build_segmenter(settings).to(memory_format=layout)
    optimizer = make_optimizer(model, settings.training)
    train_step = TrainStep(model, make_ema_copy(model), optimizer, settings, CPU)
    x = torch.randn(batch, len(plan.channels), *plan.patch)
    y = torch.randint(0, len(plan.classes), (batch, *plan.patch))
    budget = make_budget(settings.training, steps_per_epoch=1)
    step = {"step": lambda: train_step.run(x, y, budget)}
    if compiled and not compile_modules(model, CPU):
        for _ in range(COMPILED_STEPS):
            train_step.run(x, y, budget)
        return {"training_step_cpu_s_ldseg_compiled": interleaved(step, repeats)["step"]}
    spent = interleaved(step, repeats)["step"]
    name = "ldseg" if settings.baseline == "none" else settings.baseline
    bare = bare_seconds(convolutions_of(model, step["step"]), True, settings.training.precision, repeats)
    return {
        f"training_step_cpu_s_{name}": spent,
        f"training_step_bare_cpu_s_{name}": bare,
        f"training_peak_rss_gb_{name}": peak_memory_gb(),
    }


def ratios(found: dict[str, float], posterior: SamplingSettings) -> dict[str, float]:
    """Return what the targets are about."""
    drawn, decodes = several_samples(posterior), posterior.samples - 1
    thousand = found["predict_cpu_s_pixel_diffusion_20_steps"] * 1000 / PIXEL_STEPS
    bare = sum(found[f"patch_bare_cpu_s_{module}"] for module in ("image_encoder", "denoiser", "decoder"))
    return {
        "ratio_1_step_to_bare_convolutions_of_a_patch": found["predict_cpu_s_1_step"] / bare,
        "ratio_training_step_to_bare_convolutions": found["training_step_cpu_s_ldseg"]
        / found["training_step_bare_cpu_s_ldseg"],
        f"ratio_{drawn}_to_1_step_and_{decodes}_decodes": found[f"predict_cpu_s_{drawn}"]
        / (found["predict_cpu_s_1_step"] + decodes * found["patch_cpu_s_decoder"]),
        "ratio_50_steps_to_1": found["predict_cpu_s_50_steps"] / found["predict_cpu_s_1_step"],
        "ratio_pixel_diffusion_1000_steps_to_1_step": thousand / found["predict_cpu_s_1_step"],
        "share_of_bare_in_training_step": found["training_step_bare_cpu_s_ldseg"]
        / found["training_step_cpu_s_ldseg"],
    }


def interleaved(calls: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median CPU seconds of each; they take turns, and one turn before warms up."""
    spent: dict[str, list[float]] = {name: [] for name in calls}
    for repeat in range(repeats + 1):
        for name, call in calls.items():
            started = time.process_time()
            call()
            if repeat > 0:
                spent[name].append(time.process_time() - started)
    return {name: median(seconds) for name, seconds in spent.items()}


if __name__ == "__main__":
    main()
