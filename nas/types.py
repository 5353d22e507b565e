"""Every value that crosses a room's door: frozen, plain, and JSON where it is written down.

An architecture is the recorded trace of a space's choices. A searcher turns a :class:`History` into a
:class:`Proposal`; the loop makes it a :class:`Job`; an evaluator turns the job into :class:`Metrics` or a
:class:`Failure`; the journal remembers it as a :class:`Trial`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from sys import intern
from typing import TYPE_CHECKING, Any, Protocol

from nas.core.notebook import facts, heading, table
from nas.core.values import Json, Shortened, Task, Value, freeze, levels_of, plain
from nas.errors import MESSAGE_LIMIT, EvaluationError, SpaceError, one_line, printable

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np

    from nas.graph import Graph

ARCHITECTURE_FORMAT = "nas/architecture/1"
NAME_LIMIT = 100
"""Characters of the name of a metric."""


_SMALL = (str, int, bool)


@lru_cache(4_096, typed=True)
def _shared(name: str, value: Value) -> tuple[str, Value]:
    """Return the pair, one object for all architectures: thousands of trials have few decisions that differ."""
    return intern(name), value


class Decisions(Mapping[str, Value]):
    """Every choice by name, in the order in which the space asked: a mapping that never changes and can be hashed."""

    __slots__ = ("_by_name", "_pairs")

    def __init__(self, pairs: Iterable[tuple[str, Value]]) -> None:
        self._pairs = tuple(
            _shared(name, value) if type(name) is str and type(value) in _SMALL else (name, value)
            for name, value in pairs
        )
        self._by_name = dict(self._pairs)

    def __getitem__(self, name: str) -> Value:
        return self._by_name[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_name)

    def __len__(self) -> int:
        return len(self._by_name)

    def __hash__(self) -> int:
        return hash(self._pairs)

    def __eq__(self, other: object) -> bool:
        # the order counts: it is the order of the space's questions
        return self._pairs == other._pairs if isinstance(other, Decisions) else Mapping.__eq__(self, other)

    def __repr__(self) -> str:
        return f"Decisions({self._pairs!r})"


@dataclass(frozen=True, repr=False)
class Architecture(Shortened):
    """A point of a search space."""

    space: str
    """The space's name."""
    decisions: Mapping[str, Value]
    """Every choice by name, in order; a mapping or pairs are taken too."""
    args: tuple[tuple[str, Value], ...] = ()
    """The space's arguments."""

    def __post_init__(self) -> None:
        if not isinstance(self.decisions, Decisions):
            given = self.decisions
            object.__setattr__(self, "decisions", Decisions(given.items() if isinstance(given, Mapping) else given))

    def __getitem__(self, name: str) -> Value:
        try:
            return self.decisions[name]
        except KeyError:
            raise SpaceError(f"architecture of space '{self.space}' has no decision '{name}'") from None

    def short(self) -> str:
        """Return its space, its first three decisions, and how many there are."""
        first = ", ".join(f"{name}={value!r}" for name, value in [*self.decisions.items()][:3])
        more = f", ... {len(self.decisions)} decisions" if len(self.decisions) > 3 else ""
        return f"Architecture({self.space}: {first}{more})"

    def _repr_html_(self) -> str:
        """Return its arguments and decisions as tables, for a notebook."""
        args = f" ({', '.join(f'{name}={value!r}' for name, value in self.args)})" if self.args else ""
        rows = [(name, str(value)) for name, value in self.decisions.items()]
        return heading(f"Architecture of space {self.space}{args}") + table(("decision", "choice"), rows)

    def to_json(self) -> dict[str, Any]:
        """Return the architecture as JSON data (format ``nas/architecture/1``)."""
        return {
            "format": ARCHITECTURE_FORMAT,
            "space": self.space,
            "args": dict(self.args),
            "decisions": dict(self.decisions),
        }

    @classmethod
    def from_json(cls, data: Any) -> Architecture:
        """Read what :meth:`to_json` wrote; anything else raises :class:`SpaceError` with the rule it breaks."""
        if not isinstance(data, Mapping) or data.get("format") != ARCHITECTURE_FORMAT:
            found = data.get("format") if isinstance(data, Mapping) else type(data).__name__
            raise SpaceError(f"not an architecture: format must be '{ARCHITECTURE_FORMAT}', found {found!r}")
        space, args, decisions = data.get("space"), data.get("args", {}), data.get("decisions")
        if not isinstance(space, str) or not isinstance(args, Mapping) or not isinstance(decisions, Mapping):
            raise SpaceError("not an architecture: 'space' must be a string, 'args' and 'decisions' must be objects")
        return cls(space, Decisions(_pairs(decisions)), _pairs(args))


