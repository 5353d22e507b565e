"""The training loop: a graph, splits, a recipe and a seed give a trained network and its accuracy.

The same seed gives bit-equal results on the CPU with one number of threads. Nothing of it touches torch's global
generator, whose state is the same after a run as before.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from nas.errors import ConfigError, EvaluationError, one_line, unknown
from nas.graph import Graph, cost
from nas.graph.module import build_module
from nas.training.augment import batch, draw, normalise
from nas.training.data import ImageSet, Splits
from nas.training.recipe import Recipe
from nas.training.weights import load_weights, save_weights

__all__ = [
    "OnEpoch",
    "TrainResult",
    "initialise",
    "load_weights",
    "measure",
    "parameter_groups",
    "save_weights",
    "train",
]

SPLITS = ("train", "validation", "test")
MEASURE_BATCH = 512
CHECK_EVERY = 8
"""Steps between looks at the loss: on a GPU each look waits for the device."""

OnEpoch = Callable[[int, float], None]


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A trained network and how it did.

    ``accuracy`` in percent and mean cross-entropy ``loss`` are of the split measured on, without augmentation and label
    smoothing; ``history`` holds every epoch's mean training loss, of which ``train_loss`` is the last. ``seconds`` and
    ``images_per_second`` are of the training alone.
    """

    accuracy: float
    loss: float
    train_loss: float
    seconds: float
    images_per_second: float
    history: tuple[float, ...]
    module: fx.GraphModule


@dataclass(frozen=True, eq=False)
class _Data:
    """An image set on the device: uint8 images (N, C, H, W), labels (N,), and the channels' mean and deviation (C,)."""

    images: Tensor
    labels: Tensor
    mean: Tensor
    deviation: Tensor

    @classmethod
    def of(cls, images: ImageSet, trained_on: ImageSet, device: torch.device) -> _Data:
        arrays = images.images, images.labels, *trained_on.moments
        return cls(*(torch.from_numpy(a).to(device) for a in arrays))


def train(
    graph: Graph,
    splits: Splits,
    recipe: Recipe,
    seed: int,
    epochs: int | None = None,
    train_on: Sequence[str] = ("train",),
    measure_on: str = "validation",
    device: str | None = None,
    threads: int | None = None,
    on_epoch: OnEpoch | None = None,
) -> TrainResult:
    """Train ``graph`` from scratch on the splits ``train_on`` and measure it once on ``measure_on``.

    ``seed`` draws weights, order, crops, flips and dropout. ``epochs`` defaults to the recipe's, ``device`` to the GPU
    where there is one, ``threads`` to torch's own number, which is restored afterwards. ``on_epoch(epoch, train_loss)``
    is called after every epoch, from 1. The last batch of an epoch is dropped where it is smaller than the others.

    Raises :class:`EvaluationError` of kind ``diverged`` when a loss is not finite and ``oom`` when memory runs out, and
    :class:`ConfigError` where splits, graph, seed or device do not fit.
    """
    epochs = recipe.epochs if epochs is None else epochs
    _check(graph, splits, seed, epochs, train_on, measure_on)
    place = _device(device)
    weights_seed, order_seed = (int(s) for s in np.random.SeedSequence(seed).generate_state(2, np.uint64))
    with _threads(threads), _own_stream(weights_seed, place), _typed_failures():
        images = reduce(ImageSet.joined, (_split(splits, name) for name in train_on))
        start = time.perf_counter()
        module = _new_module(graph, place)
        fit = _Fit(module, recipe, epochs, _Data.of(images, images, place))
        history = tuple(fit.run(torch.Generator().manual_seed(order_seed), on_epoch))
        seconds = time.perf_counter() - start
        accuracy, loss = measure(module, _split(splits, measure_on), images)
    return TrainResult(accuracy, loss, history[-1], seconds, fit.seen / seconds, history, module)


def measure(module: nn.Module, images: ImageSet, trained_on: ImageSet) -> tuple[float, float]:
    """Return accuracy in percent and mean cross-entropy of ``module`` on ``images``, which it leaves in eval mode.

    Pixels are normalised as in training, by mean and deviation of ``trained_on``. A loss that is not finite raises
    :class:`EvaluationError` of kind ``diverged``.
    """
    place = next((p.device for p in module.parameters()), torch.device("cpu"))
    data = _Data.of(images, trained_on, place)
    correct, loss = 0, 0.0
    module.eval()
    with torch.inference_mode():
        for start in range(0, len(images), MEASURE_BATCH):
            labels = data.labels[start : start + MEASURE_BATCH]
            logits = module(normalise(data.images[start : start + MEASURE_BATCH], data.mean, data.deviation))
            correct += int((logits.argmax(1) == labels).sum())
            loss += float(F.cross_entropy(logits, labels, reduction="sum"))
    _refuse_nan(loss, "the measured loss")
    return 100 * correct / len(images), loss / len(images)


