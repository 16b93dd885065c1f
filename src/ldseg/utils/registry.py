"""Registries of the exchangeable parts, the one place where a name in the settings becomes a part.

A name is that of an entry, or `package.module:NAME`, code outside of ldseg. Importing it runs its module, so
that a name is as good as a program. Only `admit` imports, and only what its caller was allowed; a registry
gives out nothing else, so that a name in a file that nobody admitted stays a name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, TypeVar, cast

from ldseg.errors import InputError

Entry = TypeVar("Entry")

_OUTSIDE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*(\.[^\W\d]\w*)*")
_REMEDY = "if you trust it, add --allow-code (in Python: allow_code=True)"
_FREE = "options"
"""Section of the settings that holds no names of parts, but what a part makes of them."""
_admitted: dict[str, Any] = {}
"""Objects outside of ldseg that were allowed in this process, by name."""


class Registry(Mapping[str, Entry]):
    """The entries that one setting can name, in the order in which messages list them."""

    def __init__(self, setting: str, entries: dict[str, Entry]) -> None:
        """`setting` is the setting that holds the name, e.g. "model.denoiser.architecture"."""
        self.setting = setting
        self._entries = entries

    def find(self, name: str) -> Entry:
        """Return the entry of this name, or the object outside of ldseg that it names.

        Raises:
            ValueError: there is none, or it was not admitted.
        """
        if name in _admitted:
            return cast(Entry, _admitted[name])
        if _OUTSIDE.fullmatch(name):
            raise ValueError(f"{self.setting} is {name}, code outside of ldseg; {_REMEDY}")
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


def admit(named: Any, allow_code: bool, where: str) -> None:
    """Import what `named` (a name, or dicts and lists of settings) names outside of ldseg, if that is
    allowed.

    What was admitted once stays so in this process. `where` begins messages, e.g. with the file's name.

    Raises:
        InputError: it is not allowed, or cannot be imported.
    """
    names = sorted(set(_outside_names(named)) - _admitted.keys())
    if names and not allow_code:
        raise InputError(f"{where}: names code outside of ldseg, {', '.join(names)}; {_REMEDY}")
    for name in names:
        _admitted[name] = _import(name, where)


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


def _import(name: str, where: str) -> Any:
    """Return the object `package.module:NAME`. Raises InputError if there is none."""
    module, _, attributes = name.partition(":")
    try:
        found: Any = import_module(module)
        for attribute in attributes.split("."):
            found = getattr(found, attribute)
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"{where}: {name} cannot be imported ({error}); install its package, or add its folder to "
            "PYTHONPATH"
        ) from error
    return found
