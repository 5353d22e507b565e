"""The recurrent controller: an LSTM that chooses decision by decision, its gradients written out, and Adam.

Arrays are this small that numpy is quicker than torch, and its import too. Every product is an ``einsum``, which never
calls a BLAS: the same numbers come out bit by bit in every process and with any number of threads.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[np.float64]
Table: TypeAlias = tuple[str, int]
"""A decision's name and its number of options: what has a softmax of its own."""
INITIAL = 0.1
"""Parameters begin uniform in -0.1 to 0.1, biases of a softmax at 0."""
FIRST, SECOND, EPSILON = 0.9, 0.99, 1e-8
"""Adam's decay rates: 0.99 instead of 0.999, since a search has hundreds of steps, not thousands."""
CLIP = 0.2
"""PPO's clipping of the probability ratio (arXiv:1707.06347, section 3)."""


class Choice(NamedTuple):
    """One decision of a trace."""

    name: str
    chosen: int
    """The index of the chosen option."""
    among: int
    """The number of options."""


@dataclass(frozen=True)
class Episode:
    """A trace and what came of it."""

    trace: tuple[Choice, ...]
    advantage: float
    """How much better than expected it was, in ranks from 0 to 1."""
    logp: float | None = None
    """Its log-probability (nats) when it was drawn, None where that is not known."""
    share: float = 1.0
    """The weight of its objective in a step."""


class Memory(NamedTuple):
    """The LSTM's hidden and cell state, each (H,)."""

    hidden: Array
    cell: Array


@dataclass
class Parameter:
    """An array with its two moments of Adam (arXiv:1412.6980) and the number of steps that touched it."""

    value: Array
    first: Array
    second: Array
    steps: int = 0

    @classmethod
    def named(cls, name: str, shape: tuple[int, int]) -> Parameter:
        """Return a new parameter whose initial values depend on ``name`` and ``shape`` alone."""
        seed = int.from_bytes(blake2b(repr((name, shape)).encode(), digest_size=16).digest(), "little")
        value = np.random.Generator(np.random.PCG64(seed)).uniform(-INITIAL, INITIAL, shape)
        return cls(value, np.zeros(shape), np.zeros(shape))

    def ascend(self, gradient: Array, rate: float) -> None:
        """Take one step of Adam uphill."""
        self.steps += 1
        self.first = FIRST * self.first + (1 - FIRST) * gradient
        self.second = SECOND * self.second + (1 - SECOND) * gradient * gradient
        spread = np.sqrt(self.second / (1 - SECOND**self.steps)) + EPSILON
        self.value = self.value + (rate / (1 - FIRST**self.steps)) * self.first / spread


@dataclass
class _Pass:
    """What a forward pass over T decisions leaves for the way back."""

    trace: tuple[Choice, ...]
    inputs: Array  # (T, 1 + E + H): one, the embedding of the previous choice, the previous hidden state
    gates: Array  # (T, 4H): input, forget, output in 0 to 1, candidate in -1 to 1
    cells: Array  # (T + 1, H)
    hidden: Array  # (T + 1, H)
    logps: list[Array]  # T of (options,)

    @property
    def logp(self) -> float:
        return float(sum(logp[choice.chosen] for choice, logp in zip(self.trace, self.logps, strict=True)))


