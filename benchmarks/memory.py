"""How much memory and time does a prediction take, by size of the image, number of samples, of files, and
--max-memory?

    python benchmarks/memory.py volumes
    python benchmarks/memory.py samples
    python benchmarks/memory.py limit
    python benchmarks/memory.py picture --size 20000
    python benchmarks/memory.py files --patch 64

The model is untrained: memory does not depend on the weights. It has the default preset for a plan of
the patch given and a narrow pyramid (widths --width, twice and four times that), so that a run takes minutes.
Each prediction is `ldseg predict` in a process of its own, and its peak resident size is what counts: Python,
libraries, model, image and all. Images are noise.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import tifffile
import torch
from PIL import Image

from ldseg.planning.plan import ChannelPlan, Plan
from ldseg.presets import PRESETS
from ldseg.runs.saved_model import build_segmenter, save_model
from records import commit, write_result

SIZES = [(256, 256, 128), (256, 256, 256), (256, 256, 512), (512, 512, 512)]
SAMPLES = (2, 8, 32)
LIMITS = (3.0, 2.0, 1.5, 1.0)
FILES = (1, 10, 100, 1000)


def main(argv: list[str] | None = None) -> None:
    arguments = parse(argv)
    with tempfile.TemporaryDirectory() as folder:
        found = QUESTIONS[arguments.question](Path(folder), arguments)
    common = {
        "benchmark": "memory",
        "data": "noise",
        "split": "untrained model",
        "model": "ldseg",
        "preset": "default",
        "seed": 0,
        "cases": 1,
        "command": command(arguments),
        "commit": commit(),
    }
    result = {
        **common,
        "patch": [arguments.patch] * (2 if arguments.question in ("picture", "files") else 3),
        "width": arguments.width,
        "threads": arguments.threads,
        "torch": torch.__version__,
        "runs": found,
        "records": [
            {**common, "metric": f"{one['name']}_{m}", "value": one[m]} for one in found for m in METRICS
        ],
    }
    print(write_result(f"memory-{arguments.question}", result), *found, sep="\n")


METRICS = ("peak_rss_gb", "cpu_s")


def parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("question", choices=sorted(QUESTIONS))
    parser.add_argument("--patch", type=int, default=128, help="voxels along each axis")
    parser.add_argument("--width", type=int, default=8, help="channels of the first level")
    parser.add_argument("--size", type=int, help="voxels along each axis of the image, where one is measured")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args(argv)


def command(arguments: argparse.Namespace) -> str:
    words = [f"python benchmarks/memory.py {arguments.question}"]
    given = {
        name: value for name, value in vars(arguments).items() if name != "question" and value is not None
    }
    return " ".join([*words, *(f"--{name} {value}" for name, value in given.items())])


def volumes(folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Volumes that grow."""
    model = make_model(folder / "model", "zyx", 1, arguments)
    sizes = [(arguments.size,) * 3] if arguments.size else SIZES
    runs: list[dict[str, Any]] = []
    for shape in sizes:
        image = write_volume(folder, shape)
        runs.append(predict(f"volume_{'x'.join(map(str, shape))}", image, model, arguments, []))
    return runs


