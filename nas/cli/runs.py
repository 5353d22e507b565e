"""The commands about a run of any kind: resume, report, status and export-optuna.

The ``kind`` of a run is told by its journal's first event; that of a search has none, as all were searches at first.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.carry_out import RunKind, carry_out
from nas.cli.compare import ComparisonKind
from nas.cli.flags import grace_flag, plugin_flag, results_flag, setting_flags, settings_of
from nas.cli.parser import Command, Parser
from nas.cli.scale import GridKind
from nas.cli.train import TrainingKind
from nas.core.activity import doing
from nas.core.values import Json
from nas.engine.config import CHANGEABLE
from nas.errors import ConfigError
from nas.runs.journal import check_unlocked, ends_torn, stream
from nas.runs.run_folder import JOURNAL, SEARCH, RunFolder, find_journal, folder_of

if TYPE_CHECKING:
    from nas.engine.run import SearchRun
    from nas.runs.progress import Progress


class SearchKind(RunKind["SearchRun"]):
    """Searches for an architecture."""

    def resume(self, folder: Path, changes: Json, accept_changes: bool) -> RunFolder[SearchRun]:
        from nas.engine.run import SearchRun
        from nas.report.write import write_outputs
        from nas.trackers.tracking import checked_changes

        # a tracker that cannot be made here is told of before the run is touched
        changes, _ = checked_changes(folder, changes)
        return SearchRun.resume(folder, changes, write_outputs, accept_changes=accept_changes)

    def execute(self, run: RunFolder[SearchRun], observe: Callable[[Progress], None]) -> str:
        """Carry the search out while its trackers are told of it."""
        if not run.plan.config.track:
            return run.execute(observe)
        from nas.trackers.registry import make_trackers
        from nas.trackers.tracking import Listener, execute

        return execute(run, tuple(map(Listener, make_trackers(run.plan.config.track))), observe)

    def announce(self, run: RunFolder[SearchRun]) -> Callable[[Progress], str]:
        """Return what says once, of a long search, how long it will take."""
        from nas.engine.forecast import Announcer

        return Announcer(run.plan.config, run.plan.ledger.trials)

    def write_outputs(self, folder: Path) -> None:
        from nas.report.write import write_outputs

        write_outputs(folder)

    def show(self, folder: Path) -> int:
        """Print the best and the final comparison; without a best the exit code is 1."""
        from nas.cli.terminal import show_result
        from nas.report.run_view import load_view

        view = load_view(folder)
        show_result(view)
        return 0 if view.ledger.best() else 1

    def status(self, folder: Path) -> Json:
        from nas.engine.status import read_status

        return read_status(folder).facts()


KINDS: Mapping[str, RunKind[Any]] = {
    SEARCH: SearchKind(),
    "compare": ComparisonKind(),
    "train": TrainingKind(),
    "scale": GridKind(),
}


def kind_of(folder: Path) -> RunKind[Any]:
    """Return what is done with the run in ``folder``; a missing run raises with the nearest name."""
    name = next(stream(find_journal(folder))).get("kind", SEARCH)
    if name not in KINDS:
        raise ConfigError(f"run '{folder.name}' was made by nas {name}, which a newer version has")
    return KINDS[name]


def register(command: Command) -> None:
    """Add the commands and their flags."""

    def about_a_run(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> Parser:
        sub = command(name, text, run)
        sub.add_argument("name", metavar="NAME", help="name of the run")
        results_flag(sub)
        return sub

    text = "go on with an interrupted or killed run, also on another machine or cluster"
    sub = about_a_run("resume", text, resume)
    # the threads of a search decide about the last bits of its results; a training's are its workers' affair
    setting_flags(sub, (*CHANGEABLE, "threads"), defaults=False)
    text = "go on though table, plugins, data or versions are not those that it began with; the report says so"
    sub.add_argument("--accept-changes", action="store_true", help=text)
    grace_flag(sub)
    plugin_flag(about_a_run("report", "write the report of a run again from its journal", report))
    text = "show the progress of a run, also while it runs in another terminal"
    sub = about_a_run("status", text, status)
    sub.add_argument("--json", action="store_true", help="print JSON")
    plugin_flag(sub)
    text = "write a run as an Optuna study; look at it with: optuna-dashboard FILE.log, or sqlite:///FILE.db"
    sub = about_a_run("export-optuna", text, export_optuna)
    text = "new file: .log is Optuna's journal, .db or .sqlite3 SQLite"
    sub.add_argument("-o", "--output", metavar="FILE", type=Path, required=True, help=text)
    plugin_flag(sub)


def resume(options: argparse.Namespace) -> int:
    """Go on with a run from its journal."""
    folder = folder_of(options.results_dir, options.name)
    kind = kind_of(folder)
    check_unlocked(folder / JOURNAL)  # at once: the parts of a search take a second to import
    with doing("preparing the run"):
        run = kind.resume(folder, settings_of(options), options.accept_changes)
    return carry_out(run, kind, options.grace)


def report(options: argparse.Namespace) -> int:
    """Write a run's outputs again."""
    from nas.cli.terminal import warn

    _load(options.plugins)
    folder = folder_of(options.results_dir, options.name)
    path, kind = find_journal(folder), kind_of(folder)
    if ends_torn(path):
        warn(f"journal '{path}': the last write is not whole and is left out; a killed run cuts it off when resumed")
    kind.write_outputs(folder)
    kind.show(folder)
    return 0  # the report is there, whatever it says


def status(options: argparse.Namespace) -> int:
    """Show the progress of a run, also while another process runs it; an unknown run raises with the nearest name."""
    from nas.cli.terminal import resume_command, say, show_status
    from nas.runs.snapshot import ENDED

    _load(options.plugins)
    folder = folder_of(options.results_dir, options.name)
    facts = kind_of(folder).status(folder)
    if facts["state"] not in ("running", *ENDED):
        facts["resume"] = resume_command(folder)
    if options.json:
        say(json.dumps(facts, indent=2))
    else:
        show_status(facts)
    return 0


def export_optuna(options: argparse.Namespace) -> int:
    """Write a run as an Optuna study."""
    from nas.cli.terminal import say
    from nas.report.optuna_export import export_study

    _load(options.plugins)
    folder = folder_of(options.results_dir, options.name)
    find_journal(folder)
    count = export_study(folder, options.output)
    say(f"study of {count} trials: {options.output}")
    return 0


def _load(plugins: list[str]) -> None:
    """Run the plugins that are named on the command line; without any nothing is imported for it."""
    if plugins:
        from nas.core.plugins import load_plugins

        load_plugins(plugins)
