"""The training evaluator: trains a job's network and rewards its validation accuracy. The test split is never read."""

from __future__ import annotations

import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING

from nas.core.activity import doing
from nas.core.text import count
from nas.core.values import Json
from nas.data.splits import ImageSet, ImageStream, Splits, load_splits
from nas.data.streaming import INSIDE
from nas.errors import TOO_SLOW, ConfigError, EvaluationError, unknown
from nas.graph import Graph
from nas.training.published_recipes import named_recipe
from nas.training.recipe import Recipe, default_recipe
from nas.types import Job, Metrics

if TYPE_CHECKING:
    from nas.training.trainer import TrainResult

RECORDED = ("val_accuracy", "val_loss", "train_loss", "epochs_trained", "peak_memory")
"""The values of a trained trial beside its reward."""
SHOWN = 10
"""How many damaged files are named."""
MOST_POINTS = 200
"""Epochs of a learning curve that are noted, at most."""


@dataclass(frozen=True)
class TrainSettings:
    """What a training needs to know besides graph, epochs and seed; :meth:`from_json` reads a job's settings.

    Attributes:
        dataset: its name
        data_dir: where its files are
        split_seed: of the random part that is the validation split
        recipe: None: the dataset's own; in JSON its fields or its name in :mod:`nas.training.published_recipes`
        threads: None: torch's own number
        validation: number of validation images, None: the dataset's own
        train_images: number of training images, None: all others
        device: None: the GPU where there is one
        image_size: side in pixels, None: the dataset's own
        val_share: of the training images to validate on, None: the dataset's own number
        test_share: of the images of a dataset without a test split to test on, None: the usual share
        time_limit: seconds after which a training fails, None: no limit
        deterministic: only kernels that repeat themselves on a GPU
        precision: one of :data:`nas.training.device.PRECISIONS`, None: the device's own
        max_trial_seconds: predicted ones of a training for ``full_epochs``, over which it is not begun; None: no limit
        full_epochs: of a trial that its scheduler, if any, gives all epochs; None: those of the job
        finalist_epochs: of trainings of networks that were allowed before, which are not predicted; None: of none
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
    val_share: float | None = None
    test_share: float | None = None
    time_limit: float | None = None
    deterministic: bool = False
    precision: str | None = None
    max_trial_seconds: float | None = None
    full_epochs: int | None = None
    finalist_epochs: int | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> TrainSettings:
        """Read settings; an unknown name, a missing dataset or a wrong value raises :class:`ConfigError`."""
        known = [f.name for f in fields(cls)]
        for name in data:
            if name not in known:
                raise ConfigError(f"training: {unknown('setting', str(name), known)}")
        if not isinstance(data.get("dataset"), str):
            raise ConfigError(f"training: setting 'dataset' must be a dataset's name, found {data.get('dataset')!r}")
        threads = data.get("threads")
        if threads is not None and (type(threads) is not int or threads < 1):
            raise ConfigError(f"training: setting 'threads' must be an integer of at least 1, found {threads!r}")
        # bool is an int in Python, and no number of seconds
        for name in ("time_limit", "max_trial_seconds"):
            limit = data.get(name)
            if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or not limit > 0):
                raise ConfigError(f"training: setting '{name}' must be a number of seconds above 0, found {limit!r}")
        if type(found := data.get("deterministic", False)) is not bool:
            raise ConfigError(f"training: setting 'deterministic' must be true or false, found {found!r}")
        recipe = data.get("recipe")
        if recipe is not None and not isinstance(recipe, Recipe):
            recipe = named_recipe(recipe) if isinstance(recipe, str) else Recipe.from_json(recipe)
        values: Json = {**data, "recipe": recipe}
        return cls(**values)

    @property
    def images(self) -> TrainSettings:
        """What of the settings tells the splits: jobs for which this is equal have the same images."""
        return TrainSettings(
            dataset=self.dataset,
            data_dir=self.data_dir,
            split_seed=self.split_seed,
            validation=self.validation,
            train_images=self.train_images,
            image_size=self.image_size,
            val_share=self.val_share,
            test_share=self.test_share,
        )

    def splits(self) -> Splits:
        """Return the splits, read once per process."""
        return _splits(self.images)

    def actual_recipe(self) -> Recipe:
        """Return the recipe, the dataset's own where none is set."""
        return self.recipe or default_recipe(self.dataset)


# two, so that a change of split does not hold every earlier one in memory
@lru_cache(maxsize=2)
def _splits(s: TrainSettings) -> Splits:
    with doing(f"reading the images of dataset '{s.dataset}'"):
        return load_splits(
            s.dataset, s.data_dir, s.split_seed, s.validation, s.train_images, s.image_size, s.val_share, s.test_share
        )


