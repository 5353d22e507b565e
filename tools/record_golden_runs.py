"""Record small runs of every kind as text: ``python tools/record_golden_runs.py FOLDER [NAME ...]``.

The recorded runs lie in ``tests/golden/runs``. ``tests/golden`` holds every later version to them: it must read them,
and make the same proposals. On the machine that recorded them rewards and losses are equal to the last bit too
(``python tools/compare_golden_runs.py OLD NEW``). Only digits and a toy table are used; weights are left out.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
PLUGIN = '''"""An evaluator of the tests: a number that the key alone decides."""

from nas.evaluators import register_evaluator


@register_evaluator("mine")
def mine(job):
    return (int(job.key[:8], 16) % 1000) / 1000
'''
PYTHON = '''"""A search of a user's own function."""

import nas


def settings(choose):
    optimizer = choose("optimizer", ["sgd", "adam"])
    choose("momentum" if optimizer == "sgd" else "beta", [0.8, 0.9, 0.95])
    choose("layers", [1, 2, 3, 4])


def score(job):
    return job.architecture["layers"] + len(job.architecture["optimizer"]) / 10


nas.search(settings, evaluator=score, searcher="evolution", trials=12, name="python", searcher_args={"population": 4})
'''
TRAIN = "--threads 1 --train-images 200 --validation-images 100"
CELLS = "--dataset digits --space nasnet --space-arg nodes=2 --width 2 --depth 1"
TINY = f"{TRAIN} {CELLS} --epochs 1 --final-epochs 1 --final-seeds 1"
PLAIN_REINFORCE = "--searcher reinforce --searcher-arg memory=0 --searcher-arg half_life=0"  # its defaults, then
TABLE = "--table toy.npz --reward val_acc_9 --objective test_acc --space nb201"
RUNGS = "--table toy.npz --reward val_acc_{epochs} --space nb201 --epochs 9"
EVOLUTION = "--searcher evolution --searcher-arg population=3 --searcher-arg tournament=2"
COMMANDS = {
    "digits-random": f"search {TINY} --searcher random --trials 4",
    "digits-evolution": f"search {TINY} {EVOLUTION} --trials 6",
    "table-local": f"search {TABLE} --searcher local --trials 40",
    "table-nsga2": f"search {TABLE} --searcher nsga2 --searcher-arg objectives=latency --metric latency --trials 60 "
    "--searcher-arg population=20",
    "table-reinforce": f"search {TABLE} {PLAIN_REINFORCE} --trials 40",
    "table-predictor": f"search {TABLE} --searcher predictor --trials 30",
    "table-optuna": f"search {TABLE} --searcher optuna:tpe --trials 30",
    "table-halving": f"search {RUNGS} {EVOLUTION} --scheduler halving --scheduler-arg eta=3 --trials 40",
    "table-bohb": f"search {RUNGS} --searcher bohb --trials 30",
    "digits-asha": f"search {TINY.replace('--epochs 1 ', '--epochs 4 ', 1)} --searcher random --scheduler asha "
    "--scheduler-arg eta=2 --trials 8",
    "plugin-lag": f"search --plugin plug.py --evaluator mine --lag 4 --space nb201 --depth 1 {EVOLUTION} --trials 20",
    "digits-resumed": f"search {TINY} {EVOLUTION} --trials 6 --baseline none",
    "python": "",
    "comparison": f"compare digits-evolution resnet20_cifar --dataset digits --epochs 1 --seeds 2 {TRAIN} --width 2",
    "training": "train digits-evolution --dataset digits --train-images 200 --epochs 2 --validate 1 --threads 1",
    "transferred": "transfer digits-evolution --dataset digits --train-images 200 --epochs 1 --max-macs 300k "
    "--recipe nb201-200 --batch-size 50 --threads 1",
    "finetuned": "finetune training --dataset digits --train-images 100 --epochs 1 --batch-size 25 --threads 1",
}
KEPT = (".jsonl", ".toml", ".json", ".csv", ".md")
LEFT_OUT = ("cache", "figures", "checkpoints", "status.json")
CUT = 3
"""The results after which the resumed run is cut, as a kill would cut it."""


def toy_table(path: Path) -> None:
    """Write a table of NAS-Bench-201's 15,625 cells with made-up accuracies after 1, 3 and 9 epochs."""
    options = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
    names = [f"edge_{i}_{j}" for j in range(1, 4) for i in range(j)]
    choices = np.stack(np.unravel_index(np.arange(5**6), (5,) * 6), axis=1).astype(np.uint8)
    worth = np.array([0.0, 3.0, 5.0, 8.0, 2.0])
    rng = np.random.default_rng(0)
    level = 50 + worth[choices].sum(axis=1) / 2 + 3 * (choices[:, 0] == choices[:, 5])
    columns = {
        f"val_acc_{epochs}": np.round(level - 20 / (1 + epochs) + rng.normal(0, 1 / epochs, len(level)), 3)
        for epochs in (1, 3, 9)
    }
    columns["test_acc"] = np.round(level - 1 + rng.normal(0, 0.1, len(level)), 3)
    columns["latency"] = np.round(1 + worth[choices].sum(axis=1) / 4 + rng.random(len(level)), 3)
    import json

    table = {"names": np.array(names), "options": np.array(json.dumps(dict.fromkeys(names, options)))}
    np.savez_compressed(path, choices=choices, **table, **columns)


def record(folder: Path, wanted: list[str]) -> None:
    """Run the commands in ``folder`` and keep the text of what they leave in ``folder/runs``."""
    folder.mkdir(parents=True, exist_ok=True)
    toy_table(folder / "toy.npz")
    (folder / "plug.py").write_text(PLUGIN)
    (folder / "own.py").write_text(PYTHON)
    for name, command in COMMANDS.items():
        if wanted and name not in wanted:
            continue
        print(name, flush=True)
        if name == "python":
            _call([str(folder / "own.py")], folder)
        else:
            nas = str(ROOT / "run_search.py")
            _call([nas, *command.split(), "--name", name], folder)
            if name == "digits-resumed":
                _cut(folder / "results" / name / "journal.jsonl")
                _call([nas, "resume", name], folder)
        _keep(folder / "results" / name, folder / "runs" / name)


def _call(arguments: list[str], folder: Path) -> None:
    import os

    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, *arguments], cwd=folder, check=True, env=environment, stdout=subprocess.DEVNULL)


def _cut(journal: Path) -> None:
    kept, done = [], 0
    for line in journal.read_bytes().splitlines(keepends=True):
        kept.append(line)
        done += b'"event": "done"' in line
        if done == CUT:
            break
    journal.write_bytes(b"".join(kept))


def _keep(run: Path, target: Path) -> None:
    for path in sorted(run.rglob("*")):
        inner = path.relative_to(run)
        if path.suffix in KEPT and not set(inner.parts) & set(LEFT_OUT):
            (target / inner).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / inner)


if __name__ == "__main__":
    record(Path(sys.argv[1]).resolve(), sys.argv[2:])
