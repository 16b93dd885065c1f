"""Argument parser of a command: jsonargparse's, with stricter checks.

jsonargparse keeps the last value of an option that is given several times and drops the others silently. Here
the second is an error, whichever of its names is used. Switches may be repeated.
"""

from __future__ import annotations

import argparse
import sys
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import jsonargparse
import yaml

from ldseg.errors import InputError

_MISSING, _UNKNOWN = "the following arguments are required: ", "unrecognized arguments: "


class ArgumentParser(jsonargparse.ArgumentParser):
    """A parser that rejects an option given twice and abbreviated option names."""

    def __init__(self, prog: str, usage: str, description: str) -> None:
        super().__init__(
            prog=prog,
            usage=usage,
            description=description,
            formatter_class=_Formatter,
            exit_on_error=False,
            allow_abbrev=False,
        )
        self._given: dict[str, str] = {}

    def add_full_help(self) -> None:
        """Add `--help-all`, and leave rare options out of `--help`, where there are any."""
        if self._rare():
            text = f"show all options, {len(self._rare())} more: every setting of the sections"
            self.add_argument("--help-all", action=_HelpAll, help=text)

    def format_help(self, formatter: argparse.HelpFormatter | None = None) -> str:
        """Return the help without rare options, which are settings without a short name."""
        rare = self._rare()
        texts = [action.help for action in rare]
        for action in rare:
            action.help = argparse.SUPPRESS
        try:
            return super().format_help(formatter)
        finally:
            for action, text in zip(rare, texts, strict=True):
                action.help = text

    def format_full_help(self) -> str:
        """Return the help of all options."""
        return super().format_help()

    def _rare(self) -> list[argparse.Action]:
        return [action for action in self._actions if getattr(action, "rare", False)]

    def parse_args(self, args: Any = None, *further: Any, **named: Any) -> Any:
        """Return the arguments. Raises argparse.ArgumentError for what cannot be understood."""
        self._given = {}
        try:
            return super().parse_args(args, *further, **named)
        except argparse.ArgumentError as error:
            raise argparse.ArgumentError(None, self._explain(str(error))) from error

    def _explain(self, message: str) -> str:
        """Return a message with missing arguments as they are typed, and the option that an unknown one is
        most like."""
        if message.startswith(_MISSING):
            names = message.removeprefix(_MISSING).split(", ")
            typed: list[str] = []
            for action in (one for one in self._actions if one.dest in names):
                value = action.metavar or "|".join(map(str, action.choices or (action.dest.upper(),)))
                typed.append(" ".join((*action.option_strings[:1], str(value))))
            return f"missing: {', '.join(typed)}"
        if message.startswith(_UNKNOWN):
            options = [name for action in self._actions for name in action.option_strings]
            alike = get_close_matches(message.removeprefix(_UNKNOWN).split()[0].split("=")[0], options, 1)
            return f"{message}; did you mean {alike[0]}?" if alike else message
        return message

    def _get_values(self, action: argparse.Action, arg_strings: list[str]) -> Any:
        """argparse calls this once for each argument that it meets, before the value is stored."""
        is_path = action.metavar == "MODEL" or "Path" in str(getattr(action, "_typehint", ""))
        if is_path and "" in arg_strings:  # of a variable that is not set; it would be the folder one is in
            raise argparse.ArgumentError(action, "is empty; give a path")
        one_value = action.nargs in (None, "?", 1) and "append" not in type(action).__name__.lower()
        if action.option_strings and arg_strings and one_value:
            value = " ".join(arg_strings)
            if action.dest in self._given:
                given = f"given twice ({self._given[action.dest]} and {value})"
                raise argparse.ArgumentError(action, f"{given}; give it once")
            self._given[action.dest] = value
            if action.dest == "config":
                refuse_repeated_keys(Path(value))
        return super()._get_values(action, arg_strings)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]


class _HelpAll(argparse.Action):
    """`--help-all`: print the help of all options and leave."""

    def __init__(self, option_strings: list[str], dest: str, help: str) -> None:
        del dest  # nothing is stored
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: Any, *_: Any) -> None:
        sys.stdout.write(parser.format_full_help())
        parser.exit()


class _Formatter(argparse.RawDescriptionHelpFormatter, jsonargparse.DefaultHelpFormatter):
    """A formatter that keeps the line breaks of the example and prints each argument's help unchanged."""

    def _get_help_string(self, action: argparse.Action) -> str:
        return action.help or ""


def refuse_repeated_keys(file: Path) -> None:
    """Raise InputError if a key occurs twice in a YAML file; other files are left to their reader."""
    try:
        root = yaml.compose(file.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return
    pending: list[tuple[yaml.Node | None, str]] = [(root, "")]
    while pending:
        node, place = pending.pop()
        if not isinstance(node, yaml.MappingNode):
            continue
        keys = [f"{place}{key.value}" for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise InputError(f"{file}: {key} is given twice; give it once")
        pending += [(value, f"{key}.") for key, (_, value) in zip(keys, node.value, strict=True)]
