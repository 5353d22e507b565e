"""Which images a run is about."""

from __future__ import annotations

from dataclasses import dataclass

from nas.core.options import MOST_SIDE, Config, option
from nas.core.values import Json, Task

DEFAULT_DATASET = "fashion-mini"
"""What is trained on where no dataset is named."""
ALIASES = {"imagenet": ("folder", 224)}
"""Names of data as users say them: the dataset and the side of its images."""
SMALL_IMAGES = ("digits", "fashion-mini")
"""Packaged datasets whose images are so small that the threads of a training wait more than they compute."""


def default_threads(dataset: str, other: int) -> int:
    """Return the torch threads of a training on ``dataset`` where none are set: one for small images, else ``other``.

    It is a number for every dataset, and recorded, since results differ in their last bits with it.
    """
    return 1 if dataset in SMALL_IMAGES else other


def actual_dataset(settings: Json) -> Json:
    """Return ``settings`` with the dataset that an alias in ``dataset`` means, and its ``image_size`` where none is."""
    name, size = ALIASES.get(str(settings.get("dataset")), (None, None))
    return settings if name is None else {"image_size": size, **settings, "dataset": name}


@dataclass(frozen=True)
class DataConfig(Config):
    """A dataset, and how much of it is used."""

    dataset: str | None = option(
        None,
        f"dataset (see: list datasets), or the table's; default {DEFAULT_DATASET}; imagenet: --data-dir's train and val"
        " at 224 pixels",
    )
    data_dir: str | None = option(None, "folder (or .npz file) of the dataset", metavar="DIR")
    image_size: int | None = option(
        None, "side of the images of the dataset 'folder', pixels; default 224", least=1, most=MOST_SIDE
    )
    train_images: int | None = option(None, "train on N images only, for reduced searches; default all", least=1)
    validation_images: int | None = option(None, "validate on N images; default the dataset's own number", least=1)

    @property
    def name(self) -> str:
        """The dataset's name, the default where none is set."""
        return self.dataset or DEFAULT_DATASET

    def task(self) -> Task:
        """Return what networks for these images must do; looks for the files of the dataset."""
        from nas.data.splits import task_of

        return task_of(self.name, self.data_dir, self.image_size)

    def class_names(self) -> tuple[str, ...]:
        """Return the names of the classes by label, none where the dataset has none; looks for its files."""
        from nas.data.splits import class_names_of

        return class_names_of(self.name, self.data_dir, self.image_size)
