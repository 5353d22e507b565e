"""One random stream per trial and purpose; no global generator anywhere."""

from __future__ import annotations

import numpy as np

SEARCH, TRAIN, FINAL = 0, 1, 2


def stream(seed: int, index: int, attempt: int, purpose: int) -> np.random.Generator:
    """Return the generator of trial ``index``, ``attempt`` and ``purpose`` in the run with ``seed``."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index, attempt, purpose])))


def derive(seed: int, index: int, attempt: int, purpose: int) -> int:
    """Return a 31-bit seed for libraries that want a number."""
    state = np.random.SeedSequence([seed, index, attempt, purpose]).generate_state(1)
    return int(state[0]) & 0x7FFFFFFF
