"""What people see in the terminal: the progress bar, tables and the result. The only room that prints."""

from __future__ import annotations

import shlex
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import TimeRemainingColumn as Remaining
from rich.table import Table
from rich.text import Text

from nas.report.markdown import verdict
from nas.report.view import RunView

if TYPE_CHECKING:
    from nas.graph import LayerCost
    from nas.runs import Progress as State

PHASES = {"search": "searching", "random": "random search", "final": "final comparison"}


def say(text: str) -> None:
    """Print a line."""
    Console().print(text, highlight=False, soft_wrap=True, markup=False)


def warn(text: str, console: Console | None = None) -> None:
    """Print a line of warning to standard error, or on a console in use."""
    console = console or Console(stderr=True)
    console.print(f"warning: {text}", highlight=False, soft_wrap=True, markup=False)


class ProgressBar:
    """A live bar for each phase with the best reward and the time left; a line for every tenth where no one watches."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._start = time.monotonic()
        self._bar = Progress(
            TextColumn("{task.description:<16}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("best {task.fields[best]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            Remaining(),
            console=self._console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._shown: dict[str, int] = {}

    def __enter__(self) -> ProgressBar:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def update(self, state: State) -> None:
        """Show ``state``."""
        best = "-" if state.best is None else f"{state.best:.4g}"
        label = PHASES.get(state.phase, state.phase)
        if not self._console.is_terminal:
            self._say(state, f"{label}: {state.done} of {state.total}{'' if best == '-' else f', best {best}'}")
            return
        if state.phase not in self._tasks:
            self._tasks[state.phase] = self._bar.add_task(label, total=state.total, best=best, completed=state.done)
        self._bar.update(self._tasks[state.phase], completed=state.done, total=state.total, best=best)

    def warn(self, text: str) -> None:
        """Print a line of warning above the bar."""
        warn(text, self._console)

    def _say(self, state: State, text: str) -> None:
        tenth = 10 * state.done // state.total
        if self._shown.get(state.phase) != tenth:
            self._shown[state.phase] = tenth
            self._console.print(f"{text}, {time.monotonic() - self._start:.0f} s", highlight=False, soft_wrap=True)


def resume_command(folder: Path) -> str:
    """Return the command that goes on with the run in ``folder``."""
    where = "" if folder.parent == Path("results") else f" --results-dir {shlex.quote(str(folder.parent))}"
    command = "python run_search.py" if Path(sys.argv[0]).name == "run_search.py" else "nas"
    return f"{command} resume {folder.name}{where}"


def show_result(view: RunView) -> None:
    """Print how a run ended: the final comparison, the verdict, and where everything is."""
    console = Console()
    best = view.ledger.best()
    if best is not None:
        size = f", {best.params:,} parameters, {best.macs:,} MACs" if best.params is not None else ""
        console.print(f"best: trial {best.index}, reward {best.reward:.4g}{size}", highlight=False)
    else:
        say(_nothing(view))
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
    say(f"report: {view.folder / 'report.md'}")


def _nothing(view: RunView) -> str:
    failures = Counter(f"{t.failure.kind}: {t.failure.message}" for t in view.ledger.trials if t.failure)
    if not failures:
        return "no trial has a score"
    message, count = failures.most_common(1)[0]
    return f"no trial has a score; {failures.total():,} failed, {count:,} of them with {message}"


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


def _print_whole(table: Table) -> None:
    """Print a table with nothing cut off or wrapped; without a frame where it goes to a file or another program."""
    console = Console()
    if not console.is_terminal:
        table.box = None
    width = console.measure(table, options=console.options.update(width=10_000)).maximum
    Console(width=max(width, console.width)).print(table)