def _holds_object(value: Any) -> bool:
    return any(isinstance(v, Mapping) for level in levels_of(value, "a decision") for v in level)


def _pairs(mapping: Mapping[str, Any]) -> tuple[tuple[str, Value], ...]:
    for name, value in mapping.items():
        if _holds_object(value):
            raise SpaceError(f"decision '{name}' must be a string, number, boolean, null or list, found an object")
    return tuple((str(name), freeze(value)) for name, value in mapping.items())


@dataclass(frozen=True)
class Proposal:
    """What a searcher wants evaluated next.

    ``epochs`` is the training budget (0: the run's default). ``continue_from`` is the index of a trial of the same
    architecture and fewer epochs whose training may be continued instead of begun again. ``info`` is JSON that the
    searcher wants back in the history (parents, log-probability).
    """

    architecture: Architecture
    epochs: int = 0
    info: Mapping[str, Any] = field(default_factory=dict)
    continue_from: int | None = None

    def __post_init__(self) -> None:
        if self.epochs < 0:
            raise SpaceError(f"the epochs of a proposal must be at least 0, found {self.epochs}")


@dataclass(frozen=True)
class Metrics:
    """What an evaluation measured: the ``reward`` to maximise, other ``values`` by name, and seconds.

    ``seconds`` is what the evaluation took, or what the published table says it took (``simulated``). ``notes`` are
    JSON for journal and report, which searchers do not see. For whoever asked for them there are safetensors files:
    ``weights``, and ``predictions`` for the images that were measured, in their order: ``probabilities`` float32
    (N, classes) and ``labels`` int64 (N,).
    Numbers that are not finite raise :class:`EvaluationError`: a NaN is a failure, never a score. So do negative
    seconds, names over :data:`NAME_LIMIT` characters or of none, and notes over a megabyte of JSON.
    """

    reward: float
    values: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    simulated: bool = False
    notes: Mapping[str, Any] = field(default_factory=dict)
    weights: bytes = b""
    predictions: bytes = b""

    def __post_init__(self) -> None:
        object.__setattr__(self, "reward", _finite("reward", self.reward))
        object.__setattr__(self, "seconds", _finite("seconds", self.seconds))
        if self.seconds < 0:
            raise EvaluationError(f"metric 'seconds' is {self.seconds}; it must be at least 0")
        object.__setattr__(self, "values", {_name(name): _finite(name, value) for name, value in self.values.items()})
        if self.notes:
            try:
                object.__setattr__(self, "notes", plain(self.notes))
            except (TypeError, ValueError) as error:
                raise EvaluationError(f"notes must be plain JSON of finite numbers: {one_line(error)}") from None

    def to_json(self) -> Json:
        """Return the numbers as JSON data; notes, weights and predictions travel beside them."""
        values = dict(self.values)
        return {"reward": self.reward, "values": values, "seconds": self.seconds, "simulated": self.simulated}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Metrics:
        """Return what :meth:`to_json` wrote, among other things perhaps."""
        # a journal of an earlier version may hold any name, and seconds below zero
        values = {printable(name, NAME_LIMIT) or "unnamed": value for name, value in data["values"].items()}
        return cls(data["reward"], values, max(0.0, data["seconds"]), data["simulated"])


def _name(name: Any) -> str:
    if not isinstance(name, str):
        raise EvaluationError(f"the name of a metric is a string, found {name!r}")
    if not 0 < len(name) <= NAME_LIMIT:
        rule = f"a name has 1 to {NAME_LIMIT} characters"
        raise EvaluationError(f"metric '{printable(name, NAME_LIMIT)}' has {len(name):,} characters; {rule}")
    return printable(name, NAME_LIMIT)  # escapes may make it longer, and it is checked again wherever it is copied


def _finite(name: str, value: Any) -> float:
    if isinstance(value, bool | str) or not hasattr(value, "__float__"):
        raise EvaluationError(f"metric '{name}' is {type(value).__name__}; a metric is a number")
    number = float(value)
    if not math.isfinite(number):
        raise EvaluationError(f"metric '{name}' is {number}; metrics must be finite numbers", "diverged")
    return number


@dataclass(frozen=True)
class Failure:
    """Why a trial has no score: ``kind`` is one of :data:`FAILURE_KINDS`, ``message`` one printable line."""

    kind: str
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", printable(self.message, MESSAGE_LIMIT))

    def to_json(self) -> Json:
        """Return the failure as JSON data."""
        return {"kind": self.kind, "message": self.message}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Failure:
        """Return what :meth:`to_json` wrote, among other things perhaps."""
        return cls(data["kind"], data["message"])


