"""Files of weights as tools write them: safetensors, and what ``torch.save`` writes of tensors and plain values.

A file of ``torch.save`` may hold Python objects, which run code when they are read: one that holds any is refused.
"""

from __future__ import annotations

import argparse
import re
import struct
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any

from nas.core.file_kinds import HEAD, ZIP, kind_of
from nas.core.files import irregular
from nas.core.memory import require_memory, size_text
from nas.core.text import printable
from nas.errors import ConfigError, one_line

if TYPE_CHECKING:
    from torch import Tensor

LENGTH = 8
"""Bytes of a safetensors file that tell the length of its header."""
DEEPEST = 8
"""How deeply a checkpoint's dictionaries may lie in each other for their tensors to be found."""
LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The first bytes of what torch wrote before version 1.6."""
PROTOCOLS = re.compile(rb"\x80[\x02-\x05]")
"""The first bytes of a pickle."""


@dataclass(frozen=True, eq=False)
class StoredWeights:
    """What a file of weights holds."""

    tensors: Mapping[str, Tensor]
    """By the names that they have there; those of dictionaries in dictionaries are joined by dots."""
    others: tuple[str, ...] = ()
    """The names of what holds no tensors, as an epoch or the arguments of a program."""


def read_weights(path: Path) -> StoredWeights:
    """Return what a file of safetensors or of ``torch.save`` holds; anything else raises :class:`ConfigError`."""
    try:
        if problem := irregular(path):
            raise ConfigError(f"weights '{path}' cannot be read: {problem}, no regular file")
        size = path.stat().st_size
        with path.open("rb") as file:
            head = file.read(HEAD)
        require_memory(2 * size, f"weights '{path}':")
        if head[LENGTH : LENGTH + 1] == b"{":
            return _read_safetensors(path, size, int.from_bytes(head[:LENGTH], "little"))
        kind = kind_of(head)
        if kind == ZIP or head.startswith(LEGACY):
            return _read_torch(path, kind == ZIP)
        if PROTOCOLS.match(head):
            raise ConfigError(f"weights '{path}' are a Python pickle, which runs code when it is read; {_advice(path)}")
    except OSError as error:
        raise ConfigError(f"weights '{path}' cannot be read: {error.strerror or error}") from None
    what = f"the file is {kind}" if kind else "its first bytes are those of neither safetensors nor torch.save"
    raise ConfigError(f"weights '{path}' are no safetensors file: {what}")


def _read_safetensors(path: Path, size: int, header: int) -> StoredWeights:
    from safetensors import SafetensorError
    from safetensors.torch import load

    if LENGTH + header > size:
        rule = f"its header claims {size_text(header)}, the file has {size_text(size)}"
        raise ConfigError(f"weights '{path}' are no safetensors file or a truncated one: {rule}")
    try:
        return StoredWeights(load(path.read_bytes()))
    # a SafetensorError, or what follows from a header that says what its tensors are not
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise ConfigError(f"weights '{path}' are no safetensors file: {printable(one_line(error), 200)}") from None


def _read_torch(path: Path, zipped: bool) -> StoredWeights:
    import torch

    try:
        if zipped:
            with zipfile.ZipFile(path) as file:
                members = file.infolist()
            if not any(member.filename.endswith("/data.pkl") for member in members):
                raise ConfigError(f"weights '{path}' are no safetensors file: the file is {ZIP} without weights")
            if any("/code/" in member.filename for member in members):
                raise ConfigError(f"weights '{path}' are a TorchScript program; {_advice(path, 'torch.jit.load')}")
            require_memory(sum(member.file_size for member in members), f"weights '{path}', unpacked:")
        # timm's checkpoints hold the arguments of its program in a class that only holds values
        with torch.serialization.safe_globals([argparse.Namespace]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except UnpicklingError as error:
        name = re.search(r"GLOBAL ([\w.]+)", str(error))
        which = f" ({name[1]})" if name else ""
        what = f"hold Python objects{which} beside tensors, which run code when they are read"
        raise ConfigError(f"weights '{path}' {what}; {_advice(path)}") from None
    # what torch and pickle raise for altered bytes
    except (
        *(RuntimeError, ValueError, KeyError, IndexError, TypeError, AttributeError, ImportError, AssertionError),
        *(EOFError, OverflowError, MemoryError, struct.error, zipfile.BadZipFile),
    ) as error:
        raise ConfigError(f"weights '{path}' are truncated or damaged: {printable(one_line(error), 120)}") from None
    entries = list(_flat(found, "", set()))
    tensors = {name: value for name, value in entries if isinstance(value, torch.Tensor)}
    kept = {name.split(".")[0] for name in tensors}
    others = dict.fromkeys(top for name, _ in entries if (top := printable(name.split(".")[0], 40)) not in kept)
    return StoredWeights(tensors, tuple(others))


def _flat(value: object, prefix: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    """Yield the leaves of dictionaries and lists in each other by their dotted names; each of them is entered once."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list | tuple) else ()
    if not items or prefix.count(".") >= DEEPEST or id(value) in seen:
        yield prefix.removesuffix("."), value
        return
    seen.add(id(value))
    for name, inner in items:
        yield from _flat(inner, f"{prefix}{name}.", seen)


def _advice(path: Path, load: str = "torch.load") -> str:
    """Say how a file that is not safe to read becomes one that is."""
    how = "weights_only=False" if load == "torch.load" else "map_location='cpu'"
    return (
        f"where you trust it, write its state_dict with safetensors.torch.save_file({load}('{path.name}', {how})..., "
        "'x.safetensors')"
    )
