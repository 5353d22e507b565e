"""REINFORCE: a recurrent controller learns to choose from the rewards of what it chose."""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from nas.errors import ConfigError, Exhausted, SpaceError
from nas.searchers.base import number, register_searcher, whole
from nas.searchers.fold_cache import Arrays, CachedFold
from nas.searchers.reinforce.controller import Choice, Controller, Episode, Memory
from nas.space import Space
from nas.space.choices import Options, Replay
from nas.space.space import ATTEMPTS, decisions_key
from nas.types import Architecture, Context, History, Proposal, Trial

FORMAT = "nas/reinforce/2"
REPEATS = 100
"""Draws that were tried already, or infeasible in a row, after which every option counts the same."""
BATCH, PASSES = 2, 2
"""The number of results that PPO waits for, and of steps that it then takes on all of them."""
LEAST = 0.1
"""The least weight of the best that is known: a controller that is sure of another one turns to it."""
NEGLIGIBLE = 0.01
"""The probability below which what is known is left out of a step: its gradient is as small and takes as long."""


class Known(NamedTuple):
    """What scored well, and is not drawn again."""

    reward: float
    trace: tuple[Choice, ...]


@dataclass
class _State:
    """The controller after the results so far, and what an advantage is measured against."""

    controller: Controller
    baseline: float = 0.5
    rewards: list[float] = field(default_factory=list)
    """All rewards, sorted."""
    batch: list[Episode] = field(default_factory=list)
    """What the next step learns from, when it is full."""
    waiting: int = 0
    """The number of results in it."""
    memory: list[Known] = field(default_factory=list)
    """The best results, best first, the earlier of equals first."""
    tried: set[str] = field(default_factory=set)


