"""Rules of the plan that names of nnU-Net ask for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from planning_sets import dataset, fingerprint

from ldseg.errors import InputError
from ldseg.planning.heuristics import plan_channels
from ldseg.planning.plan import PlanSettings, make_plan, read_plan, write_plan
from ldseg.utils.serialization import write_json_atomic


@pytest.mark.parametrize(
    "name, scheme",
    [
        ("noNorm", "none"),
        ("zscore", "zscore"),
        ("rescale_to_0_1", "minmax"),
        ("rescale_0_1", "minmax"),
        ("rgb_to_0_1", "range"),
        ("CT", "foreground"),
        ("T2", "zscore"),
    ],
)
def test_the_names_of_nnunet_choose_the_normalisation(name: str, scheme: str) -> None:
    (channel,) = plan_channels(fingerprint(channels=(name,)))
    assert (channel.name, channel.scheme) == (name, scheme)


def test_colours_by_a_name_of_nnunet_have_eight_bits() -> None:
    print_ = fingerprint(channels=("rgb_to_0_1",) * 3, colour=True)
    assert [(one.low, one.high) for one in plan_channels(print_)] == [(0, 255)] * 3
    wide = replace(print_, channels=tuple(replace(one, maximum=4095.0) for one in print_.channels))
    with pytest.raises(InputError, match="rgb_to_0_1 is for 0 to 255; name it rescale_to_0_1"):
        plan_channels(wide)


def test_a_plan_knows_how_channels_were_stored_and_old_plans_do_not(tmp_path: Path) -> None:
    made = make_plan(fingerprint(), dataset(channel_files=True), PlanSettings())
    write_plan(tmp_path / "plan.json", made)
    assert read_plan(tmp_path / "plan.json").stored_in_channel_files is True
    old = {name: value for name, value in vars(made).items() if name != "channel_files"}
    write_json_atomic(tmp_path / "plan.json", old)
    assert read_plan(tmp_path / "plan.json").stored_in_channel_files is None
    colour = replace(
        made, channels=tuple(replace(made.channels[0], name=c) for c in ("Red", "Green", "Blue"))
    )
    assert replace(colour, channel_files=None).stored_in_channel_files is False
