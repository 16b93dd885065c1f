"""Registries of the exchangeable parts: names that settings use, and what they stand for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeVar

Entry = TypeVar("Entry")


class Registry(Mapping[str, Entry]):
    """The entries that one setting can name, in the order in which messages list them."""

    def __init__(self, setting: str, entries: dict[str, Entry]) -> None:
        """`setting` is the setting that holds the name, e.g. "model.denoiser.architecture"."""
        self.setting = setting
        self._entries = entries

    def find(self, name: str) -> Entry:
        """Return the entry of this name.

        Raises:
            ValueError: there is none.
        """
        if name not in self._entries:
            raise ValueError(f"{self.setting} is {name!r}; choose one of {', '.join(self._entries)}")
        return self._entries[name]

    def __getitem__(self, name: str) -> Entry:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)
