"""What the storms of durability.py share: searches through the command line, and what must be kept in the end."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from common import ROOT, show

from nas.runs.journal import read

PLUGIN = '''"""An evaluator whose rewards depend on the architecture alone, and fail now and then."""

import os
import time

from nas.evaluators import register_evaluator


@register_evaluator("slow")
def slow(job):
    "Rewards the key, slowly."
    number = int(job.key[:8], 16)
    time.sleep(float(os.environ.get("STORM_SLEEP", (1 + number % 3) / 1000)))
    if os.environ.get("STORM_SIDE"):
        side = os.open(os.environ["STORM_SIDE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        os.write(side, f"{job.index} {number / 0xFFFFFFFF!r}\\n".encode())
        os.close(side)
    if number % 9 == 0:
        raise ValueError(f"planted failure {number}")
    return number / 0xFFFFFFFF
'''
SETTINGS = ("--space=nb201", "--depth=1", "--max-params=230k", "--searcher=local")
ALONE = ("--evaluator=slow", "--baseline=none", "--final-seeds=0")
TIMING = ("crc", "seq", "wall", "seconds", "time")
PROGRESS = (
    *("search: ", "images: ", "classes: ", "scores: ", "then: ", "how long ", "measuring ", "forecast: "),
    *("searching: ", "random search: ", "final comparison: ", "preparing the ", "warning: "),
)


@dataclass
class Row:
    """What one storm did: how often it struck, the broken promises, and what was measured."""

    storm: str
    tries: int = 0
    faults: list[str] = field(default_factory=list)
    measured: str = ""

    def hold(self, truth: bool, fault: str) -> None:
        """Note ``fault`` unless ``truth``."""
        if not truth:
            self.faults.append(fault)


@dataclass
class Search:
    """One run through the command line: its results folder, name, seed and number of trials."""

    home: Path
    name: str
    seed: int
    trials: int

    @property
    def folder(self) -> Path:
        """The run's folder."""
        return self.home / "results" / self.name

    @property
    def journal(self) -> Path:
        """The run's journal."""
        return self.folder / "journal.jsonl"

    @property
    def side(self) -> Path:
        """Where the evaluator notes its results."""
        return self.home / f"{self.name}.side"

    def command(self, what: str) -> list[str]:
        """Return the command that starts (``search``) or resumes (``resume``) the run."""
        program = [sys.executable, str(ROOT / "run_search.py"), what, "--results-dir", str(self.home / "results")]
        if what == "resume":
            return [*program, self.name]
        counts = ["--name", self.name, "--trials", str(self.trials), "--seed", str(self.seed)]
        return [*program, *counts, *SETTINGS, *ALONE, "--plugin", str(plugin(self.home))]

    def start(self, what: str = "", limit: int | None = None, **extra: str) -> subprocess.Popen[str]:
        """Start the process; ``limit`` is the size in bytes that no file may exceed."""
        # a limited process must not leave truncated bytecode for everyone else
        variables = {**os.environ, "STORM_SIDE": str(self.side), "PYTHONDONTWRITEBYTECODE": "1", **extra}
        limits = (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))) if limit is not None else None
        what = what or ("resume" if self.folder.exists() else "search")
        return subprocess.Popen(
            self.command(what),
            env=variables,
            preexec_fn=limits,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def finish(self, row: Row, **extra: str) -> None:
        """Start or resume the run and let it end; it must end well."""
        process = self.start(**extra)
        error = process.communicate()[1]
        row.hold(process.returncode == 0, f"{self.name}: exit code {process.returncode}: {error[-300:]}")

    @cached_property
    def essence(self) -> list[dict[str, Any]]:
        """What the finished run decided and found."""
        return essence(read(self.journal))


def print_rows(title: str, counted: str, rows: list[Row]) -> int:
    """Print the table of storms and what they broke; return the exit code, 1 when a promise is broken."""
    cells = [(row.storm, row.tries, len(row.faults), row.measured) for row in rows]
    show(title, ("storm", counted, "broken promises", "measured"), cells)
    for row in rows:
        for fault in row.faults[:20]:
            print(f"{row.storm}: {fault}")
    return int(any(row.faults for row in rows))


def essence(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what a search decided and found: its events but for those of processes, without their times."""
    kept = [event for event in events if event["event"] not in ("run", "begun", "moved", "stopped")]
    return [{k: v for k, v in event.items() if k not in TIMING} for event in kept]


def plugin(home: Path) -> Path:
    """Return the file of the evaluator below ``home``, written if need be."""
    path = home / "slow_evaluator.py"
    if not path.exists():
        path.write_text(PLUGIN)
    return path


def undisturbed(search: Search, row: Row) -> Search:
    """Run the same search beside ``search`` to its end and return it."""
    other = Search(search.home, f"{search.name}-whole", search.seed, search.trials)
    if not other.folder.exists():
        other.finish(row, STORM_SIDE="", STORM_SLEEP="0")
    return other


def whole_lines(path: Path) -> bytes:
    """Return what an outside reader knows to be recorded: the lines that have their newline."""
    data = path.read_bytes() if path.exists() else b""
    return data[: data.rfind(b"\n") + 1]


def error_lines(text: str) -> list[str]:
    """Return what a user sees on standard error besides progress and warnings."""
    lines = text.splitlines()
    return [line for line in lines if not line.startswith(PROGRESS) and not line.endswith((" so far", " left"))]


def check_ended(row: Row, search: Search, seen: bytes, whole: Search) -> None:
    """Hold a run that ended after its storm to the promises: nothing lost, nothing twice, nothing else."""
    row.hold(search.journal.read_bytes().startswith(seen), f"{search.name}: a line that was seen is lost")
    events = read(search.journal)
    results = Counter(e["index"] for e in events if e["event"] in ("done", "failed", "refused", "reused"))
    row.hold(max(results.values()) == 1, f"{search.name}: a result is recorded twice")
    # a trial that was killed twice counts as crashed, and the search then goes another way
    found = essence(events)
    crashed = [e["index"] for e in found if e["event"] == "failed" and e["kind"] == "crashed"]
    deaths = Counter(e["trial"] for e in events if e["event"] == "stopped" and "trial" in e)
    row.hold(all(deaths[index] >= 2 for index in crashed), f"{search.name}: a trial crashed without dying twice")
    equal = next((i for i, e in enumerate(found) if e["index"] in crashed[:1] and e["event"] == "failed"), None)
    row.hold(found[:equal] == whole.essence[:equal], f"{search.name}: differs from the undisturbed search")
    if search.side.exists():
        noted = set(search.side.read_text().splitlines())
        done = [f"{e['index']} {e['reward']!r}" for e in events if e["event"] == "done"]
        row.hold(noted.issuperset(done), f"{search.name}: a recorded result was never measured")


def timed(command: list[str]) -> tuple[float, float, subprocess.CompletedProcess[str]]:
    """Run a command; return its seconds, those of them on the processor, and what came of it."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done


def wait_for(search: Search, results: int) -> None:
    """Wait until the journal of a running search holds ``results`` finished trials."""
    end = time.perf_counter() + 60
    while whole_lines(search.journal).count(b'"event":"done"') < results:
        assert time.perf_counter() < end, f"{search.name} does not get on"
        time.sleep(0.005)
