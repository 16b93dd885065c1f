"""What is served is there, is what it is said to be, and asks nothing of others."""

from __future__ import annotations

import hashlib
import re
from importlib.resources import files

import pytest

from ldseg.app.viewer.server import FILES

ROOT = files("ldseg.app.viewer")
OWN = [path for path, _ in FILES.values() if path.startswith("page/")]


def read(path: str) -> str:
    return ROOT.joinpath(path).read_text(encoding="utf-8")


def test_every_file_of_the_page_is_served_and_no_other() -> None:
    there = {f"page/{one.name}" for one in ROOT.joinpath("page").iterdir()}
    assert there == set(OWN)


@pytest.mark.parametrize("path", OWN)
def test_the_page_names_no_other_place(path: str) -> None:
    content = read(path)
    assert not re.search(r"https?:|//[a-z]+\.|url\(|@import", content)
    for script in re.findall(r'from "([^"]*)"', content):
        assert script.removeprefix("./") in FILES


def test_no_script_or_style_stands_in_the_page() -> None:
    """The page's policy would not let them run."""
    page = read("page/index.html")
    assert not re.search(r"<style|style=|\son\w+=|<script>", page)
    assert all(name in FILES for name in re.findall(r'(?:src|href)="(?!data:)([^"]*)"', page))


def test_the_library_is_the_one_whose_checksum_is_written_down() -> None:
    content = ROOT.joinpath("niivue/niivue.js").read_bytes()
    (written,) = re.findall(r"`([0-9a-f]{64})`", read("niivue/README.md"))
    assert hashlib.sha256(content).hexdigest() == written
    assert len(content) < 2**20


def test_the_licences_of_all_that_is_bundled_are_beside_it() -> None:
    licences, recipe = read("niivue/LICENSES.txt"), read("niivue/build.sh")
    packages = [one for one in re.findall(r"(@?[\w/-]+)@(\d[\d.]*)", recipe) if one[0] != "esbuild"]
    assert len(packages) >= 7
    for name, version in packages:
        title = "NiiVue" if name == "@niivue/niivue" else name
        assert f"\n{title} {version} (" in licences
    assert licences.count("Copyright (c)") >= len(packages)
