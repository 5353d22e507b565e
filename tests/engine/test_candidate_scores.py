"""Scores of candidates: what is scored, what is remembered where, and what a run records of it."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pytest

import nas
from nas.core.values import Task
from nas.engine import candidate_scores
from nas.engine.assemble import with_defaults
from nas.engine.candidate_scores import MOST_MACS, CandidateScores
from nas.engine.config import RunOptions
from nas.engine.prepare import make_prepare
from nas.errors import ConfigError
from nas.evaluators.table import Known
from nas.graph import cost, key
from nas.space import Network, Space
from nas.types import Candidate, Context
from nas.zero_cost import DEFAULT_SCORES, zero_cost_scores

TASK = Task("images", (3, 32, 32), 10)
NAMES = ("depth", "macs", "synflow")
SPACE = nas.space_of("nb201")


def sampled(count, space=SPACE):
    rng = np.random.default_rng(5)
    return [space.sample(rng) for _ in range(count)]


def scores_for(space=SPACE, task=TASK, names=NAMES, cache=None, width=None):
    return CandidateScores(space, make_prepare(space, task, width, None), task, names, width, cache)


def plain_stack(choose):
    """A convolution or several, as wide as it is built."""
    layers = choose("layers", (1, 2))

    def build(task, width, depth):
        b = nas.GraphBuilder(task.input_shape)
        x = b.input
        for _ in range(layers):
            x = b(nas.graph.Relu(), b(nas.graph.Conv(width, 3, padding=1), x))
        x = b(nas.graph.Flatten(), b(nas.graph.GlobalAvgPool(), x))
        return b.build(logits=b(nas.graph.Linear(task.classes), x))

    return Network(build, widths=(4, 4))


@pytest.fixture
def uncomputable(monkeypatch):
    """Let nothing be computed any more."""

    def fail(*_):
        raise AssertionError("it is computed again")

    return lambda: monkeypatch.setattr(candidate_scores, "zero_cost_scores", fail)


# --- what is scored ------------------------------------------------------------------------------------------------


def test_cells_are_scored_in_a_network_of_one_cell_a_stage():
    architecture = sampled(1)[0]
    small = scores_for().small_copy(architecture)
    expected = SPACE.build(architecture, Task("images", (3, 16, 16), 10), 8, 1)
    assert key(small) == key(expected)
    assert small.input_shape == (3, 16, 16)
    assert scores_for(width=64).small_copy(architecture) == small
    tiny = Task("digits", (1, 8, 8), 10)
    assert scores_for(task=tiny).small_copy(architecture).input_shape == (1, 8, 8)


@pytest.mark.parametrize("name", ["darts", "lecture", "nasnet", "nb101", "nb201"])
def test_every_space_of_cells_has_small_copies_and_all_usual_scores(name):
    space = nas.space_of(name)
    scores = scores_for(space, names=DEFAULT_SCORES)
    architecture = sampled(1, space)[0]
    assert cost(scores.small_copy(architecture)).macs < MOST_MACS / 2
    assert set(scores(architecture)) == set(DEFAULT_SCORES)


def test_a_whole_network_is_scored_as_it_is_where_it_is_small_and_else_for_a_smaller_image_and_narrower():
    space = Space("stack", plain_stack)
    one = sampled(1, space)[0]
    small = scores_for(space, width=16)
    assert key(small.small_copy(one)) == key(space.build(one, TASK, 16))
    # 512 channels: two layers have 2.4 GMACs at 32 pixels, and 0.6 at 16
    deep = next(a for a in sampled(20, space) if a["layers"] == 2)
    found = scores_for(space, width=512).small_copy(deep)
    assert found.input_shape == (3, 16, 16)
    assert 0 < cost(found).macs <= MOST_MACS


def test_scores_are_those_of_the_small_copy():
    scores = scores_for()
    for architecture in sampled(3):
        assert scores(architecture) == zero_cost_scores(scores.small_copy(architecture), NAMES)


# --- what is remembered --------------------------------------------------------------------------------------------


def test_what_was_computed_is_not_computed_again_and_its_seconds_are_counted(uncomputable):
    scores, architecture = scores_for(), sampled(1)[0]
    first = scores(architecture)
    seconds = scores.seconds
    assert seconds > 0
    uncomputable()
    assert scores(architecture) == first
    assert scores.seconds == seconds


def test_memory_is_bounded(monkeypatch):
    monkeypatch.setattr(candidate_scores, "REMEMBERED", 3)
    scores = scores_for(names=("depth",))
    for architecture in sampled(8):
        scores(architecture)
    assert len(scores._known) == 3


def test_another_process_reads_the_cache(tmp_path, uncomputable):
    architectures = sampled(4)
    expected = [scores_for(cache=tmp_path)(a) for a in architectures]  # four that append to one file
    uncomputable()
    later = scores_for(cache=tmp_path)
    assert [later(a) for a in architectures] == expected
    assert later.seconds == 0


def test_a_torn_or_changed_line_is_computed_again_and_spoils_no_other(tmp_path, uncomputable):
    architectures = sampled(3)
    expected = [scores_for(cache=tmp_path)(a) for a in architectures[:2]]
    (path,) = tmp_path.iterdir()
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first.replace(b'"depth": ', b'"depth": 1') + second[:-20])
    assert scores_for(cache=tmp_path)(architectures[2])
    again = scores_for(cache=tmp_path)
    assert [again(a) for a in architectures[:2]] == expected
    uncomputable()
    last = scores_for(cache=tmp_path)
    assert [last(a) for a in architectures[:2]] == expected
    assert last(architectures[2])


def test_a_cache_of_other_sizes_is_another_one_and_a_missing_folder_stays_missing(tmp_path):
    architecture = sampled(1)[0]
    scores_for(cache=tmp_path)(architecture)
    scores_for(cache=tmp_path, task=Task("images", (3, 32, 32), 7))(architecture)
    assert len(list(tmp_path.iterdir())) == 2
    assert scores_for(cache=tmp_path / "none")(architecture)
    assert not (tmp_path / "none").exists()


# --- tables, and what has no network -------------------------------------------------------------------------------


class Column:
    """A table of one column."""

    def row(self, architecture, key):
        return 0

    def column(self, name, dataset=None):
        return np.array([0.5])


def test_a_space_without_networks_has_the_scores_of_its_table_alone():
    space = Space("flat", lambda choose: {"a": choose("a", (1, 2))})
    prepare = make_prepare(space, TASK, None, None, Known(Column(), ("guess",)))
    assert CandidateScores(space, prepare, TASK, NAMES)(space.sample(np.random.default_rng(0))) == {"guess": 0.5}


def test_a_tables_score_counts_where_a_computed_one_has_its_name():
    prepare = make_prepare(SPACE, TASK, None, None, Known(Column(), ("synflow",)))
    found = CandidateScores(SPACE, prepare, TASK, NAMES)(sampled(1)[0])
    assert found["synflow"] == 0.5
    assert found["depth"] > 1


def test_a_context_has_the_scores_of_its_candidates():
    context = Context(lambda architecture: Candidate("key", scores={"guess": 1.5}))
    assert context.scores(sampled(1)[0]) == {"guess": 1.5}


# --- a run ---------------------------------------------------------------------------------------------------------


def searched(folder, trials, **settings):
    study = nas.Study("nb201", lambda job: float(job.params), "random", folder=folder, **settings)
    study.run(trials)
    return study


def asked(folder):
    events = map(json.loads, (folder / "journal.jsonl").read_text().splitlines())
    return [event for event in events if event["event"] == "asked"]


def test_a_run_records_scores_and_a_resumed_one_computes_only_new_ones(tmp_path, monkeypatch):
    folder = tmp_path / "run"
    study = searched(folder, 2, zero_cost=("synflow,depth",))
    before = asked(folder)
    assert all(set(event["scores"]) == {"synflow", "depth"} for event in before)
    assert all(event["score_seconds"] > 0 for event in before)
    study.report()
    with open(folder / "trials.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["zero_cost.synflow"]) for row in rows] == [event["scores"]["synflow"] for event in before]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["score_seconds"] == pytest.approx(sum(event["score_seconds"] for event in before), abs=1e-3)

    # what the journal holds is known without the cache
    shutil.rmtree(folder / "cache")
    computed = []

    def counted(graph, names):
        computed.append(graph)
        return zero_cost_scores(graph, names)

    monkeypatch.setattr(candidate_scores, "zero_cost_scores", counted)
    searched(folder, 4, zero_cost=("synflow,depth",))
    after = asked(folder)
    assert after[:2] == before
    assert len(computed) == len(after) - 2


def test_a_searcher_that_is_told_to_look_at_scores_has_the_usual_ones():
    told = {"space": "nb201", "searcher_args": {"scores": True}}
    assert with_defaults(RunOptions(**told)).searcher.zero_cost == ("auto",)
    assert with_defaults(RunOptions(**told, zero_cost=["naswot"])).searcher.zero_cost == ("naswot",)
    assert with_defaults(RunOptions(space="nb201", searcher_args={"scores": False})).searcher.zero_cost == ()


def test_a_function_is_searched_without_scores_unless_they_are_asked_for(tmp_path):
    searched(tmp_path / "run", 1)
    assert "scores" not in asked(tmp_path / "run")[0]


@pytest.mark.parametrize(
    ("names", "rule"),
    [("synflo", r"--zero-cost: .*'synflo'.*synflow"), ("none,macs", "--zero-cost is names of scores, auto or none")],
)
def test_wrong_names_are_one_line(names, rule):
    with pytest.raises(ConfigError, match=rule):
        nas.Study("nb201", lambda job: 1.0, "random", zero_cost=(names,)).run(1)
