"""The laws of a searcher, each a check of one of them on one space."""

from __future__ import annotations

import json
import math
import random
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from nas.core.values import spelled
from nas.engine.loop import Ledger
from nas.engine.random_streams import SEARCH, stream
from nas.errors import Exhausted, one_line
from nas.executors.inline import InlineExecutor
from nas.space import Space
from nas.testing.check import Check, Watched
from nas.testing.process import elsewhere
from nas.testing.searches import EPOCHS, SEED, Search, ShuffledExecutor, answer, reward
from nas.testing.spaces import CONDITIONAL, LARGE, ONE_POINT, SMALL, TWINS, Case, params
from nas.types import Architecture, Context, History, Job, Proposal, Searcher, Trial


def purity(check: Check) -> None:
    """The same history and stream give the same proposal, whatever was asked before, and the history stays as it is."""

    def text(history: History) -> list[str]:
        return [*map(spelled, history.results), "pending", *map(spelled, history.pending)]

    def said_by(searcher: Searcher, index: int, history: History) -> tuple[object, ...]:
        before = text(history)
        try:
            said: tuple[object, ...] = answer(searcher.ask(history, stream(SEED, index, 0, SEARCH)))
        except Exhausted:
            said = (None, "exhausted")
        if text(history) != before:
            check.fail("ask changes the history that it is given", index)
        return said

    search = check.search(lag=3, executor=ShuffledExecutor(reward, 3, 0))
    # every trial's index and the history that it was asked with
    asked: list[tuple[int, History]] = []
    ledger = Ledger(3)
    for event in search.events:
        if event["event"] == "asked":
            seen = ledger.history()
            asked.append((event["index"], History(list(seen.results), list(seen.pending))))
        ledger.apply(event)
    last = len(asked) - 1
    chosen = [asked[i] for i in sorted({0, min(1, last), last // 3, last // 2, last})]
    searchers = [check.fresh() for _ in chosen]  # all alive at once, so that none has the address of another
    expected = {i: said_by(s, i, h) for s, (i, h) in zip(searchers, chosen, strict=True)}
    for index, said in expected.items():
        if said[0] != search.trials[index].architecture:
            check.fail("a fresh searcher proposes another architecture than the one that ran the search", index)
    # one searcher asked back and forth: what it was asked before must leave no trace
    used = check.fresh()
    for index, history in [*reversed(chosen), *chosen[::2], *chosen, *chosen[-1:]]:
        if said_by(used, index, history) != expected[index]:
            check.fail("asked twice or after other histories, the same history and stream give another proposal", index)


def resume(check: Check) -> None:
    """Killed after any event of the journal and resumed, the search goes on as if nothing had happened."""
    # kill the search after every single event, and take two more proposals
    whole = check.search()
    for k in range(len(whole.events)):
        kept = json.loads(json.dumps(whole.events[:k]))
        most = sum(event["event"] == "asked" for event in kept) + 2
        found = check.search(events=kept, until=lambda ledger, most=most: len(ledger.trials) >= most)
        check.same(found, whole, f"resumed after {k} events,")


def exhaustion(check: Check) -> None:
    """A space that is small is searched to its end: every network is evaluated, then the search stops by itself."""
    keys = check.case.keys

    def over(ledger: Ledger) -> bool:  # it then repeats itself, which ends a search after BARREN trials
        return ledger.barren >= 30 and {key for key, _ in ledger.known} >= keys

    search = check.search(10 * len(keys), until=over)
    left = len(keys - {t.key for t in search.evaluated_trials})
    if left:
        found = f"it ended ({search.reason}) with {left} of {len(keys)} networks never evaluated"
        check.fail(found, len(search.trials))
    if search.reason == "budget":
        check.fail(f"it goes on after all {len(keys)} networks were evaluated", len(search.trials))


def order(check: Check) -> None:
    """With a lag the order of results changes nothing; without, the same order gives the same search."""
    expected = check.search(lag=4)
    # with a lag, the order in which results arrive may not matter
    for capacity in (2, 4, 7):
        found = check.search(lag=4, executor=ShuffledExecutor(reward, capacity, capacity))
        check.same(found, expected, f"with lag 4 and {capacity} trials at a time in another order,")
    # without, only the order may matter
    runs = [check.search(lag=None, executor=ShuffledExecutor(reward, 4, 1)) for _ in range(2)]
    check.same(runs[1], runs[0], "without lag, in the same order of results,")


def pending(check: Check) -> None:
    """While trials are pending, the searcher proposes others: of 20 proposals in a row one is new."""
    search = check.search(max(1, check.case.trials // 2))
    # as on a cluster where no result arrives: each proposal joins the pending ones
    results, waiting = list(search.trials), list[Trial]()
    searcher, space = check.fresh(), check.case.space()
    repeats = 0

    def asked(proposal: Proposal) -> tuple[Architecture, int]:
        return proposal.architecture, proposal.epochs or EPOCHS

    while len({t.key for t in waiting}) < max(1, check.case.trials // 2):
        index = len(results) + len(waiting)
        try:
            proposal = searcher.ask(History(results, waiting), stream(SEED, index, 0, SEARCH))
        except Exhausted:
            check.fail("it is exhausted while trials are pending and others were never asked", index)
        repeats = repeats + 1 if any(asked(proposal) == asked(t.proposal) for t in waiting) else 0
        if repeats == 20:
            check.fail("20 proposals in a row were pending already; look at history.pending", index)
        waiting.append(Trial(index, proposal, space.key(proposal.architecture)))


def fresh(check: Check) -> None:
    """Nothing is asked twice while there is another choice, neither what has a result nor what is pending."""
    for executor, lag in ((None, 1), (ShuffledExecutor(reward, 4, 2), None)):
        asked: dict[tuple[Architecture, int], int] = {}
        for t in check.search(executor=executor, lag=lag).trials:
            first = asked.setdefault((t.architecture, t.proposal.epochs), t.index)
            if first != t.index:
                check.fail(f"the architecture of trial {first} is proposed again", t.index)


def failures(check: Check) -> None:
    """Failed trials do not stop a search, be it some, the first ten or all of them."""

    def evaluate(fails: Callable[[Job], bool], job: Job) -> float:
        if fails(job):
            raise RuntimeError(f"planted failure of {job.key}")
        return _number(job)

    plans: dict[str, Callable[[Job], bool]] = {
        "some fail": lambda job: int(job.key[:4], 16) % 3 == 0,
        "the first ten fail": lambda job: job.index < 10,
        "all fail": lambda job: True,
    }
    for name, fails in plans.items():
        _spent(check, check.search(executor=InlineExecutor(partial(evaluate, fails))), f"when {name}")


def _spent(check: Check, search: Search, when: str) -> None:
    count = len(search.evaluated_trials)
    if count < check.case.trials:
        found = f"{when} the search ended ({search.reason}) after {count} of {check.case.trials} evaluations"
        check.fail(found, len(search.trials))


def _sign(job: Job) -> float:
    return 1.0 if int(job.key[8:12], 16) % 2 else -1.0


REWARDS: dict[str, Callable[[Job], float]] = {
    "NaN now and then": lambda job: math.nan if int(job.key[:4], 16) % 3 == 0 else _number(job),
    "infinite now and then": lambda job: math.inf if int(job.key[:4], 16) % 3 == 0 else _number(job),
    "all equal": lambda job: 0.5,
    "all zero": lambda job: 0.0,
    "of 1e300": lambda job: 1e300 * (1 + _number(job)),
    "of 1e-300": lambda job: 1e-300 * (1 + _number(job)),
    "negative": lambda job: -1.0 - _number(job),
    "of mixed sign and size": lambda job: _sign(job) * 10.0 ** (600 * _number(job) - 300),
    "of 1e300 and both signs": lambda job: _sign(job) * 1e300 * (1 + 0.7 * _number(job)),
}
"""Rewards that arithmetic may trip over."""


def rewards(check: Check) -> None:
    """Whatever rewards come, nothing is raised and numpy warns of nothing; NaN and infinity are failed trials."""
    for name, evaluate in REWARDS.items():
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            search = check.search(executor=InlineExecutor(evaluate))
        _spent(check, search, f"with rewards {name}")


def proposals(check: Check) -> None:
    """Proposals are points of the space, info is JSON, epochs are integers, continue_from is an earlier trial."""

    def ask(searcher: Searcher, history: History, rng: np.random.Generator) -> Proposal:
        """Return a proposal that a journal can hold, or say what it cannot."""
        proposal, index = searcher.ask(history, rng), len(history)
        # what a journal cannot hold exactly would differ after a resume
        if type(proposal.epochs) is not int or proposal.epochs < 0:
            check.fail(f"epochs must be an integer of at least 0, found {proposal.epochs!r}", index)
        try:
            again = json.loads(json.dumps(dict(proposal.info), allow_nan=False))
        except (TypeError, ValueError) as error:
            check.fail(f"info must be JSON: {one_line(error)}", index)
        if again != dict(proposal.info):
            check.fail(f"info must survive JSON: {dict(proposal.info)} is read back as {again}", index)
        # a training goes on where a shorter one of the same network ended
        origin, epochs = proposal.continue_from, proposal.epochs or EPOCHS
        if origin is not None:
            found = next((t for t in history.results if t.index == origin and t.reward is not None), None)
            if not found or found.architecture != proposal.architecture or found.proposal.epochs >= epochs:
                rule = "continue_from must be a scored trial of the same architecture and fewer epochs"
                check.fail(f"{rule}, found {origin!r}", index)
        return proposal

    check.search(make=lambda space, context: Watched(check.make(space, context), ask))


def limits(check: Check) -> None:
    """With half of all networks over max_params the rest is found; with all of them the search ends."""
    case, costs = check.case, check.case.costs
    # half of all networks are allowed: those are found
    half = costs[len(costs) // 2]
    space = case.space()
    allowed = {space.key(a) for a in case.points if params(a) <= half}
    wanted = max(1, len(allowed) // 2)
    search = check.search(wanted, max_params=half)
    count = len(search.evaluated_trials)
    if count < wanted:
        found = f"with max_params it ended ({search.reason}) after {count} of {wanted} evaluations"
        check.fail(found, len(search.trials))
    # none is allowed: the search ends, whatever the searcher proposes
    none = check.search(max_params=costs[0] - 1, until=lambda ledger: ledger.barren >= 10)
    if none.reason == "budget":
        check.fail("networks over max_params were evaluated")


def streams(check: Check) -> None:
    """The only randomness is the stream that ask is given: no global generator is used, seeded or moved."""

    def ask(seed: int, searcher: Searcher, history: History, rng: np.random.Generator) -> Proposal:
        """Return a proposal, and note whether a global generator was used for it."""
        # seed the global generators before each proposal, and look whether they were touched after it
        index = len(history)
        random.seed(seed + index)
        np.random.seed(seed + index)
        if "torch" in sys.modules:
            sys.modules["torch"].manual_seed(seed + index)
        before = states()
        proposal = searcher.ask(history, rng)
        for name, state in states().items():
            if state != before.get(name, state):
                check.fail(f"ask uses the global generator of {name}; draw from rng", index)
        return proposal

    def make(seed: int, space: Space, context: Context) -> Searcher:
        return Watched(check.make(space, context), partial(ask, seed))

    # a searcher that drew from a global generator would differ between the two seeds; all are put back after it
    pythons, numpys, torch = random.getstate(), np.random.get_state(), sys.modules.get("torch")
    torchs = None if torch is None else torch.get_rng_state()
    try:
        runs = [check.search(make=partial(make, seed)) for seed in (1, 2)]
    finally:
        random.setstate(pythons)
        np.random.set_state(numpys)
        if torch is not None:
            torch.set_rng_state(torchs)
    check.same(runs[1], runs[0], "with other seeds of the global random generators")


def states() -> dict[str, bytes]:
    """Return the state of every global generator by the name of its package."""
    numpys = np.random.get_state(legacy=False)
    # an array compares by its bytes, the rest by its text
    words, *rest = numpys["state"]["key"], numpys["state"]["pos"], numpys["has_gauss"], numpys["gauss"]
    found = {"random": repr(random.getstate()).encode(), "numpy": words.tobytes() + repr(rest).encode()}
    if "torch" in sys.modules:
        found["torch"] = sys.modules["torch"].get_rng_state().numpy().tobytes()
    return found


def process(check: Check) -> None:
    """Processes with other seeds of Python's hash propose the same; for registered searchers alone."""
    expected = [answer(t.proposal) for t in check.search().trials]
    for hash_seed, found in elsewhere(check.subject, check.case):
        for index, (one, other) in enumerate(zip(found, expected, strict=False)):
            if one != [other[0].to_json(), *other[1:]]:
                what = f"a process with PYTHONHASHSEED={hash_seed} proposes another architecture or info"
                check.fail(f"{what}; sort sets, and use no hash()", index)


def _number(job: Job) -> float:
    return int(job.key[:8], 16) / 0xFFFFFFFF


@dataclass(frozen=True)
class Law:
    """A law by name: its check, and the spaces that it is checked on."""

    check: Callable[[Check], None]
    cases: Sequence[Case]

    @property
    def summary(self) -> str:
        """What it says, in a line."""
        return (self.check.__doc__ or "").split("\n")[0]


LAWS: dict[str, Law] = {
    "proposals": Law(proposals, (*SMALL, LARGE)),
    "purity": Law(purity, (*SMALL, LARGE)),
    "resume": Law(resume, (CONDITIONAL, TWINS, LARGE)),
    "order": Law(order, (CONDITIONAL, LARGE)),
    "exhaustion": Law(exhaustion, SMALL),
    "pending": Law(pending, tuple(case for case in SMALL if case is not ONE_POINT)),
    "failures": Law(failures, (*SMALL, LARGE)),
    "rewards": Law(rewards, (CONDITIONAL, TWINS)),
    "limits": Law(limits, SMALL),
    "streams": Law(streams, (CONDITIONAL, LARGE)),
    "process": Law(process, (CONDITIONAL, LARGE)),
}
"""What every searcher keeps, by name."""
STRICT: dict[str, Law] = {"fresh": Law(fresh, (*SMALL, LARGE))}
"""What a searcher keeps that does not draw with replacement, as random search does: repeats cost no evaluation."""
