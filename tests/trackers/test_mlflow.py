"""What MLflow's store holds of a search, read by MLflow's own client, against the journal."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tracked_searches import bits, evaluate, recorded

import nas
from nas.cli.main import main

pytest.importorskip("mlflow")
pytestmark = pytest.mark.long


@pytest.fixture
def uri(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    monkeypatch.chdir(tmp_path)  # where a database in a file has its artifacts
    return f"sqlite:///{tmp_path / 'store.db'}"


def the_run(uri, name):
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("nas")
    [run] = client.search_runs([experiment.experiment_id], f"attributes.run_name = '{name}'")
    return client, run


def history(client, run, name):
    found = client.get_metric_history(run.info.run_id, name)
    assert len({metric.step for metric in found}) == len(found), f"{name}: a step was logged twice"
    return {metric.step: metric.value for metric in found}


def test_a_resumed_run_goes_on_in_one_run_of_the_store(tmp_path, uri):
    folder = tmp_path / "bits"
    for trials in (4, 4, 9):
        nas.Study(bits, evaluate, "random", folder=folder, seed=3, callbacks=[f"mlflow={uri}"]).run(trials)
        client, run = the_run(uri, "bits")
        assert history(client, run, "trial/reward") == recorded(folder)
        assert run.info.status == "FINISHED"
    assert run.data.params["searcher"] == "random"
    assert run.data.params["trials"] == "4"  # a parameter never changes
    count = len(nas.load_study(folder).trials)
    assert history(client, run, "trial/index") == {index: index for index in range(count)}
    kept = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert kept >= {"report.html", "trials.csv", "best"}
    from mlflow.artifacts import download_artifacts

    path = download_artifacts(f"runs:/{run.info.run_id}/best/architecture.json", tracking_uri=uri)
    best = json.loads(Path(path).read_text())
    assert best["decisions"] == dict(nas.load_study(folder).best.architecture.decisions)


def test_a_store_that_cannot_be_reached_does_not_stop_a_search(tmp_path, uri, caplog, monkeypatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "2")
    place = "mlflow=http://127.0.0.1:9"  # a port that nothing listens to
    nas.Study(bits, evaluate, "random", folder=tmp_path / "bits", callbacks=[place]).run(3)
    assert len(recorded(tmp_path / "bits")) >= 2
    [line] = [r.getMessage() for r in caplog.records if r.name == "nas"]
    assert line.startswith("warning: callback 'mlflow' of run 'bits': on_start: ")
    assert line.endswith("; the work goes on without it")


def test_a_search_of_networks_keeps_its_picture(tmp_path, uri):
    results = tmp_path / "results"
    words = "search --space nasnet --space-arg nodes=2 --width 2 --depth 1 --epochs 1 --threads 1 --dataset digits "
    words += "--train-images 200 --validation-images 100 --baseline none --final-seeds 0 --trials 1 --name small"
    assert main([*words.split(), "--results-dir", str(results), "--track", f"mlflow={uri}"]) == 0
    client, run = the_run(uri, "small")
    kept = {file.path for file in client.list_artifacts(run.info.run_id, "best")}
    assert kept == {"best/network.svg", "best/graph.json", "best/architecture.json"}
    assert history(client, run, "trial/macs") == {0: nas.load_study(results / "small").trials[0].macs}
