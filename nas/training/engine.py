"""The training engine: a graph, splits, a recipe and a seed give a trained network and its accuracy.

The same seed gives bit-equal results on the CPU with one number of threads. Nothing of it touches torch's global
generator, whose state is the same after a run as before.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial, reduce
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import torch
from torch import fx

from nas.errors import ConfigError, EvaluationError, one_line, unknown
from nas.graph import Graph, cost
from nas.graph.module import build_module
from nas.training import checkpoint as checkpoints
from nas.training.checkpoint import Checkpoint
from nas.training.data import Splits
from nas.training.evaluation import Protocol, measure
from nas.training.loop import Fit, OnEpoch
from nas.training.network import initialise
from nas.training.optimiser import parameter_groups
from nas.training.recipe import Recipe
from nas.training.source import source_of
from nas.training.speed import Switches, choose, without_torn_batches
from nas.training.step import Trainee
from nas.training.weights import load_weights, save_weights

if TYPE_CHECKING:
    from nas.training.data import Images

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
SAVE_EVERY = 60.0
"""Seconds between checkpoints, which are written at the ends of epochs."""


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A trained network and how it did.

    ``accuracy`` in percent and mean cross-entropy ``loss`` are of the split measured on, without augmentation and label
    smoothing; ``history`` holds every epoch's mean training loss, of which ``train_loss`` is the last. ``seconds`` and
    ``images_per_second`` are of the training alone, ``epochs_trained`` the epochs that were not in the checkpoint.
    ``device`` is the CPU or the name of the GPU.
    """

    accuracy: float
    loss: float
    train_loss: float
    seconds: float
    images_per_second: float
    history: tuple[float, ...]
    module: fx.GraphModule
    epochs_trained: int
    switches: Switches
    device: str


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
    *,
    checkpoint: str | Path | None = None,
    resume: str | Path | None = None,
    time_limit: float | None = None,
    deterministic: bool = False,
    switches: Switches | None = None,
) -> TrainResult:
    """Train ``graph`` on the splits ``train_on`` and measure it once on ``measure_on``.

    ``seed`` draws weights, order, crops, flips and dropout. ``epochs`` defaults to the recipe's, ``device`` to the GPU
    where there is one, ``threads`` to torch's own number, which is restored afterwards. ``on_epoch(epoch, train_loss)``
    is called after every epoch, from 1. The last batch of an epoch is dropped where it is smaller than the others.

    The state is written to the folder ``checkpoint`` about every minute and at the end. Training goes on from the
    folder ``resume`` where that holds a training of the same network, recipe and data with at most ``epochs`` epochs:
    on the CPU bit-equal to one that never stopped; after a shorter training, with the schedule of the longer one from
    there on. A checkpoint that is missing, damaged or of another training starts from scratch.

    ``switches`` are the device's own by default (:func:`nas.training.speed.choose`), or the checkpoint's.
    ``deterministic`` allows on CUDA only kernels that give the same bits again.

    Raises :class:`EvaluationError` of kind ``diverged`` when a loss is not finite or runs away, ``oom`` when memory
    runs out, ``timeout`` after ``time_limit`` seconds of training, and :class:`ConfigError` where splits, graph, seed
    or device do not fit.
    """
    epochs = recipe.epochs if epochs is None else epochs
    _check(graph, splits, seed, epochs, train_on, measure_on)
    place = _device(device)
    weights_seed, order_seed = (int(s) for s in np.random.SeedSequence(seed).generate_state(2, np.uint64))
    with _threads(threads), _own_stream(place), _typed_failures(), _kernels(place, deterministic):
        images: Images = reduce(lambda a, b: a.joined(b), (_split(splits, name) for name in train_on))  # type: ignore
        identity = _identity(graph, recipe, images, splits.name)
        found = _checkpoint(resume, identity, epochs)
        chosen = _switches(switches, found, place, min(recipe.batch_size, len(images)))
        start = time.perf_counter()
        trainee, generator = _begin(graph, recipe, place, chosen, weights_seed, order_seed)
        history: tuple[float, ...] = ()
        if found is not None:
            try:
                checkpoints.restore(found, trainee, generator)
                history = found.history
            except ConfigError:
                trainee, generator = _begin(graph, recipe, place, chosen, weights_seed, order_seed)
        source = source_of(images, recipe, place)
        fit = Fit(trainee, source, epochs, generator, history, time_limit)
        save = None if checkpoint is None else partial(_save, trainee, generator, identity, Path(checkpoint))
        fit.run(on_epoch, save, SAVE_EVERY)
        if save is not None:
            save(fit.history)
        trained = epochs - len(history)
        _wait(place)
        seconds = time.perf_counter() - start
        module = _finished(graph, trainee)
        accuracy, loss = measure(module, _split(splits, measure_on), images, Protocol.of(recipe))
    seen = trained * source.steps * source.batch_size
    losses = fit.history
    speed, name = seen / seconds, torch.cuda.get_device_name(place) if place.type == "cuda" else "CPU"
    return TrainResult(accuracy, loss, losses[-1], seconds, speed, losses, module, trained, chosen, name)


