"""The short trainings of a grid search: one dataset and recipe, every candidate at its own resolution."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from nas.data.splits import DATASETS, Images, ImageSet, Splits, images_named, load_splits
from nas.errors import ConfigError
from nas.graph import Graph, key
from nas.training.published_recipes import check_fit
from nas.training.trainer import train
from nas.workflows.scale.compound import ScaledNetwork
from nas.workflows.scale.settings import GridTrainingConfig

_CHUNK = 4096
"""Images that are scaled at a time."""


class Trainer:
    """Trains members on the training split and measures them on the validation split; the test split stays unread."""

    def __init__(self, config: GridTrainingConfig) -> None:
        self.config = config
        self._base = self._load(config.data.image_size)
        self.task = self._base.task
        self._splits = lru_cache(2)(self._at)

    def _load(self, side: int | None) -> Splits:
        data = self.config.data
        return load_splits(data.name, data.data_dir, train_images=data.train_images, image_size=side, **data.shares())

    def _at(self, side: int) -> Splits:
        # files are read again at the size that is wanted; what is in memory shows the same picture with more pixels
        if DATASETS[self.config.data.name].takes_size and side != self.task.input_shape[1]:
            return self._load(side)
        return enlarged(self._base, side)

    def check(self, members: Iterable[ScaledNetwork]) -> None:
        """Refuse a recipe that images of a member's size cannot be trained with."""
        for side in sorted({member.resolution for member in members}):
            shape = (self.task.input_shape[0], side, side)
            check_fit(self.config.recipe.recipe, "--recipe", self.config.data.name, shape)

    def settings(self, base: Graph) -> str:
        """Return a digest of what makes accuracies comparable: data, recipe, epochs and the network that is scaled."""
        data = self.config.data
        settings = {
            "network": key(base),
            "nodes": len(base.nodes),
            "dataset": images_named(data.name, data.data_dir),
            "shape": list(self.task.input_shape),
            "images": [len(self._base.train), len(self._base.validation)],
            "recipe": self.config.recipe.recipe.fingerprint(),
            "epochs": self.config.epochs,
        }
        return blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=8).hexdigest()

    def __call__(self, member: ScaledNetwork, seed: int) -> tuple[float, float]:
        """Train a member; return its validation accuracy in percent and the seconds of training."""
        recipe = replace(self.config.recipe.recipe, aux_weight=0.0)  # scaled networks have no auxiliary heads
        splits, epochs, threads = self._splits(member.resolution), self.config.epochs, self.config.threads
        found = train(member.graph, splits, recipe, seed, epochs, threads=threads)
        return found.accuracy, found.seconds


def enlarged(splits: Splits, side: int) -> Splits:
    """Return splits whose images are scaled to ``side`` x ``side`` pixels, bilinearly; ones of that size as they are.

    A higher resolution is the same picture with more pixels: the network gets more places, no more detail.
    """
    if splits.train.image_shape[1:] == (side, side):
        return splits

    def scaled(images: Images) -> ImageSet:
        if not isinstance(images, ImageSet):
            raise ConfigError(f"dataset '{splits.name}' is read from files: read it at the size that is wanted")
        return ImageSet(resized(images.images, side), images.labels, images.findings)

    train, validation = scaled(splits.train), scaled(splits.validation)
    return Splits(splits.name, train, validation, lambda: scaled(splits.test), splits.classes, splits.class_names)


def resized(images: npt.NDArray[np.uint8], side: int) -> npt.NDArray[np.uint8]:
    """Return images (N, C, H, W) scaled to ``side`` x ``side`` bilinearly, pixels as areas (not their corners)."""
    rows, columns = (_weights(size, side) for size in images.shape[2:])
    parts = [images[i : i + _CHUNK].astype(np.float32) for i in range(0, len(images), _CHUNK)]
    return np.concatenate([np.rint(rows @ part @ columns.T).astype(np.uint8) for part in parts])


def _weights(size: int, side: int) -> npt.NDArray[np.float32]:
    """Return the matrix (side, size) that interpolates a line of pixels."""
    # the centre of each new pixel in units of the old ones, between the two that it lies between
    places = np.clip((np.arange(side) + 0.5) * size / side - 0.5, 0, size - 1)
    below = np.minimum(places.astype(int), max(size - 2, 0))
    weights = np.zeros((side, size), np.float32)
    weights[np.arange(side), below] += 1 - (places - below)
    weights[np.arange(side), np.minimum(below + 1, size - 1)] += places - below
    return weights
