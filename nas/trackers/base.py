"""The protocol of callbacks: what a search tells them, in which order, and what of a resumed one.

Everything that a callback is told is a fold of the journal. Trials come in the order of their numbers, each once and
when it has ended, whatever the number of workers; so what a tracker shows does not depend on when it was shown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nas.core.values import Json
from nas.graph import Graph
from nas.report.markdown import code, escaped, markdown_table
from nas.report.run_view import Score
from nas.types import Trial


@dataclass(frozen=True)
class TrackedRun:
    """The search that a callback is told of."""

    name: str
    """Of the run; that of a search in memory is the name of its space."""
    folder: Path | None
    """The run's folder; None: the search is in memory."""
    id: str
    """16 hex digits, the same whenever the run is resumed and of no other run."""
    started: float
    """When it began, in seconds since 1970; 0 where that is not known."""
    config: Json
    """Its settings by their names in ``config.toml``."""
    objectives: tuple[str, ...]
    """What it minimises beside the reward; empty for a search for the reward alone."""

    def place(self, given: str, default: str) -> Path:
        """Return the folder of this run in the folder ``given``; without one ``default`` in the run's own.

        A search in memory has none: a name of its own, from :attr:`id`, keeps such searches apart.
        """
        if given:
            return Path(given) / (self.name if self.folder else f"{self.name}-{self.id[:8]}")
        return (self.folder or Path()) / default


@dataclass(frozen=True)
class FinalTraining:
    """A training of the final comparison, or one that is a run of its own and has measured the test split."""

    role: str
    """``search``, ``random``, ``handcrafted``, or what else the network is there for; ``test`` of a run of its own."""
    name: str
    """Of the network."""
    number: int
    """The number of the seed."""
    score: float | None
    """Of trainings the accuracy in percent of the test split, of a table what it holds; None: it failed."""
    seconds: float
    """What it took."""
    curve: tuple[tuple[int, float], ...]
    """(epoch, mean training loss), of at most 200 epochs; empty where the journal holds none."""


@dataclass(frozen=True)
class Epoch:
    """An epoch of ``nas train`` and its kin."""

    number: int
    """From 1."""
    loss: float
    """Mean training loss."""
    seconds: float
    """What it took."""
    validation: Mapping[str, float]
    """``accuracy`` and ``top5`` in percent, and ``loss``, where they were measured after it."""


class Callback:
    """What follows a search or a training; a subclass overrides what it wants to hear of.

    A method that raises is told of in one line and this callback is switched off: the search goes on. Methods are
    called in the search's own thread, between trials, so they had better be quick.

    When a run is resumed, each thing is told once all the same: the run's folder keeps what a callback was told. With
    :attr:`hears_all` it is told everything from the first trial on, and knows itself what it has already.
    """

    name = ""
    """What messages and the run's folder call it; empty: the name of its class."""
    hears_all = False
    """Whether a resumed run tells it everything again."""

    def on_start(self, run: TrackedRun) -> None:
        """Begin, or go on with, ``run``: before its first trial in this process."""

    def on_trial(self, trial: Trial, best: Trial | None) -> None:
        """Take a trial that has ended: done, reused, failed or refused.

        ``best`` is the best up to this one, the highest reward of the most epochs; None where none has a reward.
        """

    def on_best(self, trial: Trial, graph: Graph | None) -> None:
        """Take the best trial so far when it is another one, after :meth:`on_trial`, and its network where it has one.

        Of several that a resumed run tells at once it is the last.
        """

    def on_training(self, training: FinalTraining) -> None:
        """Take a training of the final comparison that has ended."""

    def on_epoch(self, epoch: Epoch) -> None:
        """Take an epoch of a training that is a run of its own; its test score comes to :meth:`on_training`."""

    def on_final(self, rows: Sequence[Score]) -> None:
        """Take the final comparison, best mean first, when it is complete."""

    def on_end(self, reason: str) -> None:
        """Let go of the run: ``finished``, ``exhausted``, ``interrupted`` or ``failed``; its reports are written."""


def numbers_of(trial: Trial) -> dict[str, float]:
    """Return what is known of a trial as numbers, by the names of the columns of ``trials.csv``."""
    named: Mapping[str, float | None] = {
        "reward": trial.reward,
        "epochs": trial.proposal.epochs,
        "params": trial.params,
        "macs": trial.macs,
        "seconds": trial.seconds,
        "width": trial.width,
        **(trial.metrics.values if trial.metrics else {}),
        **{f"zero_cost.{name}": score for name, score in trial.scores.items()},
    }
    return {name: float(value) for name, value in named.items() if value is not None}


LOSS = "train/loss"
"""What every epoch has in :func:`epoch_numbers`."""


def epoch_numbers(epoch: Epoch) -> dict[str, float]:
    """Return the numbers of an epoch by the names that trackers give them."""
    measured = {f"validation/{name}": value for name, value in epoch.validation.items()}
    return {LOSS: epoch.loss, "train/seconds": epoch.seconds, **measured}


def decisions_table(trial: Trial) -> str:
    """Return what became of a trial and what it decided as a table of Markdown."""
    failure = f": {trial.failure.kind}: {trial.failure.message}" if trial.failure else ""
    same = f" (the network of trial {trial.of})" if trial.of is not None else ""
    rows = [[code(name), code(str(value))] for name, value in trial.architecture.decisions.items()]
    table = markdown_table(["decision", "option"], "ll", rows)
    return "\n".join([f"trial {trial.index}, {trial.status}{same}{escaped(failure)}", "", *table])
