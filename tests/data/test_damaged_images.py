"""Searches over folders with damaged and odd image files: they go on, and the report names what was left out."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nas.cli.main import main
from nas.data.image_folder import open_folder
from nas.data.splits import DATASETS
from nas.runs.journal import read

SMALL = "--space darts --width 2 --depth 1 --epochs 1 --final-epochs 1 --threads 1 --final-seeds 1 --trials 2"
DAMAGED = {"cut.jpg", "empty.jpg", "text.jpg"}


def photo(level: int, seed: int, mode: str = "RGB", size: tuple[int, int] = (40, 36)) -> Image.Image:
    """Return a noisy image around a level of grey."""
    pixels = np.random.default_rng(seed).integers(0, 60, (size[1], size[0], 3)) + level
    return Image.fromarray(pixels.astype(np.uint8)).convert(mode)


def odd_folder(root: Path, count: int = 16) -> Path:
    """Write two classes of photos; every class has a file of each odd kind and of each kind of damage."""
    for split in ("train", "val"):
        for label, name in enumerate(("dark", "light")):
            folder, level = root / split / name, 180 * label
            folder.mkdir(parents=True)
            for i in range(count):
                photo(level, i).save(folder / f"{i:02}.jpg")
            photo(level, 1, "CMYK").save(folder / "cmyk.jpg")
            photo(level, 2, "P").save(folder / "palette.png")
            photo(level, 3, size=(1, 1)).save(folder / "pixel.png")
            Image.fromarray(np.full((30, 30), 256 * level, dtype=np.uint16)).save(folder / "deep.png")
            photo(level, 4).save(folder / "png_named.jpg", format="png")
            whole = (folder / "00.jpg").read_bytes()
            (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
            (folder / "empty.jpg").write_bytes(b"")
            (folder / "text.jpg").write_text("<html>404 Not Found</html>")
    return root


def search(tmp_path: Path, data: Path, more: str = "") -> tuple[str, list[dict], dict]:
    """Search over ``data`` and return the report, the journal's events and the summary."""
    command = f"search --results-dir {tmp_path} --name run --dataset folder --data-dir {data} --image-size 32 {SMALL}"
    assert main([*command.split(), *more.split()]) == 0
    run = tmp_path / "run"
    return (run / "report.md").read_text(), read(run / "journal.jsonl"), json.loads((run / "summary.json").read_text())


@pytest.mark.long
@pytest.mark.parametrize("streamed", [False, True])
def test_a_search_goes_on_and_its_report_names_the_damaged_files(tmp_path, monkeypatch, streamed):
    if streamed:
        info = replace(DATASETS["folder"], load=partial(open_folder, resident_bytes=0))
        monkeypatch.setitem(DATASETS._items, "folder", info)
        monkeypatch.setattr("nas.data.streaming._workers", lambda *_: 0)
    report, events, summary = search(tmp_path, odd_folder(tmp_path / "data"), "--baseline none")
    assert summary["status"] == "finished"
    assert [e["event"] for e in events].count("done") == 2
    # three kinds in each of two classes and two splits; the test split is read by the final trainings
    assert summary["damaged_images"] == 12
    assert "12 files could not be read and took no part, the first 10 of them:" in report
    named = [line for line in report.splitlines() if line.startswith("- `")]
    assert len(named) == 10
    assert {line.split(":")[0].rsplit("/", 1)[1] for line in named} == DAMAGED
    assert any("text.jpg: the file is an HTML page, such as a login or an error" in line for line in named)
    assert any("empty.jpg: the file is empty" in line for line in named)
    told = [e for e in events if "damaged" in e.get("notes", {})]
    assert [e["event"] for e in told] == ["done", "final"]
    assert told[0]["notes"]["damaged"]["count"] == 6


@pytest.mark.long
def test_a_search_over_photos_of_imagenet_with_damage_ends_with_a_report(shared_data, tmp_path):
    tool, data = shared_data.parent / "tools" / "materialize.py", tmp_path / "data"
    subprocess.run([sys.executable, str(tool), "imagenette64", str(data)], check=True)
    victims = sorted((data / "train").glob("*/*.JPEG"))[::800]
    for path in victims:
        path.write_bytes(path.read_bytes()[:200])
    sizes = "--train-images 400 --validation-images 200 --baseline none"
    report, _, summary = search(tmp_path, data, sizes)
    assert summary["status"] == "finished"
    assert summary["damaged_images"] == len(victims) == 12
    assert all(str(path) in report for path in victims[:10])
