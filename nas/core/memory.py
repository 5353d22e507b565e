"""The memory that is free, so that a size that a file claims can be refused before it is allocated."""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from nas.errors import ConfigError

_UNLIMITED = 1 << 62
_CGROUPS = (
    ("memory.max", "memory.current", "memory.stat", ("inactive_file", "active_file")),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        ("total_inactive_file", "total_active_file"),
    ),
)
"""Limit, use and the parts of it that only cache files, of versions 2 and 1, as a container sees its own."""


def free_memory() -> int:
    """Return the bytes that this process can still get: of the machine, its container and its own address space.

    What cannot be found out counts as no limit.
    """
    free = [_UNLIMITED]
    if (available := _fields("/proc/meminfo").get("MemAvailable")) is not None:
        free.append(available)
    for most, used, parts, cache in _CGROUPS:
        limit, now = _number(f"/sys/fs/cgroup/{most}"), _number(f"/sys/fs/cgroup/{used}")
        if limit is not None and now is not None:
            found = _lines(f"/sys/fs/cgroup/{parts}")
            free.append(limit - now + sum(int(row[1]) for row in found if row[0] in cache))
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and sys.platform == "linux":
        free.append(limit - _fields("/proc/self/status").get("VmSize", 0))
    return max(0, min(free))


def require_memory(size: int, what: str) -> None:
    """Raise :class:`ConfigError` where ``what`` takes ``size`` bytes and fewer are free."""
    if size > (free := free_memory()):
        raise ConfigError(f"{what} takes {size_text(size)} of memory, {size_text(free)} are free")


def size_text(size: int) -> str:
    """Return bytes as people read them."""
    for unit, name in ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB")):
        if size >= unit:
            return f"{size / unit:,.1f} {name}"
    return f"{size:,} bytes"


def _fields(path: str) -> dict[str, int]:
    """Return the sizes in bytes that a file of lines such as ``MemAvailable: 123 kB`` holds."""
    return {row[0].rstrip(":"): 1024 * int(row[1]) for row in _lines(path) if row[2:] == ["kB"]}


def _lines(path: str) -> list[list[str]]:
    """Return the words of each line, at least two; no line where the file is missing."""
    try:
        text = Path(path).read_text(encoding="ascii", errors="replace")
    except OSError:
        return []
    return [words for line in text.splitlines() if len(words := line.split()) > 1]


def _number(path: str) -> int | None:
    try:
        return int(Path(path).read_text(encoding="ascii"))
    except (OSError, ValueError):  # "max" is no limit
        return None
