"""The built-in evaluators as a study in Python takes them: training, and looking up in a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.api.commands import named_data
from nas.core.values import Json, Value

if TYPE_CHECKING:
    from nas.data.user_data import Data


@dataclass(frozen=True)
class TrainEvaluator:
    """The built-in training: the reward is the validation accuracy in percent. None is the default of each setting."""

    dataset: str | Data | None = None
    """A name, see ``nas list datasets``, or data in Python; None: the one in ``data_dir``, else the default."""
    data_dir: str | Path | None = None
    """Its folder, or its .npz file."""
    recipe: str | Mapping[str, Value] | None = None
    """A recipe's name, a JSON file of its fields, or the fields."""
    epochs: int | None = None
    """Of a trial, the most where a scheduler spreads them."""
    image_size: int | None = None
    """Side in pixels, of the dataset ``folder``."""
    train_images: int | None = None
    validation_images: int | None = None
    val_share: float | None = None
    """Of the training images, to validate on."""
    test_share: float | None = None
    """Of the images of a dataset without a test split, to test on."""
    threads: int | None = None
    """Of torch, for each trial."""
    time_limit: int | None = None
    """Seconds after which a trial fails."""

    def settings(self) -> Json:
        """Return what it sets of a run's configuration."""
        found = named_data({name: value for name, value in vars(self).items() if value is not None})
        return {"evaluator": "train", **found, **({"data_dir": str(self.data_dir)} if self.data_dir else {})}


@dataclass(frozen=True)
class TableEvaluator:
    """Looks rewards up in the table file of a published benchmark, at no cost."""

    path: str | Path
    val: str
    """The column to maximise; ``{epochs}`` in it is replaced by a trial's epochs."""
    test: str | None = None
    """The column to report for the best."""
    metrics: Sequence[str] = ()
    """Columns to record with every trial, such as a latency."""
    scores: Sequence[str] = ()
    """Columns known before evaluation, such as a zero-cost score."""
    dataset: str | None = None
    """Which dataset's values, where the table has several."""
    epochs: int | None = None
    """Of a trial, the most where a scheduler spreads them."""

    def settings(self) -> Json:
        """Return what it sets of a run's configuration."""
        columns = {"val_column": self.val, "test_column": self.test, "dataset": self.dataset, "epochs": self.epochs}
        lists = {"metrics": tuple(self.metrics), "scores": tuple(self.scores)}
        return {"evaluator": "table", "table": str(self.path), **columns, **lists}
