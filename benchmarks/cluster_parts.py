"""What the storms of cluster_storms.py share: searches on Ray, what they leave behind, and what must be kept."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import ROOT
from nodes import alive
from storm import ALONE, PROGRESS, SETTINGS, Row, Search, whole_lines

from nas.executors.ray.watchdog import holders
from nas.runs.journal import read

PLUGIN = '''"""An evaluator whose rewards depend on the architecture alone; it notes when it begins and when it ends."""

import os
import time

from nas.evaluators import register_evaluator

SIDE = {side!r}


def note(*words):
    "Add a line to the file that the storm reads."
    side = os.open(SIDE, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(side, (" ".join(map(str, words)) + "\\n").encode())
    os.close(side)


@register_evaluator("slow")
def slow(job):
    "Rewards the key, slowly."
    number = int(job.key[:8], 16)
    if os.environ.get("STORM_SLEEP") != "0":
        note("begin", job.index, job.attempt, os.getpid(), time.monotonic())
        time.sleep({seconds!r} * (1 + number % 3))
        note("end", job.index, job.attempt, os.getpid(), time.monotonic())
    if number % 9 == 0:
        raise ValueError("planted failure " + str(number))
    return number / 0xFFFFFFFF
'''
ENDS = ("done", "failed", "refused", "reused")


@dataclass
class Begun:
    """An attempt of trial ``index`` that process ``pid`` began, at ``when`` on the monotonic clock."""

    index: int
    attempt: int
    pid: int
    when: float
    line: int
    ended: bool = False

    def age(self) -> float:
        """Return the seconds since."""
        return time.monotonic() - self.when


@dataclass
class RaySearch(Search):
    """A search whose trials run on Ray and take ``seconds`` to three times as long; ``flags`` are its own."""

    flags: tuple[str, ...] = ()
    seconds: float = 0.1
    plugin: str = PLUGIN
    resume_flags: tuple[str, ...] = ()
    program: tuple[str, ...] = (str(ROOT / "run_search.py"),)

    def command(self, what: str) -> list[str]:
        """Return the command that starts (``search``) or resumes (``resume``) the run."""
        program = [sys.executable, *self.program, what, "--results-dir", str(self.home / "results")]
        if what == "resume":
            return [*program, self.name, *self.resume_flags]
        path = self.home / f"{self.name}.py"
        path.write_text(
            self.plugin.format(side=str(self.side), seconds=self.seconds, benchmarks=str(ROOT / "benchmarks"))
        )
        counts = ["--name", self.name, "--trials", str(self.trials), "--seed", str(self.seed)]
        return [*program, *counts, *SETTINGS, *ALONE, "--plugin", str(path), *self.flags]

    def undisturbed(self, row: Row) -> RaySearch:
        """Run the same search in one process to its end."""
        same = tuple(flag for flag in self.flags if flag.startswith(("--lag", "--searcher", "--max-params")))
        whole = RaySearch(self.home, f"{self.name}-whole", self.seed, self.trials, same, 0.0, self.plugin)
        if not whole.folder.exists():
            whole.finish(row, STORM_SLEEP="0")
        return whole

    def events(self, *kinds: str) -> list[dict[str, Any]]:
        """Return what the journal holds of these kinds, also while it is written."""
        return [event for event in read(self.journal) if event["event"] in kinds] if self.journal.exists() else []

    def notes(self) -> list[Begun]:
        """Return the attempts of the trials that the evaluator began."""
        found: dict[tuple[int, int, int], Begun] = {}
        lines = whole_lines(self.side).decode().splitlines()
        for number, (what, index, attempt, pid, when) in enumerate(map(str.split, lines)):
            key = int(index), int(attempt), int(pid)
            if what == "begin":
                found[key] = Begun(*key, float(when), number)
            else:
                found[key].ended = True
        return list(found.values())

    def busy(self) -> dict[int, Begun]:
        """Return what is evaluated now, by process."""
        return {begun.pid: begun for begun in self.notes() if not begun.ended and alive(begun.pid)}


def decided(search: RaySearch) -> dict[int, Any]:
    """Return by trial what was asked and what became of it."""
    asked = {e["index"]: (e["key"], e["epochs"], e["architecture"]) for e in search.events("asked")}
    ended = {e["index"]: (e["event"], e.get("reward"), e.get("kind"), e.get("of")) for e in search.events(*ENDS)}
    return {index: (what, ended.get(index)) for index, what in asked.items()}


def check_once(row: Row, search: RaySearch, kills: int = 0) -> None:
    """Every trial has one result, and began once for each attempt in the journal, but for ``kills`` of the driver."""
    ends = Counter(e["index"] for e in search.events(*ENDS))
    row.hold(set(ends) == {e["index"] for e in search.events("asked")}, f"{search.name}: a trial has no result")
    row.hold(max(ends.values()) == 1, f"{search.name}: a trial has two results")
    retried = Counter(e["index"] for e in search.events("retried"))
    begun = Counter(begun.index for begun in search.notes())
    extra = sum(max(0, count - 1 - retried[index]) for index, count in begun.items())
    row.hold(extra <= kills * 4, f"{search.name}: {extra} evaluations that no retry explains")


def check_same(row: Row, search: RaySearch, spared: set[int] | None = None) -> None:
    """The search found what an undisturbed one found, but for the trials ``spared``."""
    found, whole = decided(search), decided(search.undisturbed(row))
    other = [i for i in whole if i not in (spared or set()) and found.get(i) != whole[i]]
    detail = "".join(f": trial {i} {found.get(i, ('', ''))[1]}, not {whole[i][1]}" for i in other[:1])
    row.hold(not other and len(found) == len(whole), f"{search.name}: {len(other)} trials differ{detail}")


@dataclass
class Finished:
    """What a driver had recorded when it was killed: none of it may begin again."""

    search: RaySearch
    trials: set[int] = field(default_factory=set)
    noted: int = 0

    def look(self) -> None:
        """Note where journal and evaluator stand; nothing of the run may be at work."""
        self.trials = {e["index"] for e in self.search.events(*ENDS)}
        self.noted = whole_lines(self.search.side).count(b"\n")

    def check(self, row: Row) -> None:
        """Hold the run to it."""
        again = [b.index for b in self.search.notes() if b.line >= self.noted and b.index in self.trials]
        row.hold(not again, f"{self.search.name}: finished trials {again} began again")
        lost = self.trials - {e["index"] for e in self.search.events(*ENDS)}
        row.hold(not lost, f"{self.search.name}: finished trials {lost} are lost")


def folders_of(pid: int) -> list[Path]:
    """Return the folders of the Ray that process ``pid`` has started."""
    return list(Path("/tmp").glob(f"nas-ray-{pid}-*"))


def left_behind(pid: int, workers: set[int]) -> str:
    """Return what is left of a driver that was killed: its folders, what uses them, ``workers``; or nothing."""
    folders = folders_of(pid)
    users = {user for folder in folders for user in holders(str(folder))}
    still = {worker for worker in workers if alive(worker)}
    return ", ".join(map(str, [*folders, *sorted(users | still)]))


def until_gone(pid: int, workers: set[int], seconds: float = 10.0) -> tuple[float, str]:
    """Wait until nothing is left of a killed driver; return the seconds, and what is left after ``seconds``."""
    start = time.monotonic()
    while (left := left_behind(pid, workers)) and time.monotonic() < start + seconds:
        time.sleep(0.1)
    return time.monotonic() - start, left


def wait_until(ready: Any, process: subprocess.Popen[str], what: str, seconds: float = 90.0) -> bool:
    """Wait until ``ready()``; return whether it came to that before the process ended."""
    end = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None:
            return False
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.01)
    return True


def lines_of(text: str) -> list[str]:
    """Return what a user sees on standard error besides progress, warnings and what a search says of itself."""
    told = (*PROGRESS, "final: ", "best: ")
    return [line for line in text.splitlines() if line and not line.startswith(told)]
