"""The training engine: a graph, splits, a recipe and a seed give a trained network, its accuracy and its speed.

The same seed gives the same bits on the CPU with one number of threads; torch's global generator is left as it was.
"""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
from itertools import chain, count, islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import fx

from nas.core.activity import doing
from nas.core.memory import free_memory
from nas.core.values import ClassCounts, Json
from nas.data.splits import Images, Normalization, Splits
from nas.errors import ConfigError, TooLarge, unknown
from nas.graph import Graph, cost
from nas.graph.analysis.limits import check_fits, in_bytes
from nas.graph.lowering.torch_module import build_module
from nas.training import checkpoint as checkpoints
from nas.training.checkpoint import Checkpoint
from nas.training.device import BackendOptions, backend_for, device_name, find_device, prepared, seed_all, synchronize
from nas.training.evaluation import EvaluationProtocol, KeepPredictions, Measured, measure
from nas.training.memory_estimate import training_memory
from nas.training.recipe import Recipe
from nas.training.train_step import (
    BatchSource,
    Callbacks,
    EpochLoop,
    OnEpoch,
    Position,
    TrainStep,
    batches_of,
    class_weights,
)

if TYPE_CHECKING:
    from nas.training.distributed import Group
    from nas.training.initial_weights import Start

SPLITS = ("train", "validation", "test")
SAVE_EVERY = 60.0
"""Seconds between checkpoints, which are written at the ends of epochs and within."""
WARM = 2
"""Steps before the measurement of throughput, where the step is not captured."""
STEPS = 20
"""At most this many steps are measured."""
SECONDS = 10.0
"""Seconds that this takes, where steps are long: three of them at least."""
MOST_SECONDS = 30.0
"""Seconds that it takes at most, with the steps before it, where the first step tells that a machine is very slow."""
TRIED = 3
"""Steps that predict the seconds of an epoch: the fastest of them, since other work only slows them down."""
UNSURE, FIRST_UNSURE = 2.0, 10.0
"""How many times a step may be slower than the fastest will be; the first also prepares what later ones find."""
Keep = Callable[[Checkpoint], object]
AtEpoch = Callable[[int, float, Callable[[Images], Measured]], None]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A network after its training.

    Attributes:
        module: the network, of averaged weights where there is an average, without auxiliary heads
        history: every epoch's mean training loss
        errors: every epoch's validation error in percent, where a plateau schedule follows it
        seconds: of the training alone
        images_per_second: in those seconds
        epochs_trained: the epochs that were not in the checkpoint
        backend: how its steps were computed
        device: CPU, or the name of the GPU
        finished: False where it was stopped
        normalization: of the pixels that it takes, that of the images that it was trained on
        measure: measures it on images, all processes of a group together: :func:`nas.training.evaluation.measure`
    """

    module: fx.GraphModule
    history: tuple[float, ...]
    errors: tuple[float, ...]
    seconds: float
    images_per_second: float
    epochs_trained: int
    backend: BackendOptions
    device: str
    finished: bool
    normalization: Normalization
    measure: Callable[[Images, KeepPredictions | None], Measured]


@dataclass(frozen=True, eq=False)
class TrainResult(Fitted):
    """A trained network and how it did.

    Attributes:
        accuracy: in percent, on the split measured on, without augmentation
        loss: mean cross entropy there, without label smoothing
        train_loss: the last of ``history``
        top5: in percent, see :class:`nas.training.evaluation.Measured`
        per_class: the same
    """

    accuracy: float
    loss: float
    train_loss: float
    top5: float | None = None
    per_class: ClassCounts | None = None


def train(
    graph: Graph,
    splits: Splits,
    recipe: Recipe,
    seed: int,
    epochs: int | None = None,
    *,
    train_on: Sequence[str] = ("train",),
    measure_on: str = "validation",
    device: str | None = None,
    threads: int | None = None,
    on_epoch: OnEpoch | None = None,
    keep_predictions: KeepPredictions | None = None,
    checkpoint: str | Path | Keep | None = None,
    resume: str | Path | Checkpoint | None = None,
    time_limit: float | None = None,
    deterministic: bool = False,
    backend: BackendOptions | None = None,
    precision: str | None = None,
    group: Group | None = None,
    initial: Start | None = None,
) -> TrainResult:
    """Train ``graph`` on the splits ``train_on`` and then measure it on ``measure_on``, once: see :func:`fit`.

    ``keep_predictions`` gets what the network makes of those images (:func:`nas.training.evaluation.measure`).
    """
    _check(graph, splits, seed, recipe.epochs if epochs is None else epochs, train_on, measure_on)
    fitted = fit(
        graph,
        splits,
        recipe,
        seed,
        epochs,
        train_on=train_on,
        device=device,
        threads=threads,
        after_epoch=None if on_epoch is None else (lambda epoch, loss, measure: on_epoch(epoch, loss)),
        checkpoint=checkpoint,
        resume=resume,
        time_limit=time_limit,
        deterministic=deterministic,
        backend=backend,
        precision=precision,
        group=group,
        initial=initial,
    )
    found = fitted.measure(getattr(splits, measure_on), keep_predictions)
    return TrainResult(**vars(fitted), **vars(found), train_loss=fitted.history[-1])


def fit(
    graph: Graph,
    splits: Splits,
    recipe: Recipe,
    seed: int,
    epochs: int | None = None,
    *,
    train_on: Sequence[str] = ("train",),
    device: str | None = None,
    threads: int | None = None,
    before_save: AtEpoch | None = None,
    after_epoch: AtEpoch | None = None,
    checkpoint: str | Path | Keep | None = None,
    resume: str | Path | Checkpoint | None = None,
    time_limit: float | None = None,
    deterministic: bool = False,
    backend: BackendOptions | None = None,
    precision: str | None = None,
    stop: Callable[[], bool] = bool,
    group: Group | None = None,
    initial: Start | None = None,
) -> Fitted:
    """Train ``graph`` on the splits ``train_on``, to its end or until ``stop()`` becomes true.

    ``seed`` draws weights, order, crops, flips and dropout. ``epochs`` defaults to the recipe's, ``device`` to the GPU
    where there is one, ``threads`` to torch's own number, which is restored afterwards. ``after_epoch(epoch, loss,
    measure)`` is called after every epoch, from 1, ``before_save`` the same before the state is saved; ``measure``
    measures the network as it is then. The last batch of an epoch is dropped where it is smaller than the others.
    A plateau schedule follows the error on the validation split, measured after every epoch, where that is not trained
    on, else the training loss; never the test split.

    The state is written to the folder ``checkpoint``, or given to that function, about every minute, also within
    epochs, and at the end. Training goes on from ``resume``, a folder or what such a function got, where that holds a
    training of the same network, recipe and data with at most ``epochs`` epochs: on the CPU bit-equal to one that never
    stopped; after a shorter training, with the schedule of the longer one from there on. Else it starts from scratch.

    In a ``group`` every process calls this with the same arguments and trains on its share of each batch; the first
    one keeps the checkpoints, and drops with the masks of a training by one process, the others with their own.

    ``initial`` gives first weights and frozen layers. ``backend`` is by default the checkpoint's, else the device's in
    ``precision`` (:func:`nas.training.device.backend_for`). ``deterministic`` allows on CUDA only kernels that repeat
    their bits.

    Raises :class:`EvaluationError` of kind ``diverged`` (a loss is not finite or runs away), ``oom``, or ``timeout``
    after ``time_limit`` seconds of training, and :class:`ConfigError` where splits, graph, seed or device do not fit.
    """
    epochs = recipe.epochs if epochs is None else epochs
    _check(graph, splits, seed, epochs, train_on, "validation" if "validation" not in train_on else "test")
    on = find_device(device)
    with prepared(on, threads, deterministic):
        # the images, and the checkpoint where there is one of this training
        images = images_of(splits, train_on)
        source = batches_of(images, recipe, on, group)
        keyed = checkpoint is not None or resume is not None
        identity = checkpoints.identity_of(graph, recipe, images, splits.name, initial) if keyed else {}
        found = None if resume is None else checkpoints.usable(resume, identity, epochs, group)
        given = backend or (BackendOptions.from_json(found.backend) if found is not None else None)
        world = group.world if group else 1
        chosen = backend_for(on, graph, source.batch_size, given=given, world=world, precision=precision)
        _check_memory(graph, recipe, source.batch_size, on)

        # the network, where its checkpoint left it or as it begins
        start = time.perf_counter()
        weights = class_weights(images.labels, splits.classes, recipe, on)
        begun = partial(begin, graph, recipe, on, chosen, seed, group=group, initial=initial, weights=weights)
        train_step, generator, position = _restored(found, begun)

        def measured(module: fx.GraphModule, images_: Images, keep: KeepPredictions | None = None) -> Measured:
            # pixels are normalized as those that the network was trained on
            with prepared(on, threads, deterministic):
                return measure(module, images_, images, EvaluationProtocol.of(recipe), group, keep)

        @lru_cache(1)  # schedule and hooks measure the same images after an epoch
        def measured_after(epoch: int, images_: Images) -> Measured:
            with torch.random.fork_rng(devices=[]):  # a network draws first weights
                module = _finished(graph, train_step)
            return measured(module, images_)

        def hook(call: AtEpoch | None) -> OnEpoch | None:
            if call is None:
                return None
            return lambda epoch, loss: call(epoch, loss, partial(measured_after, epoch))

        def validation_error(epoch: int) -> float:
            return 100 - measured_after(epoch, splits.validation).accuracy

        # training
        save = None if checkpoint is None else partial(_save, train_step, identity, checkpoint)
        follow = validation_error if recipe.schedule == "plateau" and "validation" not in train_on else None
        callbacks = Callbacks(hook(after_epoch), hook(before_save), save, SAVE_EVERY, stop, follow)
        loop = EpochLoop(train_step, source, epochs, generator, position, time_limit, callbacks)
        with doing("training"):
            finished = loop.run()
        synchronize(on)
        seconds = time.perf_counter() - start
        train_step.release()
        module = _finished(graph, train_step)
    return Fitted(
        module=module,
        history=loop.history,
        errors=loop.errors,
        seconds=seconds,
        images_per_second=loop.steps * source.batch_size / seconds,
        epochs_trained=len(loop.history) - len(position.history),
        backend=chosen,
        device=device_name(on),
        finished=finished,
        normalization=Normalization.of(images),
        measure=partial(measured, module),
    )


def _restored(
    found: Checkpoint | None, begun: Callable[[], tuple[TrainStep, torch.Generator]]
) -> tuple[TrainStep, torch.Generator, Position]:
    """Return a training where the checkpoint ``found`` left it; from the start where there is none that fits it."""
    train_step, generator = begun()
    if found is not None:
        try:
            return train_step, generator, checkpoints.restore(found, train_step, generator)
        except ConfigError:
            train_step, generator = begun()
    return train_step, generator, Position((), generator.get_state())


@dataclass(frozen=True)
class Throughput:
    """How fast a training goes.

    Attributes:
        steps: of an epoch
        seconds: of a step
        images: in an epoch
        device: CPU, or the name of the GPU
    """

    steps: int
    seconds: float
    images: int
    device: str


@doing("measuring a few steps")
def throughput(
    graph: Graph,
    splits: Splits,
    recipe: Recipe,
    *,
    train_on: Sequence[str] = ("train",),
    device: str | None = None,
    threads: int | None = None,
    group: Group | None = None,
    initial: Start | None = None,
) -> Throughput:
    """Time a few steps of a new network, images read and augmented; arguments and errors are those of :func:`fit`."""
    from nas.training.cuda_graph import WARM_UP

    on, world = find_device(device), 1 if group is None else group.world
    with prepared(on, threads, False):
        source = batches_of(images_of(splits, train_on), recipe, on, group)
        _check_memory(graph, recipe, source.batch_size, on)
        backend = backend_for(on, graph, source.batch_size, world=world)
        train_step, generator = begin(graph, recipe, on, backend, 0, group=group, initial=initial)
        taken: list[float] = []
        warm = WARM_UP + 1 if backend.capture else WARM  # the step that captures is far longer than those that follow
        last = warm + STEPS
        for number, each in enumerate(_timed_steps(train_step, source, generator, on), 1):
            taken.append(each)
            if number in (1, warm + 1):  # all must do as many, so they agree on the mean
                each = taken[-1] if group is None else group.sum([taken[-1]])[0] / world
                wanted = STEPS if number == 1 else max(3, min(STEPS, int(SECONDS / max(each, 1e-9))))
                last = min(last, warm + wanted, max(1, int(MOST_SECONDS / max(each, 1e-9))))
            if number >= last:
                break
        seconds = statistics.fmean(taken[warm:] or taken[-1:])
        return Throughput(source.steps, seconds, source.steps * source.batch_size, device_name(on))


@doing("measuring a few steps")
def epoch_seconds(
    graph: Graph,
    splits: Splits,
    recipe: Recipe,
    *,
    device: str | None = None,
    threads: int | None = None,
    precision: str | None = None,
    limit: float = math.inf,
    within: float = math.inf,
) -> float:
    """Return the seconds that an epoch of a new training will take, by the fastest of :data:`TRIED` steps.

    Where a step tells that they are far more than ``limit``, or ``within`` seconds have passed, no more steps are
    taken. Validation is not counted.
    Arguments and errors are those of :func:`fit`; torch's random streams stay as they are.
    """
    from nas.training.cuda_graph import WARM_UP

    on, end = find_device(device), time.monotonic() + within
    with prepared(on, threads, False):
        source = batches_of(splits.train, recipe, on)
        _check_memory(graph, recipe, source.batch_size, on)
        backend = backend_for(on, graph, source.batch_size, precision=precision)
        train_step, generator = begin(graph, recipe, on, backend, 0)
        warm = WARM_UP + 1 if backend.capture else 1
        seconds, unsure = math.inf, FIRST_UNSURE
        for number, each in enumerate(islice(_timed_steps(train_step, source, generator, on), warm + TRIED)):
            if number == warm:
                seconds, unsure = math.inf, UNSURE
            seconds = min(seconds, each * source.steps)
            if seconds > unsure * limit or time.monotonic() >= end:
                break
    return seconds


def _timed_steps(
    train_step: TrainStep, source: BatchSource, generator: torch.Generator, device: torch.device
) -> Iterator[float]:
    """Yield the seconds of one step after another, images read and augmented, at a rate of 0."""
    start = time.perf_counter()
    for images, targets in chain.from_iterable(source.epoch(generator) for _ in count()):
        train_step.set_rate(0.0)
        train_step.step(images, targets)
        synchronize(device)
        now = time.perf_counter()
        yield now - start
        start = now


def begin(
    graph: Graph,
    recipe: Recipe,
    device: torch.device,
    backend: BackendOptions,
    seed: int,
    *,
    group: Group | None = None,
    initial: Start | None = None,
    weights: torch.Tensor | None = None,
) -> tuple[TrainStep, torch.Generator]:
    """Return a network with new weights from ``seed`` where ``initial`` has none, and the generator of its epochs.

    ``weights`` (K,) are those of the classes' losses.
    """
    weights_seed, order_seed = (int(s) for s in np.random.SeedSequence(seed).generate_state(2, np.uint64))
    seed_all(weights_seed, device)
    train_step = TrainStep(graph, recipe, device, backend, group, initial, weights)
    if group is not None and group.rank:
        seed_all(int(np.random.SeedSequence([seed, group.rank]).generate_state(1, np.uint64)[0]), device)
    return train_step, torch.Generator().manual_seed(order_seed)


def images_of(splits: Splits, names: Sequence[str]) -> Images:
    """Return the images of some splits together."""
    found: Images = reduce(lambda a, b: a.joined(b), [getattr(splits, name) for name in names])
    return found


def _save(train_step: TrainStep, identity: Json, keep: str | Path | Keep, position: Position) -> None:
    taken = checkpoints.take(train_step, position, identity)
    if train_step.group is None or not train_step.group.rank:
        checkpoints.save(taken, Path(keep)) if isinstance(keep, str | Path) else keep(taken)


def _finished(graph: Graph, train_step: TrainStep) -> fx.GraphModule:
    """Return the network that is measured: averaged weights where there is an average, no auxiliary heads."""
    state = train_step.module.state_dict()
    if train_step.ema is not None:
        state = {**state, **train_step.ema.state()}
    module = build_module(graph)
    module.to(device=train_step.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    module.load_state_dict({name: state[name] for name in module.state_dict()})
    return module


def _check_memory(graph: Graph, recipe: Recipe, batch: int, device: torch.device) -> None:
    """Refuse what does not fit before it is allocated; a GPU says so itself, the system of a CPU ends processes."""
    check_fits(graph, batch if device.type == "cpu" else 1)
    needed, free = training_memory(graph, recipe, batch), free_memory()
    if device.type == "cpu" and needed > free:
        taken = f"training it on batches of {batch:,} takes {in_bytes(needed)}; {in_bytes(free)} of memory are free"
        raise TooLarge(f"the network does not fit: {taken}")


def _check(graph: Graph, splits: Splits, seed: int, epochs: int, train_on: Iterable[str], measure_on: str) -> None:
    task = splits.task
    for name in (*train_on, measure_on):
        if name not in SPLITS:
            raise ConfigError(unknown("split", name, SPLITS))
    if not train_on or "test" in train_on or measure_on in train_on:
        found = f"training on {', '.join(train_on) or 'none'}, measuring on {measure_on}"
        rule = "a network trains on train, or train and validation, and is measured on another"
        raise ConfigError(f"{rule}; found {found}")
    if type(seed) is not int or seed < 0 or type(epochs) is not int or epochs < 1:
        rule = "the seed must be an integer of at least 0 and the epochs of at least 1"
        raise ConfigError(f"{rule}, found {seed!r}, {epochs!r}")
    if graph.input_shape != task.input_shape:
        found = f"has images of {task.input_shape}, the network takes {graph.input_shape}"
        raise ConfigError(f"dataset '{splits.name}' {found}")
    shape = cost(graph, "logits").output_shape
    if shape != (task.classes,):
        raise ConfigError(f"dataset '{splits.name}' has {task.classes} classes, the network's logits are {shape}")
    if len(splits.train) < 2:
        raise ConfigError(f"dataset '{splits.name}': training needs at least 2 images, found {len(splits.train)}")
