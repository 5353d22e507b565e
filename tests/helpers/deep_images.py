"""Image files of 16 bits a channel, written by hand: pillow writes them in grey alone and without their depth."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's type of colour by the number of channels."""


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def deep_png(path: Path, values: np.ndarray, bits: int | None = None) -> Path:
    """Write ``values`` uint16 (H, W) or (H, W, C) as a PNG file of 16 bits, that says to hold ``bits`` where given."""
    channels = values.shape[2] if values.ndim == 3 else 1
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, COLOURS[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    said = b"" if bits is None else chunk(b"sBIT", bytes([bits] * channels))
    body = chunk(b"IHDR", head) + said + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def deep_tiff(
    path: Path, values: np.ndarray, order: str = "<", photometric: int | None = None, deflate: bool = False
) -> Path:
    """Write ``values`` uint16 (H, W) or (H, W, 3) as a TIFF file of an ``order`` of bytes, compressed or not."""
    channels = values.shape[2] if values.ndim == 3 else 1
    data = values.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if deflate else data
    bits = struct.pack(f"{order}{channels}H", *[16] * channels)
    start = 8 + 2 + 12 * 9 + 4
    place = start if channels > 1 else struct.unpack(f"{order}I", bits.ljust(4, b"\0"))[0]
    colour = photometric if photometric is not None else 1 if channels == 1 else 2
    long, short = 4, 3
    entries = [
        (256, long, 1, values.shape[1]), (257, long, 1, values.shape[0]), (258, short, channels, place),
        (259, short, 1, 8 if deflate else 1), (262, short, 1, colour),
        (273, long, 1, start + len(bits)), (277, short, 1, channels),
        (278, long, 1, values.shape[0]), (279, long, 1, len(data)),
    ]  # fmt: skip
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, len(entries))
    for tag, kind, count, value in entries:
        number = struct.pack(f"{order}HH", value, 0) if kind == short and count == 1 and tag != 258 else None
        head += struct.pack(f"{order}HHI", tag, kind, count) + (number or struct.pack(f"{order}I", value))
    path.write_bytes(head + struct.pack(f"{order}I", 0) + bits + data)
    return path
