"""What this machine, and a container around this process, lets it use: processors, file systems and their space."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from nas.errors import printable

INSTRUCTIONS = {"avx2": "AVX2", "avx512f": "AVX-512", "amx_tile": "AMX", "asimd": "NEON", "sve": "SVE"}
"""What networks compute quickly with, by the kernel's names."""
_ESCAPES = {r"\040": " ", r"\011": "\t", r"\012": "\n", r"\134": "\\"}


@dataclass(frozen=True)
class Processor:
    """The processors of this machine.

    Attributes:
        model: what its maker calls it; "" where the kernel does not say
        instructions: of :data:`INSTRUCTIONS`, those it has
        cores: that this process may use
        limit: cores' worth of time that a container allows, None: no limit
    """

    model: str
    instructions: tuple[str, ...]
    cores: int
    limit: float | None

    @property
    def usable(self) -> float:
        """The cores' worth of time that this process can get."""
        return self.cores if self.limit is None else min(self.cores, self.limit)


@dataclass(frozen=True)
class FileSystem:
    """Where a folder lies.

    Attributes:
        kind: the kernel's name, such as ext4, nfs4 or overlay; "" where it is unknown
        options: with which it is mounted
        free: bytes that this user can still write
    """

    kind: str
    options: tuple[str, ...]
    free: int


def processor() -> Processor:
    """Return what the kernel says of the processors."""
    facts = dict[str, str]()
    for line in _text("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        facts.setdefault(name.strip(), value.strip())
    flags = set(facts.get("flags", facts.get("Features", "")).split())
    found = tuple(name for flag, name in INSTRUCTIONS.items() if flag in flags)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Processor(printable(facts.get("model name", "")), found, cores, cpu_limit())


def cpu_limit(root: Path = Path("/sys/fs/cgroup")) -> float | None:
    """Return the cores' worth of time that a container allows, by cgroups of version 2 or 1; None: no limit."""
    words = _text(root / "cpu.max").split() or [
        _text(root / "cpu/cpu.cfs_quota_us").strip(),
        _text(root / "cpu/cpu.cfs_period_us").strip(),
    ]
    if len(words) == 2 and all(word.isdecimal() for word in words) and int(words[1]) > 0:  # "max" and -1 are no limit
        return int(words[0]) / int(words[1])
    return None


def file_system(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> FileSystem:
    """Return the file system of an existing folder; OSError where it cannot be looked at."""
    place, kind, longest = str(folder.resolve()), "", -1
    options: tuple[str, ...] = ()
    for line in _text(mounts).splitlines():
        about, dash, device = line.partition(" - ")
        words, more = about.split(" "), device.split(" ")
        if not dash or len(words) < 6 or len(more) < 3:
            continue
        point = words[4]
        for escape, character in _ESCAPES.items():
            point = point.replace(escape, character)
        inside = place == point or place.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= longest:  # of two at one place the later one hides the other
            kind, longest = more[0], len(point)
            options = (*words[5].split(","), *more[2].split(","))
    return FileSystem(kind, options, shutil.disk_usage(folder).free)


def _text(path: str | Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
