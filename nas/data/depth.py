"""Images of more than 8 bits to levels of 0 to 255, by the range that their files say or else by what is usual.

Cameras, scanners and microscopes of 10, 12 or 14 bits write files of 16. Where such a file says its depth (PNG: sBIT;
TIFF: BitsPerSample, MaxSampleValue, SMaxSampleValue) that is white, else 65,535 is, and the highest value is kept for
who reports it: images that use a twentieth of the range come out nearly black.
"""

from __future__ import annotations

import io
import math
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from PIL import Image

Values = npt.NDArray[Any]

DEEP = 65_535
TIFF_PHOTOMETRIC, TIFF_BITS, TIFF_PLANES = 262, 258, 284
TIFF_MOST = 341, 281
"""SMaxSampleValue and MaxSampleValue."""
FULL_RANGE = "PPM", "JPEG2000"
"""Formats that say the range of their values, which pillow scales to 16 bits."""
BIG_ENDIAN = "B" if sys.byteorder == "little" else "BN"
"""Last letters of pillow's raw modes of 16 bits with the high byte first; N is this machine's own order."""
CONTENT = "nas_content"
"""Attribute of opened images that are no file of their own: the bytes of their file."""
EVIDENCE = 8
"""Distinct values that tell that data was scaled up to 16 bits when it was written."""


class Damaged(Exception):
    """A file that cannot be decoded; the message is the reason."""


@dataclass(eq=False)
class Decoding:
    """How image files are decoded, and what was seen.

    Attributes:
        decoders: how many decode at the same time on this machine and share its free memory
        ranges: by kind of image and the value that was taken for white, as ``("16-bit", 65535)``, the highest value so
            far in files that do not say their range
    """

    decoders: int = 1
    ranges: dict[tuple[str, int], float] = field(default_factory=dict)


def eight_bits(image: Image.Image, decoding: Decoding) -> Image.Image:
    """Return ``image``, grey or in colour, with 8 bits a channel; one that has no more is returned as it is.

    Values below 0, that are no numbers, or above what their kind can mean raise :class:`Damaged`.
    """
    from PIL import Image

    if image.mode == "F":
        values: Values | None = np.asarray(image)
    elif image.mode.startswith("I"):
        values = np.asarray(image)
    else:
        values = _sixteen_bits(image)
    if values is None:
        return image
    least, most = float(values.min()), float(values.max())
    if not (math.isfinite(least) and math.isfinite(most)) or least < 0:
        found = f"{least:,.6g} to {most:,.6g}"
        raise Damaged(f"its values are {found}; scale them to 0 to 255 (8 bits), 0 to 65,535 (16 bits) or 0 to 1")
    white = _stated(image, values)
    if white is None:
        # floating point is 0 to 1 by custom, or the levels of 8 bits; integers are of 16 bits
        kind, white = ("floating-point", 1 if most <= 1 else 255) if image.mode == "F" else ("16-bit", DEEP)
        decoding.ranges[kind, int(white)] = max(most, decoding.ranges.get((kind, int(white)), 0.0))
    if most > white:
        raise Damaged(f"its values go up to {most:,.6g}, more than {white:,.6g}; scale them to 8 or 16 bits")
    levels = np.empty(values.shape, np.uint8)
    if values.dtype.kind == "f":
        levels[...] = np.rint(values * np.float32(255 / white))
    else:
        np.take(np.rint(np.arange(int(white) + 1) * (255 / white)).astype(np.uint8), values.astype("u2"), out=levels)
    if image.format == "TIFF" and image.tag_v2.get(TIFF_PHOTOMETRIC) == 0 and levels.ndim == 2:  # type: ignore[attr-defined]
        levels = 255 - levels  # white is zero there, which pillow heeds for 8 bits only
    return Image.fromarray(levels)


