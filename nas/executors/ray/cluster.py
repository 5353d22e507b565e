"""This process's connection to Ray: a local one that it starts and ends, or a cluster that is there already.

A local Ray asks every client for a token that every process draws for itself, listens on the loopback interface alone,
has no dashboard, and keeps its files in a folder that :mod:`nas.executors.ray.watchdog` removes whatever happens.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from nas.core.locks import OWNER, FileLock, remove_abandoned
from nas.core.plugins import naming
from nas.errors import ClusterError, ConfigError, NasError, printable
from nas.executors.ray import watchdog

T = TypeVar("T")

RAY_HELP = "--executor ray, and --workers of a training, need the package ray: python -m pip install 'nas-toolkit[ray]'"
OLDEST = (2, 54)
"""The first Ray whose token authentication covers all that we use."""
OBJECTS = 2 * 2**30
"""The most bytes for what workers of a node share."""
LEAST_OBJECTS = 75 * 2**20
"""What Ray insists on; where shared memory is smaller, as in containers, it uses a folder on disk."""
STARTS = (30.0, 120.0)
"""Seconds that a Ray of our own may take to start, at each attempt."""
KEPT = (
    "RAY_AUTH_MODE",
    "RAY_AUTH_TOKEN",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER",
    "RAY_USAGE_STATS_ENABLED",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO",
    "RAY_OBJECT_STORE_ALLOW_SLOW_STORAGE",
    "RAY_BACKEND_LOG_LEVEL",
)
"""What a Ray of our own reads in the environment, beside the settings in small letters that tune its processes."""
OURS = (*KEPT, "RAY_worker_niceness")
"""What :func:`connect` may have set itself."""
SILENCE = 8.0
"""Seconds without an answer after which the head node counts as lost."""


@dataclass
class Session:
    """A connection of this process to Ray.

    Attributes:
        address: of the cluster, None: a Ray of our own
        cpus: processors of a Ray of our own
        folder: its files
        guard: the process of its watchdog
        lock: which its folder has while this process lives
        head: host and port of the head node
        heard: when the head node last answered, of ``time.monotonic``
        asked: when it was last asked
        lost: whether it counts as lost
    """

    address: str | None
    cpus: int
    folder: str | None = None
    guard: subprocess.Popen[bytes] | None = None
    lock: FileLock | None = None
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
    if _open is not None:
        return _open
    # Ray reads its environment when it is imported, and once
    local = address is None
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_worker_niceness", "0")  # else trials give way to everything on a shared machine
    if local and "ray" in sys.modules and os.environ.get("RAY_AUTH_MODE", "token") != "token":
        raise ConfigError("Ray was imported with RAY_AUTH_MODE other than token; unset it, or join a cluster")
    if local and "ray" not in sys.modules:  # else Ray draws a token itself and keeps it in the user's home
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = _own_token
        # meant for the firewalls of other systems: with it, all ports listen on the loopback interface alone
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    with _of_our_own() if local else contextlib.nullcontext():
        _open = _connected(address, cpus)
    # the trials tell that workers died; Ray shall not print it
    from ray._private import worker

    if hasattr(worker, "print_to_stdstream"):
        worker.print_to_stdstream = lambda *_, **__: None
    return _open


def require_ray() -> None:
    """Raise :class:`ConfigError` where the package ray is not installed; it is not imported."""
    if find_spec("ray") is None:
        raise ConfigError(RAY_HELP)


def _connected(address: str | None, cpus: int) -> Session:
    try:
        import ray
    except ImportError:
        raise ConfigError(RAY_HELP) from None
    found = tuple(int(part) for part in ray.__version__.split(".")[:2])
    if found < OLDEST:
        raise ConfigError(f"--executor ray needs ray {'.'.join(map(str, OLDEST))} or newer, found {ray.__version__}")
    return _start_local(cpus) if address is None else _join(address, cpus)


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
    if session.lock is not None:
        session.lock.release()


def _let_go(guard: subprocess.Popen[bytes]) -> None:
    """Tell the watchdog by a byte that it is time: a fork of this process may hold the pipe open."""
    with contextlib.suppress(subprocess.TimeoutExpired):
        guard.communicate(b"x", timeout=30)


atexit.register(disconnect)


def _start_local(cpus: int) -> Session:
    import ray

    _sweep()
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False  # where the user's program imported Ray before
    for number, seconds in enumerate(STARTS, 1):
        folder, lock = _own_folder()
        command = [sys.executable, "-I", "-S", str(watchdog.__file__), folder]
        quiet = subprocess.DEVNULL  # it outlives the driver, and must not keep what reads its output
        guard = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=quiet, stderr=quiet, start_new_session=True)
        inner = Path(folder, "ray")  # Ray opens its folder to everyone; nobody else gets through the one around it
        inner.mkdir()
        try:
            with _marked(folder), _waiting(seconds):
                head = _init(
                    address="local",
                    num_cpus=cpus,
                    include_dashboard=False,
                    object_store_memory=max(LEAST_OBJECTS, min(OBJECTS, shutil.disk_usage("/dev/shm").free // 2)),
                    _node_ip_address="127.0.0.1",
                    _temp_dir=str(inner),
                )
            return Session(None, cpus, folder, guard, lock, head)
        except BaseException as error:
            with contextlib.suppress(ray.exceptions.RayError, RuntimeError, OSError):
                ray.shutdown()  # it keeps what it has begun
            _let_go(guard)
            lock.release()
            if not isinstance(error, ConfigError) or not re.search("(?i)timed.out|timeout", str(error)):
                raise
            if number == len(STARTS):
                rule = "the machine is too busy: try again later, or with --executor inline"
                if tuned := sorted(name for name in os.environ if name.startswith("RAY_") and name not in OURS):
                    rule = f"{rule}, or without {', '.join(tuned)} in the environment"
                raise ConfigError(f"{error}; {rule}") from None
    raise AssertionError


def _own_folder() -> tuple[str, FileLock]:
    """Make the folder of a Ray of ours, and lock it for as long as this process has that Ray."""
    while True:
        folder = tempfile.mkdtemp(prefix="nas-ray-", dir="/tmp")  # short, as paths of sockets must be
        with contextlib.suppress(FileNotFoundError):  # another process has swept it between the two
            return folder, FileLock.take(Path(folder, OWNER))


@contextlib.contextmanager
def _marked(folder: str) -> Iterator[None]:
    """Let what is started within the block be known as the Ray in ``folder``, and nothing else that we start."""
    # with the second, Ray's processes write their titles without writing over their environment
    before = os.environ.copy()
    os.environ.update({watchdog.MARK: folder, "SPT_NOENV": "1"})
    try:
        yield
    finally:
        os.environ.pop(watchdog.MARK)
        if "SPT_NOENV" not in before:
            os.environ.pop("SPT_NOENV")


@contextlib.contextmanager
def _waiting(seconds: float) -> Iterator[None]:
    """Let Ray wait ``seconds`` for its own first node: the half minute of its own is a constant in its code."""
    from ray._private import services

    ask: Callable[..., Any] = services.get_node
    end = time.monotonic() + seconds

    def get_node(*arguments: Any, **settings: Any) -> Any:
        while True:
            try:
                return ask(*arguments, **settings)
            except RuntimeError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    services.get_node = get_node
    try:
        yield
    finally:
        services.get_node = ask


@contextlib.contextmanager
def _of_our_own() -> Iterator[None]:
    """Hide what the environment says to other Rays: of clusters, jobs, nodes and keys. What tunes one stays."""
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name[4:5].isupper() and _foreign(name)}
    try:
        yield
    finally:
        os.environ.update(hidden)


def _foreign(name: str) -> bool:
    return name.startswith("RAY_") and name not in KEPT


def check_address(address: str) -> None:
    """Raise :class:`ConfigError` where ``address`` is neither HOST:PORT that answers nor auto of a Ray on this machine.

    Nothing is asked there: whether it is a Ray, and takes our token, shows when it is joined.
    """
    if address.startswith("ray://"):
        rule = "run the search on a machine of the cluster; the address is HOST:PORT"
        raise ConfigError(f"--ray-address '{address}': {rule}")
    if address != "auto":
        host, colon, port = address.rpartition(":")
        if not colon or not (port.isascii() and port.isdecimal()):
            raise ConfigError(f"--ray-address must be HOST:PORT or auto, found '{address}'")
        try:
            socket.create_connection((host, int(port)), timeout=5.0).close()
        except OSError as error:
            raise ConfigError(f"--ray-address '{address}': nothing answers there ({error.strerror or error})") from None


def _join(address: str, cpus: int) -> Session:
    check_address(address)
    try:
        return Session(address, cpus, head=_init(address=address))
    except ConfigError as error:
        raise ConfigError(f"--ray-address '{address}': {error}") from None


def _init(**settings: Any) -> tuple[str, int]:
    """Connect, and return host and port of the head node."""
    import ray

    terminate = signal.getsignal(signal.SIGTERM)
    try:
        with naming("Ray does not start"):
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **settings)
    except ConfigError as error:
        raise ConfigError(printable(str(error), 150)) from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)  # Ray's own ends the process like any exit
    host, _, port = ray.get_runtime_context().gcs_address.rpartition(":")
    return host, int(port)


def _sweep() -> None:
    """Remove the folders of drivers that died together with their watchdogs, and end what they have left running.

    A folder whose lock can be taken has no driver any more, whatever processes can be seen from here.
    """
    for path in Path("/tmp").glob("nas-ray-*"):
        if (path / OWNER).exists() and remove_abandoned(path) and watchdog.holders(str(path)):
            watchdog.clean(str(path))
