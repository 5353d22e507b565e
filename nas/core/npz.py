"""Reading ``.npz`` files from outside: what an array claims is checked before memory is taken for it."""

from __future__ import annotations

import zipfile
import zlib
from math import prod
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nas.core.files import check_regular
from nas.core.memory import free_memory
from nas.errors import ConfigError, one_line

Array = npt.NDArray[np.generic]
Header = tuple[tuple[int, ...], np.dtype[np.generic]]
"""Shape and type of an array."""
MOST_DEFLATED = 1_100
"""Bytes that one compressed byte can hold at most (zlib: 1,032)."""
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def read_npz(path: Path, where: str) -> dict[str, Array]:
    """Return the arrays of a ``.npz`` file by name; ``where`` names the file in errors.

    Other members are passed over. A member that claims to be an array and is none, or of Python objects, raises
    :class:`ConfigError`, as does a damaged file and one whose arrays are larger than half of the free memory, whatever
    the size of the file.
    """
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as file:
            members = [member for member in file.infolist() if member.filename.endswith(".npy")]
            total = sum(_size(file, member, where) for member in members)
        if total > free_memory() // 2:
            raise ConfigError(f"{where}: its arrays are {total:,} bytes, {free_memory() // 2:,} are allowed now")
        with np.load(path, allow_pickle=False) as file:
            names = [member.filename.removesuffix(".npy") for member in members]
            return {name: file[name] for name in names}
    except FileNotFoundError:
        raise ConfigError(f"{where}: the file does not exist") from None
    except (EOFError, NotImplementedError, RuntimeError, SyntaxError, TypeError, ValueError) as error:
        raise ConfigError(f"{where}: not a readable .npz file ({one_line(error)[:100]})") from None
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        raise ConfigError(f"{where}: not a readable .npz file ({one_line(error)[:100]})") from None


def array_header(file: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> Header:
    """Return what the header of an array says; header, the archive's directory and its bytes must agree on the size.

    An array of Python objects has no size of its own.
    """
    with file.open(member) as data:
        if data.read(6) != b"\x93NUMPY":
            raise ConfigError(f"{where}: not a readable .npz file (member '{member.filename}' is no array)")
    with file.open(member) as data:
        version = np.lib.format.read_magic(data)
        if version not in _HEADERS:
            raise ConfigError(f"{where}: array '{member.filename}' is of an unknown version of the format")
        shape, _, dtype = _HEADERS[version](data)
        start = data.tell()
    claimed, there = prod(shape) * dtype.itemsize, member.file_size - start
    if not dtype.hasobject and (min(shape, default=0) < 0 or claimed != there):
        rule = f"its header claims {dtype} {shape}, {claimed:,} bytes; {there:,} are there"
        raise ConfigError(f"{where}: array '{member.filename}' is damaged: {rule}")
    if member.file_size > MOST_DEFLATED * (member.compress_size + 1):
        rule = f"its {member.compress_size:,} compressed bytes cannot hold {member.file_size:,}"
        raise ConfigError(f"{where}: array '{member.filename}' is damaged: {rule}")
    return shape, dtype


def _size(file: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> int:
    """Return the bytes that an array of no Python objects takes."""
    shape, dtype = array_header(file, member, where)
    if dtype.hasobject:
        raise ConfigError(f"{where}: array '{member.filename}' is of Python objects; numbers and text are allowed")
    return prod(shape) * dtype.itemsize
