"""What a comparison is asked to do: checked values that its journal begins with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, replace
from functools import cached_property
from typing import Any, Self

from nas.core.files import real_path
from nas.core.options import MOST_DEPTH, MOST_SEEDS, MOST_THREADS, Config, option
from nas.core.values import Json, Task
from nas.data.config import DEFAULT_DATASET, DataConfig, actual_dataset, default_threads
from nas.engine.config import EPOCHS, PLACES, flag
from nas.errors import ConfigError
from nas.executors.config import INLINE, RAY, ExecutorConfig
from nas.executors.ray.cluster import require_ray
from nas.runs.trust import relocated
from nas.training.config import NamedRecipe
from nas.training.published_recipes import check_fit
from nas.training.recipe import Recipe

ELSEWHERE = tuple(name for name in PLACES if name not in ("table", "track"))
"""Where workers and files are found: a resumed comparison may have others."""


@dataclass(frozen=True)
class CompareSettings(Config):
    """Everything that defines a comparison; wrong values raise :class:`ConfigError`."""

    candidates: tuple[str, ...] = option(MISSING, "as the user named them; the others are compared with the first")
    recipes: tuple[NamedRecipe, ...] = option(
        MISSING,
        "a name (see: list recipes) or a JSON file; given again, the effect of recipes is shown apart",
        metavar="NAME|FILE.json",
        flag="--recipe",
        read=lambda tables: tuple(map(NamedRecipe.from_json, tables)),
        write=lambda recipes: [recipe.to_json() for recipe in recipes],
    )
    epochs: int = option(
        MISSING, "training epochs, the same for all; default the recipe's own, without --recipe 10", least=1
    )
    seeds: int = option(3, "trainings of each candidate", least=1, most=MOST_SEEDS)
    against_random: bool = option(
        False, "with each run, the best of a random search of as many trials: the run's own, else one that is run now"
    )
    ensemble: int | None = option(
        None,
        "also the accuracy of the mean of K networks' probabilities: the K best candidates, and K seeds of each",
        least=2,
        metavar="K",
    )
    data: DataConfig = field(default_factory=DataConfig)
    width: int | None = option(None, "channels of the first stage, or what a space counts in; default its own", least=1)
    depth: int | None = option(None, "cells a stage; default the network's own", least=1, most=MOST_DEPTH)
    seed: int = option(0, "seed of the trainings", least=0)
    threads: int | None = option(
        None,
        "torch threads of a training; default 1 for digits and fashion-mini, else all cores, on Ray --cpus-per-trial",
        least=1,
        most=MOST_THREADS,
    )
    no_latency: bool = option(False, "do not measure how long the networks take for 1 and for 64 images")
    executor: ExecutorConfig = field(default_factory=ExecutorConfig)
    plugins: tuple[str, ...] = option(tuple, "Python files with things of the user's own", flag="--plugin")

    def __post_init__(self) -> None:
        super().__post_init__()
        for what, names in (("candidate", list(self.candidates)), ("--recipe", self.recipe_names)):
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise ConfigError(f"{what} '{twice[0]}' is given twice")

    @property
    def recipe_names(self) -> list[str]:
        """The recipes' names."""
        return [recipe.name for recipe in self.recipes]

    @property
    def actual_recipes(self) -> list[Recipe]:
        """The recipes."""
        return [recipe.recipe for recipe in self.recipes]

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return self.data.name

    @cached_property
    def task(self) -> Task:
        """What the networks must do; looks for the files of the dataset."""
        return self.data.task()

    def job(self, recipe: Recipe) -> Json:
        """Return the settings of :class:`nas.evaluators.train.TrainSettings` for trainings under ``recipe``."""
        return {
            "dataset": self.dataset,
            "data_dir": self.data.data_dir,
            "recipe": recipe.to_json(),
            "threads": self.threads,
            "validation": self.data.validation_images,
            "train_images": self.data.train_images,
            "image_size": self.data.image_size,
            **self.data.shares(),
        }

    def check_data(self) -> None:
        """Refuse recipes that do not fit the images, numbers of images that are not there, and Ray where it is not."""
        from nas.evaluators.train import TrainSettings

        if self.executor.name == RAY:
            require_ray()

        for recipe in self.recipes:
            check_fit(recipe.recipe, f"--recipe {recipe.name}", self.dataset, self.task.input_shape)
        _ = TrainSettings.from_json(self.job(self.actual_recipes[0])).splits().train

    def elsewhere(self, changes: Mapping[str, Any]) -> Self:
        """Return the settings with other places of workers and files, as ``nas resume`` names them."""
        for name in changes:
            if name not in ELSEWHERE:
                allowed = ", ".join(map(flag, ELSEWHERE))
                raise ConfigError(f"a comparison cannot be resumed with another {flag(name)}; allowed: {allowed}")
        given = dict(changes)
        if "data_dir" in given:
            given["data_dir"] = real_path(given["data_dir"])
        if "plugins" in given:
            given["plugins"] = relocated(self.plugins, given["plugins"])
        executor = self.executor
        if given.get("executor", executor.name) != RAY:
            executor = replace(executor, name=INLINE, ray_address=None, workers=None, gpus_per_trial=None)
        return type(self).from_json({**replace(self, executor=executor).to_json(), **given}, "compare")


def settings_from(candidates: tuple[str, ...], given: Mapping[str, Any]) -> CompareSettings:
    """Return the settings of a command line, by their names in :class:`CompareSettings`.

    ``recipes`` are names or files, of which ``recipe_changes`` and ``batch_size`` change fields. The epochs are the
    recipes' own where they agree; without a recipe they are those of a search's final comparison.
    """
    set_by_user = {name: value for name, value in given.items() if value is not None}
    settings = actual_dataset(set_by_user, DEFAULT_DATASET)
    if "data_dir" in settings:
        settings["data_dir"] = real_path(settings["data_dir"])
    settings["plugins"] = tuple(real_path(plugin) for plugin in settings.get("plugins", ()))
    inline = settings.get("executor", INLINE) == INLINE
    own = os.cpu_count() or 1 if inline else settings.get("cpus_per_trial", 1)
    settings.setdefault("threads", default_threads(settings["dataset"], own))

    # one budget for all recipes, and each recipe with all its numbers
    named = settings.get("recipes") or [None]
    changes, batch = settings.pop("recipe_changes", {}), settings.pop("batch_size", None)
    recipes = [NamedRecipe.of(name, "--recipe", settings["dataset"]).changed(changes, batch) for name in named]
    if "epochs" not in settings:
        found = {recipe.recipe.epochs for recipe in recipes}
        if len(found) > 1:
            listed = ", ".join(f"{recipe.name} {recipe.recipe.epochs}" for recipe in recipes)
            raise ConfigError(f"the recipes train for different epochs ({listed}); set --epochs: one budget for all")
        settings["epochs"] = EPOCHS["final_epochs"] if named == [None] else found.pop()
    settings |= {"candidates": candidates, "recipes": [recipe.to_json() for recipe in recipes]}
    return CompareSettings.from_json(settings, "compare")
