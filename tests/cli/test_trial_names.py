"""RUN:TRIAL, RUN:best, RUN:knee and RUN:front: any trial of a search can be looked at, taken away and compared."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command import nas as command

import nas
from nas.cli.main import main
from nas.errors import ConfigError
from nas.graph import cost
from nas.graph.lowering.torch_module import build_module
from nas.models.create import create_graph
from nas.models.resolve import resolve
from nas.training.weights import save_weights
from nas.workflows.compare.candidates import candidates_of
from nas.workflows.compare.settings import settings_from

GOLDEN = Path(__file__).resolve().parents[1] / "golden/runs"
PLUGIN = """from nas import Metrics
from nas.evaluators import register_evaluator

@register_evaluator("toy")
def toy(job):
    "Rewards size, but for some noise; fails where the key says so."
    noise = int(job.key[:4], 16)
    if noise % 7 == 0:
        raise ValueError("=HYPERLINK(1)")
    return Metrics(job.params**0.3 + noise % 10, {"ms": job.macs / 1e6})
"""
SEARCH = (
    "search --plugin toy.py --evaluator toy --space nb201 --depth 1 --searcher nsga2 --searcher-arg objectives=ms "
    "--searcher-arg population=6 --trials 20 --max-params 250000 --baseline none --name toy"
)


def table(folder: Path) -> list[dict[str, str]]:
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def truth(rows: Sequence[Mapping[str, Any]]) -> tuple[list[int], int]:
    """Return the front of the toy search and its knee, by comparing every pair and by the distance from a line."""
    points = {int(r["index"]): (float(r["reward"]), float(r["ms"])) for r in rows if r["status"] == "done"}

    def beaten(a: tuple[float, float]) -> bool:
        return any(b[0] >= a[0] and b[1] <= a[1] and b != a for b in points.values())

    front = sorted((i for i, point in points.items() if not beaten(point)), key=lambda i: (-points[i][0], i))
    corner = np.array([points[i] for i in front])
    scaled = (corner - corner.min(axis=0)) / np.ptp(corner, axis=0)
    # above the line from (0, 0) to (1, 1) is better
    distances = (scaled[:, 0] - scaled[:, 1]) / np.sqrt(2)
    return front, front[int(np.argmax(distances.round(9)))]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the results of the toy search, of one under a budget, and of one of other things than networks."""
    folder = tmp_path_factory.mktemp("trials")
    (folder / "toy.py").write_text(PLUGIN)
    done = command(folder, *SEARCH.split())
    assert done.returncode == 0, done.stderr

    def noise(job: nas.Job) -> float:
        return int(job.key[:4], 16) % 100

    results = folder / "results"
    nas.search("nb201", noise, "random", 6, name="sized", results_dir=results, budget=nas.Budget(macs=3_000_000))
    nas.search(
        lambda choose: choose("x", (1, 2, 3, 4)), lambda job: 1.5, "random", 4, name="plain", results_dir=results
    )
    return folder