def initialise(module: nn.Module) -> None:
    """Draw every convolution's weights as He et al. do (arXiv:1502.01852, section 2.2): variance 2 / fan-out.

    A grouped convolution's fan-out counts its group's channels alone. Linear layers keep torch's own distribution.
    """
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            channels = layer.out_channels // layer.groups
            fan_out = channels * math.prod(layer.kernel_size)
            nn.init.normal_(layer.weight, std=math.sqrt(2 / fan_out))
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def parameter_groups(module: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the optimizer's two groups: weights of convolutions and linear layers decay, norms and biases do not."""
    layers = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
    weights = {id(layer.weight) for layer in module.modules() if isinstance(layer, layers)}
    parameters = list(module.parameters())
    return [
        {"params": [p for p in parameters if id(p) in weights], "weight_decay": weight_decay},
        {"params": [p for p in parameters if id(p) not in weights], "weight_decay": 0.0},
    ]


class _Fit:
    """One run of training: what stays the same from step to step."""

    def __init__(self, module: nn.Module, recipe: Recipe, epochs: int, data: _Data) -> None:
        self.module, self.recipe, self.epochs, self.data = module, recipe, epochs, data
        self.batch_size = min(recipe.batch_size, len(data.labels))
        self.steps = len(data.labels) // self.batch_size
        self.parameters = list(module.parameters())
        self.optimizer = torch.optim.SGD(
            parameter_groups(module, recipe.weight_decay),
            lr=recipe.learning_rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            fused=True,
        )

    @property
    def seen(self) -> int:
        """The images of the whole run."""
        return self.epochs * self.steps * self.batch_size

    def run(self, generator: torch.Generator, on_epoch: OnEpoch | None) -> Iterator[float]:
        """Train epoch by epoch and yield each one's mean loss."""
        self.module.train()
        for epoch in range(self.epochs):
            loss = self.epoch(epoch, generator)
            if on_epoch is not None:
                on_epoch(epoch + 1, loss)
            yield loss
        self.optimizer.zero_grad(set_to_none=True)

    def epoch(self, epoch: int, generator: torch.Generator) -> float:
        recipe, labels = self.recipe, self.data.labels
        draws = draw(len(labels), recipe.crop_padding, recipe.flip, generator, labels.device)
        total = torch.zeros((), device=labels.device)
        for step in range(self.steps):
            span = slice(step * self.batch_size, (step + 1) * self.batch_size)
            images = batch(self.data.images, draws, span, recipe.crop_padding, recipe.flip)
            x = normalise(images, self.data.mean, self.data.deviation)
            total += self.step(x, labels[draws.order[span]], epoch * self.steps + step)
            if step % CHECK_EVERY == 0 or step == self.steps - 1:
                _refuse_nan(float(total), f"the training loss of epoch {epoch + 1}")
        return float(total) / self.steps

    def step(self, images: Tensor, labels: Tensor, step: int) -> Tensor:
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(step, self.steps, self.epochs)
        self.optimizer.zero_grad(set_to_none=True)
        loss = F.cross_entropy(self.module(images), labels, label_smoothing=self.recipe.label_smoothing)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.recipe.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_norm, foreach=True)
        self.optimizer.step()
        return loss.detach()


def _new_module(graph: Graph, device: torch.device) -> fx.GraphModule:
    module = build_module(graph)
    initialise(module)
    # measured on CPU: 1.3 to 2.3 times the images a second of the plain order
    return module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def _refuse_nan(loss: float, what: str) -> None:
    if not math.isfinite(loss):
        raise EvaluationError(f"{what} is {loss}: training diverged; a lower learning rate may help", "diverged")


def _split(splits: Splits, name: str) -> ImageSet:
    images: ImageSet = getattr(splits, name)
    return images


def _check(graph: Graph, splits: Splits, seed: int, epochs: int, train_on: Iterable[str], measure_on: str) -> None:
    task = splits.task
    for name in (*train_on, measure_on):
        if name not in SPLITS:
            raise ConfigError(unknown("split", name, SPLITS))
    if not train_on or "test" in train_on or measure_on in train_on:
        found = f"training on {', '.join(train_on) or 'none'}, measuring on {measure_on}"
        raise ConfigError(
            f"a network trains on train, or train and validation, and is measured on another; found {found}"
        )
    if type(seed) is not int or seed < 0 or type(epochs) is not int or epochs < 1:
        raise ConfigError(
            f"the seed must be a whole number of at least 0 and the epochs of at least 1, found {seed!r}, {epochs!r}"
        )
    if graph.input_shape != task.input_shape:
        raise ConfigError(
            f"dataset '{splits.name}' has images of {task.input_shape}, the network takes {graph.input_shape}"
        )
    shape = cost(graph, "logits").output_shape
    if shape != (task.classes,):
        raise ConfigError(f"dataset '{splits.name}' has {task.classes} classes, the network's logits are {shape}")
    if len(splits.train) < 2:
        raise ConfigError(f"dataset '{splits.name}': training needs at least 2 images, found {len(splits.train)}")


def _device(name: str | None) -> torch.device:
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device '{name}' is unknown; use cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda") or (device.type == "cuda" and not torch.cuda.is_available()):
        raise ConfigError(
            f"device '{name}' is not available here; use cpu{' or cuda' if torch.cuda.is_available() else ''}"
        )
    return device


@contextmanager
def _threads(count: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if count is not None:
        torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _own_stream(seed: int, device: torch.device) -> Iterator[None]:
    """Give weights and dropout a stream of their own: torch draws both from its global generators."""
    cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if cuda else []):
        torch.default_generator.manual_seed(seed)
        if cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextmanager
def _typed_failures() -> Iterator[None]:
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise EvaluationError(f"out of memory: {one_line(error)}", "oom") from None
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):
            raise
        # torch has no exception of its own for the CPU
        raise EvaluationError(f"out of memory: {one_line(error)}", "oom") from None
