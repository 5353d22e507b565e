"""What people see in the terminal: the progress bar, tables and the result. The only room that prints."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from nas.report.markdown import verdict
from nas.report.view import RunView
from nas.report.words import PHASES, STEPS, clock, count, duration, elsewhere, hours, rate
from nas.run.config import flag

if TYPE_CHECKING:
    from nas.graph import LayerCost
    from nas.run.status import Progress as State

MOST_WORKERS = 40
"""How many workers are shown."""


def say(text: str) -> None:
    """Print a line."""
    Console().print(text, highlight=False, soft_wrap=True, markup=False)


def warn(text: str, console: Console | None = None) -> None:
    """Print a line of warning to standard error, or on a console in use."""
    console = console or Console(stderr=True)
    console.print(f"warning: {text}", highlight=False, soft_wrap=True, markup=False)


def note(text: str) -> None:
    """Print a line to standard error, for who waits."""
    Console(stderr=True).print(text, highlight=False, soft_wrap=True, markup=False)


class ProgressBar:
    """A live bar for each phase, and below it what goes on; a line for every tenth where no one watches."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._start = time.monotonic()
        self._bar = _Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("best {task.fields[best]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]:<12}"),
            console=self._console,
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._shown: dict[str, int] = {}

    def __enter__(self) -> ProgressBar:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bar.below = ""
            self._bar.stop()

    def update(self, state: State) -> None:
        """Show ``state``."""
        best = "-" if state.best is None else f"{state.best:.4g}"
        label = PHASES.get(state.phase, state.phase)
        if not self._console.is_terminal:
            self._say(state, label, best)
            return
        left = f"left {clock(state.left)}" if state.left else ""
        if state.phase not in self._tasks:
            for task in self._tasks.values():
                self._bar.update(task, left="")
                self._bar.stop_task(task)
            self._tasks[state.phase] = self._bar.add_task(label, best=best, left=left)
        task = self._tasks[state.phase]
        self._bar.update(task, completed=state.done, total=state.total, best=best, left=left)
        self._bar.below = ", ".join(activity(state))

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    def warn(self, text: str) -> None:
        """Print a line of warning above the bar."""
        warn(text, self._console)

    def _say(self, state: State, label: str, best: str) -> None:
        tenth = 10 * state.done // state.total
        if self._shown.get(state.phase) != tenth:
            self._shown[state.phase] = tenth
            parts = [f"{label}: {state.done} of {state.total}", *([] if best == "-" else [f"best {best}"])]
            self.say(", ".join([*parts, *activity(state), f"{time.monotonic() - self._start:.0f} s"]))


class _Bars(Progress):
    """The bars of all phases and a line of text."""

    below = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        """Return what is drawn."""
        yield from super().get_renderables()
        if self.below:
            yield Text(f"  {self.below}", style="dim", no_wrap=True, overflow="ellipsis")


def activity(state: State) -> list[str]:
    """Return what goes on in a phase, as short phrases: what runs, what failed, how quickly, and how busily."""
    starting = sum(worker.state == "starting" for worker in state.workers)
    parts = [f"{count(starting, 'worker')} starting"] if starting else []
    parts += [f"{state.running:,} running"] if state.running else []
    parts += [f"{state.failed:,} failed"] if state.failed else []
    parts += [f"{state.retried:,} retried"] if state.retried else []
    if state.per_hour is not None:
        parts.append(rate(state.per_hour, STEPS.get(state.phase, "trials")))
    if len(state.workers) > 1:
        busy = "" if state.utilisation is None else f" {state.utilisation:.0%} busy"
        parts.append(f"{len(state.workers):,} workers{busy}")
    return parts


def resume_command(folder: Path) -> str:
    """Return the command that goes on with the run in ``folder``."""
    command = "python run_search.py" if Path(sys.argv[0]).name == "run_search.py" else "nas"
    return f"{command} resume {folder.name}{elsewhere(folder)}"


