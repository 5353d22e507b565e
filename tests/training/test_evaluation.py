"""Test protocols: which pixels the network sees, and how the views of an image are averaged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from training_examples import convnet, toy_splits

from nas.data.splits import ImageSet
from nas.errors import ConfigError
from nas.training.evaluation import EvaluationProtocol, measure
from nas.training.recipe import Recipe
from nas.training.trainer import train


def coded(height: int = 6, width: int = 8) -> Tensor:
    """One image whose pixel (y, x) has the value 10 y + x."""
    return (10 * torch.arange(height).view(-1, 1) + torch.arange(width)).view(1, 1, height, width).float()


def corners(views: list[Tensor]) -> list[float]:
    return [float(view[0, 0, 0, 0]) for view in views]


def test_images_are_seen_as_they_are_by_default() -> None:
    (view,) = EvaluationProtocol().of_images(coded())
    assert torch.equal(view, coded())


def test_a_mirror_image_is_a_second_view() -> None:
    first, second = EvaluationProtocol("mirror").of_images(coded())
    assert torch.equal(second, coded().flip(3))
    assert torch.equal(first, coded())


def test_the_centre_is_cut_out() -> None:
    (view,) = EvaluationProtocol(size=4).of_images(coded())
    assert torch.equal(view, coded()[:, :, 1:5, 2:6])


def test_ten_crops_are_the_corners_and_the_centre_and_their_mirror_images() -> None:
    views = EvaluationProtocol("ten-crop", size=4).of_images(coded())
    assert [tuple(view.shape) for view in views] == [(1, 1, 4, 4)] * 10
    assert corners(views[:5]) == [12, 0, 4, 20, 24]
    assert corners(views[5:]) == [15, 3, 7, 23, 27]


@pytest.mark.parametrize(("resize", "size", "shape"), [(12, 0, (6, 6)), (12, 12, (12, 12)), (12, 8, (8, 8))])
def test_images_are_scaled_by_their_shorter_side_before_they_are_cut(
    resize: int, size: int, shape: tuple[int, int]
) -> None:
    (view,) = EvaluationProtocol(resize=resize, size=size).of_images(coded())
    whole = F.interpolate(coded(), (12, 16), mode="bilinear", antialias=True)
    top, left = (12 - shape[0]) // 2, (16 - shape[1]) // 2
    assert torch.allclose(view, whole[:, :, top : top + shape[0], left : left + shape[1]])


def test_a_crop_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ConfigError, match="test_size 7 is more than the images' 6; set test_resize"):
        EvaluationProtocol(size=7).of_images(coded())


class Sides(nn.Module):
    """Logits from the means of an image's left and right halves."""

    def forward(self, x: Tensor) -> Tensor:
        half = x.shape[3] // 2
        return torch.stack((x[..., :half].mean((1, 2, 3)), 3 * x[..., half:].mean((1, 2, 3))), 1)


@pytest.mark.parametrize("views", ["one", "mirror", "ten-crop"])
def test_probabilities_of_the_views_are_averaged(views: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (700, 1, 6, 6)).astype(np.uint8)
    images = ImageSet(pixels, np.arange(700, dtype=np.int64) % 2)
    found = measure(Sides(), images, images, EvaluationProtocol(views, size=4))
    accuracy, loss = found.accuracy, found.loss
    x = torch.from_numpy(pixels).double()
    x = (x - x.mean()) / x.std(correction=0)
    places = [(1, 1), (0, 0), (0, 2), (2, 0), (2, 2)] if views == "ten-crop" else [(1, 1)]
    seen = [x[:, :, row : row + 4, column : column + 4] for row, column in places]
    seen += [view.flip(3) for view in seen] if views != "one" else []
    mean = sum(Sides()(view).softmax(1) for view in seen).numpy() / len(seen)
    assert accuracy == pytest.approx(100 * (mean.argmax(1) == images.labels).mean())
    assert loss == pytest.approx(-np.log(mean[np.arange(700), images.labels]).mean(), rel=1e-5)


def test_the_recipe_decides_how_a_training_is_measured() -> None:
    splits = toy_splits()
    found = {}
    for name, change in {
        "plain": {},
        "mirror": {"test_views": "mirror"},
        "ten": {"test_views": "ten-crop", "test_resize": 8},
        "centre": {"test_resize": 9},
        "larger": {"test_resize": 9, "test_size": 9},
    }.items():
        recipe = Recipe(batch_size=8, epochs=2, crop_padding=0, flip=False, **change)
        result = train(convnet(splits.task), splits, recipe, 0)
        again = measure(result.module, splits.validation, splits.train, EvaluationProtocol.of(recipe))
        assert (result.accuracy, result.loss) == (again.accuracy, again.loss)
        found[name] = result.loss
    assert len(set(found.values())) == len(found)
