"""What ``--start-from`` names: networks that are points of the space ``stages``, or files of architectures."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from nas.errors import ConfigError, unknown
from nas.files import read_json
from nas.space import Space
from nas.types import Architecture


def start_architecture(text: str) -> Architecture:
    """Return the architecture of a named network or a file; what is neither raises :class:`ConfigError`."""
    if "/" in text or text.endswith(".json"):
        return Architecture.from_json(read_json(Path(text)))
    plans = import_module("search_spaces.stages").PLANS
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
        space.describe(architecture)
        found.append(architecture)
    return found
