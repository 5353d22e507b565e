"""What searching on Ray costs, and that a seed gives one search on any number of workers.

    python benchmarks/cluster.py overhead|lag|start|all [--rounds 2]

overhead: trials of 20 ms and trials that do nothing, on two workers of a local Ray with a journal on disk, beside Ray
Tune with the same work, interleaved; of the rounds the quicker counts. Ray Tune is no dependency of the toolkit: its
rows need `pip install 'ray[tune]'` in the version of the ray that is there, and are left out without.
lag: every searcher on NAS-Bench-201 with delays that no seed decides: 1, 2, 4 and 8 workers must do the same.
start: from the command to the first trial, and the memory of all processes, on Ray and inline.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from common import ROOT, show

from nas.engine.config import RunOptions
from nas.engine.run import SearchRun
from nas.executors.ray import cluster as ray_session
from nas.runs.journal import read
from nas.runs.run_folder import RunFolder
from nas.types import Executor

SMALL = {"space_args": {"nodes": 3}, "width": 8, "depth": 1}
"""The size of the cells of NASNet that trials are of."""
WORK = '''"""Evaluators for what a search on Ray costs."""

import time

from nas.evaluators import register_evaluator
from nas.types import Metrics


def timed(job, work):
    begin = time.time()
    work()
    return Metrics(int(job.key[:8], 16) / 0xFFFFFFFF, notes={"begin": begin, "end": time.time()})


def compute():
    end = time.thread_time() + 0.02
    while time.thread_time() < end:
        pass


for name, work in (("nothing", lambda: None), ("sleeping", lambda: time.sleep(0.02)), ("computing", compute)):
    register_evaluator(name)(lambda job, work=work: timed(job, work))
'''
DELAYED = '''"""NAS-Bench-201 with delays that no seed decides."""

import os
import time
from dataclasses import replace
from pathlib import Path

from nas.evaluators import register_evaluator
from nas.evaluators.table import TableEvaluator
from nas.tables.benchmark_table import load_table

LOOK_UP = TableEvaluator(load_table(Path(%r)), "val_acc_{epochs}", "cifar10")


def delayed(job, most):
    begin = time.time()
    time.sleep(most * int.from_bytes(os.urandom(4), "big") / 2**32)
    return replace(LOOK_UP(job), notes={"begin": begin, "end": time.time()})


for name, most in (("brief", 0.06), ("longer", 0.6)):
    register_evaluator(name)(lambda job, most=most: delayed(job, most))
'''
HELD = '''"""Trials that last until they are told to end, in processes that could train."""

import os
import time
from pathlib import Path

import torch

from nas.evaluators import register_evaluator

HOME = Path(%r)


@register_evaluator("held")
def held(job):
    (HOME / f"begun-{job.index}").write_text(repr(time.time()))
    while not (HOME / "end").exists():
        time.sleep(0.05)
    return 0.5
'''
ALONE = {"baseline": "none", "final_seeds": 0}
WORKERS, LAG = (1, 2, 4, 8), 8
TABLE_SEARCH = {"space": "nb201", "depth": 1, "epochs": 12, "seed": 1, "evaluator": "brief", "executor": "ray"}
PROMOTING = {"epochs": 200, "searcher": "random"}
RUNGS = {"rungs": (12, 200), "eta": 4}
YOUNG = {"population": 8, "tournament": 4}
SEARCHES: dict[str, dict[str, Any]] = {
    "random": {"searcher": "random"},
    "local": {"searcher": "local"},
    "evolution": {"searcher": "evolution", "searcher_args": YOUNG},
    "nsga2": {"searcher": "nsga2", "searcher_args": {"population": 8}},
    "reinforce": {"searcher": "reinforce"},
    "predictor": {"searcher": "predictor"},
    "optuna:tpe": {"searcher": "optuna:tpe"},
    "random under halving": {**PROMOTING, "scheduler": "halving", "scheduler_args": {**RUNGS, "size": 8}},
    "random under asha": {**PROMOTING, "scheduler": "asha", "scheduler_args": RUNGS},
    "evolution, trials of 0 to 600 ms": {"searcher": "evolution", "searcher_args": YOUNG, "evaluator": "longer"},
}
_number = count()


@dataclass(frozen=True)
class Course:
    """A search that ended: its seconds from start to report, when each trial began and ended, and its journal."""

    seconds: float
    spans: list[tuple[float, float]]
    events: tuple[dict[str, Any], ...] = ()

    @property
    def wall(self) -> float:
        """The seconds from the first trial's start to the last's end."""
        return max(end for _, end in self.spans) - min(begin for begin, _ in self.spans)

    def busy(self, workers: int) -> float:
        """Return the share of the workers' time in :attr:`wall` that trials took."""
        return sum(end - begin for begin, end in self.spans) / (workers * self.wall)

    @cached_property
    def story(self) -> list[str]:
        """What was asked and found, by trial, without times."""
        frame = ("crc", "seq", "wall", "notes")
        kept = [event for event in self.events if event["event"] not in ("run", "stopped")]
        kept.sort(key=lambda event: (event["index"], event["event"] != "asked"))
        return [json.dumps({k: v for k, v in event.items() if k not in frame}, sort_keys=True) for event in kept]