def show_result(view: RunView) -> None:
    """Print how a run ended: the final comparison, the verdict, and where everything is."""
    console = Console()
    best = view.ledger.best()
    if best is not None:
        size = f", {best.params:,} parameters, {best.macs:,} MACs" if best.params is not None else ""
        console.print(f"best: trial {best.index}, reward {best.reward:.4g}{size}", highlight=False)
    else:
        say(_nothing_found(view))
    rows = view.scores()
    if rows:
        score = "test %" if view.config.evaluator == "train" else (view.config.objective or view.config.reward or "")
        table = Table("network", score, "spread", "parameters", "MACs", "seconds")
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            params = f"{row.params:,}" if row.params is not None else ""
            macs = f"{row.macs:,}" if row.macs is not None else ""
            table.add_row(Text(row.name), *row.shown(), params, macs, f"{row.seconds:.1f}")
        console.print(table)
        say(verdict(rows).replace("**", ""))
    if view.status not in ("finished", "exhausted"):
        say(f"{view.status}; go on with: {resume_command(view.folder)}")
    say(f"report: {view.folder / 'report.html'}")


def _nothing_found(view: RunView) -> str:
    """Say why no trial has a score."""
    trials = view.ledger.trials
    if trials and all(t.failure and t.failure.kind == "over_limit" for t in trials):
        limits = ", ".join(
            f"{flag(n)} {v:,}" for n in ("max_params", "max_macs") if (v := getattr(view.config, n)) is not None
        )
        least = min(trials, key=lambda t: t.macs or 0)
        return (
            f"no trial has a score; all {len(trials):,} proposals were over the limits ({limits}): the smallest had "
            f"{least.params or 0:,} parameters and {least.macs or 0:,} MACs"
        )
    failures = Counter(f"{t.failure.kind}: {t.failure.message}" for t in view.ledger.trials if t.failure)
    if not failures:
        return "no trial has a score"
    message, count = failures.most_common(1)[0]
    return f"no trial has a score; {failures.total():,} failed, {count:,} of them with {message}"


def show_status(facts: Mapping[str, Any]) -> None:
    """Print how a run stands: ``facts`` as :meth:`nas.run.snapshot.Snapshot.frame` returns them."""
    say(f"{facts['name']}: {_state(facts)}")
    for name, text in status_lines(facts):
        say(f"  {name:<16} {text}")
    if facts["workers"]:
        _show_workers(facts["workers"])
    if facts["failures"]:
        say("  last failures")
        table = Table.grid(padding=(0, 2, 0, 0))
        for failure in facts["failures"]:
            message = Text(failure["message"], no_wrap=True, overflow="ellipsis")
            again = " (retried)" if failure["retried"] else ""
            trial = "" if failure["trial"] is None else f"trial {failure['trial']}"
            table.add_row(f"    {trial}", f"{failure['kind']}{again}", message)
        if Console().is_terminal:
            Console().print(table)
        else:
            _print_whole(table)
    for name in ("logs", "report", "resume"):
        if facts[name]:
            say(f"  {name:<16} {facts[name]}{'/INDEX.log' if name == 'logs' else ''}")


def _state(facts: Mapping[str, Any]) -> str:
    state, process = facts["state"], facts["process"]
    if state == "killed":
        state = f"killed, or ended by an error, {duration(facts['last_event'])} ago"
    elif state == "running" and process:
        state = f"running as process {process['pid']} on {process['host']}"
    elif state != "running":
        state = f"{state} {duration(facts['last_event'])} ago"
    return f"{state}; {facts['about']}"


