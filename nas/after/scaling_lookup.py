"""What NAME, FILE or RUN stands for, as something that can be built anew at any size."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from nas.after.scaling_subjects import CellSubject, FixedSubject, PlanSubject, Subject
from nas.api import load
from nas.errors import ConfigError, unknown
from nas.graph import Graph, cost
from nas.plugins import load_built_in, load_plugin
from nas.run.config import config_of
from nas.run.journal import read
from nas.space import SPACES, Cells
from nas.space.choices import Options
from nas.starts import is_path
from nas.targets import Wanted, run_name
from nas.types import Architecture, Shape, Task
from search_spaces.genotypes import GENOTYPES
from search_spaces.networks.registry import CIFAR, NETWORKS, NetworkInfo
from search_spaces.sized import MEDIUM, build_for
from search_spaces.stages import PLANS
from search_spaces.stages.build import BASE_WIDTH
from search_spaces.stages.plan import choose_plan

PUBLISHED_SIZE = {
    "NASNet-A": ((32, 6), (44, 4)),
    "NASNet-A_authors": ((32, 6), (44, 4)),
    "AmoebaNet-A": ((36, 6), (50, 4)),
    "PNASNet-5": ((48, 3), (54, 3)),
}
"""Width and depth on small and on larger images, by genotype; the others are published on those of DARTS, below."""
DARTS_SIZE = ((36, 6), (48, 4))


def subject(
    text: str, wanted: Wanted | None = None, plugins: Sequence[str] = (), results: Path = Path("results")
) -> Subject:
    """Return what ``text`` names, for the image and classes that are ``wanted``, at that width and depth if any.

    It is found as :func:`nas.targets.find` does: a network's name first, then a run's best, a genotype, a file. Raises
    :class:`ConfigError` for what is none of them.
    """
    load_built_in()
    for plugin in plugins:
        load_plugin(plugin)
    size = wanted or Wanted()
    text = run_name(text, results)
    journal = results / text / "journal.jsonl"
    if text not in NETWORKS and not text.startswith(".") and (journal.parent / "best/architecture.json").is_file():
        return _best_of(journal.parent, size)
    if is_path(text) or (text not in NETWORKS and text not in GENOTYPES and Path(text).is_file()):
        return _of_file(text, size)
    if text in NETWORKS:
        return _network(NETWORKS[text], size)
    if text in GENOTYPES:
        return of_genotype(text, size)
    raise ConfigError(unknown("run, network, genotype or file", text, [*NETWORKS, *GENOTYPES]))


def _task(name: str, size: Wanted, shape: Shape = CIFAR, classes: int = 10) -> Task:
    return Task(name, size.shape or shape, size.classes or classes)


def _best_of(folder: Path, size: Wanted) -> Subject:
    config = config_of(read(folder / "journal.jsonl")[0], folder.name)
    for plugin in config.plugins:
        load_plugin(plugin)
    found = load(folder / "best" / "architecture.json")
    assert isinstance(found, Architecture)
    images = searched_on(folder)
    if images is not None:
        size = replace(size, shape=size.shape or images[0], classes=size.classes or images[1])
    return of_architecture(folder.name, found, size, (config.width, config.depth), images and images[0])


def searched_on(folder: Path) -> tuple[Shape, int] | None:
    """Return the images (C, H, W) and classes of the search in ``folder``; None where it built no network."""
    path = folder / "best" / "graph.json"
    if not path.is_file():
        return None
    graph = load(path)
    assert isinstance(graph, Graph)
    return graph.input_shape, cost(graph).output_shape[-1]


def _of_file(text: str, size: Wanted) -> Subject:
    found = load(Path(text))
    name = Path(text).stem
    if isinstance(found, Architecture):
        return of_architecture(name, found, size)
    classes = cost(found).output_shape[-1]
    if size.classes not in (None, classes):
        raise ConfigError(f"'{text}' is a graph of {classes} classes and cannot be built for {size.classes}")
    task = Task(name, size.shape or found.input_shape, classes)
    return FixedSubject(name, task, lambda task: found.resized(task.input_shape))


def _network(info: NetworkInfo, size: Wanted) -> Subject:
    task = _task(info.name, size, info.input_shape, info.classes)
    if info.name in PLANS:
        return PlanSubject(info.name, task, PLANS[info.name], size.width or BASE_WIDTH, size.depth or 1)
    extras = tuple(name for name in ("aux", "drop_path") if name in inspect.signature(info.function).parameters)
    fixed = FixedSubject(
        info.name, task, lambda task, **more: info.function(task.input_shape, task.classes, **more), extras
    )
    fixed.size(size.width, size.depth)
    return fixed


def of_genotype(name: str, size: Wanted) -> Subject:
    """Return the subject of published cells: its size is the published one for such images where no other is asked."""
    task = _task(name, size)
    width, depth = PUBLISHED_SIZE.get(name, DARTS_SIZE)[_side(task) >= MEDIUM]
    build = build_for(_side(task), GENOTYPES[name].genotype.cells(), genotype=name)
    return CellSubject(name, task, size.width or width, size.depth or depth, build, depth)


def of_architecture(
    name: str,
    architecture: Architecture,
    size: Wanted,
    own: tuple[int | None, int | None] = (None, None),
    images: Shape | None = None,
) -> Subject:
    """Return the subject of an architecture whose search had width and depth ``own`` (None: its space's).

    For the ``images`` of its search it stands on the skeleton of the search, of that size.
    """
    space = SPACES[architecture.space].with_args(dict(architecture.args))
    described = space.describe(architecture)
    task = _task(name, size)
    if architecture.space == "stages":
        return PlanSubject(
            name,
            task,
            choose_plan(partial(_replayed, architecture)),
            size.width or own[0] or BASE_WIDTH,
            size.depth or own[1] or 1,
            architecture,
        )
    if not hasattr(described, "network"):
        raise ConfigError(f"'{name}' is of space '{architecture.space}', which describes no network")
    searched = (own[0] or space.width, own[1] or space.depth)
    larger = _side(task) >= MEDIUM and task.input_shape != images
    width, depth = DARTS_SIZE[1] if larger else searched
    if not hasattr(described, "cells"):
        width, depth = size.width or searched[0], size.depth or searched[1]
        return FixedSubject(name, task, lambda task: described.network(task, width, depth))
    network = partial(described.skeleton, described.cells) if isinstance(described, Cells) else described.network
    build = build_for(_side(task), described.cells, network) if larger else network
    return CellSubject(name, task, size.width or width, size.depth or depth, build, DARTS_SIZE[larger][1], architecture)


def _replayed(architecture: Architecture, name: str, options: Options) -> Any:
    return architecture[name]


def _side(task: Task) -> int:
    return min(task.input_shape[1:])
