"""The global random generators, which no searcher may use: seeded, looked at, and put back as they were."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np


def reseed(seed: int) -> None:
    """Seed the global generators of Python, numpy and, where it is imported, torch."""
    random.seed(seed)
    np.random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def states() -> dict[str, bytes]:
    """Return the state of every global generator by the name of its package."""
    numpys: Any = np.random.get_state(legacy=False)
    words, *rest = numpys["state"]["key"], numpys["state"]["pos"], numpys["has_gauss"], numpys["gauss"]
    found = {"random": repr(random.getstate()).encode(), "numpy": words.tobytes() + repr(rest).encode()}
    if "torch" in sys.modules:
        found["torch"] = sys.modules["torch"].get_rng_state().numpy().tobytes()
    return found


@contextmanager
def states_kept() -> Iterator[None]:
    """Put the global generators back as they were at the start."""
    pythons, numpys, torch = random.getstate(), np.random.get_state(), sys.modules.get("torch")
    torchs = None if torch is None else torch.get_rng_state()
    try:
        yield
    finally:
        random.setstate(pythons)
        np.random.set_state(numpys)
        if torch is not None:
            torch.set_rng_state(torchs)
