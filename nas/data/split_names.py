"""What the splits of a dataset are called in names of folders and files."""

from __future__ import annotations

import re

SPLITS = {
    "train": ("train", "training", "trn"),
    "validation": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing", "tst", "eval", "evaluation"),
}
"""By split, its names in lower case."""
_SPLIT_OF = {name: split for split, names in SPLITS.items() for name in names}


def split_named(text: str) -> str:
    """Return the split that a whole name or value means, "" for none."""
    return _SPLIT_OF.get(text.strip().lower(), "")


def split_in(path: str) -> str:
    """Return the split of a file by the first word of its name that means one, as ``data/train-00000-of-4.parquet``.

    Where there is none the folders that it lies in count, the innermost first.
    """
    for part in reversed(path.lower().split("/")):
        for word in re.split(r"[^a-z]+", part):
            if word in _SPLIT_OF:
                return _SPLIT_OF[word]
    return ""
