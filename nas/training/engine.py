"""The training engine: a graph, splits, a recipe and a seed give a trained network and its accuracy.

The same seed gives bit-equal results on the CPU with one number of threads. Nothing of it touches torch's global
generator, whose state is the same after a run as before.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial, reduce
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import torch
from torch import fx

from nas.errors import ConfigError, unknown
from nas.graph import Graph, cost
from nas.graph.module import build_module
from nas.training import checkpoint as checkpoints
from nas.training.checkpoint import Checkpoint, Position
from nas.training.data import Splits
from nas.training.evaluation import KeepPredictions, Measured, Protocol, measure
from nas.training.loop import Fit, Hooks, OnEpoch
from nas.training.network import initialise
from nas.training.optimiser import parameter_groups
from nas.training.parallel import Group
from nas.training.place import prepared, seed_all, the_device
from nas.training.recipe import Recipe
from nas.training.source import source_of
from nas.training.speed import Switches, choose, safe_on_cpu
from nas.training.start import Start
from nas.training.step import Trainee
from nas.training.weights import load_weights, save_weights

if TYPE_CHECKING:
    from nas.training.data import Images

__all__ = [
    "AtEpoch",
    "Fitted",
    "Keep",
    "Measured",
    "OnEpoch",
    "TrainResult",
    "fit",
    "initialise",
    "load_weights",
    "measure",
    "parameter_groups",
    "save_weights",
    "train",
]

SPLITS = ("train", "validation", "test")
SAVE_EVERY = 60.0
"""Seconds between checkpoints, which are written at the ends of epochs and within."""
Keep = Callable[[Checkpoint], Any]
AtEpoch = Callable[[int, float, Callable[["Images"], Measured]], None]


@dataclass(frozen=True, eq=False)
class TrainResult:
    """A trained network and how it did.

    ``accuracy`` and ``top5`` (see :class:`Measured`) in percent and mean cross-entropy ``loss`` are of the split
    measured on, without augmentation and label smoothing; ``history`` holds every epoch's mean training loss, of which
    ``train_loss`` is the last. ``seconds`` and ``images_per_second`` are of the training alone, ``epochs_trained`` the
    epochs that were not in the checkpoint. ``device`` is the CPU or the name of the GPU.
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
    top5: float | None = None


@dataclass(frozen=True, eq=False)
class Fitted:
    """A network after its training; fields as of :class:`TrainResult`. ``finished`` is False where it was stopped."""

    module: fx.GraphModule
    history: tuple[float, ...]
    seconds: float
    images_per_second: float
    epochs_trained: int
    switches: Switches
    device: str
    finished: bool
    measure: Callable[..., Measured]
    """Measures the network on images, as :func:`measure` does; in a group all processes call it together."""


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
    keep_predictions: KeepPredictions | None = None,
    **options: Any,
) -> TrainResult:
    """Train ``graph`` on the splits ``train_on`` and measure it once on ``measure_on``: see :func:`fit`.

    ``keep_predictions`` is given what the network makes of those images (see :func:`measure`).
    """
    _check(graph, splits, seed, recipe.epochs if epochs is None else epochs, train_on, measure_on)
    hooked = None if on_epoch is None else (lambda epoch, loss, measure: on_epoch(epoch, loss))
    f = fit(graph, splits, recipe, seed, epochs, train_on, device, threads, after_epoch=hooked, **options)
    found = f.measure(_split(splits, measure_on), keep_predictions)
    numbers = f.history[-1], f.seconds, f.images_per_second, f.history
    return TrainResult(
        found.accuracy, found.loss, *numbers, f.module, f.epochs_trained, f.switches, f.device, found.top5
    )


