"""Flow matching in the label latent: rectified flow as schedule, parameterization and sampler."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import ldseg

FLOW: dict[str, Any] = {
    "model": {
        "noise": {"schedule": "rectified_flow", "parameterization": "flow", "shift": 1.0, "stretch": 1.0},
        "denoiser": {"architecture": "dit_denoiser:DiT"},  # one that predicts what it is asked for
    },
    "sampling": {"sampler": "euler", "steps": 1},
}


def main(data: Path, run: Path, steps: int) -> None:
    """Train on `data` for so many steps, then draw 4 samples of an image in 8 steps of Euler's method."""
    changes = {**FLOW, "training": {"steps": steps}}
    ldseg.train(data, run, changes=changes, allow_code=True)
    image = min((data / "images").iterdir())
    prediction = ldseg.load(run, allow_code=True)(image, steps=8, samples=4, sampler="euler")
    for name, volume in prediction.volumes.items():
        print(name, volume)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
