"""The loop over epochs: rates, checks, checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import torch

from nas.errors import EvaluationError
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
Save = Callable[[tuple[float, ...]], Any]


class Fit:
    """One run of training, from the epoch after ``history`` to ``epochs``.

    ``deadline`` is the time (of ``time.monotonic``) at which it fails with kind ``timeout``, ``limit`` its seconds.
    """

    def __init__(
        self,
        trainee: Trainee,
        source: Source,
        epochs: int,
        generator: torch.Generator,
        history: tuple[float, ...] = (),
        time_limit: float | None = None,
    ) -> None:
        self.trainee, self.source, self.epochs, self.generator = trainee, source, epochs, generator
        self.history = history
        self.limit = time_limit
        self.deadline = math.inf if time_limit is None else time.monotonic() + time_limit
        self.every = CHECK_EVERY_ON_CUDA if trainee.device.type == "cuda" else CHECK_EVERY

    def run(self, on_epoch: OnEpoch | None, save: Save | None = None, save_every: float = math.inf) -> None:
        """Train to the end; ``save(history)`` is called at the end of epochs, every ``save_every`` seconds or later."""
        saved = time.monotonic()
        while len(self.history) < self.epochs:
            loss = self._epoch(len(self.history))
            self.history = (*self.history, loss)
            self._refuse_runaway()
            if save is not None and time.monotonic() - saved >= save_every and len(self.history) < self.epochs:
                save(self.history)
                saved = time.monotonic()
            if on_epoch is not None:
                on_epoch(len(self.history), loss)

    def _epoch(self, epoch: int) -> float:
        trainee, recipe, steps = self.trainee, self.trainee.recipe, self.source.steps
        drops = plateau_drops(self.history, recipe.patience) if recipe.schedule == "plateau" else 0
        trainee.progress.fill_(epoch / self.epochs)
        total = torch.zeros((), device=trainee.device)
        for step, (images, targets) in enumerate(self.source.epoch(self.generator)):
            trainee.set_rate(recipe.rate(epoch * steps + step, steps, self.epochs, drops))
            total += trainee.step(images, targets)
            if step % self.every == 0 or step == steps - 1:
                refuse_nan(float(total), f"the training loss of epoch {epoch + 1}")
                self._refuse_late(epoch)
        return float(total) / steps

    def _refuse_late(self, epoch: int) -> None:
        if time.monotonic() > self.deadline:
            raise EvaluationError(f"the training took more than {self.limit:g} s, in epoch {epoch + 1}", "timeout")

    def _refuse_runaway(self) -> None:
        first, last = self.history[0], self.history[-1]
        if last > RUNAWAY and last > RUNAWAY * first:
            what = f"the training loss rose from {first:.3g} to {last:.3g} by epoch {len(self.history)}"
            raise EvaluationError(f"{what}: training diverged; a lower learning rate may help", "diverged")
