"""This process's connection to Ray: a local one that it starts and ends, or a cluster that is there already.

A local Ray asks every client for a token that every process draws anew, listens on the loopback interface alone, has no
dashboard, and keeps its files in a folder of its own, which :mod:`nas.executors.guardian` removes whatever happens.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from nas.errors import ClusterError, ConfigError, NasError, one_line
from nas.executors import guardian

T = TypeVar("T")

OLDEST = (2, 54)
"""The first Ray whose token authentication covers all that we use."""
OBJECTS = 2 * 2**30
"""At most so many bytes for what workers of a node share."""
LEAST_OBJECTS = 75 * 2**20
"""What Ray insists on; where shared memory is smaller, as in containers, it uses a folder on disk."""
SILENCE = 8.0
"""Seconds without an answer after which the head node counts as lost."""


@dataclass
class Session:
    """A connection: ``address`` None stands for a Ray of our own with ``cpus`` processors."""

    address: str | None
    cpus: int
    folder: str | None = None
    guard: subprocess.Popen[bytes] | None = None
    head: tuple[str, int] = ("", 0)
    heard: float = field(default_factory=time.monotonic)
    asked: float = 0.0
    lost: bool = False

    def ask(self, question: Callable[[], T]) -> T:
        """Return what ``question`` does, which the head node must answer: Ray itself waits a minute for a lost one."""
        import ray

        answers: list[T] = []
        faults: list[Exception] = []

        def put() -> None:
            try:
                answers.append(question())
            except (ray.exceptions.RayError, RuntimeError, OSError, ValueError, NasError) as error:
                faults.append(error)

        thread = threading.Thread(target=put, daemon=True)
        thread.start()
        while thread.is_alive():
            thread.join(0.5)
            if thread.is_alive():
                self.check()
        if faults or not answers:
            raise faults[0] if faults else ClusterError("Ray gave no answer")
        return answers[0]

    def check(self) -> None:
        """Raise :class:`ClusterError` when the head node has not answered for :data:`SILENCE` seconds."""
        now = time.monotonic()
        if now - self.asked < 1.0:
            return
        if now - self.asked > SILENCE:  # nobody has asked, so the silence begins now
            self.heard = now
        if listens(*self.head):
            self.heard = time.monotonic()
        self.asked = time.monotonic()
        if self.asked - self.heard > SILENCE:
            self.lost = True
            raise ClusterError(
                f"the head node of the Ray cluster, {self.head[0]}:{self.head[1]}, does not answer any more; what was "
                "recorded is safe: resume the run when the cluster is there again"
            )


_open: Session | None = None
_own_token = secrets.token_hex(32)


def listens(host: str, port: int) -> bool:
    """Return whether something accepts connections there."""
    with contextlib.suppress(OSError):
        socket.create_connection((host, port), timeout=1.0).close()
        return True
    return False


def connect(address: str | None, cpus: int) -> Session:
    """Return the connection of this process, made if need be: to ``address``, or to a Ray of our own of ``cpus``."""
    global _open
    if _open is not None and (_open.address != address or _open.cpus < cpus or _open.lost):
        disconnect()
    if address is not None and os.environ.get("RAY_AUTH_TOKEN") == _own_token:
        raise ConfigError("this process has had a Ray of its own, whose token it keeps; join a cluster from a new one")
    if _open is None:
        _check_ray(local=address is None)
        _open = _start_local(cpus) if address is None else _join(address, cpus)
        _be_quiet()
    return _open


def disconnect() -> None:
    """End the connection, and with it a local Ray with all its processes and files."""
    global _open
    session, _open = _open, None
    if session is None:
        return
    import ray

    # a Ray whose head is gone may never come back from its shutdown
    ending = threading.Thread(target=ray.shutdown, daemon=True)
    with contextlib.suppress(RuntimeError):  # some versions of Python start no thread at their end
        ending.start()
        ending.join(2.0 if session.lost else 20.0)
    if session.guard is not None:
        _let_go(session.guard)


def _let_go(guard: subprocess.Popen[bytes]) -> None:
    """Tell the guardian that it is time, in so many words: a fork of this process may hold the pipe open."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        guard.communicate(b"x", timeout=30)


