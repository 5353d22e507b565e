"""Measuring a network: accuracy and cross entropy under a test protocol."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.core.activity import advance, doing
from nas.core.values import ClassCounts
from nas.data.augment import normalize, tensor
from nas.data.streaming import ImageStream
from nas.errors import ConfigError, EvaluationError
from nas.training.distributed import Group
from nas.training.recipe import Recipe

if TYPE_CHECKING:
    from nas.data.splits import Images

MEASURE_BATCH = 512
TOP = 5
MOST_CLASSES = 1_000
"""Of networks of more classes images are not counted by class."""


@dataclass(frozen=True)
class Measured:
    """How a network did.

    Attributes:
        accuracy: in percent
        loss: mean cross entropy
        top5: percent of the images whose class is among the five likeliest; None where there are fewer than six classes
        per_class: the images of every class; None for more than :data:`MOST_CLASSES` classes
    """

    accuracy: float
    loss: float
    top5: float | None = None
    per_class: ClassCounts | None = None


@dataclass(frozen=True)
class EvaluationProtocol:
    """How an image becomes what the network sees; the numbers of :class:`nas.training.recipe.Recipe`.

    Attributes:
        views: ``one``, ``mirror`` or ``ten-crop``
        resize: side in pixels to which images are scaled first, 0: as they are
        size: side in pixels of the crop, 0: the images' own
    """

    views: str = "one"
    resize: int = 0
    size: int = 0

    @classmethod
    def of(cls, recipe: Recipe) -> EvaluationProtocol:
        """Return the protocol of ``recipe``."""
        return cls(recipe.test_views, recipe.test_resize, recipe.test_size)

    def of_images(self, x: Tensor) -> list[Tensor]:
        """Return the views of images (B, C, H, W), each (B, C, S, S): the centre first, mirror images last."""
        own = min(x.shape[2:])
        if self.resize:
            height, width = (round(extent * self.resize / own) for extent in x.shape[2:])
            x = F.interpolate(x, (height, width), mode="bilinear", align_corners=False, antialias=True)
        height, width = x.shape[2:]
        # without a size, the crop is as large as the network's images were in training
        size, most = self.size or own, min(height, width)
        if size > most:
            raise ConfigError(f"recipe: test_size {size} is more than the images' {most}; set test_resize")
        if not (self.resize or self.size) and self.views != "ten-crop":
            views = [x]
        else:
            bottom, right = height - size, width - size
            corners = [(0, 0), (0, right), (bottom, 0), (bottom, right)] if self.views == "ten-crop" else []
            views = [
                x[:, :, row : row + size, column : column + size]
                for row, column in [(bottom // 2, right // 2), *corners]
            ]
        if self.views != "one":
            views += [view.flip(3) for view in views]
        return [view.contiguous(memory_format=torch.channels_last) for view in views]


PLAIN = EvaluationProtocol()

KeepPredictions = Callable[[Tensor, Tensor], None]
"""``keep(log_probabilities, labels)``, of shapes (B, classes) and (B,), for every batch in the order of the images."""


def measure(
    module: nn.Module,
    images: Images,
    trained_on: Images,
    protocol: EvaluationProtocol = PLAIN,
    group: Group | None = None,
    keep: KeepPredictions | None = None,
) -> Measured:
    """Return how ``module`` does on ``images``; it is left in eval mode.

    Pixels are normalized as in training, by mean and standard deviation of ``trained_on``. Several views of an image
    give the mean of their probabilities, of which ``keep`` is given the logarithms. Every process of a ``group``
    measures its share of the images. A loss that is not finite raises :class:`EvaluationError` of kind ``diverged``.
    """
    # before a group shares the images, since its processes must agree on the number
    labelled = 1 + int(max(trained_on.labels.max(initial=0), images.labels.max(initial=0)))
    if group is not None:
        images = images.take(group.part(len(images)))
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    mean, std = (tensor(a).to(device) for a in trained_on.moments)
    batches: Iterable[tuple[Tensor, Tensor]]
    if isinstance(images, ImageStream):
        # a stream scales the files itself; one crop is cut by it, ten are cut out of the whole scaled image
        crop = protocol.size or images.size
        size = max(crop, protocol.resize) if protocol.views == "ten-crop" else crop
        batches = images.batches(MEASURE_BATCH, size=size, resize=protocol.resize or None)
        protocol = replace(protocol, resize=0, size=crop)
    else:
        parts = [slice(start, start + MEASURE_BATCH) for start in range(0, len(images), MEASURE_BATCH)]
        arrays = images.images, images.labels
        batches = ((tensor(arrays[0][part]), tensor(arrays[1][part])) for part in parts)
    correct, among, loss = torch.zeros(3, dtype=torch.float64, device=device)
    count = classes = 0
    # image by image its label, and whether it was found, which stays on the device until the end
    truth, hits = [torch.zeros(0, dtype=torch.int64)], [torch.zeros(0, dtype=torch.bool)]
    module.eval()
    with doing("measuring images"), torch.inference_mode():
        for pixels, labels in batches:
            truth.append(labels)
            pixels, labels = pixels.to(device), labels.to(device)
            # the mean of the views' probabilities, as logarithms
            views = protocol.of_images(normalize(pixels, mean, std))
            each: list[Tensor] = [module(view).float().log_softmax(1) for view in views]
            logp = each[0] if len(each) == 1 else torch.stack(each).logsumexp(0) - math.log(len(each))
            if keep is not None:
                keep(logp, labels)
            hits.append(logp.argmax(1) == labels)
            correct = correct + hits[-1].sum()
            classes = logp.shape[1]
            if classes > TOP:
                among = among + (logp.topk(TOP, 1).indices == labels[:, None]).sum()
            loss = loss + F.nll_loss(logp, labels, reduction="sum")
            count += len(labels)
            advance(f"measuring images, {count:,} of {len(images):,}", count, len(images))
    sums = [float(correct), float(among), float(loss), float(count), float(classes > TOP)]
    if labelled <= MOST_CLASSES:
        every, hit = torch.cat(truth), torch.cat([part.cpu() for part in hits])
        for found in (every[hit], every):
            sums += torch.bincount(found, minlength=labelled).tolist()
    correct_, among_, loss_, count_, has_top5, *counts = sums if group is None else group.sum(sums)
    refuse_nan(loss_, "the measured loss")
    halves = (tuple(map(int, part)) for part in (counts[:labelled], counts[labelled:]))
    per_class = ClassCounts(*halves) if counts else None
    return Measured(100 * correct_ / count_, loss_ / count_, 100 * among_ / count_ if has_top5 else None, per_class)


def refuse_nan(loss: float, what: str) -> None:
    """Raise :class:`EvaluationError` of kind ``diverged`` where ``loss`` is not finite."""
    if not math.isfinite(loss):
        raise EvaluationError(f"{what} is {loss}: training diverged; a lower learning rate may help", "diverged")
