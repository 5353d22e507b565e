"""What each command does. Heavy modules are imported inside, when the command runs."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import ConfigError, unknown

if TYPE_CHECKING:
    from nas.graph import Graph
    from nas.runs import Run

LISTS = ("spaces", "searchers", "evaluators", "datasets", "primitives")
PRESET: dict[str, tuple[str, dict[str, Any]]] = {
    "space": ("space_args", {"nodes": 3}),
    "searcher": ("searcher_args", {"population": 8, "tournament": 4}),
}
"""Arguments of the default space and searcher where the user names neither: a few minutes on two cores."""


def search(options: argparse.Namespace) -> int:
    """Start a run and carry it to its report."""
    from nas.cli import settings_of
    from nas.run.config import RunConfig, load_toml
    from nas.runs import Run, folder_of, fresh_name

    settings = load_toml(options.config) if options.config else {}
    RunConfig.from_json(settings, str(options.config))  # alone first: its errors name the file
    given = settings_of(options)
    for name, (args, preset) in PRESET.items():
        if name not in settings and name not in given and args not in settings:
            settings[args] = preset
    for name, value in given.items():
        settings[name] = {**settings.get(name, {}), **value} if isinstance(value, dict) else value
    config = RunConfig.from_json(settings, "search")
    name = fresh_name(options.results_dir, config) if options.name is None else options.name
    return _carry_out(Run.create(folder_of(options.results_dir, name), config))


def resume(options: argparse.Namespace) -> int:
    """Go on with a run from its journal."""
    from nas.runs import Run, folder_of

    return _carry_out(Run.resume(folder_of(options.results_dir, options.name)))


def report(options: argparse.Namespace) -> int:
    """Write a run's outputs anew."""
    from nas.report.outputs import write_outputs
    from nas.report.terminal import show_result, warn
    from nas.run.journal import ends_torn
    from nas.runs import find_journal, folder_of

    folder = folder_of(options.results_dir, options.name)
    path = find_journal(folder)
    if ends_torn(path):
        warn(f"journal '{path}': the last write is not whole and is left out; a killed run cuts it off when resumed")
    show_result(write_outputs(folder))
    return 0


def _carry_out(run: Run) -> int:
    from nas.report.terminal import ProgressBar, show_result, warn
    from nas.report.view import load_view

    shown = run.warning
    if shown:
        warn(shown)
    with ProgressBar() as bar, _stopping_once(run, bar.warn):
        run.execute(bar.update)
    if run.warning != shown:
        warn(run.warning)
    show_result(load_view(run.folder))
    return 0


class _stopping_once:
    """The first Ctrl-C lets the running trial finish; the second ends the process at once."""

    def __init__(self, run: Run, warn: Callable[[str], None]) -> None:
        self._run = run
        self._warn = warn
        self._before: Any = None

    def __enter__(self) -> None:
        self._before = signal.signal(signal.SIGINT, self._interrupt)

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _interrupt(self, number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, self._end)
        self._run.stop()
        with contextlib.suppress(RuntimeError):  # standard error may be in the middle of a write
            self._warn("finishing what runs now, then the report; press Ctrl-C again to stop at once")

    def _end(self, number: int, frame: object) -> None:
        """End without unwinding: an exception could be taken for the failure of the trial that runs."""
        from nas.report.terminal import resume_command

        start = "\n\x1b[?25h" if os.isatty(2) else ""  # the bar has hidden the cursor
        go_on = resume_command(self._run.folder)
        os.write(2, f"{start}interrupted: what was recorded is safe; go on with: {go_on}\n".encode())
        os._exit(130)


