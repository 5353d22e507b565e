"""Small folders of image files for the tests of reading them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = "ant", "bee", "cat"


def picture(level: int, width: int = 20, height: int = 16) -> Image.Image:
    """An RGB image of one colour, which tells its number after JPEG too."""
    return Image.new("RGB", (width, height), (level, 255 - level, 90))


def make_folder(root: Path, train: int = 8, val: int = 3, kind: str = "png") -> Path:
    """Write ``train`` and ``val`` images a class: image i of class c has the red level 80 c + i."""
    for split, count in (("train", train), ("val", val)):
        for c, name in enumerate(CLASSES):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                picture(80 * c + i).save(folder / f"{i:03}.{kind}")
    return root


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    """A smooth random RGB image."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)


def spoil(folder: Path) -> dict[str, str]:
    """Put damaged files into ``folder``; returns their names with a word of the reason that each must get."""
    noise(60, 50).save(folder / "whole.jpg")
    content = (folder / "whole.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(content[: len(content) // 2])
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("<html>404 Not Found</html>")
    noise(60, 50).save(folder / "altered.png")
    data = bytearray((folder / "altered.png").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 40] = bytes(40)
    (folder / "altered.png").write_bytes(data)
    (folder / "gone.jpg").symlink_to(folder / "nowhere.jpg")
    (folder / "whole.jpg").unlink()
    return {
        "cut.jpg": "truncated",
        "empty.png": "empty",
        "text.jpg": "an html page",
        "altered.png": "",
        "gone.jpg": "no such file",
    }
