"""Does a space keep the contract? Draws architectures and holds the function to the rules."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from nas.core.values import Task
from nas.errors import Infeasible, NasError, one_line
from nas.graph import cost
from nas.space.space import Space
from nas.types import Architecture

DRAWS = 50
TASK = Task("check", (3, 32, 32), 10)


def problems(space: Space, draws: int = DRAWS) -> Iterator[str]:
    """Yield every broken rule, as the rule and what was found; nothing when the contract is kept."""
    rng = np.random.default_rng(0)
    infeasible: list[Infeasible] = []
    try:
        for _ in range(draws):
            architecture = space.sample(rng)
            # a network may be infeasible too: a search refuses it and goes on
            try:
                space.key(architecture)
                graph = space.build(architecture, TASK) if space.has_networks(architecture) else None
            except Infeasible as error:
                infeasible.append(error)
                continue
            # a journal keeps architectures as JSON
            again = Architecture.from_json(json.loads(json.dumps(architecture.to_json())))
            if again != architecture:
                yield "decisions must survive JSON: use strings, integers, floats, booleans, None and tuples of them"
                continue
            if space.key(architecture) != space.key(again):
                rule = "use no randomness and no memory of earlier calls"
                yield f"the same decisions must describe the same architecture: {rule}"
                continue
            # neighbours must be valid points too, else evolution stops in the middle of a search
            with suppress(Infeasible):
                space.key(space.mutate(architecture, rng))
            if graph is not None:
                if "logits" not in dict(graph.outputs):
                    names = ", ".join(dict(graph.outputs))
                    yield f"a network's output must be called logits: b.build(logits=...), found {names}"
                    continue
                total = cost(graph)
                if total.output_shape != (TASK.classes,):
                    yield f"a network must return one logit a class, ({TASK.classes},), found {total.output_shape}"
        for name in space.starts:
            try:
                space.key(space.start(name))
            except NasError as error:
                yield f"starts['{name}'] must be the decisions of an architecture: {one_line(error)}"
        if len(infeasible) == draws:
            yield f"none of {draws} networks is feasible: {one_line(infeasible[0])}"
    except NasError as error:
        yield one_line(error)
    except Exception as error:  # the space is a stranger's code: report whatever it raises
        yield f"the function must not raise anything but Infeasible, found {type(error).__name__}: {one_line(error)}"