@dataclass(frozen=True, eq=False, slots=True, repr=False)
class Trial(Shortened):
    """One proposal and what became of it.

    ``status`` is ``pending``, ``done``, ``failed``, ``reused`` or ``refused``; a reused trial carries the metrics or
    the failure of trial ``of``, which has the same canonical ``key`` and epochs (``waiting`` until that is there); a
    refused one is over a limit or cannot be built, and its failure says why.
    """

    index: int
    proposal: Proposal
    key: str
    status: str = "pending"
    metrics: Metrics | None = None
    failure: Failure | None = None
    of: int | None = None
    params: int | None = None
    macs: int | None = None
    seconds: float = 0.0
    width: int | None = None
    """The width at which the network meets the budget; None: without a budget."""
    scores: Mapping[str, float] = field(default_factory=dict)
    """The zero-cost scores that were computed when it was asked."""
    score_seconds: float = 0.0
    """What scores took between the trial before and this one, those of candidates that were not asked among them."""

    @classmethod
    def asked(cls, index: int, proposal: Proposal, candidate: Candidate) -> Trial:
        """Return the pending trial of a proposal whose architecture is ``candidate``."""
        c = candidate
        trial = cls(index, proposal, c.key, params=c.params, macs=c.macs, width=c.width)
        return replace(trial, scores=c.scores, score_seconds=c.score_seconds)

    @property
    def architecture(self) -> Architecture:
        """The proposed architecture."""
        return self.proposal.architecture

    @property
    def reward(self) -> float | None:
        """The reward, or None while pending and after a failure."""
        return None if self.metrics is None else self.metrics.reward

    def short(self) -> str:
        """Return its number, what became of it, and what its network costs."""
        parts = [f"Trial({self.index}", self.status, self.architecture.space]
        parts += [] if self.reward is None else [f"reward {self.reward:.6g}"]
        parts += [f"{n:,} {unit}" for n, unit in ((self.params, "params"), (self.macs, "MACs")) if n is not None]
        parts += [] if self.failure is None else [f"{self.failure.kind}: {printable(self.failure.message, 40)}"]
        return f"{', '.join(parts)})"

    def _repr_html_(self) -> str:
        """Return what became of it and what it decides as tables, for a notebook."""
        told: dict[str, object] = {"trial": str(self.index), "status": self.status, "reward": self.reward}
        told["failure"] = None if self.failure is None else f"{self.failure.kind}: {self.failure.message}"
        told["result of trial"] = None if self.of is None else str(self.of)
        told |= {"epochs": self.proposal.epochs, "parameters": self.params, "MACs": self.macs, "width": self.width}
        told["seconds"] = round(self.seconds, 2)
        measured = {**self.scores, **({} if self.metrics is None else self.metrics.values)}
        return facts({**told, **{n: v for n, v in measured.items() if n not in told}}) + self.architecture._repr_html_()


class History:
    """All that a searcher may look at: ``results`` in the order they became visible, and ``pending`` trials.

    Results are only ever appended, so a searcher may fold them step by step; :meth:`digest` tells whether two
    histories begin with the same results. The sequences belong to the loop: read them, never change them.
    """

    def __init__(
        self, results: Sequence[Trial], pending: Sequence[Trial] = (), digests: Sequence[int] | None = None
    ) -> None:
        self.results = results
        self.pending = pending
        self._digests = digests

    def __len__(self) -> int:
        return len(self.results) + len(self.pending)

    def digest(self, count: int) -> int:
        """Return a fingerprint of the first ``count`` results (valid in this process only)."""
        if self._digests is None:
            self._digests = chain([], self.results)
        return self._digests[count - 1] if count else 0


def chain(digests: list[int], trials: Sequence[Trial]) -> list[int]:
    """Append to ``digests`` the running fingerprint of ``trials`` and return it."""
    last = digests[-1] if digests else 0
    for t in trials:
        proposal = t.proposal
        result = (t.metrics and tuple(sorted(t.metrics.values.items())), t.failure and t.failure.kind, t.params, t.macs)
        info = json.dumps(dict(proposal.info), sort_keys=True, default=str)
        asked = (proposal.architecture, proposal.epochs, proposal.continue_from, info)
        last = hash((last, t.index, t.key, t.status, t.reward, asked, result))
        digests.append(last)
    return digests


@dataclass(frozen=True)
class Candidate:
    """What an architecture turns out to be for the task at hand: its key and, where it is a network, its cost.

    ``problem`` says why it cannot be evaluated: no network can be built of it for this task, or a table lacks it.
    ``scores`` are what is known of it for free, such as zero-cost proxies.
    """

    key: str
    graph: Graph | None = None
    params: int | None = None
    macs: int | None = None
    problem: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    width: int | None = None
    """The width at which its network meets the budget; None: without a budget."""
    score_seconds: float = 0.0
    """What computing scores has taken since the candidate before."""