class Kept:
    """The workers of the first search that asks, all of them ready, for later searches by the same evaluator too."""

    def __init__(self) -> None:
        self.executor: Executor | None = None

    def take(self, run: RunFolder[SearchRun]) -> None:
        """Make ``run`` use these workers."""
        if self.executor is None:
            self.executor = run.plan.parts.executor
            _ = self.executor.capacity  # starts them
            while any(worker.state == "starting" for worker in self.executor.workers()):
                self.executor.wait(0.05)
        run.plan.parts = replace(run.plan.parts, executor=self)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.executor, name)

    def close(self) -> None:
        """Keep them."""

    def end(self) -> None:
        """End them."""
        if self.executor is not None:
            self.executor.close()


def search(home: Path, kept: Kept | None = None, **settings: Any) -> Course:
    """Run a search as the command line does, but for workers that are ``kept``."""
    run = SearchRun.create(home / f"run-{next(_number)}", RunOptions(**{**ALONE, **settings}))
    if kept is not None:
        kept.take(run)
    start = time.perf_counter()
    run.execute()
    seconds = time.perf_counter() - start
    events = tuple(read(run.journal.path))
    times = [event["notes"] for event in events if event["event"] == "done"]
    return Course(seconds, [(t["begin"], t["end"]) for t in times], events)


