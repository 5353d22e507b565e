"""Streams of image files: what comes out depends on order and seed, not on who decodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pictures import make_folder, noise, spoil
from torch import Tensor

from nas.data.decode import central
from nas.data.image_folder import open_folder
from nas.data.streaming import ImageStream
from nas.errors import ConfigError, EvaluationError


@pytest.fixture
def stream(tmp_path: Path) -> ImageStream:
    """24 images of 3 classes, noise that differs everywhere."""
    folder = make_folder(tmp_path / "set")
    for i, path in enumerate(sorted((folder / "train").rglob("*.png"))):
        noise(40 + i, 30, i).save(path)
    return opened(folder)


def opened(folder: Path, size: int = 16) -> ImageStream:
    images = open_folder(folder, size, 0).train()
    assert isinstance(images, ImageStream)
    return images


ORDER = torch.randperm(24, generator=torch.Generator().manual_seed(5))


def joined(batches: list[tuple[Tensor, Tensor]]) -> tuple[Tensor, list[int]]:
    return torch.cat([x for x, _ in batches]), [y for _, labels in batches for y in labels.tolist()]


@pytest.mark.parametrize("size", [24, 7, 1])
def test_an_epoch_has_full_batches_in_the_order_given(stream: ImageStream, size: int) -> None:
    batches = list(stream.batches(size, ORDER, seed=1, workers=0))
    assert len(batches) == 24 // size
    for x, y in batches:
        assert x.shape == (size, 3, 16, 16)
        assert x.dtype == torch.uint8
        assert x.is_contiguous(memory_format=torch.channels_last)
        assert y.dtype == torch.int64
    _, labels = joined(batches)
    assert labels == stream.labels[ORDER.numpy()][: len(labels)].tolist()


def test_processes_that_share_a_batch_read_their_own_rows(stream: ImageStream) -> None:
    every = list(stream.batches(6, ORDER, seed=5, workers=0))
    parts = [list(stream.batches(6, ORDER, seed=5, workers=0, rows=slice(3 * r, 3 * r + 3))) for r in range(2)]
    for step, (images, labels) in enumerate(every):
        assert torch.equal(torch.cat([part[step][0] for part in parts]), images)
        assert torch.equal(torch.cat([part[step][1] for part in parts]), labels)


def test_an_epoch_may_begin_in_its_middle(stream: ImageStream) -> None:
    every, later = (list(stream.batches(6, ORDER, seed=5, workers=0, first=n)) for n in (0, 2))
    assert len(later) == len(every) - 2
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(every[2:], later, strict=True))


@pytest.mark.parametrize("damage", [False, True])
def test_the_number_of_workers_changes_nothing(stream: ImageStream, damage: bool) -> None:
    if damage:
        spoil(stream.root / "train" / "bee")
        stream = opened(stream.root)
    order = torch.randperm(len(stream), generator=torch.Generator().manual_seed(0))
    runs = [joined(list(stream.batches(5, order, seed=1, workers=n))) for n in (0, 1, 2)]
    for x, y in runs[1:]:
        assert torch.equal(x, runs[0][0])
        assert y == runs[0][1]
    sets = [joined(list(stream.batches(5, workers=n))) for n in (0, 2)]
    assert torch.equal(sets[0][0], sets[1][0])


def test_crops_depend_on_the_seed_and_batch_size_does_not_matter(stream: ImageStream) -> None:
    first, other = (joined(list(stream.batches(6, ORDER, seed=s, workers=0)))[0] for s in (1, 2))
    again = joined(list(stream.batches(8, ORDER, seed=1, workers=0)))[0]
    assert torch.equal(first, again)
    assert (first != other).flatten(1).any(1).all()


def test_two_positions_of_one_image_are_cropped_apart(stream: ImageStream) -> None:
    ((x, _),) = stream.batches(8, torch.zeros(8, dtype=torch.int64), seed=1, workers=0)
    assert len(x.flatten(1).unique(dim=0)) == 8


def test_a_crop_of_all_is_the_largest_that_fits(stream: ImageStream) -> None:
    x, _ = joined(list(stream.batches(24, seed=1, crop_scale=(1.0, 1.0), workers=0)))
    whole = stream.read().images
    assert float((x.float() - torch.from_numpy(whole)).abs().mean()) < 40


def test_torchs_global_stream_is_left_alone(stream: ImageStream) -> None:
    before = torch.get_rng_state()
    for workers in (0, 1):
        list(stream.batches(8, ORDER, seed=1, workers=workers))
    assert torch.equal(torch.get_rng_state(), before)


def test_measuring_sees_the_centre_of_every_image_once(stream: ImageStream) -> None:
    batches = list(stream.batches(10, workers=0))
    assert [len(y) for _, y in batches] == [10, 10, 4]
    x, labels = joined(batches)
    assert labels == stream.labels.tolist()
    assert np.array_equal(x[3].permute(1, 2, 0).numpy(), central(stream.path(3), 18, 16))


def test_another_size_can_be_measured_at(stream: ImageStream) -> None:
    ((x, _),) = stream.batches(24, workers=0, size=12, resize=20)
    assert x.shape == (24, 3, 12, 12)
    assert np.array_equal(x[3].permute(1, 2, 0).numpy(), central(stream.path(3), 20, 12))


def test_a_damaged_file_is_replaced_by_the_next_good_one(stream: ImageStream) -> None:
    files = [stream.path(i) for i in range(24)]
    for i in (5, 6, 23):
        files[i].write_bytes(b"")
    x, y = joined(list(stream.batches(24, torch.arange(24), seed=1, workers=0)))
    assert len(x) == 24
    expected = stream.labels.tolist()
    expected[23] = expected[0]  # the next after the last is the first
    assert y == expected
    assert stream.damaged == [f"{files[i]}: the file is empty" for i in (5, 6, 23)]
    list(stream.batches(24, torch.arange(24), seed=2, workers=1))
    assert len(stream.damaged) == 3  # named once


def test_parts_share_what_is_known_of_damage(stream: ImageStream) -> None:
    stream.path(3).write_bytes(b"")
    part = stream.take(np.arange(6))
    list(part.batches(2, workers=0))
    assert len(stream.damaged) == 1
    both = part.joined(stream.take(np.arange(6, 24)))
    assert len(both) == 24
    assert both.labels.tolist() == stream.labels.tolist()
    assert both.damaged is stream.damaged


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("seed", [None, 1])
def test_a_stream_of_damaged_files_alone_fails(stream: ImageStream, workers: int, seed: int | None) -> None:
    for i in range(24):
        stream.path(i).write_text("none")
    with pytest.raises(EvaluationError, match=r"no image of folder .* can be read; the first: .*it is no JPEG"):
        list(stream.batches(8, seed=seed, workers=workers))


def test_streams_of_two_folders_or_sizes_stay_apart(stream: ImageStream) -> None:
    with pytest.raises(ConfigError, match="one folder and size"):
        stream.joined(opened(stream.root, 8))


def test_a_worker_that_dies_is_told(stream: ImageStream, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    monkeypatch.setattr("nas.data.streaming.inception_crop", lambda *a: os._exit(9))
    with pytest.raises(EvaluationError, match="a process that decodes images died") as error:
        list(stream.batches(8, seed=1, workers=1))
    assert error.value.kind == "crashed"
