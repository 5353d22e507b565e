"""Registries: a user names things, the toolkit finds them; two things never share a name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from nas.errors import ConfigError, unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """A mapping from names to things of one kind that refuses duplicates and suggests the nearest name.

    ``load`` is called once, before the first look-up: it imports the modules that register the built-in things.
    """

    def __init__(self, what: str, load: Callable[[], object] | None = None) -> None:
        self.what = what
        self._items: dict[str, T] = {}
        self._load = load

    def add(self, name: str, item: T) -> T:
        """Register ``item``; a name that is taken raises :class:`ConfigError`."""
        if not name or any(c.isspace() for c in name):
            raise ConfigError(f"{self.what} name {name!r}: a name is one word without spaces")
        if name in self._items:
            raise ConfigError(f"{self.what} '{name}' is registered already; choose another name")
        self._items[name] = item
        return item

    def __getitem__(self, name: str) -> T:
        self._ensure()
        try:
            return self._items[name]
        except KeyError:
            raise ConfigError(unknown(self.what, name, self._items)) from None

    def __contains__(self, name: object) -> bool:
        self._ensure()
        return name in self._items

    def __iter__(self) -> Iterator[str]:
        self._ensure()
        return iter(sorted(self._items))

    def _ensure(self) -> None:
        load, self._load = self._load, None
        if load is not None:
            load()
