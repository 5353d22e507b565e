"""Augmentation of batches against a slow reference, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from nas.training.augment import batch, crop, draw, flip, normalise


def pixels(count: int, channels: int, height: int, width: int, seed: int = 0) -> Tensor:
    array = np.random.default_rng(seed).integers(1, 256, (count, channels, height, width))
    return torch.from_numpy(array.astype(np.uint8))


def slow_crop(image: np.ndarray, padding: int, row: int, column: int) -> np.ndarray:
    """Pixel (y, x) of the crop is pixel (y + row - padding, x + column - padding) of the image, or 0 outside of it."""
    out = np.zeros_like(image)
    height, width = image.shape[1:]
    for y in range(height):
        for x in range(width):
            if 0 <= y + row - padding < height and 0 <= x + column - padding < width:
                out[:, y, x] = image[:, y + row - padding, x + column - padding]
    return out


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9), st.integers(0, 4), st.integers(0, 99))
def test_crops_are_those_of_the_reference(channels: int, height: int, width: int, padding: int, seed: int) -> None:
    images = pixels(6, channels, height, width, seed)
    rows, columns = torch.from_numpy(np.random.default_rng(seed).integers(0, 2 * padding + 1, (2, 6)))
    found = crop(images, padding, rows, columns)
    for i in range(6):
        expected = slow_crop(images[i].numpy(), padding, int(rows[i]), int(columns[i]))
        assert np.array_equal(found[i].numpy(), expected)


def test_a_crop_in_the_middle_is_the_image() -> None:
    images = pixels(4, 3, 8, 8)
    middle = torch.full((4,), 2)
    assert torch.equal(crop(images, 2, middle, middle), images)


def test_flips_mirror_the_marked_images_alone() -> None:
    images = pixels(3, 2, 4, 5)
    found = flip(images, torch.tensor([True, False, True]))
    assert found[0, :, :, 0].tolist() == images[0, :, :, 4].tolist()
    assert found[0].tolist() == np.fliplr(images[0].permute(1, 2, 0)).transpose(2, 0, 1).tolist()
    assert torch.equal(found[1], images[1])
    assert torch.equal(flip(found, torch.tensor([True, False, True])), images)


@pytest.mark.parametrize("channels", [1, 3])
def test_normalised_pixels_have_mean_0_and_deviation_1(channels: int) -> None:
    images = pixels(500, channels, 6, 6)
    reference = images.double()
    mean, deviation = reference.mean((0, 2, 3)), reference.std((0, 2, 3), correction=0)
    x = normalise(images, mean.float(), deviation.float())
    assert x.dtype == torch.float32
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(channels), atol=1e-5)
    assert torch.allclose(x.std((0, 2, 3), correction=0), torch.ones(channels), atol=1e-5)
    assert torch.allclose(x[7, :, 2, 3].double(), (reference[7, :, 2, 3] - mean) / deviation, atol=1e-5)


def test_normalising_leaves_float_images_as_they_are() -> None:
    images = torch.full((1, 1, 2, 2), 5.0)
    assert normalise(images, torch.tensor([1.0]), torch.tensor([2.0])).tolist() == [[[[2.0, 2.0], [2.0, 2.0]]]]
    assert images.unique().tolist() == [5.0]


def test_an_epoch_sees_every_image_once_and_every_offset_alike() -> None:
    draws = draw(20_000, 2, True, torch.Generator().manual_seed(0))
    assert sorted(draws.order.tolist()) == list(range(20_000))
    for offsets in (draws.rows, draws.columns):
        assert torch.bincount(offsets).tolist() == pytest.approx([4_000] * 5, abs=300)
    joint = torch.bincount(5 * draws.rows + draws.columns)
    assert joint.tolist() == pytest.approx([800] * 25, abs=150)
    assert int(draws.flips.sum()) == pytest.approx(10_000, abs=300)
    assert not draw(1_000, 2, False, torch.Generator().manual_seed(0)).flips.any()


def test_draws_depend_on_the_generator_alone() -> None:
    before = torch.get_rng_state()
    first = draw(50, 2, True, torch.Generator().manual_seed(3))
    torch.rand(5)
    again, other = (draw(50, 2, True, torch.Generator().manual_seed(s)) for s in (3, 4))
    for name in ("order", "rows", "columns", "flips"):
        assert torch.equal(getattr(first, name), getattr(again, name))
        assert not torch.equal(getattr(first, name), getattr(other, name))
    torch.set_rng_state(before)
    draw(50, 2, True, torch.Generator())
    assert torch.equal(torch.get_rng_state(), before)


def test_a_batch_is_cropped_and_mirrored_as_drawn() -> None:
    images = pixels(10, 3, 6, 6)
    draws = draw(10, 1, True, torch.Generator().manual_seed(1))
    found = batch(images, draws, slice(4, 8), 1, True)
    for i, position in enumerate(range(4, 8)):
        image = images[draws.order[position]].numpy()
        expected = slow_crop(image, 1, int(draws.rows[position]), int(draws.columns[position]))
        expected = expected[:, :, ::-1] if draws.flips[position] else expected
        assert np.array_equal(found[i].numpy(), expected)