@register_searcher("reinforce", source="arXiv:1611.01578, section 3")
class ReinforceSearcher:
    """A recurrent controller chooses decision by decision; REINFORCE or PPO makes what scored well more likely.

    Every result is one step of Adam at ``rate`` on its trace, replayed with the parameters of now. What counts is a
    reward's rank among all before it, from 0 to 1, less the moving average of expected ranks (``decay``): rewards of
    any size teach alike. A trial that failed or was refused ranks last and moves neither ranks nor average.
    ``entropy`` weighs the bonus on the entropy of every choice (nats); it halves with every ``half_life`` rewards
    (0: it stays). With ``ppo`` the steps are those of proximal policy optimisation, a few on every few results with
    clipped ratios of probability (arXiv:1707.06347; in NAS arXiv:1707.07012, appendix A). ``hidden`` is the size of
    the LSTM.

    What was tried or is pending is not proposed again: the controller draws without replacement. Its gradient is still
    that of draws with replacement, as in the paper: the ``memory`` best results, whose rewards are known, take part in
    every step by their probability, and what was drawn by the rest of it (arXiv:1810.04777; with a memory of the best
    arXiv:1807.02322), the best of them by :data:`LEAST` at the least (self-imitation, arXiv:1806.05635).
    Without (0), a controller that is sure of the best architecture unlearns it: all that it is then shown are others.
    """

    def __init__(
        self,
        space: Space,
        hidden: int = 32,
        rate: float = 0.05,
        entropy: float = 0.2,
        decay: float = 0.95,
        ppo: bool = False,
        memory: int = 8,
        half_life: int = 50,
        context: Context | None = None,
    ) -> None:
        self._space = space
        self._hidden = whole("reinforce", "hidden", hidden, 1)
        self._rate = number("reinforce", "rate", rate)
        self._entropy = number("reinforce", "entropy", entropy, 0, 100)
        self._decay = number("reinforce", "decay", decay)
        if type(ppo) is not bool:
            raise ConfigError(f"searcher 'reinforce': ppo must be true or false, found {ppo!r}")
        self._ppo = ppo
        self._memory = whole("reinforce", "memory", memory, 0)
        self._half_life = whole("reinforce", "half_life", half_life, 0)
        cache = context.cache if context else None
        path = cache and cache / "reinforce.cache"
        own = (hidden, rate, entropy, decay, ppo, memory, half_life)
        identity = repr((FORMAT, space.name, sorted(space.args.items()), *own))
        self._fold = CachedFold(lambda: _State(Controller(hidden)), self._step, path, identity, _pack, self._unpack)

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return the controller's next choice; ``info`` holds its log-probability."""
        state = self._fold(history)
        pending = [decisions_key(t.architecture) for t in history.pending]
        tried = state.tried.union(pending) if pending else state.tried
        draws = Draws(state.controller, rng)
        repeats = infeasible = 0
        # draw until something new comes; where repeats pile up, draw evenly among what is left
        while infeasible < ATTEMPTS and not draws.exhausted:
            architecture = self._space.attempt(draws.chooser(evenly=max(repeats, infeasible) >= REPEATS))
            if architecture is None:
                infeasible += 1
            elif decisions_key(architecture) in tried:
                repeats, infeasible = repeats + 1, 0
            else:
                return Proposal(architecture, info={"logp": draws.logp})
        if not tried:
            raise SpaceError(f"space '{self._space.name}': no feasible architecture in {infeasible:,} draws")
        raise Exhausted(f"space '{self._space.name}': every architecture was proposed")

    def _step(self, state: _State, trial: Trial) -> None:
        state.tried.add(decisions_key(trial.architecture))
        if trial.status == "pending":  # a scheduler shows what was trained for other epochs without its reward
            return
        # the decisions in the order in which the space takes them, those without an alternative left out
        replay = _RecordingReplay(trial.architecture)
        self._space.attempt(replay)
        trace, reward = tuple(replay.trace), trial.reward
        # draws without replacement show what is known no more: it takes part by its probability, the draw by the rest
        others = [one for one in state.memory if one.trace != trace] if trace else []
        logps = state.controller.logps([one.trace for one in others])
        shares: list[float] = np.exp(logps).tolist()
        rest = max(1.0 - sum(shares), 0.0)
        # what counts is the rank, so rewards of any scale teach alike
        score = 0.0 if reward is None else _rank(reward, state.rewards)
        scores = [_rank(one.reward, state.rewards) for one in others]
        baseline = state.baseline
        if reward is not None:
            expected = rest * score + sum(share * s for share, s in zip(shares, scores, strict=True))
            state.baseline = self._decay * baseline + (1 - self._decay) * expected
            insort(state.rewards, reward)
        if not trace:
            return
        # a trial of another searcher has no probability of its own: as if it had been drawn now
        logp = trial.proposal.info.get("logp")
        if logp is None and self._ppo:
            logp = state.controller.logp(trace)
        results = BATCH if self._ppo else 1
        state.batch.append(Episode(trace, 2 * (score - baseline), logp, rest / results))
        for place, (one, s, known_logp, share) in enumerate(zip(others, scores, logps, shares, strict=True)):
            least = LEAST if place == 0 and s > baseline else 0.0
            if max(share, least) > NEGLIGIBLE:
                state.batch.append(Episode(one.trace, 2 * (s - baseline), known_logp, max(share, least) / results))
        if reward is not None:
            state.memory = sorted([*others, Known(reward, trace)], key=lambda one: -one.reward)[: self._memory]
        state.waiting += 1
        if state.waiting == results:
            # explore at first, then settle: a bonus that stays would forbid the controller to be sure
            entropy = self._entropy * 0.5 ** (len(state.rewards) / self._half_life if self._half_life else 0.0)
            for _ in range(PASSES if self._ppo else 1):
                state.controller.update(state.batch, self._rate, entropy, clip=self._ppo)
            state.batch, state.waiting = [], 0

    def _unpack(self, arrays: Arrays, results: Sequence[Trial]) -> _State:
        state, text = _State(Controller(self._hidden)), json.loads(str(arrays["text"]))
        state.baseline, state.rewards = float(arrays["baseline"]), arrays["rewards"].tolist()
        state.batch = [Episode(_trace(choices), *numbers) for choices, *numbers in text["batch"]]
        state.waiting = text["waiting"]
        state.memory = [Known(reward, _trace(choices)) for reward, choices in text["memory"]]
        state.tried = {decisions_key(t.architecture) for t in results}
        parameters = [state.controller.core, *(state.controller.table(name, count) for name, count in text["tables"])]
        # value and both moments of all parameters lie side by side
        parts = np.split(arrays["numbers"], np.cumsum([p.value.size for p in parameters])[:-1], axis=1)
        for parameter, part, steps in zip(parameters, parts, arrays["steps"], strict=True):
            parameter.value, parameter.first, parameter.second = part.reshape(3, *parameter.value.shape).copy()
            parameter.steps = int(steps)
        return state


def _rank(reward: float, rewards: list[float]) -> float:
    """Return the share of the sorted ``rewards`` below ``reward``, ties counting half."""
    below = bisect_left(rewards, reward) + bisect_right(rewards, reward)
    return (below + 1) / (2 * len(rewards) + 2)


