"""What ``--recipe`` stands for: a named recipe, a JSON file, or the table of fields that a configuration holds.

A file or a table holds fields of :class:`nas.training.recipe.Recipe`; ``base``, the name of a recipe, gives those that
it does not name. A table may carry a ``name`` for the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.errors import ConfigError
from nas.files import read_json
from nas.starts import is_path
from nas.training.recipe import Recipe, default_recipe
from nas.training.recipes import RECIPES, named_recipe
from nas.types import Shape

DEFAULT = "default"
MOST_ENLARGED = 2
"""A network is tested on images of at most so many times the side of those that it was trained on."""


def recipe_table(value: str | Mapping[str, Any] | None, option: str, dataset: str) -> dict[str, Any]:
    """Return the recipe that ``value`` stands for as a table of its ``name`` and every field that is set.

    None is the default of ``dataset``. What is wrong raises :class:`ConfigError` that begins with ``option``.
    """
    try:
        name, recipe = _read(value, dataset)
    except ConfigError as error:
        raise ConfigError(f"{option}{f' {value}' if isinstance(value, str) else ''}: {error}") from None
    return {"name": name, **{field: v for field, v in recipe.to_json().items() if v is not None}}


def recipe_of(table: str | Mapping[str, Any] | None, dataset: str) -> Recipe:
    """Return the recipe of a table that :func:`recipe_table` made; None is the default of ``dataset``."""
    return _read(table, dataset)[1]


def check_fit(recipe: Recipe, option: str, dataset: str, shape: Shape) -> None:
    """Refuse a recipe that images of ``shape`` (C, H, W) cannot be trained or tested with."""
    side = min(shape[1:])
    try:
        recipe.augmentation.check(shape)
        if recipe.cutout > side:
            raise ConfigError(f"a cutout of {recipe.cutout} would blot out images of {shape[1]} x {shape[2]}")
        if recipe.test_size > (side if not recipe.test_resize else MOST_ENLARGED * side):
            raise ConfigError(
                f"test_size {recipe.test_size} is too large for images of {shape[1]} x {shape[2]}; set test_resize and "
                f"test_size to 0 in a recipe file"
            )
    except ConfigError as error:
        raise ConfigError(f"{option} does not fit dataset '{dataset}': {error}") from None


def _read(value: str | Mapping[str, Any] | None, dataset: str) -> tuple[str, Recipe]:
    if value is None:
        return DEFAULT, default_recipe(dataset)
    if not isinstance(value, str):
        return str(value.get("name", "of the configuration")), _from_fields(value)
    if is_path(value) or (value not in RECIPES and Path(value).is_file()):
        return Path(value).name, _from_fields(read_json(Path(value)))
    return value, named_recipe(value)


def _from_fields(data: Any) -> Recipe:
    if not isinstance(data, Mapping):
        return Recipe.from_json(data)
    own = {field: value for field, value in data.items() if field not in ("name", "base")}
    base = data.get("base")
    if base is None:
        return Recipe.from_json(own)
    if not isinstance(base, str):
        raise ConfigError(f"recipe: base must be the name of a recipe, found {base!r}")
    return Recipe.from_json({**named_recipe(base).to_json(), **own})
