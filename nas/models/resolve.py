"""The one answer to what NAME, FILE or RUN means: a model that is built for any task and, mostly, at any size."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from nas.core.files import is_file, is_path, read_json, read_text
from nas.core.literals import MOST_CHARACTERS
from nas.core.options import MOST_DEPTH
from nas.core.plugins import load_plugins
from nas.core.values import Shape, Task
from nas.data.config import DataConfig
from nas.errors import ConfigError, GraphError, unknown
from nas.graph import Graph, cost, key
from nas.graph.primitives.base import LARGEST
from nas.models.load import load_any
from nas.models.trials import chosen_trials, one_trial
from nas.runs.journal import read
from nas.runs.run_folder import JOURNAL, BestNetwork, chosen_width, find_run, read_best, runs_in
from nas.runs.trials import FRONT, TrialName, find_trial
from nas.space import SPACES, Cells, Network, Space
from nas.space.genotypes import GENOTYPES, GenotypeInfo
from nas.space.networks import CIFAR, NETWORKS, NetworkInfo
from nas.space.notations import Noted, is_written, noted_name, read_written
from nas.space.scalable import UNKNOWN_SEARCH, FixedModel, ScalableModel, SearchedAt
from nas.space.space import sized_key
from nas.types import Architecture, Trial

RESULTS = Path("results")
TAG = re.compile(r"\.((\w+_)?in(1|12|21|22)k(_\w+)?|bamboo)$")
"""The end of timm's names that says which weights are meant, as in ``resnet50.a1_in1k``; the network is the same."""


@dataclass(frozen=True)
class SizeOptions:
    """What the user asks of a network; None is the model's own."""

    shape: Shape | None = None
    """The image, (C, H, W)."""
    classes: int | None = None
    width: int | None = None
    """Channels of the first stage of cells; sixteenths of a table of stages; what else a space counts in."""
    depth: int | None = None
    """Cells a stage; for a table of stages what its repeats are multiplied by."""
    aux: bool = False
    """Whether it must have auxiliary heads."""

    def __post_init__(self) -> None:
        for name in ("classes", "width", "depth"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name} must be at least 1, found {value}")
            most = MOST_DEPTH if name == "depth" else LARGEST
            if value is not None and value > most:
                raise ConfigError(f"--{name} must be at most {most:,}")


OWN_SIZE = SizeOptions()


@dataclass(frozen=True, eq=False)
class Model:
    """What a user named; graph, key and what builds it at other sizes are made when they are first asked for."""

    kind: str
    """``run`` (a search's best), ``trial`` (another of its trials), ``training`` (a training's network), ``network``,
    ``genotype``, ``architecture`` or ``graph``."""
    name: str
    size: SizeOptions = OWN_SIZE
    info: NetworkInfo | GenotypeInfo | None = None
    """The entry of the registry, where it is a named network or a genotype."""
    architecture: Architecture | None = None
    """The point of a search space that it is, where it is one."""
    searched: SearchedAt = UNKNOWN_SEARCH
    """The size at which the architecture was found."""
    fixed: Graph | None = None
    """The network as it is on disk: of a run, or of a file of a graph."""
    run: BestNetwork | None = None
    """The run that it is of."""
    trial: Trial | None = None
    """The trial that was named, where one was."""

    def at(self, size: SizeOptions) -> Model:
        """Return the model at another size."""
        return replace(self, size=size)

    @property
    def has_one_size(self) -> bool:
        """Whether it is a graph of layers, which nothing says how to scale."""
        return self.info is None and self.architecture is None

    @property
    def weights(self) -> Path | None:
        """The file of weights of ``fixed``, where it is a run that has trained it."""
        return None if self.run is None else self.run.weights

    @cached_property
    def scalable(self) -> ScalableModel:
        """What builds the network at the size asked for, and at any other where it has none of its own."""
        size = self.size
        if self.info is not None:
            return self.info.scalable(size.shape, size.classes, size.width, size.depth)
        # the images of the search before any default: for them the search's own network is built
        if self.architecture is not None:
            own = 10 if self.fixed is None else cost(self.fixed).output_shape[-1]
            task = Task(self.name, size.shape or self.searched.input_shape or CIFAR, size.classes or own)
            return self._space.scalable(self.architecture, task, size.width, size.depth, self.searched)
        # a graph of layers takes other images, but says nothing of its classes and size
        assert self.fixed is not None
        fixed, classes = self.fixed, cost(self.fixed).output_shape[-1]
        if size.classes not in (None, classes):
            raise ConfigError(f"'{self.name}' is a graph of {classes} classes and cannot be built for {size.classes}")
        task = Task(self.name, size.shape or fixed.input_shape, classes)
        found = FixedModel(self.name, task, lambda task: fixed.resized(task.input_shape))
        found.size(size.width, size.depth)
        return found

    @cached_property
    def graph(self) -> Graph:
        """The network at the size asked for, without dropped paths."""
        built = self.scalable.build(aux=self.size.aux)
        if self.size.aux and len(built.outputs) < 2:
            shape = "x".join(map(str, built.input_shape))
            found = f"has no auxiliary heads, or images of {shape} leave no room for them"
            raise GraphError(f"network '{self.name}' {found}")
        return built

    @cached_property
    def key(self) -> str:
        """The canonical key: of the architecture or the cells where it is one, else of the network.

        At its own size that of a run is the run's own.
        """
        if isinstance(self.info, GenotypeInfo):
            return self.info.key
        if self.architecture is not None:
            whole, own = isinstance(self._space.describe(self.architecture), Network), self.size == OWN_SIZE
            if whole and own and self.fixed is not None:
                return key(self.fixed)
            by_budget = own and self.searched.by_budget and not whole
            return sized_key(self._space.key(self.architecture), self.searched.width if by_budget else None)
        return key(self.graph if self.fixed is None else self.fixed)

    @cached_property
    def cells(self) -> Mapping[str, Graph]:
        """Its cells by name; empty where it is not built of cells."""
        if isinstance(self.info, GenotypeInfo):
            return self.info.genotype.cells()
        described = None if self.architecture is None else self._space.describe(self.architecture)
        return described.cells if isinstance(described, Cells) else {}

    @property
    def _space(self) -> Space:
        assert self.architecture is not None
        return SPACES[self.architecture.space].with_args(dict(self.architecture.args))