@dataclass(frozen=True)
class EarlierRun:
    """What an earlier search found of the same space, on these images or on others."""

    name: str
    """The name of the run."""
    architectures: tuple[Architecture, ...]
    """What it evaluated."""
    rewards: tuple[float, ...]
    """The reward of each; their unit is that of the earlier search."""

    def __post_init__(self) -> None:
        if len(self.architectures) != len(self.rewards) or not all(map(math.isfinite, self.rewards)):
            raise SpaceError(f"earlier run '{self.name}': there must be one finite reward for each architecture")


@dataclass(frozen=True)
class Context:
    """What a searcher may know of the search besides its space; all of it is fixed while the search runs.

    ``prepare`` tells key and cost of an architecture without evaluating it. ``epochs`` is a trial's training budget,
    ``trials`` the search's (None: unknown). Networks over ``max_params`` or ``max_macs`` are refused when proposed.
    ``cache`` is a folder for what may be deleted at any time and only saves work (None: keep nothing). ``scores`` tells
    what is known of an architecture without evaluating it, by name: zero-cost scores and a table's; by default those of
    ``prepare`` alone. It may take some hundredths of a second for one that it was not asked before. ``earlier`` is what
    searches before this one found of the space.
    """

    prepare: Callable[[Architecture], Candidate]
    epochs: int = 1
    trials: int | None = None
    max_params: int | None = None
    max_macs: int | None = None
    cache: Path | None = None
    scores: Callable[[Architecture], Mapping[str, float]] = None  # type: ignore[assignment]
    earlier: tuple[EarlierRun, ...] = ()

    def __post_init__(self) -> None:
        if self.scores is None:
            object.__setattr__(self, "scores", lambda architecture: self.prepare(architecture).scores)


@dataclass(frozen=True)
class Job:
    """One evaluation to do: what a worker needs, as values.

    ``graph`` is None when the space describes no network (a published table, a plain function's parameters).
    ``settings`` are the evaluator's own (recipe, dataset, folder). ``seed`` is the seed of this trial alone.
    ``checkpoint`` is where a training leaves its state for a longer one, ``continue_from`` where such a state is.
    ``attempt`` counts the times that this evaluation was begun before; its seed stays the same. An ``alone`` one shares
    its device with no other. ``keep_weights`` and ``keep_predictions``: those are wanted in :class:`Metrics`.
    """

    index: int
    attempt: int
    architecture: Architecture
    key: str
    epochs: int
    seed: int
    task: Task
    graph: Graph | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    params: int | None = None
    macs: int | None = None
    checkpoint: str | None = None
    continue_from: str | None = None
    alone: bool = False
    keep_weights: bool = False
    keep_predictions: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came back for the job of trial ``index``: metrics or a failure, and the seconds it took here.

    ``retry``: the fault may lie with the worker, so that another attempt makes sense.
    """

    index: int
    result: Metrics | Failure
    seconds: float
    retry: bool = False


@dataclass(frozen=True)
class WorkerState:
    """What an onlooker sees of a worker: ``state`` is ``starting``, ``idle`` or ``busy``.

    ``device`` is ``cpu`` or ``gpu 0``; ``trial`` runs since ``since`` (seconds since 1970). ``done`` counts its
    outcomes, ``busy_seconds`` what they took.
    """

    name: str
    node: str
    pid: int
    device: str
    state: str
    trial: int | None = None
    since: float = 0.0
    done: int = 0
    busy_seconds: float = 0.0


class Searcher(Protocol):
    """Looks for architectures. ``ask`` is a pure function of the history and the random stream it is given."""

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return the next proposal; raise :class:`nas.errors.Exhausted` when nothing is left to propose."""


class Evaluator(Protocol):
    """Scores a job. Raise :class:`EvaluationError` with a kind for a typed failure."""

    def __call__(self, job: Job, /) -> Metrics | float:
        """Return the metrics, or just the reward to maximise."""


class Executor(Protocol):
    """Runs jobs and reports what became of them; it never begins one again by itself."""

    @property
    def capacity(self) -> int:
        """The number of jobs that it takes at a time; it may change while workers come and go."""

    def submit(self, job: Job) -> None:
        """Take a job."""

    def wait(self, timeout: float | None = None) -> Sequence[Outcome]:
        """Block until a submitted job is finished or ``timeout`` seconds are over; return what is finished."""

    def withdraw(self) -> Sequence[int]:
        """Take back the jobs that have not begun; return their indices."""

    def workers(self) -> Sequence[WorkerState]:
        """Return the workers as they stand."""

    def close(self) -> None:
        """Release the workers and drop what they do; a later job starts them again."""
