"""What a grid search is asked to do: checked values that its journal begins with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, replace
from typing import Any, Self

from nas.core.files import real_path
from nas.core.options import MOST_DEPTH, MOST_SEEDS, MOST_THREADS, Config, option
from nas.core.values import Json
from nas.data.config import DataConfig, actual_dataset
from nas.errors import ConfigError
from nas.runs.trust import relocated
from nas.training.config import NamedRecipe
from nas.workflows.scale.compound import TOLERANCE, Budget
from nas.workflows.scale.grid_search import STEP

EPOCHS = 3
"""Of a candidate's training where neither ``--epochs`` nor ``--recipe`` says it."""


@dataclass(frozen=True)
class GridTrainingConfig(Config):
    """How candidates are trained."""

    recipe: NamedRecipe = option(
        MISSING, "how candidates are trained", read=NamedRecipe.from_json, write=NamedRecipe.to_json
    )
    data: DataConfig = field(default_factory=DataConfig)
    epochs: int = option(EPOCHS, "epochs of a training; default --recipe's own, else 3", least=1)
    threads: int | None = option(None, "torch threads; default all cores", least=1, most=MOST_THREADS)

    @classmethod
    def of(cls, options: Mapping[str, Any]) -> Self:
        """Return how a command line, whose recipe is a name, a file or None, has candidates trained."""
        given = actual_dataset({name: value for name, value in options.items() if value is not None})
        if "data_dir" in given:
            given["data_dir"] = real_path(given["data_dir"])
        changes = given.pop("recipe_changes", {})
        named = NamedRecipe.of(given.get("recipe"), "--recipe", given["dataset"]).changed(changes)
        own = {"epochs": named.recipe.epochs} if "recipe" in given else {}
        return cls.from_json({**own, **given, "recipe": named.to_json()}, "scale")


@dataclass(frozen=True)
class GridSettings(Config):
    """Everything that defines a grid search; wrong values raise :class:`ConfigError`."""

    training: GridTrainingConfig
    target: str = option(MISSING, "the run, file or network that is scaled, as the user named it")
    seeds: int = option(1, "trainings of each candidate", least=1, most=MOST_SEEDS)
    tolerance: float = option(TOLERANCE, "how far product and MACs may be from twice, as a share")
    step: float = option(STEP, "step of the grid")
    width: int | None = option(None, "width of the base, mostly channels of the first stage; default its own", least=1)
    depth: int | None = option(None, "cells a stage of the base; default its own", least=1, most=MOST_DEPTH)
    budget: Budget = field(default_factory=Budget)
    phis: tuple[float, ...] = option(tuple, "exponents of the family of the best factors", read=tuple, write=list)
    by: tuple[str, ...] = option(("compound",), "the dimensions that the family is scaled by")
    output: str | None = option(None, "folder for the members of that family")
    plugins: tuple[str, ...] = option(tuple, "Python files with things of the user's own", flag="--plugin")

    def elsewhere(self, changes: Mapping[str, Any]) -> GridSettings:
        """Return the settings with files where ``nas resume`` finds them; nothing else can be changed."""
        for name in changes:
            if name not in ("data_dir", "plugins"):
                raise ConfigError(f"a grid search cannot be resumed with another --{name.replace('_', '-')}")
        found = replace(self, plugins=relocated(self.plugins, changes.get("plugins", ())))
        if "data_dir" not in changes:
            return found
        data = replace(self.training.data, data_dir=real_path(changes["data_dir"]))
        return replace(found, training=replace(self.training, data=data))

    def to_json(self) -> Json:
        """Return the settings that are set as JSON data; those of training and budget are tables of their own."""
        own = super().to_json()
        tables = {part: {n: own.pop(n) for n in getattr(self, part).to_json()} for part in ("training", "budget")}
        lists = {name: list(getattr(self, name)) for name in ("phis", "by", "plugins")}
        return own | tables | lists

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "grid search") -> Self:
        """Return what :meth:`to_json` wrote."""
        own = {name: value for name, value in data.items() if name not in ("training", "budget")}
        return super().from_json({**own, **data.get("training", {}), **data.get("budget", {})}, where)
