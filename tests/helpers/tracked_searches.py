"""Searches of bits for callbacks and trackers: a plugin for the command line, and what the journal says of a run."""

from __future__ import annotations

from pathlib import Path

from nas import EvaluationError, Metrics
from nas.runs.journal import read

PLUGIN = '''
import nas


@nas.register_space("few_bits")
def few_bits(choose):
    """Five bits."""
    return [choose(f"bit{i}", [0, 1]) for i in range(5)]


@nas.register_evaluator("bits")
def evaluate(job):
    """The number of ones; all ones fail."""
    ones = sum(job.architecture.decisions.values())
    if ones == 5:
        raise nas.EvaluationError("all ones")
    return nas.Metrics(ones / 3, {"latency": ones + 0.1}, seconds=0.5)


@nas.register_tracker("lines")
class Lines(nas.Callback):
    """Writes a line a trial into the file that is its place."""

    def __init__(self, place):
        self.place = place

    def on_trial(self, trial, best):
        with open(self.place, "a") as file:
            file.write(f"{trial.index} {trial.reward}\\n")
'''


def bits(choose):
    """Five bits."""
    return [choose(f"bit{i}", [0, 1]) for i in range(5)]


def evaluate(job):
    """The number of ones by three, with a latency; all ones fail."""
    ones = sum(job.architecture.decisions.values())
    if ones == 5:
        raise EvaluationError("all ones")
    return Metrics(ones / 3, {"latency": ones + 0.1}, seconds=0.5)


def recorded(folder: Path) -> dict[int, float]:
    """Return the reward of every trial that has one, from the journal's events and nothing else."""
    found: dict[int, float] = {}
    for event in read(folder / "journal.jsonl"):
        if event["event"] == "done":
            found[event["index"]] = event["reward"]
        if event["event"] == "reused" and event["of"] in found:
            found[event["index"]] = found[event["of"]]
    return found


def walls(folder: Path) -> dict[int, float]:
    """Return the seconds that every evaluated trial took, from the journal."""
    events = read(folder / "journal.jsonl")
    return {event["index"]: event["wall"] for event in events if event["event"] in ("done", "failed")}
