"""Images of each kind, and viewers of them that are served."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
from numpy.typing import NDArray
from viewer_helpers import MakeModel, MakeSession, Serve, an_image

from ldseg.app.viewer.case_list import CaseList
from ldseg.app.viewer.model_source import ModelSource
from ldseg.app.viewer.server import ViewerServer
from ldseg.app.viewer.session import Session
from ldseg.data.volume import Volume
from ldseg.inference.predictor import Predictor
from ldseg.settings import SamplingSettings


@pytest.fixture
def make_session(make_model: MakeModel) -> MakeSession:
    """make_session(axes, baseline, channels, samples, image, references, name) -> a session of a small
    untrained model."""

    def make(
        axes: str = "yx",
        baseline: str = "none",
        channels: int = 1,
        samples: int = 3,
        image: Volume | None = None,
        references: Sequence[NDArray[np.integer]] = (),
        name: str = "a",
    ) -> Session:
        predictor = Predictor.load(make_model(axes, baseline, "default", channels), "cpu")
        shown = an_image(axes, channels) if image is None else image
        source = ModelSource(predictor, SamplingSettings("ddim", 2, samples), 3)
        return Session(source, shown, name, "a.png", references)

    return make


@contextmanager
def served(*sessions: Session) -> Iterator[ViewerServer]:
    """A server that answers in a thread until the block ends."""
    cases = CaseList([session.name for session in sessions], lambda number, _: sessions[number])
    with ViewerServer() as server:
        thread = threading.Thread(target=server.show, args=(cases,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
        cases.end()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """serve(session, ...) -> the server of these cases, until the test ends."""
    with ExitStack() as stack:
        yield lambda *sessions: stack.enter_context(served(*sessions))
