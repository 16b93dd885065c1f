"""Whatever happens to a file's bytes or path, reading gives voxels or one line."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import BYTES, PATHS
from sound_files import KINDS

from ldseg.data.formats import read_volume
from ldseg.data.inputs import find_inputs
from ldseg.errors import InputError

_EXAMPLES = 25


def voxels_or_one_line(path: Path) -> None:
    for kind in ("image", "labels"):
        try:
            volume = read_volume(path, kind)  # type: ignore[arg-type]
        except InputError as problem:
            lines = str(problem).splitlines()
            if len(lines) != 1:
                raise
            continue
        assert volume.array.size > 0
        assert np.isfinite(volume.array).all()
        assert all(step > 0 for step in volume.spacing)


@settings(
    max_examples=_EXAMPLES,
    derandomize=True,  # `make torture` looks for new ones
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(variant=st.integers(0, 20), damage=st.sampled_from(sorted(BYTES)), seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_bytes_are_voxels_or_one_line(
    tmp_path: Path, kind: str, variant: int, damage: str, seed: int
) -> None:
    if kind == "dicom":
        pytest.importorskip("pydicom")
    path = tmp_path / f"{variant}-{damage}-{seed}{KINDS[kind].ending}"
    if path.exists():
        return
    KINDS[kind].write(path, variant)
    broken = sorted(path.iterdir())[seed % len(list(path.iterdir()))] if path.is_dir() else path
    broken.write_bytes(BYTES[damage](broken.read_bytes(), np.random.default_rng(seed)))
    voxels_or_one_line(path)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pipes and devices in folders")
@pytest.mark.parametrize("ending", [kind.ending for kind in KINDS.values() if kind.ending])
@pytest.mark.parametrize("become", PATHS)
def test_what_is_no_file_is_one_line(tmp_path: Path, ending: str, become: str) -> None:
    path = tmp_path / f"b{ending}"
    PATHS[become](path)
    for ask in (lambda: read_volume(path, "image"), lambda: find_inputs([path], 1, "yx")):
        with pytest.raises(InputError) as error:
            ask()
        assert "\n" not in str(error.value)
