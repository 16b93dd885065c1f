"""The page in a real browser: what is seen, where, and what the controls do."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from chromium import Page, find_chromium
from numpy.typing import NDArray
from PIL import Image
from viewer_helpers import MakeModel, MakeSession, Serve, an_image

from ldseg.app.report.palette import class_color, reference_color
from ldseg.app.viewer.nifti import LONGEST
from ldseg.app.viewer.session import Session
from ldseg.data.volume import Volume
from ldseg.errors import InputError
from ldseg.inference.output import OnPlanes

Pixels = NDArray[np.uint8]

PROGRAM = find_chromium()
WIDTH, HEIGHT = 900, 620
READY = "document.documentElement?.dataset.ready === 'true'"

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="there is no Chromium on this machine")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """One for all tests of this file."""
    assert PROGRAM is not None
    with Page(PROGRAM, tmp_path_factory.mktemp("profile"), WIDTH, HEIGHT) as page:
        yield page


def opened(page: Page, address: str) -> None:
    """Load the viewer, and wait until it shows something."""
    page.go("about:blank")  # what the page before still asks for is none of this one's
    page.wait_for("document.URL === 'about:blank'")
    page.complaints.clear()
    page.addresses.clear()
    page.go(address)
    page.wait_for(READY)
    put(page, "crosshair", False)  # it has a color too, and so have letters
    page.run("document.getElementById('scale-bar').style.visibility = 'hidden'")


def put(page: Page, name: str, value: object) -> None:
    """Set a slider, a box or a choice, as a hand would."""
    page.run(
        f"(() => {{ const one = document.getElementById('{name}');"
        f" if (one.type === 'checkbox') one.checked = {'true' if value is True else 'false'};"
        f" else one.value = '{value}';"
        " one.dispatchEvent(new Event('input')); one.dispatchEvent(new Event('change')); })()"
    )


def labels_alone(page: Page) -> None:
    """Nothing but the segmentation, in the full colors of its classes."""
    put(page, "opacity-image", 0)
    put(page, "opacity-labels", 100)


def seen_image(page: Page) -> Pixels:
    """The picture, without what is around the image."""
    left, top, right, bottom = page.run(
        "(({left, top, right, bottom}) => [left, top, right, bottom].map(Math.round))"
        "(document.getElementById('scene').getBoundingClientRect())"
    )
    return page.picture()[top:bottom, left:right]


def found(page: Page, wanted: Callable[[Pixels], NDArray[np.bool_]]) -> NDArray[np.bool_]:
    """Where the picture, without the panel beside it, is as `wanted`; drawing takes a moment."""
    for _ in range(40):
        mask = wanted(seen_image(page))
        if mask.any():
            return mask
    raise AssertionError("it is nowhere in the picture")


def close_to(*color: int) -> Callable[[Pixels], NDArray[np.bool_]]:
    return lambda pixels: np.abs(pixels.astype(int) - np.array(color)).max(-1) <= 12


def middle(mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Row and column, as shares of the picture."""
    rows, columns = np.nonzero(mask)
    return rows.mean() / mask.shape[0], columns.mean() / mask.shape[1]


