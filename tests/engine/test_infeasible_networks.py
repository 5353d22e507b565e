"""A network that its space finds infeasible only as it is built is refused, counted and told; the search goes on."""

from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path

import pytest
from command import nas as run_command
from command import one_error, write_plugin

import nas
from nas.errors import ConfigError
from nas.space.validate import problems

TASK = nas.Task("small", (3, 8, 8), 4)
WHY = "a kernel of 5 does not fit 8 channels"
SPACE = '''
from nas import GraphBuilder, Infeasible, Network, register_space
from nas.graph import Conv, Flatten, GlobalAvgPool, Linear

@register_space("late")
def late(choose):
    """Finds out that a network is infeasible as late as it can."""
    kernel, width, deeper = choose("kernel", (1, 3, 5)), choose("width", tuple(range(2, 13))), choose("deeper", (0, 1))

    def build(task, base, depth):
        if kernel == 5:
            raise Infeasible(f"a kernel of 5 does not fit {width} channels")
        b = GraphBuilder(task.input_shape)
        x = b(Conv(width, kernel, padding=kernel // 2), b.input)
        for _ in range(deeper):
            x = b(Conv(width, kernel, padding=kernel // 2), x)
        return b.build(logits=b(Linear(task.classes), b(Flatten(), b(GlobalAvgPool(), x))))

    return Network(build)
'''


def late(choose: nas.Choose) -> nas.Network:
    """As the plugin's, in Python."""
    kernel, width = choose("kernel", (1, 3, 5)), choose("width", tuple(range(2, 13)))
    return nas.Network(partial(build, kernel, width))


def build(kernel: int, width: int, task: nas.Task, base: int, depth: int) -> nas.Graph:
    if kernel == 5:
        raise nas.Infeasible(WHY)
    b = nas.GraphBuilder(task.input_shape)
    x = b(nas.graph.Conv(width, kernel, padding=kernel // 2), b.input)
    x = b(nas.graph.Flatten(), b(nas.graph.GlobalAvgPool(), x))
    return b.build(logits=b(nas.graph.Linear(task.classes), x))


def never(choose: nas.Choose) -> nas.Network:
    return nas.Network(partial(build, 5, choose("width", (1, 2, 3))))


def macs(job: nas.Job) -> float:
    assert job.graph is not None
    return float(nas.graph.cost(job.graph).macs)


@pytest.mark.parametrize("searcher", ["random", "local", "evolution", "predictor", "reinforce", "nsga2"])
def test_a_search_goes_on(searcher: str) -> None:
    found = nas.search(late, macs, searcher, trials=12, task=TASK, max_macs=20_000)
    assert found.queries == 12
    assert found.best is not None
    refused = [t for t in found.trials if t.status == "refused" and t.architecture["kernel"] == 5]
    assert all(t.failure is not None and t.failure.kind == "error" for t in refused)
    assert {t.failure.message for t in refused if t.failure} <= {WHY}
    assert all(t.architecture["kernel"] != 5 for t in found.trials if t.status == "done")


def test_a_proposal_of_ones_own_searcher_is_refused() -> None:
    """Also one that the space's function itself finds infeasible."""

    def odd(choose: nas.Choose) -> int:
        if choose("x", tuple(range(9))) % 2:
            raise nas.Infeasible("x must be even")
        return 0

    class Counts:
        def ask(self, history: nas.History, rng: object) -> nas.Proposal:
            return nas.Proposal(nas.Architecture("odd", {"x": len(history)}))

    found = nas.search(odd, lambda job: float(job.architecture["x"]), Counts(), trials=4)
    assert [t.status for t in found.trials] == ["done", "refused"] * 3 + ["done"]
    assert found.trials[1].failure is not None
    assert found.trials[1].failure.message == "x must be even"


def test_a_space_without_any_feasible_network_is_an_error() -> None:
    with pytest.raises(ConfigError, match=f"space 'never' cannot be built for this task: {WHY}"):
        nas.search(never, macs, "random", trials=3, task=TASK)
    assert list(problems(nas.Space("never", never))) == [f"none of 50 networks is feasible: {WHY}"]
    assert list(problems(nas.Space("late", late))) == []


@pytest.mark.long
def test_the_command_line_counts_and_tells_them(tmp_path: Path) -> None:
    plugin = write_plugin(tmp_path / "mine.py")
    plugin.write_text(SPACE + plugin.read_text())
    words = ["search", "--space=late", "--evaluator=mine", "--plugin=mine.py", "--searcher=random", "--trials=12"]
    done = run_command(tmp_path, *words, "--name=r", "--baseline=none")
    assert done.returncode == 0, done.stderr
    run = tmp_path / "results" / "r"
    rows = list(csv.DictReader((run / "trials.csv").open()))
    refused = [row for row in rows if row["status"] == "refused"]
    assert refused
    assert all(row["failure"].startswith("error: a kernel of 5 does not fit") for row in refused)
    report = (run / "report.md").read_text()
    assert f"{len(refused)} refused" in report
    assert f"| {len(refused)} | a kernel of N does not fit N channels |" in report
    assert "a kernel of 5 does not fit" in (run / "report.html").read_text()
    # named as a start, it is an error at once
    point = nas.Architecture("late", {"kernel": 5, "width": 8, "deeper": 0})
    (tmp_path / "start.json").write_text(json.dumps(point.to_json()))
    message = one_error(run_command(tmp_path, *words, "--start-from=start.json"))
    assert f"--start-from start.json cannot be built for this task: {WHY}" in message
    assert run_command(tmp_path, "check", "mine.py").returncode == 0
