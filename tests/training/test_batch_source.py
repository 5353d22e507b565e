"""Where batches come from: images on the device and folders that are read while training; and a bare machine."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from training_examples import bright_or_dark, convnet, forbidden

from nas.data.splits import Splits
from nas.data.streaming import ImageStream
from nas.training.evaluation import EvaluationProtocol, measure
from nas.training.recipe import Recipe
from nas.training.train_step import InMemoryBatches, StreamedBatches, batches_of
from nas.training.trainer import train

CPU = torch.device("cpu")
RECIPE = Recipe(batch_size=8, epochs=4, crop_padding=0, crop_scale=(0.5, 1.0))
ROOT = Path(__file__).resolve().parent.parent.parent


def folder(path: Path, count: int) -> ImageStream:
    image = pytest.importorskip("PIL.Image")
    rng, names = np.random.default_rng(0), []
    for i in range(count):
        pixels = rng.integers(0, 100, (10, 12, 3)) + 120 * (i % 2)
        image.fromarray(pixels.astype(np.uint8)).save(path / f"{i}.png")
        names.append(f"{i}.png".encode())
    return ImageStream(path, np.array(names), np.arange(count, dtype=np.int64) % 2, 8)


def test_resident_batches_cover_the_epoch_and_leave_the_rest() -> None:
    source = InMemoryBatches(bright_or_dark(30), replace(RECIPE, crop_scale=None), CPU)
    assert (source.batch_size, source.steps) == (8, 3)
    batches = list(source.epoch(torch.Generator().manual_seed(0)))
    assert [tuple(x.shape) for x, _ in batches] == [(8, 1, 6, 6)] * 3
    for x, labels in batches:
        assert x.is_contiguous(memory_format=torch.channels_last)
        assert labels.tolist() == [int(float(image.mean()) > 0) for image in x]


@pytest.mark.long
@pytest.mark.parametrize("workers", [0, 2])
def test_a_folder_is_trained_on_while_it_is_read(workers: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nas.data.streaming._workers", lambda *_: workers)
    stream = folder(tmp_path, 36)
    parts = stream.take(np.arange(20)), stream.take(np.arange(20, 36))
    source = batches_of(parts[0], RECIPE, CPU)
    assert isinstance(source, StreamedBatches)
    assert (source.batch_size, source.steps) == (8, 2)
    splits = Splits("folder", *parts, forbidden, 2)
    first, again = (train(convnet(splits.task), splits, RECIPE, 3) for _ in range(2))
    assert first.history == again.history
    assert first.accuracy == 100
    ten = measure(first.module, parts[1], parts[0], EvaluationProtocol("ten-crop", 10, 8))
    assert ten.accuracy == 100


@pytest.mark.long
def test_training_needs_torch_and_numpy_alone() -> None:
    others = ("sklearn", "scipy", "safetensors", "rich", "PIL", "tomli_w", "networkx", "optuna", "ray")
    code = f"""
import sys
for name in {others}:
    sys.modules[name] = None  # importing it raises ImportError
sys.path.insert(0, {str(ROOT)!r})
sys.path.insert(0, {str(ROOT / "tests/helpers")!r})
from training_examples import convnet, toy_splits
from nas.training.trainer import train
from nas.training.memory_estimate import training_memory
from nas.training.recipe import Recipe
splits = toy_splits()
train(convnet(splits.task), splits, Recipe(batch_size=8, epochs=1), 0, device="cpu")
"""
    subprocess.run([sys.executable, "-c", code], check=True)
