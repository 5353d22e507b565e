"""Who is compared: from what a user names to networks as every recipe trains them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from nas.after.compare_settings import CompareSettings
from nas.after.scaling_lookup import of_architecture, searched_on, subject
from nas.after.scaling_subjects import Subject
from nas.api import load
from nas.errors import ConfigError, GraphError, NasError, one_line
from nas.graph import Graph, cost, key
from nas.plugins import load_built_in, load_plugin
from nas.report.view import BASELINE
from nas.run.config import RunConfig, config_of
from nas.run.journal import read
from nas.run.ledger import fold
from nas.run.status import Progress
from nas.runs import Run
from nas.starts import is_path
from nas.targets import Wanted, run_name
from nas.training.recipe import Recipe

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
    texts = [run_name(text, results) for text in settings.candidates]
    twice = [text for text in texts if texts.count(text) > 1]
    if twice:
        raise ConfigError(f"candidate '{twice[0]}' is given twice")
    named = _apart([_candidate(text, settings, results) for text in texts], texts)
    for text, candidate in zip(texts, named, strict=True):
        found.append(candidate)
        if settings.against_random and candidate.kind == "run":
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
    """Return what ``text`` names, built as a transfer to the dataset would be; files of graphs keep their classes."""
    task, config = settings.task, settings.config
    kind = _kind(text, results)
    size = Wanted(task.input_shape, None if kind == "graph" else task.classes)
    if kind not in ("network", "graph"):  # those have a size of their own
        size = replace(size, width=config.width, depth=config.depth)
    try:
        found = subject(text, size, config.plugins, results)
        if kind != "run":
            return _finished(found.name, kind, _build(found), settings)
        candidate = _finished(text, kind, _build(found), settings)
    except GraphError as error:
        raise ConfigError(f"candidate '{text}' cannot be built for dataset '{task.name}': {one_line(error)}") from None
    folder = results / text
    ledger = fold(read(folder / "journal.jsonl"), _config(folder).lag or None)
    return replace(candidate, queries=ledger.queries)


def _kind(text: str, results: Path) -> str:
    """Return the kind of what ``text`` names, in the order in which :func:`subject` looks."""
    if text in import_module("search_spaces.networks.registry").NETWORKS:
        return "network"
    if not text.startswith(".") and (results / text / "best" / "architecture.json").is_file():
        return "run"
    if text in import_module("search_spaces.genotypes").GENOTYPES and not is_path(text):
        return "genotype"
    try:
        return "graph" if Path(text).is_file() and isinstance(load(Path(text)), Graph) else "architecture"
    except NasError:
        return "architecture"  # what is wrong with the file is told when it is read for good


def _build(found: Subject) -> Build:
    def build(recipe: Recipe | None) -> Graph:
        if recipe is None:
            return found.sized()
        return found.sized(aux=bool(recipe.aux_weight), drop_path=recipe.drop_path or 0.0)

    return build


def _apart(found: Sequence[Candidate], written: Sequence[str]) -> list[Candidate]:
    """Call candidates of one name by what the user wrote; the same thing written in two ways raises ConfigError."""
    names = [candidate.name for candidate in found]
    told = [str(Path(text)) if names.count(name) > 1 else name for name, text in zip(names, written, strict=True)]
    for name in told:
        if told.count(name) > 1:
            raise ConfigError(f"candidate '{name}' is given twice")
    return [replace(candidate, name=name) for candidate, name in zip(found, told, strict=True)]


def _config(folder: Path) -> RunConfig:
    config = config_of(read(folder / "journal.jsonl")[0], folder.name)
    for plugin in config.plugins:
        load_plugin(plugin)
    return config


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
    task, asked = settings.task, settings.config
    size = Wanted(task.input_shape, task.classes, asked.width, asked.depth)
    images = searched_on(folder)
    own = of_architecture(name, best.architecture, size, (config.width, config.depth), images and images[0])
    candidate = _finished(name, "random", _build(own), settings)
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
