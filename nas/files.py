"""Files: written whole or not at all, read with errors that name the file."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nas.errors import ConfigError


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write ``content`` to ``path`` through a temporary file beside it; a failure leaves the old file as it was."""
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise ConfigError(f"cannot write '{path}': {error.strerror or error}") from None


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

    What the file system refuses is raised as OSError, for the caller to name.
    """
    staging = folder.parent / f".{folder.name}.{os.getpid()}.new"
    try:
        sweep_staging(folder)
        staging.mkdir(parents=True)
        yield staging
        sync_folder(staging)
        staging.rename(folder)
        sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise


def sweep_staging(folder: Path) -> None:
    """Remove what processes that were killed while they made ``folder`` have left."""
    for path in folder.parent.glob(f".{folder.name}.*.new"):
        if path.name.removeprefix(f".{folder.name}.").removesuffix(".new").isdigit():
            shutil.rmtree(path, ignore_errors=True)


def write_json(path: Path, data: Any) -> None:
    """Write ``data`` as indented JSON."""
    write_atomic(path, json.dumps(data, indent=2) + "\n")


def read_text(path: Path) -> str:
    """Return the text of ``path``; a missing, unreadable or binary file raises :class:`ConfigError`."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"file '{path}' does not exist") from None
    except UnicodeDecodeError:
        raise ConfigError(f"file '{path}' is not text (UTF-8)") from None
    except OSError as error:
        raise ConfigError(f"file '{path}' cannot be read: {error.strerror}") from None


def read_json(path: Path) -> Any:
    """Return the JSON data of ``path``."""
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise ConfigError(f"file '{path}' is not JSON: line {error.lineno}: {error.msg}") from None
    except RecursionError:
        raise ConfigError(f"file '{path}' is not usable JSON: nested too deeply") from None
