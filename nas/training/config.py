"""How networks are trained, as a configuration says it: the recipe is read once, at the door."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from nas.core.options import MOST_THREADS, Config, option
from nas.core.values import Json
from nas.errors import ConfigError
from nas.training.published_recipes import recipe_of, recipe_table
from nas.training.recipe import OLD_NAMES, Recipe, current_names

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

    def changed(self, changes: Mapping[str, Any], batch_size: int | None = None) -> Self:
        """Return the recipe with other fields, and with another batch, whose learning rate follows in proportion.

        A learning rate among the ``changes`` is taken as it is. What is wrong raises
        :class:`nas.errors.ConfigError` that names the flag.
        """
        recipe = self.recipe
        if batch_size is not None:
            if type(batch_size) is not int or batch_size < 1:
                raise ConfigError(f"--batch-size must be an integer of at least 1, found {batch_size!r}")
            if "batch_size" in changes:
                raise ConfigError("--batch-size and --set batch_size both set the batch; name one")
            recipe = recipe.for_batch(batch_size)
        if not changes:
            return type(self)(self.name, recipe)
        if "epochs" in changes:
            raise ConfigError("--set epochs: the epochs of a training have a flag of their own, --epochs")
        given = current_names({name: _field_value(name, value) for name, value in changes.items()})
        try:
            recipe = Recipe.from_json({**recipe.to_json(), **given})
        except ConfigError as error:
            raise ConfigError(f"--set: {error}") from None
        told = " ".join(f"{name}={value}" for name, value in changes.items())
        return type(self)(f"{self.name} with {told}", recipe)

    def to_json(self) -> Json:
        """Return the name and every field that is set, as a table."""
        return {"name": self.name, **{field: v for field, v in self.recipe.to_json().items() if v is not None}}


def _field_value(name: str, value: Any) -> Any:
    """Return the value of a field as the command line has it: lists have commas, and ``none`` is nothing."""
    field = Recipe.__dataclass_fields__.get(OLD_NAMES.get(name, name))
    if field is None or not isinstance(value, str):
        listed = field is not None and str(field.type).startswith("tuple") and isinstance(value, int | float)
        return [value] if listed else value
    if value == "none" and "None" in str(field.type):
        return None
    if str(field.type).startswith("tuple"):
        try:
            return [float(part) for part in value.split(",")]
        except ValueError:
            raise ConfigError(f"--set {name} must be numbers with commas between them, found '{value}'") from None
    return value


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
