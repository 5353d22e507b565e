"""Image files to arrays of RGB bytes, with pillow, which is imported when the first file is read.

A file is what its content says, whatever its name. Grey, palette, CMYK and 16-bit images become RGB of 8 bits, alpha is
dropped, the orientation in EXIF data ignored (as in the published ImageNet recipes). Scaling is bilinear over the area
that a new pixel covers; a JPEG much larger than needed is decoded at a half, a quarter or an eighth.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from nas.errors import ConfigError, one_line
from nas.training.boxes import crop_boxes

if TYPE_CHECKING:
    from PIL import Image

Pixels = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]

FORMATS = "JPEG", "PNG", "WEBP", "BMP", "GIF"


class Damaged(Exception):
    """A file that cannot be decoded; the message is the reason."""


def central(path: Path, resize: int, size: int) -> Pixels:
    """Return the central ``size`` x ``size`` pixels (H, W, 3) of an image scaled so that its short side is ``resize``.

    Raises :class:`Damaged`, here and below for a file that is missing, no image, truncated or too large.
    """
    with _opened(path) as image:
        side = min(image.size) * size / resize
        left, top = ((extent - side) / 2 for extent in image.size)
        return _cut(image, (left, top, left + side, top + side), size)


def inception_crop(path: Path, size: int, scale: tuple[float, float], uniforms: npt.NDArray[np.float64]) -> Pixels:
    """Return a random crop (size, size, 3) of an image, as :func:`crop_boxes` draws it from ``uniforms`` (22,)."""
    with _opened(path) as image:
        width, height = image.size
        top, left, tall, wide = map(float, crop_boxes(uniforms[None], height, width, scale)[0])
        return _cut(image, (left, top, left + wide, top + tall), size)


def require_pillow() -> None:
    """Raise :class:`ConfigError` where pillow is not installed."""
    try:
        import PIL.Image  # noqa: F401
    except ImportError:
        raise ConfigError("image files are read with pillow, which is not installed; pip install pillow") from None


def _cut(image: Image.Image, box: Box, size: int) -> Pixels:
    from PIL.Image import Resampling

    before = image.size
    shares = size / (box[2] - box[0]), size / (box[3] - box[1])
    image.draft(None, (int(np.ceil(before[0] * shares[0])), int(np.ceil(before[1] * shares[1]))))
    across, down = image.size[0] / before[0], image.size[1] / before[1]
    left, top = max(0.0, box[0] * across), max(0.0, box[1] * down)
    right, bottom = min(image.size[0], box[2] * across), min(image.size[1], box[3] * down)
    return np.asarray(_rgb(image).resize((size, size), Resampling.BILINEAR, box=(left, top, right, bottom)))


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits, which pillow would cut off at 255
        from PIL import Image

        return Image.fromarray((np.asarray(image) >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if "transparency" in image.info and image.mode == "P":
        image = image.convert("RGBA")
    return image.convert("RGB")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path, formats=FORMATS) as image:
            yield image
    except UnidentifiedImageError:
        empty = path.stat().st_size == 0
        raise Damaged("the file is empty" if empty else f"it is no {', '.join(FORMATS[:-1])} or GIF file") from None
    except OSError as error:
        raise Damaged(error.strerror or one_line(error)) from None
    # what pillow's decoders raise for altered bytes
    except (SyntaxError, ValueError, EOFError, OverflowError, struct.error, zlib.error) as error:
        raise Damaged(one_line(error)) from None
    except Image.DecompressionBombError as error:
        raise Damaged(one_line(error)) from None
