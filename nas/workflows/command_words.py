"""The command lines that would do a comparison or a training again, for their reports."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence

from nas.core.values import Json
from nas.engine.config import flag
from nas.executors.config import INLINE
from nas.training.published_recipes import DEFAULT, RECIPES, recipe_of, recipe_table
from nas.workflows.train.settings import TrainingSettings


def recipe_file(table: Mapping[str, object], dataset: str) -> tuple[str | None, str]:
    """Return the name and the text of the file that must hold a recipe's ``table``; None where its name is enough.

    It is as long as the recipe of that name has still the same numbers.
    """
    name = str(table["name"])
    if name in RECIPES or name == DEFAULT:
        known = recipe_table(None if name == DEFAULT else name, "--recipe", dataset)
        if recipe_of(known, dataset) == recipe_of(table, dataset):
            return None, ""
    text = json.dumps({field: value for field, value in table.items() if field != "name"}, indent=1)
    return name if name.endswith(".json") else f"{name}.json", text


def comparison_command(settings: Json) -> list[str]:
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
    words = ["nas", settings.command, settings.target, *_recipe_words(settings.recipe.to_json(), settings.dataset)]
    own = ("target", "recipe", "command", "start", "validate" if not settings.validate else "")
    words += [word for name, value in settings.to_json().items() if name not in own for word in _words(name, value)]
    if settings.start is not None:
        words += ["--weights", settings.start["weights"], "--lr-factor", f"{settings.start['factor']:g}"]
    return _parts(words)


def _parts(words: Sequence[str]) -> list[str]:
    # a page breaks its lines between flags, never between a flag and its value
    parts: list[list[str]] = [[]]
    for word in [*words, "--name", "NEW_NAME"]:
        parts += [[]] if word.startswith("--") else []
        parts[-1].append(word)
    return [shlex.join(part) for part in parts]


def _recipe_words(table: Mapping[str, object], dataset: str) -> list[str]:
    name, _ = recipe_file(table, dataset)
    if name is not None:
        return ["--recipe", f"./{name}"]
    return [] if table["name"] == DEFAULT else ["--recipe", str(table["name"])]


def _words(name: str, value: object) -> Iterator[str]:
    """Yield a setting as words of a command line; what is off is left out."""
    if value is True:
        yield flag(name)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from (flag(name), str(item))
    elif value is not None and value is not False:
        yield from (flag(name), str(value))
