"""What a file claims is compared with what is there and with the memory that is free before it is allocated."""

from __future__ import annotations

import io
import os
import socket
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from command import nas, one_error, python
from deep_images import chunk
from photo_folders import LOAD, NETWORK, make_photos
from PIL import Image

from nas.core import memory
from nas.data import decode
from nas.data.decode import central
from nas.data.depth import Damaged, Decoding
from nas.data.published_sets import read_idx
from nas.data.splits import check_dataset, load_splits
from nas.errors import ConfigError

LENGTH = 4
"""Bytes of a small array of the files here."""


def bomb(path: Path, width: int = 13_000, height: int = 13_000) -> Path:
    """Write a black PNG of ``width`` x ``height`` in bits, some kilobytes."""
    head = np.array([width, height], ">u4").tobytes() + bytes([1, 0, 0, 0, 0])
    squeeze = zlib.compressobj(9)
    row = bytes(1 + -(-width // 8))
    rows = b"".join(squeeze.compress(row) for _ in range(height)) + squeeze.flush()
    body = chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def test_a_picture_of_too_many_pixels_is_left_out_and_named(tmp_path: Path) -> None:
    make_photos(tmp_path / "data", 4, 1)
    path = bomb(tmp_path / "data/train/ant/bomb.png")
    assert path.stat().st_size < 170_000
    code = """
print(*splits.damaged, sep="|")
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""
    done = python(tmp_path, LOAD + code)
    assert done.returncode == 0, done.stderr
    damaged, peak = done.stdout.splitlines()
    assert "bomb.png: its 13,000 x 13,000 pixels are more than 89,478,485, the limit; scale it down" in damaged
    assert int(peak) < 300 * 1024
    assert done.stderr == ""


@pytest.mark.long
def test_a_large_jpeg_is_decoded_small(tmp_path: Path) -> None:
    Image.new("RGB", (10_000, 9_200), (200, 30, 90)).save(tmp_path / "x.jpg", quality=30)
    assert central(tmp_path / "x.jpg", 32, 32)[16, 16].tolist() == pytest.approx([200, 30, 90], abs=4)


def test_large_pictures_are_not_decoded_where_all_decoders_have_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = bomb(tmp_path / "x.png", 5_000, 5_000)
    monkeypatch.setattr(decode, "free_memory", lambda: 450 << 20)
    assert central(path, 8, 8, Decoding(1)).max() == 0
    with pytest.raises(Damaged, match=r"5,000 x 5,000 pixels take up to 190.7 MiB in each of 4 decoders, 450.0 MiB"):
        central(path, 8, 8, Decoding(4))


@pytest.mark.parametrize("what", ["pipe", "socket", "device", "folder"])
def test_what_is_no_regular_file_is_never_opened(tmp_path: Path, what: str) -> None:
    data = make_photos(tmp_path / "data", 4, 1)
    path = data / "train" / "ant" / "x.png"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as server:
            os.chdir(path.parent)
            server.bind(path.name)
    elif what == "device":
        path.symlink_to("/dev/zero")
    else:
        (tmp_path / "elsewhere").mkdir()
        path.symlink_to(tmp_path / "elsewhere")
    done = python(tmp_path, LOAD + "print(*splits.damaged, sep='|')", timeout=30)
    kind = "Is a directory" if what == "folder" else f"it is a {what}"
    assert f"x.png: {kind}, no regular file" in done.stdout


def npy(shape: tuple[int, ...], dtype: str = "|u1", data: bytes = bytes(LENGTH)) -> bytes:
    """An array whose header claims ``shape`` and whose data is ``data``."""
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def archive(path: Path, **members: bytes) -> Path:
    """Write a file of arrays, those of 40 small images where not given."""
    images, labels = io.BytesIO(), io.BytesIO()
    np.save(images, np.zeros((40, 4, 4), np.uint8))
    np.save(labels, np.arange(40) % 2)
    good = {f"{split}_{kind}": data.getvalue() for split in ("train", "test") for kind, data in (
        ("images", images), ("labels", labels))}  # fmt: skip
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in {**good, **members}.items():
            file.writestr(f"{name}.npy", data)
    return path


def test_a_header_of_a_million_million_labels_is_one_line(tmp_path: Path) -> None:
    many = 10**12
    archive(tmp_path / "x.npz", train_images=npy((many, 4, 4)), train_labels=npy((many,)))
    (tmp_path / "net.json").write_text(NETWORK)
    done = nas(tmp_path, "train", "net.json", "--dataset", "arrays", "--data-dir", "x.npz", "--epochs", "1")
    assert "16,000,000,000,000 bytes; 4 are there" in one_error(done)


CLAIMS: dict[str, tuple[bytes, str]] = {
    "more labels": (npy((40,), "<i8", bytes(8)), "its header claims int64 (40,), 320 bytes; 8 are there"),
    "fewer": (npy((40,), "<i8", bytes(400)), "320 bytes; 400 are there"),
    "negative": (npy((-40,), "<i8"), "bytes; 4 are there"),
    "no array": (b"hello, no array", "member 'train_labels.npy' is no array"),
    "empty": (b"", "member 'train_labels.npy' is no array"),
    "objects": (npy((40,), "|O"), "train_labels must be integers (40,), one an image, found object"),
    "digits": (npy((40,)).replace(b"(40,)", b"(" + b"9" * 5_000 + b",)"), "is damaged"),
    "nested": (npy((40,)).replace(b"(40,)", b"(" * 3_000 + b")" * 3_000), "is damaged"),
    "header": (npy((40,)).replace(b"descr", b"d\xffs\x00r"), "is damaged"),
}


@pytest.mark.parametrize("case", CLAIMS)
def test_members_that_are_not_what_they_claim_are_named(tmp_path: Path, case: str) -> None:
    labels, message = CLAIMS[case]
    if case in ("digits", "nested"):  # the header tells its own length
        length = len(labels) - 10 - LENGTH
        labels = labels[:8] + length.to_bytes(2, "little") + labels[10:]
    with pytest.raises(ConfigError) as error:
        check_dataset("arrays", archive(tmp_path / "x.npz", train_labels=labels))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_arrays_that_memory_has_no_room_for_are_refused_before_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = archive(tmp_path / "x.npz")
    monkeypatch.setattr(memory, "free_memory", lambda: 1_000)
    with pytest.raises(ConfigError, match=r"train_images, uint8 \(40, 4, 4\) takes 1,280 bytes .*, 1,000 bytes are"):
        check_dataset("arrays", path)


def test_an_archive_that_claims_more_than_it_can_hold_is_refused(tmp_path: Path) -> None:
    images = npy((2**26, 4, 4), data=b"")
    path = archive(tmp_path / "x.npz", train_images=images)
    content = bytearray(path.read_bytes())
    # the member's size in the archive's directory, as whoever wants to mislead writes it
    start = content.index(b"PK\x01\x02", content.rindex(b"PK\x03\x04"))
    at = content.index(b"train_images.npy", start) - 46 + 24
    content[at : at + 4] = (2**30 + len(images)).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"its \d+ compressed bytes cannot hold 1,073,741,952"):
        check_dataset("arrays", path)


def test_an_encrypted_archive_is_one_line(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.npz")
    content = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = -1
        while (at := content.find(mark, at + 1)) >= 0:
            content[at + offset] |= 1
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"cannot be read: .*encrypted"):
        check_dataset("arrays", path)


@pytest.mark.parametrize(("dtype", "hint"), [
    ("uint16", "divide levels of 16 bits by 257"), ("bool", "multiply by 255"), ("float16", "scale levels of 0 to 1"),
    ("int16", "found int16"), ("float64", "scale levels of 0 to 1"),
])  # fmt: skip
def test_arrays_of_other_types_are_refused_with_what_to_do(tmp_path: Path, dtype: str, hint: str) -> None:
    file = io.BytesIO()
    np.save(file, np.zeros((40, 4, 4), dtype))
    with pytest.raises(ConfigError, match=f"must be uint8, levels 0 to 255, found {dtype}.*{hint[-20:]}|{hint}"):
        check_dataset("arrays", archive(tmp_path / "x.npz", train_images=file.getvalue()))


@pytest.mark.parametrize(("content", "what"), [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\nsize 9\n", "a Git-LFS pointer.*git lfs pull"),
    (b"<!DOCTYPE html><html>Sign in</html>", "an HTML page"), (b"\x1f\x8b\x08\x00", "a gzip archive; unpack it"),
    (b"", "empty"), (bytes(2_000), "nothing but zeros"), (b"\x93NUMPY\x01\x00", "a single numpy array"),
])  # fmt: skip
def test_what_lies_in_the_place_of_arrays_or_images_has_its_name(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "x.npz").write_bytes(content)
    with pytest.raises(ConfigError, match=rf"is damaged or no .npz file: it is {what}"):
        check_dataset("arrays", tmp_path / "x.npz")
    with pytest.raises(Damaged, match=f"the file is {what}"):
        central(tmp_path / "x.npz", 8, 8)


def test_a_compressed_file_is_not_unpacked_beyond_what_it_should_hold(tmp_path: Path) -> None:
    import gzip

    data = bytes([0, 0, 8, 1, 0, 0, 0, 5]) + bytes(100_000_000)
    (tmp_path / "x.gz").write_bytes(gzip.compress(data, 1))
    with pytest.raises(ConfigError, match="5 bytes are needed"):
        read_idx(tmp_path / "x.gz")


def test_a_progressive_jpeg_counts_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (5_000, 5_000)).save(tmp_path / "x.jpg", progressive=True)
    monkeypatch.setattr(decode, "free_memory", lambda: 100 << 20)
    with pytest.raises(Damaged, match="5,000 x 5,000 pixels take"):
        central(tmp_path / "x.jpg", 8, 8)
    assert load_splits("digits").remarks == {}
