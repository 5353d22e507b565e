"""Fidelities: the epochs that trials train for, and the history of one of them that a searcher may learn from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise

from nas.core.values import Value
from nas.errors import ConfigError
from nas.searchers.base import Fold
from nas.searchers.base import whole as _whole
from nas.types import History, Trial, chain

whole = partial(_whole, kind="scheduler")
ETA = 3
"""The reduction factor of arXiv:1603.06560, section 3.6."""


@dataclass(frozen=True)
class Rungs:
    """The rungs of a search, numbered from 0."""

    epochs: tuple[int, ...]
    """The epochs of each rung, ascending."""
    etas: tuple[int, ...]
    """Of ``etas[k]`` trials of rung k, one is promoted to rung k + 1; one fewer than rungs."""

    @classmethod
    def of(cls, scheduler: str, epochs: int, eta: int | None, min_epochs: int | None, rungs: Value) -> Rungs:
        """Return the rungs up to ``epochs``; wrong arguments raise :class:`ConfigError`.

        Without ``rungs`` (epochs, the last the search's own), each rung has 1 / eta of the epochs of the next, rounded
        down, and the first at least ``min_epochs``. With rungs and no ``eta``, each rung promotes the share that makes
        all rungs cost alike: one trial of as many as its epochs fit into the next rung's.
        """
        if eta is not None:
            whole(scheduler, "eta", eta, 2)
        if rungs is not None:
            if min_epochs is not None:
                raise ConfigError(f"scheduler '{scheduler}': give min_epochs or rungs, not both")
            listed = rungs.split(",") if isinstance(rungs, str) else rungs
            parts = listed if isinstance(listed, list | tuple) else [listed]
            found: list[Value] = [int(p) if isinstance(p, str) and p.strip().isdecimal() else p for p in parts]
            rising = all(type(n) is int and n > 0 for n in found) and all(a < b for a, b in pairwise(found))
            if not rising or len(found) < 2:
                rule = "rungs must be ascending epochs such as 12,200"
                raise ConfigError(f"scheduler '{scheduler}': {rule}, found {rungs!r}")
            if found[-1] != epochs:
                rule = f"the last of rungs must be --epochs {epochs}"
                raise ConfigError(f"scheduler '{scheduler}': {rule}, found {found[-1]}")
            return cls(tuple(found), tuple(eta or max(2, high // low) for low, high in pairwise(found)))
        eta, least = eta or ETA, whole(scheduler, "min_epochs", 1 if min_epochs is None else min_epochs, 1)
        if least > epochs:
            raise ConfigError(f"scheduler '{scheduler}': min_epochs must be at most --epochs {epochs}, found {least}")
        # as many rungs as factors of eta fit between the least and the most epochs
        count = 1
        while least * eta**count <= epochs:
            count += 1
        if count == 1:
            raise ConfigError(
                f"scheduler '{scheduler}': from min_epochs {least} to --epochs {epochs} is no step of eta {eta}; "
                f"--epochs must be at least {least * eta}"
            )
        return cls(tuple(epochs // eta ** (count - 1 - k) for k in range(count)), (eta,) * (count - 1))

    @property
    def top(self) -> int:
        """The number of the last rung."""
        return len(self.epochs) - 1

    def rung_of(self, trial: Trial) -> int | None:
        """Return the rung that ``trial`` is on, None for other epochs."""
        epochs = trial.proposal.epochs
        return self.epochs.index(epochs) if epochs in self.epochs else None


class InnerHistory(History):
    """What the inner searcher sees; its length is the number of its own proposals, promotions left out."""

    def __init__(self, results: Sequence[Trial], pending: Sequence[Trial], digests: Sequence[int], asked: int) -> None:
        super().__init__(results, pending, digests)
        self._asked = asked

    def __len__(self) -> int:
        return self._asked


@dataclass
class _Fidelity:
    rung: int = 0
    asked: int = 0
    scored: Counter[int] = field(default_factory=Counter)
    all: list[Trial] = field(default_factory=list)
    shown: list[Trial] = field(default_factory=list)
    digests: list[int] = field(default_factory=list)


class SingleFidelityHistory:
    """Makes histories of one fidelity, since rewards of different epochs cannot be compared.

    Every proposal of the inner searcher is in them, in the order in which results became visible, so none is asked
    twice; but one that has its reward at other epochs shows without it. ``learn`` says which fidelity: the ``lowest``
    rung, or the ``largest`` with ``enough`` scored trials (by default three more than an architecture has decisions,
    as arXiv:1807.01774, section 3.2, asks of its models); there, promotions to that rung show as well. A history only
    grows until a larger rung has enough; then it is another one, from the start.
    """

    def __init__(self, scheduler: str, rungs: Rungs, learn: str, enough: int | None) -> None:
        if learn not in ("lowest", "largest"):
            raise ConfigError(f"scheduler '{scheduler}': learn must be lowest or largest, found {learn!r}")
        self._enough = None if enough is None else whole(scheduler, "enough", enough, 1)
        self._rungs, self._largest = rungs, learn == "largest"
        self._fold = Fold(_Fidelity, self._step)

    def __call__(self, history: History) -> InnerHistory:
        """Return the inner searcher's part of ``history``."""
        state = self._fold(history)
        pending = [t for t in history.pending if t.proposal.continue_from is None]
        return InnerHistory(state.shown, pending, state.digests, state.asked + len(pending))

    def _step(self, state: _Fidelity, trial: Trial) -> None:
        state.all.append(trial)
        state.asked += trial.proposal.continue_from is None
        added, rung = [trial], self._rungs.rung_of(trial)
        if rung is not None and trial.status == "done":
            state.scored[rung] += 1
            enough = self._enough or len(trial.architecture.decisions) + 3
            # a larger fidelity has enough results: begin a history of that one
            if self._largest and rung > state.rung and state.scored[rung] >= enough:
                state.rung, state.shown, state.digests = rung, [], []
                added = state.all
        # each is shown as it is, or without its reward where that is of other epochs
        epochs, found = self._rungs.epochs[state.rung], []
        for t in added:
            if t.proposal.epochs == epochs or (t.proposal.continue_from is None and t.reward is None):
                found.append(t)
            elif t.proposal.continue_from is None:
                found.append(Trial(t.index, t.proposal, t.key, params=t.params, macs=t.macs))
        state.shown.extend(found)
        chain(state.digests, found)