def resolve(text: str, size: SizeOptions = OWN_SIZE, plugins: Sequence[str] = (), results: Path = RESULTS) -> Model:
    """Return what ``text`` names, at ``size``.

    In this order it is a run, by its name in ``results`` or by its folder's path; a trial of one, ``RUN:TRIAL``, where
    TRIAL is its number, ``best``, ``knee``, or ``front`` if that is a single trial; a network, also by the name that
    torchvision or timm has for it; a genotype; an architecture in a notation of :data:`nas.space.notations.NOTATIONS`,
    as text or as ``FILE:NAME``; or a file of one of these or of a graph. Names are read in any case and with ``-`` for
    ``_``. A name wins over a file, but for ``RUN:TRIAL``: ``./NAME`` is the file.
    What is none of them raises :class:`ConfigError` with the nearest name.
    """
    load_plugins(plugins)
    named = find_trial(text, results)
    if named is not None:
        return _of_trial(named, size)
    # a run
    folder = find_run(text, results)
    run = None if folder is None else read_best(folder)
    if run is not None and (run.architecture is not None or run.graph is not None):
        # what the run itself names is not run: its folder may come from anybody
        fixed = None if run.graph is None else _graph_of(run, run.graph)
        if run.architecture is None:
            return Model("training", run.name, size, fixed=fixed, run=run)
        architecture = Architecture.from_json(read_json(run.architecture))
        if architecture.space not in SPACES:  # a user's own: the network alone is on disk
            if fixed is None:
                hint = _plugins_of(run) or f" (known: {', '.join(SPACES)})"
                raise ConfigError(f"run '{run.name}': unknown space '{architecture.space}'{hint}")
            return Model("run", run.name, size, fixed=fixed, run=run)
        images, by_budget = None if fixed is None else fixed.input_shape, chosen_width(run.architecture) is not None
        searched = SearchedAt(run.width, run.depth, images, by_budget)
        return Model("run", run.name, size, None, architecture, searched, fixed, run)
    # a name
    if not is_path(text):
        # a network's very name, then a genotype, whose names in capitals are those of networks in small letters
        network, genotype = NETWORKS.named(TAG.sub("", text)), GENOTYPES.named(text)
        if network is not None and (genotype is None or text in NETWORKS):
            return Model("network", network, size, NETWORKS[network])
        if genotype is not None:
            return Model("genotype", GENOTYPES[genotype].name, size, GENOTYPES[genotype])
    # what others write, as it stands or in a file of several; looked for before paths, since it may have a slash
    path, _, chosen = text.rpartition(":")
    if chosen.isidentifier() and is_file(path):
        name, noted = read_written(read_text(Path(path), MOST_CHARACTERS), chosen, f"file '{path}'")
        return _noted(noted, name, size)
    if is_written(text):
        name, noted = read_written(text)
        return _noted(noted, name, size)
    # a file; what looks like a path is told to be missing rather than unknown
    if is_path(text) or is_file(text):
        loaded = load_any(text)
        if isinstance(loaded, Architecture):
            width = chosen_width(Path(text))
            searched = SearchedAt(width, by_budget=width is not None)
            return Model("architecture", Path(text).stem, size, architecture=loaded, searched=searched)
        if isinstance(loaded, GenotypeInfo):
            return _noted(loaded, Path(text).stem, size)
        return Model("graph", Path(text).stem, size, fixed=loaded)
    if folder is not None:
        raise ConfigError(f"run '{folder.name}' has no network yet, or is of a kind that has none")
    known = [*NETWORKS.names(), *GENOTYPES, *runs_in(results)]
    raise ConfigError(unknown("run, network, genotype or file", text, known))


