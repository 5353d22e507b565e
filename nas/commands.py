"""What each command does. Heavy modules are imported inside, when the command runs."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from nas.errors import ConfigError, unknown

if TYPE_CHECKING:
    from nas.run.config import RunConfig
    from nas.run.status import Progress
    from nas.runs import Run

LISTS = (
    "spaces",
    "searchers",
    "schedulers",
    "evaluators",
    "datasets",
    "recipes",
    "primitives",
    "blocks",
    "networks",
    "genotypes",
)
INTERRUPTED = 130
"""The exit code of a command that Ctrl-C has ended early, also where it has written its report."""
PRESET: dict[str, Any] = {"space_args": {"nodes": 3}, "width": 8, "depth": 1}
"""Settings of the default space where the user names none: a few minutes on two cores."""


def search(options: argparse.Namespace) -> int:
    """Start a run and carry it to its report."""
    from nas.cli import settings_of
    from nas.run.config import RunConfig, load_toml
    from nas.runs import Run, folder_of, fresh_name
    from nas.starts import start_architecture
    from nas.study import completed

    settings = load_toml(options.config) if options.config else {}
    RunConfig.from_json(settings, str(options.config))  # alone first: its errors name the file
    given = settings_of(options)
    start = given.get("start_from") or settings.get("start_from")
    if start and "space" not in given and "space" not in settings:
        first = start_architecture(start[0])
        settings = {"space_args": dict(first.args), **settings, "space": first.space}
    for name, args in (("space", "space_args"), ("searcher", "searcher_args"), ("scheduler", "scheduler_args")):
        if name in given and given[name] != settings.get(name):
            settings = {key: value for key, value in settings.items() if key != args}  # they belong to another
    if "space" not in settings and "space" not in given:
        settings = {**PRESET, **settings}
    for name, value in given.items():
        settings[name] = {**settings.get(name, {}), **value} if isinstance(value, dict) else value
    config = RunConfig.from_json(settings, "search")
    if options.forecast:
        return _forecast(completed(config))
    name = fresh_name(options.results_dir, completed(config)) if options.name is None else options.name
    return _carry_out(Run.create(folder_of(options.results_dir, name), config))


def _forecast(config: RunConfig) -> int:
    from nas.forecast import SAMPLES, forecast
    from nas.report.terminal import note, say
    from nas.study import assemble

    note(f"measuring one epoch of {SAMPLES} sampled networks ...")
    say(forecast(config, assemble(config)))
    return 0


def resume(options: argparse.Namespace) -> int:
    """Go on with a run from its journal."""
    from nas.after.kinds import module_of
    from nas.cli import settings_of
    from nas.runs import Run, folder_of

    folder, changes = folder_of(options.results_dir, options.name), settings_of(options)
    if (other := module_of(folder)) is not None:
        code: int = other.resume(folder, changes)
        return code
    return _carry_out(Run.resume(folder, changes))


def report(options: argparse.Namespace) -> int:
    """Write a run's outputs anew."""
    from nas.after.kinds import module_of
    from nas.report.outputs import write_outputs
    from nas.report.terminal import show_result, warn
    from nas.run.journal import ends_torn
    from nas.runs import find_journal, folder_of

    folder = folder_of(options.results_dir, options.name)
    path = find_journal(folder)
    if (other := module_of(folder)) is not None:
        code: int = other.report(folder)
        return code
    if ends_torn(path):
        warn(f"journal '{path}': the last write is not whole and is left out; a killed run cuts it off when resumed")
    show_result(write_outputs(folder))
    return 0


def export_study(options: argparse.Namespace) -> int:
    """Write a run as an Optuna study."""
    from nas.report.study_export import export_study
    from nas.report.terminal import say
    from nas.runs import find_journal, folder_of

    folder = folder_of(options.results_dir, options.name)
    find_journal(folder)
    count = export_study(folder, options.output)
    say(f"study of {count} trials: {options.output}")
    return 0


def _carry_out(run: Run) -> int:
    from nas.forecast import Announcer
    from nas.report.terminal import ProgressBar, show_result, warn
    from nas.report.view import load_view

    shown = run.warning
    if shown:
        warn(shown)
    announce = Announcer(run.config, run.ledger.trials)
    with ProgressBar() as bar, stopping_once(run, bar.warn):

        def observe(progress: Progress) -> None:
            bar.update(progress)
            if line := announce(progress):
                bar.say(line)

        run.execute(observe)
    if run.warning != shown:
        warn(run.warning)
    view = load_view(run.folder)
    show_result(view)
    if view.status == "interrupted":
        return INTERRUPTED
    return 0 if view.ledger.best() else 1