atexit.register(disconnect)


def _check_ray(local: bool) -> None:
    # Ray reads its environment when it is imported, and once
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # else trials give way to everything on a shared machine
    if local and "ray" in sys.modules and os.environ.get("RAY_AUTH_MODE", "token") != "token":
        raise ConfigError("Ray was imported with RAY_AUTH_MODE other than token; unset it, or join a cluster")
    if local and "ray" not in sys.modules:  # else Ray draws a token itself and keeps it in the user's home
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = _own_token
        # a switch for the firewalls of other systems: with it, all ports listen on the loopback interface alone
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    try:
        import ray
    except ImportError:
        raise ConfigError("--executor ray needs the package ray: pip install 'nas-toolkit[ray]'") from None
    found = tuple(int(part) for part in ray.__version__.split(".")[:2])
    if found < OLDEST:
        raise ConfigError(f"--executor ray needs ray {'.'.join(map(str, OLDEST))} or newer, found {ray.__version__}")


def _start_local(cpus: int) -> Session:
    import ray

    _sweep()
    folder = tempfile.mkdtemp(prefix=f"nas-ray-{os.getpid()}-", dir="/tmp")  # short, as paths of sockets must be
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False  # where the user's program imported Ray before
    command = [sys.executable, "-I", "-S", str(guardian.__file__), folder]
    quiet = subprocess.DEVNULL  # it outlives the driver, and must not keep what reads its output
    guard = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True)
    inner = Path(folder, "ray")  # Ray opens its folder to everyone; nobody else gets through the one around it
    inner.mkdir()
    session = Session(None, cpus, folder, guard)
    try:
        _init(
            num_cpus=cpus,
            include_dashboard=False,
            object_store_memory=max(LEAST_OBJECTS, min(OBJECTS, shutil.disk_usage("/dev/shm").free // 2)),
            _node_ip_address="127.0.0.1",
            _temp_dir=str(inner),
        )
    except BaseException:
        _let_go(guard)
        raise
    session.head = _head()
    return session


def _join(address: str, cpus: int) -> Session:
    if address.startswith("ray://"):
        raise ConfigError(
            f"--ray-address '{address}': run the search on a machine of the cluster; the address is HOST:PORT"
        )
    if address != "auto":
        host, colon, port = address.rpartition(":")
        if not colon or not (port.isascii() and port.isdecimal()):
            raise ConfigError(f"--ray-address must be HOST:PORT or auto, found '{address}'")
        try:
            socket.create_connection((host, int(port)), timeout=5.0).close()
        except OSError as error:
            raise ConfigError(f"--ray-address '{address}': nothing answers there ({error.strerror or error})") from None
    try:
        _init(address=address)
    except ConfigError as error:
        raise ConfigError(f"--ray-address '{address}': {error}") from None
    session = Session(address, cpus)
    session.head = _head()
    return session


def _init(**settings: Any) -> None:
    import ray

    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **settings)
    except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise ConfigError(f"Ray does not start: {one_line(error)[:500]}") from None


def _head() -> tuple[str, int]:
    import ray

    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    return host, int(port)


def _be_quiet() -> None:
    """Keep Ray from printing that workers died: the trials tell it."""
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None


def _sweep() -> None:
    """Remove the folders of drivers that died together with their guardians.

    A guardian that still runs removes its folder itself, and would kill whoever does so in its place: to remove a
    folder is to open it.
    """
    for path in Path("/tmp").glob("nas-ray-*-*"):
        pid = path.name.split("-")[2]
        if pid.isdigit() and not Path("/proc", pid).exists() and not guardian.holders(str(path)):
            shutil.rmtree(path, ignore_errors=True)
