"""Whether a point of a space meets a budget."""

from __future__ import annotations

from nas.core.values import Budget, Task
from nas.errors import GraphError
from nas.space import Space
from nas.space.budget import fit
from nas.types import Architecture


def meets(space: Space, architecture: Architecture, task: Task, macs: int) -> bool:
    """Whether some width uses between 82 and 100 % of the budget."""
    network = space.describe(architecture)
    try:
        found = fit(lambda width: network.network(task, width, 1), Budget(macs), network.widths, space.width)
    except GraphError:
        return False
    assert 0.82 * macs <= found.macs <= macs
    return True
