"""What a search begins with: architectures that are named, and those that a space names."""

from __future__ import annotations

from collections.abc import Sequence

from nas.core.files import is_file
from nas.core.plugins import load_plugins
from nas.engine.config import NONE, RunConfig
from nas.engine.prepare import make_prepare
from nas.errors import NAME_SHOWN, ConfigError, SpaceError, printable
from nas.models.resolve import resolve
from nas.searchers import FAMILIES, SEARCHERS
from nas.space import SPACES, Space
from nas.types import Architecture


def start_architecture(text: str, space: str | None = None) -> Architecture:
    """Return the architecture that ``text`` names, of ``space`` where it is a point of several spaces.

    It is what :func:`nas.models.resolve.resolve` finds: a run's best or another of its trials, a network of the space
    ``stages``, a genotype or a file. What is no point of a space raises :class:`ConfigError`.
    """
    shown = _shown(text)
    try:
        model = resolve(text)
    except (ConfigError, SpaceError) as error:
        raise ConfigError(f"--start-from {shown}: {error}") from None
    if model.architecture is not None:
        return model.architecture

    # a named thing is a point of the space, else of the first of its spaces that has it
    points = {} if model.info is None else model.info.points
    if not points:
        known = "a run, an architecture file, a genotype, or a network that is a table of stages, such as resnet18"
        raise ConfigError(f"--start-from {shown}: it is no point of a search space; what is: {known}")
    problems = []
    for name in [space] if space is not None and space in points else points:
        try:
            return points[name]()
        except SpaceError as error:
            problems.append(str(error))
    raise ConfigError(f"--start-from {shown}: {'; '.join(problems)}")


def default_starts(config: RunConfig) -> list[str]:
    """Return the names of what the space begins with: of those that can be built and are within the limits.

    A searcher that is a Python object proposes from the first trial on, as its author meant.
    """
    load_plugins(config.plugins)
    registered = config.searcher.name.partition(":")[0] in (*SEARCHERS, *FAMILIES)
    found = SPACES[config.space.name].with_args(config.space.args) if config.space.name in SPACES else None
    if found is None or not found.starts or not registered:
        return []
    prepare = make_prepare(found, config.data.task(), config.space.width, config.space.depth, budget=config.budget.size)
    limits, names = config.constraints, []
    for name in found.starts:
        one = prepare(found.start(name))
        sizes = (limits.params, one.params), (limits.macs, one.macs)
        if not one.problem and all(not most or (size or 0) <= most for most, size in sizes):
            names.append(name)
    return names


def _shown(text: str) -> str:
    """Return what was named as errors show it: a path whole, a genotype's text cut."""
    return printable(text) if is_file(text) else printable(text, NAME_SHOWN)


def start_architectures(texts: Sequence[str], space: Space) -> list[Architecture]:
    """Return the architectures that ``texts`` name; each must be a point of ``space``. ``none`` alone is none."""
    found: list[Architecture] = []
    if tuple(texts) == (NONE,):
        return found
    for text in texts:
        architecture = space.start(text) if text in space.starts else start_architecture(text, space.name)
        check_point(architecture, space, f"--start-from {_shown(text)}")
        found.append(architecture)
    return found


def check_point(architecture: Architecture, space: Space, said: str) -> None:
    """Raise :class:`ConfigError`, which begins with what the user ``said``, where ``space`` has no such point."""
    if architecture.space != space.name:
        raise ConfigError(f"{said}: it is of space '{architecture.space}', the search of '{space.name}'")
    try:
        space.describe(architecture)
    except SpaceError as error:
        raise ConfigError(f"{said}: {error}") from None
