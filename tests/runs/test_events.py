"""The events of trials, read and written again as recorded journals hold them, byte for byte."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from nas.runs import journal as events
from nas.runs.journal import encode, read
from nas.types import Metrics, Outcome

RUNS = Path(__file__).parents[1] / "golden" / "runs"
JOURNALS = sorted(RUNS.rglob("journal.jsonl"))


def again(event):
    """Return the event as it is written of what is read from it; None for one that is not a trial's."""
    match event["event"]:
        case "asked":
            return events.asked_event(events.asked_trial(event))
        case "reused":
            return events.reused_event(event["index"], event["of"])
        case "refused":
            return events.refused_event(event["index"], events.result_of(event))
        case "done" | "failed" | "retried" as name:
            result = events.result_of(event)
            if isinstance(result, Metrics):
                result = replace(result, notes=event.get("notes", {}))
            return events.outcome_event(Outcome(event["index"], result, events.wall_of(event)), name == "retried")
    return None


@pytest.mark.parametrize("path", JOURNALS, ids=lambda path: str(path.parent.relative_to(RUNS)))
def test_events_are_written_as_they_were_recorded(path):
    for event in read(path):
        own = {name: value for name, value in event.items() if name != "seq"}
        if (written := again(own)) is not None:
            assert encode(0, written) == encode(0, own)


def test_the_recorded_journals_hold_events_of_the_trials():
    counts = Counter(event["event"] for path in JOURNALS for event in read(path))
    assert min(counts[name] for name in ("asked", "done", "reused")) >= 10
