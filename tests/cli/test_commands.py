"""What every command does when it is used well."""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import re
import shlex
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import numpy as np
import pytest
from wrong_files import EDGES, GRAPH, OPERATIONS, SPACE_PLUGIN

from nas.cli.main import build_parser, main
from nas.engine.assemble import with_defaults
from nas.engine.config import RunOptions
from nas.engine.preset import preset
from nas.runs.journal import read

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("torch", "ray", "optuna", "sklearn", "numpy", "rich")
TABLE = "search --results-dir {out} --space nb201 --table {in}/good.npz --reward accuracy --dataset small --trials 12"
FLAT = "search --results-dir {out} --space nb201 --plugin {in}/good.py --evaluator flat --trials 6 --depth 1"


@pytest.fixture
def nas(wrong_files, tmp_path, capsys):
    """Run a command that must succeed and return what it printed."""

    def run(command: str, code: int = 0) -> str:
        filled = command.replace("{in}", str(wrong_files)).replace("{out}", str(tmp_path / "results"))
        capsys.readouterr()
        assert main(shlex.split(filled)) == code
        return capsys.readouterr().out

    return run


@pytest.fixture
def full_table(tmp_path):
    """A table of the whole space, so that searches find all of their architectures."""
    choices = np.array(list(itertools.product(range(5), repeat=6)), dtype=np.uint8)
    values = choices @ np.array([0.1, 0.7, 1.3, 2.9, 3.1, 5.3])
    path = tmp_path / "full.npz"
    np.savez(
        path,
        names=np.array(EDGES),
        options=np.array(json.dumps(dict.fromkeys(EDGES, OPERATIONS))),
        choices=choices,
        datasets=np.array(["small", "large"]),
        accuracy=np.stack([values, values / 2], axis=1),
        test_accuracy=np.stack([values + 1, values / 2 + 1], axis=1),
        seconds=np.full(len(choices), 60.0),
    )
    return path


def trials_of(folder):
    """Return the trials of a run as its journal has them, without times."""
    timing = ("crc", "seq", "wall", "time")
    events = [e for e in read(folder / "journal.jsonl") if e["event"] not in ("run", "stopped")]
    return [{k: v for k, v in e.items() if k not in timing} for e in events]


@pytest.mark.parametrize("command", ["", "search", "resume", "report", "inspect", "list", "check"])
def test_help_of_a_command_names_its_flags(command, capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        main([*command.split(), "--help"])
    out = capsys.readouterr().out
    commands = build_parser()[1]
    if not command:
        assert all(re.search(rf"^ +{name}\b", out, re.MULTILINE) for name in commands)
        return
    shown = [action for action in commands[command]._actions if action.help != argparse.SUPPRESS]
    flags = [flag for action in shown for flag in action.option_strings]
    texts = [action.help for action in shown]
    assert "--help" in flags
    assert all(flag in out for flag in flags)
    assert all(texts)


@pytest.mark.long
def test_the_help_imports_nothing_heavy_and_answers_within_half_a_second():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['run_search.py', 'search', '--help']\n"
        "try:\n    runpy.run_path('run_search.py', run_name='__main__')\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        f"sys.exit(' '.join(name for name in {HEAVY} if name in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr.strip() == ""
    assert "--trials N" in done.stdout
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "run_search.py", "--help"], cwd=ROOT, capture_output=True, check=True)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) <= 0.5


def test_the_help_says_what_is_searched_without_flags(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--help"])
    config = with_defaults(RunOptions(**preset({})))
    said = " ".join(capsys.readouterr().out.split())
    assert f"without flags it searches networks of one size on the dataset {config.data.dataset} and" in said
    assert config.budget.macs
    families = ("none", "one", "two", "three", "four", "five")[len(config.comparison.against)]
    assert f"the best of {families} handcrafted families of that size" in said


def test_the_version(capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["--version"])
    assert capsys.readouterr().out.startswith("nas ")


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("spaces", ["nasnet", "nb101", "nb201"]),
        (
            "searchers",
            ["auto", "evolution", "local", "optuna:NAME", "predictor", "random", "population=20, tournament=10"],
        ),
        ("evaluators", ["table", "train"]),
        ("datasets", ["cifar10", "digits", "fashion-mini", "fashion-mnist"]),
        ("primitives", ["conv", "linear", "max_pool", "named"]),
    ],
)
def test_list_has_a_line_for_each_thing(nas, what, names):
    lines = nas(f"list {what}").splitlines()
    assert lines[0].split()[0] == what
    for name in names:
        assert any(name in line and len(line.split()) > 3 for line in lines[1:])