def _identity(graph: Graph, recipe: Recipe, images: Images, dataset: str) -> dict[str, Any]:
    """Return what must be equal for a training to go on: all but the number of epochs, the seed and the device."""
    network = json.dumps(graph.to_json(), sort_keys=True).encode()
    return {
        "network": blake2b(network, digest_size=16).hexdigest(),
        "recipe": {name: value for name, value in recipe.to_json().items() if name != "epochs"},
        "data": [dataset, len(images), *images.image_shape, crc32(images.labels.tobytes())],
    }


def _checkpoint(folder: str | Path | None, identity: Mapping[str, Any], epochs: int) -> Checkpoint | None:
    """Return the checkpoint in ``folder`` where a training of ``epochs`` can go on from it."""
    if folder is None:
        return None
    try:
        found = checkpoints.load(Path(folder))
        Switches.from_json(found.switches)
    except ConfigError:
        return None
    return found if found.identity == identity and found.epoch <= epochs else None


def _switches(given: Switches | None, found: Checkpoint | None, device: torch.device, batch: int) -> Switches:
    chosen = given or (Switches.from_json(found.switches) if found else choose(device))
    if device.type == "cpu":
        chosen = without_torn_batches(chosen, batch, torch.get_num_threads())
    # a checkpoint may come from a GPU
    return chosen if device.type == "cuda" else replace(chosen, capture=False)


def _begin(
    graph: Graph, recipe: Recipe, device: torch.device, switches: Switches, weights_seed: int, order_seed: int
) -> tuple[Trainee, torch.Generator]:
    """Return a network with new weights, and the generator of its epochs."""
    _seed(weights_seed, device)
    return Trainee(graph, recipe, device, switches), torch.Generator().manual_seed(order_seed)


def _save(
    trainee: Trainee,
    generator: torch.Generator,
    identity: Mapping[str, Any],
    folder: Path,
    history: tuple[float, ...],
) -> None:
    checkpoints.save(checkpoints.take(trainee, generator, history, identity), folder)


def _finished(graph: Graph, trainee: Trainee) -> fx.GraphModule:
    """Return the network that is measured: averaged weights where there is an average, no auxiliary heads."""
    trainee.release()
    if trainee.average is not None:
        trainee.average.apply()
    state = trainee.module.state_dict()
    module = build_module(graph)
    module.to(device=trainee.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    module.load_state_dict({name: state[name] for name in module.state_dict()})
    return module


def _split(splits: Splits, name: str) -> Images:
    images: Images = getattr(splits, name)
    return images


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


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
def _own_stream(device: torch.device) -> Iterator[None]:
    """Give weights and dropout a stream of their own: torch draws both from its global generators."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


def _seed(seed: int, device: torch.device) -> None:
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)


@contextmanager
def _kernels(device: torch.device, deterministic: bool) -> Iterator[None]:
    """On CUDA, try out convolution kernels, or with ``deterministic`` allow only those that repeat themselves."""
    if device.type != "cuda":
        yield
        return
    before = torch.backends.cudnn.benchmark, torch.are_deterministic_algorithms_enabled()
    if deterministic:
        # cuBLAS reads it when it is first used
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.benchmark = not deterministic
    torch.use_deterministic_algorithms(deterministic or before[1])
    try:
        with torch.cuda.device(device):
            yield
    finally:
        torch.backends.cudnn.benchmark = before[0]
        torch.use_deterministic_algorithms(before[1])


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
