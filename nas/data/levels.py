"""Images and labels of a user's own objects as levels of 8 bits and integers: PIL images, arrays and tensors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nas.data.image_set import Pixels
from nas.errors import ConfigError, one_line

MOST_CHANNELS = 4
BLOCK = 1_000
"""Images whose levels are computed at a time."""
NORMALIZED = (
    "give images as levels of 0 to 255 (integers) or of 0 to 1 (floating point), without Normalize among the"
    " transforms: the toolkit normalizes them itself"
)


class Depth:
    """The highest value so far of images of 16 bits, whose range no object says."""

    def __init__(self) -> None:
        self.most = -1.0

    def check(self, what: str) -> None:
        """Refuse images of 16 bits that would be all but black: they hold levels of 8 bits."""
        if 0 <= self.most <= 255:
            rule = f"images of 16 bits are levels of 0 to 65,535, and none of these is over {self.most:g}"
            raise ConfigError(f"{what}: {rule}; give levels of 8 bits as uint8")


def pixels_of(image: object, what: str, depth: Depth) -> Pixels:
    """Return one image, (C, H, W) of 8 bits; ``what`` names it in errors."""
    from PIL import Image

    if isinstance(image, Image.Image):
        deep = image.mode.startswith("I")  # of 16 bits, whatever the type that pillow holds them in
        grey = image.mode in ("L", "F") or deep
        found = np.asarray(image.convert("L") if image.mode == "1" else image if grey else image.convert("RGB"))
        if deep and found.dtype != np.uint16 and found.min() >= 0 and found.max() <= 65_535:
            found = found.astype(np.uint16)
        image = found[..., None] if found.ndim == 2 else found
        return levels_of(image.transpose(2, 0, 1), what, depth)
    array = array_of(image)
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or not array.size or min(array.shape[0], array.shape[2]) > MOST_CHANNELS:
        rule = f"(C, H, W), (H, W, C) or (H, W) with C at most {MOST_CHANNELS}"
        raise ConfigError(
            f"{what}: an image must be {rule}, or a PIL image, found {type(image).__name__} {array.shape}"
        )
    if array.shape[0] > MOST_CHANNELS:
        array = array.transpose(2, 0, 1)
    return levels_of(array, what, depth)


def levels_of(values: npt.NDArray[np.generic], what: str, depth: Depth) -> Pixels:
    """Return values as levels of 0 to 255: bytes as they are, 16 bits and floating point of 0 to 1 scaled."""
    if values.dtype == np.uint8:
        return values.view(np.uint8)
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind not in "iuf":
        raise ConfigError(f"{what}: pixels must be numbers, found {values.dtype}; {NORMALIZED}")
    deep = values.dtype == np.uint16
    white = 1.0 if values.dtype.kind == "f" else 65_535.0 if deep else 255.0
    levels = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), BLOCK):
        numbers: npt.NDArray[np.float64] = values[start : start + BLOCK].astype(np.float64)
        least, most = float(numbers.min()), float(numbers.max())
        if deep:
            depth.most = max(depth.most, most)
        if not (least >= 0 and most <= white):  # also what is no number
            raise ConfigError(f"{what}: pixels are from {least:.4g} to {most:.4g}; {NORMALIZED}")
        levels[start : start + BLOCK] = np.rint(numbers * (255 / white))
    return levels


def array_of(values: object) -> npt.NDArray[np.generic]:
    """Return an array or a tensor, wherever it lies, as an array; what can be none raises :class:`ConfigError`."""
    # tensors may be on a GPU, or part of a graph of gradients
    for name in ("detach", "cpu"):
        values = getattr(values, name)() if hasattr(values, name) else values
    if str(getattr(values, "dtype", "")) == "torch.bfloat16":
        values = values.float()  # type: ignore[attr-defined]  # numpy has no such type
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ConfigError(f"{type(values).__name__} is no array: {one_line(error)}") from None
