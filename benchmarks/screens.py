r"""Draw docs/viewer.png and docs/report.png: what `ldseg view` and `ldseg report` show in Chromium, on a
light screen and on a dark one.

    python benchmarks/screens.py viewer DATA/Dataset004_Hippocampus/imagesTr/hippocampus_038_0000.nii.gz
        --model hippocampus --reference DATA/Dataset004_Hippocampus/labelsTr/hippocampus_038.nii.gz
        -o docs/viewer.png
    python benchmarks/screens.py report RUN/report.html -o docs/report.png

`hippocampus_038` is a test case of the shipped model. RUN of docs/report.png is a training of two CPU minutes
on the first 40 cases: `ldseg train DATA -o RUN --cpu-minutes 2 --test-fraction 0.2`.
"""

from __future__ import annotations

import argparse
import io
import runpy
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

_CHROMIUM: dict[str, Any] = runpy.run_path(
    str(Path(__file__).parents[1] / "tests" / "app" / "viewer" / "chromium.py")
)
"""The names of the module that drives the browser of the tests."""
_VIEWER, _REPORT = (1180, 700), (1180, 2600)  # width and height of the screens in pixels
_GAP = 12
_FAINT_LABELS = """(() => { const one = document.getElementById('opacity-labels'); one.value = '10';
    one.dispatchEvent(new Event('input')); one.dispatchEvent(new Event('change')); })()"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("page", choices=("viewer", "report"))
    parser.add_argument("input", help="image to view, or the page of a report")
    parser.add_argument("--model", help="of the viewer")
    parser.add_argument("--reference", help="of the viewer")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    program = _CHROMIUM["find_chromium"]()
    if program is None:
        parser.error("there is no Chromium on this machine")
    size = _VIEWER if arguments.page == "viewer" else _REPORT
    with TemporaryDirectory() as profile, _CHROMIUM["Page"](program, Path(profile), *size) as page:
        shots = _viewer(page, arguments) if arguments.page == "viewer" else _report(page, arguments.input)
    shots.save(arguments.output, optimize=True)


def _viewer(page: Any, arguments: Any) -> Image.Image:
    """Return the segmentation with its reference, and below its uncertainty after four more samples."""
    words = ["view", arguments.input, "-m", arguments.model, "--reference", arguments.reference]
    command = [sys.executable, "-m", "ldseg", *words, "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        address = next(word for line in server.stdout for word in line.split() if "://" in word)
        try:
            _screen(page, "light", address)
            page.wait_for("document.documentElement?.dataset.ready === 'true'")
            light = _shot(page)
            _screen(page, "dark", address)
            page.wait_for("document.documentElement?.dataset.ready === 'true'")
            page.run("document.getElementById('more').click()")
            page.wait_for("document.getElementById('facts').textContent.includes('12 samples')")
            for layer in ("reference", "uncertainty"):
                page.run(f"document.getElementById('see-{layer}').click()")
            page.run(_FAINT_LABELS)
            dark = _shot(page)
        finally:
            server.terminate()
    both = Image.new("RGB", (light.width, 2 * light.height + _GAP), "gray")
    both.paste(light, (0, 0))
    both.paste(dark, (0, light.height + _GAP))
    return both


def _report(page: Any, file: str) -> Image.Image:
    """Return the beginning of a report on a light screen and its end on a dark one, side by side, halved."""
    shots: list[Image.Image] = []
    for scheme, to in (("light", "0"), ("dark", "document.documentElement.scrollHeight")):
        _screen(page, scheme, Path(file).resolve().as_uri())
        page.run(f"window.scrollTo(0, {to})")
        shots.append(_shot(page))
    width, height = shots[0].size
    both = Image.new("RGB", (2 * width + _GAP, height), "gray")
    both.paste(shots[0], (0, 0))
    both.paste(shots[1], (width + _GAP, 0))
    return both.resize((both.width // 2, both.height // 2), Image.Resampling.LANCZOS)


def _screen(page: Any, scheme: str, address: str) -> None:
    """Load a page on a light or dark screen."""
    feature = {"name": "prefers-color-scheme", "value": scheme}
    page.call("Emulation.setEmulatedMedia", features=[feature])
    page.go("about:blank")
    page.wait_for("document.URL === 'about:blank'")
    page.go(address)
    page.wait_for("document.URL !== 'about:blank' && document.readyState === 'complete'")


def _shot(page: Any) -> Image.Image:
    """Return what is seen, after the last drawing."""
    page.run("new Promise(done => setTimeout(done, 1500))")
    return Image.open(io.BytesIO(page.png())).convert("RGB")


if __name__ == "__main__":
    main()
