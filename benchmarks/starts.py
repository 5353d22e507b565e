"""The storm of starts: searches, trainings, comparisons, exports, families that begin together. None is lost.

    python benchmarks/starts.py [--scale 1.0]

Forty commands, 2 to 8 at a time, each a process of its own. A plugin holds those of a wave where they load it, and then
lets them go at once, so that they make their runs in the same moment. Some have a name of their own, some the same one
and some none, which lets the command find a free one. Each must end with a run of its own, or with one clear line; a
run is known by its seed.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import ROOT
from storm import ALONE, PLUGIN, SETTINGS, Row, error_lines, print_rows

from nas.errors import JournalError
from nas.runs.journal import read

GATE = """

gate = os.environ["STORM_GATE"]
if "STORM_TORCH" in os.environ:
    import torch  # what takes seconds comes before the gate
open(f"{gate}.{os.getpid()}", "x").close()
while not os.path.exists(gate):
    time.sleep(0.001)
"""
STARTS, MOST = 40, 8
TRIALS, TIMEOUT = 3, 300.0
TINY = ("--dataset", "digits", "--width", "2", "--epochs", "1", "--train-images", "20", "--threads", "1")
KINDS: dict[str, tuple[str, ...]] = {
    "search": ("search", "--trials", str(TRIALS), *SETTINGS, *ALONE),
    "train": ("train", "resnet20_cifar", *TINY),
    "compare": ("compare", "resnet20_cifar", "plain20_cifar", "--seeds", "1", *TINY),
    "export": ("export", "resnet20_cifar", "--formats", "py", "--width", "2"),
    "scale": ("scale", "resnet20_cifar", "--phi", "0..0"),
}
WRITES = {"export": "graph.json", "scale": "*/graph.json"}
"""The kinds that write a folder, named by -o, in place of a run, and a file that it holds."""
NAMING = ("own", "shared", "none")


@dataclass
class Start:
    """One command of a wave: its kind, the name that it asks for (None: a free one), and its seed."""

    kind: str
    name: str | None
    seed: int
    process: subprocess.Popen[str] | None = None
    error: str = ""

    @property
    def code(self) -> int | None:
        """How it ended."""
        return None if self.process is None else self.process.returncode

    def __str__(self) -> str:
        return f"{self.kind} {self.name or 'without a name'} (seed {self.seed})"


def drawn(rng: random.Random, seeds: Iterable[int], wave: int) -> list[Start]:
    """Draw the starts of a wave; those that share a name all make runs, or all write a folder."""
    found = []
    for seed in seeds:
        kind = rng.choice(("search", "search", *KINDS))
        naming = rng.choice(NAMING[:2] if kind in WRITES else NAMING)
        shared = f"{'folder' if kind in WRITES else 'run'}-{wave}"
        found.append(Start(kind, {"own": f"{kind}-of-{seed}", "shared": shared, "none": None}[naming], seed))
    return found


def launch(home: Path, starts: list[Start], gate: Path) -> None:
    """Start all, open the gate when all have come to it, and wait for them."""
    plugin = home / "gated_evaluator.py"
    if not plugin.exists():
        plugin.write_text(PLUGIN + GATE)
    for start in starts:
        words = [sys.executable, str(ROOT / "run_search.py"), *KINDS[start.kind], "--plugin", str(plugin)]
        words += ["--results-dir", "results"]
        if start.kind in WRITES:
            words += ["-o", f"folders/{start.name}"]
        else:
            words += ["--seed", str(start.seed), *(["--name", start.name] if start.name else [])]
        extra = {"STORM_GATE": str(gate), "STORM_SLEEP": "0.001", "OMP_NUM_THREADS": "1"}
        extra |= {} if start.kind in ("search", "scale") else {"STORM_TORCH": "1"}
        start.process = subprocess.Popen(
            words, cwd=home, env={**os.environ, **extra}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
    end = time.monotonic() + TIMEOUT
    processes = [start.process for start in starts if start.process is not None]
    while len(list(gate.parent.glob(f"{gate.name}.*"))) < len(starts) and time.monotonic() < end:
        if any(process.poll() is not None for process in processes):
            break  # it never came; what it says is told below
        time.sleep(0.005)
    gate.touch()
    for start, process in zip(starts, processes, strict=True):
        try:
            start.error = process.communicate(timeout=max(1.0, end - time.monotonic()))[1]
        except subprocess.TimeoutExpired:
            process.kill()
            start.error = process.communicate()[1]


def runs_by_seed(results: Path) -> dict[int, list[tuple[Path, list[dict[str, Any]]]]]:
    """Return folder and events of every run that can be read, by its seed; one that cannot be read has seed -1."""
    found: dict[int, list[tuple[Path, list[dict[str, Any]]]]] = {}
    for folder in results.iterdir() if results.exists() else ():
        try:
            events = read(folder / "journal.jsonl")
            seed = int((events[0].get("config") or events[0].get("settings"))["seed"])
        except (JournalError, OSError, KeyError, TypeError):
            seed, events = -1, []
        found.setdefault(seed, []).append((folder, events))
    return found


def check(row: Row, start: Start, runs: list[tuple[Path, list[dict[str, Any]]]]) -> bool:
    """Hold a start of a search, training or comparison to a run of its own, or one line; return whether it has one."""
    if start.code != 0:
        refused(row, start)
        row.hold(not runs, f"{start}: refused, but {[folder.name for folder, _ in runs]} is there")
        return False
    row.hold(len(runs) == 1, f"{start}: it ended well with {len(runs)} runs")
    for folder, events in runs:
        row.hold(start.name in (None, folder.name), f"{start}: its run is called '{folder.name}'")
        last = events[-1]
        row.hold((last["event"], last.get("reason")) == ("stopped", "finished"), f"{start}: ends with {last}")
        if start.kind == "search":
            ended = Counter(e["index"] for e in events if e["event"] in ("done", "failed"))
            row.hold(sorted(ended.values()) == [1] * TRIALS, f"{start}: evaluated {dict(ended)}")
        for name in ("report.md", "environment.json", "config.toml"):
            row.hold((folder / name).is_file(), f"{start}: no {name}")
    return len(runs) == 1


def check_folder(row: Row, start: Start, folder: Path) -> bool:
    """Hold what writes a folder to a whole one, or one line; return whether it wrote one."""
    if start.code != 0:
        refused(row, start)
        return False
    names = sorted(path.name for path in folder.rglob("*"))
    row.hold(len(list(folder.glob(WRITES[start.kind]))) == 1, f"{start}: wrote {names}")
    return True


def refused(row: Row, start: Start) -> None:
    """Hold a start that failed to exit code 2 and one line that names what is taken."""
    lines = error_lines(start.error)
    lines = [line for line in lines if not line.startswith("\r")]
    taken = "exists" in start.error and str(start.name) in start.error
    one = len(lines) == 1 and lines[0].startswith("error: ") and start.name is not None and taken
    row.hold(start.code == 2 and one, f"{start}: code {start.code}: {start.error[-500:]!r}")


def strike(home: Path, count: int, rng: random.Random) -> list[Row]:
    """Let ``count`` starts loose in waves; return a row for each kind."""
    rows = {kind: Row(kind) for kind in KINDS}
    made, turned_away, waves, seconds = Counter[str](), Counter[str](), Counter[str](), time.perf_counter()
    seeds = iter(range(1, count + 1))
    (home / "folders").mkdir()
    wave = 0
    while left := count - sum(row.tries for row in rows.values()):
        wave += 1
        starts = drawn(rng, [next(seeds) for _ in range(min(left, rng.randint(2, MOST)))], wave)
        launch(home, starts, home / f"gate-{wave}")
        runs = runs_by_seed(home / "results")
        winners = Counter[str]()
        for start in starts:
            row = rows[start.kind]
            row.tries += 1
            if start.kind in WRITES:
                done = check_folder(row, start, home / "folders" / str(start.name))
            else:
                done = check(row, start, runs.get(start.seed, []))
            (made if done else turned_away)[start.kind] += 1
            if start.name is not None:
                winners[start.name] += done
        for name, number in winners.items():
            asked = [rows[start.kind] for start in starts if start.name == name]
            asked[0].hold(number == 1, f"'{name}' was given to {number} of {len(asked)} starts")
        waves.update({start.kind for start in starts})
        for folder in (home / "results", home / "folders"):
            hidden = [path.name for path in folder.glob(".*")] if folder.exists() else []
            rows[starts[0].kind].hold(not hidden, f"wave {wave} left {hidden} in {folder.name}")
        rows[starts[0].kind].hold(-1 not in runs, f"wave {wave}: unreadable {[f.name for f, _ in runs.get(-1, ())]}")
    for kind, row in rows.items():
        row.measured = f"{made[kind]} made, {turned_away[kind]} told that the name is taken, in {waves[kind]} waves"
    rows["search"].measured += f"; all in {time.perf_counter() - seconds:.0f} s"
    return list(rows.values())


def main() -> int:
    """Let the storm loose and print the table; exit code 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with TemporaryDirectory() as home:
        rows = strike(Path(home), max(2, round(STARTS * options.scale)), random.Random(options.seed))
    return print_rows("Starts", "starts", rows)


if __name__ == "__main__":
    sys.exit(main())
