"""Sides of pictures in a recipe have a greatest value, so that none of them asks for all memory."""

import pytest

from nas.errors import ConfigError
from nas.training.recipe import Recipe


@pytest.mark.parametrize("name", ["crop_padding", "cutout", "test_resize", "test_size"])
def test_a_side_is_at_most_what_a_picture_has(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be at most 16,384"):
        Recipe(**{name: 10**9})
