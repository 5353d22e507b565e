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
    """Return the split of a file by the first word of its path that names one, as ``data/train-00000-of-4.parquet``."""
    words = re.split(r"[^a-z]+", path.lower())
    return next((_SPLIT_OF[word] for word in words if word in _SPLIT_OF), "")