def samples(folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure one volume with an increasing number of samples."""
    model = make_model(folder / "model", "zyx", 1, arguments)
    image = write_volume(folder, (arguments.size or 256,) * 3)
    save = ["--save", "labels,probabilities,uncertainty"]
    return [
        predict(f"samples_{count}", image, model, arguments, ["--samples", str(count), *save])
        for count in SAMPLES
    ]


def limit(folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure one volume with a decreasing memory limit."""
    model = make_model(folder / "model", "zyx", 1, arguments)
    image = write_volume(folder, (arguments.size or 192,) * 3)
    return [
        predict(f"limit_{gb:g}_gb", image, model, arguments, ["--samples", "16", "--max-memory", str(gb)])
        for gb in LIMITS
    ]


def picture(folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure a tiled colour TIFF that is read by regions."""
    model = make_model(folder / "model", "yx", 3, arguments)
    size = arguments.size or 20_000
    image = folder / "picture.tif"
    tifffile.imwrite(
        image,
        colour_tiles(size),
        shape=(size, size, 3),
        dtype=np.uint8,
        photometric="rgb",
        tile=(512, 512),
        compression="zlib",
        bigtiff=True,
        maxworkers=1,
        buffersize=2**24,
    )
    return [predict(f"picture_{size}", image, model, arguments, [])]


def files(folder: Path, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure folders of an increasing number of small images; one is what a command costs from the shell."""
    model = make_model(folder / "model", "yx", 1, arguments)
    random = np.random.default_rng(0)
    runs: list[dict[str, Any]] = []
    for count in FILES:
        images = folder / f"images_{count}"
        images.mkdir()
        for n in range(count):
            pixels = random.integers(0, 255, (arguments.patch,) * 2, np.uint8)
            Image.fromarray(pixels).save(images / f"case_{n}.png")
        runs.append(predict(f"files_{count}", images, model, arguments, []))
    return runs


QUESTIONS = {"volumes": volumes, "samples": samples, "limit": limit, "picture": picture, "files": files}


def colour_tiles(size: int) -> Iterator[np.ndarray[Any, Any]]:
    """Coarse noise, which compresses."""
    rng = np.random.default_rng(0)
    for _ in range((-(-size // 512)) ** 2):
        yield rng.integers(0, 255, (32, 32, 3), np.uint8).repeat(16, 0).repeat(16, 1)


def write_volume(folder: Path, shape: tuple[int, ...]) -> Path:
    path = folder / "volume.nii"
    noise = np.random.default_rng(0).integers(0, 1000, shape, np.int16)
    nibabel.save(nibabel.Nifti1Image(noise, np.diag([-1.0, -1.0, 1.0, 1.0])), path)
    return path


def make_model(folder: Path, axes: Any, channels: int, arguments: argparse.Namespace) -> Path:
    """An untrained model of the default preset, three classes, 5 levels, latent grid of 1/4."""
    dimensions, width = len(axes), arguments.width
    scheme = "range" if channels == 3 else "zscore"
    plan = Plan(
        version=1,
        dimensions=2 if dimensions == 2 else 3,
        axes=axes,
        channels=tuple(ChannelPlan(f"channel{n}", scheme, 0.0, 255.0) for n in range(channels)),
        classes={"background": 0, "first": 1, "second": 2},
        ignore_id=None,
        labels_above_zero=False,
        file_ending=".nii.gz",
        spacing=(1.0,) * dimensions,
        patch=(arguments.patch,) * dimensions,
        tiled=True,
        strides=((2,) * dimensions,) * 5,
        latent_levels=2,
        latent_channels=4,
        widths=(width, 2 * width, *[4 * width] * 3),
        batch=2,
        mirror_axes=(),
        training_memory_gb=1.0,
    )
    settings = PRESETS["default"](plan)
    torch.manual_seed(0)
    save_model(folder, build_segmenter(settings), plan, settings, "untrained")
    return folder


def predict(
    name: str, image: Path, model: Path, arguments: argparse.Namespace, more: list[str]
) -> dict[str, Any]:
    """`ldseg predict` in a process of its own."""
    with tempfile.TemporaryDirectory(dir=image.parent) as out:
        words = ["predict", str(image), "-m", str(model), "-o", out, "--device", "cpu", *more]
        if "--samples" not in more:
            words += ["--samples", "1"]
        environment = os.environ | {"OMP_NUM_THREADS": str(arguments.threads)}
        started = time.monotonic()
        process = subprocess.Popen([sys.executable, "-m", "ldseg", *words], env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError(f"{name}: ldseg {' '.join(words)} failed")
    return {
        "name": name,
        "arguments": more,
        "peak_rss_gb": round(usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9, 3),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "wall_s": round(time.monotonic() - started, 1),
        "image_gb": round(image.stat().st_size / 1e9, 3),
    }


if __name__ == "__main__":
    main()
