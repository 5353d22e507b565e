"""Zero-cost scores: what a network is worth before it is trained, computed from its graph alone.

Importing this registers the built-in ones; torch is imported when the first of them is computed.
"""

from nas.zero_cost import activations, costs, gradients  # noqa: F401  (they register the built-in scores)
from nas.zero_cost.registry import (
    DEFAULT_SCORES,
    ZERO_COST,
    ZeroCostInfo,
    check_scores,
    register_zero_cost,
    zero_cost_scores,
)

__all__ = [
    "DEFAULT_SCORES",
    "ZERO_COST",
    "ZeroCostInfo",
    "check_scores",
    "register_zero_cost",
    "zero_cost_scores",
]
