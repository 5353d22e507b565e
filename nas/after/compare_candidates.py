"""Who is compared: from what a user names to networks as every recipe trains them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from nas.after.compare_settings import CompareSettings
from nas.api import load
from nas.errors import ConfigError, GraphError, NasError, one_line
from nas.graph import Graph, cost, key
from nas.plugins import load_built_in, load_plugin
from nas.preparation import as_trained, preparer
from nas.report.view import BASELINE
from nas.run.config import RunConfig, config_of
from nas.run.journal import read
from nas.run.ledger import fold
from nas.run.status import Progress
from nas.runs import Run
from nas.space import SPACES, Cells
from nas.targets import Wanted, find
from nas.training.recipe import Recipe
from nas.types import Architecture, Task

GENOTYPE_SIZE = (36, 6)
"""Width and depth of a genotype's network: the published 20 layers for CIFAR-10 (arXiv:1806.09055, appendix A.2.1)."""
Observer = Callable[[Progress], None]
Build = Callable[[Recipe | None], Graph]
"""Returns a network as a recipe trains it, with the heads and dropped paths that it asks for; None: as it is."""


@dataclass(frozen=True)
class Candidate:
    """One network to compare.

    ``kind`` is ``run``, ``random`` (the best of the random search of the run ``of``), ``network``, ``genotype``,
    ``architecture`` or ``graph``. ``params`` and ``macs`` are of ``graph``, its plain network; ``trained`` are the
    networks of the recipes, in their order. ``queries`` is what a search spent.
    """

    name: str
    kind: str
    graph: Graph
    trained: tuple[Graph, ...]
    params: int
    macs: int
    of: str | None = None
    queries: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the candidate as JSON data; a recipe that asks for nothing has None for its network."""
        data = {name: getattr(self, name) for name in ("name", "kind", "params", "macs", "of", "queries")}
        data["graph"] = self.graph.to_json()
        data["trained"] = [None if graph is self.graph else graph.to_json() for graph in self.trained]
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Candidate:
        """Read what :meth:`to_json` wrote."""
        graph = Graph.from_json(data["graph"])
        trained = tuple(graph if other is None else Graph.from_json(other) for other in data["trained"])
        return cls(**{**data, "graph": graph, "trained": trained})


def twin_key(graph: Graph) -> str:
    """Return what two networks share whose trainings would be the same: the canonical key, and heads where it has."""
    heads = [name for name, _ in graph.outputs if name.startswith("aux")]
    return f"{key(graph)}{''.join(f'+{head}' for head in heads)}"


def candidates_of(settings: CompareSettings, results: Path, observe: Observer) -> list[Candidate]:
    """Return the candidates in the user's order, each run followed by its random search where that is asked for.

    A run without a random search of its own gets one now, as long as the search was; ``observe`` sees it.
    """
    load_built_in()
    for plugin in settings.config.plugins:
        load_plugin(plugin)
    found = []
    for text in settings.candidates:
        found.append(_candidate(text, settings, results))
        if settings.against_random and found[-1].kind == "run":
            found.append(_random(results / text, settings, observe))
    if settings.against_random and not any(candidate.kind == "random" for candidate in found):
        raise ConfigError("--against-random compares runs with random search, and no candidate is a run")
    if len(found) * len(settings.recipes) < 2:
        raise ConfigError("there is nothing to compare: name a second candidate or a second --recipe")
    if settings.ensemble is not None and settings.ensemble > max(len(found), settings.seeds):
        raise ConfigError(
            f"--ensemble {settings.ensemble}: there are {len(found)} candidates and {settings.seeds} seeds to take "
            "networks from"
        )
    return found


def _candidate(text: str, settings: CompareSettings, results: Path) -> Candidate:
    task, config = settings.task, settings.config
    size = Wanted(task.input_shape, _classes_of(text, task))
    networks = import_module("search_spaces.networks.registry").NETWORKS
    try:
        if text in networks:
            return _finished(text, "network", _named(networks[text], task), settings)
        if (folder := results / text) and (folder / "best" / "architecture.json").is_file():
            run = _config(folder)
            best = _architecture(load(folder / "best" / "architecture.json"))
            candidate = _finished(text.rstrip("/"), "run", _built(best, task, config, run), settings)
            queries = fold(read(folder / "journal.jsonl"), run.lag or None).queries
            return replace(candidate, queries=queries)
        target = find(text, size, config.plugins, results)
        if target.cells and text in import_module("search_spaces.genotypes").GENOTYPES:
            cells = Cells(target.cells, import_module("search_spaces.large_skeleton").darts_cifar)
            width, depth = (config.width or GENOTYPE_SIZE[0]), (config.depth or GENOTYPE_SIZE[1])
            return _finished(text, "genotype", _stacked(cells, task, width, depth), settings)
        loaded = load(Path(text))
        if isinstance(loaded, Architecture):
            return _finished(Path(text).stem, "architecture", _built(loaded, task, config, None), settings)
        return _finished(Path(text).stem, "graph", lambda recipe: target.graph, settings)
    except GraphError as error:
        raise ConfigError(f"candidate '{text}' cannot be built for dataset '{task.name}': {one_line(error)}") from None


def _classes_of(text: str, task: Task) -> int | None:
    """Return the classes to build for: a graph in a file has those it has."""
    try:
        return None if Path(text).is_file() and isinstance(load(Path(text)), Graph) else task.classes
    except NasError:
        return task.classes  # what is wrong with the file is told when it is read for good


def _config(folder: Path) -> RunConfig:
    config = config_of(read(folder / "journal.jsonl")[0], folder.name)
    for plugin in config.plugins:
        load_plugin(plugin)
    return config


def _architecture(found: Architecture | Graph) -> Architecture:
    assert isinstance(found, Architecture)
    return found


def _finished(name: str, kind: str, build: Build, settings: CompareSettings) -> Candidate:
    task, plain = settings.task, build(None)
    total = cost(plain.pruned((plain.outputs[0][0],)))
    if (plain.input_shape, total.output_shape) != (task.input_shape, (task.classes,)):
        raise ConfigError(
            f"candidate '{name}' takes images of {plain.input_shape} and gives {total.output_shape}; dataset "
            f"'{task.name}' has images of {task.input_shape} and {task.classes} classes"
        )
    trained = []
    for recipe in settings.actual_recipes:
        graph = build(recipe) if recipe.aux_weight or recipe.drop_path else plain
        trained.append(plain if graph == plain else graph)
    return Candidate(name, kind, plain, tuple(trained), total.params, total.macs)


def _named(info: Any, task: Task) -> Build:
    takes = inspect.signature(info.function).parameters

    def build(recipe: Recipe | None) -> Graph:
        asked: dict[str, Any] = {}
        if recipe is not None:
            asked |= {"aux": True} if recipe.aux_weight else {}
            asked |= {"drop_path": recipe.drop_path} if recipe.drop_path else {}
        asked = {name: value for name, value in asked.items() if name in takes}
        try:
            graph: Graph = info.function(task.input_shape, task.classes, **asked)
        except GraphError:
            if "aux" not in asked:
                raise
            del asked["aux"]  # small images leave no room for the head
            graph = info.function(task.input_shape, task.classes, **asked)
        return graph

    return build


def _stacked(cells: Cells, task: Task, width: int, depth: int) -> Build:
    def build(recipe: Recipe | None) -> Graph:
        asked = None if recipe is None else as_trained(cells, task, width, depth, recipe)
        return asked or cells.network(task, width, depth)

    return build


def _built(architecture: Architecture, task: Task, config: RunConfig, run: RunConfig | None) -> Build:
    """Return the network of an architecture at the user's width and depth, else those of its run, else the space's."""
    space = SPACES[architecture.space].with_args(dict(architecture.args))
    width = config.width or (run.width if run else None)
    depth = config.depth or (run.depth if run else None)

    def build(recipe: Recipe | None) -> Graph:
        prepared = preparer(space, task, width, depth, recipe=recipe)(architecture)
        if prepared.problem or prepared.graph is None:
            raise GraphError(prepared.problem or f"space '{space.name}' describes no network")
        return prepared.graph

    return build


def _random(folder: Path, settings: CompareSettings, observe: Observer) -> Candidate:
    config = _config(folder)
    if config.searcher == "random":
        raise ConfigError(f"--against-random: run '{folder.name}' is a random search itself")
    if not _has_ended(folder / BASELINE):
        _search_at_random(folder, observe)
    ledger = fold(read(folder / BASELINE / "journal.jsonl"), config.lag or None)
    best = ledger.best()
    if best is None:
        raise ConfigError(f"--against-random: no trial of the random search of run '{folder.name}' has a score")
    name = f"{folder.name}/{BASELINE}"
    candidate = _finished(name, "random", _built(best.architecture, settings.task, settings.config, config), settings)
    return replace(candidate, of=folder.name, queries=ledger.queries)


def _has_ended(folder: Path) -> bool:
    path = folder / "journal.jsonl"
    last = read(path)[-1] if path.is_file() else {}
    return last.get("event") == "stopped" and last.get("reason") != "interrupted"


def _search_at_random(folder: Path, observe: Observer) -> None:
    run = Run.resume(folder)
    try:
        reason, _ = run.run_baseline(observe)
    finally:
        run.study.executor.close()
        run.journal.close()
    if reason == "interrupted":
        raise ConfigError(f"--against-random: the random search of run '{folder.name}' was interrupted")
