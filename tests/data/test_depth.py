"""Images of more than 8 bits: right by what their files say, else told once with the range that was found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command import nas, python
from deep_images import deep_png, deep_tiff
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_folders import LOAD, NETWORK, make_photos
from PIL import Image

from nas.data.decode import central
from nas.data.depth import Damaged, Decoding
from nas.data.splits import load_splits

SIDE = 12
GRADIENT = np.linspace(0, 3_200, SIDE * SIDE).reshape(SIDE, SIDE).astype(np.uint16)
"""Data of 12 bits as a camera gives it."""


def levels(path: Path, decoding: Decoding | None = None) -> np.ndarray:
    return central(path, SIDE, SIDE, decoding)


def expected(values: np.ndarray, white: float) -> np.ndarray:
    """The levels as they should be, seen in RGB."""
    grey = np.rint(values.astype(float) * 255 / white)
    return np.repeat(grey[..., None], 3, 2) if grey.ndim == 2 else grey[..., :3]


def test_images_of_12_bits_are_not_read_as_nearly_black(tmp_path: Path) -> None:
    """Levels of 0 to 219 of 255 in steps of 16, by whose file 4,095 is white."""
    make_photos(tmp_path / "data", write=lambda path, pixels: deep_png(path, pixels[..., 0] * np.uint16(16), 12))
    done = python(tmp_path, LOAD + "print(splits.train.images.min(), splits.train.images.max())")
    least, most = map(int, done.stdout.split())
    assert least < 20
    assert most > 180, done.stderr


@pytest.mark.long
def test_a_depth_that_no_file_says_is_told_once_with_its_range(tmp_path: Path) -> None:
    make_photos(tmp_path / "data", write=lambda path, pixels: deep_png(path, pixels[..., 0] * np.uint16(16)))
    (tmp_path / "net.json").write_text(NETWORK)
    options = "--dataset folder --data-dir data --image-size 16 --epochs 1 --batch-size 8 --name run"
    done = nas(tmp_path, "train", "net.json", *options.split())
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if "16-bit images with values up to" in line]
    assert len(told) == 1
    assert "were read as 0 to 65,535" in told[0]
    assert told[0] in (tmp_path / "results/run/report.md").read_text()


@pytest.mark.parametrize("bits", [None, 10, 12, 14, 16])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_every_png_of_16_bits_is_scaled_by_the_depth_that_it_says(tmp_path: Path, channels: int, bits: int) -> None:
    rng, most = np.random.default_rng(0), 2 ** (bits or 12)
    shape = (SIDE, SIDE, channels) if channels > 1 else (SIDE, SIDE)
    values = rng.integers(0, most, shape).astype(np.uint16)
    values.reshape(SIDE, SIDE, -1)[0, 0, 0] = most - 1
    decoding = Decoding()
    found = levels(deep_png(tmp_path / "x.png", values, bits), decoding)
    own = values if channels == 1 else values[..., 0] if channels == 2 else values
    assert np.array_equal(found, expected(own, 65_535 if bits is None else most - 1))
    assert decoding.ranges == ({("16-bit", 65_535): most - 1} if bits is None else {})


@settings(max_examples=30, deadline=None)
@given(st.integers(9, 15), st.integers(0, 2**32 - 1))
def test_data_that_a_writer_has_scaled_up_gives_the_same_levels(
    tmp_path_factory: pytest.TempPathFactory, bits: int, seed: int
) -> None:
    """The standard scales values of fewer bits up to 16; files that do not are as common."""
    data = np.random.default_rng(seed).integers(0, 2**bits, (SIDE, SIDE)).astype(np.uint16)
    folder = tmp_path_factory.getbasetemp()
    plain = levels(deep_png(folder / "plain.png", data, bits))
    for scaled in (np.rint(data * (65_535 / (2**bits - 1))), data << (16 - bits)):
        found = levels(deep_png(folder / "scaled.png", scaled.astype(np.uint16), bits))
        assert np.abs(found.astype(int) - plain).max() <= 1


def test_a_dark_image_whose_writer_scaled_it_up_stays_dark(tmp_path: Path) -> None:
    data = np.random.default_rng(0).integers(0, 200, (SIDE, SIDE))
    dark = np.rint(data * 65_535 / 4_095).astype(np.uint16)
    assert dark.max() < 4_096
    assert levels(deep_png(tmp_path / "x.png", dark, 12)).max() <= 13


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("deflate", [False, True])
def test_tiff_files_of_16_bits_keep_their_low_bytes(tmp_path: Path, order: str, colour: bool, deflate: bool) -> None:
    values = np.random.default_rng(0).integers(0, 65_536, (SIDE, SIDE, 3) if colour else (SIDE, SIDE)).astype(np.uint16)
    assert np.array_equal(
        levels(deep_tiff(tmp_path / "x.tif", values, order, deflate=deflate)), expected(values, 65_535)
    )


@pytest.mark.parametrize("tag", [281, 341])
def test_tiff_files_that_say_their_highest_value_are_scaled_by_its_depth(tmp_path: Path, tag: int) -> None:
    """By the depth and not the value, which may be that of one image."""
    image, decoding = Image.fromarray(GRADIENT), Decoding()
    image.save(tmp_path / "x.tif", tiffinfo={tag: 3_200})
    assert np.array_equal(levels(tmp_path / "x.tif", decoding), expected(GRADIENT, 4_095))
    assert decoding.ranges == {}


def test_white_is_zero_where_a_deep_tiff_says_so(tmp_path: Path) -> None:
    values = np.arange(SIDE * SIDE, dtype=np.uint16).reshape(SIDE, SIDE) * np.uint16(450)
    found = levels(deep_tiff(tmp_path / "x.tif", values, photometric=0))
    assert np.array_equal(found, 255 - expected(values, 65_535))


KINDS: dict[str, tuple[np.ndarray, float]] = {
    "0 to 1": ((GRADIENT / 3_200).astype(np.float32), 1),
    "0 to 255": (np.minimum(GRADIENT / 12, 255).astype(np.float32), 255),
    "32 bits": (GRADIENT.astype(np.int32), 65_535),
}


@pytest.mark.parametrize("kind", KINDS)
def test_floating_point_and_32_bits_are_levels_and_told(tmp_path: Path, kind: str) -> None:
    values, white = KINDS[kind]
    decoding = Decoding()
    Image.fromarray(values).save(tmp_path / "x.tif")
    assert np.abs(levels(tmp_path / "x.tif", decoding) - expected(values, white)).max() <= 1
    assert list(decoding.ranges.values()) == [pytest.approx(float(values.max()))]


@pytest.mark.parametrize("change", [
    lambda x: x - 5, lambda x: x * np.nan, lambda x: x * 1e30, lambda x: (x + 70_000).astype(np.int32),
    lambda x: (x - 9).astype(np.int32),
])  # fmt: skip
def test_values_that_have_no_level_are_damage(tmp_path: Path, change: Callable[[np.ndarray], np.ndarray]) -> None:
    Image.fromarray(change(GRADIENT.astype(np.float32))).save(tmp_path / "x.tif")
    with pytest.raises(Damaged, match=r"its values .*; scale them to"):
        levels(tmp_path / "x.tif")


def test_pgm_files_say_their_range(tmp_path: Path) -> None:
    (tmp_path / "x.pgm").write_bytes(b"P5 12 12 4095\n" + GRADIENT.astype(">u2").tobytes())
    decoding = Decoding()
    assert np.abs(levels(tmp_path / "x.pgm", decoding) - expected(GRADIENT, 4_095)).max() <= 1
    assert decoding.ranges == {}


def test_a_stream_tells_the_range_of_what_its_workers_decoded(tmp_path: Path) -> None:
    from nas.data.image_folder import open_folder

    make_photos(tmp_path / "data", write=lambda path, pixels: deep_png(path, pixels[..., 0] * np.uint16(16)))
    stream = open_folder(tmp_path / "data", 16, resident_bytes=0).train()
    for _ in stream.batches(8, workers=2):  # type: ignore[union-attr]
        pass
    resident = load_splits("folder", tmp_path / "data", image_size=16)
    assert stream.findings.ranges == resident.train.findings.ranges != {}
    (told,) = resident.remarks.values()
    assert "so they are dark" in told
