"""What a comparison is asked to do: checked values that its journal begins with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, unknown
from nas.placing import INLINE, RAY, check_places
from nas.recipe_choice import check_fit, recipe_of, recipe_table
from nas.run.config import CHANGEABLE, EPOCHS, RunConfig, flag
from nas.training.data import task_of
from nas.training.recipe import Recipe
from nas.types import Task

SHARED = (
    "dataset",
    "data_dir",
    "image_size",
    "train_images",
    "validation_images",
    "width",
    "depth",
    "seed",
    "threads",
    "executor",
    "ray_address",
    "workers",
    "cpus_per_trial",
    "gpus_per_trial",
    "plugins",
)
"""The settings that mean what they mean for a search; see :class:`nas.run.config.RunConfig`."""
ELSEWHERE = tuple(name for name in CHANGEABLE if name in SHARED)
"""Where workers and files are found: a resumed comparison may have others."""


@dataclass(frozen=True)
class CompareSettings:
    """Everything that defines a comparison; wrong values raise :class:`ConfigError`.

    ``candidates`` are as the user named them. Each is trained under each of ``recipes`` (tables of
    :func:`nas.recipe_choice.recipe_table`) for ``epochs`` with ``seeds`` seeds. ``ensemble``: how many networks an
    ensemble has, None: there is none. ``shared`` holds the settings of :data:`SHARED` that are set.
    """

    candidates: tuple[str, ...]
    recipes: tuple[Mapping[str, Any], ...]
    epochs: int
    seeds: int = 3
    against_random: bool = False
    ensemble: int | None = None
    shared: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("candidates", "recipes"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name, least in (("epochs", 1), ("seeds", 1), ("ensemble", 2)):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < least):
                raise ConfigError(f"--{name} must be a whole number of at least {least}, found {value!r}")
        for what, names in (("candidate", list(self.candidates)), ("--recipe", self.recipe_names)):
            twice = [name for name in names if names.count(name) > 1]
            if twice:
                raise ConfigError(f"{what} '{twice[0]}' is given twice")
        check_places(self.config)

    @cached_property
    def config(self) -> RunConfig:
        """The shared settings, checked, as those of a run."""
        data = {"evaluator": "train", "final_epochs": self.epochs, "final_seeds": self.seeds, **self.shared}
        return RunConfig.from_json(data, "compare")

    @property
    def recipe_names(self) -> list[str]:
        """The recipes' names."""
        return [str(recipe["name"]) for recipe in self.recipes]

    @cached_property
    def actual_recipes(self) -> list[Recipe]:
        """The recipes."""
        return [recipe_of(recipe, self.dataset) for recipe in self.recipes]

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return str(self.config.dataset)

    @cached_property
    def task(self) -> Task:
        """What the networks must do; looks for the files of the dataset."""
        return task_of(self.dataset, self.config.data_dir, self.config.image_size)

    def job(self, recipe: Recipe) -> dict[str, Any]:
        """Return the settings of :class:`nas.evaluators.train.TrainSettings` for trainings under ``recipe``."""
        config = self.config
        return {
            "dataset": self.dataset,
            "data_dir": config.data_dir,
            "recipe": recipe.to_json(),
            "threads": config.threads,
            "validation": config.validation_images,
            "train_images": config.train_images,
            "image_size": config.image_size,
        }

    def check_data(self) -> None:
        """Refuse recipes that do not fit the images, and numbers of images that are not there."""
        from nas.evaluators.train import TrainSettings

        for name, recipe in zip(self.recipe_names, self.actual_recipes, strict=True):
            check_fit(recipe, f"--recipe {name}", self.dataset, self.task.input_shape)
        _ = TrainSettings.from_json(self.job(self.actual_recipes[0])).splits().train

    def elsewhere(self, changes: Mapping[str, Any]) -> CompareSettings:
        """Return the settings with other places of workers and files, as ``nas resume`` names them."""
        for name in changes:
            if name not in ELSEWHERE:
                allowed = ", ".join(map(flag, ELSEWHERE))
                raise ConfigError(f"a comparison cannot be resumed with another {flag(name)}; allowed: {allowed}")
        shared = {**self.shared, **changes}
        if "data_dir" in changes:
            shared["data_dir"] = str(Path(changes["data_dir"]).expanduser().resolve())
        if shared.get("executor", INLINE) != RAY:
            shared = {n: v for n, v in shared.items() if n not in ("ray_address", "workers", "gpus_per_trial")}
        return replace(self, shared=shared)

    def to_json(self) -> dict[str, Any]:
        """Return the settings as flat JSON data, without what is unset."""
        data = {name: value for name, value in asdict(self).items() if name != "shared" and value is not None}
        data |= {"candidates": list(self.candidates), "recipes": [dict(recipe) for recipe in self.recipes]}
        return {**data, **{n: list(v) if isinstance(v, tuple) else v for n, v in self.shared.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CompareSettings:
        """Read what :meth:`to_json` wrote; an unknown setting raises :class:`ConfigError`."""
        own = [f.name for f in fields(cls) if f.name != "shared"]
        for name in data:
            if name not in (*own, *SHARED):
                raise ConfigError(f"compare: {unknown('setting', str(name), (*own, *SHARED))}")
        shared = {name: data[name] for name in SHARED if name in data}
        return cls(**{name: data[name] for name in own if name in data}, shared=shared)


def settings_from(candidates: tuple[str, ...], given: Mapping[str, Any]) -> CompareSettings:
    """Return the settings of a command line: ``given`` are those of :data:`SHARED` and of :class:`CompareSettings`.

    ``recipes`` are names or files. The epochs are the recipes' own where they agree; without a recipe they are those
    of a search's final comparison.
    """
    shared = {name: given[name] for name in SHARED if given.get(name) is not None}
    shared.setdefault("dataset", "digits")
    shared.setdefault("executor", INLINE)
    if "data_dir" in shared:
        shared["data_dir"] = str(Path(shared["data_dir"]).expanduser().resolve())
    if "plugins" in shared:
        shared["plugins"] = tuple(str(Path(plugin).resolve()) for plugin in shared["plugins"])
    # a number, since results differ in their last bits with it; on 8x8 images threads wait more than they compute
    own = os.cpu_count() or 1 if shared["executor"] == INLINE else shared.get("cpus_per_trial", 1)
    shared.setdefault("threads", 1 if shared["dataset"] == "digits" else own)
    named = given.get("recipes") or [None]
    tables = tuple(recipe_table(name, "--recipe", shared["dataset"]) for name in named)
    epochs = given.get("epochs")
    if epochs is None:
        found = {table["epochs"] for table in tables}
        if len(found) > 1:
            listed = ", ".join(f"{table['name']} {table['epochs']}" for table in tables)
            raise ConfigError(f"the recipes train for different epochs ({listed}); set --epochs: one budget for all")
        epochs = EPOCHS["final_epochs"] if named == [None] else found.pop()
    rest = {n: given[n] for n in ("seeds", "against_random", "ensemble") if given.get(n) is not None}
    return CompareSettings(candidates, tables, epochs, shared=shared, **rest)
