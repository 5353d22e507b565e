"""What people see in the terminal: the progress bar, tables and the result. The only room that prints."""

from __future__ import annotations

import math
import re
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from rich.text import Text

from nas.cli.waiting import MONITOR
from nas.core.activity import current_activity
from nas.core.text import PHASES, STEPS, clock, count, duration, elsewhere, hours, printable, printable_lines, rate
from nas.core.values import Json
from nas.engine.config import flag
from nas.errors import TOO_SLOW
from nas.report.next_steps import notices
from nas.report.run_view import RunView
from nas.report.verdict import few_seeds_note, search_verdicts

if TYPE_CHECKING:
    from nas.graph import LayerCost
    from nas.runs.progress import Progress as State

MOST_WORKERS = 40
"""How many workers are shown."""


def say(text: str, console: Console | None = None, prose: bool = False) -> None:
    """Print a line, or several, to standard output or on a console in use.

    On a terminal ``prose`` is broken between words; whatever else may be copied from there is not broken at all.
    """
    MONITOR.printed()
    console = console or Console()
    whole = not (prose and console.is_terminal)
    console.print(printable_lines(text), highlight=False, soft_wrap=whole, markup=False)


def warn(text: str, console: Console | None = None) -> None:
    """Print a line of warning to standard error, or on a console in use."""
    say(f"warning: {text}", console or Console(stderr=True), prose=True)


def note(text: str) -> None:
    """Print a line to standard error, for who waits."""
    say(text, Console(stderr=True), prose=True)


