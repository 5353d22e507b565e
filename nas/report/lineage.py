"""Where an architecture comes from: its parents, as the searcher named them in ``info``, and what changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas.core.values import Value
from nas.schedulers.finalists import finalist_of
from nas.types import Trial


@dataclass(frozen=True)
class Change:
    """A decision that differs from the parent's."""

    name: str
    before: str | None
    """None where the parent did not make it."""
    after: str | None
    """None where the child did not make it."""


@dataclass(frozen=True)
class DescentStep:
    """A trial of a lineage."""

    trial: Trial
    how: str
    """``mutation``, ``crossover``, ``promotion``, ``finalist``; of the first ``start`` (the user's) or ``drawn``."""
    changes: tuple[Change, ...] = ()
    """From the parent."""
    mate: int | None = None
    """The other parent of a crossover."""


def lineage(trials: Sequence[Trial], last: Trial) -> list[DescentStep]:
    """Return the steps that led to ``last``, the oldest first.

    Searchers name the index of a ``parent`` and of a ``mate`` in ``info``, and ``start`` for what they were given; a
    promotion continues the training of its trial. What is no index of an earlier trial is taken for no parent.
    """
    steps: list[DescentStep] = []
    trial: Trial | None = last
    while trial is not None:
        # a promotion is the same architecture again, so what the searcher said of parents comes before it
        promoted = _earlier(trials, trial, trial.proposal.continue_from)
        again = _earlier(trials, trial, finalist_of(trial))
        info = trial.proposal.info
        parent = promoted or again or _earlier(trials, trial, info.get("parent"))
        mate = _earlier(trials, trial, info.get("mate"))
        if promoted is not None:
            steps.append(DescentStep(trial, "promotion"))
        elif again is not None:
            steps.append(DescentStep(trial, "finalist"))
        elif parent is not None:
            how = "mutation" if mate is None else "crossover"
            steps.append(DescentStep(trial, how, _changes(parent, trial), None if mate is None else mate.index))
        else:
            steps.append(DescentStep(trial, "start" if "start" in info else "drawn"))
        trial = parent
    return steps[::-1]


def _changes(parent: Trial, child: Trial) -> tuple[Change, ...]:
    """Return the decisions that differ, in the child's order, those that only the parent made last."""

    def shown(value: Value) -> str:
        return " ".join(map(shown, value)) if isinstance(value, tuple) else str(value)

    before, after = parent.architecture.decisions, child.architecture.decisions
    names = [*after, *(name for name in before if name not in after)]
    differ = [name for name in names if name not in before or name not in after or before[name] != after[name]]
    texts = [{name: shown(value) for name, value in made.items()} for made in (before, after)]
    return tuple(Change(name, texts[0].get(name), texts[1].get(name)) for name in differ)


def _earlier(trials: Sequence[Trial], trial: Trial, index: object) -> Trial | None:
    # ``info`` is whatever a user's searcher wrote, and True is an int
    return trials[index] if type(index) is int and 0 <= index < trial.index else None
