"""What the tests of data and training share."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from training_examples import bright_or_dark, forbidden

from nas.core.values import Task
from nas.data.splits import DATASETS, DatasetInfo, DatasetSource, ImageSet


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def register(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Return a function that registers a toy dataset for one test."""
    from nas.evaluators.train import _splits

    def add(name: str, read_test: Callable[[], ImageSet] = forbidden, images: int = 48) -> None:
        source = DatasetSource(Task(name, (1, 6, 6), 2), lambda: bright_or_dark(images), read_test, 16)
        monkeypatch.setitem(DATASETS._items, name, DatasetInfo("toy", lambda folder: source, False))
        _splits.cache_clear()

    return add