def _trace(choices: Sequence[tuple[str, int, int]]) -> tuple[Choice, ...]:
    return tuple(Choice(*choice) for choice in choices)


def _pack(state: _State) -> Arrays:
    tables = state.controller.tables
    parameters = [state.controller.core, *tables.values()]
    batch = [(e.trace, e.advantage, e.logp, e.share) for e in state.batch]
    text = {"tables": list(tables), "batch": batch, "waiting": state.waiting, "memory": state.memory}
    return {
        "text": json.dumps(text),
        "baseline": state.baseline,
        "rewards": np.array(state.rewards),
        "numbers": np.concatenate([np.stack([p.value, p.first, p.second]).reshape(3, -1) for p in parameters], axis=1),
        "steps": np.array([p.steps for p in parameters]),
    }


class _RecordingReplay(Replay):
    """Replays an architecture and writes its choices down."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__(dict(architecture.decisions))
        self.trace: list[Choice] = []

    def pick(self, name: str, options: Options) -> int:
        """Return the index of the recorded decision."""
        index = super().pick(name, options)
        if len(options) > 1:
            self.trace.append(Choice(name, index, len(options)))
        return index


class _Node:
    """A decision reached by one sequence of choices: the options' probabilities, and how much of each is left."""

    __slots__ = ("children", "left", "logp", "memory", "name", "open", "probabilities")

    def __init__(
        self, controller: Controller, memory: Memory, previous: Choice | None, name: str, possible: list[bool]
    ) -> None:
        self.name, count = name, len(possible)
        self.memory, logp = controller.step(memory, previous, name, count)
        self.logp: list[float] = logp.tolist()
        self.probabilities: list[float] = np.exp(logp).tolist()
        self.open = possible
        self.left = [p if is_open else 0.0 for p, is_open in zip(self.probabilities, self.open, strict=True)]
        self.children: dict[int, _Node] = {}


class Draws:
    """Draws from a controller without replacement (arXiv:2002.09067): what was drawn once is not drawn again.

    The choices seen so far form a tree that remembers the LSTM's states, so that further draws are cheap.
    """

    def __init__(self, controller: Controller, rng: np.random.Generator) -> None:
        self._controller, self._rng = controller, rng
        self._root: _Node | None = None
        self._path: list[tuple[_Node, int]] = []
        self._begun = self._evenly = False
        self._possible: Sequence[bool] | None = None

    @property
    def exhausted(self) -> bool:
        """Whether everything was drawn."""
        self._close()
        return self._begun and (self._root is None or not any(self._root.open))

    @property
    def logp(self) -> float:
        """The log-probability of the latest draw."""
        return sum(node.logp[index] for node, index in self._path)

    def chooser(self, evenly: bool = False) -> Draws:
        """Return the chooser of another draw, as the controller would or ``evenly`` among what is left."""
        self._close()
        self._begun, self._evenly = True, evenly
        return self

    def narrow(self, possible: Sequence[bool]) -> None:
        """Draw the next decision among the options that are possible."""
        self._possible = possible

    def pick(self, name: str, options: Options) -> int:
        """Return the index of an option under which something is left."""
        possible, self._possible = self._possible, None
        if len(options) == 1:
            return 0
        opened = [True] * len(options) if possible is None else list(possible)
        # the node of this sequence of choices; the LSTM takes a step where nobody was before
        if self._path:
            parent, index = self._path[-1]
            node = parent.children.get(index)
            if node is None:
                previous = Choice(parent.name, index, len(parent.open))
                node = parent.children[index] = _Node(self._controller, parent.memory, previous, name, opened)
        else:
            if self._root is None:
                self._root = _Node(self._controller, self._controller.start(), None, name, opened)
            node = self._root
        weights = list(accumulate(node.open if self._evenly else node.left))
        if weights[-1] <= 0:
            weights = list(accumulate(node.open))
        # inverse transform sampling by the cumulated weights
        index = bisect_right(weights, self._rng.random() * weights[-1], hi=len(weights) - 1)
        while not node.open[index]:
            index -= 1
        self._path.append((node, index))
        return index

    def _close(self) -> None:
        left, still_open = 0.0, False
        for node, index in reversed(self._path):
            node.left[index] = node.probabilities[index] * left
            node.open[index] = still_open
            left, still_open = sum(node.left), any(node.open)
        self._path = []