def status_lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield a name and a line of text for what is known of a run."""
    running = facts["state"] == "running"
    for name, phase in facts["phases"].items():
        now = running and name == facts["phase"]
        counts = {**phase["counts"], **({"running": len(facts["running"])} if now and facts["running"] else {})}
        listed = ", ".join(f"{n:,} {status}" for status, n in counts.items() if n and status != "pending")
        since = f"; {duration(facts['since'])} so far" if now and facts["since"] is not None else ""
        yield (
            ("search" if name == "search" else PHASES[name]),
            f"{phase['done']:,} of {phase['total']:,}{f': {listed}' if listed else ''}{since}",
        )
    for name in ("failed", "retried"):
        if facts[name]:
            yield name, ", ".join(f"{n:,} {kind}" for kind, n in facts[name].items())
    if facts["best"] is not None:
        yield "best", _best(facts["best"])
    if facts["result"] is not None:
        yield "result", facts["result"]
    if running:
        yield from _pace(facts)
    cost = facts["cost"]
    left = f", about {hours(cost['left'])} to come" if cost["left"] and cost["left"] >= 0.01 else ""
    yield "cost", f"{hours(cost['spent'])} {cost['unit']}{left}"
    if cost["simulated"]:
        yield "simulated", f"{hours(cost['simulated'])} hours, as the table has it"


def _best(best: Mapping[str, Any]) -> str:
    if "mean" in best:
        return f"{best['name']} (recipe {best['recipe']}), {best['mean']:.2f} % over {count(best['seeds'], 'seed')}"
    size = f", {best['params']:,} parameters, {best['macs']:,} MACs" if best["params"] is not None else ""
    return f"trial {best['index']}, reward {best['reward']:.4g}{size}"


def _pace(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    parts = []
    if facts["per_hour"] is not None:
        parts.append(rate(facts["per_hour"], STEPS.get(facts["phase"], "trials")))
    if facts["utilisation"] is not None:
        parts.append(f"workers {facts['utilisation']:.0%} busy")
    if parts:
        yield "pace", ", ".join(parts)
    left = facts["left"]
    if left is not None:
        more = f", about {duration(left['run'])} in all" if left["run"] > left["phase"] else ""
        yield "left", f"{duration(left['phase'])} of this phase{more}"


def _show_workers(workers: Sequence[Mapping[str, Any]]) -> None:
    names = ("  worker", "node", "pid", "device", "state", "trial", "for", "done")
    table = Table(*names, box=None, padding=(0, 2, 0, 0), header_style="none")
    for column in (2, 5, 6, 7):
        table.columns[column].justify = "right"
    for w in workers[:MOST_WORKERS]:
        trial, spent = ("", "") if w["trial"] is None else (str(w["trial"]), duration(w["seconds"]))
        about = (f"  {w['name']}", w["node"], str(w["pid"] or ""), w["device"] or "-", w["state"])
        table.add_row(*map(Text, about), trial, spent, f"{w['done']:,}")
    _print_whole(table)
    if len(workers) > MOST_WORKERS:
        say(f"  and {len(workers) - MOST_WORKERS:,} more; --json shows all")


def show_inspection(name: str, facts: Mapping[str, Any], rows: Sequence[LayerCost]) -> None:
    """Print the cost of a graph, with a row for every layer where ``rows`` are given."""
    if rows:
        table = Table("layer", "kind", "output", "parameters", "MACs", "activations", "field")
        for column in table.columns[3:]:
            column.justify = "right"
        for r in rows:
            shape, field = "x".join(map(str, r.shape)), "x".join(map(str, r.receptive_field))
            table.add_row(r.name, r.kind, shape, f"{r.params:,}", f"{r.macs:,}", f"{r.activations:,}", field)
        _print_whole(table)
    say(name)
    for key, value in facts.items():
        if isinstance(value, dict):
            for part, count in value.items():
                say(f"    {part:<16} {count:,} bytes")
            continue
        shown = (
            f"{value:,}" if isinstance(value, int) else "x".join(map(str, value)) if isinstance(value, list) else value
        )
        unit = " bytes" if key.startswith("memory") else ""
        say(f"  {key:<16} {shown}{unit}")


def show_list(what: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print names with a line about each."""
    table = Table(what, "what it is")
    for name, text in rows:
        table.add_row(name, Text(text.replace("``", "'")))  # as Text, since brackets would be markup
    console = Console()
    if console.is_terminal:
        console.print(table)
    else:
        _print_whole(table)


def show_rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table whose cells are text; what begins with a digit in all rows is aligned to the right."""
    table = Table(*head)
    for i, column in enumerate(table.columns):
        if all(row[i][:1] in "+-0123456789" for row in rows):
            column.justify = "right"
    for row in rows:
        table.add_row(*map(Text, row))
    _print_whole(table)


def _print_whole(table: Table) -> None:
    """Print a table with nothing cut off or wrapped; without a frame where it goes to a file or another program."""
    console = Console()
    if not console.is_terminal:
        table.box = None
    width = console.measure(table, options=console.options.update(width=10_000)).maximum
    Console(width=max(width, console.width)).print(table)
