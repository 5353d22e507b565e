"""A search under a budget of size: as wide as fits, journalled, resumed alike, and built so by what follows it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
from command import QUICK, command, environment, nas, one_error, write_plugin

import nas as api
from nas.core.options import settings_of
from nas.core.plugins import load_built_in
from nas.engine.assemble import build_search, with_defaults
from nas.engine.config import RunConfig, RunOptions
from nas.engine.prepare import make_prepare
from nas.engine.rivals import FAMILIES
from nas.errors import ConfigError
from nas.graph import cost
from nas.models.resolve import resolve
from nas.runs.journal import read
from nas.runs.run_folder import JOURNAL, read_best
from nas.space import SPACES, Network
from nas.space.budget import LEAST_SHARE
from nas.space.space import sized_key
from nas.training.recipe import Recipe

BUDGET = 2_000_000
SEARCH = ("search", "--plugin=mine.py", *QUICK[:1], *QUICK[2:], "--trials=12", f"--budget-macs={BUDGET}")


load_built_in()


def asked(run: Path) -> list[dict]:
    return [event for event in read(run / JOURNAL) if event["event"] == "asked"]


@pytest.mark.long
def test_a_searched_width_is_journalled_and_what_follows_builds_it(tmp_path):
    """The winner of a quick search: its files, and a training that transfers it to digits."""
    write_plugin(tmp_path / "mine.py")
    assert nas(tmp_path, *SEARCH, "--name=one").returncode == 0
    run = tmp_path / "results" / "one"
    events = asked(run)
    refused = {event["index"] for event in read(run / JOURNAL) if event["event"] == "refused"}
    widths = {event["width"] for event in events if event["index"] not in refused}
    assert len(widths) > 1  # of other shapes
    for event in events:
        if event["index"] in refused:  # between two widths there is no such network
            assert "width" not in event
            continue
        architecture = api.Architecture.from_json(event["architecture"])
        found, wider = (
            cost(SPACES["nb201"].build(architecture, api.Task("images", (3, 32, 32), 10), event["width"] + more))
            for more in (0, 1)
        )
        assert (found.params, found.macs) == (event["params"], event["macs"])
        assert LEAST_SHARE * BUDGET <= found.macs <= BUDGET < wider.macs
    best = json.loads((run / "best" / "architecture.json").read_text())
    won = next(event for event in events if event["architecture"]["decisions"] == best["decisions"])
    assert best["width"] == won["width"] == read_best(run).width
    assert (run / "trials.csv").read_text().splitlines()[0].split(",")[10] == "width"
    assert cost(api.create_graph(run)).macs == won["macs"]
    # the file alone says it too
    alone = resolve(str(run / "best" / "architecture.json"))
    assert alone.scalable.size(None, None)[0] == won["width"]
    assert alone.key == resolve(str(run)).key == won["key"]
    assert cost(api.create_graph(run, input_shape=(3, 16, 16), width=won["width"])).macs < won["macs"]
    # at the width that was found, also for other images
    trained = nas(
        tmp_path, "transfer", "one", "--dataset=digits", "--epochs=1", "--train-images=64", "--name=on-digits"
    )
    assert trained.returncode == 0, trained.stderr
    assert read(tmp_path / "results" / "on-digits" / JOURNAL)[0]["network"]["width"] == won["width"]


@pytest.mark.long
def test_killed_and_resumed_it_proposes_the_same_widths(tmp_path):
    write_plugin(
        tmp_path / "mine.py",
        "if job.index == 5 and not os.path.exists('seen'):\n    open('seen', 'w'); os.kill(os.getpid(), 9)",
    )
    killed = subprocess.Popen(
        command(*SEARCH, "--name=cut"), cwd=tmp_path, env=environment(), stderr=subprocess.DEVNULL
    )
    assert killed.wait(120) == -signal.SIGKILL
    assert nas(tmp_path, "resume", "cut", "--plugin=mine.py").returncode == 0
    assert os.path.exists(tmp_path / "seen")
    assert nas(tmp_path, *SEARCH, "--name=whole").returncode == 0
    cut, whole = (
        [(e["key"], e.get("width"), e["macs"], e["architecture"]) for e in asked(tmp_path / "results" / name)]
        for name in ("cut", "whole")
    )
    assert cut == whole


def test_a_budget_that_cannot_be_met_is_one_error_before_anything_is_written(tmp_path):
    said = one_error(nas(tmp_path, "search", f"--budget-macs={BUDGET}", "--space=nb201", "--width=8"))
    assert "--width and --budget-macs exclude each other" in said
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        (
            {"space": "nb101"},
            "--budget-params needs a space of networks with a width to choose; space 'nb101' has none",
        ),
        ({"table": "t.npz", "val_column": "x"}, "--budget-params goes with evaluators of networks; 'table' looks up"),
        ({"space": "nb201", "against": ("none",), "budget_params": 10}, "the narrowest network, of width 1, has"),
        ({"space": "nb201", "width": 4}, "--width and --budget-params exclude each other"),
    ],
)
def test_what_has_no_width_to_choose_is_refused_as_a_search_is_put_together(settings, rule):
    with pytest.raises(ConfigError, match=rule):
        build_search(with_defaults(RunOptions(**{"budget_params": 50_000, **settings})))


def test_a_space_of_functions_has_no_width_to_choose():
    def numbers(choose):
        return choose("x", (1, 2))

    with pytest.raises(ConfigError, match="space 'numbers' has none"):
        api.search(numbers, lambda job: 1.0, "random", trials=1, budget=api.Budget(macs=BUDGET))


def test_the_network_that_is_trained_has_the_width_of_the_plain_one():
    task, budget = api.Task("images", (3, 32, 32), 10), api.Budget(macs=4_000_000)
    recipe = Recipe.from_json({"aux_weight": 0.4, "drop_path": 0.2})
    space = SPACES["darts"]
    plain, trained = (make_prepare(space, task, None, 1, recipe=r, budget=budget) for r in (None, recipe))
    for seed in range(5):
        architecture = space.sample(np.random.default_rng(seed))
        one, other = plain(architecture), trained(architecture)
        if one.problem:
            continue
        assert (one.key, one.width, one.params, one.macs) == (other.key, other.width, other.params, other.macs)
        assert one.key == sized_key(space.key(architecture), one.width)
        assert one.graph is not None
        assert other.graph is not None
        assert len(other.graph.outputs) == 2
        # but for the head and the dropped paths they are one network
        assert cost(other.graph.pruned(("logits",))).macs == cost(one.graph).macs == one.macs


def test_cells_that_compute_the_same_but_have_other_widths_are_two_networks():
    """An operation that leads nowhere costs something and is no part of the key."""
    space, task = SPACES["nb201"], api.Task("images", (3, 32, 32), 10)
    bare = dict.fromkeys(space.sample(np.random.default_rng(0)).decisions, "none") | {"edge_0_3": "skip_connect"}
    twins = [api.Architecture("nb201", d) for d in (bare, bare | {"edge_2_3": "nor_conv_3x3"})]
    assert space.key(twins[0]) == space.key(twins[1])
    one, other = map(make_prepare(space, task, None, None, budget=api.Budget(macs=3_000_000)), twins)
    assert one.width != other.width
    assert one.key != other.key
    free = make_prepare(space, task, None, None)
    assert free(twins[0]).key == free(twins[1]).key


def test_a_shape_has_the_key_of_its_journal_and_a_file_the_width_of_its_run(tmp_path):
    """Two winners of one shape and two budgets are two networks."""
    budget = api.Budget(300_000)
    api.Study("macro", lambda job: -job.params, "random", budget=budget, folder=tmp_path / "r").run(4)
    best = json.loads((tmp_path / "r/best/architecture.json").read_text())
    won = next(e for e in asked(tmp_path / "r") if e["architecture"]["decisions"] == best["decisions"])
    assert resolve(str(tmp_path / "r")).key == won["key"]
    loose = tmp_path / "loose.json"
    loose.write_text(json.dumps(best))
    found = resolve(str(loose))
    assert found.scalable.size(None, None) == (won["width"], 1)
    assert cost(found.graph).macs == won["macs"]
    loose.write_text(json.dumps(best | {"width": "9"}))
    with pytest.raises(ConfigError, match="'width' must be an integer of at least 1, found '9'"):
        resolve(str(loose))


def test_rivals_are_the_families_of_their_space_and_the_help_names_them():
    assert SPACES["handcrafted"].args["families"] == FAMILIES
    said = next(setting.help for setting in settings_of(RunConfig) if setting.name == "against")
    assert f"({', '.join(FAMILIES)}; default all)" in said


def test_a_study_takes_a_budget_and_a_space_of_ones_own(tmp_path):
    def shapes(choose):
        deep = choose("deep", (1, 2, 3))

        def build(task, width, depth):
            b = api.GraphBuilder(task.input_shape)
            from nas.graph import Conv, Flatten, GlobalAvgPool, Linear

            x = b.input
            for _ in range(deep):
                x = b(Conv(width, 3, 1, 1), x)
            return b.build(logits=b(Linear(task.classes), b(Flatten(), b(GlobalAvgPool(), x))))

        return Network(build, widths=(1, 1))

    seen = {}

    def evaluate(job):
        seen[job.architecture["deep"]] = job.params
        return -job.params

    budget = api.Budget(params=20_000)
    study = api.Study(shapes, evaluate, "random", budget=budget, folder=tmp_path / "run")
    study.run(3)
    assert {t.architecture["deep"]: t.params for t in study.trials if t.status == "done"} == seen
    assert all(LEAST_SHARE * 20_000 <= params <= 20_000 for params in seen.values())
    assert {t.width for t in study.trials if t.architecture["deep"] == 1} == {540}
    assert study.best.width == read_best(tmp_path / "run").width
    assert "width" in study.to_dataframe().columns
    # without one nothing is said of widths
    free = api.search(shapes, evaluate, "random", trials=2)
    assert {t.width for t in free.trials} == {None}
    assert {t.width is None for t in api.search(shapes, evaluate, "random", trials=2, budget=budget).trials} == {False}


@pytest.mark.long
def test_a_forecast_measures_networks_of_the_budget(tmp_path):
    body = f"assert {LEAST_SHARE} * {BUDGET} <= job.macs <= {BUDGET}"
    write_plugin(tmp_path / "mine.py", body)
    done = nas(tmp_path, *SEARCH, "--forecast")
    assert done.returncode == 0, done.stderr
    assert "forecast: 12 trials" in done.stdout
    assert not (tmp_path / "results").exists()
