"""Random squares as AlexNet and ResNet were trained on them, not crops of other aspects."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command import python
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nas.data.augment import Augmentation
from nas.data.decode import UNIFORMS, SquareCrop, crop_boxes, inception_crop
from nas.errors import ConfigError
from nas.training.published_recipes import RECIPES, named_recipe
from nas.training.recipe import Recipe

BOXES = """
import torch
try:
    from nas.data.augment import draw
    from nas.training.published_recipes import named_recipe
except ImportError:  # where they were earlier
    from nas.training.augment import draw
    from nas.training.recipes import named_recipe
for name in ("alexnet-2012", "resnet-2015"):
    boxes = draw(500, named_recipe(name).augmentation, (3, 256, 256), torch.Generator().manual_seed(0)).boxes
    sides = boxes[:, 2:].tolist()
    print(name, min(min(sides)), max(max(sides)), all(tall == wide for tall, wide in sides))
"""


def drawn(height: int, width: int, crop: SquareCrop, count: int = 4_000) -> np.ndarray:
    return crop_boxes(np.random.default_rng(0).random((count, UNIFORMS)), height, width, crop)


@pytest.mark.long
def test_published_recipes_crop_squares(tmp_path: Path) -> None:
    """224 of 256 pixels (Krizhevsky et al. 2012, section 4.1), and of 256 to 480 (arXiv:1512.03385, section 3.4)."""
    done = python(tmp_path, BOXES)
    assert done.stdout.splitlines() == ["alexnet-2012 224 224 True", f"resnet-2015 {256 * 224 // 480 + 1} 224 True"]


def test_crops_of_alexnet_lie_in_the_central_square_and_reach_its_corners() -> None:
    crop = named_recipe("alexnet-2012").augmentation.random_crop
    assert isinstance(crop, SquareCrop)
    top, left, tall, wide = drawn(256, 400, crop).T
    assert set(tall) == set(wide) == {224}
    assert set(top) == set(range(33))
    assert set(left) == set(range(72, 72 + 33))


def test_crops_of_resnet_lie_in_the_whole_image() -> None:
    crop = named_recipe("resnet-2015").augmentation.random_crop
    assert isinstance(crop, SquareCrop)
    top, left, side, _ = drawn(480, 960, crop, 20_000).T
    assert (side.min(), side.max()) == (224, 420)
    assert (left.min(), (left + side).max(), top.min(), (top + side).max()) == (0, 960, 0, 480)
    # the scaled short side is uniform from 256 to 480
    shorts = 480 * 224 / side
    assert np.histogram(shorts, 4, (256, 480))[0].tolist() == pytest.approx([5_000] * 4, abs=350)


@settings(deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.floats(1, 4), st.floats(0, 3), st.booleans(), st.integers(0, 99))
def test_squares_lie_within_the_image(
    height: int, width: int, least: float, more: float, central: bool, seed: int
) -> None:
    uniforms = np.random.default_rng(seed).random((20, UNIFORMS))
    short = min(height, width)
    for top, left, tall, wide in crop_boxes(uniforms, height, width, SquareCrop((least, least + more), central)):
        assert tall == wide
        assert max(1, short / (least + more) - 0.5) <= tall <= max(1, short / least + 0.5)
        margins = ((height - short) // 2, (width - short) // 2) if central else (0, 0)
        for start, extent, margin in ((top, height, margins[0]), (left, width, margins[1])):
            assert margin <= start
            assert start + tall <= (margin + short if central else extent)


def test_a_square_of_a_file_is_its_pixels(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (256, 300, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    crop, uniforms = SquareCrop((256 / 224, 256 / 224)), np.random.default_rng(1).random(UNIFORMS)
    top, left, *_ = crop_boxes(uniforms[None], 256, 300, crop)[0]
    found = inception_crop(tmp_path / "x.png", 224, crop, uniforms)
    assert (found == pixels[top : top + 224, left : left + 224]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_resize": [0.9, 1.1]}, "crop_resize must be two multiples of a crop's side, 1 <= least <= greatest"),
        ({"crop_resize": [1.2]}, "crop_resize must be two multiples"),
        ({"crop_resize": [1.1, 1.2], "crop_scale": [0.5, 1.0]}, "crop_resize and crop_scale both crop"),
        ({"crop_resize": [1.1, 1.2], "crop_padding": 4}, "crop_resize and crop_padding both crop"),
        ({"crop_central": True}, "crop_central is for squares"),
    ],
)
def test_a_wrong_square_is_told(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Recipe.from_json({"crop_padding": 0, **changes})


def test_augmentations_refuse_two_crops() -> None:
    for other in ({"crop_scale": (0.5, 1.0)}, {"crop_padding": 2}):
        with pytest.raises(ConfigError, match="both crop; set one of them"):
            Augmentation(crop_resize=(1.1, 1.2), **other)


def test_digests_of_recipes_without_squares_are_those_of_earlier_versions() -> None:
    told = Recipe().identity()
    assert not {"crop_resize", "crop_central", "epochs"} & set(told)
    assert named_recipe("alexnet-2012").identity()["crop_resize"] == [256 / 224, 256 / 224]
    assert "crop_resize" not in Recipe().fingerprint()


def test_every_recipe_for_large_images_crops_by_one_rule() -> None:
    for name in RECIPES:
        recipe = named_recipe(name)
        assert sum(bool(rule) for rule in (recipe.crop_padding, recipe.crop_scale, recipe.crop_resize)) <= 1
        if recipe.crop_resize:
            assert recipe.crop_scale is None
