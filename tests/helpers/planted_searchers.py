"""A searcher that keeps all laws, and searchers that each break one."""

from __future__ import annotations

import random
import time
from dataclasses import replace

import numpy as np

from nas.errors import Exhausted
from nas.types import Proposal


class Plain:
    """A searcher that keeps all laws: a random architecture that is not known, until there is none."""

    def __init__(self, space, context):
        self.space, self.context = space, context

    def ask(self, history, rng):
        return Proposal(self.new(history, rng))

    def new(self, history, rng):
        known = {t.architecture for t in (*history.results, *history.pending)}
        for _ in range(100):
            found = self.space.sample(rng)
            if found not in known:
                return found
        left = [a for a in self.space.enumerate() if a not in known]
        if not left:
            raise Exhausted("all were asked")
        return left[int(rng.integers(len(left)))]


class Counts(Plain):
    calls = 0

    def ask(self, history, rng):
        self.calls += 1
        return Proposal(self.new(history, rng), info={"call": self.calls})


class Appends(Plain):
    def ask(self, history, rng):
        history.results.append(history.results[-1]) if history.results else None
        return Proposal(self.new(history, rng))


class WritesInfo(Plain):
    def ask(self, history, rng):
        for t in history.results:
            t.proposal.info["seen"] = True
        return Proposal(self.new(history, rng), info={"round": 1})


class Clock(Plain):
    def ask(self, history, rng):
        return Proposal(self.new(history, np.random.default_rng(time.perf_counter_ns())))


class Address(Plain):
    def ask(self, history, rng):
        return Proposal(self.new(history, np.random.default_rng(id(self))))


class Unseeded(Plain):
    def ask(self, history, rng):
        return Proposal(self.new(history, np.random.default_rng()))


class Remembers(Plain):
    """Keeps the best it was told in this process, which a resumed search has forgotten."""

    best = None

    def ask(self, history, rng):
        for t in history.results[-1:]:
            if t.reward is not None and (self.best is None or t.reward > self.best.reward):
                self.best = t
        if self.best is not None:
            return Proposal(self.space.mutate(self.best.architecture, rng))
        return Proposal(self.new(history, rng))


class Seconds(Plain):
    """Looks at what the clock said of the results."""

    def ask(self, history, rng):
        seconds = sum(t.seconds for t in history.results)
        return Proposal(self.new(history, np.random.default_rng(int(seconds * 1e9))))


class Stuck(Plain):
    def ask(self, history, rng):
        return Proposal(next(self.space.enumerate()))


class StopsEarly(Plain):
    def ask(self, history, rng):
        if len(history) == 2:
            raise Exhausted("two are enough")
        return Proposal(self.new(history, rng))


class Endless(Plain):
    """Never raises Exhausted: asks what is known with ever more epochs."""

    def ask(self, history, rng):
        try:
            return Proposal(self.new(history, rng))
        except Exhausted:
            return Proposal(self.space.sample(rng), epochs=10 + len(history))


class StopsAtTheEndOfTime(Plain):
    """Raises something of its own when nothing is left."""

    def ask(self, history, rng):
        try:
            return Proposal(self.new(history, rng))
        except Exhausted:
            raise IndexError("nothing left") from None


class ForgetsPending(Plain):
    def ask(self, history, rng):
        known = {t.architecture for t in history.results}
        return Proposal(next((a for a in self.space.enumerate() if a not in known), self.space.sample(rng)))


class WaitsForPending(Plain):
    def ask(self, history, rng):
        if history.pending:
            raise Exhausted("come back later")
        return Proposal(self.new(history, rng))


class NeedsRewards(Plain):
    def ask(self, history, rng):
        best = max((t.metrics.reward for t in history.results), default=0.0)
        return Proposal(self.new(history, rng), info={"best": best})


class GivesUp(Plain):
    def ask(self, history, rng):
        if len(history) > 12 and all(t.reward is None for t in history.results):
            raise Exhausted("nothing works")
        return Proposal(self.new(history, rng))


class Normalises(Plain):
    def ask(self, history, rng):
        rewards = np.array([t.reward for t in history.results if t.reward is not None])
        if len(rewards) > 1:
            rewards = (rewards - rewards.mean()) / rewards.std()
        return Proposal(self.new(history, rng))


class FearsRefusals(Plain):
    def ask(self, history, rng):
        if any(t.status == "refused" for t in history.results):
            raise ValueError("too large")
        return Proposal(self.new(history, rng))


class OverTheLimit(Plain):
    """Proposes the largest only."""

    def ask(self, history, rng):
        points = sorted(self.space.enumerate(), key=lambda a: self.context.prepare(a).params)
        return Proposal(points[-1 - int(rng.integers(min(2, len(points))))])


class NumpysGenerator(Plain):
    def ask(self, history, rng):
        return Proposal(self.new(history, np.random.default_rng(np.random.randint(9))))


class PythonsGenerator(Plain):
    def ask(self, history, rng):
        return Proposal(self.new(history, rng), info={"luck": random.random()})


class Reseeds(Plain):
    def ask(self, history, rng):
        np.random.seed(0)
        return Proposal(self.new(history, rng))


def saying(**changes):
    """Return a searcher whose third proposal has ``changes``."""

    class Says(Plain):
        def ask(self, history, rng):
            proposal = Proposal(self.new(history, rng))
            return replace(proposal, **changes) if len(history) == 2 else proposal

    return Says


class ContinuesAnother(Plain):
    def ask(self, history, rng):
        asked = {"epochs": 1} if not history.results else {"epochs": 3, "continue_from": 0}
        return Proposal(self.new(history, rng), **asked)


class Silent(Plain):
    def ask(self, history, rng):
        return None


class CannotAsk:
    def __init__(self, space, context):
        pass
