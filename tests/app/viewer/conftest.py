"""Images of each kind, and viewers of them that are served."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from ldseg.app.viewer.server import ViewerServer
from ldseg.app.viewer.session import Session
from ldseg.data.volume import Volume
from ldseg.inference.predictor import Predictor
from ldseg.settings import SamplingSettings

MakeModel = Callable[..., Path]
MakeSession = Callable[..., Session]
Serve = Callable[[Session], ViewerServer]
SHAPES = {"yx": (20, 24), "zyx": (9, 12, 15), "tyx": (5, 18, 14)}


def an_image(axes: str, channels: int = 1) -> Volume:
    """Noise in an odd shape with unequal steps."""
    shape = SHAPES[axes]
    array = np.random.default_rng(0).normal(size=(channels, *shape)).astype(np.float32)
    spacing = {"yx": (1.5, 1.0), "zyx": (2.0, 1.0, 1.5), "tyx": (0.04, 1.0, 1.0)}[axes]
    direction = tuple(np.eye(len(shape)).ravel().tolist())
    return Volume(array, spacing, (0.0,) * len(shape), direction, axes, "image")  # type: ignore[arg-type]


@pytest.fixture
def make_session(make_model: MakeModel) -> MakeSession:
    """make_session(axes, baseline, channels, samples, image) -> a session of a small untrained model."""

    def make(
        axes: str = "yx",
        baseline: str = "none",
        channels: int = 1,
        samples: int = 3,
        image: Volume | None = None,
    ) -> Session:
        predictor = Predictor.load(make_model(axes, baseline, "default", channels), "cpu")
        shown = an_image(axes, channels) if image is None else image
        return Session(predictor, shown, "a", SamplingSettings("ddim", 2, samples), 3, "a.png")

    return make


@contextmanager
def served(session: Session) -> Iterator[ViewerServer]:
    """A server that answers in a thread until the block ends."""
    with ViewerServer() as server:
        thread = threading.Thread(target=server.show, args=(session,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
        session.end()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """serve(session) -> its server, until the test ends."""
    with ExitStack() as stack:
        yield lambda session: stack.enter_context(served(session))
