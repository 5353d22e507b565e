"""What Weights & Biases keeps offline of a search, read from its files, against the journal."""

from __future__ import annotations

import json
import struct

import pytest
from tracked_searches import bits, evaluate, recorded

import nas
from nas.errors import ConfigError

wandb = pytest.importorskip("wandb")
pytestmark = pytest.mark.long
BLOCK, HEAD = 32_768, 7
"""Of the log format of LevelDB, in which a run's file is."""


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))


def records(path):
    """Yield the records of a run's file."""
    from wandb.proto.wandb_internal_pb2 import Record

    data = path.read_bytes()
    assert data[:4] == b":W&B"
    place, parts = HEAD, []
    while place < len(data):
        left = BLOCK - place % BLOCK
        if left < HEAD:
            place += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, place)
        parts.append(data[place + HEAD : place + HEAD + length])
        place += HEAD + length
        if kind in (1, 4):  # a whole record, or the last part of one
            yield Record.FromString(b"".join(parts))
            parts = []


def rows_of(folder):
    """Return the ids of all offline runs of a folder, and their rows in order."""
    ids, rows = set(), []
    for path in sorted(folder.glob("wandb/offline-run-*/run-*.wandb")):
        for record in records(path):
            if record.WhichOneof("record_type") == "run":
                ids.add(record.run.run_id)
            if record.WhichOneof("record_type") == "history":
                items = {("/".join(i.nested_key) or i.key): json.loads(i.value_json) for i in record.history.item}
                rows.append(items)
    return ids, rows


def test_offline_files_hold_what_the_journal_says_also_after_resuming(tmp_path):
    folder = tmp_path / "bits"
    for trials in (4, 4, 9):
        nas.Study(bits, evaluate, "random", folder=folder, seed=3, callbacks=["wandb=somebody/mine"]).run(trials)
    wandb.teardown()  # which ends the process that writes
    ids, rows = rows_of(folder)
    assert len(ids) == 1
    # numbered on, as wandb sync needs it
    assert [row["_step"] for row in rows] == list(range(len(rows)))
    of_trials = [row for row in rows if "trial/epochs" in row]
    assert [row["trial"] for row in of_trials] == list(range(len(nas.load_study(folder).trials)))
    assert {row["trial"]: row["trial/reward"] for row in of_trials if "trial/reward" in row} == recorded(folder)


def test_without_a_key_the_search_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with pytest.raises(ConfigError, match="no API key is known; log in with: wandb login, or set WANDB_MODE=offline"):
        nas.Study(bits, evaluate, "random", folder=tmp_path / "bits", callbacks=["wandb"])
    assert not (tmp_path / "bits").exists()
