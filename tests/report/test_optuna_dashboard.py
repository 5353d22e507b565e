"""The exported study in optuna-dashboard, as a browser shows it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

import nas
from nas.report.optuna_export import export_study

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DASHBOARD = shutil.which("optuna-dashboard", path=str(Path(sys.executable).parent))
pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium here"),
    pytest.mark.skipif(DASHBOARD is None, reason="optuna-dashboard is not installed"),
]


def choices(choose):
    """Three decisions."""
    return [choose("kind", ["a", "b", "c"]), choose("size", [16, 8, 4, 2]), choose("depth", [1, 2, 3])]


def evaluate(job):
    """A reward that costs latency."""
    d = dict(job.architecture.decisions)
    return nas.Metrics(
        d["size"] ** 0.5 * d["depth"] + "abc".index(d["kind"]), {"latency": 1.0 * d["size"] + d["depth"]}
    )


@pytest.fixture
def dashboard(tmp_path):
    """The address of a dashboard of an exported search in two objectives."""
    nas.Study(choices, evaluate, "nsga2", folder=tmp_path / "trade-offs", searcher_args={"objectives": "latency"}).run(
        25
    )
    export_study(tmp_path / "trade-offs", tmp_path / "study.log")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(DASHBOARD), str(tmp_path / "study.log"), "--port", str(port), "--host", "127.0.0.1"]
    with (tmp_path / "dashboard.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(200):
            assert server.poll() is None, (tmp_path / "dashboard.log").read_text()
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api/studies", timeout=5).close()
                break
            except urllib.error.URLError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/dashboard"
    finally:
        server.terminate()
        server.wait(10)


def page(address, folder):
    """Return the document that a browser makes of the page, after its scripts have run."""
    command = [str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--virtual-time-budget=20000", "--dump-dom", address]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout


def test_the_dashboard_shows_the_study_with_its_objectives(dashboard, tmp_path):
    assert "trade-offs" in page(dashboard, tmp_path)
    shown = page(f"{dashboard}/studies/0", tmp_path)
    for text in ("trade-offs", "reward", "latency", "Pareto", "kind"):
        assert text in shown, text
