"""Image files to pixels: every kind that cameras and tools write, against what pillow says of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pictures import noise, picture
from PIL import Image

from nas.data.decode import UNIFORMS, Damaged, central, crop_boxes, inception_crop


def levels(path: Path, size: int = 8) -> list[int]:
    """The levels of the pixel in the middle of an image of one colour, all whose pixels must agree."""
    found = central(path, size, size)
    assert found.shape == (size, size, 3)
    assert found.dtype == np.uint8
    assert int(np.ptp(found.reshape(-1, 3).astype(int), axis=0).max()) <= 1
    return [int(level) for level in found[size // 2, size // 2]]


KINDS: dict[str, tuple[Callable[[Image.Image], Image.Image], str]] = {
    "rgb": (lambda x: x, "png"),
    "alpha": (lambda x: x.convert("RGBA"), "png"),
    "palette": (lambda x: x.convert("P", palette=Image.Palette.ADAPTIVE), "png"),
    "webp": (lambda x: x, "webp"),
    "bitmap": (lambda x: x, "bmp"),
    "gif": (lambda x: x.convert("P", palette=Image.Palette.ADAPTIVE), "gif"),
    "jpeg": (lambda x: x, "jpg"),
    "progressive": (lambda x: x, "jpeg"),
    "cmyk": (lambda x: x.convert("CMYK"), "jpg"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_colours_survive_every_kind_of_file(tmp_path: Path, kind: str) -> None:
    change, suffix = KINDS[kind]
    path = tmp_path / f"x.{suffix}"
    change(picture(200)).save(path, **({"quality": 95} if suffix in ("jpg", "webp") else {}))
    assert levels(path) == pytest.approx([200, 55, 90], abs=6)


@pytest.mark.parametrize(("array", "expected"), [
    (np.full((9, 9), 70, np.uint8), 70),
    (np.full((9, 9), 70 * 257, np.uint16), 70),
    (np.full((9, 9), 65_535, np.uint16), 255),
    (np.ones((9, 9), bool), 255),
], ids=["grey", "16 bits", "brightest", "black and white"])  # fmt: skip
def test_grey_images_of_any_depth_become_rgb(tmp_path: Path, array: np.ndarray, expected: int) -> None:
    Image.fromarray(array).save(tmp_path / "x.png")
    assert levels(tmp_path / "x.png") == [expected] * 3


def test_a_transparent_palette_gives_no_warning(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    image = picture(200).convert("P", palette=Image.Palette.ADAPTIVE)
    image.save(tmp_path / "x.png", transparency=bytes([255] * 4))
    assert levels(tmp_path / "x.png") == pytest.approx([200, 55, 90], abs=6)
    assert not recwarn.list


def test_a_file_is_what_its_content_says(tmp_path: Path) -> None:
    picture(200).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / "x.jpg")
    assert levels(tmp_path / "x.jpg") == [200, 55, 90]


@pytest.mark.parametrize("size", [(1, 1), (1, 30), (30, 1), (300, 2)])
def test_images_of_any_size_are_seen(tmp_path: Path, size: tuple[int, int]) -> None:
    picture(200, *size).save(tmp_path / "x.png")
    assert levels(tmp_path / "x.png") == [200, 55, 90]
    for seed in range(5):
        uniforms = np.random.default_rng(seed).random(UNIFORMS)
        assert (inception_crop(tmp_path / "x.png", 8, (0.08, 1), uniforms) == [200, 55, 90]).all()


def test_an_image_of_the_size_asked_for_stays_bit_by_bit(tmp_path: Path) -> None:
    image = noise(32, 32)
    image.save(tmp_path / "x.png")
    assert np.array_equal(central(tmp_path / "x.png", 32, 32), np.asarray(image))


def test_the_centre_is_cut_from_the_scaled_image(tmp_path: Path) -> None:
    image = noise(80, 60)
    image.save(tmp_path / "x.png")
    scaled = np.asarray(image.resize((40, 30), Image.Resampling.BILINEAR))
    found = central(tmp_path / "x.png", 30, 20)
    assert np.abs(found.astype(int) - scaled[5:25, 10:30]).max() <= 1


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_a_random_crop_is_its_box(tmp_path: Path, kind: str) -> None:
    image = noise(400, 300)
    image.save(tmp_path / f"x.{kind}", **({"quality": 100, "subsampling": 0} if kind == "jpg" else {}))
    for seed in range(10):
        uniforms = np.random.default_rng(seed).random(UNIFORMS)
        top, left, tall, wide = crop_boxes(uniforms[None], 300, 400, (0.08, 1.0))[0]
        box = image.crop((left, top, left + wide, top + tall)).resize((24, 24), Image.Resampling.BILINEAR)
        found = inception_crop(tmp_path / f"x.{kind}", 24, (0.08, 1.0), uniforms)
        # at its border a new pixel covers a little of what lies outside of the box; a JPEG is decoded at a fraction of
        # its size, which blurs a little differently
        difference = np.abs(found.astype(int) - np.asarray(box))
        assert difference[2:-2, 2:-2].max() <= (1 if kind == "png" else 16)
        assert difference.max() <= 25


def encoded(kind: str) -> bytes:
    data = io.BytesIO()
    noise(40, 30).save(data, kind)
    return data.getvalue()


FILES = {kind: encoded(kind) for kind in ("JPEG", "PNG", "WEBP", "BMP", "GIF")}


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_altered_files_are_images_or_damaged(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(FILES[data.draw(st.sampled_from(sorted(FILES)))])
    content = content[: data.draw(st.integers(0, len(content)))]
    for place, value in data.draw(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), max_size=6)):
        if place < len(content):
            content[place] = value
    path = tmp_path_factory.getbasetemp() / "altered.jpg"
    path.write_bytes(content)
    reason = "none"
    try:
        assert central(path, 10, 8).shape == (8, 8, 3)
    except Damaged as damage:
        reason = str(damage)
    assert reason
    assert "\n" not in reason
