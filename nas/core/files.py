"""Files: written whole or not at all, read with errors that name the file."""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import secrets
import shutil
import stat
import tempfile
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from nas.core.locks import OWNER, FileLock, remove_abandoned
from nas.core.memory import free_memory
from nas.core.values import NESTING, levels_of
from nas.errors import ConfigError

TEMPORARY = ".nas-{}.tmp"
"""The name of a file that is being written; it does not grow with the file's own."""
FORGOTTEN = 3600.0
"""Seconds after which a temporary file is one that a killed process has left."""
MOST_BYTES = 1 << 40
"""The largest file that is read whole, where memory is free for it."""
MOST_TEXT = 256 << 20
"""The largest text file (JSON, TOML, CSV)."""
INTEGER_RULE = "an integer has more than 64 bits"
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_KINDS = (
    (stat.S_ISDIR, "Is a directory"),
    (stat.S_ISFIFO, "it is a pipe"),
    (stat.S_ISSOCK, "it is a socket"),
    (stat.S_ISCHR, "it is a device"),
    (stat.S_ISBLK, "it is a device"),
)


def write_atomic(path: Path, content: str | bytes | Iterable[str]) -> None:
    """Write ``content`` to ``path`` through a temporary file beside it; a failure leaves the old file as it was.

    Pieces of text are written one by one, as they are made.

    The temporary file is new and its name cannot be guessed, so that nobody's link leads the content elsewhere. Where
    ``path`` itself is a symbolic link, the link is replaced and what it names stays as it is. What UTF-8 cannot hold,
    such as the name of a file in another encoding, is written as an escape.
    """
    pieces = [content] if isinstance(content, str | bytes) else content
    temporary = path.with_name(TEMPORARY.format(secrets.token_hex(8)))
    try:
        # not by tempfile, whose files nobody else may read: the umask decides as for any new file
        with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666), "wb") as file:
            for piece in pieces:
                file.write(piece.encode(errors="backslashreplace") if isinstance(piece, str) else piece)
            file.flush()
            os.fsync(file.fileno())
        # a rename is atomic: readers see the old file or the new one
        temporary.replace(path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if not isinstance(error, OSError):
            raise
        raise ConfigError(f"cannot write '{path}': {error.strerror or error}") from None


def sweep_temporaries(folder: Path) -> None:
    """Remove what killed processes left of :func:`write_atomic` in ``folder`` and below it."""
    for place, _, names in os.walk(folder):
        for name in names:
            if fnmatch(name, TEMPORARY.format("?" * 16)):
                with contextlib.suppress(OSError):
                    path = os.path.join(place, name)
                    if time.time() - os.lstat(path).st_mtime > FORGOTTEN:
                        os.unlink(path)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable where the file system can: a power failure then keeps what was renamed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Give a new folder beside ``folder`` that is moved there when it is whole; where filling it fails it is removed.

    What the file system refuses is raised as OSError, for the caller to name: so is a ``folder`` that holds something,
    thus of several that are moved to one place the first alone is. While it is filled it is this user's alone and
    locked (:data:`nas.core.locks.OWNER`); those whose filler is proven dead are removed first.
    """
    with locked_folder(folder) as (staging, lock):
        yield staging
        # the rights that the umask gives
        usual = staging / ".usual"
        usual.mkdir()
        staging.chmod(stat.S_IMODE(usual.stat().st_mode))
        usual.rmdir()
        # its content must be durable before its name is, and then the name
        sync_folder(staging)
        staging.rename(folder)
        lock.path = folder / OWNER
        sync_folder(folder.parent)


@contextlib.contextmanager
def locked_folder(beside: Path) -> Iterator[tuple[Path, FileLock]]:
    """Give a new folder in that of ``beside``, for this user alone, and the lock in it; it is removed at the end.

    Where this process is killed, the next one that asks for such a folder there removes it.
    """
    beside.parent.mkdir(parents=True, exist_ok=True)
    sweep_staging(beside)
    staging, lock = _new_locked(beside)
    try:
        yield staging, lock
    finally:
        if not lock.lost:  # in a fork it is the parent's
            shutil.rmtree(staging, ignore_errors=True)
        lock.release()


@contextlib.contextmanager
def output_folder(folder: Path) -> Iterator[Path]:
    """Give what :func:`staged` gives for the new folder that a user names by ``-o``; what is refused is ConfigError."""
    try:
        with staged(folder) as staging:
            yield staging
    except OSError as error:
        why = f"cannot be written: {error.strerror or error}"
        if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):  # another process was quicker
            why = "exists already; name a new folder"
        raise ConfigError(f"-o '{folder}' {why}") from None


def sweep_staging(folder: Path) -> None:
    """Remove what killed processes have left of folders that they filled beside ``folder``."""
    for path in folder.parent.glob(".*.new"):
        # without a lock it may be one that its filler is about to lock: those of this name alone are tried
        if (path / OWNER).exists() or "." not in path.name.removeprefix(_prefix(folder)).removesuffix(".new"):
            remove_abandoned(path)


def _prefix(folder: Path) -> str:
    return f".{folder.name[:50]}."  # what is added must not make a name too long


def _new_locked(folder: Path) -> tuple[Path, FileLock]:
    """Return a new folder beside ``folder`` and its lock."""
    while True:
        staging = Path(tempfile.mkdtemp(prefix=_prefix(folder), suffix=".new", dir=folder.parent))
        try:
            return staging, FileLock.take(staging / OWNER)
        except (FileNotFoundError, BlockingIOError):  # empty and not locked yet, it was taken for one left behind
            continue
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise


def write_json(path: Path, data: object) -> None:
    """Write ``data`` as indented JSON."""
    write_atomic(path, json.dumps(data, indent=2) + "\n")


def read_bytes(path: Path, most: int | None = None) -> bytes:
    """Return the bytes of the regular file ``path``; every file from outside that is read whole comes through here.

    :class:`ConfigError` where it is missing or unreadable, where it is a pipe, a device or the like, which may never
    end, and where it is larger than ``most`` bytes or than what memory is free for.
    """
    try:
        check_regular(path)
        # what took its place since then is not waited for either
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            # a file may grow, or not tell its size, as those in /proc
            limit = min(most if most is not None else MOST_BYTES, free_memory() // 2)
            size = os.fstat(descriptor).st_size
            data = b"" if size > limit else file.read(limit + 1)
    except FileNotFoundError:
        raise ConfigError(f"file '{path}' does not exist") from None
    except (OSError, ValueError) as error:  # a name with a NUL is no name
        raise ConfigError(f"file '{path}' cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if max(size, len(data)) > limit:
        raise ConfigError(f"file '{path}' is too large: {max(size, len(data)):,} bytes, {limit:,} are allowed")
    return data


def check_regular(path: Path) -> None:
    """Refuse a pipe, a device and the like, which may never end: opening one may wait for ever already."""
    if kind := irregular(path):
        raise ConfigError(f"file '{path}' cannot be read: {kind}; a regular file is allowed")


def irregular(path: Path) -> str | None:
    """Return what ``path`` is where it is no regular file, else None; a missing one raises OSError."""
    mode = path.stat().st_mode
    return None if stat.S_ISREG(mode) else next((name for of, name in _KINDS if of(mode)), "it is something else")


def read_text(path: Path, most: int = MOST_TEXT) -> str:
    """Return the text (UTF-8) of ``path``, without a byte order mark; see :func:`read_bytes`."""
    try:
        return read_bytes(path, most).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"file '{path}' is not text (UTF-8)") from None


def read_json(path: Path) -> Any:
    """Return the JSON data of ``path``, as :func:`parse_json` does."""
    return parse_json(read_text(path), f"file '{path}'")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the data of a TOML file; deeper nesting or longer integers than JSON's raise :class:`ConfigError`."""
    text, where = read_text(path), f"file '{path}'"
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{where} is not TOML: {error}") from None
    except (RecursionError, ValueError) as error:
        raise ConfigError(f"{where} is not usable TOML: {_unusable(error)}") from None
    _check(data, f"{where} is not usable TOML")
    return data


def parse_json(text: str | bytes, where: str) -> Any:
    """Return the data of JSON text from outside; ``where`` names it in errors.

    Lists and objects are at most :data:`NESTING` deep, integers have 64 bits, numbers are finite, text has an encoding,
    and no object has a name twice; else :class:`ConfigError` is raised. So whoever walks or prints the data needs no
    care.
    """
    try:
        data = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where} is not JSON: line {error.lineno}: {error.msg}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{where} is not text (UTF-8)") from None
    except (RecursionError, ValueError) as error:
        raise ConfigError(f"{where} is not usable JSON: {_unusable(error)}") from None
    _check(data, f"{where} is not usable JSON", finite=True)
    return data


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise ValueError(f"an object has the name '{twice[:100]}' twice")
    return found


