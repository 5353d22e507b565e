"""Image sets as users have them on disk: one set of labelled pictures, written in each of the layouts that are read."""

from __future__ import annotations

import csv
import io
import json
import pickle
import struct
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = "n01440764", "n02102040", "n02979186"
"""Folders of classes, as ImageNet names them."""


@dataclass(frozen=True)
class Pictures:
    """Training and test pictures, uint8 (N, H, W, 3), and their labels (N,)."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray

    def split(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The pictures and labels of a split."""
        return (self.train, self.train_labels) if name == "train" else (self.test, self.test_labels)


def flat_pictures(train: int = 8, test: int = 3, side: int = 16) -> Pictures:
    """Pictures of one level each: number ``i`` of class ``c`` is 80 c + i, 40 more in the test split."""

    def part(count: int, more: int) -> tuple[np.ndarray, np.ndarray]:
        levels = np.array([80 * c + i + more for c in range(len(CLASSES)) for i in range(count)], dtype=np.uint8)
        pixels = np.broadcast_to(levels[:, None, None, None], (len(levels), side, side, 3)).copy()
        return pixels, np.repeat(np.arange(len(CLASSES)), count)

    return Pictures(*part(train, 0), *part(test, 40))


def png(pixels: np.ndarray) -> bytes:
    """The content of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def write(folder: Path, name: str, pixels: np.ndarray) -> None:
    """Write a picture to ``folder/name``."""
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(png(pixels))


def _class_folders(folder: Path, splits: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> None:
    for split, pixels, labels in splits:
        for i, (one, label) in enumerate(zip(pixels, labels, strict=True)):
            write(folder, f"{split}/{CLASSES[label]}/{i:04d}.png", one)


def imagenet(folder: Path, pictures: Pictures) -> Path:
    """train and val of class folders."""
    _class_folders(folder, [("train", *pictures.split("train")), ("val", *pictures.split("test"))])
    return folder


def train_test(folder: Path, pictures: Pictures) -> Path:
    """train and test of class folders."""
    _class_folders(folder, [("train", *pictures.split("train")), ("test", *pictures.split("test"))])
    return folder


def train_valid_test(folder: Path, pictures: Pictures) -> Path:
    """training, valid and test of class folders; a third of the training pictures validate."""
    pixels, labels = pictures.split("train")
    third = np.arange(len(labels)) % 3 == 0
    splits = [("training", pixels[~third], labels[~third]), ("valid", pixels[third], labels[third])]
    _class_folders(folder, [*splits, ("test", *pictures.split("test"))])
    return folder


def no_split(folder: Path, pictures: Pictures) -> Path:
    """Class folders alone, of the training pictures."""
    _class_folders(folder, [(".", *pictures.split("train"))])
    return folder


def _flat_validation(folder: Path, pictures: Pictures, place: str, stem: str = "ILSVRC2012_val_") -> list[str]:
    """Write train and a flat val in a mixed order; return the class of each file in the order of their names."""
    _class_folders(folder / place, [("train", *pictures.split("train"))])
    pixels, labels = pictures.split("test")
    order = np.random.default_rng(3).permutation(len(labels))
    for number, index in enumerate(order, 1):
        write(folder / place, f"val/{stem}{number:08d}.png", pixels[index])
    return [CLASSES[labels[index]] for index in order]


def devkit(folder: Path, pictures: Pictures) -> Path:
    """ImageNet's validation set as its development kit labels it: numbers that only meta.mat explains."""
    from scipy.io import savemat

    classes = _flat_validation(folder, pictures, "")
    numbers = {"n01440764": 3, "n02102040": 1, "n02979186": 2}
    home = folder / "ILSVRC2012_devkit_t12" / "data"
    home.mkdir(parents=True)
    text = "".join(f"{numbers[name]}\n" for name in classes)
    (home / "ILSVRC2012_validation_ground_truth.txt").write_text(text)
    synsets = np.array(
        [(number, name) for name, number in numbers.items()], dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O")]
    )
    savemat(home / "meta.mat", {"synsets": synsets})
    return folder


def kaggle(folder: Path, pictures: Pictures) -> Path:
    """ImageNet as Kaggle has it, with boxes after the class and a test split without labels."""
    classes = _flat_validation(folder, pictures, "ILSVRC/Data/CLS-LOC")
    rows = [f"ILSVRC2012_val_{number:08d},{name} 1 2 3 4 " for number, name in enumerate(classes, 1)]
    (folder / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *rows]) + "\n")
    write(folder / "ILSVRC/Data/CLS-LOC", "test/ILSVRC2012_test_00000001.png", pictures.test[0])
    return folder


def tiny_imagenet(folder: Path, pictures: Pictures) -> Path:
    """Tiny ImageNet: val/images and val/val_annotations.txt, of tabs."""
    classes = _flat_validation(folder, pictures, "", "images/val_")
    rows = [f"val_{number:08d}.png\t{name}\t0\t0\t62\t62" for number, name in enumerate(classes, 1)]
    (folder / "val" / "val_annotations.txt").write_text("\n".join(rows) + "\n")
    return folder


def caffe(folder: Path, pictures: Pictures) -> Path:
    """A flat val with val.txt beside it: name and number of the class."""
    classes = _flat_validation(folder, pictures, "")
    rows = [f"ILSVRC2012_val_{n:08d}.png {CLASSES.index(name)}" for n, name in enumerate(classes, 1)]
    (folder / "val.txt").write_text("\n".join(rows) + "\n")
    return folder


