"""What earlier searches found becomes a score of the new one: read once, kept in its journal, trusted as it proves."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from command import nas, one_error

from nas import space_of
from nas.core.plugins import load_built_in
from nas.engine import earlier_runs as earlier_module
from nas.engine.earlier_runs import MOST, earlier_from_json, earlier_json, earlier_runs
from nas.errors import ConfigError, SpaceError
from nas.runs.journal import read
from nas.runs.run_folder import JOURNAL
from nas.searchers import make_searcher
from nas.searchers.predictor.earlier import EarlierScores
from nas.searchers.predictor.searcher import PredictorSearcher
from nas.types import Candidate, Context, EarlierRun, History, Metrics, Proposal, Trial

load_built_in()
SPACE = space_of("nb201")


def convolutions(architecture):
    return sum(str(value).startswith("nor_conv") for value in architecture.decisions.values())


def a_run(name="first", count=40, reward=convolutions, seed=0):
    rng = np.random.default_rng(seed)
    found = [SPACE.sample(rng) for _ in range(count)]
    return EarlierRun(name, tuple(found), tuple(float(reward(a)) for a in found))


def context(*runs):
    return Context(lambda a: Candidate(SPACE.key(a)), 1, 20, earlier=runs)


def test_scores_order_what_the_run_has_not_seen():
    searcher = PredictorSearcher(SPACE, context=context(a_run()))
    scores = EarlierScores([a_run()], searcher._encoded)
    rng = np.random.default_rng(9)
    new = [SPACE.sample(rng) for _ in range(60)]
    found = [scores(a)["earlier 1 first"] for a in new]
    assert np.corrcoef(found, [convolutions(a) for a in new])[0, 1] > 0.7
    best = sorted(map(convolutions, a_run().architectures), reverse=True)[:5]
    assert [convolutions(a) for a in scores.best[:5]] == best
    # the same bits in another order, by another object
    again = EarlierScores([a_run()], PredictorSearcher(SPACE, context=context())._encoded)
    assert [again(a)["earlier 1 first"] for a in reversed(new)] == found[::-1]


def test_two_runs_of_one_name_are_two_scores():
    runs = [a_run(), a_run(reward=lambda a: -convolutions(a))]
    scores = EarlierScores(runs, PredictorSearcher(SPACE, context=context())._encoded)
    one, other = scores(scores.best[0]).values()
    assert one > 0 > other


def test_a_run_whose_rewards_are_all_equal_says_nothing():
    flat = a_run(reward=lambda a: 1.0)
    assert EarlierScores([flat], PredictorSearcher(SPACE, context=context())._encoded)(flat.architectures[0]) == {}


def first_proposals(*runs, seed=0, count=8):
    searcher = make_searcher("predictor", SPACE, {}, context(*runs))
    return [searcher.ask(History([], []), np.random.default_rng(seed + i)) for i in range(count)]


def test_the_first_proposal_is_of_the_best_and_without_earlier_runs_it_is_at_random():
    many = [convolutions(p.architecture) for p in first_proposals(a_run())]
    cold = [convolutions(p.architecture) for p in first_proposals()]
    assert min(many) >= 5  # of six, of which 2.4 are convolutions at random
    assert np.mean(cold) < 4
    assert isinstance(first_proposals(a_run())[0], Proposal)


def test_the_same_runs_make_the_same_proposals():
    again = earlier_from_json(json.loads(json.dumps(earlier_json([a_run()]))))
    assert first_proposals(a_run()) == first_proposals(*again)


@pytest.mark.parametrize(
    "damage",
    [lambda d: d[0].pop("rewards"), lambda d: d[0]["rewards"].pop(), lambda d: d[0].update(rewards=["x"] * 40)],
)
def test_a_damaged_journal_is_one_line(damage):
    data = earlier_json([a_run()])
    damage(data)
    with pytest.raises(ConfigError, match="'earlier' is damaged"):
        earlier_from_json(data)


def test_rewards_are_one_finite_number_for_each_architecture():
    run = a_run(count=5)
    for rewards in (run.rewards[1:], (*run.rewards[1:], float("nan"))):
        with pytest.raises(SpaceError, match="one finite reward for each architecture"):
            EarlierRun("x", run.architectures, rewards)


SEARCH = (
    *("search", "--dataset=digits", "--space=nasnet", "--space-arg=nodes=2", "--width=2", "--depth=1", "--epochs=1"),
    *("--train-images=64", "--final-seeds=0", "--baseline=none", "--against=none"),
)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A folder with one search of seven trials and one of two."""
    folder = tmp_path_factory.mktemp("runs")
    assert nas(folder, *SEARCH, "--searcher=random", "--trials=7", "--name=first").returncode == 0
    assert nas(folder, *SEARCH, "--searcher=random", "--trials=2", "--name=short").returncode == 0
    return folder


