"""Batched operations on images against slow references, image by image."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_pixels import pixels, slow_crop, slow_cutout, slow_jitter, slow_resized_crop

from nas.data.augment import crop, cutout, flip, jitter, mix, normalize, resized_crop, select, shift
from nas.data.decode import UNIFORMS, crop_boxes

SIZES = st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
LAST = torch.channels_last


@settings(max_examples=40, deadline=None)
@given(SIZES, st.integers(0, 4), st.integers(0, 99), st.booleans())
def test_crops_are_those_of_the_reference(size: tuple[int, int, int], padding: int, seed: int, last: bool) -> None:
    images = pixels(6, *size, seed)
    rows, columns = torch.from_numpy(np.random.default_rng(seed).integers(0, 2 * padding + 1, (2, 6)))
    found = crop(images.contiguous(memory_format=LAST) if last else images, padding, rows, columns)
    for i in range(6):
        expected = slow_crop(images[i].numpy(), padding, int(rows[i]), int(columns[i]))
        assert np.array_equal(found[i].numpy(), expected)


def test_every_offset_of_a_crop_is_within_reach() -> None:
    images = pixels(25, 3, 4, 5)
    rows, columns = (t.flatten() for t in torch.meshgrid(torch.arange(5), torch.arange(5), indexing="ij"))
    for i, found in enumerate(crop(images, 2, rows, columns)):
        assert np.array_equal(found.numpy(), slow_crop(images[i].numpy(), 2, i // 5, i % 5))


def test_a_crop_in_the_middle_is_the_image() -> None:
    images = pixels(4, 3, 8, 8)
    middle = torch.full((4,), 2)
    assert torch.equal(crop(images, 2, middle, middle), images)


@settings(max_examples=30, deadline=None)
@given(SIZES, st.lists(st.booleans(), min_size=5, max_size=5))
def test_flips_mirror_the_marked_images_alone(size: tuple[int, int, int], mask: list[bool]) -> None:
    images = pixels(5, *size)
    found = flip(images, torch.tensor(mask))
    for image, before, mirrored in zip(found.numpy(), images.numpy(), mask, strict=True):
        assert np.array_equal(image, before[:, :, ::-1] if mirrored else before)
    assert torch.equal(flip(found, torch.tensor(mask)), images)


@settings(max_examples=20, deadline=None)
@given(SIZES, st.integers(0, 99))
def test_resized_crops_are_those_of_the_reference(size: tuple[int, int, int], seed: int) -> None:
    images = pixels(4, *size, seed)
    boxes = crop_boxes(np.random.default_rng(seed).random((4, UNIFORMS)), size[1], size[2], (0.08, 1))
    found = resized_crop(images, torch.from_numpy(boxes))
    for i in range(4):
        expected = slow_resized_crop(images[i].numpy(), *boxes[i])
        assert np.allclose(found[i].numpy(), expected, atol=0.01)


@given(SIZES, st.integers(0, 99), st.floats(0.01, 1), st.floats(0, 0.99))
def test_boxes_of_inception_crops_keep_their_rules(
    size: tuple[int, int, int], seed: int, most: float, part: float
) -> None:
    height, width = 20 * size[1], 20 * size[2]
    boxes = crop_boxes(np.random.default_rng(seed).random((50, UNIFORMS)), height, width, (part * most, most))
    for top, left, tall, wide in boxes:
        assert min(tall, wide) >= 1
        assert min(top, left) >= 0
        assert top + tall <= height
        assert left + wide <= width
        if min(tall, wide) > 20:  # else rounding to whole pixels counts
            assert 0.7 <= wide / tall <= 1.43
    if height == width and min(tall for *_, tall, _ in boxes) > 20:
        areas = boxes[:, 2] * boxes[:, 3] / (height * width)
        assert 0.9 * part * most - 0.01 <= areas.min()
        assert areas.max() <= 1.1 * most + 0.01


def test_boxes_cover_areas_and_ratios_alike() -> None:
    boxes = crop_boxes(np.random.default_rng(0).random((20_000, UNIFORMS)), 1_000, 1_000, (0.1, 0.5))
    areas = boxes[:, 2] * boxes[:, 3] / 1e6
    assert np.histogram(areas, 4, (0.1, 0.5))[0].tolist() == pytest.approx([5_000] * 4, abs=250)
    logs = np.log(boxes[:, 3] / boxes[:, 2]) / np.log(4 / 3)
    assert np.histogram(logs, 4, (-1, 1))[0].tolist() == pytest.approx([5_000] * 4, abs=250)
    places = boxes[:, 0] / (1_000 - boxes[:, 2])
    assert np.histogram(places, 4, (0, 1))[0].tolist() == pytest.approx([5_000] * 4, abs=250)


@pytest.mark.parametrize(("height", "width", "box"), [(10, 400, [0, 193, 10, 13]), (400, 10, [193, 0, 13, 10])])
def test_an_image_too_narrow_for_its_boxes_gives_its_centre(height: int, width: int, box: list[int]) -> None:
    assert crop_boxes(np.full((1, UNIFORMS), 0.5), height, width, (1, 1)).tolist() == [box]


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([1, 3]), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_jitter_is_that_of_the_reference(channels: int, height: int, width: int, seed: int) -> None:
    images = pixels(5, channels, height, width, seed)
    factors = np.random.default_rng(seed).uniform(0, 2, (5, 3))
    found = jitter(images, torch.from_numpy(factors).float())
    for i in range(5):
        assert np.allclose(found[i].numpy(), slow_jitter(images[i].double().numpy(), *factors[i]), atol=0.01)


def test_factors_of_one_leave_images_as_they_are() -> None:
    images = pixels(3, 3, 4, 4)
    assert torch.allclose(jitter(images, torch.ones(3, 3)), images.float(), atol=1e-3)


def test_a_shift_adds_to_each_channel() -> None:
    images, levels = pixels(3, 3, 2, 4), torch.tensor([[1.0, 2, 3], [0, 0, 0], [-300, 5, 0.5]])
    assert torch.equal(shift(images, levels), images + levels[:, :, None, None])


@pytest.mark.parametrize("channels", [1, 3])
def test_normalised_pixels_have_mean_0_and_deviation_1(channels: int) -> None:
    images = pixels(500, channels, 6, 5)
    reference = images.double()
    mean, deviation = reference.mean((0, 2, 3)), reference.std((0, 2, 3), correction=0)
    x = normalize(images, mean.float(), deviation.float())
    assert x.dtype == torch.float32
    assert x.is_contiguous(memory_format=LAST)
    assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(channels), atol=1e-5)
    assert torch.allclose(x.std((0, 2, 3), correction=0), torch.ones(channels), atol=1e-5)
    assert torch.allclose(x[7, :, 2, 3].double(), (reference[7, :, 2, 3] - mean) / deviation, atol=1e-5)


def test_normalising_leaves_float_images_as_they_are() -> None:
    images = torch.full((1, 1, 2, 2), 5.0)
    assert normalize(images, torch.tensor([1.0]), torch.tensor([2.0])).tolist() == [[[[2.0, 2.0], [2.0, 2.0]]]]
    assert images.unique().tolist() == [5.0]


@settings(max_examples=30, deadline=None)
@given(SIZES, st.integers(1, 12), st.integers(0, 99))
def test_cutouts_are_those_of_the_reference(size: tuple[int, int, int], side: int, seed: int) -> None:
    images = pixels(5, *size).float().contiguous(memory_format=LAST)
    rng = np.random.default_rng(seed)
    rows, columns = rng.integers(0, size[1], 5), rng.integers(0, size[2], 5)
    before = images.numpy().copy()
    found = cutout(images, side, torch.from_numpy(rows), torch.from_numpy(columns))
    for i in range(5):
        assert np.array_equal(found[i].numpy(), slow_cutout(before[i], side, int(rows[i]), int(columns[i])))


def test_a_mixture_has_its_share_of_each_image() -> None:
    images = pixels(3, 3, 2, 2).float()
    found = mix(images, torch.tensor([1.0, 0.25, 0.1]))
    assert torch.equal(found[0], images[0])
    assert torch.allclose(found[1], images[1])  # of three the middle one is its own partner
    assert torch.allclose(found[2], 0.1 * images[2] + 0.9 * images[0], atol=1e-4)


@pytest.mark.parametrize("last", [False, True])
def test_selected_images_are_those_asked_for(last: bool) -> None:
    images = pixels(9, 3, 4, 5)
    chosen = torch.tensor([8, 0, 3, 3])
    found = select(images.contiguous(memory_format=LAST) if last else images, chosen)
    assert torch.equal(found, images[chosen])
    assert found.is_contiguous(memory_format=LAST)


@pytest.fixture(scope="module")
def torchvision() -> Any:
    """torchvision, importable beside a torch that its compiled operators do not fit."""
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        with suppress(RuntimeError):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
    found = pytest.importorskip("torchvision.transforms")
    yield found
    del library


@pytest.mark.reference
def test_jitter_is_that_of_torchvision(torchvision: Any) -> None:
    images, factors = pixels(6, 3, 9, 8), torch.rand(6, 3, generator=torch.Generator().manual_seed(0)) * 2
    found = jitter(images, factors)
    for image, (brightness, contrast, saturation), ours in zip(images, factors.tolist(), found, strict=True):
        x = torchvision.functional.adjust_brightness(image.float() / 255, brightness)
        x = torchvision.functional.adjust_contrast(x, contrast)
        x = torchvision.functional.adjust_saturation(x, saturation)
        assert torch.allclose(255 * x, ours, atol=0.01)


@pytest.mark.reference
@pytest.mark.parametrize("shape", [(100, 100), (60, 200)])
def test_boxes_are_distributed_as_those_of_torchvision(torchvision: Any, shape: tuple[int, int]) -> None:
    ours = crop_boxes(np.random.default_rng(0).random((4_000, UNIFORMS)), *shape, (0.08, 1.0))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        image = torch.empty(3, *shape)
        get = torchvision.RandomResizedCrop.get_params
        theirs = np.array([get(image, (0.08, 1.0), (3 / 4, 4 / 3)) for _ in range(4_000)])
    for column in range(4):
        assert ours[:, column].mean() == pytest.approx(theirs[:, column].mean(), abs=1.5)
        assert ours[:, column].std() == pytest.approx(theirs[:, column].std(), abs=1.5)