def inspect(options: argparse.Namespace) -> int:
    """Show shape and cost of an architecture or a graph."""
    from nas.api import load
    from nas.graph import Graph, cost, key, layers, receptive_field
    from nas.plugins import load_plugin
    from nas.report.terminal import show_inspection

    for plugin in options.plugins:
        load_plugin(plugin)
    shape = _shape(options.input) if options.input else None
    found = load(Path(options.file))
    name = ""
    if isinstance(found, Graph):
        graph, name = (found.resized(shape) if shape else found), key(found)
    else:
        graph, name = _build(found, shape, options)
    total = cost(graph)
    facts = {
        "params": total.params,
        "macs": total.macs,
        "activations": total.activations,
        "memory_forward": total.memory_forward,
        "memory_lecture": total.memory_lecture(),
        "input_shape": list(graph.input_shape),
        "output_shape": list(total.output_shape),
        "receptive_field": list(receptive_field(graph)),
        "nodes": len(graph.nodes),
        "key": name,
    }
    rows = layers(graph) if options.layers else []
    if options.json:
        if rows:
            facts["layers"] = [vars(row) for row in rows]
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        show_inspection(options.file, facts, rows)
    return 0


def _build(architecture: Any, shape: tuple[int, ...] | None, options: argparse.Namespace) -> tuple[Graph, str]:
    from nas.plugins import load_built_in
    from nas.space import SPACES
    from nas.types import Task

    load_built_in()
    space = SPACES[architecture.space].with_args(dict(architecture.args))
    for flag in ("classes", "width", "depth"):
        value = getattr(options, flag)
        if value is not None and value < 1:
            raise ConfigError(f"--{flag} must be at least 1, found {value}")
    task = Task("inspect", shape or (3, 32, 32), options.classes)
    return space.build(architecture, task, options.width, options.depth), space.key(architecture)


def _shape(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if len(parts) != 3 or not all(p.isdecimal() and int(p) > 0 for p in parts):
        raise ConfigError(f"--input must be C,H,W: three whole numbers of at least 1, found '{text}'")
    return tuple(int(p) for p in parts)


def list_things(options: argparse.Namespace) -> int:
    """List a registry with a line each."""
    from nas.plugins import load_built_in, load_plugin
    from nas.report.terminal import show_list

    if options.what not in LISTS:
        raise ConfigError(unknown("list", options.what, LISTS))
    load_built_in()
    for plugin in options.plugins:
        load_plugin(plugin)
    show_list(options.what, _LISTERS[options.what]())
    return 0


def _spaces() -> list[tuple[str, str]]:
    from nas.space import SPACES

    return [(name, f"{_first_line(SPACES[name].function)} ({SPACES[name].source})") for name in SPACES]


def _searchers() -> list[tuple[str, str]]:
    from nas.searchers import SEARCHERS

    rows = []
    for name in SEARCHERS:
        args = ", ".join(f"{k}={v}" for k, v in SEARCHERS[name].args.items())
        rows.append((name, f"{SEARCHERS[name].summary} ({SEARCHERS[name].source}){f' [{args}]' if args else ''}"))
    return rows


def _evaluators() -> list[tuple[str, str]]:
    from nas.evaluators import EVALUATORS

    return [(name, EVALUATORS[name].summary) for name in EVALUATORS]


def _datasets() -> list[tuple[str, str]]:
    from nas.training.data import DATASETS

    return [(name, DATASETS[name].description) for name in DATASETS]


def _primitives() -> list[tuple[str, str]]:
    from nas.graph import PRIMITIVES

    return [(name, f"{_first_line(PRIMITIVES[name])} ({PRIMITIVES[name].source})") for name in PRIMITIVES]


_LISTERS: dict[str, Callable[[], list[tuple[str, str]]]] = {
    "spaces": _spaces,
    "searchers": _searchers,
    "evaluators": _evaluators,
    "datasets": _datasets,
    "primitives": _primitives,
}


def _first_line(thing: object) -> str:
    return (getattr(thing, "__doc__", "") or "").strip().split("\n")[0]


def check(options: argparse.Namespace) -> int:
    """Check the spaces that a file registers; exit code 2 when a rule is broken."""
    from nas.plugins import load_built_in, load_plugin
    from nas.report.terminal import say
    from nas.space import SPACES
    from nas.space.check import problems

    load_built_in()
    before = set(SPACES)
    load_plugin(options.file)
    names = sorted(set(SPACES) - before)
    if not names:
        raise ConfigError(f"'{options.file}' registers no search space; decorate a function with @register_space(...)")
    for name in names:
        for problem in problems(SPACES[name]):
            raise ConfigError(f"space '{name}': {problem}")
        say(f"space '{name}' keeps the contract")
    return 0
