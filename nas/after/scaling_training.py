"""The short trainings of a grid search: one dataset and recipe, every candidate at its own resolution."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from nas.after.scaling import Member
from nas.after.scaling_search import digest, enlarged
from nas.graph import Graph, key
from nas.recipe_choice import check_fit, recipe_of, recipe_table
from nas.training.data import DATASETS, Splits, images_named, load_splits
from nas.training.engine import train
from nas.training.recipe import Recipe

EPOCHS = 3
"""Of a candidate's training where neither ``--epochs`` nor ``--recipe`` says it."""


@dataclass(frozen=True)
class Setting:
    """How candidates are trained: on which part of a dataset, by which recipe; ``epochs`` None: the recipe's own."""

    dataset: str
    data_dir: Path | None = None
    image_size: int | None = None
    train_images: int | None = None
    recipe: str | None = None
    epochs: int | None = None
    threads: int | None = None


class Trainer:
    """Trains members on the training split and measures them on the validation split; the test split stays unread."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self._recipe: Recipe = recipe_of(recipe_table(setting.recipe, "--recipe", setting.dataset), setting.dataset)
        self.epochs = setting.epochs or (self._recipe.epochs if setting.recipe else EPOCHS)
        self._base = self._load(setting.image_size)
        self.task = self._base.task
        self._splits = lru_cache(2)(self._at)

    def _load(self, side: int | None) -> Splits:
        s = self._setting
        return load_splits(s.dataset, s.data_dir, train_images=s.train_images, image_size=side)

    def _at(self, side: int) -> Splits:
        if DATASETS[self._setting.dataset].takes_size and side != self.task.input_shape[1]:
            return self._load(side)
        return enlarged(self._base, side)

    def check(self, members: Iterable[Member]) -> None:
        """Refuse a recipe that images of a member's size cannot be trained with."""
        for side in sorted({member.resolution for member in members}):
            shape = (self.task.input_shape[0], side, side)
            check_fit(self._recipe, "--recipe", self._setting.dataset, shape)

    def settings(self, base: Graph) -> str:
        """Return a digest of what makes accuracies comparable: data, recipe, epochs and the network that is scaled."""
        return digest(
            network=key(base),
            nodes=len(base.nodes),
            dataset=images_named(self._setting.dataset, self._setting.data_dir),
            shape=list(self.task.input_shape),
            images=[len(self._base.train), len(self._base.validation)],
            recipe={name: value for name, value in self._recipe.to_json().items() if name != "epochs"},
            epochs=self.epochs,
        )

    def __call__(self, member: Member, seed: int) -> tuple[float, float]:
        """Train a member; return its validation accuracy in percent and the seconds of training."""
        recipe = replace(self._recipe, aux_weight=0.0)  # scaled networks have no auxiliary heads
        found = train(
            member.graph,
            self._splits(member.resolution),
            recipe,
            seed,
            self.epochs,
            threads=self._setting.threads,
        )
        return found.accuracy, found.seconds
