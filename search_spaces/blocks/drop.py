"""Stochastic depth: whole residual branches are left out in training."""

from __future__ import annotations

from nas.errors import GraphError
from nas.graph import DropPath, GraphBuilder


def survival(block: int, blocks: int, last: float) -> float:
    """Return the chance that block ``block`` (from 1) of ``blocks`` is kept: ``p_l = 1 - l/L (1 - p_L)``.

    arXiv:1603.09382, section 3, equation 4; ``last`` is p_L, 0.5 there.
    """
    if not 1 <= block <= blocks or not 0 < last <= 1:
        raise GraphError(
            f"stochastic depth: block 1 to {blocks} and a last survival in (0, 1] are allowed, found {block} and {last}"
        )
    return 1 - block / blocks * (1 - last)


def drop_path(b: GraphBuilder, x: str, rate: float) -> str:
    """Drop the branch ``x`` with probability ``rate`` in training; rate 0 adds no node. arXiv:1603.09382."""
    return x if rate == 0 else b(DropPath(rate), x)
