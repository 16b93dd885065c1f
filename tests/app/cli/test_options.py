"""Settings as arguments: each field is there, read as it is written, and explained by its docstring."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Literal, get_type_hints

import jsonargparse
import pytest

from ldseg.app.cli.main import main
from ldseg.app.cli.options import add_sampler, add_section, field_notes, given_section
from ldseg.data.cases import DataOptions
from ldseg.diffusion.samplers import SAMPLERS
from ldseg.planning.settings import PlanSettings
from ldseg.settings import AugmentSettings, LossSettings, ModelSettings, SamplingSettings, TrainingSettings


@dataclass(frozen=True)
class Inner:
    widths: tuple[int, ...] = ()
    """Channels
    per level."""
    strides: tuple[tuple[int, ...], ...] | None = None


@dataclass(frozen=True)
class Outer:
    inner: Inner
    rate: float = 1.0
    pattern: str | None = None
    """A regular expression."""
    fold: int | Literal["all"] = 0
    on: bool = False


def read(*words: str) -> dict[str, Any]:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    add_section(parser, Outer, "outer", {"outer.rate": "--rate"})
    return given_section(parser.parse_args(list(words)), "outer")


@pytest.mark.parametrize(
    "words, expected",
    [
        ([], {}),
        (["--outer.rate", "1e-3"], {"rate": 1e-3}),
        (["--rate=2"], {"rate": 2}),
        (["--outer.fold", "all"], {"fold": "all"}),
        (["--outer.fold", "3"], {"fold": 3}),
        (["--outer.on", "true"], {"on": True}),
        (["--outer.pattern", r"[a-c],(\d+)"], {"pattern": r"[a-c],(\d+)"}),
        (["--outer.pattern", "3"], {"pattern": "3"}),
        (["--outer.inner.widths", "8,16"], {"inner": {"widths": [8, 16]}}),
        (["--outer.inner.widths", "[8, 16]"], {"inner": {"widths": [8, 16]}}),
        (["--outer.inner.widths", "8"], {"inner": {"widths": [8]}}),
        (["--outer.inner.strides", "[2,2],[1,2]"], {"inner": {"strides": [[2, 2], [1, 2]]}}),
        (["--outer.inner.strides", "null"], {"inner": {"strides": None}}),
        (["--rate", "fast"], {"rate": "fast"}),
    ],
)
def test_only_what_is_given_is_there_and_in_its_own_type(words: list[str], expected: dict[str, Any]) -> None:
    assert read(*words) == expected


def test_notes_are_the_docstrings_of_the_fields() -> None:
    assert field_notes(Inner) == {"widths": "Channels per level."}
    assert field_notes(Outer) == {"pattern": "A regular expression."}


@pytest.mark.parametrize(
    "kind",
    [
        DataOptions,
        PlanSettings,
        ModelSettings,
        LossSettings,
        AugmentSettings,
        TrainingSettings,
        SamplingSettings,
    ],
)
def test_every_field_of_every_section_can_be_given(kind: type) -> None:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    add_section(parser, kind, "s")
    text = parser.format_help()

    def visit(one: type, path: str) -> None:
        hints = get_type_hints(one)
        for field in fields(one):
            place = f"{path}.{field.name}"
            if is_dataclass(hints[field.name]):
                visit(hints[field.name], place)  # type: ignore[arg-type]
            else:
                assert f"--{place} " in text

    visit(kind, "s")


def test_help_names_every_sampler() -> None:
    parser = jsonargparse.ArgumentParser()
    add_sampler(parser)
    words = parser.format_help().replace(",", " ").split()
    assert all(name in words for name in SAMPLERS)


def test_classes_are_named_on_the_command_line() -> None:
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    add_section(parser, DataOptions, "data", {"data.classes": "--classes"})
    for words in ("liver=1, tumour=2", '{"liver": 1, "tumour": 2}'):
        given = given_section(parser.parse_args(["--classes", words]), "data")
        assert given == {"classes": {"liver": 1, "tumour": 2}}


def test_help_shows_common_options_and_help_all_every_one(capsys: pytest.CaptureFixture[str]) -> None:
    texts: list[str] = []
    for word in ("--help", "--help-all"):
        with pytest.raises(SystemExit) as left:
            main(["train", word])
        assert left.value.code == 0
        texts.append(capsys.readouterr().out)
    short, full = texts
    assert len(short.splitlines()) < 130
    for common in ("--minutes", "--folds", "--continue", "--from", "--until-flat", "--axes", "--help-all"):
        assert common in short, common
        assert common in full, common
    for rare in ("--model.latent_channels", "--training.warmup", "--data.geometry_tolerance"):
        assert rare not in short, rare
        assert rare in full, rare
