"""What earlier searches found of a space: read from their journals once, then kept in the journal of the new one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas.core.text import count
from nas.core.values import Json
from nas.engine.config import RunConfig
from nas.engine.start_points import check_point
from nas.errors import ConfigError, SpaceError, printable
from nas.models.resolve import RESULTS
from nas.runs.journal import read
from nas.runs.run_folder import JOURNAL, find_run, runs_in
from nas.runs.trials import read_trials
from nas.searchers import SEARCHERS
from nas.space import Space
from nas.types import Architecture, EarlierRun, Trial

MOST = 300
"""The most architectures that are taken from a run: of more, half of this number are the best and half the latest."""
LEAST = 5
"""The fewest of which anything is learned."""


def earlier_runs(names: Sequence[str], space: Space, results: Path = RESULTS) -> list[EarlierRun]:
    """Return what the runs ``names`` (by name in ``results``, or by folder) found of ``space``.

    Rewards are those of one number of epochs, that which most trials of a run had: rewards of several are not of one
    order. A run of another space, or of too few rewards, raises :class:`ConfigError`.
    """
    found = []
    for text in names:
        shown = printable(text)
        folder = find_run(text, results)
        if folder is None:
            there = ", ".join(sorted(runs_in(results))[:5]) or "none"
            rule = f"in '{results}' there are: {there}; one elsewhere is named by its folder"
            raise ConfigError(f"--learn-from {shown}: no such run; {rule}")
        events = read(folder / JOURNAL)
        if kind := events[0].get("kind"):
            raise ConfigError(f"--learn-from {shown}: it was made by nas {kind}; what can be learned from is searches")
        scored = _of_one_fidelity(read_trials(events))
        for trial in scored:
            check_point(trial.architecture, space, f"--learn-from {shown}, trial {trial.index}")
        if len(scored) < LEAST:
            found_there = count(len(scored), "architecture")
            raise ConfigError(f"--learn-from {shown}: it has {found_there} with a reward; at least {LEAST} are needed")
        kept = scored
        if len(scored) > MOST:
            best = sorted(scored[: -MOST // 2], key=lambda t: (-(t.reward or 0.0), t.index))[: MOST // 2]
            kept = [*sorted(best, key=lambda t: t.index), *scored[-MOST // 2 :]]
        rewards = tuple(float(t.reward) for t in kept if t.reward is not None)
        found.append(EarlierRun(folder.name, tuple(t.architecture for t in kept), rewards))
    return found


def learned_from(config: RunConfig, space: Space, by_object: bool) -> tuple[EarlierRun, ...]:
    """Return what ``config`` names to learn from; a searcher that learns from no earlier run raises."""
    names = config.searcher.learn_from
    if not names:
        return ()
    able = [name for name in SEARCHERS if SEARCHERS[name].learns_from_earlier]
    if by_object or config.searcher.name not in able:
        rule = f"it goes with {', '.join(able)}"
        raise ConfigError(f"--learn-from: searcher '{config.searcher.name}' does not learn from other runs; {rule}")
    return tuple(earlier_runs(names, space))


def earlier_json(runs: Sequence[EarlierRun]) -> list[Json]:
    """Return ``runs`` as plain data."""
    return [
        {"run": run.name, "architectures": [a.to_json() for a in run.architectures], "rewards": list(run.rewards)}
        for run in runs
    ]


def earlier_from_json(data: Any) -> list[EarlierRun]:
    """Return the runs that :func:`earlier_json` wrote; what is none raises :class:`ConfigError`."""
    try:
        return [
            EarlierRun(
                str(one["run"]),
                tuple(map(Architecture.from_json, one["architectures"])),
                tuple(map(float, one["rewards"])),
            )
            for one in data
        ]
    except (KeyError, TypeError, ValueError, SpaceError) as error:
        raise ConfigError(f"the journal's first event: 'earlier' is damaged: {printable(str(error))}") from None


def _of_one_fidelity(trials: Sequence[Trial]) -> list[Trial]:
    """Return the trials with a reward, of the number of epochs that most of them had."""
    by_epochs: dict[int, list[Trial]] = defaultdict(list)
    for trial in trials:
        if trial.reward is not None:
            by_epochs[trial.proposal.epochs].append(trial)
    return max(by_epochs.values(), key=len, default=[])
