"""The loop over epochs: rates, checks, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from nas.errors import EvaluationError
from nas.training.checkpoint import Position
from nas.training.evaluation import refuse_nan
from nas.training.schedule import plateau_drops
from nas.training.source import Source
from nas.training.step import Trainee

CHECK_EVERY = 8
"""Steps between looks at the loss: on a GPU each look waits for the device."""
CHECK_EVERY_ON_CUDA = 64
RUNAWAY = 20.0
"""An epoch's mean loss this many times the first epoch's, and above this many nats, has diverged."""

OnEpoch = Callable[[int, float], None]
Save = Callable[[Position], Any]


@dataclass(frozen=True)
class Hooks:
    """What others do while a training runs; in a group every process has them.

    ``before_save(epoch, loss)`` is called after every epoch, from 1, and ``on_epoch`` the same after the state was
    saved. ``save`` keeps the state ``save_every`` seconds after it was last kept, or a few steps later, within epochs
    too. When ``stop()`` becomes true, the state is saved within a few steps, and the training ends.
    """

    on_epoch: OnEpoch | None = None
    before_save: OnEpoch | None = None
    save: Save | None = None
    save_every: float = math.inf
    stop: Callable[[], bool] = bool


@dataclass(frozen=True)
class Look:
    """What all processes know after a step: the mean over them of the epoch's loss so far, and what is to be done."""

    loss: float
    save: bool
    stop: bool


class Fit:
    """One run of training, from ``place`` to the end of ``epochs``.

    ``deadline`` is the time (of ``time.monotonic``) at which it fails with kind ``timeout``, ``limit`` its seconds.
    ``steps`` counts the steps that were done here.
    """

    def __init__(
        self,
        trainee: Trainee,
        source: Source,
        epochs: int,
        generator: torch.Generator,
        place: Position,
        time_limit: float | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        self.trainee, self.source, self.epochs, self.generator = trainee, source, epochs, generator
        self.history, self.steps = place.history, 0
        self.limit, self.hooks = time_limit, hooks or Hooks()
        self.deadline = math.inf if time_limit is None else time.monotonic() + time_limit
        self.every = CHECK_EVERY_ON_CUDA if trainee.device.type == "cuda" else CHECK_EVERY
        self._place, self._saved = place, time.monotonic()

    def run(self) -> bool:
        """Train to the end; False when it was stopped before."""
        hooks = self.hooks
        while len(self.history) < self.epochs:
            look = self._epoch(len(self.history))
            if look is None:
                return False
            loss = look.loss / self.source.steps
            self.history = (*self.history, loss)
            self._place = Position(self.history, self.generator.get_state())
            self._refuse_runaway()
            if hooks.before_save is not None:
                hooks.before_save(len(self.history), loss)
            unfinished = len(self.history) < self.epochs
            if unfinished and (look.save or look.stop):
                self._save(self._place)
            if hooks.on_epoch is not None:
                hooks.on_epoch(len(self.history), loss)
            if unfinished and look.stop:
                return False
        return True

    def end(self) -> None:
        """Save the state at the end."""
        self._save(self._place)

    def _save(self, place: Position) -> None:
        if self.hooks.save is not None:
            self.hooks.save(place)
        self._saved = time.monotonic()

    def _epoch(self, epoch: int) -> Look | None:
        """Train for an epoch, or what is left of it; None when it was stopped within."""
        trainee, recipe, steps, place = self.trainee, self.trainee.recipe, self.source.steps, self._place
        drops = plateau_drops(self.history, recipe.patience) if recipe.schedule == "plateau" else 0
        trainee.progress.fill_(epoch / self.epochs)
        total = torch.zeros((), device=trainee.device)
        if place.loss is not None:
            total += place.loss.to(trainee.device)
        for step, (images, targets) in enumerate(self.source.epoch(self.generator, place.step), place.step):
            trainee.set_rate(recipe.rate(epoch * steps + step, steps, self.epochs, drops))
            total += trainee.step(images, targets)
            self.steps += 1
            if step == steps - 1:
                return self._look(total, epoch)
            if step % self.every == 0:
                look = self._look(total, epoch)
                if look.save or look.stop:
                    self._save(Position(self.history, place.order, step + 1, total))
                if look.stop:
                    return None
        raise EvaluationError(f"epoch {epoch + 1} ended before its last batch")

    def _look(self, total: Tensor, epoch: int) -> Look:
        group, hooks = self.trainee.group, self.hooks
        now = time.monotonic()
        loss, late, stop = float(total), float(now > self.deadline), float(hooks.stop())
        save = float(hooks.save is not None and now - self._saved >= hooks.save_every)
        if group is not None:
            # all must do the same, so the first one's clock decides
            loss, late, stop, save = group.sum([loss / group.world, late, stop, save * (group.rank == 0)])
        refuse_nan(loss, f"the training loss of epoch {epoch + 1}")
        if late:
            raise EvaluationError(f"the training took more than {self.limit:g} s, in epoch {epoch + 1}", "timeout")
        return Look(loss, save > 0, stop > 0)

    def _refuse_runaway(self) -> None:
        first, last = self.history[0], self.history[-1]
        if last > RUNAWAY and last > RUNAWAY * first:
            what = f"the training loss rose from {first:.3g} to {last:.3g} by epoch {len(self.history)}"
            raise EvaluationError(f"{what}: training diverged; a lower learning rate may help", "diverged")
