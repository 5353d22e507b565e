"""The training evaluator: trains a job's network and rewards its validation accuracy. The test split is never read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from nas.errors import ConfigError, EvaluationError, unknown
from nas.training.data import Splits, load_splits
from nas.training.recipe import Recipe, default_recipe
from nas.types import Job, Metrics


@dataclass(frozen=True)
class TrainSettings:
    """What a training needs to know besides graph, epochs and seed; :meth:`from_json` reads a job's settings.

    ``recipe`` None: the dataset's own. ``threads`` None: torch's own number. ``validation`` None: the dataset's own
    number of validation images; ``train_images`` None: all others. ``device`` None: the GPU where there is one.
    """

    dataset: str
    data_dir: str | None = None
    split_seed: int = 0
    recipe: Recipe | None = None
    threads: int | None = None
    validation: int | None = None
    train_images: int | None = None
    device: str | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainSettings:
        """Read settings; an unknown name, a missing dataset or a wrong value raises :class:`ConfigError`."""
        known = [f.name for f in fields(cls)]
        for name in data:
            if name not in known:
                raise ConfigError(f"training: {unknown('setting', str(name), known)}")
        if not isinstance(data.get("dataset"), str):
            raise ConfigError(f"training: setting 'dataset' must be a dataset's name, found {data.get('dataset')!r}")
        threads = data.get("threads")
        if threads is not None and (type(threads) is not int or threads < 1):
            raise ConfigError(f"training: setting 'threads' must be a whole number of at least 1, found {threads!r}")
        recipe = data.get("recipe")
        return cls(**{**data, "recipe": None if recipe is None else Recipe.from_json(recipe)})

    def splits(self) -> Splits:
        """Return the splits, read once per process."""
        return _splits(self.dataset, self.data_dir, self.split_seed, self.validation, self.train_images)

    def actual_recipe(self) -> Recipe:
        """Return the recipe, the dataset's own where none is set."""
        return self.recipe or default_recipe(self.dataset)


# two, so that a change of split does not hold every earlier one in memory
@lru_cache(maxsize=2)
def _splits(dataset: str, data_dir: str | None, seed: int, validation: int | None, train: int | None) -> Splits:
    return load_splits(dataset, data_dir, seed, validation, train)


class TrainEvaluator:
    """Trains ``job.graph`` from scratch with the recipe in ``job.settings`` (see :class:`TrainSettings`).

    The reward is the validation accuracy in percent. ``job.epochs`` 0 stands for the recipe's own.
    """

    def __call__(self, job: Job) -> Metrics:
        """Return the metrics, on the CPU the same for the same job; raises as ``nas.training.engine.train`` does."""
        if job.graph is None:
            space = f"space '{job.architecture.space}'"
            raise EvaluationError(f"{space} describes no network to train; use an evaluator that reads its decisions")
        from nas.training.engine import train

        start = time.perf_counter()
        settings = TrainSettings.from_json(job.settings)
        result = train(
            job.graph,
            settings.splits(),
            settings.actual_recipe(),
            job.seed,
            job.epochs or None,
            device=settings.device,
            threads=settings.threads,
        )
        values = {"val_accuracy": result.accuracy, "val_loss": result.loss, "train_loss": result.train_loss}
        return Metrics(result.accuracy, values, time.perf_counter() - start)