def test_list_shows_what_a_plugin_registers(nas):
    assert "flat" not in nas("list evaluators")
    assert re.search("flat +Rewards the key", nas("list evaluators --plugin {in}/good.py"))


def test_inspect_knows_the_cost_of_a_graph_by_hand(nas, wrong_files, tmp_path):
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(GRAPH))
    facts = json.loads(nas(f"inspect {path} --json --layers"))
    rows = {row["name"]: row for row in facts.pop("layers")}
    assert facts.pop("key") == json.loads(nas(f"inspect {path} --json"))["key"]
    # conv: 4 filters of 3x3x3 on 8x8 pixels; linear: 4 to 10 with bias
    assert facts["params"] == 4 * 3 * 9 + (4 * 10 + 10)
    assert facts["macs"] == 4 * 3 * 9 * 64 + 40
    assert facts["activations"] == 3 * 64 + 2 * 4 * 64 + 4 + 4 + 10
    assert facts["memory_forward"] == 4 * facts["activations"]
    assert facts["input_shape"] == [3, 8, 8]
    assert facts["output_shape"] == [10]
    assert facts["receptive_field"] == [10, 10]  # the pool sees all pixels, their windows reach one beyond
    assert facts["nodes"] == 6
    assert rows["conv"]["shape"] == [4, 8, 8]
    assert rows["conv"]["receptive_field"] == [3, 3]
    assert sum(row["macs"] for row in rows.values()) == facts["macs"]


def test_inspect_at_another_size_and_in_words(nas, tmp_path):
    path = tmp_path / "graph.json"
    path.write_text(json.dumps(GRAPH))
    assert json.loads(nas(f"inspect {path} --json --input 3,16,16"))["macs"] == 4 * 3 * 9 * 256 + 40
    out = nas(f"inspect {path} --layers")
    assert re.search(r"params +158", out)
    assert re.search(r"^ *conv +conv +4x8x8 +108 +6,912 +256 +3x3 *$", out, re.MULTILINE)


def test_inspect_builds_an_architecture_at_a_width_and_depth(nas):
    facts = [
        json.loads(nas(f"inspect {{in}}/arch_good.json --json {flags}"))
        for flags in ("", "--width 8 --depth 1", "--classes 100")
    ]
    assert facts[0]["params"] > facts[1]["params"]
    assert facts[2]["output_shape"] == [100]
    assert len({f["key"] for f in facts}) == 1


def test_check_of_a_space_that_keeps_the_contract(nas, tmp_path):
    path = tmp_path / "own.py"
    text = SPACE_PLUGIN.replace("{name}", "own").replace("{body}", "return net(choose('kernel', (1, 2, 4)))")
    path.write_text(text)
    assert nas(f"check {path}") == "space 'own' keeps the contract\n"


@pytest.mark.long
def test_a_search_with_a_table_leaves_everything(nas, full_table, tmp_path):
    command = f"{TABLE} --objective test_accuracy --name first".replace("{in}/good.npz", str(full_table))
    out = nas(command)
    folder = tmp_path / "results" / "first"
    names = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    names -= {name for name in names if name.startswith("cache/zero-cost-")}  # it only saves work
    own = {"config.toml", "environment.json", "journal.jsonl", "summary.json", "trials.csv", "status.json"}
    own |= {"report.md", "report.html"}
    random = {f"random/{name}" for name in ("config.toml", "environment.json", "journal.jsonl")}
    assert names == own | random | {f"best/{name}.json" for name in ("architecture", "graph")} | {
        f"figures/{name}.svg" for name in ("progress", "cost")
    }
    assert out.startswith("best: trial ")
    assert "test_accuracy" in out
    assert f"report: {folder / 'report.html'}" in out
    check_trials(folder)
    check_summary(folder)


