"""What ``--start-from`` names: networks of the space ``stages``, published genotypes, or files of architectures."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from nas.errors import ConfigError, SpaceError, unknown
from nas.files import read_json
from nas.space import Space
from nas.types import Architecture

CELL_SPACES = ("darts", "nasnet")
"""The spaces that hold published genotypes; one that is a point of both begins a search of the first."""


def is_path(text: str) -> bool:
    """Return whether ``text`` can be no name; a name wins over a file of that name, ``./NAME`` is the file."""
    return "/" in text or text.endswith(".json")


def start_architecture(text: str, space: str | None = None) -> Architecture:
    """Return the architecture of a named network, a genotype or a file, of ``space`` where it is a point of several.

    What is none of them raises :class:`ConfigError` with the nearest name. Genotypes may be written in any case and
    with ``-`` for ``_``.
    """
    plans = import_module("search_spaces.stages").PLANS
    genotypes = {_folded(name): name for name in import_module("search_spaces.genotypes").GENOTYPES}
    genotype = genotypes.get(_folded(text))
    if is_path(text) or (text not in plans and genotype is None and Path(text).is_file()):
        data = read_json(Path(text))
        try:
            return Architecture.from_json(data)
        except SpaceError as error:
            raise ConfigError(f"--start-from {text}: {error}") from None
    if text in plans:
        found: Architecture = import_module("search_spaces.spaces.stages").start_architecture(text)
        return found
    if genotype is None:
        names = sorted(genotypes.values())
        message = unknown("network of the space stages", text, [*plans, *names])
        raise ConfigError(f"--start-from: {message}, nor a genotype ({', '.join(names)})")
    return _cell_architecture(genotype, [space] if space in CELL_SPACES else CELL_SPACES)


def start_architectures(texts: Sequence[str], space: Space) -> list[Architecture]:
    """Return the architectures that ``texts`` name; each must be a point of ``space``."""
    found = []
    for text in texts:
        architecture = start_architecture(text, space.name)
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


def _folded(name: str) -> str:
    return name.casefold().replace("-", "_")


def _cell_architecture(name: str, spaces: Sequence[str]) -> Architecture:
    genotype = import_module("search_spaces.genotypes").GENOTYPES[name].genotype
    to_architecture = import_module("search_spaces.genotype_formats").to_architecture
    problems = []
    for space in spaces:
        try:
            found: Architecture = to_architecture(genotype, space)
            return found
        except SpaceError as error:
            problems.append(str(error))
    raise ConfigError(f"--start-from {name}: {'; '.join(problems)}")
