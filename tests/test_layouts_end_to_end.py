"""Real images in the layouts that users have, each by one command or a few lines of Python to a finished search."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import subprocess
import sys
import tarfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from command import nas as command
from command import python
from layouts import LAYOUTS, Pictures, cifar_pickles, idx, svhn_files
from PIL import Image

pytestmark = pytest.mark.long
CLASSES = 3
TINY = (
    "--space=macro", "--budget-macs=150k", "--searcher=random", "--trials=1", "--epochs=1", "--baseline=none",
    "--against=none", "--final-seeds=1", "--final-epochs=1", "--train-images=60", "--threads=1", "--name=tiny",
)  # fmt: skip
"""A search of one trial that reads all three splits."""


@pytest.fixture(scope="module")
def photos(shared_data: Path) -> Pictures:
    """Photos of Imagenette at 64 x 64: 40 of each of three classes to train on, 12 to test."""
    parts = []
    for split, count in (("train", 40), ("val", 12)):
        with np.load(shared_data / f"imagenette64_{split}_jpeg.npz") as found:
            header, body, ends, labels = (found[name] for name in ("header", "data", "offsets", "labels"))
            chosen = [i for c in range(CLASSES) for i in np.flatnonzero(labels == c)[:count]]
            files = [header.tobytes() + body[ends[i] : ends[i + 1]].tobytes() for i in chosen]
        pixels = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB")) for file in files]
        parts += [np.stack(pixels), np.repeat(np.arange(CLASSES), count)]
    return Pictures(*parts)


def searched(folder: Path, *words: str | Path) -> str:
    """Carry out a tiny search and return what it printed; its trial, its test score and its report are there."""
    done = command(folder, "search", *TINY, *words)
    assert done.returncode == 0, done.stderr + done.stdout
    events = [json.loads(line) for line in (folder / "results" / "tiny" / "journal.jsonl").read_text().splitlines()]
    kinds = [event["event"] for event in events]
    assert "done" in kinds
    assert all(event["score"] is not None for event in events if event["event"] == "final")
    assert "final" in kinds
    assert (folder / "results" / "tiny" / "report.html").is_file()
    return done.stdout + done.stderr


@pytest.mark.parametrize("layout", list(LAYOUTS))
def test_photos_in_a_layout_become_a_search_by_one_command(tmp_path: Path, photos: Pictures, layout: str) -> None:
    place = LAYOUTS[layout](tmp_path / "photos", photos)
    size = () if layout.endswith(".npz") else ("--image-size=32",)
    printed = searched(tmp_path, "--data-dir", place, *size)
    assert "Traceback" not in printed
    if layout == "no-split":
        assert "images: the dataset has no test split: 24 of its images" in printed


@pytest.fixture(scope="module")
def cifar(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """CIFAR-10 as torchvision unpacks it, and the archive beside it."""
    home = tmp_path_factory.mktemp("cifar")
    tool = shared_data.parent / "tools" / "materialize.py"
    subprocess.run([sys.executable, str(tool), "cifar10", str(home)], check=True, capture_output=True)
    batches = {}
    for path in sorted((home / "cifar-10-batches-bin").glob("*.bin")):
        records = np.fromfile(path, np.uint8).reshape(-1, 3073)
        batches[path.stem] = records[:, 1:], records[:, 0]
        path.unlink()
    place = cifar_pickles(home / "python" / "cifar-10-batches-py", batches)
    (home / "packed").mkdir()
    with tarfile.open(home / "packed" / "cifar-10-python.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(place, place.name)
    return home


@pytest.mark.parametrize("place", ["python", "packed/cifar-10-python.tar.gz"])
def test_cifar_as_torchvision_has_it_becomes_a_search(tmp_path: Path, cifar: Path, place: str) -> None:
    searched(tmp_path, "--data-dir", cifar / place, "--validation-images=100")


def test_files_of_mnists_kind_become_a_search(tmp_path: Path, shared_data: Path) -> None:
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    with np.load(shared_data / "fashion_mnist_10k.npz") as found:
        for split, name, count in (("train", "train", 60_000), ("t10k", "test", 10_000)):
            images = np.resize(found[f"{name}_images"], (count, 28, 28))
            labels = np.resize(found[f"{name}_labels"], (count,))
            (raw / f"{split}-images-idx3-ubyte").write_bytes(idx(images))
            (raw / f"{split}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(labels)))
    searched(tmp_path, "--data-dir", raw.parent, "--validation-images=100")
    config = (tmp_path / "results" / "tiny" / "config.toml").read_text()
    assert 'dataset = "fashion-mnist"' in config


def test_mat_files_of_svhn_become_a_search(tmp_path: Path, cifar: Path) -> None:
    pixels = {}
    for name, file, count in (("train", "data_batch_1", 400), ("test", "test_batch", 200)):
        batch = pickle.loads((cifar / "python" / "cifar-10-batches-py" / file).read_bytes(), encoding="bytes")
        images = batch[b"data"][:count].reshape(-1, 3, 32, 32).transpose(2, 3, 1, 0)
        pixels[name] = images, np.array(batch[b"labels"][:count])
    svhn_files(tmp_path / "svhn", pixels)
    searched(tmp_path, "--data-dir", tmp_path / "svhn", "--validation-images=60")


OBJECTS = {
    "torch dataset": "nas.Data(Photos('train'), test=Photos('test'), classes=['ant', 'bee', 'cat'])",
    "numpy arrays": "nas.Data((d['train'], d['train_labels']), test=(d['test'], d['test_labels']))",
    "streamed": "nas.Data(Photos('train'), test=Photos('test'), image_size=32, resident_bytes=0)",
}
CODE = """
import numpy as np, nas, torch
d = dict(np.load("photos.npz"))

