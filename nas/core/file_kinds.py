"""What a file is by its first bytes, for errors about one that is not what it should be."""

from __future__ import annotations

import re
from pathlib import Path

HEAD = 512
"""Bytes that tell what a file is."""
GZIP, ZIP = "a gzip archive; unpack it", "a zip archive"
KINDS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (
        re.compile(rb"version https://git-lfs\.github\.com/spec/"),
        "a Git-LFS pointer, not the file itself; get that with: git lfs pull",
    ),
    (
        re.compile(rb"\s*(<!doctype html|<html|<head|<body|<\?xml[^>]*>\s*<(!doctype )?html)", re.IGNORECASE),
        "an HTML page, such as a login or an error; download the file again",
    ),
    (re.compile(rb"<\?xml|<svg"), "XML text"),
    (re.compile(rb"\x1f\x8b"), GZIP),
    (re.compile(rb"BZh"), "a bzip2 archive; unpack it"),
    (re.compile(rb"\xfd7zXZ"), "an xz archive; unpack it"),
    (re.compile(rb"\x28\xb5\x2f\xfd"), "a zstd archive; unpack it"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c"), "a 7z archive; unpack it"),
    (re.compile(rb"Rar!"), "a rar archive; unpack it"),
    (re.compile(rb".{257}ustar", re.DOTALL), "a tar archive; unpack it"),
    (re.compile(rb"PK\x03\x04"), ZIP),
    (re.compile(rb"\x93NUMPY"), "a single numpy array (.npy)"),
    (re.compile(rb"\x89HDF"), "an HDF5 file, as Keras writes it"),
    (re.compile(rb"%PDF"), "a PDF document"),
    (re.compile(rb"\x80[\x02-\x05]"), "a Python pickle"),
    (re.compile(rb"\s*[{\[]\s*[\"\]}\[{]"), "JSON text"),
)
"""First bytes, and what a file that begins with them is."""


def kind_of(head: bytes) -> str | None:
    """Return what a file is whose first bytes are ``head``, as the end of "it is ...", or None if that is unknown."""
    if not head:
        return "empty"
    if not head.strip(b"\0"):
        return "nothing but zeros; its download or copy did not end"
    return next((name for pattern, name in KINDS if pattern.match(head)), None)


def kind_of_file(path: Path) -> str | None:
    """Return :func:`kind_of` of a regular file; what fails raises OSError."""
    with path.open("rb") as file:
        return kind_of(file.read(HEAD))
