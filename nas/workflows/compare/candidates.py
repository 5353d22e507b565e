"""Who is compared: from what a user names to networks as every recipe trains them."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from nas.core.plugins import load_plugins
from nas.core.values import Json
from nas.engine.config import RunConfig, config_of
from nas.engine.loop import fold
from nas.engine.run import SearchRun
from nas.errors import ConfigError, GraphError, one_line
from nas.graph import Graph, cost, key
from nas.models.resolve import Model, SizeOptions, each_of, resolve
from nas.runs.journal import read
from nas.runs.progress import Observer
from nas.runs.run_folder import BASELINE, JOURNAL, find_run
from nas.runs.snapshot import ENDED
from nas.runs.trials import find_trial
from nas.space.scalable import ScalableModel
from nas.workflows.compare.settings import CompareSettings


@dataclass(frozen=True)
class Candidate:
    """One network to compare."""

    name: str
    kind: str
    """One of :attr:`nas.models.resolve.Model.kind`, or ``random``: the best of the random search of a run."""
    graph: Graph
    """The plain network."""
    trained: tuple[Graph, ...]
    """The networks of the recipes, in their order."""
    params: int
    """Those of the plain network, as the MACs."""
    macs: int
    of: str | None = None
    """The run whose random search it is the best of."""
    queries: int | None = None
    """The trials that its search spent."""

    def to_json(self) -> Json:
        """Return the candidate as JSON data; a recipe that asks for nothing has None for its network."""
        data = {name: getattr(self, name) for name in ("name", "kind", "params", "macs", "of", "queries")}
        data["graph"] = self.graph.to_json()
        data["trained"] = [None if graph is self.graph else graph.to_json() for graph in self.trained]
        return data

    @classmethod
    def from_json(cls, data: Json) -> Candidate:
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
    load_plugins(settings.plugins)

    # a run may be written as its name or as the path of its folder, and so may the run of a trial
    texts = []
    for text in each_of(settings.candidates, results):
        trial = find_trial(text, results)
        folder = find_run(text, results) if trial is None else trial.folder
        of = "" if trial is None else f":{trial.trial}"
        texts.append(text if folder is None or folder.parent != results else f"{folder.name}{of}")
    _refuse_twice(texts)

    # candidates of one name are called by what the user wrote; the same thing may be written in two ways
    built = [_candidate(text, settings, results) for text in texts]
    names = [candidate.name for candidate in built]
    told = [str(Path(text)) if names.count(name) > 1 else name for name, text in zip(names, texts, strict=True)]
    _refuse_twice(told)
    found = []
    for text, candidate, name in zip(texts, built, told, strict=True):
        found.append(replace(candidate, name=name))
        if settings.against_random and candidate.kind == "run":
            folder = find_run(text, results)
            assert folder is not None
            found.append(_random(folder, settings, observe))
    if settings.against_random and not any(candidate.kind == "random" for candidate in found):
        raise ConfigError("--against-random compares runs with random search, and no candidate is a run")
    if len(found) * len(settings.recipes) < 2:
        raise ConfigError("there is nothing to compare: name a second candidate or a second --recipe")
    if settings.ensemble is not None and settings.ensemble > max(len(found), settings.seeds):
        there = f"there are {len(found)} candidates and {settings.seeds} seeds to take networks from"
        raise ConfigError(f"--ensemble {settings.ensemble}: {there}")
    return found


def _refuse_twice(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"candidate '{name}' is given twice")


def _candidate(text: str, settings: CompareSettings, results: Path) -> Candidate:
    """Return what ``text`` names, built as a transfer to the dataset would be; files of graphs keep their classes."""
    task = settings.task
    # a network and a graph have a size of their own, a graph its classes too
    found = resolve(text, plugins=settings.plugins, results=results)
    size = SizeOptions(task.input_shape, None if found.has_one_size else task.classes)
    if found.kind != "network" and not found.has_one_size:
        size = replace(size, width=settings.width, depth=settings.depth)
    try:
        candidate = _built(found.name, found.kind, found.at(size).scalable, settings)
    except GraphError as error:
        raise ConfigError(f"candidate '{text}' cannot be built for dataset '{task.name}': {one_line(error)}") from None
    if found.run is None or found.kind != "run":
        return candidate
    folder = found.run.folder
    ledger = fold(read(folder / JOURNAL), _config(folder).lag or None)
    return replace(candidate, queries=ledger.queries)


def _config(folder: Path) -> RunConfig:
    return config_of(read(folder / JOURNAL)[0], folder.name)


def _built(name: str, kind: str, model: ScalableModel, settings: CompareSettings) -> Candidate:
    """Return a candidate with the networks of all recipes: with the heads and dropped paths that they ask for."""
    task, plain = settings.task, model.build()
    total = cost(plain.pruned((plain.outputs[0][0],)))
    if (plain.input_shape, total.output_shape) != (task.input_shape, (task.classes,)):
        wanted = f"dataset '{task.name}' has images of {task.input_shape} and {task.classes} classes"
        own = f"candidate '{name}' takes images of {plain.input_shape} and gives {total.output_shape}"
        raise ConfigError(f"{own}; {wanted}")
    trained = []
    for recipe in settings.actual_recipes:
        graph = plain
        if recipe.aux_weight or recipe.drop_path:
            graph = model.build(aux=bool(recipe.aux_weight), drop_path=recipe.drop_path or 0.0)
        trained.append(plain if graph == plain else graph)
    return Candidate(name, kind, plain, tuple(trained), total.params, total.macs)


def _random(folder: Path, settings: CompareSettings, observe: Observer) -> Candidate:
    config = _config(folder)
    if config.searcher.name == "random":
        raise ConfigError(f"--against-random: run '{folder.name}' is a random search itself")
    # a random search that was not run, or not to its end, is run now
    path = folder / BASELINE / JOURNAL
    last = read(path)[-1] if path.is_file() else {}
    if last.get("event") != "stopped" or last.get("reason") not in ENDED:
        # which runs the plugins of that run: the user must have named them here
        if missing := [plugin for plugin in config.plugins if plugin not in settings.plugins]:
            how = f"name it to run its random search: --plugin {missing[0]}"
            raise ConfigError(f"--against-random: run '{folder.name}' was made with a plugin; {how}")
        with closing(SearchRun.resume(folder, {"plugins": config.plugins})) as run:
            reason, _ = run.plan.run_below(run, BASELINE, observe)
        if reason == "interrupted":
            raise ConfigError(f"--against-random: the random search of run '{folder.name}' was interrupted")
    ledger = fold(read(path), config.lag or None)
    best = ledger.best()
    if best is None:
        raise ConfigError(f"--against-random: no trial of the random search of run '{folder.name}' has a score")
    name = f"{folder.name}/{BASELINE}"
    task = settings.task
    size = SizeOptions(task.input_shape, task.classes, settings.width, settings.depth)
    searched = resolve(str(folder), results=folder.parent).searched
    if best.width is not None:  # under a budget of size each network has a width of its own
        searched = replace(searched, width=best.width)
    own = Model("run", name, size, architecture=best.architecture, searched=searched)
    candidate = _built(name, "random", own.scalable, settings)
    return replace(candidate, of=folder.name, queries=ledger.queries)
