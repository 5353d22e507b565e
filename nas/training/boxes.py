"""Where Inception crops lie in an image."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

ATTEMPTS = 10
UNIFORMS = 2 * ATTEMPTS + 2
"""The random numbers that one box takes."""
RATIOS = 3 / 4, 4 / 3


def crop_boxes(
    uniforms: npt.NDArray[np.float64], height: int, width: int, scale: tuple[float, float]
) -> npt.NDArray[np.int64]:
    """Turn random numbers (N, 22) of [0, 1) into the boxes (N, 4) of top, left, height, width of Inception crops.

    The area is ``scale`` of the image's, uniformly, the aspect ratio 3/4 to 4/3, log-uniformly (arXiv:1409.4842,
    section 6). As in torchvision, the first of ten attempts that fits is taken, else the largest central crop.
    """
    areas = height * width * (scale[0] + (scale[1] - scale[0]) * uniforms[:, :ATTEMPTS])
    low, high = (math.log(ratio) for ratio in RATIOS)
    ratios = np.exp(low + (high - low) * uniforms[:, ATTEMPTS : 2 * ATTEMPTS])
    sides = np.rint(np.stack((np.sqrt(areas / ratios), np.sqrt(areas * ratios)), 2))
    fits = (sides >= 1).all(2) & (sides <= (height, width)).all(2)
    first = sides[np.arange(len(sides)), fits.argmax(1)]
    central = min(height, round(width / RATIOS[0])), min(width, round(height * RATIOS[1]))
    found = fits.any(1, keepdims=True)
    chosen = np.where(found, first, central)
    room = (height, width) - chosen
    corners = np.where(found, np.floor(uniforms[:, 2 * ATTEMPTS :] * (room + 1)), room // 2)
    return np.concatenate((corners, chosen), 1).astype(np.int64)
