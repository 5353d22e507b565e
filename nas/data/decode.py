"""Image files, and random crops of them, to RGB bytes, with pillow, which is imported when the first file is read.

A file is what its content says, whatever its name; only regular files are opened. Grey, palette and CMYK images become
RGB, alpha is dropped, the orientation in EXIF data and colour profiles are ignored (as in the published ImageNet
recipes). Deeper images become 8 bits by :mod:`nas.data.depth`. Scaling is bilinear over the area that a new pixel
covers; a JPEG much larger than needed is decoded at a half, a quarter or an eighth. Images of too many pixels, or more
than all decoders have memory for, are not decoded.
"""

from __future__ import annotations

import io
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from nas.core.file_kinds import HEAD, kind_of
from nas.core.files import irregular
from nas.core.memory import free_memory, size_text
from nas.data.depth import CONTENT, Damaged, Decoding, eight_bits
from nas.errors import ConfigError, one_line

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]

FORMATS = "JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "JPEG2000", "PPM", "AVIF"
"""Formats of pillow that begin with a mark of their own and run no other program (as EPS does)."""
MOST_PIXELS = 89_478_485
"""As pillow's own limit for what could be a decompression bomb."""
LARGE = 1 << 24
"""From this number of pixels on, decoding looks for free memory first."""
PIXEL_BYTES = 8
"""What decoding and conversion hold for a pixel at most."""
ATTEMPTS = 10
UNIFORMS = 2 * ATTEMPTS + 2
"""The random numbers that one box takes."""
RATIOS = 3 / 4, 4 / 3


@dataclass(frozen=True)
class SquareCrop:
    """A random square of the network's side, of an image whose short side is drawn from ``resize`` of such sides.

    With ``central`` it is cut from the central square alone (AlexNet 2012, section 4.1).
    """

    resize: tuple[float, float]
    central: bool = False


@dataclass(frozen=True)
class Span:
    """An image file that is a part of another file, such as an archive that is not compressed."""

    path: Path
    """The other file."""
    start: int
    """Where it begins, in bytes."""
    length: int
    """In bytes."""


ImageSource: TypeAlias = "Path | Span | bytes | Image.Image"
"""Where an image is read: a file, a part of a file, the content of a file, or an image in memory."""
RandomCrop = tuple[float, float] | SquareCrop
"""How a random crop is drawn: the range of an Inception crop's share of the area, or as squares."""


def central(source: ImageSource, resize: int, size: int, decoding: Decoding | None = None) -> Pixels:
    """Return the central ``size`` x ``size`` pixels (H, W, 3) of an image scaled so that its short side is ``resize``.

    Raises :class:`Damaged`, here and below for a file that is missing, no image, truncated or too large.
    """
    with opened(source) as image:
        side = min(image.size) * size / resize
        left, top = ((extent - side) / 2 for extent in image.size)
        return _cut(image, (left, top, left + side, top + side), size, decoding or Decoding())


def inception_crop(
    source: ImageSource,
    size: int,
    crop: RandomCrop,
    uniforms: npt.NDArray[np.float64],
    decoding: Decoding | None = None,
) -> Pixels:
    """Return a random crop (size, size, 3) of an image, as :func:`crop_boxes` draws it from ``uniforms`` (22,)."""
    with opened(source) as image:
        width, height = image.size
        top, left, tall, wide = map(float, crop_boxes(uniforms[None], height, width, crop)[0])
        return _cut(image, (left, top, left + wide, top + tall), size, decoding or Decoding())