def check_trials(folder):
    """Hold trials.csv to the journal."""
    rows = list(csv.DictReader((folder / "trials.csv").open()))
    measured = "index,status,key,reward,params,macs,seconds,failure,epochs,of,accuracy"
    assert ",".join(rows[0]).partition(",decisions.")[0] == measured
    asked = [e for e in read(folder / "journal.jsonl") if e["event"] == "asked"]
    # to look a result up takes less than a score
    assert not any(e.get("scores") for e in asked)
    assert [(int(r["index"]), r["key"]) for r in rows] == [(e["index"], e["key"]) for e in asked]
    assert sum(r["status"] == "done" for r in rows) == 12
    assert all(r["reward"] == r["accuracy"] for r in rows)


def check_summary(folder):
    """Hold summary.json to the journal."""
    summary = json.loads((folder / "summary.json").read_text())
    done = [e for e in read(folder / "journal.jsonl") if e["event"] == "done"]
    best = max(done, key=lambda e: e["reward"])
    assert summary["name"] == "first"
    assert summary["status"] == "finished"
    assert (summary["space"], summary["searcher"], summary["seed"]) == ("nb201", "predictor", 0)
    assert summary["best"]["reward"] == best["reward"]
    assert summary["best"]["index"] == best["index"]
    assert summary["counts"]["done"] == summary["queries"] == 12
    assert summary["simulated_seconds"] == 12 * 60
    assert summary["random_search"]["queries"] == 12
    assert {row["role"] for row in summary["finals"]} == {"search", "random"}
    assert {row["role"]: row["mean"] for row in summary["finals"]}["search"] == pytest.approx(best["reward"] + 1)


@pytest.mark.long
def test_the_saved_config_gives_the_same_trials_and_flags_override_it(nas, full_table, tmp_path):
    nas(f"{TABLE} --name first --seed 7 --baseline none".replace("{in}/good.npz", str(full_table)))
    results = tmp_path / "results"
    nas(f"search --results-dir {{out}} --config {results}/first/config.toml --name again")
    nas(f"search --results-dir {{out}} --config {results}/first/config.toml --name other --seed 8 --trials 5")
    first, again, other = (trials_of(results / name) for name in ("first", "again", "other"))
    assert again == first
    assert other != first
    saved = [tomllib.loads((results / name / "config.toml").read_text()) for name in ("first", "again", "other")]
    assert saved[1] == saved[0]
    assert saved[2] == {**saved[0], "seed": 8, "trials": 5}
    assert json.loads((results / "other" / "summary.json").read_text())["queries"] == 5


def test_flags_override_single_arguments_of_a_config(nas, tmp_path):
    config = tmp_path / "search.toml"
    config.write_text('searcher = "evolution"\n[searcher_args]\npopulation = 5\ntournament = 3\n')
    nas(f"{FLAT} --config {config} --searcher-arg population=4 --name one")
    saved = tomllib.loads((tmp_path / "results/one/config.toml").read_text())
    assert saved["searcher_args"] == {"population": 4, "tournament": 3}


@pytest.mark.parametrize(("text", "number"), [("1k", 1_000), ("4.1M", 4_100_000), ("2G", 2 * 10**9), ("17", 17)])
def test_numbers_may_have_a_unit(nas, tmp_path, text, number):
    nas(f"{FLAT} --seed {text} --trials 1 --name one")
    assert tomllib.loads((tmp_path / "results/one/config.toml").read_text())["seed"] == number


def test_report_rewrites_identical_files(nas, tmp_path, tree):
    nas(f"{FLAT} --name one")
    folder = tmp_path / "results" / "one"
    before = tree(folder)
    for name in ("summary.json", "trials.csv", "report.md", "figures/progress.svg", "figures/cost.svg"):
        (folder / name).unlink()
    nas("report one --results-dir {out}")
    assert tree(folder) == before


def test_report_of_a_torn_journal_warns(nas, tmp_path, capsys):
    nas(f"{FLAT} --name one")
    journal = tmp_path / "results/one/journal.jsonl"
    data = journal.read_bytes()
    journal.write_bytes(data[:-1])
    assert main(["report", "one", "--results-dir", str(tmp_path / "results")]) == 0
    out, error = capsys.readouterr()
    assert error.startswith("warning: journal")
    assert error.count("\n") == 1
    assert "running or killed; go on with: nas resume one --results-dir" in out
    assert journal.read_bytes() == data[:-1]


