"""Trials that do to their process whatever code can do: what each is recorded as, inline and on Ray.

``python benchmarks/hostile_trials.py [inline] [ray] [WAY ...]`` runs a search of one trial a way, and resumes it for as
long as a trial ends the process; every other trial of it must be as if it had been alone.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from common import ROOT, show

WAYS = {
    "fork-exits": "if os.fork() == 0: sys.exit(3)",
    "fork-returns": "os.fork()",
    "fork-raises": "if os.fork() == 0: raise ValueError('child')",
    "fork-loops": "if os.fork() == 0:\n    time.sleep(2); os._exit(0)",
    "thread-lives-on": "threading.Thread(target=lambda: (time.sleep(1), print('late')), daemon=True).start()",
    "exit-0": "sys.exit(0)",
    "exit-text": "sys.exit('bad')",
    "exit-object": "raise SystemExit(object())",
    "cancelled": "raise asyncio.CancelledError",
    "generator-exit": "raise GeneratorExit",
    "keyboard-interrupt": "raise KeyboardInterrupt",
    "base-exception": "raise type('Own', (BaseException,), {})('own')",
    "group": "raise BaseExceptionGroup('several', [ValueError('one'), KeyboardInterrupt()])",
    "unreadable": "raise type('Mute', (Exception,), {'__str__': lambda self: 1 / 0})",
    "lying-class": "raise type('Lie', (Exception,), {'__class__': property(lambda self: EvaluationError)})('lie')",
    "huge-message": "raise ValueError('x' * 10**7)",
    "surrogate": "raise ValueError('\\ud800')",
    "os-exit": "os._exit(0)",
    "abort": "os.abort()",
    "segfault": "ctypes.string_at(0)",
    "kill": "os.kill(os.getpid(), signal.SIGKILL)",
    "alarm": "os.kill(os.getpid(), signal.SIGALRM); time.sleep(0.1)",
    "late-alarm": "signal.setitimer(signal.ITIMER_REAL, 0.3)",
    "streams-closed": "sys.stdout.close(); sys.stderr.close()",
    "descriptors-1-2": "os.close(1); os.close(2)",
    "descriptors-from-3": "os.closerange(3, 4096)",
    "limit-files": "resource.setrlimit(resource.RLIMIT_NOFILE, (3, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))",
    "limit-size": "resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))",
    "limit-memory": "resource.setrlimit(resource.RLIMIT_AS, (2**20, resource.getrlimit(resource.RLIMIT_AS)[1]))",
    "chdir": "os.chdir('/')",
    "folder-gone": "f = tempfile.mkdtemp(); os.chdir(f); os.rmdir(f)",
    "umask": "os.umask(0o777)",
    "environment": "os.environ.clear()",
    "recursion": "sys.setrecursionlimit(60)",
    "handlers": "[signal.signal(s, signal.SIG_IGN) for s in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)]",
    "masked": "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())",
    "warnings": "warnings.simplefilter('error')",
    "collector": "gc.disable()",
    "seeds": "random.seed(0); numpy.random.seed(0); torch.manual_seed(0)",
    "torch": "torch.set_default_dtype(torch.float64); torch.use_deterministic_algorithms(True)",
    "streams-replaced": "sys.stdout = sys.stderr = None",
    "modules": "sys.modules.pop('json'); sys.modules.pop('nas.types', None)",
    "modules-cleared": "sys.modules.clear()",
    "builtins": "builtins.open = builtins.len = builtins.print = None",
    "locale": "locale.setlocale(locale.LC_ALL, 'C')",
    "much-output": "os.write(1, b'x' * 10**8)",
    "huge-notes": "return Metrics(0.5, notes={'n': 'x' * 10**8})",
    "huge-name": "return Metrics(0.5, values={'n' * 10**6: 1.0})",
    "zone": "os.environ['TZ'] = 'Asia/Tokyo'; time.tzset()",
    "decimal": "decimal.getcontext().prec = 1",
    "socket": "socket.setdefaulttimeout(0.001)",
    "start-method": "multiprocessing.set_start_method('spawn', force=True)",
    "terminates-itself": "os.kill(os.getpid(), signal.SIGTERM); time.sleep(0.5)",
    "hangs-up": "os.kill(os.getpid(), signal.SIGHUP); time.sleep(0.5)",
    "interrupts-itself": "os.kill(os.getpid(), signal.SIGINT); time.sleep(0.5)",
}
"""What a trial does before it returns its reward, by its name."""
HEAD = """import asyncio, builtins, ctypes, decimal, gc, locale, multiprocessing, os, random, resource, signal
import socket, sys, tempfile, threading, time, warnings
import numpy, torch
from nas.errors import EvaluationError
from nas.evaluators import register_evaluator
from nas.types import Metrics
"""
KINDS = {"done", "crashed", "error", "oom", "lost"}


def plugin(ways: Sequence[str]) -> str:
    """Return the source of an evaluator whose trial ``i`` does the ``i``-th of the ways."""
    functions = ""
    for number, way in enumerate(ways):
        body = "\n".join(f"    {line}" for line in WAYS[way].splitlines())
        functions += f"def way_{number}(job):\n{body}\n    return 0.5\n\n"
    listed = ", ".join(f"way_{number}" for number in range(len(ways)))
    names = "@register_evaluator('hostile')\ndef hostile(job):\n    'Does what it can.'\n"
    return f"{HEAD}\n{functions}\n{names}    return ({listed},)[job.index](job)\n"


def carry_out(folder: Path, ways: Sequence[str], executor: str, program: Path = ROOT) -> tuple[dict[str, str], int]:
    """Search in ``folder`` until there is a report; return what each way was recorded as, and the processes it took.

    A run that does not end raises AssertionError with what the last process said.
    """
    (folder / "hostile.py").write_text(plugin(ways))
    command = [sys.executable, str(program / "run_search.py")]
    space = "--space nasnet --width 8 --depth 1 --searcher random --baseline none --lag 1"
    words = [
        *f"search --name r --trials {len(ways)} {space}".split(),
        "--plugin",
        "hostile.py",
        "--evaluator",
        "hostile",
        "--executor",
        executor,
    ]
    words += ["--workers", "2"] if executor == "ray" else []
    environment = {**os.environ, "PYTHONPATH": str(program)}
    journal, processes = folder / "results/r/journal.jsonl", 0
    while processes <= 2 * len(ways):
        processes += 1
        done = subprocess.run(
            [*command, *words], cwd=folder, env=environment, capture_output=True, timeout=300, check=False
        )
        words = ["resume", "r"]
        events = [json.loads(line) for line in journal.read_bytes().splitlines()]
        if (events[-1]["event"], events[-1].get("reason")) == ("stopped", "finished"):
            break
    else:
        raise AssertionError(done.stderr.decode(errors="replace")[-2000:])
    assert b"Traceback" not in done.stderr, done.stderr
    assert (folder / "results/r/report.md").exists()
    ended = {e["index"]: e.get("kind", "done") for e in events if e["event"] in ("done", "failed")}
    return {way: ended.get(number, "no result") for number, way in enumerate(ways)}, processes


def main() -> None:
    """Run what is asked for and print a table."""
    asked = sys.argv[1:]
    executors = [name for name in ("inline", "ray") if name in asked] or ["inline", "ray"]
    ways = [name for name in asked if name in WAYS] or list(WAYS)
    found, counts = {}, {}
    for executor in executors:
        with tempfile.TemporaryDirectory() as folder:
            found[executor], counts[executor] = carry_out(Path(folder), ways, executor)
    show("Hostile trials", ["way", *executors], [[way, *(found[e][way] for e in executors)] for way in ways])
    for executor in executors:
        print(f"{executor}: {counts[executor]} processes")
    sys.exit(any(kind not in KINDS for kinds in found.values() for kind in kinds.values()))


if __name__ == "__main__":
    main()