def overhead(rounds: int, trials: int = 1_000, nothing: int = 10_000) -> None:
    """Print what trials cost beyond their own time."""
    with TemporaryDirectory() as folder:
        home = Path(folder)
        plugin = home / "work.py"
        plugin.write_text(WORK)
        ray_session.connect(None, 2)

        def ours(evaluator: str, size: int, **settings: Any) -> Callable[[], Course]:
            common = {**SMALL, "space": "nasnet", "searcher": "evolution", "plugins": (str(plugin),), **settings}
            return lambda: search(home, evaluator=evaluator, trials=size, **common)

        on_ray = {"executor": "ray", "workers": 2}
        subjects = {
            ("trials that sleep 20 ms", trials, "ours"): ours("sleeping", trials, **on_ray),
            ("trials that sleep 20 ms", trials // 5, "Ray Tune"): lambda: tune(home, trials // 5, 0.02),
            ("trials that compute 20 ms", trials, "ours"): ours("computing", trials, **on_ray),
            ("trials that do nothing", nothing, "ours"): ours("nothing", nothing, **on_ray),
            ("trials that do nothing", nothing // 50, "Ray Tune"): lambda: tune(home, nothing // 50, 0.0),
            ("trials that do nothing", nothing, "ours, inline"): ours("nothing", nothing),
        }
        best: dict[tuple[str, int, str], tuple[float, list[object]]] = {}
        for _ in range(rounds):
            for subject, measure in subjects.items():
                load, course = os.getloadavg()[0], measure()
                if course is not None:
                    print(*overhead_row(*subject, course, load), sep=", ", file=sys.stderr)
                if course is not None and course.seconds < best.get(subject, (float("inf"),))[0]:
                    best[subject] = course.seconds, overhead_row(*subject, course, load)
    head = ("what", "by", "trials", "trials a second", "ms each, end to end", "of the workers' time", "load before")
    show(
        "Overhead on two workers (the default's cells: nasnet, 3 nodes, width 8, depth 1; evolution; bars: 90 %, 5 ms)",
        head,
        [row for _, row in best.values()],
    )


def overhead_row(what: str, size: int, by: str, course: Course, load: float) -> list[object]:
    """Return a row of the table."""
    used = "" if "nothing" in what else f"{course.busy(2):.1%}"
    if "compute" in what:
        used += f" ({0.02 * size / 2 / course.wall:.1%} of two processors)"
    rate, each = size / course.wall, 1e3 * course.seconds / size
    return [what, by, f"{size:,}", f"{rate:,.1f}", f"{each:.2f}", used, f"{load:.1f}"]


def tune(home: Path, size: int, seconds: float) -> Course | None:
    """Run the same work by Ray Tune with warm actors, two at a time; None where it is not installed."""
    try:
        from ray import tune
    except ImportError:
        return None

    class Trial(tune.Trainable):
        """A trial of one step."""

        def step(self) -> dict[str, Any]:
            begin = time.time()
            if seconds:
                time.sleep(seconds)
            return {"reward": 0.5, "begin": begin, "end": time.time(), "done": True}

        def save_checkpoint(self, checkpoint_dir: str) -> None:
            """Keep nothing."""

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            return True

    tuner = tune.Tuner(
        Trial,
        param_space={f"choice {i}": tune.choice(range(5)) for i in range(20)},
        tune_config=tune.TuneConfig(
            num_samples=size, max_concurrent_trials=2, reuse_actors=True, metric="reward", mode="max"
        ),
        run_config=tune.RunConfig(
            storage_path=str(home),
            name=f"tune-{next(_number)}",
            failure_config=tune.FailureConfig(fail_fast=True),
            verbose=0,
        ),
    )
    start = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        results = tuner.fit()
    taken = time.perf_counter() - start
    return Course(taken, [(result.metrics["begin"], result.metrics["end"]) for result in results])


def lag(names: Sequence[str], workers: Sequence[int] = WORKERS, trials: int = 48) -> bool:
    """Print whether every number of workers did the same, and how long workers were idle; return whether they did."""
    from search_quality import nb201_table

    load = os.getloadavg()[0]
    with TemporaryDirectory() as folder:
        home = Path(folder)
        plugin = home / "delayed.py"
        plugin.write_text(DELAYED % str(nb201_table(home).path))
        common = {**TABLE_SEARCH, "trials": trials, "plugins": (str(plugin),)}
        found = lagged(home, {name: {**common, **SEARCHES[name]} for name in names}, workers)
    rows = []
    for name in names:
        same = len({json.dumps(found[name, n, LAG].story) for n in workers}) == 1
        courses = {way: found[name, *way] for way in ways(workers)}
        cells = [f"{course.wall:.2f} s, {1 - course.busy(n):.0%}" for (n, _), course in courses.items()]
        rows.append([name, "yes" if same else "NO", *cells])
    head = [f"{n} worker{'s' * (n > 1)}{'' if lag else ', lag 0'}" for n, lag in ways(workers)]
    title = f"One search on any number of workers (nb201's table, {trials} trials of 0 to 60 ms, seed 1, lag {LAG})"
    show(f"{title}: seconds from the first trial to the last, idle share", ("search", "the same", *head), rows)
    print(f"load before: {load:.1f}\n")
    return all(row[1] == "yes" for row in rows)


def ways(workers: Sequence[int]) -> list[tuple[int, int]]:
    """Return numbers of workers and lags: the largest two numbers also without a lag."""
    return [(n, LAG) for n in workers] + [(n, 0) for n in workers[-2:]]


def lagged(
    home: Path, searches: dict[str, dict[str, Any]], workers: Sequence[int]
) -> dict[tuple[str, int, int], Course]:
    """Run every search every way, and return the courses by name, number of workers and lag."""
    ray_session.connect(None, max(workers))
    found = {}
    for n in workers:
        for evaluator in sorted({settings["evaluator"] for settings in searches.values()}):
            kept = Kept()
            for name, settings in searches.items():
                for lag in (lag for m, lag in ways(workers) if m == n and settings["evaluator"] == evaluator):
                    found[name, n, lag] = search(home, kept, workers=n, lag=lag, **settings)
            kept.end()
    return found


def start(rounds: int) -> None:
    """Print how long a search takes to its first trial, and the memory of all its processes."""
    found: dict[str, tuple[float, int, float, float]] = {}
    for _ in range(rounds):
        for where in (["inline"], ["ray", "--workers", "1"], ["ray", "--workers", "2"]):
            measured = started(where)
            name = " ".join(where)
            found[name] = min(found.get(name, measured), measured)
    rows = [
        [name, f"{seconds:.1f}", number, f"{rss:,.0f}", f"{pss:,.0f}"]
        for name, (seconds, number, rss, pss) in found.items()
    ]
    head = ("--executor", "seconds to the first trial", "processes", "RSS, MiB", "PSS, MiB")
    show("Start of a search that could train (torch imported)", head, rows)


def started(where: list[str]) -> tuple[float, int, float, float]:
    """Return the seconds from the command to its first trial, and the processes, their RSS and PSS in MiB then."""
    workers = int(where[-1]) if len(where) > 1 else 1
    with TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "held.py").write_text(HELD % folder)
        command = [sys.executable, str(ROOT / "run_search.py"), "search", "--evaluator=held", "--baseline=none"]
        command += ["--space=nasnet", "--space-arg=nodes=3", "--width=8", "--depth=1"]
        command += [f"--plugin={home / 'held.py'}", f"--results-dir={home / 'results'}", f"--trials={workers}"]
        begin = time.time()
        process = subprocess.Popen([*command, "--executor", *where], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        while len(begun := list(home.glob("begun-*"))) < workers:
            if process.poll() is not None:
                sys.exit(f"error: the search ended: {process.communicate()[1].decode()}")
            time.sleep(0.05)
        time.sleep(0.5)
        first = min(float(path.read_text()) for path in begun)
        family = list(descendants(process.pid))
        memory = [memory_of(pid) for pid in family]
        (home / "end").touch()
        process.communicate()
    return first - begin, len(family), sum(rss for rss, _ in memory), sum(pss for _, pss in memory)


def descendants(pid: int) -> Iterator[int]:
    """Yield a process and all that come from it."""
    yield pid
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            yield from descendants(int(child))


def memory_of(pid: int) -> tuple[float, float]:
    """Return the memory of a process in MiB: resident (RSS), and with what is shared split among its users (PSS)."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    sizes = {line.split(":")[0]: int(line.split()[1]) / 1024 for line in lines}
    return sizes["Rss"], sizes["Pss"]


def main() -> None:
    """Measure and print the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("overhead", "lag", "start", "all"))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--searches", nargs="+", choices=SEARCHES, default=list(SEARCHES), help="of lag")
    args = parser.parse_args()
    if args.what in ("start", "all"):
        start(args.rounds)
    if args.what in ("overhead", "all"):
        overhead(args.rounds)
    if args.what in ("lag", "all") and not lag(args.searches):
        sys.exit("error: some searches differ between numbers of workers")


if __name__ == "__main__":
    main()