class ProgressBar:
    """A live bar for each phase, and below it what goes on; a line for every tenth where no one watches."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._start = time.monotonic()
        self._bar = _Bars(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[best]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]:<12}"),
            console=self._console,
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._shown: dict[str, int] = {}
        self._state: State | None = None

    def __enter__(self) -> ProgressBar:
        MONITOR.status = self._line
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        MONITOR.status = None
        if self._console.is_terminal:
            self._bar.below = ""
            self._bar.stop()

    def update(self, state: State) -> None:
        """Show ``state``."""
        best = "" if state.best is None else f"best {state.best:.4g}"
        label = PHASES.get(state.phase, state.phase)
        self._state = state
        if not self._console.is_terminal:
            tenth = 10 * state.done // state.total
            if self._shown.get(state.phase) != tenth:
                self._shown[state.phase] = tenth
                self.say(self._summary(state))
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

    def _summary(self, state: State) -> str:
        best = [] if state.best is None else [f"best {state.best:.4g}"]
        parts = [f"{PHASES.get(state.phase, state.phase)}: {state.done} of {state.total}", *best, *activity(state)]
        return ", ".join([*parts, f"{time.monotonic() - self._start:.0f} s"])

    def _line(self) -> str:
        """Return a line for a log in which nothing was written for a while; on a terminal the bar shows it."""
        return "" if self._console.is_terminal or self._state is None else self._summary(self._state)

    def say(self, text: str) -> None:
        """Print a line above the bar."""
        say(text, self._console)

    def warn(self, text: str) -> None:
        """Print a line of warning above the bar."""
        warn(text, self._console)


class _Bars(Progress):
    """The bars of all phases and a line of text."""

    below = ""

    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        # asked for several times a second, also within a trial
        if below := ", ".join(filter(None, (self.below, current_activity()[0]))):
            yield Text(f"  {below}", style="dim", no_wrap=True, overflow="ellipsis")


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
    best = view.ledger.best()
    if best is not None:
        size = f", {best.params:,} parameters, {best.macs:,} MACs" if best.params is not None else ""
        say(f"best: trial {best.index}, reward {best.reward:.4g}{size}")
    else:
        say(_nothing_found(view))
    for notice in notices(view):
        say(f"warning: {notice.text.replace('**', '').replace('`', '')} What to try: see the report.", prose=True)
    rows = view.scores()
    if rows:
        columns = view.config.table
        score = "test %" if view.config.evaluator == "train" else (columns.test_column or columns.val_column or "")
        timed = any(row.latency is not None for row in rows)
        table = Table("network", score, "spread", "parameters", "MACs", "seconds", *["ms an image"] * timed)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            params = f"{row.params:,}" if row.params is not None else ""
            macs = f"{row.macs:,}" if row.macs is not None else ""
            latency = [f"{row.latency or 0:.3g}"] * timed
            table.add_row(_cell(row.name), *row.shown(), params, macs, f"{row.seconds:.1f}", *latency)
        _print_table(table)
        for line in [*(verdict.text for verdict in search_verdicts(view)), few_seeds_note(rows)]:
            if line:
                say(line.replace("**", ""), prose=True)
    slow = sum(t.failure is not None and t.failure.kind == TOO_SLOW for t in view.ledger.trials)
    if slow:
        say(f"{count(slow, 'proposal')} refused as too slow")
    for remark in view.remarks:
        say(remark)
    if view.status not in ("finished", "exhausted"):
        say(f"{view.status}; go on with: {resume_command(view.folder)}")
    say(f"report: {view.folder / 'report.html'}")


def _nothing_found(view: RunView) -> str:
    trials = view.ledger.trials
    if trials and all(t.failure and t.failure.kind == "over_limit" for t in trials):
        limits = ", ".join(f"{flag(name)} {limit:,}" for name, limit in view.config.constraints.to_json().items())
        least = min(trials, key=lambda t: t.macs or 0)
        smallest = f"the smallest had {least.params or 0:,} parameters and {least.macs or 0:,} MACs"
        return f"no trial has a score; all {len(trials):,} proposals were over the limits ({limits}): {smallest}"
    refused = (t.failure for t in trials if t.failure and t.status == "refused")
    slow = [failure.message for failure in refused if failure.kind == TOO_SLOW]
    if slow and not any(t.status in ("done", "failed") for t in trials):
        most = view.config.constraints.seconds
        limit = "" if most is None else f" for {flag('max_trial_seconds')} {most:g}"
        best = min(slow, key=_first_seconds)
        return f"no trial has a score; all {count(len(slow), 'network')} were too slow{limit}, at best: {best}"
    failures = Counter(f"{t.failure.kind}: {t.failure.message}" for t in view.ledger.trials if t.failure)
    if not failures:
        return "no trial has a score"
    message, times = failures.most_common(1)[0]
    return f"no trial has a score; {failures.total():,} failed, {times:,} of them with {message}"


def _first_seconds(message: str) -> float:
    found = re.search(r"(\d+(?:\.\d+)?(?:e[+-]?\d+)?) s\b", message)
    return math.inf if found is None else float(found[1])


def show_status(facts: Json) -> None:
    """Print the status of a run: ``facts`` as :meth:`nas.runs.snapshot.Snapshot.frame` returns them."""
    # What the run does, or did last.
    state, process = facts["state"], facts["process"]
    if state == "killed":
        state = f"killed, or ended by an error, {duration(facts['last_event'])} ago"
    elif state == "running" and process:
        state = f"running as process {process['pid']} on {process['host']}"
    elif state != "running":
        state = f"{state} {duration(facts['last_event'])} ago"
    say(f"{facts['name']}: {state}; {facts['about']}")
    for name, text in status_lines(facts):
        say(f"  {name:<16} {text}")

    workers = facts["workers"]
    if workers:
        names = ("  worker", "node", "pid", "device", "state", "trial", "for", "done")
        table = Table(*names, box=None, padding=(0, 2, 0, 0), header_style="none")
        for column in (2, 5, 6, 7):
            table.columns[column].justify = "right"
        for w in workers[:MOST_WORKERS]:
            trial, spent = ("", "") if w["trial"] is None else (str(w["trial"]), duration(w["seconds"]))
            about = (f"  {w['name']}", w["node"], str(w["pid"] or ""), w["device"] or "-", w["state"])
            table.add_row(*map(_cell, about), trial, spent, f"{w['done']:,}")
        _print_table(table)
        if len(workers) > MOST_WORKERS:
            say(f"  and {len(workers) - MOST_WORKERS:,} more; --json shows all")

    # Failures are cut at the edge of a terminal, and whole in a file.
    if facts["failures"]:
        say("  latest failures")
        table = Table.grid(padding=(0, 2, 0, 0))
        for failure in facts["failures"]:
            message = Text(printable(failure["message"]), no_wrap=True, overflow="ellipsis")
            again = " (retried)" if failure["retried"] else ""
            trial = "" if failure["trial"] is None else f"trial {failure['trial']}"
            table.add_row(f"    {trial}", f"{failure['kind']}{again}", message)
        _print_table(table, cut=True)
    for name in ("logs", "report", "resume"):
        if facts[name]:
            say(f"  {name:<16} {facts[name]}{'/INDEX.log' if name == 'logs' else ''}")


def status_lines(facts: Json) -> Iterator[tuple[str, str]]:
    """Yield a name and a line of text for what is known of a run."""
    # Phases, and what failed or was retried in them.
    running = facts["state"] == "running"
    for name, phase in facts["phases"].items():
        now = running and name == facts["phase"]
        counts = {**phase["counts"], **({"running": len(facts["running"])} if now and facts["running"] else {})}
        listed = ", ".join(f"{n:,} {status}" for status, n in counts.items() if n and status != "pending")
        since = f"; {duration(facts['since'])} so far" if now and facts["since"] is not None else ""
        text = f"{phase['done']:,} of {phase['total']:,}{f': {listed}' if listed else ''}{since}"
        yield "search" if name == "search" else PHASES[name], text
    for name in ("failed", "retried"):
        if facts[name]:
            yield name, ", ".join(f"{n:,} {kind}" for kind, n in facts[name].items())

    # What was found: a comparison has a best mean, a search a best trial.
    best = facts["best"]
    if best is not None and "mean" in best:
        over = count(best["seeds"], "seed")
        yield "best", f"{best['name']} (recipe {best['recipe']}), {best['mean']:.2f} % over {over}"
    elif best is not None:
        size = f", {best['params']:,} parameters, {best['macs']:,} MACs" if best["params"] is not None else ""
        yield "best", f"trial {best['index']}, reward {best['reward']:.4g}{size}"
    if facts["result"] is not None:
        yield "result", facts["result"]

    # How quickly it goes, how long it will take, and what it costs.
    if running:
        parts = []
        if facts["per_hour"] is not None:
            parts.append(rate(facts["per_hour"], STEPS.get(facts["phase"], "trials")))
        if facts["utilisation"] is not None:
            parts.append(f"workers {facts['utilisation']:.0%} busy")
        if parts:
            yield "throughput", ", ".join(parts)
        left = facts["left"]
        if left is not None:
            more = f", about {duration(left['run'])} in all" if left["run"] > left["phase"] else ""
            yield "left", f"{duration(left['phase'])} of this phase{more}"
    cost = facts["cost"]
    more = f", about {hours(cost['left'])} to come" if cost["left"] and cost["left"] >= 0.01 else ""
    yield "cost", f"{hours(cost['spent'])} {cost['unit']}{more}"
    if cost["simulated"]:
        yield "simulated", f"{hours(cost['simulated'])} hours, as the table has it"


def show_inspection(name: str, facts: Mapping[str, object], rows: Sequence[LayerCost]) -> None:
    """Print the cost of a graph, with a row for every layer where ``rows`` are given."""
    if rows:
        table = Table("layer", "kind", "output", "parameters", "MACs", "activations", "field")
        for column in table.columns[3:]:
            column.justify = "right"
        for r in rows:
            shape, field = "x".join(map(str, r.shape)), "x".join(map(str, r.receptive_field))
            table.add_row(
                _cell(r.name), _cell(r.kind), shape, f"{r.params:,}", f"{r.macs:,}", f"{r.activations:,}", field
            )
        _print_table(table)
    say(name)
    for key, value in facts.items():
        if isinstance(value, dict):  # parts of the memory
            for part, number in value.items():
                say(f"    {part:<16} {number:,} bytes")
        elif isinstance(value, list):  # a shape
            say(f"  {key:<16} {'x'.join(map(str, value))}")
        else:
            shown = f"{value:,}" if isinstance(value, int) else value
            say(f"  {key:<16} {shown}{' bytes' if key.startswith('memory') else ''}")


def show_list(what: str, rows: Sequence[tuple[str, str]]) -> None:
    """Print names with a line about each."""
    table = Table(what, "what it is")
    for name, text in rows:
        table.add_row(_cell(name), _cell(text.replace("``", "'")))
    _print_table(table, cut=True)


def show_rows(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table whose cells are text; what begins with a digit in all rows is aligned to the right."""
    table = Table(*head)
    for i, column in enumerate(table.columns):
        if all(row[i][:1] in "+-0123456789" for row in rows):
            column.justify = "right"
    for row in rows:
        table.add_row(*map(_cell, row))
    _print_table(table)


