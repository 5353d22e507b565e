"""The space of whole networks as at most nine stages: every handcrafted family of residual to mobile nets is in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np

from nas.core.values import Task, Value
from nas.space import SPACES, Choose, Network, Space
from nas.space.scalable import UNKNOWN_SEARCH, SearchedAt
from nas.types import Architecture
from search_spaces.stages import PLANS, build
from search_spaces.stages.builder import BASE_WIDTH, check_plan
from search_spaces.stages.plan import choose_plan
from search_spaces.stages.prior import Prior
from search_spaces.stages.register import SPACE, ScalablePlan, architecture_of

COMPLETIONS = 20
"""How often the prior is asked to complete a changed network."""


def stages(choose: Choose) -> Network:
    """A stem, one to nine stage records and a head: ResNet to EfficientNet as decision tables, and all between.

    What is decided stands in :mod:`search_spaces.stages.plan`. Every combination may be chosen; one that shrinks images
    too much or that cannot be built is infeasible. The network at width 16 and depth 1 is the table as written; other
    widths scale its channels, other depths its repeats.
    """
    plan = choose_plan(choose)
    check_plan(plan)
    return Network(partial(build, plan), widths=(1, 1))


class StagesSpace(Space):
    """The space ``stages`` with :class:`Prior`: sampling draws from it, and so do changes what newly appears by them.

    What a mutation changes or a crossover mixes may be anything, so both leave the prior.
    """

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Return a network of one family of blocks with sensible numbers; infeasible ones are drawn again."""
        return self.draw(lambda: Prior(rng))

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Return a copy with another option for one decision, of all that there are."""
        return self._completed(super().mutate(architecture, rng), (architecture,), rng)

    def crossover(self, one: Architecture, other: Architecture, rng: np.random.Generator) -> Architecture:
        """Return a child that takes every decision from one of its parents by name."""
        return self._completed(super().crossover(one, other, rng), (one, other), rng)

    def move(self, architecture: Architecture, move: tuple[str, int], rng: np.random.Generator) -> Architecture | None:
        """Return the architecture after a move of :meth:`moves`, None where that is infeasible."""
        name, choice = move
        return self._drawn({**self._decisions(architecture), name: self.options(name)[choice]}, rng)

    def _completed(
        self, child: Architecture, parents: Sequence[Architecture], rng: np.random.Generator
    ) -> Architecture:
        """Draw from the prior what no parent has decided; keep the child as it is where that is not feasible."""
        known = {name for parent in parents for name in parent.decisions}
        kept = {name: value for name, value in child.decisions.items() if name in known}
        drawn = self._drawn(kept, rng) if len(kept) < len(child.decisions) else None
        return child if drawn is None else drawn

    def _drawn(self, kept: Mapping[str, Value], rng: np.random.Generator) -> Architecture | None:
        """Keep the decisions ``kept`` and draw the others from the prior; None where that is infeasible."""
        for _ in range(COMPLETIONS):
            prior = Prior(rng, kept)
            architecture = self.attempt(prior)
            if architecture is not None or not prior.drew:
                return architecture
        return None

    def scalable(
        self,
        architecture: Architecture,
        task: Task,
        width: int | None = None,
        depth: int | None = None,
        searched: SearchedAt = UNKNOWN_SEARCH,
    ) -> ScalablePlan:
        """Return the table of ``architecture``; for images of any size it keeps the size of its search."""
        self.describe(architecture)  # refuses decisions that do not fit the space
        wide, deep = width or searched.width or self.width, depth or searched.depth or self.depth
        plan = choose_plan(lambda name, options: architecture[name])
        return ScalablePlan(task.name, task, plan, wide, deep, architecture=architecture)


SPACES.add(SPACE, StagesSpace(SPACE, stages, source="arXiv:1512.03385, table 1, to arXiv:1905.11946", width=BASE_WIDTH))


def start_architecture(name: str) -> Architecture:
    """Return the named network as a point of ``stages``, e.g. "resnet18"; an unknown name raises ConfigError."""
    return architecture_of(PLANS[name])