def _refuse_constant(name: str) -> None:
    raise ValueError(f"numbers must be finite, found {name}")


def _unusable(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return f"nested too deeply; at most {NESTING} levels are allowed"
    # the interpreter's own words for an integer that it does not convert
    return INTEGER_RULE if "integer string conversion" in str(error) else str(error)


def _check(data: Any, where: str, finite: bool = False) -> None:
    """Refuse what is nested too deeply, too large a number, and text that no encoding has."""
    for level in levels_of(data, where):
        for value in level:
            if type(value) is int and not -(2**63) <= value < 2**64:
                raise ConfigError(f"{where}: {INTEGER_RULE}")
            if finite and type(value) is float and not math.isfinite(value):
                raise ConfigError(f"{where}: numbers must be finite, found {value}")
            if type(value) is str and not value.isascii() and _LONE_SURROGATE.search(value):
                raise ConfigError(f"{where}: text holds half of a surrogate pair")


def is_file(path: str | Path) -> bool:
    """Return whether ``path`` is a file; text that cannot be a path, as it is too long or holds a NUL, is none."""
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def real_path(text: str | Path) -> str:
    """Return the absolute path behind links and ``~``; a link in a circle is left for who reads it."""
    return os.path.realpath(os.path.expanduser(text))


def is_path(text: str) -> bool:
    """Return whether ``text`` can be no name; a name wins over a file of that name, ``./NAME`` is the file."""
    return "/" in text or text.endswith(".json")
