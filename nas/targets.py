"""What a command's NAME|FILE|RUN stands for: a named network, a genotype, an architecture or graph, a run's best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path

from nas.api import load
from nas.errors import ConfigError, unknown
from nas.graph import Graph, key
from nas.plugins import load_built_in, load_plugin
from nas.run.config import config_of
from nas.run.journal import read
from nas.space import SPACES, Cells
from nas.starts import is_path
from nas.types import Architecture, Shape, Task


@dataclass(frozen=True)
class Wanted:
    """What the user asks of a network: image (C, H, W), classes, width, depth; None is the target's own."""

    shape: Shape | None = None
    classes: int | None = None
    width: int | None = None
    depth: int | None = None
    aux: bool = False

    def __post_init__(self) -> None:
        for name in ("classes", "width", "depth"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"--{name} must be at least 1, found {value}")


@dataclass(frozen=True)
class Target:
    """A graph, the canonical key of what it stands for, and the cells by name where it is built of cells."""

    name: str
    graph: Graph
    key: str
    cells: dict[str, Graph]


def run_name(text: str, results: Path) -> str:
    """Return the name of the run in ``results`` where ``text`` is the path of its folder, else ``text`` as it is."""
    name = text.rstrip("/").removeprefix(f"{results}/")
    return name if "/" not in name and (results / name / "journal.jsonl").is_file() else text


def find(text: str, size: Wanted, plugins: Sequence[str] = (), results: Path = Path("results")) -> Target:
    """Return what ``text`` names; an unknown name raises :class:`ConfigError` with the nearest one.

    Of a run in ``results`` it is the best architecture, at the width and depth of the search where no other is asked
    for.
    """
    load_built_in()
    for plugin in plugins:
        load_plugin(plugin)
    networks = import_module("search_spaces.networks.registry").NETWORKS
    text = run_name(text, results)
    best = results / text / "best"
    if text not in networks and not text.startswith(".") and (best / "architecture.json").is_file():
        return _best_of(best.parent, size)
    genotypes = import_module("search_spaces.genotypes").GENOTYPES
    if is_path(text) or (text not in networks and text not in genotypes and Path(text).is_file()):
        return _from_file(text, size)
    if text in networks:
        info = networks[text]
        _no_cells_size(text, size)
        graph = info.build(size.shape, size.classes, size.aux)
        return Target(text, graph, key(graph), {})
    if text in genotypes:
        _no_heads(text, size)
        graph = import_module("nas.after.scaling_lookup").of_genotype(text, size).sized()
        return Target(text, graph, key(graph), dict(genotypes[text].genotype.cells()))
    raise ConfigError(unknown("network, genotype or file", text, [*networks, *genotypes]))


def _best_of(folder: Path, size: Wanted) -> Target:
    config = config_of(read(folder / "journal.jsonl")[0], folder.name)
    for plugin in config.plugins:
        load_plugin(plugin)
    size = replace(size, width=size.width or config.width, depth=size.depth or config.depth)
    found = load(folder / "best" / "architecture.json")
    assert isinstance(found, Architecture)
    return replace(_built(str(folder), found, size), name=folder.name)


def _from_file(text: str, size: Wanted) -> Target:
    found = load(Path(text))
    if isinstance(found, Architecture):
        return _built(text, found, size)
    _no_cells_size(text, size)
    _no_heads(text, size)
    if size.classes is not None:
        raise ConfigError(f"'{text}' is a graph and has the classes it has; --classes goes with what is built anew")
    return Target(text, found.resized(size.shape) if size.shape else found, key(found), {})


def _built(text: str, architecture: Architecture, size: Wanted) -> Target:
    _no_heads(text, size)
    space = SPACES[architecture.space].with_args(dict(architecture.args))
    task = Task("inspect", size.shape or (3, 32, 32), size.classes or 10)
    described = space.describe(architecture)
    cells = dict(described.cells) if isinstance(described, Cells) else {}
    graph = space.build(architecture, task, size.width, size.depth)
    return Target(text, graph, space.key(architecture), cells)


def _no_cells_size(text: str, size: Wanted) -> None:
    for name in ("width", "depth"):
        if getattr(size, name) is not None:
            raise ConfigError(f"--{name} goes with an architecture or a genotype; '{text}' has a size of its own")


def _no_heads(text: str, size: Wanted) -> None:
    if size.aux:
        raise ConfigError(f"--aux goes with a named network; '{text}' has no auxiliary heads")