def table(folder: Path, pictures: Pictures) -> Path:
    """One CSV file of paths, labels and splits beside a folder of images."""
    rows = []
    for split in ("train", "test"):
        for i, (one, label) in enumerate(zip(*pictures.split(split), strict=True)):
            write(folder, f"images/{split}_{i}.png", one)
            rows.append((f"images/{split}_{i}.png", CLASSES[label], split))
    np.random.default_rng(0).shuffle(rows)
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("filename", "label", "split"), *rows])
    return folder


def webdataset(folder: Path, pictures: Pictures) -> Path:
    """Shards of WebDataset: numbered samples of .png and .cls."""
    folder.mkdir(parents=True)
    for split in ("train", "val"):
        pixels, labels = pictures.split(split)
        for shard in range(2):
            with tarfile.open(folder / f"set-{split}-{shard:06d}.tar", "w") as archive:
                for i in range(shard, len(labels), 2):
                    members = {"png": png(pixels[i]), "cls": str(labels[i]).encode()}
                    if i % 3 == 0:
                        members = {"png": png(pixels[i]), "json": json.dumps({"label": int(labels[i])}).encode()}
                    for suffix, content in members.items():
                        info = tarfile.TarInfo(f"{i:05d}.{suffix}")
                        info.size = len(content)
                        archive.addfile(info, io.BytesIO(content))
    return folder


def parquet(folder: Path, pictures: Pictures) -> Path:
    """Parquet files as Hugging Face's datasets writes them, with the names of classes in their metadata."""
    import pyarrow as pa
    from pyarrow import parquet as pq

    (folder / "data").mkdir(parents=True)
    features = {"image": {"_type": "Image"}, "label": {"names": list(CLASSES), "_type": "ClassLabel"}}
    metadata = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
    for split, name in (("train", "train"), ("test", "validation")):
        pixels, labels = pictures.split(split)
        images = [{"bytes": png(one), "path": f"{i}.png"} for i, one in enumerate(pixels)]
        found = pa.table({"image": images, "label": pa.array(labels, pa.int64())}).replace_schema_metadata(metadata)
        pq.write_table(found, folder / "data" / f"{name}-00000-of-00001.parquet", row_group_size=5)
    return folder


def keras(folder: Path, pictures: Pictures) -> Path:
    """One .npz file with the names of Keras."""
    folder.mkdir(parents=True)
    arrays = {"x_train": pictures.train, "y_train": pictures.train_labels[:, None]}
    arrays |= {"x_test": pictures.test, "y_test": pictures.test_labels[:, None]}
    np.savez_compressed(folder / "set.npz", **arrays)
    return folder / "set.npz"


def medmnist(folder: Path, pictures: Pictures) -> Path:
    """One .npz file with the names of MedMNIST; a third of the training pictures validate."""
    folder.mkdir(parents=True)
    third = np.arange(len(pictures.train)) % 3 == 0
    arrays = {"train_images": pictures.train[~third], "train_labels": pictures.train_labels[~third, None]}
    arrays |= {"val_images": pictures.train[third], "val_labels": pictures.train_labels[third, None]}
    arrays |= {"test_images": pictures.test, "test_labels": pictures.test_labels[:, None]}
    np.savez(folder / "mednist.npz", **arrays)
    return folder / "mednist.npz"


LAYOUTS: dict[str, Callable[[Path, Pictures], Path]] = {
    "imagenet": imagenet,
    "train-test": train_test,
    "train-valid-test": train_valid_test,
    "no-split": no_split,
    "devkit": devkit,
    "kaggle": kaggle,
    "tiny-imagenet": tiny_imagenet,
    "val.txt": caffe,
    "csv": table,
    "webdataset": webdataset,
    "parquet": parquet,
    "keras.npz": keras,
    "medmnist.npz": medmnist,
}
"""By name what writes the layout into a new folder and returns what a user names by ``--data-dir``."""


def cifar_pickles(folder: Path, batches: dict[str, tuple[np.ndarray, np.ndarray]], key: str = "labels") -> Path:
    """CIFAR's batches, pixels (N, 3072) and labels (N,) by name, as Python 2 pickled them: bytes for text."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (pixels, labels) in batches.items():
        data = {b"data": pixels, key.encode(): labels.tolist(), b"batch_label": b"one", b"filenames": [b"a.png"]}
        (folder / name).write_bytes(pickle.dumps(data, protocol=2))
    return folder


def idx(array: np.ndarray) -> bytes:
    """IDX as its definition has it: two zeros, the type 8 (unsigned byte), dimensions, sizes big-endian, bytes."""
    head = bytes([0, 0, 8, array.ndim])
    return head + b"".join(struct.pack(">i", n) for n in array.shape) + array.astype(np.uint8).tobytes()


def svhn_files(folder: Path, splits: dict[str, tuple[np.ndarray, np.ndarray]]) -> Path:
    """Files of SVHN, pixels (32, 32, 3, N) and labels (N,) by split; 0 is called 10."""
    from scipy.io import savemat

    folder.mkdir(exist_ok=True)
    for name, (pixels, labels) in splits.items():
        arrays = {"X": pixels, "y": np.where(labels == 0, 10, labels)[:, None]}
        savemat(folder / f"{name}_32x32.mat", arrays)
    return folder
