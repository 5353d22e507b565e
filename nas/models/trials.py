"""Which trials of a search ``RUN:TRIAL``, ``RUN:best``, ``RUN:knee`` and ``RUN:front`` name."""

from __future__ import annotations

from collections.abc import Sequence

from nas.core.text import count, printable
from nas.core.values import Json
from nas.errors import ConfigError
from nas.runs.trials import BEST, FRONT, KNEE, TrialName, read_trials
from nas.searchers.pareto import search_front
from nas.types import Trial

LISTED = 20
"""How many trials of a front a message lists."""
REASON_SHOWN = 80
"""Characters of the reason why a trial has no reward."""


def chosen_trials(name: TrialName, events: Sequence[Json]) -> list[Trial]:
    """Return the trials that ``name`` names, of the search with ``events``: one, or all of its front.

    The best is that of the highest reward among those of most epochs, and so is the front of these alone; for front and
    knee see :func:`nas.searchers.pareto.search_front`. What names no trial with a reward raises :class:`ConfigError`.
    """
    run, kind = name.run, events[0].get("kind")
    if kind:
        raise ConfigError(f"run '{run}' was made by nas {kind} and has no trials to name")
    trials = read_trials(events)
    scored = [t for t in trials if t.reward is not None]
    if not scored:
        raise ConfigError(f"run '{run}': none of its {count(len(trials), 'trial')} has a reward, so none can be named")
    best = max(scored, key=lambda t: (t.proposal.epochs, t.reward or 0.0, -t.index))
    if name.trial == BEST:
        return [best]
    if name.trial not in (KNEE, FRONT):
        return [_numbered(trials, int(name.trial), run, best)]
    config = events[0].get("config") or events[0].get("study") or {}
    args = config.get("searcher_args")
    found = search_front(trials, config.get("searcher", ""), args if isinstance(args, dict) else {})
    if found.knee is None:
        why = "no trial is within its limits" if found.objectives else "its trials have neither MACs nor parameters"
        raise ConfigError(f"run '{run}' has no front: {why}; allowed: a trial's number, or {run}:{BEST}")
    return list(found.trials) if name.trial == FRONT else [found.knee]


def one_trial(name: TrialName, events: Sequence[Json]) -> Trial:
    """Return the trial that ``name`` names; several, of a front, raise :class:`ConfigError` with their names."""
    trials = chosen_trials(name, events)
    if len(trials) > 1:
        more = f" and {len(trials) - LISTED} more" if len(trials) > LISTED else ""
        listed = ", ".join(str(t.index) for t in trials[:LISTED])
        how = f"name one, such as {name.run}:{trials[0].index}, or the knee, {name.run}:{KNEE}"
        raise ConfigError(f"'{name.run}:{FRONT}' is {len(trials)} trials ({listed}{more}) where one is wanted; {how}")
    return trials[0]


def _numbered(trials: Sequence[Trial], number: int, run: str, best: Trial) -> Trial:
    allowed = (
        f"allowed: a trial with a reward, such as {run}:{best.index}, or {run}:{BEST}, {run}:{KNEE}, {run}:{FRONT}"
    )
    if number >= len(trials):
        raise ConfigError(f"run '{run}' has no trial {number}, its trials are 0 to {len(trials) - 1}; {allowed}")
    trial = trials[number]
    if trial.reward is None:
        became = "has no result yet"
        if trial.failure is not None:
            reason = f"({trial.failure.kind}: {printable(trial.failure.message, REASON_SHOWN)})"
            became = f"{'was refused' if trial.status == 'refused' else 'failed'} {reason}"
        raise ConfigError(f"run '{run}': trial {number} {became}; {allowed}")
    return trial
