"""A folder of photos of three classes that differ in brightness, and a network of 123 parameters for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = "ant", "bee", "cat"
SIDE = 16


LOAD = """
try:
    from nas.training.data import load_splits  # where it was in earlier versions
except ImportError:
    from nas.data.splits import load_splits
splits = load_splits("folder", "data", image_size=16)
"""
"""Code that reads the folder ``data``, for a process."""


def _node(name: str, kind: str, source: str = "", **attributes: object) -> dict[str, object]:
    return {"name": name, "op": kind, "inputs": [source] if source else [], "attrs": attributes}


NETWORK = json.dumps({
    "format": "nas/graph/1",
    "nodes": [
        _node("image", "input", size=[3, SIDE, SIDE]), _node("conv", "conv", "image", out=4, kernel=3, padding=1),
        _node("pool", "global_avg_pool", "conv"), _node("flat", "flatten", "pool"),
        _node("fc", "linear", "flat", out=len(CLASSES)),
    ],
    "outputs": {"logits": "fc"},
})  # fmt: skip


def save(path: Path, pixels: np.ndarray) -> None:
    """Write 8-bit pixels (H, W, 3) in the format of the suffix."""
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def make_photos(
    root: Path, train: int = 12, val: int = 4, write: Callable[[Path, np.ndarray], object] = save, suffix: str = "png"
) -> Path:
    """Write ``train`` and ``val`` photos a class; ``write`` takes pixels (16, 16, 3) of 0 to 219."""
    rng = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for number, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                write(folder / f"{i:02}.{suffix}", rng.integers(0, 60, (SIDE, SIDE, 3)) + 80 * number)
    return root
