"""What the ledger would not take never reaches the journal, whatever others do to the values they are given."""

from __future__ import annotations

import json

import pytest
from command import QUICK, nas, one_error, write_plugin

from nas.engine.loop import Ledger, fold
from nas.errors import JournalError
from nas.runs.journal import asked_event, read
from nas.types import Architecture, Proposal, Trial

FLAGS = (*QUICK, "--plugin=plug.py")


def events(folder):
    """Return the events of the run."""
    return read(folder / "results/r/journal.jsonl")


@pytest.mark.long
@pytest.mark.parametrize(
    "body",
    [
        "object.__setattr__(job, 'index', 99)",
        "job.settings.clear()\nobject.__setattr__(job, 'settings', None)",
    ],
)
def test_what_an_evaluator_does_to_its_job_is_its_own_affair(tmp_path, body):
    write_plugin(tmp_path / "plug.py", body)
    done = nas(tmp_path, "search", "--name=r", "--trials=3", *FLAGS)
    assert done.returncode == 0, done.stderr
    assert [e["index"] for e in events(tmp_path) if e["event"] == "done"] == [0, 1, 2]
    assert nas(tmp_path, "report", "r").returncode == 0
    assert nas(tmp_path, "resume", "r").returncode == 0


SEARCHER = """
from nas.searchers import register_searcher
from nas.types import Architecture, Proposal

@register_searcher("own", source="none")
class Own:
    "Proposes what it likes."
    def __init__(self, space, context):
        self.info = {{"n": [0]}}
    def ask(self, history, rng):
        n = len(history)
        {body}
        self.info["n"][0] = n
        return Proposal(Architecture("letters", (("a", n),)), info=self.info{more})

from nas.space import register_space

@register_space("letters", source="none")
def letters(choose):
    choose("a", tuple(range(50)))
"""
OWN = ("--space=letters", "--searcher=own", "--baseline=none", "--evaluator=mine", "--plugin=plug.py")


def searched(tmp_path, body="pass", more=""):
    """Search with a searcher that does ``body`` before it answers."""
    plugin = write_plugin(tmp_path / "plug.py")
    plugin.write_text(plugin.read_text() + SEARCHER.format(body=body, more=more))
    return nas(tmp_path, "search", "--name=r", "--trials=4", *OWN)


@pytest.mark.long
@pytest.mark.parametrize("of", ["99", "-1"])
def test_a_trial_that_continues_none_before_it_is_not_written(tmp_path, of):
    line = one_error(searched(tmp_path, more=f", continue_from={of} if n == 2 else None"))
    assert "trial 2 continues trial" in line
    asked = [e["index"] for e in events(tmp_path) if e["event"] == "asked"]
    assert asked == [0, 1]
    assert nas(tmp_path, "report", "r").returncode == 0


@pytest.mark.long
@pytest.mark.parametrize("body", ["history.results.clear()", "history.results[:] = []"])
def test_a_searcher_cannot_change_the_history(tmp_path, body):
    line = one_error(searched(tmp_path, body))
    assert "the search stopped" in line
    assert nas(tmp_path, "report", "r").returncode in (0, 1)


@pytest.mark.long
def test_a_searcher_sees_of_its_infos_what_a_resume_shows(tmp_path):
    body = "assert all(t.proposal.info == {'n': [t.index]} for t in history.results)"
    done = searched(tmp_path, body)
    assert done.returncode == 0, done.stderr
    assert [e["info"] for e in events(tmp_path) if e["event"] == "asked"] == [{"n": [n]} for n in range(4)]


@pytest.mark.long
def test_metrics_that_were_changed_after_they_were_checked_are_a_failure_of_the_trial(tmp_path):
    body = """
from nas.types import Metrics
m = Metrics(0.5)
if job.index == 1:
    object.__setattr__(m, 'reward', float('nan'))
if job.index == 2:
    m.values['x'] = float('inf')
if job.index == 3:
    m.values[1] = 2.0
if job.index == 4:
    object.__setattr__(m, 'seconds', 'x')
return m
"""
    write_plugin(tmp_path / "plug.py", body)
    done = nas(tmp_path, "search", "--name=r", "--trials=5", *FLAGS)
    assert done.returncode == 0, done.stderr
    assert [e.get("message") for e in events(tmp_path) if e["event"] in ("done", "failed")] == [
        None,
        "metric 'reward' is nan; metrics must be finite numbers",
        "metric 'x' is inf; metrics must be finite numbers",
        "the name of a metric is a string, found 1",
        "metric 'seconds' is str; a metric is a number",
    ]


def test_a_result_that_no_pending_trial_waits_for_is_refused_before_anything_changes():
    ledger = Ledger(None)
    for index in range(2):
        ledger.ask(Trial(index, Proposal(Architecture("s", {"a": index}), 1), f"k{index}"))
    good = {"event": "done", "index": 0, "reward": 1.0, "values": {}, "seconds": 0.0, "simulated": False}
    for wrong in ([{**good, "index": 9}], [{**good, "index": -1}], [good, good], [good, {**good, "index": "0"}]):
        with pytest.raises(JournalError, match="not pending"):
            ledger.check_results(wrong)
    assert [t.status for t in ledger.trials] == ["pending", "pending"]
    ledger.check_results([good, {**good, "index": 1}])
    ledger.apply(good)
    with pytest.raises(JournalError, match="not pending"):
        ledger.check_results([good])


def test_every_accepted_proposal_is_read_back():
    events = []
    ledger = Ledger(None)
    for index, origin in enumerate((None, 0, 1, 0)):
        trial = Trial(index, Proposal(Architecture("s", {"a": index}), 1, continue_from=origin), f"k{index}")
        ledger.ask(trial)
        events.append(json.loads(json.dumps(asked_event(trial))))
    again = fold(events, None)
    assert [t.proposal for t in again.trials] == [t.proposal for t in ledger.trials]