def test_resume_of_a_finished_run_changes_no_trial(nas, tmp_path):
    nas(f"{FLAT} --name one")
    folder = tmp_path / "results" / "one"
    before, csv_before = trials_of(folder), (folder / "trials.csv").read_bytes()
    out = nas("resume one --results-dir {out}")
    assert trials_of(folder) == before
    assert (folder / "trials.csv").read_bytes() == csv_before
    assert out.startswith("best: trial ")


def test_names_are_free_numbers_and_search_is_the_default_command(nas, tmp_path):
    for _ in range(2):
        nas(FLAT.removeprefix("search "))
    assert sorted(p.name for p in (tmp_path / "results").iterdir()) == ["nb201-predictor-1", "nb201-predictor-2"]


@pytest.mark.long
def test_progress_is_a_line_for_every_tenth_where_no_one_watches(nas, wrong_files, tmp_path, capsys):
    command = FLAT.replace("{in}", str(wrong_files)).replace("{out}", str(tmp_path / "results"))
    assert main([*shlex.split(command), "--trials", "40"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("searching: ")]
    assert len(lines) == 11
    shown = r"searching: \d+ of 40(, best 0\.\d+)?(, [\d,.]+ trials/\w+)?, \d+ s"
    assert all(re.fullmatch(shown, line) for line in lines)


def test_a_reader_who_leaves_early_sees_no_error(wrong_files):
    command = f"{sys.executable} {ROOT}/run_search.py inspect {wrong_files}/arch_good.json --layers --json | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("{\n", "")


def test_a_search_whose_trials_all_fail_says_so(nas, tmp_path):
    plugin = tmp_path / "failing.py"
    plugin.write_text(
        "from nas.evaluators import register_evaluator\n\n"
        "@register_evaluator('failing')\ndef failing(job):\n    raise ValueError('planted in the evaluator')\n"
    )
    search = f"search --results-dir {{out}} --space nb201 --plugin {plugin} --evaluator failing --trials 3 --name one"
    out = nas(search, code=1)
    assert "no trial has a score" in out
    assert "ValueError: planted in the evaluator" in out


def test_a_limit_of_seconds_that_nothing_meets_is_told_with_the_quickest_network(nas, monkeypatch):
    seconds = itertools.count(59, -1)
    monkeypatch.setattr("nas.training.trainer.epoch_seconds", lambda *_, **how: float(next(seconds)))
    monkeypatch.setattr("nas.engine.forecast.SAMPLES", 0)
    out = nas(
        "search --results-dir {out} --space nb201 --width 2 --depth 1 --dataset digits --train-images 60 --epochs 1 "
        "--searcher evolution --max-trial-seconds 4 --name one",
        code=1,
    )
    # 59 s to 30 s
    told = (
        "all 30 networks were too slow for --max-trial-seconds 4, at best: training for 1 epoch would take about 30 s"
    )
    assert told in " ".join(out.split())


@pytest.mark.long
def test_limits_that_nothing_meets_are_told_with_the_smallest_network(nas, tmp_path, monkeypatch):
    monkeypatch.setattr("nas.engine.loop.MAX_FREE_PROPOSALS", 20)
    monkeypatch.setattr("nas.engine.run.check_limits", lambda config, parts: "")  # samples would tell before
    out = nas(f"{FLAT} --name one --max-macs 10 --baseline random", code=1)
    smallest = min(e["macs"] for e in read(tmp_path / "results/one/journal.jsonl") if e["event"] == "asked")
    assert "all 20 proposals were over the limits (--max-macs 10): the smallest had" in out
    assert f"{smallest:,} MACs" in out
    assert not (tmp_path / "results/one/random").exists()


def test_the_path_of_a_run_stands_for_its_best(nas, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    nas(f"{FLAT} --name one --baseline none")
    shown = [nas(f"inspect {name} --json") for name in ("one", "results/one", "results/one/")]
    assert shown[0] == shown[1] == shown[2]
    assert '"macs"' in nas("inspect results/one/best/graph.json --json")


def test_a_run_is_found_by_the_path_that_it_printed(nas, full_table, tmp_path):
    nas(f"search --results-dir {{out}} --space table --table {full_table} --reward accuracy --trials 3 --name one")
    for path in ("{out}/one", "one/", "{out}/one/"):
        assert "best: trial" in nas(f"report {path} --results-dir {{out}}")
