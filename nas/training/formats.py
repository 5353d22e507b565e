"""File formats of image sets: IDX (MNIST's, plain or gzipped) and the binary records of CIFAR-10 and CIFAR-100.

The checks look at names, sizes and magic numbers only; the readers read. Every error is a :class:`ConfigError` that
names the file.
"""

from __future__ import annotations

import gzip
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import prod
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from nas.errors import ConfigError

Bytes = npt.NDArray[np.uint8]

IDX_UBYTE = 0x08
CIFAR_PIXELS = 3 * 32 * 32


def idx_file(folder: Path, name: str, help: str) -> Path:
    """Return the file ``name`` or ``name.gz`` in ``folder``."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise ConfigError(f"file '{folder / name}' is missing, also as .gz; {help}")


def check_idx(path: Path, shape: Sequence[int]) -> None:
    """Refuse an IDX file of unsigned bytes that is not of ``shape``, by its header and its size.

    Format: http://yann.lecun.com/exdb/mnist, "the IDX file format". A gzip file tells its content's size in its last
    four bytes (RFC 1952, section 2.3.1), so nothing is unpacked but the header.
    """
    header = 4 + 4 * len(shape)
    with _reading(path):
        with _open(path) as file:
            head = file.read(header)
        size = _content_size(path)
    if len(head) < header:
        raise ConfigError(f"file '{path}' is truncated: {len(head)} bytes, its header alone has {header}; get it anew")
    magic, dims = struct.unpack(">I", head[:4])[0], struct.unpack(f">{len(shape)}I", head[4:])
    expected = IDX_UBYTE << 8 | len(shape)
    if magic != expected:
        rule = f"its magic number must be 0x{expected:08x} (bytes in {len(shape)} dimensions)"
        raise ConfigError(f"file '{path}' is no IDX file of the right kind: {rule}, found 0x{magic:08x}")
    if dims != tuple(shape):
        raise ConfigError(f"file '{path}' must hold {_times(shape)} bytes, its header says {_times(dims)}")
    if size != header + prod(shape):
        rule = f"{header + prod(shape):,} bytes are needed"
        raise ConfigError(f"file '{path}' is truncated or damaged: {rule}, {size:,} are there; get it anew")


def read_idx(path: Path) -> Bytes:
    """Return the array of an IDX file of unsigned bytes; the file must have passed :func:`check_idx`."""
    with _reading(path), _open(path) as file:
        data = file.read()
        count = data[3]
        shape = struct.unpack(f">{count}I", data[4 : 4 + 4 * count])
        return np.frombuffer(data, dtype=np.uint8, offset=4 + 4 * count).reshape(shape).copy()


def check_cifar(path: Path, records: int, help: str, labels: int = 1) -> None:
    """Refuse a CIFAR binary file that is missing or has not exactly ``records`` records.

    A record is ``labels`` bytes (CIFAR-10: one; CIFAR-100: coarse and fine) and 3,072 of pixels.
    """
    if not path.is_file():
        raise ConfigError(f"file '{path}' is missing; {help}")
    with _reading(path):
        size = path.stat().st_size
    record = labels + CIFAR_PIXELS
    if size != records * record:
        rule = f"{records * record:,} bytes are needed ({records:,} images of {record:,})"
        raise ConfigError(f"file '{path}' is truncated or damaged: {rule}, {size:,} are there; get it anew")


def read_cifar(paths: Sequence[Path], labels: int = 1) -> tuple[Bytes, Bytes]:
    """Return images (N, 3, 32, 32) and labels (N,), a record's last, of CIFAR binary files that passed the check."""
    parts = []
    for path in paths:
        with _reading(path):
            parts.append(np.fromfile(path, dtype=np.uint8).reshape(-1, labels + CIFAR_PIXELS))
    images = np.concatenate([part[:, labels:] for part in parts]).reshape(-1, 3, 32, 32)
    return images, np.concatenate([part[:, labels - 1] for part in parts])


def _open(path: Path) -> BinaryIO | gzip.GzipFile:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _content_size(path: Path) -> int:
    if path.suffix != ".gz":
        return path.stat().st_size
    with path.open("rb") as file:
        file.seek(-4, 2)
        return int(struct.unpack("<I", file.read())[0])


def _times(shape: Sequence[int]) -> str:
    return " x ".join(f"{extent:,}" for extent in shape)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ConfigError(f"file '{path}' is truncated or damaged: {error}; get it anew") from None
    except OSError as error:
        raise ConfigError(f"file '{path}' cannot be read: {error.strerror or error}") from None
