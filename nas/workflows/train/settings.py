"""What a training is asked to do: checked values that its journal begins with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from nas.core.files import real_path
from nas.core.options import MOST_DEPTH, MOST_THREADS, MOST_WORKERS, Config, option
from nas.core.values import Json, Task
from nas.data.config import DEFAULT_DATASET, DataConfig, actual_dataset, default_threads
from nas.engine.config import flag, track_option, tracker_names
from nas.errors import ConfigError
from nas.executors.ray.cluster import require_ray
from nas.runs.trust import relocated
from nas.training.config import NamedRecipe
from nas.training.published_recipes import check_fit
from nas.training.recipe import Recipe

EMA = 0.9999
"""The decay of the average of weights in a transfer (arXiv:1707.07012, appendix A.2, and arXiv:1905.11946)."""
if TYPE_CHECKING:
    from nas.data.splits import Splits

ELSEWHERE = ("data_dir", "workers", "ray_address", "gpus_per_worker", "threads", "plugins", "track")
"""Where workers and files are found: a resumed training may have others."""


@dataclass(frozen=True)
class TrainingSettings(Config):
    """Everything that defines a training; wrong values raise :class:`ConfigError`."""

    target: str = option(MISSING, "a run's best, a file, a genotype or a named network")
    recipe: NamedRecipe = option(
        MISSING,
        "recipe (see: list recipes) or JSON file; its batch is the one of all workers together",
        read=NamedRecipe.from_json,
        write=NamedRecipe.to_json,
    )
    epochs: int = option(MISSING, "epochs; default the recipe's", least=1)
    data: DataConfig = field(default_factory=DataConfig)
    command: str = option("train", "the command that trains: train, transfer or finetune")
    seed: int = option(0, "seed of weights, order and augmentation; default 0", least=0)
    validate: int = option(
        0,
        "hold validation images out and measure them every K epochs, every one where a plateau schedule follows them; "
        "default: train on them",
        least=0,
        metavar="K",
    )
    width: int | None = option(
        None,
        "channels of the first stage of cells, sixteenths of a table of stages, eighths of a channel of 'macro', "
        "128ths of 'handcrafted'",
        least=1,
    )
    depth: int | None = option(None, "normal cells a stage", least=1, most=MOST_DEPTH)
    max_macs: int | None = option(
        None, "solve width and depth (NASNet's N @ F) for at most N MACs, such as 600M", least=1
    )
    threads: int | None = option(
        None, "threads of each worker; default: the machine's cores, shared evenly", least=1, most=MOST_THREADS
    )
    workers: int | None = option(
        None, "data-parallel processes on Ray, each with its share of every batch", least=1, most=MOST_WORKERS
    )
    ray_address: str | None = option(
        None, "existing Ray cluster (auto, HOST:PORT); default: workers on this machine", metavar="HOST:PORT"
    )
    gpus_per_worker: int | None = option(
        None, "GPUs of each worker; default 1 where the cluster has GPUs", least=0, aliases=("gpus_per_trial",)
    )
    plugins: tuple[str, ...] = option(tuple, "Python files with things of the user's own", flag="--plugin")
    track: tuple[str, ...] = track_option()
    start: dict[str, Any] | None = option(
        None,
        "of a fine-tuning: the weights it began with as the user named them, the digest of what was taken of them, the "
        "names of frozen layers, the factor of those weights' learning rate, and the reason",
        read=lambda start: {name: list(v) if isinstance(v, tuple) else v for name, v in start.items()},
        write=dict,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "track", tracker_names(self.track))
        for name in ("ray_address", "gpus_per_worker"):
            if getattr(self, name) is not None and self.workers is None:
                raise ConfigError(f"{flag(name)} goes with --workers")
        batch, workers = self.actual_recipe.batch_size, self.workers or 1
        if batch % workers:
            rule = f"a batch is shared evenly, so its size must be a multiple of {workers}, found {batch}"
            raise ConfigError(f"--workers {workers}: {rule}; set --batch-size")

    @property
    def actual_recipe(self) -> Recipe:
        """The recipe."""
        return self.recipe.recipe

    @property
    def dataset(self) -> str:
        """The dataset's name."""
        return self.data.name

    @cached_property
    def task(self) -> Task:
        """What the network must do; looks for the files of the dataset."""
        return self.data.task()

    @property
    def train_on(self) -> tuple[str, ...]:
        """The splits that are trained on."""
        return ("train",) if self.validate else ("train", "validation")

    @property
    def job(self) -> Json:
        """The settings of :class:`nas.evaluators.train.TrainSettings` that find the images."""
        images, validation = self.data.train_images, None
        if images is not None and not self.validate:
            # both parts are trained on and have the wanted number together
            validation = self.task.classes
            images -= validation
        found = {"data_dir": self.data.data_dir, "image_size": self.data.image_size, "train_images": images}
        found |= {"validation": validation, "threads": self.threads, **self.data.shares()}
        if validation is not None:  # which takes the place of a share
            found["val_share"] = None
        return {"dataset": self.dataset, **{name: value for name, value in found.items() if value is not None}}

    @property
    def splits(self) -> Splits:
        """The images, read once per process."""
        from nas.evaluators.train import TrainSettings

        return TrainSettings.from_json(self.job).splits()

    def check(self) -> None:
        """Refuse a recipe or a number of images that does not fit the data."""
        if self.workers is not None:
            require_ray()
        check_fit(self.actual_recipe, "--recipe", self.dataset, self.task.input_shape)
        least, images = 2 * self.task.classes, self.data.train_images
        if images is not None and images < least:
            raise ConfigError(f"--train-images must be at least {least}, two a class, found {images}")

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
                raise ConfigError(f"a training cannot be resumed with another {flag(name)}")
        if "data_dir" in given:
            given["data_dir"] = real_path(given["data_dir"])
        if "plugins" in given:
            given["plugins"] = relocated(self.plugins, given["plugins"])
        gpus = given.get("gpus_per_worker")
        if isinstance(gpus, float) and gpus == int(gpus):
            given["gpus_per_worker"] = int(gpus)
        kept = {name: value for name, value in self.to_json().items() if name not in given}
        return type(self).from_json({**kept, **{n: v for n, v in given.items() if v is not None}}, "training")


