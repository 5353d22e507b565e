"""The storm: searches killed, torn, damaged, out of disk, doubled and interrupted. Nothing may be lost or done twice.

    python benchmarks/durability.py [--scale 1.0] [--only kills]

Every search is a process of its own (``run_search.py``, nb201, evolution, trials of 1 to 3 ms) whose evaluator notes
each result in a side file before it returns; an outside reader notes every line that it ever sees in the journal. What
a storm leaves behind must resume to the very proposals and results of a search that nobody disturbed. A power failure
cannot be played here: the journal's fsync is the promise for it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import time
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from storm import Row, Search, check_ended, error_lines, essence, print_rows, timed, undisturbed, wait_for, whole_lines

from nas.engine.loop import Loop
from nas.engine.run import SearchRun
from nas.errors import JournalError
from nas.runs.journal import Journal, parse, read


def kills(home: Path, scale: float, rng: random.Random) -> Row:
    """Kill -9 at random moments, of which some fall into the creation of the run."""
    row = Row("kill -9 at a random moment")
    new = round(20 * scale)
    early = sum(strike_creation(row, Search(home, f"new{i}", 9, 3), rng) for i in range(new))
    idle = under_way = results = runs = 0
    while row.tries < 100 * scale:
        search = Search(home, f"kill{runs}", runs, 300)
        whole, start = undisturbed(search, row), start_of(home, f"start{runs}")
        runs, seen, landed = runs + 1, b"", 0
        while row.tries < 100 * scale and landed < 20:
            process, before = search.start(), seen
            if rng.random() < 0.3:
                seen = watch(row, search, process, seen, start * rng.uniform(0.7, 1.2))
            else:
                seen = watch(row, search, process, seen, 60, until=results_in(seen) + 1)
                seen = watch(row, search, process, seen, rng.uniform(0, 0.3))
            if process.poll() is not None:
                row.hold(process.returncode == 0, f"{search.name}: exit code {process.returncode}")
                break
            process.kill()
            process.communicate()
            landed, row.tries = landed + 1, row.tries + 1
            idle += seen == before
            under_way += whole_lines(search.journal)[:-1].rpartition(b"\n")[2].count(b'"event":"asked"')
        search.finish(row)
        check_ended(row, search, seen, whole)
        evaluations = Counter(line.split()[0] for line in search.side.read_text().splitlines())
        row.hold(evaluations.total() - len(evaluations) <= landed, f"{search.name}: more repeated than kills")
        results += len(evaluations)
        left = [path.name for path in (home / "results").glob(f".{search.name}.*")]
        row.hold(not left, f"{search.name}: left behind {left}")
    told = f"{new} kills at its creation ({early} before it existed), {idle} at its start, {under_way} during a trial"
    row.measured = f"{runs} runs, {results:,} results; {told}"
    return row


def strike_creation(row: Row, search: Search, rng: random.Random) -> bool:
    """Kill a search while it creates its run, and start again; return whether the run did not exist."""
    row.tries += 1
    results, whole = search.home / "results", undisturbed(Search(search.home, "new", search.seed, search.trials), row)
    process = search.start()
    # its name is claimed long before its files are written
    while process.poll() is None and not search.folder.exists() and not [*results.glob(f".{search.name}.*.new")]:
        pass
    time.sleep(rng.uniform(0, 0.006))
    process.kill()
    process.communicate()
    early = not search.folder.exists()
    search.finish(row)
    check_ended(row, search, b"", whole)
    row.hold(not list(results.glob(f".{search.name}.*")), f"{search.name}: something is left behind")
    return early


def start_of(home: Path, name: str) -> float:
    """Return the seconds from the start of a process to the existence of its run."""
    search = Search(home, name, 0, 1)
    start = time.perf_counter()
    process = search.start()
    while not search.folder.exists() and process.poll() is None:
        time.sleep(0.002)
    seconds = time.perf_counter() - start
    process.communicate()
    return seconds


def watch(
    row: Row, search: Search, process: subprocess.Popen[str], seen: bytes, seconds: float, until: int = sys.maxsize
) -> bytes:
    """Read the journal from outside for ``seconds``, until it has ``until`` results or the process ends; return it."""
    end = time.perf_counter() + seconds
    while time.perf_counter() < end and results_in(seen) < until and process.poll() is None:
        time.sleep(0.002)
        before, seen = seen, whole_lines(search.journal)
        row.hold(seen.startswith(before), f"{search.name}: a line that was seen has changed")
    return seen


def results_in(journal: bytes) -> int:
    """Return how many trials have ended in the lines of a journal."""
    return sum(journal.count(b'"event":"%s"' % event) for event in (b"done", b"failed", b"refused", b"reused"))


@contextmanager
def quick(home: Path) -> Iterator[None]:
    """Let searches in this process have the evaluator without its sleep and its notes."""
    before = {name: os.environ.get(name) for name in ("STORM_SIDE", "STORM_SLEEP")}
    os.environ.update(STORM_SIDE="", STORM_SLEEP="0")
    yield
    for name, value in before.items():
        if value is None:
            del os.environ[name]
        else:
            os.environ[name] = value


def carry_on(folder: Path) -> str:
    """Resume the run in ``folder`` in this process and search on to its budget; return the warning."""
    run = SearchRun.resume(folder)
    study = run.plan.parts
    Loop(study.searcher, study.prepare, study.executor, run.journal, run.plan.ledger, study.settings).run()
    run.journal.close()
    return run.warning


def cuts(home: Path, scale: float, rng: random.Random) -> Row:
    """Cut journals of different endings at every byte of their last three records."""
    row = Row("journal cut at a byte of its last 3 records")
    whole = undisturbed(Search(home, "cut", 1, 40), row)
    lines = whole.journal.read_bytes().splitlines(keepends=True)
    kinds = [json.loads(line)["event"] for line in lines]
    endings = [len(lines)] + [len(kinds) - kinds[::-1].index(kind) for kind in ("done", "failed", "reused", "refused")]
    with quick(home):
        for number in endings:
            start, end = (sum(map(len, lines[:n])) for n in (number - 3, number))
            for at in range(start, end + 1, max(1, round(1 / scale))):
                row.tries += 1
                check_cut(row, whole, b"".join(lines)[:at])
    row.measured = "endings: stopped, done, failed, reused, refused; each resumed to the end"
    return row


def check_cut(row: Row, whole: Search, data: bytes) -> None:
    """Open and resume a journal of ``data``; every whole line must count and the torn rest be kept aside."""
    folder = whole.folder.with_name("cut")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    path, good = folder / "journal.jsonl", data.rfind(b"\n") + 1
    path.write_bytes(data)
    where = f"cut at byte {len(data)}"
    warning = carry_on(folder)
    row.hold(("torn" in warning) == (good < len(data)), f"{where}: warning is {warning!r}")
    aside = path.with_name("journal.jsonl.torn-1")
    row.hold((aside.read_bytes() if aside.exists() else b"") == data[good:], f"{where}: the torn rest is not kept")
    row.hold(path.read_bytes().startswith(data[:good]), f"{where}: a whole record is lost")
    row.hold(essence(read(path)) == whole.essence, f"{where}: differs from the undisturbed search")


def flips(home: Path, scale: float, rng: random.Random) -> Row:
    """Flip single bits anywhere in a journal, among them every bit of the last newline."""
    row = Row("single bit flipped anywhere in the journal")
    whole = undisturbed(Search(home, "flip", 2, 60), row)
    data = whole.journal.read_bytes()
    places = [(len(data) - 1, bit) for bit in range(8)]
    places += [(rng.randrange(len(data)), rng.randrange(8)) for _ in range(round(500 * scale))]
    for place in places:
        row.tries += 1
        check_flip(row, home / "flipped.jsonl", data, *place)
    short = data[: data.index(b"\n", 1_000) + 1]
    silent = sum(not damaged(short, at, bit) for at in range(len(short) - 1) for bit in range(8))
    row.hold(silent == 0, f"{silent} flips in a short journal are silent")
    row.measured = f"and all {8 * len(short) - 8:,} of a short journal's but its last newline's: {silent} silent"
    return row


def damaged(data: bytes, at: int, bit: int) -> str:
    """Return the error that a flipped bit gives, ``""`` where there is none."""
    flipped = bytearray(data)
    flipped[at] ^= 1 << bit
    try:
        parse(Path("journal"), bytes(flipped))
    except JournalError as error:
        return str(error)
    return ""


def check_flip(row: Row, path: Path, data: bytes, at: int, bit: int) -> None:
    """Open a journal with one bit flipped; it must be refused by its line, or reported as torn at the last newline."""
    flipped = bytearray(data)
    flipped[at] ^= 1 << bit
    path.write_bytes(flipped)
    line = data.count(b"\n", 0, at) + 1
    where = f"bit {bit} of byte {at}"
    try:
        journal, events, warning = Journal.open(path)
    except JournalError as error:
        row.hold(f"line {line} is damaged" in str(error), f"{where} in line {line}: {error}")
        return
    journal.close()
    row.hold(bool(warning) and at == len(data) - 1, f"{where} in line {line} is silent")
    row.hold(events == parse(path, data)[0][:-1], f"{where}: wrong records")


def limits(home: Path, scale: float, rng: random.Random) -> Row:
    """Stop writes at a file size, as a full disk does, at sizes that hit every file of a run."""
    row = Row("no room for a file beyond a size")
    short, long = (Search(home, name, 3, trials) for name, trials in (("short", 8), ("long", 100)))
    files = [path for path in undisturbed(short, row).folder.rglob("*") if path.is_file()]
    # a little less than they have: times and the run's name stand in some of them
    edges = [(short, int(0.98 * path.stat().st_size)) for path in files if path.name != "environment.json"]
    most = undisturbed(long, row).journal.stat().st_size
    tries = edges + [(long, rng.randrange(most)) for _ in range(20 - len(edges))]
    stages = Counter[str]()
    for search, size in rng.sample(tries, round(len(tries) * scale)):
        row.tries += 1
        limited = Search(home, f"{search.name}-{row.tries:05}", 3, search.trials)
        stages[check_limit(row, limited, undisturbed(search, row), size)] += 1
    row.measured = ", ".join(f"{count} {stage}" for stage, count in sorted(stages.items()))
    return row


def check_limit(row: Row, search: Search, whole: Search, size: int) -> str:
    """Run into the limit, look at what is there, lift it and finish; return what the limit stopped."""
    process = search.start(limit=size, STORM_SIDE="", STORM_SLEEP="0")
    error = process.communicate()[1]
    where = f"{search.trials} trials, files of {size} bytes"
    row.hold(process.returncode == 2, f"{where}: exit code {process.returncode}")
    lines = error_lines(error)
    row.hold(len(lines) == 1 and lines[0].startswith("error: "), f"{where}: {error!r}")
    for path in search.folder.rglob("*"):
        row.hold(path.is_dir() or is_whole(path), f"{where}: {path.name} is half written")
    row.hold(not list(search.home.glob(f"results/.{search.name}.*")), f"{where}: something is left behind")
    seen = whole_lines(search.journal)
    stage = "at the creation" if not search.folder.exists() else "in the search" if "journal" in error else "in outputs"
    search.finish(row, STORM_SIDE="", STORM_SLEEP="0")
    check_ended(row, search, seen, whole)
    return stage


def is_whole(path: Path) -> bool:
    """Return whether a file of a run reads as what it is."""
    data = path.read_bytes()
    try:
        if path.suffix == ".toml":
            tomllib.loads(data.decode())
        elif path.suffix == ".json":
            json.loads(data)
        elif path.suffix == ".svg":
            return data.endswith(b"</svg>\n")
    except ValueError:
        return False
    return data.endswith(b"\n") and not path.name.startswith(".")


def doubles(home: Path, scale: float, rng: random.Random) -> Row:
    """Start a second process on a run that is being searched."""
    row = Row("second process on a running search")
    search = Search(home, "double", 4, 1_000)
    process = search.start(STORM_SLEEP="0.05")
    wait_for(search, 1)
    seconds, cpu, bare = [], [], []
    for what in ("resume", "search") * max(2, round(10 * scale)):
        row.tries += 1
        bare.append(timed([sys.executable, "-c", "pass"])[0])
        took, busy, second = timed(search.command(what))
        seconds.append(took)
        cpu.append(busy)
        rule = "another process is running" if what == "resume" else "exists already"
        lines = second.stderr.splitlines()
        row.hold(second.returncode == 2 and len(lines) == 1 and rule in lines[0], f"{what}: {second.stderr!r}")
    row.hold(process.poll() is None, "the running search ended")
    process.kill()
    process.communicate()
    start = statistics.median(bare)
    # against what a search imports, both in the processor's time: others may be at work on this machine
    torch = statistics.median(timed([sys.executable, "-c", "import torch"])[1] for _ in range(3))
    row.hold(statistics.median(cpu) < torch / 2, f"refused after {cpu} s of the processor; torch takes {torch:.2f}")
    median = statistics.median(seconds) - start
    told = f"refused in {median:.2f} s (median), {max(seconds) - start:.2f} s (most) after the interpreter's start"
    row.measured = f"{told} of {start:.2f} s; at most {max(cpu):.2f} s of the processor"
    return row


def interrupts(home: Path, scale: float, rng: random.Random) -> Row:
    """Press Ctrl-C once, twice during a trial, and twice so that the report is interrupted, too."""
    row = Row("SIGINT once, twice, and again in the report")
    whole, ends = undisturbed(Search(home, "interrupt", 5, 40), row), Counter[str]()
    for _ in range(max(1, round(12 * scale))):
        for kind, sleep, pause in (("once", "0.01", 0.0), ("twice", "0.3", 0.05), ("late", "0.01", 0.8)):
            row.tries += 1
            search = Search(home, f"{kind}{row.tries}", 5, 40)
            process = search.start(STORM_SLEEP=sleep)
            wait_for(search, rng.randint(1, 3 if kind == "twice" else 20))
            process.send_signal(signal.SIGINT)
            if kind != "once":
                time.sleep(rng.uniform(0.4, 1) * pause)
                process.send_signal(signal.SIGINT)
            ends[f"{kind}: {check_interrupted(row, search, process, kind)}"] += 1
            seen = whole_lines(search.journal)
            search.finish(row, STORM_SLEEP="0")
            check_ended(row, search, seen, whole)
    row.measured = ", ".join(f"{count} {end}" for end, count in sorted(ends.items()))
    return row


def check_interrupted(row: Row, search: Search, process: subprocess.Popen[str], kind: str) -> str:
    """Hold an interrupted process to its end, and tell it: a report after one Ctrl-C, one line after two; code 130."""
    error = process.communicate()[1]
    code, lines = process.returncode, error_lines(error)
    # after its last line the interpreter leaves Ctrl-C to the system, which ends the process by the signal
    allowed = (130, -signal.SIGINT) if kind == "late" else (130,)
    row.hold(code in allowed and "warning: finishing" in error, f"{search.name}: code {code}: {error[-300:]!r}")
    row.hold(bool(lines) == (kind == "twice") or kind == "late", f"{search.name}: {error!r}")
    if lines:
        row.hold(len(lines) == 1 and lines[0].startswith("interrupted"), f"{search.name}: {error!r}")
        return f"at once, code {code}"
    summary = json.loads((search.folder / "summary.json").read_text())
    row.hold(summary["status"] == "interrupted", f"{search.name}: status {summary['status']}")
    row.hold("pending" not in summary["counts"], f"{search.name}: the running trial was not finished")
    row.hold((search.folder / "report.md").exists(), f"{search.name}: no report")
    return f"with a report, code {code}"


STORMS: dict[str, Callable[[Path, float, random.Random], Row]] = {
    "kills": kills,
    "cuts": cuts,
    "flips": flips,
    "limits": limits,
    "doubles": doubles,
    "interrupts": interrupts,
}


def main() -> int:
    """Let every storm loose and print the table; exit code 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--only", choices=STORMS)
    options = parser.parse_args()
    rows = []
    for name in [options.only] if options.only else STORMS:
        with TemporaryDirectory() as home:
            rows.append(STORMS[name](Path(home), options.scale, random.Random(0)))
    return print_rows("Durability", "tries", rows)


if __name__ == "__main__":
    sys.exit(main())