@pytest.fixture
def says(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], str]:
    """Run a command beside a copy of the runs and return what it printed; an error must be one line with code 2."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)

    def run(line: str) -> str:
        capsys.readouterr()
        code = main(line.split())
        printed = capsys.readouterr()
        if code == 0:
            return printed.out
        assert code == 2
        assert printed.err.startswith("error: ")
        assert printed.err.count("\n") == 1
        return printed.err

    return run


def inspected(says: Callable[[str], str], name: str) -> dict[str, object]:
    return json.loads(says(f"inspect {name} --json"))


@pytest.mark.long
def test_a_trial_is_the_network_that_the_table_of_trials_has(says: Callable[[str], str]) -> None:
    rows = [row for row in table(Path("results/toy")) if row["reward"]]
    for row in rows[:4]:
        facts = inspected(says, f"toy:{row['index']}")
        assert (facts["key"], str(facts["params"]), str(facts["macs"])) == (row["key"], row["params"], row["macs"])
        assert inspected(says, f"results/toy:{row['index']}") == facts
    best = max(rows, key=lambda row: (float(row["reward"]), -int(row["index"])))
    assert inspected(says, "toy:best")["key"] == inspected(says, "toy")["key"] == best["key"]


def test_front_and_knee_are_those_of_the_objectives_of_the_search(says: Callable[[str], str]) -> None:
    rows = table(Path("results/toy"))
    front, knee = truth(rows)
    assert len(front) > 2
    assert inspected(says, "toy:knee")["key"] == rows[knee]["key"]
    line = says("source toy:front -o x.py")
    assert f"'toy:front' is {len(front)} trials ({', '.join(map(str, front))}) where one is wanted; name one" in line
    assert f"toy:{front[0]}" in line
    assert not Path("x.py").exists()
    for report in ("report.md", "report.html"):
        text = (Path("results/toy") / report).read_text()
        assert all(f"toy:{index}" in text for index in front)
        assert f"The knee, trial {knee}, lies farthest" in text


@pytest.mark.long
def test_a_trial_is_exported_without_weights_of_its_own(says: Callable[[str], str]) -> None:
    knee = truth(table(Path("results/toy")))[1]
    said = says("export toy:knee --formats py -o out")
    assert "weights      freshly initialised (seed 0), not trained; a search keeps weights of its best alone" in said
    assert Path(f"out/toy_{knee}.py").is_file()
    assert f"Trial {knee} of the run `toy`" in Path("out/model_card.md").read_text()
    wrong = says(f"finetune toy:{knee} --dataset digits --forecast")
    assert f"weights 'toy:{knee}': a search keeps weights of its best alone" in wrong


def test_the_winner_has_its_weights_by_each_of_its_names(says: Callable[[str], str]) -> None:
    module = build_module(create_graph("toy"))
    save_weights(module, Path("results/toy/best/weights.safetensors"))
    index = resolve("toy:best").trial
    assert index is not None
    found = nas.create_model(f"toy:{index.index}", weights=True).state_dict()
    assert all(bool((found[name] == tensor).all()) for name, tensor in module.state_dict().items())
    with pytest.raises(ConfigError, match="a search keeps weights of its best alone"):
        nas.create_model("toy:knee", weights=True)


def test_a_comparison_takes_the_whole_front(says: Callable[[str], str]) -> None:
    front, knee = truth(table(Path("results/toy")))
    settings = settings_from(("toy:front", "results/toy:knee"), {"dataset": "digits", "width": 2})
    found = candidates_of(settings, Path("results"), lambda progress: None)
    names = [f"toy:{index}" for index in front]
    names[front.index(knee)] = f"toy:{knee}"
    assert [candidate.name for candidate in found] == [*names, "toy:knee"]
    assert {candidate.kind for candidate in found} == {"trial"}
    assert "candidate 'toy:" in says(f"compare toy:front results/toy:{knee} --dataset digits --name twice")
    assert not Path("results/twice").exists()


@pytest.mark.long
def test_a_comparison_trains_a_trial_beside_the_best(says: Callable[[str], str]) -> None:
    says("compare toy toy:knee --dataset digits --train-images 20 --epochs 1 --seeds 1 --width 1 --name cmp")
    rows = json.loads(Path("results/cmp/compare.json").read_text())["rows"]
    knee = truth(table(Path("results/toy")))[1]
    assert {row["name"]: row["kind"] for row in rows} == {"toy": "run", f"toy:{knee}": "trial"}


def test_a_search_begins_with_the_whole_front(says: Callable[[str], str]) -> None:
    front, _ = truth(table(Path("results/toy")))
    how = "--evaluator toy --plugin toy.py --searcher random --baseline none --depth 1 --name again"
    says(f"search --start-from toy:front {how} --trials {len(front)}")
    keys = [row["key"] for row in table(Path("results/toy"))]
    assert [row["key"] for row in table(Path("results/again"))][: len(front)] == [keys[index] for index in front]


def test_a_trial_under_a_budget_has_its_own_width(says: Callable[[str], str]) -> None:
    rows = table(Path("results/sized"))
    assert len({row["width"] for row in rows if row["width"]}) > 1
    shutil.rmtree("results/sized/best")  # as in a run that was interrupted
    for row in (row for row in rows if row["status"] == "done"):
        facts = inspected(says, f"sized:{row['index']}")
        assert (str(facts["macs"]), facts["key"]) == (row["macs"], row["key"])
        assert cost(create_graph(f"sized:{row['index']}")).macs == int(row["macs"])
    # for the reward alone, the front is that of reward against MACs
    study = nas.load_study("results/sized")
    knee = study.knee()
    assert knee is not None
    assert resolve("sized:knee").key == knee.key
    assert knee in study.pareto_front("macs")


def test_a_trial_of_other_things_than_networks_shows_its_decisions(says: Callable[[str], str]) -> None:
    rows = table(Path("results/plain"))
    facts = inspected(says, "plain:1")
    assert (facts["trial"], facts["reward"], str(facts["x"])) == (1, 1.5, rows[1]["decisions.x"])
    assert "run 'plain' has no front: its trials have neither MACs nor parameters" in says("inspect plain:knee")
    assert "unknown space" in says("export plain:1 -o out")


def test_what_names_no_trial_with_a_result_is_told_with_what_is_allowed(says: Callable[[str], str]) -> None:
    rows = table(Path("results/toy"))
    failed = next(row["index"] for row in rows if row["status"] == "failed")
    refused = next(row["index"] for row in table(Path("results/sized")) if row["status"] == "refused")
    allowed = "allowed: a trial with a reward, such as toy:"
    wrong = {
        "toy:99": ("run 'toy' has no trial 99, its trials are 0 to ", allowed),
        f"toy:{failed}": ("failed (error: ValueError: =HYPERLINK(1))", allowed),
        f"sized:{refused}": (
            "was refused (error: the widest network",
            "allowed: a trial with a reward, such as sized:",
        ),
        "toy:kne": ("unknown trial 'kne'; did you mean 'knee'?", "or a trial's number"),
        "toy:-1": ("unknown trial '-1'", "or a trial's number"),
        "toi:3": ("unknown run 'toi'; did you mean 'toy'?", "in 'results'"),
        "toy:" + "9" * 5000: ("unknown trial '9999", "or a trial's number"),
        "torchvision:resnet51": ("genotype or file 'torchvision:resnet51'", ""),
        "C:\\nets\\net.json": ("file 'C:\\nets\\net.json' does not exist", ""),
    }
    for name, (what, more) in wrong.items():
        line = says(f"inspect {name}")
        assert what in line
        assert more in line


def test_a_file_of_the_very_name_wins(says: Callable[[str], str]) -> None:
    shutil.copyfile("results/toy/best/graph.json", "toy:3")
    key = inspected(says, "./results/toy/best/graph.json")["key"]
    assert inspected(says, "toy:3")["key"] == key != inspected(says, "./results/toy:3")["key"]


def test_a_comparison_has_no_trials(says: Callable[[str], str]) -> None:
    shutil.copytree(GOLDEN / "comparison", "results/pair")
    assert "run 'pair' was made by nas compare and has no trials to name" in says("inspect pair:0")


def test_the_trials_of_an_earlier_version_can_be_named(says: Callable[[str], str]) -> None:
    knee = inspected(says, f"{GOLDEN / 'table-nsga2'}:knee")
    events = [json.loads(line) for line in (GOLDEN / "table-nsga2/journal.jsonl").read_text().splitlines()]
    done = {e["index"]: (e["reward"], e["values"]["latency"]) for e in events if e["event"] == "done"}
    rows = [{"index": i, "status": "done", "reward": reward, "ms": ms} for i, (reward, ms) in done.items()]
    keys = {event["index"]: event["key"] for event in events if event["event"] == "asked"}
    assert knee["key"] == keys[truth(rows)[1]]


def test_the_table_of_trials_has_every_decision_and_no_formula(says: Callable[[str], str]) -> None:
    trials = nas.load_study("results/toy").trials
    for trial, row in zip(trials, table(Path("results/toy")), strict=True):
        own = {name.removeprefix("decisions."): cell for name, cell in row.items() if name.startswith("decisions.")}
        assert own == trial.architecture.decisions
