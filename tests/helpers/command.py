"""The command line and the public API as a user has them: in a process of its own.

``NAS_SOURCE`` names another checkout to run, so that a test can be seen to fail on a commit that has the fault.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SOURCE = Path(os.environ.get("NAS_SOURCE", Path(__file__).resolve().parents[2]))
EVALUATOR = """import os, sys
from nas.evaluators import register_evaluator

@register_evaluator("mine")
def mine(job):
    "Rewards the key."
{body}
    return (int(job.key[:8], 16) % 1000) / 1000
"""
QUICK = ("--space=nb201", "--depth=1", "--searcher=random", "--baseline=none", "--evaluator=mine")
"""Settings of a search by a plugin's evaluator that trains nothing."""


def environment(**variables: str) -> dict[str, str]:
    """Return the environment of a command: one thread, no Ray address of the machine's, and ``variables``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    return kept | {"PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"} | variables


def command(*arguments: str | Path) -> list[str]:
    """Return the words of a command, for :class:`subprocess.Popen`."""
    return [sys.executable, str(SOURCE / "run_search.py"), *map(str, arguments)]


def nas(
    folder: Path, *arguments: str | Path, timeout: float = 120, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run a command in ``folder`` and return what came of it."""
    return _run(command(*arguments), folder, timeout, variables)


def python(folder: Path, code: str, timeout: float = 120, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run ``code`` in ``folder`` and return what came of it."""
    return _run([sys.executable, "-c", code], folder, timeout, variables)


def _run(words: list[str], folder: Path, timeout: float, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=folder,
        env=environment(**variables),
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=timeout,
        check=False,
    )


def nas_within(folder: Path, gigabytes: int, *arguments: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a command in ``folder`` with that much address space and return what came of it."""
    code = "import resource, runpy, sys\n"
    code += f"resource.setrlimit(resource.RLIMIT_AS, ({gigabytes} << 30,) * 2)\n"
    code += (
        f"sys.argv = ['nas', *{arguments!r}]\nrunpy.run_path({str(SOURCE / 'run_search.py')!r}, run_name='__main__')"
    )
    return python(folder, code, timeout)


def write_plugin(path: Path, body: str = "pass") -> Path:
    """Write a plugin whose evaluator ``mine`` does ``body`` and rewards the key."""
    path.write_text(EVALUATOR.format(body="\n".join(f"    {line}" for line in body.splitlines())))
    return path


def one_error(done: subprocess.CompletedProcess[str], code: int = 2) -> str:
    """Hold a command to one clear line and its exit code; return the line."""
    assert done.returncode == code, done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert len(lines[0]) <= 400, lines[0]
    return lines[0]
