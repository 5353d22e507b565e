"""What augmentation does, image by image and pixel by pixel: the slow references of the batched operations."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

Image = np.ndarray


def pixels(count: int, channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    """Random images (N, C, H, W) of levels 1..255, so that zeros stand out."""
    array = np.random.default_rng(seed).integers(1, 256, (count, channels, height, width))
    return torch.from_numpy(array.astype(np.uint8))


def slow_crop(image: Image, padding: int, row: int, column: int) -> Image:
    """Pixel (y, x) of the crop is pixel (y + row - padding, x + column - padding) of the image, or 0 outside of it."""
    out = np.zeros_like(image)
    height, width = image.shape[1:]
    for y in range(height):
        for x in range(width):
            if 0 <= y + row - padding < height and 0 <= x + column - padding < width:
                out[:, y, x] = image[:, y + row - padding, x + column - padding]
    return out


def slow_resized_crop(image: Image, top: int, left: int, tall: int, wide: int) -> Image:
    """Bilinear samples at the middles of the H x W parts of a box, the image's edge pixels going on outside of it."""
    height, width = image.shape[1:]
    out = np.zeros(image.shape, dtype=np.float64)
    for y in range(height):
        for x in range(width):
            v = min(max(top + (y + 0.5) * tall / height - 0.5, 0), height - 1)
            u = min(max(left + (x + 0.5) * wide / width - 0.5, 0), width - 1)
            y0, x0 = int(v), int(u)
            y1, x1 = min(y0 + 1, height - 1), min(x0 + 1, width - 1)
            upper = image[:, y0, x0] * (1 - u + x0) + image[:, y0, x1] * (u - x0)
            lower = image[:, y1, x0] * (1 - u + x0) + image[:, y1, x1] * (u - x0)
            out[:, y, x] = upper * (1 - v + y0) + lower * (v - y0)
    return out


def slow_jitter(image: Image, brightness: float, contrast: float, saturation: float) -> Image:
    """Blend with black, with the mean grey level and with the grey image, as torchvision's functional transforms do."""

    def grey(x: Image) -> Image:
        return 0.2989 * x[0] + 0.587 * x[1] + 0.114 * x[2] if len(x) == 3 else x[0]

    x = np.clip(brightness * image, 0, 255)
    x = np.clip(contrast * x + (1 - contrast) * grey(x).mean(), 0, 255)
    return np.clip(saturation * x + (1 - saturation) * grey(x), 0, 255) if len(x) == 3 else x


def slow_cutout(image: Image, side: int, row: int, column: int) -> Image:
    """Set the pixels from side // 2 before the centre on to 0, as far as they are in the image."""
    out = image.copy()
    for y in range(row - side // 2, row - side // 2 + side):
        for x in range(column - side // 2, column - side // 2 + side):
            if 0 <= y < image.shape[1] and 0 <= x < image.shape[2]:
                out[:, y, x] = 0
    return out