class Controller:
    """The parameters: one LSTM for all decisions, and for each decision a table of its options.

    A row of a table holds, for one option, its weights in the softmax (H), its bias (1), and the embedding (E) that is
    the LSTM's next input when it is chosen. Tables are made when a decision first appears; their initial values depend
    on the name and the number of options only. ``hidden`` is H, E is half of it.
    """

    def __init__(self, hidden: int) -> None:
        self.hidden = hidden
        self.embedding = max(hidden // 2, 1)
        self.core = Parameter.named("lstm", (1 + self.embedding + hidden, 4 * hidden))
        self.tables: dict[Table, Parameter] = {}
        self._slope = np.repeat([0.5, 0.5, 0.5, 1.0], hidden)  # sigmoid(z) = (1 + tanh(z / 2)) / 2
        self._shift = 1.0 - self._slope

    def table(self, name: str, count: int) -> Parameter:
        """Return the table of a decision, (options, H + 1 + E)."""
        found = self.tables.get((name, count))
        if found is None:
            found = Parameter.named(f"decision {name}", (count, self.hidden + 1 + self.embedding))
            found.value[:, self.hidden] = 0.0
            self.tables[name, count] = found
        return found

    def start(self) -> Memory:
        """Return the memory before the first decision."""
        return Memory(np.zeros(self.hidden), np.zeros(self.hidden))

    def step(self, memory: Memory, previous: Choice | None, name: str, count: int) -> tuple[Memory, Array]:
        """Return the memory after one recurrent step and the log-probabilities of the options of ``name``."""
        embedding = np.zeros(self.embedding) if previous is None else self._embedding(previous)
        x = np.concatenate(([1.0], embedding, memory.hidden))
        _, cell, hidden = self._recur(np.einsum("i,ij->j", x, self.core.value), memory.cell)
        return Memory(hidden, cell), self._logp(hidden, name, count)

    def logp(self, trace: tuple[Choice, ...]) -> float:
        """Return the log-probability of a trace."""
        return self._forward(trace).logp

    def logps(self, traces: Sequence[tuple[Choice, ...]]) -> list[float]:
        """Return the log-probabilities of traces, those of the same decisions side by side."""
        groups: dict[tuple[Table, ...], list[int]] = {}
        for place, trace in enumerate(traces):
            groups.setdefault(tuple((c.name, c.among) for c in trace), []).append(place)
        found = [0.0] * len(traces)
        for decisions, places in groups.items():
            n, everyone = len(places), np.arange(len(places))
            cell, hidden, embedding = (
                np.zeros((n, self.hidden)),
                np.zeros((n, self.hidden)),
                np.zeros((n, self.embedding)),
            )
            total = np.zeros(n)
            for t, (name, count) in enumerate(decisions):
                x = np.concatenate((np.ones((n, 1)), embedding, hidden), axis=1)
                _, cell, hidden = self._recur(np.einsum("ni,ij->nj", x, self.core.value), cell)
                chosen = np.array([traces[place][t].chosen for place in places])
                total += self._logp(hidden, name, count)[everyone, chosen]
                embedding = self.table(name, count).value[chosen, self.hidden + 1 :]
            for place, logp in zip(places, total.tolist(), strict=True):
                found[place] = logp
        return found

    def update(self, episodes: Sequence[Episode], rate: float, entropy: float, clip: bool) -> None:
        """Take one step of Adam on the objective of ``episodes``; decisions that they lack stay as they are."""
        core, tables = self.gradients(episodes, entropy, clip)
        self.core.ascend(core, rate)
        for key, gradient in tables.items():
            self.tables[key].ascend(gradient, rate)

    def gradients(self, episodes: Sequence[Episode], entropy: float, clip: bool) -> tuple[Array, dict[Table, Array]]:
        """Return the gradient of the LSTM and of every table that the episodes touch.

        The objective of an episode is ``advantage * logp``, or with ``clip`` PPO's clipped surrogate, plus ``entropy``
        times the entropies (nats) of all its choices; that of all is their sum, each times its ``share``.
        """
        core = np.zeros_like(self.core.value)
        passes = [self._forward(episode.trace) for episode in episodes]
        tables = {
            (c.name, c.among): np.zeros_like(self.table(c.name, c.among).value) for e in episodes for c in e.trace
        }
        for episode, done in zip(episodes, passes, strict=True):
            weight = episode.advantage
            if clip and episode.logp is not None:
                # the slope of PPO's surrogate ``min(r A, clip(r) A)`` with respect to the log-probability
                ratio = float(np.exp(np.clip(done.logp - episode.logp, -20.0, 20.0)))
                clipped = ratio > 1 + CLIP if episode.advantage > 0 else ratio < 1 - CLIP
                weight = 0.0 if clipped else ratio * episode.advantage
            core += self._backward(done, episode.share * weight, episode.share * entropy, tables)
        return core, tables

    def _embedding(self, choice: Choice) -> Array:
        return self.table(choice.name, choice.among).value[choice.chosen, self.hidden + 1 :]

    def _recur(self, z: Array, cell: Array) -> tuple[Array, Array, Array]:
        """Return gates (..., 4H), cell and hidden state (..., H) from the gates' inputs and the last cell."""
        gates: Array = np.tanh(z * self._slope) * self._slope + self._shift
        i, f, o, g = (gates[..., k * self.hidden : (k + 1) * self.hidden] for k in range(4))
        cell = f * cell + i * g
        return gates, cell, o * np.tanh(cell)

    def _logp(self, hidden: Array, name: str, count: int) -> Array:
        """Return the log-probabilities (..., options) of the options from hidden states (..., H)."""
        value = self.table(name, count).value
        logits = np.einsum("ij,...j->...i", value[:, : self.hidden], hidden) + value[:, self.hidden]
        logits -= logits.max(axis=-1, keepdims=True)
        logp: Array = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        return logp

    def _forward(self, trace: tuple[Choice, ...]) -> _Pass:
        n, e = len(trace), 1 + self.embedding
        inputs, gates = np.zeros((n, e + self.hidden)), np.empty((n, 4 * self.hidden))
        cells, hidden = np.zeros((n + 1, self.hidden)), np.zeros((n + 1, self.hidden))
        inputs[:, 0] = 1.0
        for t in range(1, n):
            inputs[t, 1:e] = self._embedding(trace[t - 1])
        given = np.einsum("ti,ij->tj", inputs[:, :e], self.core.value[:e])
        recurrent = self.core.value[e:]
        for t in range(n):
            z = given[t] + np.einsum("i,ij->j", hidden[t], recurrent)
            gates[t], cells[t + 1], hidden[t + 1] = self._recur(z, cells[t])
        inputs[:, e:] = hidden[:-1]
        logps = [self._logp(hidden[t + 1], c.name, c.among) for t, c in enumerate(trace)]
        return _Pass(trace, inputs, gates, cells, hidden, logps)

    def _backward(self, done: _Pass, weight: float, entropy: float, tables: dict[Table, Array]) -> Array:
        """Return the gradient of the LSTM and add those of the tables."""
        e, n, h = 1 + self.embedding, len(done.trace), self.hidden
        recurrent = self.core.value[e:]
        errors = np.empty_like(done.gates)
        squashed = np.tanh(done.cells[1:])
        # the slopes of the sigmoids, and of the candidate's tanh
        slopes = done.gates * (1 - done.gates)
        candidate = done.gates[:, 3 * h :]
        slopes[:, 3 * h :] = 1 - candidate * candidate
        d_cell, d_carried = np.zeros(h), np.zeros(h)
        for t in reversed(range(n)):
            # from the softmax of this decision: into its table, and into the hidden state
            choice, logp = done.trace[t], done.logps[t]
            p = np.exp(logp)
            d_logits = -p * (weight + entropy * (logp - (p * logp).sum()))
            d_logits[choice.chosen] += weight
            gradient = tables[choice.name, choice.among]
            gradient[:, :h] += d_logits[:, None] * done.hidden[t + 1]
            gradient[:, h] += d_logits
            weights = self.table(choice.name, choice.among).value[:, :h]
            # and from the next step of the LSTM
            d_hidden = d_carried + np.einsum("i,ij->j", d_logits, weights)
            i, f, o, g = done.gates[t].reshape(4, -1)
            d_cell = d_cell + d_hidden * o * (1 - squashed[t] ** 2)
            errors[t] = np.concatenate((d_cell * g, d_cell * done.cells[t], d_hidden * squashed[t], d_cell * i))
            errors[t] *= slopes[t]
            d_cell = d_cell * f
            d_carried = np.einsum("ij,j->i", recurrent, errors[t])
        # the input of step t embeds the choice of step t - 1
        d_inputs = np.einsum("tj,ij->ti", errors, self.core.value[1:e])
        for choice, d_input in zip(done.trace, d_inputs[1:], strict=False):
            tables[choice.name, choice.among][choice.chosen, h + 1 :] += d_input
        core: Array = np.einsum("ti,tj->ij", done.inputs, errors)
        return core
