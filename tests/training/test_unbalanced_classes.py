"""Classes of different sizes: weights and sampling that give each the same share of a training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from nas.data.augment import Mixed, balanced_order
from nas.data.image_set import ImageSet, Splits
from nas.errors import ConfigError
from nas.graph import Conv, Flatten, GlobalAvgPool, GraphBuilder, Linear, Relu
from nas.training.recipe import Recipe
from nas.training.train_step import InMemoryBatches, class_weights, training_loss
from nas.training.trainer import train

LABELS = np.repeat([0, 1, 2], [60, 30, 10])


def test_weights_give_every_class_the_same_share_of_a_mean_of_one() -> None:
    weights = class_weights(LABELS, 3, Recipe(class_weights=True), torch.device("cpu"))
    assert weights is not None
    each = weights.double().numpy()[LABELS]
    assert each.mean() == pytest.approx(1)
    assert [each[c == LABELS].sum() for c in range(3)] == pytest.approx([100 / 3] * 3)
    assert class_weights(LABELS, 3, Recipe(), torch.device("cpu")) is None


def test_the_weighted_loss_is_the_mean_of_weighted_losses() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(20, 3), torch.randint(0, 3, (20,))
    weights, recipe = torch.tensor([0.5, 2.0, 1.0]), Recipe(label_smoothing=0.1)
    by_hand = sum(
        float(weights[y]) * float(F.cross_entropy(x[None], y[None], label_smoothing=0.1))
        for x, y in zip(logits, targets, strict=True)
    )
    assert float(training_loss(logits, targets, recipe, weights)) == pytest.approx(by_hand / 20, rel=1e-5)
    # images that are mixed of themselves are those images
    mixed = Mixed(targets, targets, torch.full((20,), 0.3))
    assert float(training_loss(logits, mixed, recipe, weights)) == pytest.approx(by_hand / 20, rel=1e-5)


@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.integers(0, 2**32))
def test_a_balanced_epoch_shows_every_class_as_often_and_its_images_evenly(sizes: list[int], seed: int) -> None:
    labels = torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes))
    order = balanced_order(labels, torch.Generator().manual_seed(seed))
    assert len(order) == len(labels)
    shown = torch.bincount(labels[order], minlength=len(sizes))
    assert shown.max() - shown.min() <= 1
    times = torch.bincount(order, minlength=len(labels))
    for label in range(len(sizes)):
        own = times[labels == label]
        assert own.max() - own.min() <= 1
    again = balanced_order(labels, torch.Generator().manual_seed(seed))
    assert torch.equal(order, again)


def test_batches_of_a_training_are_balanced() -> None:
    images = ImageSet(np.zeros((100, 1, 4, 4), np.uint8), LABELS.astype(np.int64))
    for balanced, most in ((True, 34), (False, 60)):
        recipe = Recipe(batch_size=10, crop_padding=0, flip=False, balanced_sampling=balanced)
        batches = InMemoryBatches(images, recipe, torch.device("cpu"))
        seen = torch.cat([y for _, y in batches.epoch(torch.Generator().manual_seed(0))])  # type: ignore[misc]
        assert torch.bincount(seen).max() == most


def test_both_at_once_are_refused_and_imbalance_is_told() -> None:
    with pytest.raises(ConfigError, match="class_weights and balanced_sampling both balance classes"):
        Recipe(class_weights=True, balanced_sampling=True)
    images = ImageSet(np.zeros((100, 1, 4, 4), np.uint8), LABELS.astype(np.int64))
    splits = Splits("own", images, images, lambda: images, 3, ("ant", "bee", "cat"))
    assert splits.remarks["balance"].startswith("the classes are not balanced: 60 of ant, 10 of cat among the training")


def test_earlier_recipes_keep_their_identity() -> None:
    assert "class_weights" not in Recipe().identity()
    assert Recipe(class_weights=True).identity()["class_weights"] is True


@pytest.mark.long
def test_weights_and_sampling_raise_the_recall_of_a_rare_class() -> None:
    """Of two classes that overlap, the rare one is hardly ever told without them."""
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], [480, 20]).astype(np.int64)
    levels = np.where(labels == 0, 110, 140) + rng.normal(0, 20, 500)
    pixels = np.clip(levels[:, None, None, None] + rng.normal(0, 5, (500, 1, 8, 8)), 0, 255).astype(np.uint8)
    images = ImageSet(pixels, labels)
    b = GraphBuilder((1, 8, 8))
    x = b(GlobalAvgPool(), b(Relu(), b(Conv(8, 3, padding=1), b.input)))
    graph = b.build(logits=b(Linear(2), b(Flatten(), x)))
    splits, recall = Splits("own", images, images, lambda: images, 2), {}
    for name in ("none", "class_weights", "balanced_sampling"):
        fields = {} if name == "none" else {name: True}
        recipe = Recipe(learning_rate=0.05, batch_size=50, epochs=8, crop_padding=0, flip=False, **fields)  # type: ignore[arg-type]
        counts = train(graph, splits, recipe, 0, threads=1).per_class
        assert counts is not None
        recall[name] = counts.correct[1] / counts.images[1]
    assert recall["none"] < 0.3
    assert recall["class_weights"] > 0.6
    assert recall["balanced_sampling"] > 0.6