def fit(
    graph: Graph,
    splits: Splits,
    recipe: Recipe,
    seed: int,
    epochs: int | None = None,
    train_on: Sequence[str] = ("train",),
    device: str | None = None,
    threads: int | None = None,
    *,
    before_save: AtEpoch | None = None,
    after_epoch: AtEpoch | None = None,
    checkpoint: str | Path | Keep | None = None,
    resume: str | Path | Checkpoint | None = None,
    time_limit: float | None = None,
    deterministic: bool = False,
    switches: Switches | None = None,
    stop: Callable[[], bool] = bool,
    group: Group | None = None,
    initial: Start | None = None,
) -> Fitted:
    """Train ``graph`` on the splits ``train_on``, to its end or until ``stop()`` becomes true.

    ``seed`` draws weights, order, crops, flips and dropout. ``epochs`` defaults to the recipe's, ``device`` to the GPU
    where there is one, ``threads`` to torch's own number, which is restored afterwards. ``after_epoch(epoch, loss,
    measure)`` is called after every epoch, from 1, ``before_save`` the same before the state is saved; ``measure``
    measures the network as it is then. The last batch of an epoch is dropped where it is smaller than the others.

    The state is written to the folder ``checkpoint``, or given to that function, about every minute, also within
    epochs, and at the end. Training goes on from ``resume``, a folder or what such a function got, where that holds a
    training of the same network, recipe and data with at most ``epochs`` epochs: on the CPU bit-equal to one that never
    stopped; after a shorter training, with the schedule of the longer one from there on. A checkpoint that is missing,
    damaged or of another training starts from scratch.

    In a ``group`` every process calls this with the same arguments and trains on its share of each batch; the first one
    keeps the checkpoints. Its masks of dropout and drop path are those of a training by one process, the others' are
    seeded by their ranks.

    ``initial`` gives weights to begin with and freezes layers; the rest is drawn from the seed. ``switches`` are the
    device's own by default (:func:`nas.training.speed.choose`), or the checkpoint's. ``deterministic`` allows on CUDA
    only kernels that give the same bits again.

    Raises :class:`EvaluationError` of kind ``diverged`` when a loss is not finite or runs away, ``oom`` when memory
    runs out, ``timeout`` after ``time_limit`` seconds of training, and :class:`ConfigError` where splits, graph, seed
    or device do not fit.
    """
    epochs = recipe.epochs if epochs is None else epochs
    _check(graph, splits, seed, epochs, train_on, "validation" if "validation" not in train_on else "test")
    place = the_device(device)
    with prepared(place, threads, deterministic):
        images = images_of(splits, train_on)
        source = source_of(images, recipe, place, group)
        identity = _identity(graph, recipe, images, splits.name, initial)
        found = _checkpoint(resume, identity, epochs, group)
        chosen = the_switches(switches, found, graph, place, source.batch_size, group)
        start = time.perf_counter()
        begun = partial(begin, graph, recipe, place, chosen, seed, group, initial)
        trainee, generator, at = _restored(begun, found, group)
        meter = _Meter(images, recipe, group, place, threads, deterministic)
        hooked = partial(_hook, lambda measured: meter(_finished(graph, trainee), measured))
        save = None if checkpoint is None else partial(_save, trainee, identity, checkpoint)
        hooks = Hooks(hooked(after_epoch), hooked(before_save), save, SAVE_EVERY, stop)
        run = Fit(trainee, source, epochs, generator, at, time_limit, hooks)
        if finished := run.run():
            run.end()
        _wait(place)
        seconds = time.perf_counter() - start
        trainee.release()
        module = _finished(graph, trainee)
    return _fitted(run, at, seconds, finished, module, partial(meter, module))


@dataclass(frozen=True)
class _Meter:
    """Measures networks on pixels that are normalised as those they were trained on."""

    trained_on: Images
    recipe: Recipe
    group: Group | None
    place: torch.device
    threads: int | None
    deterministic: bool

    def __call__(self, module: fx.GraphModule, images: Images, keep: KeepPredictions | None = None) -> Measured:
        with prepared(self.place, self.threads, self.deterministic):
            return measure(module, images, self.trained_on, Protocol.of(self.recipe), self.group, keep)


def _fitted(
    run: Fit, at: Position, seconds: float, finished: bool, module: fx.GraphModule, measured: partial[Measured]
) -> Fitted:
    trained, speed = len(run.history) - len(at.history), run.steps * run.source.batch_size / seconds
    place, switches = run.trainee.device, run.trainee.switches
    name = torch.cuda.get_device_name(place) if place.type == "cuda" else "CPU"
    return Fitted(module, run.history, seconds, speed, trained, switches, name, finished, measured)


def _restored(
    begun: Callable[[], tuple[Trainee, torch.Generator]], found: Checkpoint | None, group: Group | None
) -> tuple[Trainee, torch.Generator, Position]:
    """Return a network where its checkpoint left it, or as it begins where there is none that fits."""
    trainee, generator = begun()
    if found is not None:
        try:
            checkpoints.restore(found, trainee, generator)
            own = found.loss(group.rank, group.world) if group else found.loss()
            return trainee, generator, Position(found.history, generator.get_state(), found.step, own)
        except ConfigError:
            trainee, generator = begun()
    return trainee, generator, Position((), generator.get_state())