class Photos(torch.utils.data.Dataset):
    def __init__(self, split): self.split = split
    def __len__(self): return len(d[self.split])
    def __getitem__(self, i):
        image = torch.from_numpy(d[self.split][i].transpose(2, 0, 1).copy()).float() / 255
        return image, int(d[self.split + "_labels"][i])

data = DATA
train = nas.TrainEvaluator(dataset=data, epochs=1, threads=1, train_images=60)
study = nas.Study("macro", train, searcher="random", budget=nas.Budget(macs=150_000), folder="results/own", EXECUTOR)
study.run(trials=1)
assert study.best.reward is not None
comparison = study.compare(seeds=1, baselines=("lenet5",), epochs=1)
assert all(row.mean is not None for row in comparison.rows)
again = nas.load_study("results/own").run(trials=2)  # the data is known by its content
print(again.queries, nas.train("lenet5", dataset=data, epochs=1, train_images=60).folder)
"""


@pytest.mark.parametrize("kind", list(OBJECTS))
def test_objects_become_a_search_a_comparison_and_a_training(tmp_path: Path, photos: Pictures, kind: str) -> None:
    np.savez(tmp_path / "photos.npz", **vars(photos))
    done = python(tmp_path, CODE.replace("DATA", OBJECTS[kind]).replace(", EXECUTOR", ""))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 ")
    refused = command(tmp_path, "resume", "own", "--trials", "3")
    assert refused.returncode == 2
    assert "data given in Python" in refused.stderr


@pytest.mark.parametrize(("kind", "code"), [("numpy arrays", 0), ("streamed", 1)])
def test_objects_go_to_workers_where_they_fit_into_memory(
    tmp_path: Path, photos: Pictures, kind: str, code: int
) -> None:
    np.savez(tmp_path / "photos.npz", **vars(photos))
    text = CODE.replace("DATA", OBJECTS[kind]).replace("EXECUTOR", "executor=nas.Ray(workers=1)")
    done = python(tmp_path, text)
    assert done.returncode == code, done.stderr
    if code:
        assert "data given in Python" in done.stderr


PLUGIN = """
import numpy as np, nas

@nas.register_dataset("mine")
def mine(folder):
    "Photos of three classes."
    d = np.load(folder / "photos.npz")
    return nas.Data((d["train"], d["train_labels"]), test=(d["test"], d["test_labels"]), classes=["ant", "bee", "cat"])
"""


def test_a_plugin_makes_data_a_dataset_of_the_command_line(tmp_path: Path, photos: Pictures) -> None:
    np.savez(tmp_path / "photos.npz", **vars(photos))
    (tmp_path / "mine.py").write_text(PLUGIN)
    words: tuple[str | Path, ...] = ("--plugin=mine.py", "--dataset=mine")
    searched(tmp_path, *words, "--data-dir", tmp_path)
    listed = command(tmp_path, "list", "datasets", "--plugin=mine.py")
    assert "Photos of three classes" in listed.stdout
    begun = command(tmp_path, "search", *TINY, *words, "--data-dir", tmp_path, "--final-seeds=0", "--name=more")
    assert begun.returncode == 0, begun.stderr
    resumed = command(tmp_path, "resume", "more", "--trials", "2")
    assert resumed.returncode == 0, resumed.stderr


@pytest.mark.reference
def test_datasets_of_torchvision_are_read(tmp_path: Path, photos: Pictures) -> None:
    if find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    LAYOUTS["imagenet"](tmp_path / "photos", photos)
    code = """
import nas, torch
library = torch.library.Library("torchvision", "DEF")  # what a torchvision without compiled operators lacks
for name in ("nms", "qnms"):
    library.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
from torchvision import transforms
from torchvision.datasets import ImageFolder
change = transforms.Compose([transforms.Resize(32), transforms.ToTensor()])
train, test = (ImageFolder(f"photos/{split}", change) for split in ("train", "val"))
data = nas.Data(train, test=test, classes=train.classes)
print(data)
try:
    nas.Data(ImageFolder("photos/train", transforms.Compose([change, transforms.Normalize([0.5] * 3, [0.2] * 3)])))
except nas.NasError as error:
    print(error)
"""
    done = python(tmp_path, code)
    assert done.returncode == 0, done.stderr
    assert "train=120, test=36, images=(3, 32, 32), classes=3" in done.stdout
    assert "without Normalize among the transforms" in done.stdout


WRONG: list[tuple[Callable[[Path], object], str]] = [
    (lambda place: place.mkdir(), "holds nothing; pass with --data-dir a folder that holds train/CLASS/FILE"),
    (
        lambda place: place.write_bytes(b"PK\x03\x04"),
        "is a zip archive, no folder and does not end in .csv, .tsv",
    ),
    (lambda place: None, "does not exist"),
]


@pytest.mark.parametrize(("make", "message"), WRONG)
def test_what_is_no_layout_says_what_was_found_and_what_is_expected(
    tmp_path: Path, make: Callable[[Path], object], message: str
) -> None:
    make(tmp_path / "photos")
    done = command(tmp_path, "search", *TINY, "--data-dir", tmp_path / "photos")
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "results").exists()
