"""A saved model that is small, untrained and answers to its noise and its image."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from hypothesis import settings as hypothesis_settings
from tiny_models import make_tiny_model, tiny_plan

from ldseg.planning.plan import Plan

MakeModel = Callable[..., Path]

# How long an example takes says more of what else the machine does than of the code.
hypothesis_settings.register_profile("ldseg", deadline=None)
hypothesis_settings.load_profile("ldseg")


@pytest.fixture
def make_model(tmp_path: Path) -> MakeModel:
    """make_model(axes, baseline, preset, channels) -> the folder of a small untrained model."""
    return partial(make_tiny_model, tmp_path)


@pytest.fixture
def a_plan() -> Plan:
    """The 2D plan of such a model."""
    return tiny_plan()