def crop_boxes(uniforms: npt.NDArray[np.float64], height: int, width: int, crop: RandomCrop) -> npt.NDArray[np.int64]:
    """Turn random numbers (N, 22) of [0, 1) into the boxes (N, 4) of top, left, height, width of random crops.

    Of an Inception crop the area is a share of the image's, uniformly, the aspect ratio 3/4 to 4/3, log-uniformly
    (arXiv:1409.4842, section 6). As in torchvision, the first of ten attempts that fits is taken, else the largest
    central crop. A :class:`SquareCrop` is a square of the image, however wide that is.
    """
    if isinstance(crop, SquareCrop):
        least, most = crop.resize
        short = min(height, width)
        side = np.maximum(1, np.rint(short / (least + (most - least) * uniforms[:, :1])))
        region = np.array((short, short) if crop.central else (height, width))
        corners = (np.array((height, width)) - region) // 2 + np.floor(uniforms[:, -2:] * (region - side + 1))
        return np.concatenate((corners, side, side), 1).astype(np.int64)
    areas = height * width * (crop[0] + (crop[1] - crop[0]) * uniforms[:, :ATTEMPTS])
    low, high = (math.log(ratio) for ratio in RATIOS)
    ratios = np.exp(low + (high - low) * uniforms[:, ATTEMPTS : 2 * ATTEMPTS])
    sides = np.rint(np.stack((np.sqrt(areas / ratios), np.sqrt(areas * ratios)), 2))
    fits = (sides >= 1).all(2) & (sides <= (height, width)).all(2)
    first = sides[np.arange(len(sides)), fits.argmax(1)]
    # where no attempt fits: the largest central crop of an allowed ratio
    central = min(height, round(width / RATIOS[0])), min(width, round(height * RATIOS[1]))
    found = fits.any(1, keepdims=True)
    chosen = np.where(found, first, central)
    margin = (height, width) - chosen
    corners = np.where(found, np.floor(uniforms[:, 2 * ATTEMPTS :] * (margin + 1)), margin // 2)
    return np.concatenate((corners, chosen), 1).astype(np.int64)


def require_pillow() -> None:
    """Raise :class:`ConfigError` where pillow is not installed."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise ConfigError("image files are read with pillow, which is not installed; pip install pillow") from None


@cache
def suffixes() -> tuple[str, ...]:
    """Return the suffixes of image files that can be read, in lower case, as pillow has them for :data:`FORMATS`."""
    from PIL import Image

    return tuple(sorted(suffix for suffix, form in Image.registered_extensions().items() if form in FORMATS))


@cache
def _formats() -> tuple[str, ...]:
    """Return those of :data:`FORMATS` that this pillow can read."""
    from PIL import Image

    # the limits here take the place of pillow's warning, which would also speak of a JPEG that is decoded small
    warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
    Image.init()
    return tuple(form for form in FORMATS if form in Image.OPEN)


def _cut(image: Image.Image, box: Box, size: int, decoding: Decoding) -> Pixels:
    from PIL import Image

    before = image.size
    shares = size / (box[2] - box[0]), size / (box[3] - box[1])
    image.draft(None, (int(np.ceil(before[0] * shares[0])), int(np.ceil(before[1] * shares[1]))))
    # a progressive JPEG is held whole, however small it is decoded
    _require_room(before if image.info.get("progressive") else image.size, decoding.decoders)
    across, down = image.size[0] / before[0], image.size[1] / before[1]
    left, top = max(0.0, box[0] * across), max(0.0, box[1] * down)
    right, bottom = min(image.size[0], box[2] * across), min(image.size[1], box[3] * down)
    image = eight_bits(image, decoding)
    if "transparency" in image.info and image.mode == "P":
        image = image.convert("RGBA")
    if image.mode != "L":  # grey becomes RGB when it is small
        image = image.convert("RGB")
    small = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, right, bottom))
    return np.asarray(small.convert("RGB"))


def _require_room(extents: tuple[int, int], decoders: int) -> None:
    pixels, shown = extents[0] * extents[1], f"{extents[0]:,} x {extents[1]:,} pixels"
    if pixels > MOST_PIXELS:
        raise Damaged(f"its {shown} are more than {MOST_PIXELS:,}, the limit; scale it down")
    if pixels > LARGE and pixels * PIXEL_BYTES * decoders > (free := free_memory()):
        taken = f"take up to {size_text(pixels * PIXEL_BYTES)} in each of {decoders} decoders"
        raise Damaged(f"its {shown} {taken}, {size_text(free)} are free; scale it down")


@contextmanager
def opened(source: ImageSource) -> Iterator[Image.Image]:
    """Open an image, of which only the header is read; what is wrong with it raises :class:`Damaged`, also later."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(source, Image.Image):
        yield source
        return
    bombs = Image.DecompressionBombError, Image.DecompressionBombWarning
    try:
        file = _file(source)
        with Image.open(file, formats=_formats()) as image:
            if isinstance(file, io.BytesIO):  # deep images are read twice
                setattr(image, CONTENT, file.getvalue())
            yield image
    except UnidentifiedImageError:
        kind = kind_of(_head(source))
        unknown = "it is no JPEG, PNG, TIFF or other image file that pillow reads"
        raise Damaged(unknown if kind is None else f"the file is {kind}") from None
    except OSError as error:
        raise Damaged(error.strerror or one_line(error)) from None
    except bombs:
        raise Damaged(f"its pixels are more than {MOST_PIXELS:,}, the limit; scale it down") from None
    # what pillow's decoders raise for altered bytes
    except (SyntaxError, ValueError, EOFError, OverflowError, MemoryError, struct.error, zlib.error) as error:
        raise Damaged(one_line(error)) from None


def _file(source: Path | Span | bytes) -> Path | io.BytesIO:
    """Return what pillow opens: a regular file, or bytes in memory."""
    if isinstance(source, bytes):
        return io.BytesIO(source)
    path = source.path if isinstance(source, Span) else source
    if kind := irregular(path):
        raise Damaged(f"{kind}, no regular file")
    if isinstance(source, Path):
        return source
    with path.open("rb") as file:
        file.seek(source.start)
        content = file.read(source.length)
    if len(content) != source.length:
        raise Damaged(f"{len(content):,} of its {source.length:,} bytes are there; get '{path}' again")
    return io.BytesIO(content)


def _head(source: Path | Span | bytes) -> bytes:
    """Return the first bytes of a file that is no image."""
    found = _file(source)
    with found.open("rb") if isinstance(found, Path) else found as file:
        return file.read(HEAD)
