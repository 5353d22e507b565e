"""Locks on files: one process at a time holds one, until it lets go or dies.

``flock`` does it where the file system has locks: the system releases it when its holder dies, however it dies. Some
have none (NFS mounted ``nolock``, some of Lustre). There ``NAME.lock`` beside the file takes its place: made so that
one process alone can make it, it names its holder, who touches it every :data:`BEAT` seconds. It counts as left behind
when its holder's process is gone, as seen on the same machine, or was silent for :data:`SILENCE` seconds, as seen on
another one. A holder that was only asleep finds that out by :attr:`FileLock.lost`.

A child that is forked off a holder holds nothing: its copies of the descriptors are closed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import platform
import secrets
import shutil
import threading
import time
import weakref
from functools import cache
from pathlib import Path

from nas.core.values import Json

OWNER = ".owner"
"""The file in a temporary folder that whoever fills the folder has locked; see :func:`remove_abandoned`."""
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
"""What ``flock`` answers where there are no locks."""
BEAT, SILENCE = 10.0, 60.0
WAITS = (0.02, 0.05, 0.1)
"""Seconds between tries: whoever only asks whether a file is locked holds it for an instant."""


class FileLock:
    """An exclusive lock, made by :meth:`take`.

    Attributes:
        path: the locked file; whoever moves it says so by setting it.
    """

    def __init__(self, path: Path, descriptor: int, owned: bool, substitute: int | None) -> None:
        self.path = path
        self._descriptor, self._owned, self._substitute = descriptor, owned, substitute
        self._pid, self._released = os.getpid(), threading.Event()
        _held.add(self)
        if substitute is not None:
            threading.Thread(target=self._beat, args=(substitute,), daemon=True).start()

    @classmethod
    def take(cls, path: Path, descriptor: int | None = None) -> FileLock:
        """Lock ``path``, a file that is there only to be locked and is made where it is missing.

        With a ``descriptor`` it is any file that the caller has open, and closes when the lock is released.
        :class:`BlockingIOError`: another process holds it, and ``strerror`` says which where that is known; what else
        the file system refuses is another OSError.
        """
        while True:
            found, made = (descriptor, False) if descriptor is not None else _open(path)
            substitute, ours = None, False
            try:
                works = _flock(found)
                ours = made
                # its last holder may have removed it between the two
                current = descriptor is not None or _is(path, found)
                if current:
                    # also where locks work: it may be held from a machine on which they do not
                    _refuse_holder(path)
                    if not works:
                        substitute = _make(path)
                    return cls(path, found, descriptor is None, substitute)
            except BaseException:
                # what was made only to be refused would stay: its holder knows another file of that name
                if ours and _is(path, found):
                    with contextlib.suppress(OSError):
                        path.unlink()
                if descriptor is None:
                    os.close(found)
                raise
            os.close(found)

    @property
    def lost(self) -> bool:
        """Whether the lock is this process's no longer: it is a fork of the holder, or was taken for dead."""
        if os.getpid() != self._pid or self._released.is_set():
            return True
        return self._substitute is not None and not _is(_substitute_of(self.path), self._substitute)

    def release(self) -> None:
        """Let go, and remove a file that is there only to be locked; called again, or in a fork, it does nothing."""
        if os.getpid() != self._pid or self._released.is_set():
            return
        ours = not self.lost
        self._released.set()
        _held.discard(self)
        with contextlib.suppress(OSError):
            if self._substitute is not None and ours:
                _substitute_of(self.path).unlink()
            if self._owned and _is(self.path, self._descriptor):
                self.path.unlink()  # before others can have it: they see that it is gone
        self._close()

    def _close(self) -> None:
        for descriptor in ([self._descriptor] if self._owned else []) + [self._substitute]:
            if descriptor is not None:
                with contextlib.suppress(OSError):
                    os.close(descriptor)

    def _beat(self, descriptor: int) -> None:
        while not self._released.wait(BEAT):
            with contextlib.suppress(OSError):
                os.utime(descriptor)

    def _forget(self) -> None:
        # a child that lives on would keep the lock for its dead parent; the caller's file among them
        for descriptor in (self._descriptor, self._substitute):
            if descriptor is not None:
                with contextlib.suppress(OSError):
                    os.close(descriptor)


_held: weakref.WeakSet[FileLock] = weakref.WeakSet()


def _forget_all() -> None:
    for lock in list(_held):
        lock._forget()
    _held.clear()


os.register_at_fork(after_in_child=_forget_all)


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock of the file ``path``; who does is not disturbed."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
    found = _read(_substitute_of(path))
    return found is not None and _alive(*found, time.time())


