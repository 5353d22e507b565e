"""The storms of a cluster: workers, nodes, drivers and heads are killed, and trials misbehave. Nothing may be lost.

    python benchmarks/cluster_storms.py [workers|nodes|drivers|head|mix|two|cycles ...] [--small]

Every search is a process of its own with ``--executor ray`` (nb201, trials of 0.1 to 0.3 s) whose evaluator notes when
it begins and when it ends, so that what ran is known from another source than the journal. Several nodes are played on
this machine by ``ray.cluster_utils.Cluster``.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from cluster_parts import (
    ENDS,
    Begun,
    Finished,
    RaySearch,
    check_once,
    check_same,
    left_behind,
    lines_of,
    until_gone,
    wait_until,
)
from misbehaviour import IMPATIENT, MIX, WAYS, way_of
from nodes import Nodes, alive
from storm import Row, print_rows

RAY = ("--executor=ray", "--lag=4")
SWIFT = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "3",
}
"""What docs/cluster.md recommends for the head: a node that does not answer is given up after some 4 s."""
DELAYED = 2.0
"""Seconds within which the journal must tell that a worker died."""


def workers(home: Path, small: bool, rng: random.Random) -> Row:
    """Kill -9 of busy workers; a trial that is struck once goes on as if nothing had been, one struck twice fails."""
    row, delays = Row("kill -9 of a busy worker"), list[float]()
    searches = (("once", "local", 40), ("twice", "random", 10))
    for name, searcher, kills in [("twice", "random", 4)] if small else searches:
        flags = (*RAY, "--workers=2", f"--searcher={searcher}")
        search = RaySearch(home, name, 1, 12 * kills, flags, 0.15)
        process, before = search.start(), row.tries
        while row.tries < before + kills:
            found = strike(search, process, rng, (row.tries - before) % 2 if name == "twice" else 0)
            if found is None:
                break
            row.tries += found[1] == "crashed"  # else its trial ended in time
            delays += [found[0]] if found[1] == "crashed" else []
        finish(row, search, process)
        row.hold(row.tries == before + kills, f"{name}: {row.tries - before} kills")
        failed = {e["index"] for e in search.events("failed") if e["kind"] == "crashed"}
        row.hold(bool(failed) == (name == "twice"), f"{name}: {failed} failed")
        row.hold({e["kind"] for e in search.events("retried")} == {"crashed"}, f"{name}: not typed as crashed")
        check_once(row, search)
        check_same(row, search, failed)
    row.hold(max(delays) <= DELAYED, f"a death was seen after {max(delays):.2f} s")
    row.measured = f"in the journal after {statistics.median(delays):.2f} s (median), {max(delays):.2f} s (most)"
    return row


def strike(
    search: RaySearch, process: subprocess.Popen[str], rng: random.Random, attempt: int
) -> tuple[float, str] | None:
    """Kill a worker that has just begun such an attempt of a trial.

    Returns the seconds until the journal tells what became of the trial, and what; None when the search ended.
    """
    found: list[Begun] = []

    def choose() -> bool:
        found[:] = [begun for begun in search.busy().values() if begun.age() < 0.1 and begun.attempt == attempt]
        return bool(found)

    if not wait_until(choose, process, f"{search.name}: no busy worker"):
        return None
    begun = rng.choice(found)
    time.sleep(rng.uniform(0, 0.1 - begun.age()) if begun.age() < 0.1 else 0.0)
    start = time.monotonic()
    os.kill(begun.pid, signal.SIGKILL)
    kinds: list[str] = []

    def told() -> bool:
        kinds[:] = [e.get("kind", "") for e in search.events("retried", "failed", "done") if e["index"] == begun.index]
        return len(kinds) > begun.attempt

    wait_until(told, process, f"{search.name}: trial {begun.index} after the death of its worker")
    return time.monotonic() - start, kinds[-1]


def finish(row: Row, search: RaySearch, process: subprocess.Popen[str]) -> None:
    """Let a search end, well and with nothing left behind."""
    error = process.communicate(timeout=400)[1]
    row.hold(process.returncode == 0, f"{search.name}: exit code {process.returncode}: {error[-300:]}")
    row.hold(not lines_of(error), f"{search.name}: {lines_of(error)[:3]}")
    left = left_behind(process.pid, {begun.pid for begun in search.notes()})
    row.hold(not left, f"{search.name}: left behind {left}")


def nodes(home: Path, small: bool, rng: random.Random) -> Row:
    """End or freeze one of three nodes, and add a new one; with the settings recommended, and with Ray's own."""
    row, told = Row("a node of three ends, a new one joins"), list[str]()
    plans = (
        ("recommended", ["kill"] * 6 + ["stop"] * 2 + ["freeze"] * 2, SWIFT),
        ("Ray's own", ["kill", "freeze"], {}),
    )
    for name, words, settings in [("recommended", ["kill", "stop"], SWIFT)] if small else plans:
        delays, joins = dict[str, float](), list[float]()
        with Nodes(2, **settings) as cluster:
            flags = (*RAY, f"--ray-address={cluster.address}")
            search = RaySearch(home, name.replace("'s ", "-"), 2, 60 * len(words), flags, 0.3)
            process = search.start(**cluster.environment)
            wait_until(lambda search=search: len(search.busy()) == 2, process, f"{name}: two nodes")
            cluster.tell("add")
            for word in words:
                start = time.monotonic()
                if not wait_until(lambda search=search: len(search.busy()) == 3, process, f"{name}: three nodes"):
                    break
                joins.append(time.monotonic() - start)
                delays[word] = max(delays.get(word, 0.0), strike_node(row, search, process, cluster, word))
                row.tries += 1
            row.hold(len(joins) == len(words), f"{name}: ended before three nodes were at work")
            finish(row, search, process)
        check_once(row, search)
        check_same(row, search)
        kinds = Counter(e["kind"] for e in search.events("retried"))
        row.hold(kinds.keys() == {"lost"}, f"{name}: typed {dict(kinds)}")
        most = ", ".join(f"{word} {seconds:.1f}" for word, seconds in delays.items())
        told.append(f"{name}: in the journal after s, at most: {most}; a new one at work after {max(joins):.0f} s")
    row.measured = "; ".join(told)
    return row


