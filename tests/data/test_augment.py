"""Augmentation: one stream of random numbers, and batches that are what was drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from slow_pixels import pixels, slow_crop, slow_cutout, slow_jitter, slow_resized_crop
from torch import Tensor

from nas.data.augment import Augmentation, Draws, Mixed, batch, draw, finish
from nas.errors import ConfigError

SHAPE = 3, 6, 7
ALL = Augmentation(flip=True, cutout=3, mixup=0.4, color_jitter=0.5, lighting=0.1, crop_scale=(0.3, 1.0))
PADDED = Augmentation(crop_padding=2, flip=True)
MEAN, DEVIATION = torch.tensor([120.0, 110.0, 100.0]), torch.tensor([60.0, 50.0, 40.0])


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_an_epoch_sees_every_image_once_and_every_offset_alike() -> None:
    draws = draw(20_000, PADDED, SHAPE, seeded())
    assert draws.rows is not None
    assert draws.columns is not None
    assert draws.flips is not None
    assert sorted(draws.order.tolist()) == list(range(20_000))
    for offsets in (draws.rows, draws.columns):
        assert torch.bincount(offsets).tolist() == pytest.approx([4_000] * 5, abs=300)
    joint = torch.bincount(5 * draws.rows + draws.columns)
    assert joint.tolist() == pytest.approx([800] * 25, abs=150)
    assert int(draws.flips.sum()) == pytest.approx(10_000, abs=300)


def test_draws_have_the_distributions_of_their_papers() -> None:
    draws = draw(20_000, ALL, SHAPE, seeded())
    assert draws.factors is not None
    assert torch.histc(draws.factors, 4, 0.5, 1.5).tolist() == pytest.approx([15_000] * 4, abs=500)
    assert draws.centre_rows is not None
    assert torch.bincount(draws.centre_rows).tolist() == pytest.approx([20_000 / 6] * 6, abs=300)
    assert draws.centre_columns is not None
    assert torch.bincount(draws.centre_columns).tolist() == pytest.approx([20_000 / 7] * 7, abs=300)
    assert draws.shares is not None
    # the variance of Beta(a, a) is 1 / (4 (2a + 1))
    assert float(draws.shares.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(draws.shares.var()) == pytest.approx(1 / 7.2, abs=0.005)
    assert draws.levels is not None
    # AlexNet: the covariance of the shift is P diag(0.1 lambda)^2 P^T, in levels of 0..1
    components = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]])
    expected = components @ np.diag(np.square([0.02175, 0.00188, 0.00045])) @ components.T
    assert np.allclose(np.cov((draws.levels / 255).T.numpy()), expected, atol=1e-5)


def test_a_weak_colour_change_stays_within_its_bounds_and_a_strong_one_above_zero() -> None:
    for strength, low, high in ((0.1, 0.9, 1.1), (1.5, 0.0, 2.5)):
        factors = draw(5_000, Augmentation(color_jitter=strength), SHAPE, seeded()).factors
        assert factors is not None
        assert low <= float(factors.min()) < low + 0.01
        assert high - 0.01 < float(factors.max()) <= high


def test_what_is_off_is_not_drawn() -> None:
    assert draw(9, Augmentation(), SHAPE, seeded()).tensors().keys() == {"order"}
    assert draw(9, PADDED, SHAPE, seeded()).tensors().keys() == {"order", "rows", "columns", "flips"}


@pytest.mark.parametrize("augmentation", [PADDED, ALL])
def test_draws_depend_on_the_generator_alone(augmentation: Augmentation) -> None:
    before = torch.get_rng_state()
    legacy = np.random.get_state()[1].tolist()  # type: ignore[index]
    first = draw(50, augmentation, SHAPE, seeded(3))
    torch.rand(5)
    again, other = (draw(50, augmentation, SHAPE, seeded(s)) for s in (3, 4))
    for name, tensor in first.tensors().items():
        assert torch.equal(tensor, again.tensors()[name])
        assert not torch.equal(tensor, other.tensors()[name])
    assert first.seed == again.seed != other.seed
    torch.set_rng_state(before)
    draw(50, augmentation, SHAPE, torch.Generator())
    assert torch.equal(torch.get_rng_state(), before)
    assert np.random.get_state()[1].tolist() == legacy  # type: ignore[index]


def test_two_epochs_of_one_generator_differ() -> None:
    generator = seeded()
    first, second = (draw(50, PADDED, SHAPE, generator) for _ in range(2))
    assert not torch.equal(first.order, second.order)
    assert first.seed != second.seed


def expected(image: np.ndarray, draws: dict[str, Tensor], position: int, augmentation: Augmentation) -> np.ndarray:
    """What one image of an epoch becomes before it is mixed, by the slow references."""
    numbers = {name: tensor[position].tolist() for name, tensor in draws.items()}
    x = image.astype(np.float64)
    if "boxes" in numbers:
        x = slow_resized_crop(x, *numbers["boxes"])
    if "rows" in numbers:
        x = slow_crop(x, augmentation.crop_padding, numbers["rows"], numbers["columns"])
    if numbers.get("flips"):
        x = x[:, :, ::-1]
    if "factors" in numbers:
        x = slow_jitter(x, *numbers["factors"])
    if "levels" in numbers:
        x = x + np.array(numbers["levels"])[:, None, None]
    x = (x - MEAN.double().numpy()[:, None, None]) / DEVIATION.double().numpy()[:, None, None]
    if "centre_rows" in numbers:
        x = slow_cutout(x, augmentation.cutout, numbers["centre_rows"], numbers["centre_columns"])
    return x


@pytest.mark.parametrize("augmentation", [Augmentation(), PADDED, ALL], ids=["none", "padded", "all"])
def test_a_batch_is_what_was_drawn(augmentation: Augmentation) -> None:
    images, labels = pixels(20, *SHAPE), torch.arange(20)
    draws = draw(20, augmentation, SHAPE, seeded(1))
    x, targets = batch(images, labels, draws, slice(4, 12), augmentation, MEAN, DEVIATION)
    chosen = draws.order[4:12]
    originals = zip(range(4, 12), images[chosen].numpy(), strict=True)
    slow = [expected(image, draws.tensors(), i, augmentation) for i, image in originals]
    if draws.shares is not None:
        assert isinstance(targets, Mixed)
        shares = draws.shares[4:12].numpy()
        slow = [s * a + (1 - s) * b for s, a, b in zip(shares, slow, slow[::-1], strict=True)]
        assert torch.equal(targets.first, chosen)
        assert torch.equal(targets.second, chosen.flip(0))
        assert torch.equal(targets.shares, draws.shares[4:12])
    else:
        assert isinstance(targets, Tensor)
        assert torch.equal(targets, chosen)
    assert x.dtype == torch.float32
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert np.allclose(x.numpy(), np.stack(slow), atol=2e-3)


@pytest.mark.parametrize("augmentation", [PADDED, ALL])
def test_positions_may_be_a_tensor(augmentation: Augmentation) -> None:
    images, labels = pixels(20, *SHAPE).contiguous(memory_format=torch.channels_last), torch.arange(20)
    new = draw(20, augmentation, SHAPE, seeded(2))
    x, _ = batch(images, labels, new, torch.arange(4, 12), augmentation, MEAN, DEVIATION)
    y, _ = batch(images, labels, new, slice(4, 12), augmentation, MEAN, DEVIATION)
    assert torch.equal(x, y)


@pytest.mark.parametrize("augmentation", [PADDED, ALL])
def test_a_batch_looks_at_no_content(augmentation: Augmentation) -> None:
    # tensors of the meta device have none: what a CUDA graph cannot capture fails with them
    draws = draw(20, augmentation, SHAPE, seeded(), "meta")
    images, labels = torch.empty(20, *SHAPE, dtype=torch.uint8, device="meta"), torch.empty(20, device="meta")
    positions = torch.empty(8, dtype=torch.int64, device="meta")
    x, _ = batch(images, labels, draws, positions, augmentation, MEAN.to("meta"), DEVIATION.to("meta"))
    assert x.shape == (8, *SHAPE)


def test_the_number_of_threads_changes_nothing_and_stays() -> None:
    images, labels = pixels(128, 3, 32, 32), torch.arange(128)
    draws = draw(128, ALL, (3, 32, 32), seeded())
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append(batch(images, labels, draws, slice(0, 128), ALL, MEAN, DEVIATION)[0])
        assert torch.get_num_threads() == threads
    assert torch.equal(*found)


def test_finishing_cropped_images_is_the_rest_of_a_batch() -> None:
    augmentation = Augmentation(flip=True, cutout=2)
    images, labels = pixels(8, *SHAPE), torch.arange(8)
    draws = draw(8, augmentation, SHAPE, seeded())
    x, y = batch(images, labels, draws, slice(2, 6), augmentation, MEAN, DEVIATION)
    chosen = draws.order[2:6]
    part = draws.at(slice(2, 6))
    found, targets = finish(images[chosen], labels[chosen], part, augmentation, MEAN, DEVIATION)
    assert torch.equal(found, x)
    assert isinstance(y, Tensor)
    assert isinstance(targets, Tensor)
    assert torch.equal(targets, y)
    assert isinstance(part, Draws)


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"crop_padding": -1}, "crop_padding must be an integer of at least 0, found -1"),
    ({"crop_padding": 1.0}, "crop_padding must be an integer"),
    ({"cutout": True}, "cutout must be an integer"),
    ({"flip": 1}, "flip must be true or false, found 1"),
    ({"mixup": -0.1}, "mixup must be a finite number of at least 0, found -0.1"),
    ({"mixup": float("nan")}, "mixup must be a finite number"),
    ({"color_jitter": float("inf")}, "color_jitter must be a finite number"),
    ({"lighting": "0.1"}, "lighting must be a finite number of at least 0, found '0.1'"),
    ({"crop_scale": 0.5}, "crop_scale must be two shares"),
    ({"crop_scale": (0.5, 0.2)}, "the lesser first, found (0.5, 0.2)"),
    ({"crop_scale": (0.0, 1.0)}, "above 0 and at most 1"),
    ({"crop_scale": (0.1, 1.1)}, "above 0 and at most 1"),
    ({"crop_scale": (0.1, 1.0), "crop_padding": 4}, "set one of them"),
]


@pytest.mark.parametrize(("fields", "message"), WRONG)
def test_wrong_numbers_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        Augmentation(**fields)
    assert message in str(error.value)
    assert str(error.value).startswith("augmentation: ")


def test_what_images_cannot_have_is_refused() -> None:
    for fields, shape in (({"lighting": 0.1}, (1, 8, 8)), ({"color_jitter": 0.1}, (2, 8, 8))):
        with pytest.raises(ConfigError, match="channels"):
            draw(4, Augmentation(**fields), shape, seeded())
    draw(4, Augmentation(color_jitter=0.1), (1, 8, 8), seeded())