def settings_from(command: str, default_recipe: str | None, options: Mapping[str, Any]) -> TrainingSettings:
    """Return the settings of a command line.

    Its ``options`` may have ``recipe``, ``batch_size`` and ``recipe_changes``, fields of the recipe by name, too.
    """
    given = {name: value for name, value in options.items() if value is not None}

    # where the images are
    given = actual_dataset(given, DEFAULT_DATASET)
    dataset = given["dataset"]
    if "data_dir" in given:
        given["data_dir"] = real_path(given["data_dir"])
    given["plugins"] = tuple(real_path(plugin) for plugin in given.get("plugins", ()))

    # the recipe, with what the command and the images change of it
    own_recipe, wanted, batch = "recipe" in given, given.pop("recipe", default_recipe), given.pop("batch_size", None)
    named = NamedRecipe.of(wanted, "--recipe", dataset)
    if command == "transfer" and not own_recipe:
        named = replace(named, recipe=replace(named.recipe, ema=EMA))
    named = named.changed(given.pop("recipe_changes", {}), batch)
    recipe = named.recipe
    if recipe.test_size and (dataset == "folder" or not own_recipe):
        from nas.data.splits import task_of

        # a recipe for 224 pixels: images that are smaller are tested as they are
        side = min(task_of(dataset, given.get("data_dir"), given.get("image_size")).input_shape[1:])
        recipe = replace(recipe, test_resize=0, test_size=0) if recipe.test_size > side else recipe

    own = 1 if "ray_address" in given else max(1, (os.cpu_count() or 1) // (given.get("workers") or 1))
    given.setdefault("threads", default_threads(dataset, own))
    given.setdefault("epochs", recipe.epochs)
    table = NamedRecipe(named.name, recipe).to_json()
    return TrainingSettings.from_json({**given, "recipe": table, "command": command}, command)