def _noted(noted: Noted, name: str, size: SizeOptions) -> Model:
    name = name or noted_name(noted)
    if isinstance(noted, Architecture):
        return Model("architecture", name, size, architecture=noted)
    return Model("genotype", name, size, replace(noted, name=name))


def each_of(texts: Sequence[str], results: Path = RESULTS) -> list[str]:
    """Return ``texts`` with a name for each trial of a front in place of ``RUN:front``."""
    found = []
    for text in texts:
        named = find_trial(text, results) if text.casefold().endswith(f":{FRONT}") else None
        if named is None:
            found.append(text)
        else:
            trials = chosen_trials(named, read(named.folder / JOURNAL))
            found += [f"{named.run}:{trial.index}" for trial in trials]
    return found


def _of_trial(named: TrialName, size: SizeOptions) -> Model:
    """Return the network of a trial as it was evaluated; that of the run's best is the run's own, with its weights."""
    events, run = read(named.folder / JOURNAL), read_best(named.folder)
    trial = one_trial(named, events)
    name, architecture, width = f"{run.name}:{trial.index}", trial.architecture, trial.width or run.width
    if architecture.space not in SPACES and (hint := _plugins_of(run)):
        raise ConfigError(f"run '{run.name}': unknown space '{architecture.space}'{hint}")
    fixed = None if run.graph is None else _graph_of(run, run.graph)
    task = _task_of(run, events[0]) if fixed is None else Task(name, fixed.input_shape, cost(fixed).output_shape[-1])
    best = None if run.architecture is None else Architecture.from_json(read_json(run.architecture))
    if (best, run.width) != (architecture, width):  # what the run has on disk is another network
        run, fixed = replace(run, architecture=None, graph=None, weights=None, width=width), None
        # of a table, or a Python object, the decisions are all that is known
        space = SPACES[architecture.space].with_args(dict(architecture.args)) if architecture.space in SPACES else None
        if space is not None and space.has_networks(architecture):
            fixed = space.build(architecture, task, width, run.depth)
    searched = SearchedAt(width, run.depth, task.input_shape, by_budget=trial.width is not None)
    return Model("trial", name, size, None, architecture, searched, fixed, run, trial)


def _task_of(run: BestNetwork, header: Mapping[str, Any]) -> Task:
    """Return what the networks of a search had to do, from its journal's first event."""
    config = header.get("config") or {}
    if (task := header.get("task") or (header.get("study") or {}).get("settings", {}).get("task")) is not None:
        return Task.from_json(task)
    if config.get("evaluator") != "train":
        return Task(run.name, CIFAR, 10)
    return DataConfig(*(config.get(name) for name in ("dataset", "data_dir", "image_size"))).task()


def _graph_of(run: BestNetwork, path: Path) -> Graph:
    try:
        return Graph.from_json(read_json(path))
    except GraphError as error:
        hint = _plugins_of(run)
        text = str(error).partition(" (known:")[0] if hint else error
        raise ConfigError(f"run '{run.name}': {text}{hint}") from None


def _plugins_of(run: BestNetwork) -> str:
    """Return a hint that names the plugins of a run, nothing where it has none."""
    names = ", ".join(f"--plugin {Path(plugin).name}" for plugin in run.plugins)
    return f"; the run was made with {names}, which is run only where you name it" if names else ""
