"""The command ``list``: what is registered."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from nas.cli.flags import plugin_flag
from nas.cli.parser import Command
from nas.errors import ConfigError, unknown

LISTS: tuple[str, ...] = ("spaces", "searchers", "schedulers", "evaluators", "datasets", "recipes")
LISTS += ("primitives", "blocks", "networks", "genotypes", "skeletons", "scores", "trackers")

SYNONYMS = {"models": "networks"}
"""What the Python page calls a list."""


def register(command: Command) -> None:
    """Add the command and its flags."""
    sub = command("list", "list what is registered", list_things)
    sub.add_argument("what", metavar="WHAT", nargs="?", help=", ".join(LISTS))
    plugin_flag(sub)


def list_things(options: argparse.Namespace) -> int:
    """List a registry with a line each."""
    from nas.cli.terminal import show_list
    from nas.core.plugins import load_plugins

    if options.what is None:
        raise ConfigError(f"nas list needs one of: {', '.join(LISTS)}")
    what = SYNONYMS.get(options.what, options.what)
    if what not in LISTS:
        raise ConfigError(unknown("list", what, LISTS))
    load_plugins(options.plugins)
    show_list(what, rows_of(what))
    return 0


def rows_of(what: str) -> list[tuple[str, str]]:
    """Return the names of one of :data:`LISTS` with a line about each."""
    from nas.data.config import ALIASES, DEFAULT_DATASET
    from nas.data.splits import DATASETS
    from nas.evaluators import EVALUATORS
    from nas.graph import PRIMITIVES
    from nas.schedulers import SCHEDULERS
    from nas.schedulers.shorthand import SHORTHANDS
    from nas.searchers import FAMILIES, SEARCHERS
    from nas.searchers.default import AUTO, LONG, automatic
    from nas.space import SPACES
    from nas.space.genotypes import GENOTYPES
    from nas.space.networks import NETWORKS
    from nas.space.operations import OPERATIONS
    from nas.space.skeletons import SKELETONS
    from nas.trackers import TRACKERS
    from nas.training.published_recipes import RECIPES
    from nas.zero_cost import ZERO_COST

    match what:
        case "spaces":
            rows = []
            for name in SPACES:
                space = SPACES[name]
                starts = f" [begins with: {', '.join(space.starts)}]" if space.starts else ""
                rows.append((name, f"{_first_line(space.function)} ({space.source}){starts}"))
            return rows
        case "searchers":
            rows = [(AUTO, f"The best measured: {automatic(1)}, and from {LONG:,} trials on {automatic(LONG)}")]
            for name in SEARCHERS:
                searcher = SEARCHERS[name]
                args = f" [{_arguments(searcher.args)}]" if searcher.args else ""
                rows.append((name, f"{searcher.summary} ({searcher.source}){args}"))
            rows += [(f"{name}:NAME", f"{FAMILIES[name].summary} ({FAMILIES[name].source})") for name in FAMILIES]
            rows += [(name, s.summary) for name, s in SHORTHANDS.items()]
            return sorted(rows)
        case "schedulers":
            found = {name: SCHEDULERS[name] for name in SCHEDULERS}
            return [(name, f"{s.summary} ({s.source}) [{_arguments(s.args)}]") for name, s in found.items()]
        case "evaluators":
            return [(name, EVALUATORS[name].summary) for name in EVALUATORS]
        case "datasets":
            default = {DEFAULT_DATASET: "; the default"}
            aliases = [(name, f"the dataset {of} at {side} pixels") for name, (of, side) in ALIASES.items()]
            rows = [(name, DATASETS[name].description + default.get(name, "")) for name in DATASETS]
            return sorted([*rows, *aliases])
        case "recipes":
            rows = []
            for name in RECIPES:
                r, of = RECIPES[name].recipe, RECIPES[name]
                how = f"{r.optimizer} {r.learning_rate:g}, {r.schedule}, batches of {r.batch_size}, {r.epochs} epochs"
                rows.append((name, f"{how} ({of.source}){f'; {of.remarks}' if of.remarks else ''}"))
            return rows
        case "primitives":
            return [(name, f"{_first_line(PRIMITIVES[name])} ({PRIMITIVES[name].source})") for name in PRIMITIVES]
        case "blocks":
            other = "an operation of NASNet's or DARTS' set"
            return [(name, _first_line(OPERATIONS[name]) or other) for name in OPERATIONS]
        case "networks":
            infos = {name: NETWORKS[name] for name in NETWORKS}
            sizes = {name: "x".join(map(str, info.input_shape)) for name, info in infos.items()}
            return [(name, f"{sizes[name]}, {info.classes} classes ({info.source})") for name, info in infos.items()]
        case "genotypes":
            return [(name, GENOTYPES[name].source) for name in GENOTYPES]
        case "trackers":
            return [(name, TRACKERS[name].summary) for name in TRACKERS]
        case "scores":
            scores = {name: ZERO_COST[name] for name in ZERO_COST}
            return [(name, f"{score.summary} ({score.source})") for name, score in scores.items()]
        case _:
            return [(name, f"{_first_line(SKELETONS[name].function)} ({SKELETONS[name].source})") for name in SKELETONS]


def _arguments(args: Mapping[str, object]) -> str:
    return ", ".join(f"{name}={value}" for name, value in args.items())


def _first_line(thing: object) -> str:
    return (getattr(thing, "__doc__", "") or "").strip().split("\n")[0]
