"""How fast a training goes, measured by a few of its steps."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas.graph import Graph
from nas.training.augment import Targets
from nas.training.data import Splits
from nas.training.engine import begin, images_of, the_switches
from nas.training.parallel import Group
from nas.training.place import prepared, the_device
from nas.training.recipe import Recipe
from nas.training.source import Source, source_of
from nas.training.start import Start
from nas.training.step import WARM_UP

if TYPE_CHECKING:
    from nas.training.data import Images

WARM = 2
"""Steps before the measurement, where the step is not captured."""
STEPS = 20
"""Steps that are measured at most."""
SECONDS = 10.0
"""Seconds that the measurement takes, where steps are long: three of them at least."""


@dataclass(frozen=True)
class Pace:
    """An epoch's ``steps`` and the ``seconds`` of each; ``images`` in an epoch, and the ``device``."""

    steps: int
    seconds: float
    images: int
    device: str


def pace(
    graph: Graph,
    splits: Splits,
    recipe: Recipe,
    train_on: Sequence[str] = ("train",),
    device: str | None = None,
    threads: int | None = None,
    group: Group | None = None,
    initial: Start | None = None,
) -> Pace:
    """Train a new network for a few steps and throw it away; arguments as of :func:`nas.training.engine.fit`.

    Reading and augmenting the images counts. Raises what ``fit`` does.
    """
    place = the_device(device)
    with prepared(place, threads, False):
        images: Images = images_of(splits, train_on)
        source = source_of(images, recipe, place, group)
        switches = the_switches(None, None, graph, place, source.batch_size, group)
        trainee, generator = begin(graph, recipe, place, switches, 0, group, initial)
        taken: list[float] = []
        warm = WARM_UP + 1 if switches.capture else WARM  # the step that captures is far longer than those that follow
        count, start = warm + STEPS, time.perf_counter()
        for number, (x, targets) in enumerate(_endless(source, generator), 1):
            trainee.set_rate(0.0)
            trainee.step(x, targets)
            if place.type == "cuda":
                torch.cuda.synchronize(place)
            now = time.perf_counter()
            taken.append(now - start)
            start = now
            if number == warm + 1:  # all must do as many, so they agree on the longest
                each = taken[-1] if group is None else group.sum([taken[-1]])[0] / group.world
                count = warm + max(3, min(STEPS, int(SECONDS / max(each, 1e-9))))
            if number >= count:
                break
        name = torch.cuda.get_device_name(place) if place.type == "cuda" else "CPU"
        return Pace(source.steps, statistics.fmean(taken[warm:]), source.steps * source.batch_size, name)


def _endless(source: Source, generator: torch.Generator) -> Iterator[tuple[Tensor, Targets]]:
    while True:
        yield from source.epoch(generator)
