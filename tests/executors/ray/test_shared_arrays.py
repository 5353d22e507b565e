"""Images travel through Ray: workers need not find the files."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from nas.runs.journal import read

PROGRAM = """
import sys
from pathlib import Path
from nas.engine.config import RunOptions
from nas.engine.run import SearchRun

folder, data, executor = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
config = RunOptions(dataset="arrays", data_dir=str(data), trials=3, epochs=1, lag=3, width=4, depth=1, final_seeds=0,
                   searcher="random", space="nb201", baseline="none", executor=executor,
                   workers=2 if executor == "ray" else None)
run = SearchRun.create(folder, config)
if executor == "ray":
    run.plan.parts.executor.capacity  # connects, reads the images and starts the workers
    data.rename(data.with_name("away.npz"))
print(run.execute())
"""


@pytest.mark.long
def test_shared_images_reach_workers_without_the_file(tmp_path):
    pytest.importorskip("ray")
    random = np.random.default_rng(0)
    names = {"train_images": 200, "test_images": 20}
    arrays = {name: random.integers(0, 256, (count, 8, 8, 3), dtype=np.uint8) for name, count in names.items()}
    labels = {name.replace("images", "labels"): np.arange(count) % 4 for name, count in names.items()}
    data = tmp_path / "data.npz"
    np.savez(data, **arrays, **labels)
    rewards = {}
    for executor in ("inline", "ray"):
        command = [sys.executable, "-c", PROGRAM, str(tmp_path / executor), str(data), executor]
        variables = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=200, check=False)
        assert done.stdout.strip() == "finished", done.stderr
        events = read(tmp_path / executor / "journal.jsonl")
        assert not [e for e in events if e["event"] in ("failed", "retried")]
        rewards[executor] = {e["index"]: e["reward"] for e in events if e["event"] == "done"}
    assert len(rewards["ray"]) == 3
    assert rewards["ray"] == rewards["inline"]
    assert not data.exists()
