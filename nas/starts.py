"""What ``--start-from`` names: networks that are points of the space ``stages``, or files of architectures."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from nas.errors import ConfigError, SpaceError, unknown
from nas.files import read_json
from nas.space import Space
from nas.types import Architecture


def is_path(text: str) -> bool:
    """Return whether ``text`` can be no name; a name wins over a file of that name, ``./NAME`` is the file."""
    return "/" in text or text.endswith(".json")


def start_architecture(text: str) -> Architecture:
    """Return the architecture of a named network or a file; what is neither raises :class:`ConfigError`."""
    plans = import_module("search_spaces.stages").PLANS
    if is_path(text) or (text not in plans and Path(text).is_file()):
        data = read_json(Path(text))
        try:
            return Architecture.from_json(data)
        except SpaceError as error:
            raise ConfigError(f"--start-from {text}: {error}") from None
    if text not in plans:
        raise ConfigError(f"--start-from: {unknown('network of the space stages', text, plans)}")
    found: Architecture = import_module("search_spaces.spaces.stages").start_architecture(text)
    return found


def start_architectures(texts: Sequence[str], space: Space) -> list[Architecture]:
    """Return the architectures that ``texts`` name; each must be a point of ``space``."""
    found = []
    for text in texts:
        architecture = start_architecture(text)
        if architecture.space != space.name:
            raise ConfigError(
                f"--start-from {text}: it is of space '{architecture.space}', the search of '{space.name}'"
            )
        try:
            space.describe(architecture)
        except SpaceError as error:
            raise ConfigError(f"--start-from {text}: {error}") from None
        found.append(architecture)
    return found