def _sixteen_bits(image: Image.Image) -> Values | None:
    """Return the values (H, W) or (H, W, 3) of an image in colour or with alpha of 16 bits a channel, else None.

    Pillow keeps the high byte of such values; read with the order of bytes turned round it keeps the low one.
    """
    from PIL import Image

    raw = [_raw_mode(tile.args) for tile in getattr(image, "tile", ())]
    if image.mode not in ("RGB", "RGBA", "LA") or not raw or not all(";16" in mode for mode in raw):
        if image.format == "TIFF" and max(image.tag_v2.get(TIFF_BITS, (8,))) > 8:  # type: ignore[attr-defined]
            raise Damaged("its channels of more than 8 bits lie in separate planes; write them together")
        return None
    with Image.open(_again(image), formats=[str(image.format)]) as low:
        turned = [mode[:-1] + ("L" if mode[-1] in BIG_ENDIAN else "B") for mode in raw]
        if raw[0].startswith("LA"):
            # there is no such order for grey with alpha, but its two values have the bytes of four channels
            low._mode, turned = "RGBA", ["RGBA"] * len(raw)
        low.tile = [
            tile._replace(args=mode if isinstance(tile.args, str) else (mode, *(tile.args or ())[1:]))
            for tile, mode in zip(low.tile, turned, strict=True)
        ]
        below = np.asarray(low).astype(np.uint16)
    if raw[0].startswith("LA"):
        return below[..., 0] << 8 | below[..., 1]
    return np.asarray(image)[..., :3].astype(np.uint16) << 8 | below[..., :3]


def _raw_mode(args: object) -> str:
    return str(args[0] if isinstance(args, tuple) and args else args)


def _stated(image: Image.Image, values: Values) -> float | None:
    """Return the value that is white by what the file says of itself, None where it says nothing."""
    if image.format in FULL_RANGE and image.mode != "F":
        return DEEP
    if image.format == "PNG":
        bits = _significant_bits(_again(image))
        if bits is None or bits >= 16:
            return None if bits is None else DEEP
        # by the standard a writer scales values up to 16 bits, but not all do
        return DEEP if values.max() >= 1 << bits or _scaled_up(values, bits) else (1 << bits) - 1
    if image.format == "TIFF":
        tags = image.tag_v2  # type: ignore[attr-defined]
        found = next((tags[tag] for tag in TIFF_MOST if tag in tags), None)
        most = max(found) if isinstance(found, tuple) else found
        if most and image.mode == "F":
            return float(most)
        bits = max(tags.get(TIFF_BITS, (16,)))
        # the tag may hold the highest value of this image alone: its depth is what images have in common
        if most and 0 < most < DEEP:
            bits = min(bits, math.ceil(math.log2(float(most) + 1)))
        return (1 << bits) - 1 if bits < 16 and values.max() < 1 << bits else None
    return None


def _again(image: Image.Image) -> Path | io.BytesIO:
    """Return the file of an opened image, or its content where it is no file of its own, to be read again."""
    content = getattr(image, CONTENT, None)
    return Path(str(image.filename)) if content is None else io.BytesIO(content)  # type: ignore[attr-defined]


def _significant_bits(source: Path | io.BytesIO) -> int | None:
    """Return the bits of a colour that a PNG file says to have had before they were scaled (chunk sBIT), or None."""
    with source.open("rb") if isinstance(source, Path) else source as file:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"sBIT":
                own = file.read(length)
                return max(own[: 1 if length < 3 else 3], default=0) or None
            if kind in (b"IDAT", b"IEND"):
                return None
            file.seek(length + 4, 1)
    return None


def _scaled_up(values: Values, bits: int) -> bool:
    """Return whether ``values`` are those of data of ``bits`` bits that a writer has scaled up to 16.

    Multiples of a power of two are no evidence: they may as well be data of 8 bits in a range of ``bits``.
    """
    found = np.flatnonzero(np.bincount(values.ravel(), minlength=1 << bits))
    share = DEEP / ((1 << bits) - 1)
    exact = np.rint(np.rint(found / share) * share) == found
    shifted = found % (1 << 16 - bits) == 0
    return len(found) >= EVIDENCE and bool(exact.all() and not shifted.all())
