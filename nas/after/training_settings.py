"""What a training is asked to do: checked values that its journal begins with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, unknown
from nas.recipe_choice import check_fit, recipe_of, recipe_table
from nas.training.data import task_of
from nas.training.recipe import Recipe
from nas.types import Task

ALIASES = {"imagenet": ("folder", 224)}
"""Names of data as users say them: the dataset and the side of its images."""
EMA = 0.9999
"""The decay of the average of weights in a transfer (arXiv:1707.07012, appendix A.2, and arXiv:1905.11946)."""
ELSEWHERE = ("data_dir", "workers", "ray_address", "gpus_per_worker", "threads")
"""Where workers and files are found: a resumed training may have others."""


@dataclass(frozen=True)
class TrainingSettings:
    """Everything that defines a training; wrong values raise :class:`ConfigError`.

    ``target`` is what the user named. ``recipe`` is a table of :func:`nas.recipe_choice.recipe_table`, whose batch is
    the one of all workers together. ``train_images`` None: all. ``validate`` K > 0 holds validation images out and
    measures them every K epochs; with 0 they are trained on. ``workers`` None: this process trains; else so many
    processes on Ray, each with ``threads`` CPUs and ``gpus_per_worker`` GPUs (None: one where there are any).
    ``start``, of a fine-tuning: the ``weights`` it began with as the user named them, the ``digest`` of what was taken
    of them, the names of ``frozen`` layers, the ``factor`` of those weights' learning rate, and the ``reason``.
    """

    target: str
    dataset: str
    recipe: Mapping[str, Any]
    epochs: int
    command: str = "train"
    data_dir: str | None = None
    image_size: int | None = None
    seed: int = 0
    train_images: int | None = None
    validate: int = 0
    width: int | None = None
    depth: int | None = None
    max_macs: int | None = None
    threads: int | None = None
    workers: int | None = None
    ray_address: str | None = None
    gpus_per_worker: int | None = None
    plugins: tuple[str, ...] = ()
    start: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "plugins", tuple(self.plugins))
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < least):
                raise ConfigError(f"{_flag(name)} must be a whole number of at least {least}, found {value!r}")
        for name in ("ray_address", "gpus_per_worker"):
            if getattr(self, name) is not None and self.workers is None:
                raise ConfigError(f"{_flag(name)} goes with --workers")
        batch, workers = self.actual_recipe.batch_size, self.workers or 1
        if batch % workers:
            raise ConfigError(
                f"--workers {workers}: a batch is shared evenly, so its size must be a multiple of {workers}, found "
                f"{batch}; set --batch-size"
            )

    @cached_property
    def actual_recipe(self) -> Recipe:
        """The recipe."""
        return recipe_of(self.recipe, self.dataset)

    @cached_property
    def task(self) -> Task:
        """What the network must do; looks for the files of the dataset."""
        return task_of(self.dataset, self.data_dir, self.image_size)

    @property
    def train_on(self) -> tuple[str, ...]:
        """The splits that are trained on."""
        return ("train",) if self.validate else ("train", "validation")

    @property
    def job(self) -> dict[str, Any]:
        """The settings of :class:`nas.evaluators.train.TrainSettings` that find the images."""
        images, validation = self.train_images, None
        if images is not None and not self.validate:
            # both parts are trained on and have the wanted number together
            validation = self.task.classes
            images -= validation
        found = {"data_dir": self.data_dir, "image_size": self.image_size, "train_images": images}
        found |= {"validation": validation, "threads": self.threads}
        return {"dataset": self.dataset, **{name: value for name, value in found.items() if value is not None}}

    def check(self) -> None:
        """Refuse a recipe or a number of images that does not fit the data."""
        check_fit(self.actual_recipe, "--recipe", self.dataset, self.task.input_shape)
        least = 2 * self.task.classes
        if self.train_images is not None and self.train_images < least:
            raise ConfigError(f"--train-images must be at least {least}, two a class, found {self.train_images}")

    def elsewhere(self, changes: Mapping[str, Any]) -> TrainingSettings:
        """Return the settings with other places of workers and files, as ``nas resume`` names them."""
        named = {"gpus_per_trial": "gpus_per_worker", "cpus_per_trial": "threads"}
        given = {named.get(name, name): value for name, value in changes.items()}
        if (executor := given.pop("executor", None)) == "inline":
            given |= {"workers": None, "ray_address": None, "gpus_per_worker": None}
        elif executor == "ray":
            given.setdefault("workers", self.workers or 1)
        for name in given:
            if name not in ELSEWHERE:
                raise ConfigError(f"a training cannot be resumed with another {_flag(name)}")
        if "data_dir" in given:
            given["data_dir"] = str(Path(given["data_dir"]).resolve())
        gpus = given.get("gpus_per_worker")
        if isinstance(gpus, float) and gpus == int(gpus):
            given["gpus_per_worker"] = int(gpus)
        return replace(self, **given)

    def to_json(self) -> dict[str, Any]:
        """Return the settings that are set as JSON data."""
        data = {name: value for name, value in asdict(self).items() if value is not None}
        return {**data, "plugins": list(self.plugins)}

    @classmethod
    def from_json(cls, data: Any) -> TrainingSettings:
        """Read settings; an unknown one raises :class:`ConfigError`."""
        known = [f.name for f in fields(cls)]
        for name in data:
            if name not in known:
                raise ConfigError(f"training: {unknown('setting', str(name), known)}")
        return cls(**data)


_LEAST = {
    "epochs": 1,
    "image_size": 1,
    "seed": 0,
    "train_images": 1,
    "validate": 0,
    "width": 1,
    "depth": 1,
    "max_macs": 1,
    "threads": 1,
    "workers": 1,
    "gpus_per_worker": 0,
}


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _threads(dataset: str, workers: int | None, on_cluster: bool) -> int:
    """Return a number, since results differ in their last bits with it; on 8x8 images threads mostly wait."""
    return 1 if dataset == "digits" or on_cluster else max(1, (os.cpu_count() or 1) // (workers or 1))


def settings_from(command: str, default_recipe: str | None, options: Mapping[str, Any]) -> TrainingSettings:
    """Return the settings of a command line, whose ``options`` may have ``recipe`` and ``batch_size`` too."""
    given = {name: value for name, value in options.items() if value is not None}
    dataset, size = ALIASES.get(given.get("dataset", "digits"), (given.get("dataset", "digits"), None))
    given["dataset"] = dataset
    if size is not None:
        given.setdefault("image_size", size)
    if "data_dir" in given:
        given["data_dir"] = str(Path(given["data_dir"]).expanduser().resolve())
    given["plugins"] = tuple(str(Path(plugin).resolve()) for plugin in given.get("plugins", ()))
    given_names = set(given)
    wanted, batch = given.pop("recipe", default_recipe), given.pop("batch_size", None)
    table = recipe_table(wanted, "--recipe", dataset)
    recipe = recipe_of(table, dataset)
    if command == "transfer" and "recipe" not in given_names:
        recipe = replace(recipe, ema=EMA)
    if batch is not None:
        if type(batch) is not int or batch < 1:
            raise ConfigError(f"--batch-size must be a whole number of at least 1, found {batch!r}")
        recipe = recipe.for_batch(batch)
    if recipe.test_size and (dataset == "folder" or "recipe" not in given_names):
        # a recipe for 224 pixels: images that are smaller are tested as they are
        side = min(task_of(dataset, given.get("data_dir"), given.get("image_size")).input_shape[1:])
        recipe = replace(recipe, test_resize=0, test_size=0) if recipe.test_size > side else recipe
    given.setdefault("epochs", recipe.epochs)
    given.setdefault("threads", _threads(dataset, given.get("workers"), "ray_address" in given))
    fields_ = {name: value for name, value in recipe.to_json().items() if value is not None}
    return TrainingSettings(**{**given, "recipe": {"name": table["name"], **fields_}, "command": command})