class stopping_once:
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
    from nas.searchers import FAMILIES, SEARCHERS
    from nas.searchers.auto import AUTO, LONG, automatic
    from nas.searchers.schedulers import SHORTHANDS

    rows = []
    for name in SEARCHERS:
        args = ", ".join(f"{k}={v}" for k, v in SEARCHERS[name].args.items())
        rows.append((name, f"{SEARCHERS[name].summary} ({SEARCHERS[name].source}){f' [{args}]' if args else ''}"))
    rows += [(f"{name}:NAME", f"{FAMILIES[name].summary} ({FAMILIES[name].source})") for name in FAMILIES]
    rows += [(name, s.summary) for name, s in SHORTHANDS.items()]
    rows.append((AUTO, f"The best measured: {automatic(1)}, and from {LONG:,} trials on {automatic(LONG)}"))
    return sorted(rows)


def _schedulers() -> list[tuple[str, str]]:
    from nas.searchers import SCHEDULERS

    rows = []
    for name in SCHEDULERS:
        args = ", ".join(f"{k}={v}" for k, v in SCHEDULERS[name].args.items())
        rows.append((name, f"{SCHEDULERS[name].summary} ({SCHEDULERS[name].source}) [{args}]"))
    return rows


def _evaluators() -> list[tuple[str, str]]:
    from nas.evaluators import EVALUATORS

    return [(name, EVALUATORS[name].summary) for name in EVALUATORS]


def _datasets() -> list[tuple[str, str]]:
    from nas.training.data import DATASETS

    return [(name, DATASETS[name].description) for name in DATASETS]


def _recipes() -> list[tuple[str, str]]:
    from nas.training.recipes import RECIPES

    rows = []
    for name in RECIPES:
        r, of = RECIPES[name].recipe, RECIPES[name]
        numbers = f"{r.optimiser} {r.learning_rate:g}, {r.schedule}, batches of {r.batch_size}, {r.epochs} epochs"
        rows.append((name, f"{numbers} ({of.source}){f'; {of.remarks}' if of.remarks else ''}"))
    return rows


def _primitives() -> list[tuple[str, str]]:
    from nas.graph import PRIMITIVES

    return [(name, f"{_first_line(PRIMITIVES[name])} ({PRIMITIVES[name].source})") for name in PRIMITIVES]


def _blocks() -> list[tuple[str, str]]:
    from importlib import import_module

    operations = import_module("search_spaces.blocks.operations").OPERATIONS
    return [(name, _first_line(operations[name]) or "an operation of NASNet's or DARTS' set") for name in operations]


def _networks() -> list[tuple[str, str]]:
    from importlib import import_module

    networks = import_module("search_spaces.networks.registry").NETWORKS
    shown = {name: networks[name] for name in networks}
    return [(n, f"{'x'.join(map(str, i.input_shape))}, {i.classes} classes ({i.source})") for n, i in shown.items()]


def _genotypes() -> list[tuple[str, str]]:
    from importlib import import_module

    genotypes = import_module("search_spaces.genotypes").GENOTYPES
    return [(name, genotypes[name].source) for name in genotypes]


_LISTERS: dict[str, Callable[[], list[tuple[str, str]]]] = {
    "spaces": _spaces,
    "searchers": _searchers,
    "schedulers": _schedulers,
    "evaluators": _evaluators,
    "datasets": _datasets,
    "recipes": _recipes,
    "primitives": _primitives,
    "blocks": _blocks,
    "networks": _networks,
    "genotypes": _genotypes,
}


def _first_line(thing: object) -> str:
    return (getattr(thing, "__doc__", "") or "").strip().split("\n")[0]


def check(options: argparse.Namespace) -> int:
    """Check the spaces and the searchers that a file registers; exit code 2 when a rule is broken."""
    from nas.plugins import load_built_in, load_plugin, naming
    from nas.report.terminal import say
    from nas.searchers import SEARCHERS
    from nas.space import SPACES
    from nas.space.check import problems
    from nas.testing import LAWS, check_searcher

    load_built_in()
    before = {*SPACES}, {*SEARCHERS}
    load_plugin(options.file)
    spaces, searchers = sorted({*SPACES} - before[0]), sorted({*SEARCHERS} - before[1])
    if not spaces and not searchers:
        rule = "decorate a function with @register_space(...) or a class with @register_searcher(...)"
        raise ConfigError(f"'{options.file}' registers no search space and no searcher; {rule}")
    for name in spaces:
        for problem in problems(SPACES[name]):
            raise ConfigError(f"space '{name}': {problem}")
        say(f"space '{name}' keeps the contract")
    for name in searchers:
        with naming(f"searcher '{name}'", ours=True):
            check_searcher(name, plugin=options.file)
        say(f"searcher '{name}' keeps all {len(LAWS)} laws")
    return 0
