"""The training evaluator: trains a job's network and rewards its validation accuracy. The test split is never read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from nas.errors import ConfigError, EvaluationError, unknown
from nas.evaluators.notes import news, notes_of
from nas.training.data import ImageSet, Splits, load_splits
from nas.training.recipe import Recipe, default_recipe
from nas.training.recipes import named_recipe
from nas.types import Job, Metrics


@dataclass(frozen=True)
class TrainSettings:
    """What a training needs to know besides graph, epochs and seed; :meth:`from_json` reads a job's settings.

    ``recipe`` None: the dataset's own; in JSON an object of its fields, or the name of one of
    :data:`nas.training.recipes.RECIPES`. ``threads`` None: torch's own number. ``validation`` None: the dataset's own
    number of validation images; ``train_images`` None: all others; ``image_size`` None: the dataset's own. ``device``
    None: the GPU where there is one. ``time_limit``: seconds after which a training fails, None: no limit;
    ``deterministic``: only kernels that repeat themselves on a GPU.
    """

    dataset: str
    data_dir: str | None = None
    split_seed: int = 0
    recipe: Recipe | None = None
    threads: int | None = None
    validation: int | None = None
    train_images: int | None = None
    device: str | None = None
    image_size: int | None = None
    time_limit: float | None = None
    deterministic: bool = False

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TrainSettings:
        """Read settings; an unknown name, a missing dataset or a wrong value raises :class:`ConfigError`."""
        known = [f.name for f in fields(cls)]
        for name in data:
            if name not in known:
                raise ConfigError(f"training: {unknown('setting', str(name), known)}")
        if not isinstance(data.get("dataset"), str):
            raise ConfigError(f"training: setting 'dataset' must be a dataset's name, found {data.get('dataset')!r}")
        threads = data.get("threads")
        if threads is not None and (type(threads) is not int or threads < 1):
            raise ConfigError(f"training: setting 'threads' must be a whole number of at least 1, found {threads!r}")
        limit = data.get("time_limit")
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0):
            raise ConfigError(f"training: setting 'time_limit' must be a number of seconds above 0, found {limit!r}")
        if type(data.get("deterministic", False)) is not bool:
            found = data["deterministic"]
            raise ConfigError(f"training: setting 'deterministic' must be true or false, found {found!r}")
        return cls(**{**data, "recipe": _recipe(data.get("recipe"))})

    def splits(self) -> Splits:
        """Return the splits: what :func:`adopt` was given for them, else read once per process."""
        return _adopted.get(self._data) or _splits(*self._data)

    @property
    def _data(self) -> tuple[Any, ...]:
        return self.dataset, self.data_dir, self.split_seed, self.validation, self.train_images, self.image_size

    def actual_recipe(self) -> Recipe:
        """Return the recipe, the dataset's own where none is set."""
        return self.recipe or default_recipe(self.dataset)


def _recipe(data: Any) -> Recipe | None:
    if data is None or isinstance(data, Recipe):
        return data
    return named_recipe(data) if isinstance(data, str) else Recipe.from_json(data)


# two, so that a change of split does not hold every earlier one in memory
@lru_cache(maxsize=2)
def _splits(
    dataset: str, data_dir: str | None, seed: int, validation: int | None, train: int | None, size: int | None
) -> Splits:
    return load_splits(dataset, data_dir, seed, validation, train, size)


_adopted: dict[tuple[Any, ...], Splits] = {}


def shared_images(settings: Mapping[str, Any], test: bool = False) -> dict[str, Any]:
    """Return the images of a job's splits, for workers that need not find the files; of image files, nothing.

    Each of ``train``, ``validation`` and, if asked for, ``test`` is a tuple of images uint8 (N, C, H, W), labels int64
    (N,) and damaged files; ``classes`` is their number.
    """
    splits = TrainSettings.from_json(settings).splits()
    if not isinstance(splits.train, ImageSet):
        return {}
    parts = {"train": splits.train, "validation": splits.validation, **({"test": splits.test} if test else {})}
    arrays = {name: (p.images, p.labels, p.damaged) for name, p in parts.items() if isinstance(p, ImageSet)}
    return {"classes": splits.classes, **arrays}


def adopt(settings: Mapping[str, Any], shared: Mapping[str, Any]) -> None:
    """Let jobs with ``settings`` train on the images of :func:`shared_images` instead of reading them."""
    if not shared:
        return
    chosen = TrainSettings.from_json(settings)
    sets = {name: ImageSet(*arrays) for name, arrays in shared.items() if name != "classes"}

    def read_test() -> ImageSet:
        if "test" not in sets:
            raise ConfigError("the test split stays with the driver until the final comparison")
        return sets["test"]

    _adopted[chosen._data] = Splits(chosen.dataset, sets["train"], sets["validation"], read_test, shared["classes"])


RECORDED = ("val_accuracy", "val_loss", "train_loss", "epochs_trained", "peak_memory")
"""The values of a trained trial beside its reward."""


class TrainEvaluator:
    """Trains ``job.graph`` with the recipe in ``job.settings`` (see :class:`TrainSettings`).

    The reward is the validation accuracy in percent. ``job.epochs`` 0 stands for the recipe's own. The training goes on
    from the checkpoint ``job.continue_from`` where that is there and fits, and leaves its own at ``job.checkpoint``;
    ``epochs_trained`` among the values is the number of epochs that it trained itself, ``peak_memory`` the bytes that
    it held at most, on a GPU. The notes of an evaluation (see
    :func:`nas.evaluators.notes.notes_of`) hold what no earlier one of this evaluator has told.
    """

    def __init__(self) -> None:
        self._told: list[Mapping[str, Any]] = []

    def __call__(self, job: Job) -> Metrics:
        """Return the metrics, on the CPU the same for the same job; raises as ``nas.training.engine.train`` does."""
        if job.graph is None:
            space = f"space '{job.architecture.space}'"
            raise EvaluationError(f"{space} describes no network to train; use an evaluator that reads its decisions")
        from nas.training.engine import train
        from nas.training.memory import peak, reset_peak

        start = time.perf_counter()
        settings = TrainSettings.from_json(job.settings)
        splits, recipe = settings.splits(), settings.actual_recipe()
        reset_peak()
        result = train(
            job.graph,
            splits,
            recipe,
            job.seed,
            job.epochs or None,
            device=settings.device,
            threads=settings.threads,
            checkpoint=job.checkpoint,
            resume=job.continue_from,
            time_limit=settings.time_limit,
            deterministic=settings.deterministic,
        )
        values = {
            "val_accuracy": result.accuracy,
            "val_loss": result.loss,
            "train_loss": result.train_loss,
            "epochs_trained": float(result.epochs_trained),
            **peak(),
        }
        notes = news(notes_of(result, splits.damaged, job.graph, recipe), self._told)
        if notes:
            self._told.append(notes)
        return Metrics(result.accuracy, values, time.perf_counter() - start, notes=notes)
