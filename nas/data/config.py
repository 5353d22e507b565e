"""Which images a run is about."""

from __future__ import annotations

from dataclasses import dataclass

from nas.core.options import MOST_SIDE, Config, option
from nas.core.values import Json, Task
from nas.errors import ConfigError

DEFAULT_DATASET = "fashion-mini"
"""What is trained on where no dataset is named."""
ALIASES = {"imagenet": ("folder", 224)}
"""Names of data as users say them: the dataset and the side of its images."""
DEFAULT_TEST_SHARE = 0.2
"""Of the images of a dataset without a test split."""
SMALL_IMAGES = ("digits", "fashion-mini")
"""Packaged datasets whose images are so small that the threads of a training wait more than they compute."""


def default_threads(dataset: str, other: int) -> int:
    """Return the torch threads of a training on ``dataset`` where none are set: one for small images, else ``other``.

    It is a number for every dataset, and recorded, since results differ in their last bits with it.
    """
    return 1 if dataset in SMALL_IMAGES else other


def actual_dataset(settings: Json, default: str | None = None) -> Json:
    """Return ``settings`` with the dataset that they mean.

    It is the one of an alias, whose ``image_size`` counts where none is set; without a name the one that lies in
    ``data_dir``, else ``default``.
    """
    if settings.get("dataset") is None:
        if settings.get("data_dir") is not None:
            from nas.data.recognize import recognized

            return {**settings, "dataset": recognized(settings["data_dir"])}
        return settings if default is None else {**settings, "dataset": default}
    name, size = ALIASES.get(str(settings["dataset"]), (None, None))
    return settings if name is None else {"image_size": size, **settings, "dataset": name}


@dataclass(frozen=True)
class DataConfig(Config):
    """A dataset, and how much of it is used."""

    dataset: str | None = option(
        None,
        f"dataset (see: list datasets), or the table's; default: the one in --data-dir, else {DEFAULT_DATASET};"
        " imagenet: --data-dir's train and val at 224 pixels",
    )
    data_dir: str | None = option(None, "folder (or file) of the dataset", metavar="DIR")
    image_size: int | None = option(
        None, "side of the images of the dataset 'folder', pixels; default 224", least=1, most=MOST_SIDE
    )
    train_images: int | None = option(None, "train on N images only, for reduced searches; default all", least=1)
    validation_images: int | None = option(None, "validate on N images; default the dataset's own number", least=1)

    val_share: float | None = option(
        None,
        "validate on this share of the training images, 0 to 1; default the dataset's own number",
        least=0,
        most=1,
        metavar="X",
    )
    test_share: float | None = option(
        None,
        f"test on this share of the images of a dataset without a test split, 0 to 1; default {DEFAULT_TEST_SHARE}",
        least=0,
        most=1,
        metavar="X",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.val_share is not None and self.validation_images is not None:
            raise ConfigError("--val-share and --validation-images both say how many images are validated on; name one")

    def shares(self) -> Json:
        """Return those of ``val_share`` and ``test_share`` that are set, by name."""
        found = {"val_share": self.val_share, "test_share": self.test_share}
        return {name: share for name, share in found.items() if share is not None}

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