def _hook(measure_now: Callable[[Images], Measured], call: AtEpoch | None) -> OnEpoch | None:
    return None if call is None else (lambda epoch, loss: call(epoch, loss, measure_now))


def _identity(
    graph: Graph, recipe: Recipe, images: Images, dataset: str, initial: Start | None = None
) -> dict[str, Any]:
    """Return what must be equal for a training to go on: all but the number of epochs, the seed and the device."""
    network = json.dumps(graph.to_json(), sort_keys=True).encode()
    return {
        "network": blake2b(network, digest_size=16).hexdigest(),
        "recipe": {name: value for name, value in recipe.to_json().items() if name != "epochs"},
        "data": [dataset, len(images), *images.image_shape, crc32(images.labels.tobytes())],
        **({} if initial is None else {"start": initial.identity}),
    }


def _checkpoint(
    given: str | Path | Checkpoint | None, identity: Mapping[str, Any], epochs: int, group: Group | None
) -> Checkpoint | None:
    """Return the checkpoint, or that in a folder, where a training of ``epochs`` can go on from it."""
    if given is None:
        return None
    if group is not None:
        group.sum([0.0])  # the first process may be writing it
    found = None
    with suppress(ConfigError):
        read = given if isinstance(given, Checkpoint) else checkpoints.load(Path(given))
        Switches.from_json(read.switches)
        found = read
    fits = found is not None and found.identity == identity and found.epoch + (found.step > 0) <= epochs
    if group is not None:
        fits = group.sum([float(fits)]) == [group.world]
    return found if fits else None


def the_switches(
    given: Switches | None,
    found: Checkpoint | None,
    graph: Graph,
    device: torch.device,
    batch: int,
    group: Group | None,
) -> Switches:
    """Return the switches of a training in batches of ``batch``, shared by a ``group``: those given or a checkpoint's.

    On a CPU only what is safe there.
    """
    chosen = given or (Switches.from_json(found.switches) if found else choose(device))
    if device.type == "cpu":
        chosen = safe_on_cpu(chosen, graph, batch // (group.world if group else 1), torch.get_num_threads())
    # a checkpoint may come from a GPU; what processes tell each other is no part of a captured step
    return chosen if device.type == "cuda" and group is None else replace(chosen, capture=False)


def begin(
    graph: Graph,
    recipe: Recipe,
    device: torch.device,
    switches: Switches,
    seed: int,
    group: Group | None,
    initial: Start | None = None,
) -> tuple[Trainee, torch.Generator]:
    """Return a network with new weights from ``seed`` where ``initial`` has none, and the generator of its epochs."""
    weights_seed, order_seed = (int(s) for s in np.random.SeedSequence(seed).generate_state(2, np.uint64))
    seed_all(weights_seed, device)
    trainee = Trainee(graph, recipe, device, switches, group, initial)
    if group is not None and group.rank:
        seed_all(int(np.random.SeedSequence([seed, group.rank]).generate_state(1, np.uint64)[0]), device)
    return trainee, torch.Generator().manual_seed(order_seed)


def _save(trainee: Trainee, identity: Mapping[str, Any], keep: str | Path | Keep, place: Position) -> None:
    taken = checkpoints.take(trainee, place, identity)
    if trainee.group is not None and trainee.group.rank:
        return
    if isinstance(keep, str | Path):
        checkpoints.save(taken, Path(keep))
    else:
        keep(taken)


def _finished(graph: Graph, trainee: Trainee) -> fx.GraphModule:
    """Return the network that is measured: averaged weights where there is an average, no auxiliary heads."""
    state = trainee.module.state_dict()
    if trainee.average is not None:
        state = {**state, **trainee.average.state()}
    module = build_module(graph)
    module.to(device=trainee.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    module.load_state_dict({name: state[name] for name in module.state_dict()})
    return module


def images_of(splits: Splits, names: Sequence[str]) -> Images:
    """Return the images of some splits together."""
    found: Images = reduce(lambda a, b: a.joined(b), (_split(splits, name) for name in names))  # type: ignore
    return found


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