def _cell(text: str) -> Text:
    return Text(printable(text))  # as Text, since brackets would be markup


def _print_table(table: Table, cut: bool = False) -> None:
    """Print a table, without a frame where it goes to a file or another program.

    Nothing is cut off or wrapped, unless it may be ``cut`` at the edge of a terminal; a table that is wider than a
    terminal is printed as several with the same first column.
    """
    console = Console()
    if not console.is_terminal:
        table.box = None
    elif cut:
        console.print(table)
        return
    for part in _fitting(table, console) if console.is_terminal else [table]:
        width = console.measure(part, options=console.options.update(width=10_000)).maximum
        Console(width=max(width, console.width)).print(part)


def _fitting(table: Table, console: Console) -> Iterator[Table]:
    """Yield the columns of ``table`` in tables that are as wide as the terminal at most, where that can be."""
    first, *others = table.columns
    wide = console.options.update(width=10_000)
    part = _columns(table, [first])
    for column in others:
        wider = _columns(table, [*part.columns, column])
        if len(part.columns) > 1 and console.measure(wider, options=wide).maximum > console.width:
            yield part
            wider = _columns(table, [first, column])
        part = wider
    yield part


def _columns(table: Table, columns: Sequence[Column]) -> Table:
    part = Table(box=table.box, padding=table.padding, header_style=table.header_style)
    for column in columns:
        part.add_column(column.header, justify=column.justify)
    for cells in zip(*(column.cells for column in columns), strict=True):
        part.add_row(*cells)
    return part