def strike_node(row: Row, search: RaySearch, process: subprocess.Popen[str], cluster: Nodes, word: str) -> float:
    """End a node while all three are at work, add one; return the seconds until the journal tells of its trial."""
    busy, start = search.busy(), time.monotonic()
    ended = set(map(int, cluster.tell(word).split()))
    died = [begun for pid, begun in busy.items() if pid in ended]
    row.hold(len(died) == 1, f"{search.name}: {len(died)} workers were on a node")
    for begun in died:

        def told(begun: Begun = begun) -> bool:
            events = search.events("retried", *ENDS)
            return sum(e["index"] == begun.index for e in events) > begun.attempt

        wait_until(told, process, f"{search.name}: trial {begun.index} of a lost node")
    seconds = time.monotonic() - start
    if word == "freeze":
        cluster.tell("thaw")
        wait_until(lambda: not any(map(alive, ended)), process, f"{search.name}: the end of a node that was given up")
    cluster.tell("add")
    return seconds


def drivers(home: Path, small: bool, rng: random.Random) -> Row:
    """Kill -9 of the driver, of a Ray of its own and on a cluster, and resume."""
    row, gone = Row("kill -9 of the driver, and resume"), list[float]()
    kills = 2 if small else 10
    strike_driver(row, RaySearch(home, "own", 3, 15 * kills, (*RAY, "--workers=2")), kills, rng, gone, {})
    with Nodes(1) as cluster:
        cluster.tell("add")
        search = RaySearch(home, "joined", 4, 15 * kills, (*RAY, f"--ray-address={cluster.address}"))
        strike_driver(row, search, kills, rng, gone, cluster.environment)
    row.measured = f"nothing of it left after {statistics.median(gone):.1f} s (median), {max(gone):.1f} s (most)"
    return row


def strike_driver(
    row: Row, search: RaySearch, kills: int, rng: random.Random, gone: list[float], environment: dict[str, str]
) -> None:
    """Kill the driver of one search again and again, look for what is left, and finish the search."""
    finished = Finished(search)
    for number in range(kills):
        process = search.start(**environment)
        early = number % 4 == 3  # into its start
        begun = len(search.notes())
        if not early:
            wait_until(lambda begun=begun: len(search.notes()) > begun + 1, process, f"{search.name}: a trial")
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(rng.uniform(0.5, 4) if early else rng.uniform(0, 1))
        process.kill()
        process.wait()
        row.tries += 1
        seconds, left = until_gone(process.pid, {begun.pid for begun in search.notes()})
        gone.append(seconds)
        row.hold(not left, f"{search.name}: left behind {left}")
        finished.check(row)
        finished.look()
    finish(row, search, process := search.start(**environment))
    finished.check(row)
    check_once(row, search, kills)
    check_same(row, search)


def head(home: Path, small: bool, rng: random.Random) -> Row:
    """Kill the GCS of the head: one line, exit code 3, and the run can go on inline, or on another cluster."""
    row, delays = Row("head killed, resumed inline and on a new cluster"), list[float]()
    for number in range(1 if small else 5):
        search = RaySearch(home, f"head{number}", 5 + number, 80, (*RAY,), 0.2)
        with Nodes(2) as cluster:
            search.flags = (*RAY, f"--ray-address={cluster.address}")
            process = search.start(**cluster.environment)
            wait_until(lambda s=search: s.events("done"), process, f"{search.name}: a result")
            time.sleep(rng.uniform(0, 2))
            cluster.tell("head")
            start = time.monotonic()
            error = process.communicate(timeout=120)[1]
            delays.append(time.monotonic() - start)
        row.tries += 1
        row.hold(process.returncode == 3, f"{search.name}: exit code {process.returncode}: {error[-500:]}")
        row.hold(len(lines_of(error)) == 1, f"{search.name}: {lines_of(error)}")
        finished = Finished(search)
        finished.look()
        if number % 2 == 0:
            search.resume_flags = ("--executor=inline",)
            finish(row, search, search.start())
        else:
            with Nodes(1) as other:
                search.resume_flags = (f"--ray-address={other.address}",)
                finish(row, search, search.start(**other.environment))
        finished.check(row)
        check_once(row, search, 1)
        check_same(row, search)
    row.hold(max(delays) <= 15, f"the driver ended after {max(delays):.1f} s")
    row.measured = f"exit code 3 and one line after {statistics.median(delays):.1f} s, at most {max(delays):.1f} s"
    return row