@pytest.mark.long
def test_a_search_that_learns_goes_on_when_the_earlier_run_is_gone(runs, tmp_path):
    shutil.copytree(runs / "results", tmp_path / "results")
    learns = (*SEARCH, "--searcher-arg=starts=3", "--learn-from=first")
    whole = nas(tmp_path, *learns, "--trials=6", "--name=whole")
    assert whole.returncode == 0, whole.stderr
    assert "learning from first (7 architectures)" in whole.stderr
    assert nas(tmp_path, *learns, "--trials=3", "--name=parts").returncode == 0
    shutil.rmtree(tmp_path / "results" / "first")
    longer = nas(tmp_path, "resume", "parts", "--trials=6")
    assert longer.returncode == 0, longer.stderr

    def proposed(name):
        return [e["architecture"] for e in read(tmp_path / "results" / name / JOURNAL) if e["event"] == "asked"]

    assert proposed("parts") == proposed("whole")
    (earlier,) = earlier_from_json(read(tmp_path / "results" / "parts" / JOURNAL)[0]["earlier"])
    assert (earlier.name, len(earlier.architectures)) == ("first", 7)


@pytest.mark.long
@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--learn-from=frist",), "--learn-from frist: no such run; in 'results' there are: first, short"),
        (("--learn-from=first,short",), "--learn-from short: it has 2 architectures with a reward; at least 5 are"),
        (
            ("--learn-from=first", "--searcher=evolution"),
            "searcher 'evolution' does not learn from other runs",
        ),
        (("--learn-from=first", "--space-arg=nodes=3"), "--learn-from first, trial 0:"),
        (("--learn-from=first", "--space=nb201", "--space-arg=nodes=2"), "nodes"),
        (
            ("--learn-from=first", "--config=NB201"),
            "first, trial 0: it is of space 'nasnet', the search of 'nb201'",
        ),
    ],
)
def test_what_cannot_be_learned_from_is_told_before_anything_is_written(runs, flags, words):
    (runs / "NB201").write_text('space = "nb201"')
    search = [word for word in SEARCH if "NB201" not in str(flags) or not word.startswith("--space")]
    assert words in one_error(nas(runs, *search, *flags, "--trials=3", "--name=new"))
    assert not (runs / "results" / "new").exists()


def test_of_many_the_best_and_the_latest_are_kept(tmp_path, monkeypatch):
    run = a_run(count=MOST + 100)
    trials = [
        Trial(i, Proposal(architecture, 1), str(i), "done", metrics=Metrics(reward))
        for i, (architecture, reward) in enumerate(zip(run.architectures, run.rewards, strict=True))
    ]
    (tmp_path / "many").mkdir()
    (tmp_path / "many" / JOURNAL).write_text("")
    monkeypatch.setattr(earlier_module, "read", lambda path: [{"event": "run"}])
    monkeypatch.setattr(earlier_module, "read_trials", lambda events: trials)
    (kept,) = earlier_runs(["many"], SPACE, tmp_path)
    assert len(kept.rewards) == MOST
    assert kept.architectures[-MOST // 2 :] == run.architectures[-MOST // 2 :]
    assert min(kept.rewards[: MOST // 2]) >= np.median(run.rewards)


def test_of_several_numbers_of_epochs_one_is_taken(tmp_path, monkeypatch):
    run = a_run(count=12)
    trials = [
        Trial(i, Proposal(architecture, 3 if i < 4 else 1), str(i), "done", metrics=Metrics(float(i)))
        for i, architecture in enumerate(run.architectures)
    ]
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / JOURNAL).write_text("")
    monkeypatch.setattr(earlier_module, "read", lambda path: [{"event": "run"}])
    monkeypatch.setattr(earlier_module, "read_trials", lambda events: trials)
    (kept,) = earlier_runs(["two"], SPACE, tmp_path)
    assert kept.rewards == tuple(map(float, range(4, 12)))
