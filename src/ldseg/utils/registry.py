"""Registries of the exchangeable parts, the one place where a name in the settings becomes a part.

A name is that of an entry, or `package.module:NAME`, an object outside of ldseg. That is imported, so that
a name is as good as a program: whoever reads names from a file or an option calls `require_allowed` first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, TypeVar, cast

from ldseg.errors import InputError

Entry = TypeVar("Entry")

_OUTSIDE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_FREE = "options"
"""Section of the settings that holds no names of parts, but what a part makes of them."""


class Registry(Mapping[str, Entry]):
    """The entries that one setting can name, in the order in which messages list them."""

    def __init__(self, setting: str, entries: dict[str, Entry]) -> None:
        """`setting` is the setting that holds the name, e.g. "model.denoiser.architecture"."""
        self.setting = setting
        self._entries = entries

    def find(self, name: str) -> Entry:
        """Return the entry of this name, or the object outside of ldseg that it names.

        Raises:
            ValueError: there is none, or the module cannot be imported.
        """
        if _OUTSIDE.fullmatch(name):
            return cast(Entry, _import(name, self.setting))
        if name not in self._entries:
            known = ", ".join(self._entries)
            raise ValueError(f"{self.setting} is {name!r}; choose one of {known}, or package.module:NAME")
        return self._entries[name]

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


def require_allowed(named: Any, allow_code: bool, where: str) -> None:
    """Raise InputError if `named` (a name, or dicts and lists of settings) names code outside of ldseg and
    that is not allowed; `where` begins the message, e.g. with the file's name."""
    names = sorted(set(_outside_names(named)))
    if names and not allow_code:
        raise InputError(
            f"{where}: names code outside of ldseg, {', '.join(names)}, which would be run; "
            "if you trust it, add --allow-code (in Python: allow_code=True)"
        )


def _outside_names(named: Any) -> Iterator[str]:
    """Yield each name of an object outside of ldseg in dicts (keys and values), lists and texts."""
    if isinstance(named, str) and _OUTSIDE.fullmatch(named):
        yield named
    elif isinstance(named, dict):
        for key, value in cast(dict[str, Any], named).items():
            yield from _outside_names(key)
            if key != _FREE:
                yield from _outside_names(value)
    elif isinstance(named, (list, tuple)):
        for value in cast("list[Any]", named):
            yield from _outside_names(value)


def _import(name: str, setting: str) -> Any:
    """Return the object `package.module:NAME`. Raises ValueError if there is none."""
    module, _, attributes = name.partition(":")
    try:
        found: Any = import_module(module)
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(
            f"{setting} is {name!r}, which cannot be imported ({error}); install its package, or add its "
            "folder to PYTHONPATH"
        ) from error
    return found
