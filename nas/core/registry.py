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
        self._aliases: dict[str, str] = {}
        self._load = load

    def add(self, name: str, item: T) -> T:
        """Register ``item``; a name that is taken raises :class:`ConfigError`."""
        check_named(self.what, name)
        if not name or any(c.isspace() for c in name):
            raise ConfigError(f"{self.what} name {name!r}: a name is one word without spaces")
        if name in self._items:
            raise ConfigError(f"{self.what} '{name}' is registered already; choose another name")
        self._items[name] = item
        return item

    def replace(self, name: str, item: T) -> T:
        """Register ``item`` in the place of one of that name, for names that say what the item is."""
        self._items[name] = item
        return item

    def alias(self, other: str, name: str) -> None:
        """Let ``other`` name the item ``name`` too; it is not listed, and gives way to an item of that name."""
        self._aliases[other] = name

    def named(self, text: str) -> str | None:
        """Return the name of the item that ``text`` means, in any case and with ``-`` for ``_``; None for no item."""
        self._ensure()
        if text in self._items:
            return text
        folded = text.casefold().replace("-", "_")
        for known in self.names():
            if known.casefold().replace("-", "_") == folded:
                return known if known in self._items else self._aliases[known]
        return None

    def names(self) -> list[str]:
        """Return all names, aliases too."""
        self._ensure()
        return sorted({*self._items, *self._aliases})

    def __getitem__(self, name: str) -> T:
        self._ensure()
        try:
            return self._items[name if name in self._items else self._aliases[name]]
        except KeyError:
            raise ConfigError(unknown(self.what, name, self.names())) from None

    def __contains__(self, name: object) -> bool:
        self._ensure()
        return name in self._items or name in self._aliases

    def __iter__(self) -> Iterator[str]:
        self._ensure()
        return iter(sorted(self._items))

    def _ensure(self) -> None:
        # forgotten before it is called: what it imports may look names up
        load, self._load = self._load, None
        if load is not None:
            load()


def check_named(what: str, name: object) -> None:
    """Refuse a decorator that registers a ``what`` and was written without brackets."""
    if not isinstance(name, str):
        called = getattr(name, "__name__", repr(name))
        raise ConfigError(f"{what} '{called}': write its decorator with a name, such as @register(\"{called}\")")
