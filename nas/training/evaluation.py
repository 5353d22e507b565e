"""Measuring a network: accuracy and cross entropy under a test protocol."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.errors import ConfigError, EvaluationError
from nas.training.augment import normalise
from nas.training.parallel import Group
from nas.training.pixels import tensor
from nas.training.recipe import Recipe
from nas.training.stream import ImageStream

if TYPE_CHECKING:
    from nas.training.data import Images

MEASURE_BATCH = 512
TOP = 5


@dataclass(frozen=True)
class Measured:
    """How a network did: ``accuracy`` and ``top5`` in percent, mean cross-entropy ``loss``.

    ``top5``: the share of images whose class is among the five likeliest; None where there are fewer than six classes.
    """

    accuracy: float
    loss: float
    top5: float | None = None


@dataclass(frozen=True)
class Protocol:
    """How an image becomes what the network sees; the numbers of :class:`nas.training.recipe.Recipe`."""

    views: str = "one"
    resize: int = 0
    size: int = 0

    @classmethod
    def of(cls, recipe: Recipe) -> Protocol:
        """Return the protocol of ``recipe``."""
        return cls(recipe.test_views, recipe.test_resize, recipe.test_size)

    def of_images(self, x: Tensor) -> list[Tensor]:
        """Return the views of images (B, C, H, W), each (B, C, S, S): the centre first, mirror images last."""
        own = min(x.shape[2:])
        if self.resize:
            height, width = (round(extent * self.resize / own) for extent in x.shape[2:])
            x = F.interpolate(x, (height, width), mode="bilinear", align_corners=False, antialias=True)
        if not (self.resize or self.size) and self.views != "ten-crop":
            views = [x]
        else:
            # without a size, the crop is as large as the network's images were in training
            views = [_crop(x, self.size or own, *place) for place in self._places(x, self.size or own)]
        if self.views != "one":
            views += [view.flip(3) for view in views]
        return [view.contiguous(memory_format=torch.channels_last) for view in views]

    def _places(self, x: Tensor, size: int) -> list[tuple[int, int]]:
        height, width = x.shape[2:]
        if size > min(height, width):
            raise ConfigError(
                f"recipe: test_size {size} is more than the images' {min(height, width)}; set test_resize"
            )
        bottom, right = height - size, width - size
        centre = bottom // 2, right // 2
        return [centre] if self.views != "ten-crop" else [centre, (0, 0), (0, right), (bottom, 0), (bottom, right)]


PLAIN = Protocol()

KeepPredictions = Callable[[Tensor, Tensor], None]
"""``keep(log_probabilities, labels)``, of shapes (B, classes) and (B,), for every batch in the order of the images."""


def _crop(x: Tensor, size: int, row: int, column: int) -> Tensor:
    return x[:, :, row : row + size, column : column + size]


def measure(
    module: nn.Module,
    images: Images,
    trained_on: Images,
    protocol: Protocol = PLAIN,
    group: Group | None = None,
    keep: KeepPredictions | None = None,
) -> Measured:
    """Return how ``module`` does on ``images``; it is left in eval mode.

    Pixels are normalised as in training, by mean and deviation of ``trained_on``. Several views of an image give the
    mean of their probabilities, of which ``keep`` is given the logarithms. Every process of a ``group`` measures its
    share of the images. A loss that is not finite raises :class:`EvaluationError` of kind ``diverged``.
    """
    if group is not None:
        images = images.take(group.part(len(images)))
    place = next((p.device for p in module.parameters()), torch.device("cpu"))
    mean, deviation = (tensor(a).to(place) for a in trained_on.moments)
    # a stream scales the files themselves, once
    within = protocol
    if isinstance(images, ImageStream):
        within = replace(protocol, resize=0, size=protocol.size or images.size)
    correct, among, loss = torch.zeros(3, dtype=torch.float64, device=place)
    count = classes = 0
    module.eval()
    with torch.inference_mode():
        for pixels, labels in _batches(images, place, protocol):
            views = within.of_images(normalise(pixels, mean, deviation))
            logp = _log_probabilities(module, views)
            if keep is not None:
                keep(logp, labels)
            correct = correct + (logp.argmax(1) == labels).sum()
            classes = logp.shape[1]
            if classes > TOP:
                among = among + (logp.topk(TOP, 1).indices == labels[:, None]).sum()
            loss = loss + F.nll_loss(logp, labels, reduction="sum")
            count += len(labels)
    sums = [float(correct), float(among), float(loss), float(count), float(classes > TOP)]
    correct_, among_, loss_, count_, has_top5 = sums if group is None else group.sum(sums)
    refuse_nan(loss_, "the measured loss")
    return Measured(100 * correct_ / count_, loss_ / count_, 100 * among_ / count_ if has_top5 else None)


def _log_probabilities(module: nn.Module, views: list[Tensor]) -> Tensor:
    logp: list[Tensor] = [module(view).float().log_softmax(1) for view in views]
    return logp[0] if len(logp) == 1 else torch.stack(logp).logsumexp(0) - math.log(len(logp))


def _batches(images: Images, place: torch.device, protocol: Protocol) -> Iterator[tuple[Tensor, Tensor]]:
    if isinstance(images, ImageStream):
        crop, resize = protocol.size or images.size, protocol.resize or None
        # ten crops are cut out of the whole scaled image, one is cut by the stream
        size = max(crop, protocol.resize) if protocol.views == "ten-crop" else crop
        for pixels, labels in images.batches(MEASURE_BATCH, size=size, resize=resize):
            yield pixels.to(place), labels.to(place)
        return
    for start in range(0, len(images), MEASURE_BATCH):
        part = slice(start, start + MEASURE_BATCH)
        pixels, labels = (tensor(a[part]).to(place) for a in (images.images, images.labels))
        yield pixels, labels


def refuse_nan(loss: float, what: str) -> None:
    """Raise :class:`EvaluationError` of kind ``diverged`` where ``loss`` is not finite."""
    if not math.isfinite(loss):
        raise EvaluationError(f"{what} is {loss}: training diverged; a lower learning rate may help", "diverged")
