"""The command that would do again what a comparison or a training did, for their reports."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nas.after.training_settings import TrainingSettings
from nas.placing import INLINE
from nas.recipe_choice import DEFAULT, recipe_of, recipe_table
from nas.run.config import flag
from nas.training.recipes import RECIPES

Table = Mapping[str, Any]


def recipe_file(table: Table, dataset: str) -> str | None:
    """Return the name of the file that must hold a recipe's ``table``; None where its name alone stands for it.

    A name does so as long as the recipe of that name has still the same numbers.
    """
    name = str(table["name"])
    if name in RECIPES or name == DEFAULT:
        known = recipe_table(None if name == DEFAULT else name, "--recipe", dataset)
        if recipe_of(known, dataset) == recipe_of(table, dataset):
            return None
    return name if name.endswith(".json") else f"{name}.json"


def recipe_text(table: Table) -> str:
    """Return the file that holds a recipe."""
    return json.dumps({name: value for name, value in table.items() if name != "name"}, indent=1)


def comparison_command(settings: Table) -> list[str]:
    """Return the command line of a comparison from its ``settings`` as ``compare.json`` has them.

    Each part is a flag with its value, ready for a shell.
    """
    words = ["nas", "compare", *settings["candidates"]]
    for recipe in settings["recipes"]:
        words += _recipe_words(recipe, settings["dataset"])
    own = ("candidates", "recipes", "executor" if settings.get("executor") == INLINE else "")
    words += [word for name, value in settings.items() if name not in own for word in _words(name, value)]
    return _parts(words)


def training_command(settings: TrainingSettings) -> list[str]:
    """Return the command line of a training in parts; that of a fine-tuning lacks how frozen layers were chosen."""
    words = ["nas", settings.command, settings.target, *_recipe_words(settings.recipe, settings.dataset)]
    own = ("target", "recipe", "command", "start", "validate" if not settings.validate else "")
    words += [word for name, value in settings.to_json().items() if name not in own for word in _words(name, value)]
    if settings.start is not None:
        words += ["--weights", settings.start["weights"], "--lr-factor", f"{settings.start['factor']:g}"]
    return _parts(words)


def _parts(words: Sequence[str]) -> list[str]:
    parts: list[list[str]] = [[]]
    for word in [*words, "--name", "NEW_NAME"]:
        parts += [[]] if word.startswith("--") else []
        parts[-1].append(word)
    return [shlex.join(part) for part in parts]


def _recipe_words(table: Table, dataset: str) -> list[str]:
    name = recipe_file(table, dataset)
    if name is not None:
        return ["--recipe", f"./{name}"]
    return [] if table["name"] == DEFAULT else ["--recipe", str(table["name"])]


def _words(name: str, value: Any) -> Iterator[str]:
    """Yield a setting as words of a command line; what is off is left out."""
    if value is True:
        yield flag(name)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from (flag(name), str(item))
    elif value is not None and value is not False:
        yield from (flag(name), str(value))
