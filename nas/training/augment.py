"""Augmentation of whole batches: crops, flips and normalisation as tensor operations, no loop over images.

The uint8 images stay on the device as they are; a batch is cropped and mirrored as bytes and becomes float32 last.
Every random number comes from the generator given, a whole epoch's at once, on the CPU: so all devices see one stream.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Draws:
    """The random numbers of one epoch, each (N,): the ``order`` of the images, and by position in this order the
    ``rows`` and ``columns`` at which crops begin in the padded image, and which are mirrored (``flips``).
    """

    order: Tensor
    rows: Tensor
    columns: Tensor
    flips: Tensor


def draw(count: int, padding: int, flip: bool, generator: torch.Generator, device: torch.device | str = "cpu") -> Draws:
    """Draw an epoch over ``count`` images from ``generator`` (on the CPU) and put it on ``device``."""
    order = torch.randperm(count, generator=generator)
    offsets = torch.randint(0, 2 * padding + 1, (2, count), generator=generator)
    flips = torch.rand(count, generator=generator) < (0.5 if flip else 0.0)
    return Draws(order.to(device), offsets[0].to(device), offsets[1].to(device), flips.to(device))


def crop(images: Tensor, padding: int, rows: Tensor, columns: Tensor) -> Tensor:
    """Put ``padding`` zeros around images (B, C, H, W) and cut them to H x W again at ``rows`` and ``columns`` (B,)."""
    if padding == 0:
        return images
    height, width = images.shape[2:]
    # a view of every crop of every image, of which the look-up copies one each
    crops = F.pad(images, (padding,) * 4).unfold(2, height, 1).unfold(3, width, 1)
    return crops[torch.arange(len(images), device=images.device), :, rows, columns]


def flip(images: Tensor, mask: Tensor) -> Tensor:
    """Mirror left and right those images (B, C, H, W) whose ``mask`` (B,) is true."""
    return torch.where(mask.view(-1, 1, 1, 1), images.flip(3), images)


def normalise(images: Tensor, mean: Tensor, deviation: Tensor) -> Tensor:
    """Return (images - mean) / deviation by channel as float32 in channels_last order; both are (C,), in 0..255."""
    x = images.to(torch.float32, memory_format=torch.channels_last)
    return x.sub(mean.view(1, -1, 1, 1)).div_(deviation.view(1, -1, 1, 1))


def batch(images: Tensor, draws: Draws, span: slice, padding: int, flips: bool) -> Tensor:
    """Return the images at ``span`` of the epoch's order, cropped and mirrored as drawn, still uint8."""
    x = crop(images[draws.order[span]], padding, draws.rows[span], draws.columns[span])
    return flip(x, draws.flips[span]) if flips else x