def shared_images(settings: TrainSettings, test: bool = False) -> Json:
    """Return the images of a job's splits, for workers that need not find the files; of image files, a digest of names.

    ``train``, ``validation`` and ``test``, if asked for, are images uint8 (N, C, H, W), labels int64 (N,) and
    findings; ``classes`` is a number, ``class_names`` are texts.
    """
    splits = settings.splits()
    # image files stay where they are: every worker reads those that it needs, and they must be the same
    if not isinstance(splits.train, ImageSet):
        return {"files": _listing(splits)}
    parts = {"train": splits.train, "validation": splits.validation, **({"test": splits.test} if test else {})}
    arrays = {name: (p.images, p.labels, p.findings) for name, p in parts.items() if isinstance(p, ImageSet)}
    return {"classes": splits.classes, "class_names": splits.class_names, **arrays}


def _listing(splits: Splits) -> str:
    """Return a digest of the names and labels of the image files that are trained on."""
    digest = blake2b(digest_size=16)
    for part in (splits.train, splits.validation):
        if isinstance(part, ImageStream):
            names = part.files.tobytes()
            if part.spans is not None:  # the archive may be a file of this machine's cache
                names = b"\0".join(bytes(name).partition(INSIDE)[2] for name in part.files)
            digest.update(names + part.labels.tobytes())
    return digest.hexdigest()


class DatasetCache:
    """The splits that a worker was given, so that it need not find the files; others are read where they are."""

    def __init__(self) -> None:
        self._given: dict[TrainSettings, Splits] = {}

    def give(self, settings: TrainSettings, shared: Json) -> None:
        """Let jobs with ``settings`` train on ``shared``, the images of :func:`shared_images`; nothing of none.

        Image files that are found here and are not those of the driver raise :class:`ConfigError`.
        """
        if "files" in shared and _listing(settings.splits()) != shared["files"]:
            where = f"dataset '{settings.dataset}' in '{settings.data_dir}' on {platform.node()}"
            raise ConfigError(f"{where} has not the files of the driver's machine; copy them there")
        if not shared or "files" in shared:
            return
        about = shared["classes"], shared["class_names"]
        sets = {name: ImageSet(*shared[name]) for name in ("train", "validation", "test") if name in shared}

        def read_test() -> ImageSet:
            if "test" not in sets:
                raise ConfigError("the test split stays with the driver until the final comparison")
            return sets["test"]

        splits = Splits(settings.dataset, sets["train"], sets["validation"], read_test, *about)
        self._given[settings.images] = splits

    def splits(self, settings: TrainSettings) -> Splits:
        """Return the splits that were given for jobs with ``settings``, else those that are read once per process."""
        return self._given.get(settings.images) or settings.splits()


class TrainEvaluator:
    """Trains ``job.graph`` with the recipe in ``job.settings`` (see :class:`TrainSettings`).

    The reward is the validation accuracy in percent, the seconds are those of the training alone. ``job.epochs`` 0: the
    recipe's own. The training goes on from the checkpoint ``job.continue_from`` where that is there and fits, and
    leaves its own at ``job.checkpoint``;
    ``epochs_trained`` among the values is the number of epochs that it trained itself, ``peak_memory`` the bytes that
    it held at most, on a GPU, and ``validations`` the measurements that a plateau schedule took beside the last. The
    notes of an evaluation (see :func:`notes_of`) hold what no earlier one of this evaluator held. ``datasets`` holds
    images that this worker was given.
    """

    def __init__(self, datasets: DatasetCache | None = None) -> None:
        self.datasets = datasets or DatasetCache()
        self._reported: list[Json] = []

    def __call__(self, job: Job) -> Metrics:
        """Return the metrics, on the CPU the same for the same job; raises as ``nas.training.trainer.train`` does."""
        if job.graph is None:
            space = f"space '{job.architecture.space}'"
            raise EvaluationError(f"{space} describes no network to train; use an evaluator that reads its decisions")
        # torch is imported when the first network is trained
        from nas.training.device import peak_memory, reset_peak_memory
        from nas.training.trainer import train

        settings = TrainSettings.from_json(job.settings)
        splits, recipe = self.datasets.splits(settings), settings.actual_recipe()
        # once a network: a longer training of it continues one that was allowed, or is a finalist's
        predicted = None
        allowed = job.continue_from is not None or job.epochs == settings.finalist_epochs
        if settings.max_trial_seconds is not None and not allowed:
            predicted = within_seconds(job.graph, splits, settings, job.epochs or recipe.epochs)
        reset_peak_memory()
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
            precision=settings.precision,
        )
        values = {
            "val_accuracy": result.accuracy,
            "val_loss": result.loss,
            "train_loss": result.train_loss,
            "epochs_trained": float(result.epochs_trained),
        }
        if result.errors:
            values["validations"] = float(result.epochs_trained)
        if (peak := peak_memory()) is not None:
            values["peak_memory"] = float(peak)
        # a journal need not repeat the notes of an earlier trial
        notes = new_notes(notes_of(result, splits, job.graph, recipe), self._reported)
        if notes:
            self._reported.append(notes)
        if predicted is not None:
            notes["predicted_seconds"] = predicted
        return Metrics(result.accuracy, values, result.seconds, notes=notes)


