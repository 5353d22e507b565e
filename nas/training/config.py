"""How networks are trained, as a configuration says it: the recipe is read once, at the door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from nas.core.options import MOST_THREADS, Config, option
from nas.core.values import Json
from nas.errors import ConfigError
from nas.training.published_recipes import recipe_of, recipe_table
from nas.training.recipe import Recipe

AUTO_PRECISION = "auto"
"""The precision that is measured once, when a search begins; its configuration then names what was found."""


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe with the name that reports give it."""

    name: str
    recipe: Recipe

    @classmethod
    def of(cls, value: str | Mapping[str, Any] | None, flag: str, dataset: str) -> Self:
        """Return the recipe that ``value`` names (a name, a JSON file, a table of fields; None: the dataset's own).

        What is wrong raises :class:`nas.errors.ConfigError` that begins with ``flag``.
        """
        table = recipe_table(value, flag, dataset)
        return cls(str(table["name"]), recipe_of(table, dataset))

    @classmethod
    def from_json(cls, table: str | Mapping[str, Any]) -> Self:
        """Read what :meth:`to_json` wrote."""
        name = table if isinstance(table, str) else str(table.get("name", "of the configuration"))
        return cls(name, recipe_of(table, ""))

    def to_json(self) -> Json:
        """Return the name and every field that is set, as a table."""
        return {"name": self.name, **{field: v for field, v in self.recipe.to_json().items() if v is not None}}


def recipe_option(text: str, name: str = "") -> Any:
    """Return the field of a recipe's setting."""
    return option(
        None, text, name=name, metavar="NAME|FILE.json", read=NamedRecipe.from_json, write=NamedRecipe.to_json
    )


@dataclass(frozen=True)
class TrainConfig(Config):
    """How trials are trained; without a recipe, evaluators may still know epochs."""

    recipe: NamedRecipe | None = recipe_option(
        "how trials are trained: a name (see: list recipes) or a JSON file of a recipe's fields, on a named 'base' if "
        "it gives one; default the dataset's own"
    )
    epochs: int = option(
        3,
        "training epochs of a trial, the most where a scheduler spreads them; default --recipe's own, else 3",
        least=1,
    )
    time_limit: int | None = option(
        None, "seconds after which a trial fails, on Ray also one that hangs; default no limit", least=1
    )
    threads: int | None = option(
        None,
        "torch threads of a trial; default 1 for digits and fashion-mini, else all cores, on Ray --cpus-per-trial",
        least=1,
        most=MOST_THREADS,
    )
    precision: str | None = option(
        None,
        "float32, bf16, or auto: bf16 where a measurement when the search begins finds it faster; on a CPU networks "
        "with grouped convolutions stay in float32; default float32 on a CPU, what was measured on a GPU",
        metavar="float32|bf16|auto",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.precision not in (None, AUTO_PRECISION, "float32", "bf16"):
            raise ConfigError(f"--precision must be float32, bf16 or auto, found '{self.precision}'")
