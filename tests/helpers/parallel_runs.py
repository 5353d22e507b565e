"""What a process of a group does in the tests: ``python parallel_runs.py RANK WORLD HOST:PORT FOLDER``."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from training_examples import bright_or_dark, convnet, forbidden, toy_splits

from nas.data.splits import Splits
from nas.graph import Graph
from nas.training.device import ON_CPU
from nas.training.distributed import Group, SyncBatchNorm, joined
from nas.training.evaluation import measure
from nas.training.recipe import Recipe
from nas.training.train_step import EpochLoop, Position, TrainStep, batches_of
from nas.training.trainer import fit, train

CPU = torch.device("cpu")
RECIPE = Recipe(batch_size=8, epochs=5, crop_padding=1, learning_rate=0.05, clip_norm=0.5, warmup_epochs=0)
SPLITS = toy_splits()
DROPPING = convnet(SPLITS.task, dropout=0.3)
SIX = Splits("six", replace(bright_or_dark(36), labels=np.arange(36) % 6), bright_or_dark(4), forbidden, 6)
State = dict[str, np.ndarray[Any, Any]]


def state(module: nn.Module) -> State:
    """Return weights and running statistics by name."""
    return {name: t.detach().numpy().copy() for name, t in module.state_dict().items()}


def twenty_steps(group: Group | None, norms_train: bool, network: Graph | None = None, **changes: Any) -> State:
    """Train for 20 steps and return what became of the network."""
    torch.manual_seed(1)
    recipe = replace(RECIPE, **changes)
    train_step = TrainStep(network or convnet(SPLITS.task), recipe, CPU, ON_CPU, group)
    for layer in train_step.module.modules():
        if isinstance(layer, nn.BatchNorm2d | SyncBatchNorm):
            layer.train(norms_train)
    generator = torch.Generator().manual_seed(3)
    place = Position((), generator.get_state())
    run = EpochLoop(train_step, batches_of(SPLITS.train, recipe, CPU, group), 5, generator, place)
    run.run()
    assert run.steps == 20
    return {**state(train_step.module), "history": np.array(run.history)}


def whole(group: Group | None) -> State:
    """Train with dropout to the end."""
    found = fit(DROPPING, SPLITS, RECIPE, 7, group=group)
    return {**state(found.module), "history": np.array(found.history)}


def resumed(group: Group | None, folder: Path) -> State:
    """Stop three times, twice within an epoch, and go on from the checkpoint every time."""
    for patience in (2, 1, 3):
        looks = iter(range(100))
        stopped = fit(
            DROPPING,
            SPLITS,
            RECIPE,
            7,
            checkpoint=folder,
            resume=folder,
            stop=lambda looks=looks, most=patience: next(looks) >= most,  # type: ignore[misc]
            group=group,
        )
        assert not stopped.finished
    found = fit(DROPPING, SPLITS, RECIPE, 7, checkpoint=folder, resume=folder, group=group)
    return {**state(found.module), "history": np.array(found.history)}


def measured(group: Group | None) -> State:
    """Measure a network of six classes."""
    torch.manual_seed(2)
    network = TrainStep(convnet(SIX.task), RECIPE, CPU, ON_CPU).module
    found = asdict(measure(network, SIX.train, SIX.train, group=group))
    counts = found.pop("per_class")
    return {name: np.array(value) for name, value in {**found, **counts}.items()}


def averaged(group: Group | None) -> State:
    """Train with an average of weights, which is measured at the end."""
    recipe = replace(RECIPE, ema=0.9, cutout=2)
    found = train(convnet(SPLITS.task), SPLITS, recipe, 7, group=group)
    return {**state(found.module), "found": np.array([found.accuracy, found.loss])}


RUNS: dict[str, Callable[[Group | None, Path], State]] = {
    "synchronised": lambda group, folder: twenty_steps(group, True),
    "fixed": lambda group, folder: twenty_steps(group, False),
    "without norms": lambda group, folder: twenty_steps(group, True, convnet(SPLITS.task, norm=False)),
    "adamw": lambda group, folder: twenty_steps(group, True, optimizer="adamw", nesterov=False, learning_rate=0.003),
    "whole": lambda group, folder: whole(group),
    "resumed": resumed,
    "measured": lambda group, folder: measured(group),
    "averaged": lambda group, folder: averaged(group),
}


def main() -> None:
    """Do all runs as one process of a group and write what came out."""
    rank, world, address, home = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    torch.set_num_threads(1)
    with joined(rank, world, address, "cpu") as group:
        for name, run in RUNS.items():
            np.savez(home / f"{name}-{rank}.npz", **run(group, home / "checkpoint"))
    (home / f"done-{rank}").write_text(json.dumps(rank))
    os._exit(0)  # threads of gloo may abort an interpreter that winds down; all is written


if __name__ == "__main__":
    main()
