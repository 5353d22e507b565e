"""Where an architecture comes from: its parents, as the searcher named them in ``info``, and what changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nas.types import Trial, Value


@dataclass(frozen=True)
class Change:
    """A decision that differs from the parent's; ``before`` or ``after`` is None where it was not made."""

    name: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class Step:
    """A trial of a lineage.

    ``how`` is ``mutation``, ``crossover`` or ``promotion``, for the first ``start`` (given by the user) or ``drawn``;
    ``mate`` is the other parent of a crossover; the changes are those from the parent.
    """

    trial: Trial
    how: str
    changes: tuple[Change, ...] = ()
    mate: int | None = None


def lineage(trials: Sequence[Trial], last: Trial) -> list[Step]:
    """Return the steps that led to ``last``, the oldest first.

    Searchers name the index of a ``parent`` and of a ``mate`` in ``info``, and ``start`` for what they were given; a
    promotion continues the training of its trial. What is no index of an earlier trial is taken for no parent.
    """
    steps: list[Step] = []
    trial: Trial | None = last
    while trial is not None:
        promoted = _earlier(trials, trial, trial.proposal.continue_from)
        info = trial.proposal.info
        parent = promoted or _earlier(trials, trial, info.get("parent"))
        mate = _earlier(trials, trial, info.get("mate"))
        if promoted is not None:
            steps.append(Step(trial, "promotion"))
        elif parent is not None:
            how = "mutation" if mate is None else "crossover"
            steps.append(Step(trial, how, changes(parent, trial), None if mate is None else mate.index))
        else:
            steps.append(Step(trial, "start" if "start" in info else "drawn"))
        trial = parent
    return steps[::-1]


def changes(parent: Trial, child: Trial) -> tuple[Change, ...]:
    """Return the decisions that differ, in the child's order, those that only the parent made last."""
    before, after = dict(parent.architecture.decisions), dict(child.architecture.decisions)
    names = [*after, *(name for name in before if name not in after)]
    differ = (name for name in names if name not in before or name not in after or before[name] != after[name])
    return tuple(Change(name, _text(before, name), _text(after, name)) for name in differ)


def shown(value: Value) -> str:
    """Return a decision's value as a reader wants it."""
    return " ".join(map(shown, value)) if isinstance(value, tuple) else str(value)


def _earlier(trials: Sequence[Trial], trial: Trial, index: object) -> Trial | None:
    return trials[index] if type(index) is int and 0 <= index < trial.index else None


def _text(decisions: Mapping[str, Value], name: str) -> str | None:
    return shown(decisions[name]) if name in decisions else None