def within_seconds(graph: Graph, splits: Splits, settings: TrainSettings, epochs: int) -> float:
    """Return the seconds that a training is predicted to take, of ``epochs`` or of all that the search may give it.

    Over the limit it raises :class:`EvaluationError` of kind ``too_slow``.
    """
    from nas.training.trainer import epoch_seconds

    most, epochs = settings.max_trial_seconds or math.inf, max(epochs, settings.full_epochs or 0)
    seconds = epochs * epoch_seconds(
        graph,
        splits,
        settings.actual_recipe(),
        device=settings.device,
        threads=settings.threads,
        precision=settings.precision,
        limit=most / epochs,
    )
    if seconds > most:
        what = f"training for {count(epochs, 'epoch')} would take about {seconds:.3g} s"
        raise EvaluationError(f"{what}, over the limit of {most:g} s", TOO_SLOW)
    return float(f"{seconds:.3g}")


def notes_of(result: TrainResult, splits: Splits, graph: Graph, recipe: Recipe) -> Json:
    """Return the notes of a training as JSON: ``trained_on``, ``images``, and where there are any those of the data.

    ``trained_on`` holds the device and the backend's options that were on, ``images`` are the
    :attr:`nas.data.image_set.Splits.counts`, ``plateau_of`` is what a plateau schedule
    followed; see :func:`data_notes`; ``not_applied`` is what the recipe asks for and the network has no place for.
    """
    on = [name for name, value in result.backend.to_json().items() if value]
    notes: Json = {"trained_on": {"device": result.device, "switches": on}, "images": splits.counts}
    notes |= data_notes(splits)
    if recipe.schedule == "plateau":
        notes["plateau_of"] = plateau_of(result.errors)
    missing = not_applied(recipe, graph)
    return {**notes, "not_applied": missing} if missing else notes


def data_notes(splits: Splits) -> Json:
    """Return what a report tells of the images read so far: ``damaged`` files and ``remarks``, where there are any.

    ``damaged`` holds the count and ten files, ``remarks`` are sentences by their topics.
    """
    damaged, remarks = splits.damaged, splits.remarks
    notes: Json = {"damaged": {"count": len(damaged), "first": sorted(damaged)[:SHOWN]}} if damaged else {}
    return {**notes, "remarks": remarks} if remarks else notes


def curve_of(history: Sequence[float]) -> list[list[float]]:
    """Return (epoch, mean training loss) of up to :data:`MOST_POINTS` epochs, evenly spread, the first and the last."""
    points = min(len(history), MOST_POINTS)
    places = [round(i * (len(history) - 1) / max(1, points - 1)) for i in range(points)]
    return [[place + 1, float(f"{history[place]:.6g}")] for place in places]


def plateau_of(errors: Sequence[float]) -> str:
    """Return what a plateau schedule followed that measured the validation ``errors``, or none."""
    return "validation error" if errors else "training loss"


def not_applied(recipe: Recipe, graph: Graph) -> list[str]:
    """Return the fields of ``recipe`` that ``graph`` has no place for: a head, dropped paths or dropout."""
    kinds = {node.op.kind for node in graph.nodes}
    fields_ = (
        ("aux_weight", recipe.aux_weight, any(name.startswith("aux") for name, _ in graph.outputs)),
        ("drop_path", recipe.drop_path, "drop_path" in kinds),
        ("dropout", recipe.dropout, "dropout" in kinds),
    )
    return [name for name, rate, applies in fields_ if rate and not applies]


def new_notes(notes: Mapping[str, object], earlier: Iterable[Mapping[str, object]]) -> Json:
    """Return those of ``notes`` that none of ``earlier`` holds already, so that a journal does not repeat them."""
    earlier = list(earlier)
    return {name: value for name, value in notes.items() if all(other.get(name) != value for other in earlier)}