def remove_abandoned(folder: Path) -> bool:
    """Remove a temporary folder whose filler is proven dead: its file :data:`OWNER` is there and can be locked.

    Without that file an empty one alone is removed. Return whether it is gone.
    """
    if folder.is_symlink():
        return False
    try:
        if not (folder / OWNER).exists():
            folder.rmdir()
            return True
        if is_locked(folder / OWNER):
            return False
        lock = FileLock.take(folder / OWNER)
    except OSError:
        return False
    shutil.rmtree(folder, ignore_errors=True)
    lock.release()
    return not folder.exists()


def _open(path: Path) -> tuple[int, bool]:
    """Open a file that is there only to be locked; return its descriptor, and whether it was made."""
    while True:
        with contextlib.suppress(FileExistsError):
            return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
        with contextlib.suppress(FileNotFoundError):  # removed between the two
            return os.open(path, os.O_RDWR | os.O_NOFOLLOW), False


def _flock(descriptor: int) -> bool:
    """Lock; return False where the file system has no locks."""
    for wait in (*WAITS, None):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if wait is None:
                raise BlockingIOError(errno.EAGAIN, "") from None
            time.sleep(wait)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            return False
    raise AssertionError


def _is(path: Path, descriptor: int) -> bool:
    """Return whether the file that is open is the one at ``path``."""
    try:
        return os.path.samestat(os.stat(path, follow_symlinks=False), os.fstat(descriptor))
    except OSError:
        return False


def _substitute_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.lock")


def _make(path: Path) -> int:
    """Make the file that takes a lock's place and return its descriptor."""
    place = _substitute_of(path)
    while True:
        _refuse_holder(path)
        with contextlib.suppress(FileExistsError):  # another was quicker
            descriptor = os.open(place, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
            break
    owner = {**_machine(), "pid": os.getpid(), "start": None, "token": secrets.token_hex(8)}
    with contextlib.suppress(OSError):
        owner["start"] = _state_of(os.getpid())[1]
    os.write(descriptor, json.dumps(owner).encode())
    os.fsync(descriptor)  # other machines read it
    return descriptor


def _refuse_holder(path: Path) -> None:
    """Raise BlockingIOError where the substitute is held; one that was left behind is removed."""
    place = _substitute_of(path)
    while (found := _read(place)) is not None:
        owner, _ = found
        if _alive(*found, _clock(path.parent)):
            who = f"process {owner.get('pid', '?')} on {owner.get('host', 'an unknown machine')}"
            raise BlockingIOError(errno.EAGAIN, f"held by {who}, says '{place}'")
        # of several that see it one moves it away; whoever comes late moves a new one, and puts it back
        aside = place.with_name(f"{place.name}.{secrets.token_hex(8)}")
        with contextlib.suppress(FileNotFoundError):
            os.rename(place, aside)
            if _read(aside) != found:
                with contextlib.suppress(OSError):  # its holder finds out
                    os.link(aside, place)
            aside.unlink()


def _read(place: Path) -> tuple[Json, float] | None:
    """Return what a substitute says of its holder, and when that was last heard of; None: there is no such file."""
    try:
        with place.open("rb") as file:
            content, touched = file.read(10_000), os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None
    try:
        owner = json.loads(content)
    except (ValueError, RecursionError):
        owner = None  # it is being written
    return owner if isinstance(owner, dict) else {}, touched


def _alive(owner: Json, touched: float, now: float) -> bool:
    if owner and _machine().items() <= owner.items():
        return _lives(owner.get("pid"), owner.get("start"))
    return now - touched < SILENCE


@cache
def _machine() -> Json:
    """Return what processes have in common that can see each other's numbers."""
    facts = {"host": platform.node(), "boot": "", "processes": ""}
    with contextlib.suppress(OSError):
        facts["boot"] = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        facts["processes"] = os.readlink("/proc/self/ns/pid")
    return facts


def _lives(pid: object, start: object) -> bool:
    """Return whether a process of this machine that began at ``start`` is still there."""
    if not isinstance(pid, int) or not 0 < pid < 2**31:
        return False
    with contextlib.suppress(OSError):
        state, begun = _state_of(pid)
        return state not in ("Z", "X") and begun == start
    try:  # no /proc here, or one that hides the processes of others
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _state_of(pid: int) -> tuple[str, int]:
    """Return a process's state and when it began, which tells it from a later one of the same number."""
    with open(f"/proc/{pid}/stat", "rb") as file:
        state, *rest = file.read().rpartition(b")")[2].split()
    return state.decode(), int(rest[18])


def _clock(folder: Path) -> float:
    """Return the time by the clock of the file system, with which that of this machine may disagree."""
    probe = folder / f".{secrets.token_hex(8)}.now"
    descriptor = os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)
        probe.unlink()
