"""Settings that are declared once: a field's default, check, flag, help and JSON all follow from its declaration.

A configuration is a frozen dataclass that inherits :class:`Config`. Its fields are made by :func:`option`, or are
configurations themselves, whose settings count as its own: in JSON, in TOML and on the command line there is one flat
list of names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cache
from typing import Any, Self, TypeAlias, TypeVar, get_type_hints

from nas.core.values import Json, freeze
from nas.errors import ConfigError, unknown

ConfigClass: TypeAlias = Any
"""A class that inherits :class:`Config`."""
F = TypeVar("F", bound=Callable[..., object])
_KINDS = {int: "an integer", float: "a number", str: "text", bool: "true or false", dict: "a table of names and values"}


def _cached(function: F) -> F:
    """Remember what ``function`` returns for each class; mypy does not take a class of configurations for hashable."""
    return cache(function)  # type: ignore[return-value]


MOST_THREADS = 4_096
"""Of a process; also the most CPUs that one may be given."""
MOST_WORKERS = 100_000
MOST_SEEDS = 10_000
"""Trainings of one network."""
MOST_DEPTH = 10_000
"""Cells of a stage."""
MOST_SIDE = 16_384
"""Pixels of an image's side."""


@dataclass(frozen=True)
class Setting:
    """One value that a user may set."""

    name: str
    """In files and journals."""
    attribute: str
    """Of the configuration that has it."""
    kind: type
    """Of its value where it is set: int, float, str, bool, dict or tuple (of text)."""
    default: object
    """None also where it depends on other settings."""
    help: str
    least: float | None
    """The smallest number allowed."""
    most: float
    """The largest number allowed."""
    metavar: str
    flag: str
    """On the command line, with its dashes."""
    aliases: tuple[str, ...]
    """Earlier names in files; they are read, never written, and no help shows their flags."""
    tables: bool
    """Whether a table of names and values may stand in place of text."""

    def check(self, value: object) -> None:
        """Raise :class:`ConfigError` where ``value`` is not what this setting takes."""
        if value is None and (self.default is None or self.default is MISSING):
            return
        fits = type(value) is self.kind or (self.kind is float and type(value) is int)
        if not fits and not (self.tables and isinstance(value, dict)):
            wanted = "text or a table" if self.tables else _KINDS.get(self.kind, "a list of files")
            raise ConfigError(f"{self.flag} must be {wanted}, found {value!r}")
        if self.least is not None and isinstance(value, int | float) and value < self.least:
            raise ConfigError(f"{self.flag} must be at least {self.least}, found {value}")
        if any("\0" in v for v in (value if isinstance(value, tuple) else [value]) if isinstance(v, str)):
            raise ConfigError(f"{self.flag} must be text without NUL characters, found {value!r}")
        if type(value) is float and not math.isfinite(value):
            raise ConfigError(f"{self.flag} must be a finite number, found {value}")
        if isinstance(value, int | float) and value > self.most:  # it may have more digits than Python prints
            raise ConfigError(f"{self.flag} must be at most {self.most:,}")
        if isinstance(value, tuple) and not all(isinstance(v, str) for v in value):
            raise ConfigError(f"{self.flag} must be a list of files, found {value!r}")
        if isinstance(value, dict):
            for name, v in value.items():
                if not _is_plain(v):
                    rule = "text, a finite number, true or false, or a list of them"
                    raise ConfigError(f"{self.flag} {name} must be {rule}, found {v!r}")


def option(
    default: object,
    text: str,
    *,
    name: str = "",
    least: float | None = None,
    most: float | None = None,
    metavar: str = "",
    flag: str = "",
    aliases: tuple[str, ...] = (),
    read: Callable[[Any], object] | None = None,
    write: Callable[[Any], object] | None = None,
) -> Any:
    """Return the field of a setting with the help ``text``; :data:`MISSING` for ``default`` makes it required.

    ``name`` and ``flag`` are the field's own where they are left out. ``read`` makes the value out of JSON (text or a
    table) and ``write`` JSON out of the value, for values that are no plain data.
    """
    metadata: Json = {"help": text, "name": name, "least": least, "most": most, "metavar": metavar, "flag": flag}
    metadata |= {"aliases": aliases, "read": read, "write": write}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


