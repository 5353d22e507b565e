"""Folders as a NAS device, a Mac, Windows, git and Jupyter leave them: what is an image, and what readers are told."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from command import nas, one_error, python
from photo_folders import CLASSES, LOAD, NETWORK, make_photos
from PIL import Image

from nas.data.image_folder import open_folder
from nas.data.splits import load_splits
from nas.errors import ConfigError

SYSTEM_FOLDERS = (
    *("@eaDir", "#recycle", "@Recycle", ".@__thumb", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", ".git"),
    *(".ipynb_checkpoints", ".thumbnails", "lost+found", "__pycache__", ".Trash-1000", ".snapshot", "@tmp"),
)
SYSTEM_FILES = ".DS_Store", "._00.png", "Thumbs.db", "desktop.ini", ".gitkeep", "Icon\r", "ehthumbs.db", ".hidden.jpg"
OTHERS = "LICENSE", "README.md", "labels.csv", "00.xml", "00.txt"
SETTINGS = "--dataset folder --data-dir data --image-size 16 --epochs 1"


def clutter(folder: Path, depth: int = 2) -> None:
    """Put into ``folder`` all that systems and people leave, thumbnails in it, also in each other."""
    for name in SYSTEM_FOLDERS:
        inner = folder / name
        inner.mkdir()
        Image.new("RGB", (16, 16), (250, 0, 250)).save(inner / "SYNOPHOTO_THUMB_XL.jpg")
        if depth > 1:
            (inner / "deeper").mkdir()
            Image.new("RGB", (16, 16), (250, 0, 250)).save(inner / "deeper" / "thumb.png")
    for name in SYSTEM_FILES + OTHERS:
        (folder / name).write_bytes(b"no image")


def shapes(folder: Path) -> dict[str, list[int]]:
    """The number of images of each split and class, by a process of any commit."""
    code = """