def mix(home: Path, small: bool, rng: random.Random) -> Row:
    """Let three trials of ten misbehave, in one way after the other."""
    row, start = Row("30 % of the trials misbehave"), time.monotonic()
    flags = (*RAY, "--workers=2", "--time-limit=1", "--searcher=random", "--max-params=100M")
    search = RaySearch(home, "mix", 6, 41 if small else 160, flags, 0.005, MIX, program=("-c", IMPATIENT))
    finish(row, search, search.start())
    asked = [e["index"] for e in search.events("asked")]
    bad = {index: way_of(index) for index in asked if way_of(index)}
    reused = {e["index"] for e in search.events("reused")}
    ended = {e["index"]: e for e in search.events("done", "failed")}
    met = Counter(bad[index] for index in bad if index in ended)
    for index in bad.keys() - reused:
        event, way = ended[index], bad[index]
        kind, message = event.get("kind", "done"), event.get("message", "")
        row.hold(kind == WAYS[way], f"{way}: {kind}, not {WAYS[way]}: {message[:200]}")
        row.hold(len(message) <= 2_000, f"{way}: a message of {len(message):,}")
    row.hold(met.keys() == WAYS.keys(), f"not met: {WAYS.keys() - met.keys()}")
    row.tries = sum(met.values())
    check_same(row, search, set(bad) | {e["index"] for e in search.events("reused") if e["of"] in bad})
    row.hold(best_of(search) == best_of(search.undisturbed(row)), "another best")
    row.measured = f"{len(met)} ways, {len(ended)} trials in {time.monotonic() - start:.0f} s"
    return row


def best_of(search: RaySearch) -> tuple[float, int]:
    """Return the reward and the trial of the best that behaved."""
    return max((e["reward"], -e["index"]) for e in search.events("done") if not way_of(e["index"]))


def two(home: Path, small: bool, rng: random.Random) -> Row:
    """Two searches at once on one cluster."""
    row, trials = Row("two searches on one cluster"), 20 if small else 100
    with Nodes(2) as cluster:
        flags = (*RAY, f"--ray-address={cluster.address}", "--workers=1")
        searches = [RaySearch(home, name, seed, trials, flags) for name, seed in (("first", 7), ("second", 8))]
        processes = [search.start(**cluster.environment) for search in searches]
        for search, process in zip(searches, processes, strict=True):
            finish(row, search, process)
    for search in searches:
        row.tries += 1
        check_once(row, search)
        check_same(row, search)
    row.measured = f"{trials} trials each, equal to those alone"
    return row


def cycles(home: Path, small: bool, rng: random.Random) -> Row:
    """Start and end a Ray with a tiny search on it again and again in one process."""
    row = Row("a Ray started and ended, with a search each", 10 if small else 50)
    command = [sys.executable, str(Path(__file__).with_name("cycles.py")), str(home), str(row.tries)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=1_000, check=False)
    row.hold(done.returncode == 0, done.stderr[-500:])
    told = json.loads(done.stdout or "{}")
    more, kib = told.get("more", {}), told.get("kib", 0.0)
    sockets = more.pop("sockets", 0) / row.tries  # ray.init() and ray.shutdown() alone leave one each time, too
    for what, count in more.items():
        row.hold(count <= (3 if what == "threads" else 0), f"{count} more {what}")  # pools of threads breathe
    row.hold(sockets <= 2, f"{sockets:.1f} more sockets a cycle")
    row.hold(kib <= 1_024, f"{kib:.0f} KiB more a cycle")
    row.measured = (
        f"{told.get('seconds', 0):.1f} s each; the process grows by {kib:.0f} KiB and {sockets:.1f} sockets each"
    )
    return row


STORMS: dict[str, Callable[[Path, bool, random.Random], Row]] = {
    "workers": workers,
    "nodes": nodes,
    "drivers": drivers,
    "head": head,
    "mix": mix,
    "two": two,
    "cycles": cycles,
}


def main() -> int:
    """Let the storms loose and print the table; exit code 1 when a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("storms", nargs="*", metavar="storm", help=", ".join(STORMS))
    parser.add_argument("--small", action="store_true", help="a few strikes of each")
    options = parser.parse_args()
    rows = []
    for name in options.storms or STORMS:
        with TemporaryDirectory() as home:
            rows.append(STORMS[name](Path(home), options.small, random.Random(0)))
    return print_rows("Storms of a cluster", "strikes", rows)


if __name__ == "__main__":
    sys.exit(main())