class Config:
    """What configurations have in common: the check when one is made, and their JSON."""

    def __post_init__(self) -> None:
        for f, setting in _own(type(self)):
            if f.metadata["read"] is None:
                setting.check(getattr(self, f.name))

    def to_json(self) -> Json:
        """Return the settings as plain data, without what is unset."""
        found: Json = {}
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if isinstance(value, Config):
                found |= value.to_json()
            elif f.metadata and value is not None and value is not False and value not in ({}, ()):
                write = f.metadata["write"]
                plain = write(value) if write is not None else list(value) if isinstance(value, tuple) else value
                found[f.metadata["name"] or f.name] = plain
        return found

    @classmethod
    def from_json(cls, data: Mapping[str, object], where: str = "config") -> Self:
        """Build a configuration from plain data; unknown names and wrong types raise :class:`ConfigError`."""
        given = by_name(cls, data, where)
        try:
            return _built(cls, given)  # type: ignore[no-any-return]
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None


def by_name(config: ConfigClass, data: Mapping[str, object], where: str) -> Json:
    """Return ``data`` with lists as tuples and earlier names replaced; an unknown name raises :class:`ConfigError`."""
    known = {setting.name: setting.name for setting in settings_of(config)}
    known |= {alias: setting.name for setting in settings_of(config) for alias in setting.aliases}
    found: Json = {}
    for name, value in data.items():
        if name not in known:
            raise ConfigError(f"{where}: {unknown('setting', str(name), set(known.values()))}")
        frozen = {n: freeze(v) for n, v in value.items()} if isinstance(value, Mapping) else freeze(value)
        found[known[name]] = frozen
    return found


@_cached
def settings_of(config: ConfigClass) -> tuple[Setting, ...]:
    """Return all settings of a class of configurations, those of its parts among them, in the order of their fields."""
    found: list[Setting] = []
    own = {f.name: setting for f, setting in _own(config)}
    for f in fields(config):
        part = _part(config, f)
        found += settings_of(part) if part is not None else [own[f.name]] if f.name in own else []
    return tuple(found)


def parts_of(config: ConfigClass) -> Iterator[tuple[str, type[Config]]]:
    """Yield the attribute and the class of each part of a class of configurations."""
    for f in fields(config):
        if (part := _part(config, f)) is not None:
            yield f.name, part


def _built(config: ConfigClass, given: Json) -> Any:
    arguments: Json = {}
    for f in fields(config):
        part = _part(config, f)
        name = f.metadata.get("name") or f.name
        if part is not None:
            arguments[f.name] = _built(part, given)
        elif f.metadata and (value := given.get(name)) is not None:
            read = f.metadata["read"]
            arguments[f.name] = value if read is None else read(value)
        elif f.metadata and f.default is MISSING and f.default_factory is MISSING:
            raise ConfigError(f"setting '{f.name}' is missing")
    return config(**arguments)


_hints = _cached(get_type_hints)


def _part(config: ConfigClass, f: Field[Any]) -> type[Config] | None:
    hint = _hints(config)[f.name]
    return hint if isinstance(hint, type) and issubclass(hint, Config) else None


@_cached
def _own(config: ConfigClass) -> tuple[tuple[Field[Any], Setting], ...]:
    """Return the fields of a class that are settings themselves."""
    found = []
    for f in fields(config):
        if not f.metadata:
            continue
        m, name = f.metadata, f.metadata["name"] or f.name
        if f.default_factory is not MISSING:
            default = f.default_factory()
            kind = type(default)
        else:
            default = f.default
            kind = next((k for k in (float, int, bool, tuple) if k.__name__ in str(f.type)), str)
        flag = m["flag"] or "--" + name.replace("_", "-")
        metavar = m["metavar"] or ("N" if kind is int else "NAME")
        tables = m["read"] is not None
        most = m["most"] if m["most"] is not None else 2**63 - 1 if kind is int else math.inf
        setting = Setting(name, f.name, kind, default, m["help"], m["least"], most, metavar, flag, m["aliases"], tables)
        found.append((f, setting))
    return tuple(found)


def _is_plain(value: object) -> bool:
    if isinstance(value, tuple):
        return all(_is_plain(v) for v in value)
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
