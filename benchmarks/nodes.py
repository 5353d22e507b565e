"""A Ray cluster of several nodes on this machine, in a process of its own: ``python nodes.py FOLDER``.

It says its address on a line, then obeys a line of standard input at a time and answers each with a line of process
numbers: ``add`` starts a node, ``kill`` ends the oldest node but the head with SIGKILL, ``stop`` as ``ray stop`` does,
``freeze`` makes it silent until ``thaw``, and ``head`` ends the head's GCS. When its input ends, so does everything it
has started, and FOLDER is removed.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SMALL = {"num_cpus": 1, "object_store_memory": 80 * 2**20}
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


class Nodes:
    """A cluster of ``count`` nodes of one CPU each, seen from the storm; a context manager.

    ``settings`` are variables of Ray's (``RAY_health_check_period_ms``). ``environment`` is what a client needs.
    """

    def __init__(self, count: int = 3, **settings: str) -> None:
        self.environment = {**TOKEN, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
        self._folder = tempfile.mkdtemp(prefix="storm-", dir="/tmp")
        self._process = subprocess.Popen(
            [sys.executable, __file__, self._folder],
            env={**os.environ, **self.environment, **settings, "RAY_TMPDIR": self._folder},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        self.address = self._answer()
        for _ in range(count - 1):
            self.tell("add")

    def tell(self, word: str) -> str:
        """Give an order; return the answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the cluster ended"
        return line.strip()

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def below(root: int) -> set[int]:
    """Return the processes that ``root`` has started, and they, and so on."""
    parents = {int(entry): parent_of(entry) for entry in os.listdir("/proc") if entry.isdigit()}
    found: set[int] = set()
    new = {root}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found


def parent_of(pid: int | str) -> int:
    """Return the process that started ``pid``; 0 where it has ended, also one whose end nobody has noted yet."""
    with contextlib.suppress(OSError):
        state, parent, *_ = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
        return 0 if state == "Z" else int(parent)
    return 0


def alive(pid: int) -> bool:
    """Return whether a process runs."""
    return parent_of(pid) > 0


def send(pids: list[int], number: int) -> None:
    """Send a signal."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def end(pids: list[int], number: int = signal.SIGKILL) -> None:
    """Send a signal and see the processes gone."""
    send(pids, number)
    while any(map(alive, pids)):
        time.sleep(0.001)


def main() -> None:
    """Keep the cluster; see above."""
    from ray.cluster_utils import Cluster

    def say(text: str) -> None:
        os.write(answers, f"{text}\n".encode())

    folder = sys.argv[1]
    Path(folder, "ray").mkdir()
    answers = os.dup(1)
    os.dup2(2, 1)
    common = {**SMALL, "node_ip_address": "127.0.0.1"}
    cluster = Cluster(True, head_node_args={**common, "include_dashboard": False})
    say(cluster.address)
    nodes, frozen = [], list[int]()
    for line in sys.stdin:
        word, pids = line.strip(), list[int]()
        if word == "add":
            nodes.append(cluster.add_node(wait=False, **common))
        elif word == "head":
            pids = [info.process.pid for info in cluster.head_node.all_processes["gcs_server"]]
            end(pids)
        elif word == "thaw":
            send(frozen, signal.SIGCONT)
        else:
            roots = [info.process.pid for infos in nodes.pop(0).all_processes.values() for info in infos]
            pids = [pid for root in roots for pid in (root, *below(root))]
            if word == "freeze":
                frozen = pids
                send(frozen, signal.SIGSTOP)
            else:
                end(pids, signal.SIGKILL if word == "kill" else signal.SIGTERM)
        say(" ".join(map(str, pids)))
    while found := below(os.getpid()):
        end(list(found))
        time.sleep(0.05)
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)  # else Ray looks for what is gone


if __name__ == "__main__":
    main()
