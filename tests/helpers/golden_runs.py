"""Recorded runs of an earlier version, moved to a folder of the test's, and the commands that made them."""

from __future__ import annotations

import json
import os
import runpy
import shutil
from pathlib import Path

import record_golden_runs
from compare_golden_runs import recorded_events

from nas.cli.main import main
from nas.runs.journal import encode

ROOT = Path(__file__).resolve().parents[2]
RUNS = ROOT / "tests" / "golden" / "runs"
RECORDED_IN = "/golden"
"""The folder in which the runs were made: a prefix of paths in journals and in config.toml."""
NEEDS = {
    "comparison": "digits-evolution",
    "training": "digits-evolution",
    "transferred": "digits-evolution",
    "finetuned": "training",
}
"""The run whose result a recorded command takes up."""


def write_inputs(folder: Path) -> None:
    """Write the table, the plugin and the script that the recorded commands name."""
    record_golden_runs.toy_table(folder / "toy.npz")
    (folder / "plug.py").write_text(record_golden_runs.PLUGIN)
    (folder / "own.py").write_text(record_golden_runs.PYTHON)


def relocate(name: str, folder: Path) -> Path:
    """Copy a recorded run into ``folder/results`` as if it had been made there; return its folder."""
    run = Path(shutil.copytree(RUNS / name, folder / "results" / name))
    for path in (*run.rglob("journal.jsonl"), *run.rglob("config.toml")):
        text = path.read_text().replace(f'"{RECORDED_IN}/', f'"{folder}/')
        if path.name == "journal.jsonl":
            # a moved path changes the checksum of its line
            events = [json.loads(line) for line in text.splitlines()]
            lines = [{k: v for k, v in event.items() if k not in ("crc", "seq")} for event in events]
            path.write_bytes(b"".join(encode(i, event) for i, event in enumerate(lines)))
        else:
            path.write_text(text)
    return run


def run_again(name: str, folder: Path) -> Path:
    """Give the recorded command of a run again in ``folder``, after those it builds on; return the new run's folder."""
    run = folder / "results" / name
    if run.exists():
        return run
    if name in NEEDS:
        run_again(NEEDS[name], folder)
    before = Path.cwd()
    os.chdir(folder)
    try:
        if name == "python":
            runpy.run_path("own.py")
            return run
        assert main([*record_golden_runs.COMMANDS[name].split(), "--name", name]) == 0
        if name == "digits-resumed":
            record_golden_runs._cut(run / "journal.jsonl")
            assert main(["resume", name]) == 0
    finally:
        os.chdir(before)
    return run


def proposals(run: Path) -> list[dict[str, object]]:
    """Return what a search asked, in order."""
    return [event for event in recorded_events(run) if event["event"] == "asked"]


def kind(name: str) -> str:
    """Return the kind of a recorded run: ``python``, ``compare``, ``train`` or ``search``."""
    header = json.loads((RUNS / name / "journal.jsonl").read_text().splitlines()[0])
    return "python" if "study" in header else str(header.get("kind", "search"))