import numpy as np
train = np.concatenate((splits.train.labels, splits.validation.labels))
print([np.bincount(labels, minlength=splits.classes).tolist() for labels in (train, splits.test.labels)])
"""
    done = python(folder, LOAD + code)
    assert done.returncode == 0, done.stderr
    train, test = json.loads(done.stdout)
    return {"train": train, "test": test}


def test_what_systems_leave_is_no_image_and_no_class_at_any_depth(tmp_path: Path) -> None:
    data = make_photos(tmp_path / "data")
    clutter(data)
    for split in ("train", "val"):
        clutter(data / split)
        for name in CLASSES:
            clutter(data / split / name)
            (data / split / name / "more").mkdir()
            clutter(data / split / name / "more", 1)
    assert shapes(tmp_path) == {"train": [12] * 3, "test": [4] * 3}


@pytest.mark.parametrize(
    "suffix", ["jfif", "tif", "tiff", "jpe", "jp2", "ppm", "bmp", "webp", "gif", "JPG", "TIF", "dib", "apng"]
)
def test_every_suffix_that_pillow_has_for_images_is_read(tmp_path: Path, suffix: str) -> None:
    make_photos(tmp_path / "data", 4, 1, suffix=suffix)
    images = open_folder(tmp_path / "data", 16).train()
    assert np.bincount(images.labels).tolist() == [4] * 3
    assert images.damaged == []


def test_pictures_of_other_suffixes_do_not_vanish(tmp_path: Path) -> None:
    make_photos(tmp_path / "data", 8, 2)
    for split in ("train", "val"):
        for name in CLASSES:
            for path in sorted((tmp_path / "data" / split / name).iterdir())[::2]:
                Image.open(path).save(path.with_suffix(".tif"))
                path.unlink()
    assert shapes(tmp_path) == {"train": [8] * 3, "test": [2] * 3}


@pytest.mark.parametrize("name", ["x.pdf", "x.eps", "x.svg", "x.heic", "x.npy", "x.mp4"])
def test_what_pillow_does_not_read_here_is_counted_by_its_suffix(tmp_path: Path, name: str) -> None:
    data = make_photos(tmp_path / "data", 4, 1)
    for number in range(3):
        (data / "train" / CLASSES[number] / name).write_bytes(b"%PDF")
    splits = load_splits("folder", data, image_size=16)
    assert splits.remarks == {"passed over, train": f"passed over in train: 3 {Path(name).suffix}"}


@pytest.mark.long
def test_a_search_says_what_was_passed_over_and_what_was_not_measured(tmp_path: Path) -> None:
    data = make_photos(tmp_path / "data")
    for path in (data / "val" / "cat").iterdir():
        path.unlink()
    for number in range(3):
        (data / "train" / "ant" / f"{number}.heic").write_bytes(b"none")
    (data / "val" / "bee" / "bad.png").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1\n")
    options = "--space nb201 --width 2 --depth 1 --searcher random --baseline none --trials 1 --threads 1 --name run"
    done = nas(tmp_path, "search", *options.split(), *SETTINGS.split(), "--final-epochs", "1", "--final-seeds", "1")
    assert done.returncode == 0, done.stderr
    report, page = (Path(tmp_path, "results/run", name).read_text() for name in ("report.md", "report.html"))
    for text in (done.stdout, report, page):
        assert "passed over in train: 3 .heic" in text
        assert "1 of 3 classes have no test image and are not measured: cat" in text
        assert "bad.png: the file is a Git-LFS pointer" in text
    assert report.index("1 of 3 classes have no test image") < report.index("## Best trials")


@pytest.mark.long
def test_a_comparison_names_damaged_pictures_and_classes_that_are_not_measured(tmp_path: Path) -> None:
    data = make_photos(tmp_path / "data")
    for path in (data / "val" / "bee").iterdir():
        path.unlink()
    for name in CLASSES:
        (data / "train" / name / "cut.png").write_bytes((data / "train" / name / "00.png").read_bytes()[:90])
        (data / "train" / name / "note.txt").write_text("none")
    for number in (1, 2):
        (tmp_path / f"net{number}.json").write_text(NETWORK.replace('"out": 4', f'"out": {3 + number}'))
    options = "net1.json net2.json --seeds 1 --threads 1 --name both"
    done = nas(tmp_path, "compare", *options.split(), *SETTINGS.split())
    assert done.returncode == 0, done.stderr
    report, page = (Path(tmp_path, "results/both", name).read_text() for name in ("report.md", "report.html"))
    for text in (done.stdout, report, page):
        assert "passed over in train: 3 .txt" in text
        assert "1 of 3 classes have no test image and are not measured: bee" in text
        assert "3 damaged files left out, first: " in text
        assert "ant/cut.png: " in text
    again = nas(tmp_path, "report", "both")
    assert again.returncode == 0
    assert Path(tmp_path, "results/both/report.md").read_text() == report


def test_arrays_say_which_classes_no_test_image_has(tmp_path: Path) -> None:
    images, labels = np.zeros((40, 4, 4), np.uint8), np.arange(40) % 4
    np.savez(tmp_path / "x.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels // 2)
    splits = load_splits("arrays", tmp_path / "x.npz")
    assert splits.remarks == {}  # the test split is not read for it
    assert len(splits.test) == 40
    told = "2 of 4 classes have no test image and are not measured: 2, 3"
    assert splits.remarks == {"classes, test": told}


def test_names_that_are_no_text_are_read_and_told(tmp_path: Path) -> None:
    data = make_photos(tmp_path / "data", 4, 1)
    os.rename(os.fsencode(data / "train/ant"), os.fsencode(data / "train") + b"/a\xfft\n")
    os.rename(os.fsencode(data / "val/ant"), os.fsencode(data / "val") + b"/a\xfft\n")
    Path(data / "train" / os.fsdecode(b"a\xfft\n") / os.fsdecode(b"b\xe9d.png")).write_bytes(b"none")
    splits = load_splits("folder", data, image_size=16)
    (line,) = splits.damaged
    line.encode()
    assert "\n" not in line
    assert len(splits.train) + len(splits.validation) == 12


def test_links_that_lead_nowhere_or_to_themselves_are_passed_over(tmp_path: Path) -> None:
    data = make_photos(tmp_path / "data", 4, 1)
    (data / "train" / "loop").symlink_to("loop")
    (data / "train" / "ant" / "loop").symlink_to("loop")
    (data / "train" / "ant" / "up").symlink_to("..")
    (data / "train" / "bee" / "x.png").symlink_to("x.png")
    assert shapes(tmp_path) == {"train": [4] * 3, "test": [1] * 3}
    splits = load_splits("folder", data, image_size=16)
    assert splits.remarks["passed over, train"] == "passed over in train: 2 without a suffix, 1 link to a folder"
    assert [line.split(": ")[1] for line in splits.damaged] == ["Too many levels of symbolic links"]


def test_folders_in_each_other_without_end_are_no_recursion(tmp_path: Path) -> None:
    data = make_photos(tmp_path / "data", 4, 1)
    at = os.open(data / "train" / "ant", os.O_RDONLY)
    for _ in range(1_200):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    try:
        assert len(open_folder(data, 16).train()) == 12
    finally:  # Python's own removal recurses
        subprocess.run(["rm", "-rf", str(data)], check=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_must_not_be_read_is_one_line(tmp_path: Path) -> None:
    data = make_photos(tmp_path / "data", 4, 1)
    (data / "train" / "ant").chmod(0)
    try:
        with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
            open_folder(data, 16)
    finally:
        (data / "train" / "ant").chmod(0o755)


@pytest.mark.long
def test_a_class_folder_of_other_files_says_what_it_holds(tmp_path: Path) -> None:
    data = make_photos(tmp_path / "data", 4, 1)
    for path in (data / "train" / "bee").iterdir():
        path.rename(path.with_suffix(".heic"))
    (tmp_path / "net.json").write_text(NETWORK)
    done = nas(tmp_path, "train", "net.json", *SETTINGS.split(), "--name", "run")
    assert "bee' must hold images of its class" in (error := one_error(done))
    assert "passed over: 4 .heic" in error
    assert not (tmp_path / "results/run").exists()
