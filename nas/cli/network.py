"""The commands about one network: inspect, draw, source."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.flags import RUN_TRIAL, plugin_flag, results_flag, size_flags, size_of
from nas.cli.parser import Command
from nas.core.values import Json
from nas.errors import ConfigError, unknown

if TYPE_CHECKING:
    from nas.models.resolve import Model
    from nas.types import Trial

FORMATS = ("svg", "graphml", "dot", "json")


def register(command: Command) -> None:
    """Add the commands and their flags."""
    inspected = command("inspect", "show shape and cost of a network, an architecture or a graph", inspect)
    drawn = command("draw", "draw a network or a cell as SVG, or write it for other tools", draw)
    written = command("source", "write a network as one Python file that needs torch alone", source)
    for sub in (inspected, drawn, written):
        text = f"a network, a genotype, a file, text of other tools (docs/genotypes.md), {RUN_TRIAL}"
        sub.add_argument("target", metavar="NAME|FILE|RUN[:TRIAL]", help=text)
        size_flags(sub, "the network's own, or 3,32,32", "the network's own, or 10")
        sub.add_argument("--aux", action="store_true", help="with the network's auxiliary heads")
        results_flag(sub)
        plugin_flag(sub)

    inspected.add_argument("--layers", action="store_true", help="a row for every layer")
    inspected.add_argument("--json", action="store_true", help="print JSON")

    drawn.add_argument("-o", "--output", metavar="FILE", type=Path, required=True, help="file to write, e.g. net.svg")
    text = "svg, graphml, dot (graphviz) or json (networkx's node-link data); default: by the file's suffix"
    drawn.add_argument("--format", metavar="NAME", help=text)
    drawn.add_argument("--cell", metavar="NAME", help="draw this cell (normal, reduction, ...) instead of the network")
    drawn.add_argument("--level", metavar="N", type=int, help="segments of names a box in SVG; default: readable")

    written.add_argument("-o", "--output", metavar="FILE.py", type=Path, required=True, help="file to write")
    written.add_argument("--class-name", metavar="NAME", default="Network", help="name of the class (default: Network)")


def inspect(options: argparse.Namespace) -> int:
    """Show shape and cost of a network, an architecture or a graph."""
    from nas.cli.terminal import say, show_inspection
    from nas.graph import layers
    from nas.models.facts import facts_of
    from nas.runs.run_folder import find_run, read_best

    # a search of something else than networks, or one that is not at its end
    folder = find_run(options.target, options.results_dir)
    facts = {}
    if folder is not None and read_best(folder).graph is None:
        facts = _decisions_of(folder)
    elif (target := _target(options)).trial is not None and target.fixed is None and target.run is not None:
        facts = _decisions_of(target.run.folder, target.trial)
    if facts:
        say(json.dumps(facts, indent=2) if options.json else "\n".join(f"{name}: {v}" for name, v in facts.items()))
        return 0

    facts = facts_of(target.graph, target.key)
    rows = layers(target.graph) if options.layers else []
    if options.json:
        if rows:
            facts["layers"] = [vars(row) for row in rows]
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        show_inspection(target.name, facts, rows)
    return 0


def draw(options: argparse.Namespace) -> int:
    """Write a network, or one of its cells, as SVG or in a format of graph tools."""
    from nas.cli.terminal import say
    from nas.core.files import write_atomic
    from nas.graph.drawing.svg import draw_svg
    from nas.graph.exchange import WRITERS

    # what is asked for is checked before the network is built, which may take a second
    chosen = options.format or options.output.suffix.removeprefix(".")
    if options.format and chosen not in FORMATS:
        raise ConfigError(f"--format: {unknown('format', chosen, FORMATS)}")
    if chosen not in FORMATS or not options.output.name:
        suffixes = f".{', .'.join(FORMATS[:-1])} or .{FORMATS[-1]}"
        raise ConfigError(f"-o must be a file that ends in {suffixes}, found '{options.output}'")
    if options.level is not None and chosen != "svg":
        raise ConfigError(f"--level is for SVG; {chosen} has every node")
    output = _output(options.output)

    target = _target(options)
    graph, title = target.graph, target.name
    if options.cell:
        if options.cell not in target.cells:
            raise ConfigError(unknown("cell", options.cell, target.cells))
        graph, title = target.cells[options.cell], f"{target.name}: {options.cell} cell"
    write_atomic(output, draw_svg(graph, options.level, title) if chosen == "svg" else WRITERS[chosen](graph))
    say(f"drawing: {output}")
    return 0


def source(options: argparse.Namespace) -> int:
    """Write a network as one Python file that needs torch alone."""
    from nas.cli.terminal import say
    from nas.core.files import write_atomic
    from nas.graph.lowering.python_source import source_code

    if options.output.suffix != ".py":
        raise ConfigError(f"-o must be a file that ends in .py, found '{options.output}'")
    output = _output(options.output)
    target = _target(options)
    outputs = tuple(name for name, _ in target.graph.outputs)
    write_atomic(output, source_code(target.graph, outputs, options.class_name))
    say(f"source: {output}")
    return 0


def _target(options: argparse.Namespace) -> Model:
    from nas.models.resolve import resolve

    return resolve(options.target, size_of(options, options.aux), options.plugins, options.results_dir)


def _output(path: Path) -> Path:
    if not path.parent.is_dir():
        raise ConfigError(f"-o '{path}': the folder '{path.parent}' does not exist")
    return path


def _decisions_of(folder: Path, trial: Trial | None = None) -> Json:
    """Return a trial of the search in ``folder``, by default the best so far, and what it decides."""
    from nas.engine.config import config_of, search_name
    from nas.engine.loop import fold
    from nas.runs.journal import read

    events = read(folder / "journal.jsonl")
    config = config_of(events[0], folder.name, events)
    found = fold(events, config.lag or None).best() if trial is None else trial
    about = {"run": folder.name, "search": f"{search_name(config)} in {config.space.name}", "trials": config.trials}
    if found is None:
        raise ConfigError(f"run '{folder.name}' has no trial with a score yet, so nothing to inspect")
    which = "best" if trial is None else "trial"
    return {**about, which: found.index, "reward": found.reward, **found.architecture.decisions}
