"""The Python API as a user calls it, and the example scripts as they stand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import nas
from nas.errors import ConfigError, EvaluationError, NasError

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def count_ones(choose):
    """Six bits."""
    return [choose(f"bit{i}", [0, 1]) for i in range(6)]


def ones(job):
    """Reward the number of ones."""
    return sum(job.architecture.decisions.values())


@pytest.mark.parametrize("searcher", ["random", "local", "evolution"])
def test_a_plain_function_is_a_space_and_its_optimum_is_found(searcher):
    args = {"population": 8, "tournament": 4} if searcher == "evolution" else {}
    result = nas.search(count_ones, evaluator=ones, searcher=searcher, trials=64, searcher_args=args)
    assert result.best.reward == 6
    assert all(result.best.architecture[f"bit{i}"] == 1 for i in range(6))
    assert result.queries <= 64


@pytest.mark.long
def test_a_named_search_goes_on_where_it_ended(tmp_path):
    seen = []

    def evaluate(job):
        seen.append(job.index)
        return ones(job)

    short = nas.search(count_ones, evaluate, trials=10, name="bits", results_dir=tmp_path)
    long = nas.search(count_ones, evaluate, trials=25, name="bits", results_dir=tmp_path)
    whole = nas.search(count_ones, ones, trials=25)
    assert len(seen) == len(set(seen)) == 25
    assert [t.architecture for t in long.trials[: len(short.trials)]] == [t.architecture for t in short.trials]
    assert [(t.architecture, t.reward) for t in long.trials] == [(t.architecture, t.reward) for t in whole.trials]


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"searcher": "local"},
        {"searcher_args": {"candidates": 5}},
        {"epochs": 2},
        {"lag": 2},
        {"width": 4},
        {"depth": 2},
        {"max_params": 5},
        {"task": nas.Task("other", (1, 8, 8), 3)},
    ],
)
def test_a_name_belongs_to_one_search(tmp_path, other):
    nas.search(count_ones, ones, trials=2, name="bits", results_dir=tmp_path)
    with pytest.raises(ConfigError, match="belongs to another search"):
        nas.search(count_ones, ones, trials=5, name="bits", results_dir=tmp_path, **other)
    nas.search(count_ones, ones, trials=3, name="bits", results_dir=tmp_path)  # the lock was released


def test_a_search_in_which_every_trial_fails_raises_unless_told_to_record():
    def wrong(job):
        return job.architecture["no such decision"]

    told = r"no trial has a reward; 3 of 3 failed, the first with error: .*no such decision"
    with pytest.raises(EvaluationError, match=told):
        nas.search(count_ones, wrong, trials=3)
    result = nas.search(count_ones, wrong, trials=3, record_failures=True)
    assert (result.best, [t.status for t in result.trials]) == (None, ["failed"] * 3)


def test_a_job_carries_the_network_and_its_seed():
    torch = pytest.importorskip("torch")
    jobs = []

    def evaluate(job):
        jobs.append(job)
        module = nas.build_module(job.graph)
        assert sum(p.numel() for p in module.parameters()) == job.params
        return float(module(torch.zeros(2, *job.task.input_shape)).shape[1])

    task = nas.Task("mine", (1, 12, 12), 7)
    result = nas.search("nasnet", evaluate, "random", 3, task=task, width=4, depth=1, space_args={"nodes": 2})
    assert result.best.reward == 7
    assert len({job.seed for job in jobs}) == 3


def test_what_was_found_can_be_saved_loaded_and_built_at_another_size(tmp_path):
    result = nas.search("nb201", lambda job: -job.params, "random", 5, width=4, depth=1)
    path = tmp_path / "found.json"
    path.write_text(__import__("json").dumps(result.best.architecture.to_json()))
    architecture = nas.load(path)
    assert architecture == result.best.architecture
    graph = nas.build(architecture, width=16, depth=5)
    assert nas.cost(graph).params > result.best.params
    assert graph.input_shape == (3, 32, 32)


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ({"space": "nb20"}, "did you mean 'nb201'"),
        ({"space": 3}, "a space is a name"),
        ({"space": lambda: 1}, "must take 'choose'"),
        ({"searcher": "evolutio"}, "did you mean 'evolution'"),
        ({"trials": 0}, "at least 1"),
        ({"trials": 2.5}, "integer"),
        ({"seed": -1}, "--seed must be"),
        ({"lag": -1}, "--lag must be"),
        ({"epochs": 0}, "--epochs must be"),
        ({"searcher": 3}, "has a method ask"),
        ({"evaluator": "trian"}, "did you mean 'train'"),
        ({"evaluator": 3}, "an evaluator is"),
        ({"space_args": {"nodes": 3}}, "unknown argument 'nodes'"),
        ({"name": "a/b"}, "run name 'a/b'"),
    ],
)
def test_wrong_arguments_raise_one_line_before_anything_is_evaluated(arguments, rule, tmp_path):
    given = {"space": "nb201", "evaluator": ones, "trials": 1, "results_dir": tmp_path, **arguments}
    with pytest.raises(NasError) as caught:
        nas.search(**given)
    assert rule in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_names_are_imported_on_demand():
    code = "import sys, nas; assert not {'torch', 'numpy'} & set(sys.modules); nas.search; assert set(dir(nas))"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    for name in nas.__all__:
        assert getattr(nas, name) is not None
    with pytest.raises(AttributeError):
        _ = nas.nonsense


@pytest.mark.long
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_and_is_short(path):
    # a space and a training loop of one's own are a little longer
    most = 20 if path.stem in ("own_space", "own_training") else 15
    assert len(path.read_text().splitlines()) <= most
    done = subprocess.run(
        [sys.executable, str(path)], cwd=ROOT, capture_output=True, text=True, env={"PYTHONPATH": "."}
    )
    assert done.returncode == 0, done.stderr
