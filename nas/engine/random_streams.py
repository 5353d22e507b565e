"""The random streams of a run: one for every trial and purpose, so that there is no global generator anywhere."""

from __future__ import annotations

import numpy as np

SEARCH, TRAIN, FINAL, BELOW, CHECK = 0, 1, 2, 3, 4
"""The purposes of random streams; those of ``BELOW`` are the seeds of searches that a search is compared with, those of
``CHECK`` samples that are looked at before it begins."""


def stream(seed: int, index: int, attempt: int, purpose: int) -> np.random.Generator:
    """Return the generator of trial ``index``, ``attempt`` and ``purpose`` in the run with ``seed``."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index, attempt, purpose])))


def derive(seed: int, index: int, attempt: int, purpose: int) -> int:
    """Return a 31-bit seed for libraries that want a number, some of which a signed 32-bit one."""
    state = np.random.SeedSequence([seed, index, attempt, purpose]).generate_state(1)
    return int(state[0]) & 0x7FFFFFFF
