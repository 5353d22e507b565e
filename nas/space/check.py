"""Does a space keep the contract? Draws architectures and holds the function to the rules."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np

from nas.errors import NasError, one_line
from nas.graph import cost
from nas.space.space import Space
from nas.types import Architecture, Task

DRAWS = 50
TASK = Task("check", (3, 32, 32), 10)


def problems(space: Space, draws: int = DRAWS) -> Iterator[str]:
    """Yield every broken rule, as the rule and what was found; nothing when the contract is kept."""
    rng = np.random.default_rng(0)
    try:
        for _ in range(draws):
            yield from _problems_of(space, space.sample(rng), rng)
    except NasError as error:
        yield one_line(error)
    except Exception as error:  # the space is a stranger's code: report whatever it raises
        yield f"the function must not raise anything but Infeasible, found {type(error).__name__}: {one_line(error)}"


def _problems_of(space: Space, architecture: Architecture, rng: np.random.Generator) -> Iterator[str]:
    again = Architecture.from_json(json.loads(json.dumps(architecture.to_json())))
    if again != architecture:
        yield "decisions must survive JSON: use strings, whole numbers, floats, booleans, None and tuples of them"
        return
    key = space.key(architecture)
    if space.key(again) != key:
        yield "the same decisions must describe the same architecture: use no randomness and no memory of earlier calls"
        return
    space.key(space.mutate(architecture, rng))
    if space.has_networks(architecture):
        graph = space.build(architecture, TASK)
        total = cost(graph)
        if total.output_shape != (TASK.classes,):
            yield f"a network must return one logit a class, ({TASK.classes},), found {total.output_shape}"