def extent(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Rows and columns."""
    rows, columns = np.nonzero(mask)
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def with_labels(session: Session, indices: NDArray[Any]) -> Session:
    """A segmentation of which the place is known, in place of the untrained model's."""
    session.prediction.layers["labels"].array[:] = indices
    return session


def a_block_left_in_front_above() -> tuple[Volume, NDArray[np.int16]]:
    """A volume stored as (x, z, y), the first and last backwards, with unequal steps, and labels that are 8 x
    6 x 12 mm along the patient's (left, back, head) axes: left, in front and above of the middle."""
    lps = np.zeros((20, 24, 16), np.int16)  # z (2 mm), y (1 mm), x (2 mm) in LPS+
    lps[12:18, 3:9, 10:14] = 1
    stored = lps.transpose(2, 0, 1)[::-1, :, ::-1]
    columns = np.array([[0, 0, -1], [-1, 0, 0], [0, 1, 0]], float)  # of the fastest axis (y), then z, then x
    image = Volume(
        np.random.default_rng(0).normal(size=(1, *stored.shape)).astype(np.float32),
        (2.0, 2.0, 1.0),
        (30.0, 23.0, 0.0),
        tuple(columns.ravel().tolist()),
        "zyx",
        "image",
    )
    return image, stored


@pytest.mark.parametrize("longest", [LONGEST, 12])
def test_a_volume_is_seen_the_right_way_round_in_true_proportions(
    browser: Page, make_session: MakeSession, serve: Serve, monkeypatch: pytest.MonkeyPatch, longest: int
) -> None:
    """As radiologists look: the patient's left is on the right; front or head is up."""
    monkeypatch.setattr("ldseg.app.viewer.nifti.LONGEST", longest)  # a larger volume is downsample
    image, labels = a_block_left_in_front_above()
    opened(browser, serve(with_labels(make_session("zyx", image=image), labels)).address)
    downsample = "one voxel in 2" in browser.run("document.getElementById('facts').textContent")
    assert downsample == (longest == 12)
    labels_alone(browser)
    put(browser, "smooth", False)
    seen = close_to(*class_color(0))
    sizes = {"transverse": (6, 8), "coronal": (12, 8), "sagittal": (12, 6)}
    for view, (height, width) in sizes.items():
        put(browser, "view", view)
        mask = found(browser, seen)
        row, column = middle(mask)
        assert row < 0.45
        if view == "sagittal":
            assert abs(column - 0.5) > 0.05
        else:
            assert column > 0.55
        rows, columns = extent(mask)
        assert rows / columns == pytest.approx(height / width, rel=0.12)
    assert browser.complaints == []


def test_the_place_begins_in_the_structures_and_follows_its_sliders(
    browser: Page, make_session: MakeSession, serve: Serve
) -> None:
    image, labels = a_block_left_in_front_above()
    opened(browser, serve(with_labels(make_session("zyx", image=image), labels)).address)
    place = "[0, 1, 2].map((n) => document.getElementById('place-' + n).valueAsNumber)"
    ends = "[0, 1, 2].map((n) => +document.getElementById('place-' + n).max)"
    assert browser.run(ends) == [16, 24, 20]
    assert browser.run(place) == [11, 4, 13]  # the first of the largest slices, from 1
    told = "document.getElementById('readout').textContent"
    browser.wait_for(f"{told}.includes('segmentation')")
    assert "left" in browser.run(told)
    put(browser, "place-2", 1)
    browser.wait_for(f"{told}.includes('background')")
    labels_alone(browser)
    put(browser, "view", "transverse")
    assert not close_to(*class_color(0))(seen_image(browser)).any()
    put(browser, "place-2", 18)
    assert found(browser, close_to(*class_color(0))).any()


def test_a_picture_is_seen_as_it_is_in_its_colors(
    browser: Page, make_session: MakeSession, serve: Serve
) -> None:
    array = np.zeros((3, 24, 32), np.float32)
    array[0, :12, :16] = array[1, :12, 16:] = array[2, 12:, :16] = 255  # red, green; blue, white
    array[:, 12:, 16:] = 255
    plain = (1.0, 0.0, 0.0, 1.0)
    image = Volume(array, (1.0, 1.0), (0.0, 0.0), plain, "yx", "image")
    opened(browser, serve(make_session("yx", channels=3, image=image)).address)
    put(browser, "see-labels", False)
    whole = found(browser, lambda pixels: pixels.max(-1) > 100)
    rows, columns = extent(whole)
    assert columns / rows == pytest.approx(32 / 24, rel=0.03)
    for color, (up, left) in {
        (255, 0, 0): (True, True),
        (0, 255, 0): (True, False),
        (0, 0, 255): (False, True),
        (255, 255, 255): (False, False),
    }.items():
        row, column = middle(found(browser, close_to(*color)))
        assert (row < 0.5, column < 0.5) == (up, left)
    assert browser.complaints == []


def test_a_film_has_a_slider_for_its_frames(browser: Page, make_session: MakeSession, serve: Serve) -> None:
    session = make_session("tyx")
    labels = np.zeros((5, 18, 14), np.int16)
    labels[:, 2:6, 2:6] = 1
    labels[3, 2:6, 2:6] = 0
    labels[3, 12:16, 8:12] = 2
    opened(browser, serve(with_labels(session, labels)).address)
    labels_alone(browser)
    assert browser.run("document.getElementById('place-0').max") == "5"
    put(browser, "place-0", 4)
    row, column = middle(found(browser, close_to(*class_color(1))))
    assert row > 0.5
    assert column > 0.5
    put(browser, "place-0", 5)
    row, column = middle(found(browser, close_to(*class_color(0))))
    assert row < 0.5
    assert column < 0.5
    put(browser, "play", True)
    browser.wait_for("document.getElementById('place-0').valueAsNumber === 2")
    assert browser.complaints == []


def test_a_2d_image_has_a_bar_of_true_length(browser: Page, make_session: MakeSession, serve: Serve) -> None:
    session = make_session("yx")
    labels = np.zeros(session.image.shape, np.uint8)
    labels[5:15, 4:14] = 1  # 10 mm wide
    opened(browser, serve(with_labels(session, labels)).address)
    labels_alone(browser)
    put(browser, "smooth", False)
    _, columns = extent(found(browser, close_to(*class_color(0))))
    browser.wait_for("!document.getElementById('scale-bar').hidden")
    width = float(browser.run("document.getElementById('scale-bar').style.width").removesuffix("px"))
    length = float(browser.run("document.getElementById('scale-bar').textContent").removesuffix(" mm"))
    assert width / length == pytest.approx(columns / 10, rel=0.05)
    assert browser.complaints == []


@pytest.mark.parametrize("group", ["probability", "uncertainty", "disagreement", "sample", "variation"])
def test_each_layer_is_seen_over_the_image(
    browser: Page, make_session: MakeSession, serve: Serve, group: str
) -> None:
    session = make_session("yx")
    for name, layer in session.prediction.layers.items():
        layer.array[:] = 0
        if name.startswith(group) and name != "probability-2":
            layer.array[:6, :8] = 1 if layer.colors in ("classes", "share") else layer.high
    opened(browser, serve(session).address)
    put(browser, f"see-{group}", True)
    put(browser, f"opacity-{group}", 100)
    row, column = middle(found(browser, lambda pixels: np.ptp(pixels.astype(int), axis=-1) > 60))
    assert row < 0.5
    assert column < 0.5
    put(browser, f"opacity-{group}", 0)
    for _ in range(40):
        if not (np.ptp(seen_image(browser).astype(int), axis=-1) > 60).any():
            break
    else:
        raise AssertionError("it does not go away")
    assert browser.complaints == []


def test_from_the_command_to_more_samples_without_a_network(
    browser: Page, make_model: MakeModel, tmp_path: Path
) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (40, 48)).astype(np.uint8)
    Image.fromarray(grey).save(tmp_path / "<b>case.png")
    # A suite that was started in the background ignores the interrupt, and so would what it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    words = [tmp_path / "<b>case.png", "-m", make_model(), "--no-browser", "--samples", 3, "--device", "cpu"]
    command = [sys.executable, "-m", "ldseg", "view", *map(str, words)]
    with ExitStack() as stack:
        viewer = stack.enter_context(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        stack.callback(viewer.kill)  # or a failure would wait for it for ever
        assert viewer.stdout is not None
        address = viewer.stdout.readline().strip()
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{43}/", address)
        opened(browser, address)
        assert browser.run("document.getElementById('name').textContent") == "<b>case"
        assert "3 samples" in browser.run("document.getElementById('facts').textContent")
        before = browser.run("document.getElementById('structures').textContent")
        browser.run("document.getElementById('more').click()")
        browser.wait_for("document.getElementById('facts').textContent.includes('7 samples')")
        assert browser.run("document.getElementById('structures').textContent") != before
        assert browser.run("document.getElementById('which-sample').max") == "6"
        put(browser, "which-sample", 6)
        browser.wait_for("document.getElementById('readout').textContent.includes('sample 7')")
        assert browser.run("document.getElementById('see-sample').checked")
        viewer.send_signal(signal.SIGINT)
        assert viewer.wait(60) == 0
        assert viewer.stderr is not None
        assert "Traceback" not in viewer.stderr.read()
    assert browser.complaints == []
    elsewhere = [one for one in browser.addresses if not one.startswith((address, "data:", "blob:"))]
    assert elsewhere == []


def test_the_next_case_is_a_key_or_a_button_away(
    browser: Page, make_session: MakeSession, serve: Serve
) -> None:
    opened(browser, serve(*(make_session(name=name) for name in ("one", "two", "three"))).address)
    name = "document.getElementById('name').textContent"
    put(browser, "opacity-labels", 70)
    browser.run("document.getElementById('next').click()")
    browser.wait_for(f"{name} === 'two' && document.getElementById('waiting').hidden")
    browser.run("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'n', bubbles: true}))")
    browser.wait_for(f"{name} === 'three' && document.getElementById('waiting').hidden")
    assert browser.run("document.getElementById('next').disabled")
    assert browser.run("document.getElementById('opacity-labels').value") == "70"
    browser.run("document.dispatchEvent(new KeyboardEvent('keydown', {key: 'p', bubbles: true}))")
    browser.wait_for(f"{name} === 'two'")
    put(browser, "case", 0)
    browser.wait_for(f"{name} === 'one' && document.getElementById('waiting').hidden")
    browser.wait_for("document.getElementById('readout').textContent.includes('segmentation')")
    assert browser.complaints == []


def test_a_case_that_cannot_be_shown_says_why_and_the_others_stay_in_reach(
    browser: Page, make_session: MakeSession, serve: Serve
) -> None:
    server = serve(make_session(name="one"), make_session(name="two"), make_session(name="three"))
    opening = server.cases._open_case

    def open_case(number: int, on_planes: OnPlanes) -> Session:
        if number == 1:
            raise InputError("two.png: is damaged; save it again")
        return opening(number, on_planes)

    server.cases._open_case = open_case
    opened(browser, server.address)
    browser.run("document.getElementById('next').click()")
    browser.wait_for(
        "document.getElementById('problem').textContent === 'two.png: is damaged; save it again'"
    )
    browser.run("document.getElementById('next').click()")
    browser.wait_for(
        "document.getElementById('name').textContent === 'three' && document.getElementById('waiting').hidden"
    )
    assert browser.run("document.getElementById('problem').hidden")


def test_a_reference_has_its_own_color_and_goes_when_it_is_switched_off(
    browser: Page, make_session: MakeSession, serve: Serve
) -> None:
    reference = np.zeros((20, 24), np.int16)
    reference[:8, :8] = 1
    session = with_labels(make_session(references=[reference]), np.zeros((20, 24), np.int16))
    opened(browser, serve(session).address)
    put(browser, "opacity-image", 0)
    put(browser, "smooth", False)
    outline = close_to(*reference_color(0))
    row, column = middle(found(browser, outline))
    assert row < 0.5
    assert column < 0.5
    browser.wait_for("document.getElementById('readout').textContent.includes('reference')")
    assert "0.000" in browser.run("document.getElementById('structures').textContent")
    put(browser, "see-reference", False)
    assert not all(outline(seen_image(browser)).any() for _ in range(20))
    assert browser.complaints == []


def test_structures_are_surfaces_in_space(browser: Page, make_session: MakeSession, serve: Serve) -> None:
    image, labels = a_block_left_in_front_above()
    opened(browser, serve(with_labels(make_session("zyx", image=image), labels)).address)
    put(browser, "view", "in space")
    surface = found(browser, lambda pixels: np.ptp(pixels.astype(int), axis=-1) > 60)
    assert surface.mean() < 0.2
    put(browser, "see-labels", False)
    put(browser, "surfaces", False)
    whole = found(browser, lambda pixels: pixels.max(-1) > 60)
    assert whole.sum() > 2 * surface.sum()
    assert browser.complaints == []


def test_the_values_under_the_pointer_are_told(
    browser: Page, make_session: MakeSession, serve: Serve
) -> None:
    image = an_image("yx")
    image.array[:, :10] = 7.5
    session = with_labels(make_session("yx", image=image), np.zeros((20, 24), np.int16))
    session.prediction.layers["labels"].array[:10] = 2
    opened(browser, serve(session).address)
    told = "document.getElementById('readout').textContent"
    for share, text in ((0.25, "7.5"), (0.75, "background")):
        browser.run(
            "(() => { const scene = document.getElementById('scene'), box = scene.getBoundingClientRect();"
            " scene.dispatchEvent(new PointerEvent('pointermove', {clientX: box.left + box.width / 2,"
            f" clientY: box.top + box.height * {share}}})); }})()"
        )
        browser.wait_for(f"{told}.includes('{text}')")
    assert "nats" in browser.run(told)
    assert "%" in browser.run(told)
