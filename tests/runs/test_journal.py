"""The journal file: what was appended is read back, and no damage passes unseen."""

from __future__ import annotations

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import JournalError
from nas.runs.journal import Journal, encode, parse, read

HEADER = {"config": {"seed": 1}}
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def written(path, count=5):
    journal = Journal.create(path, HEADER)
    for i in range(count):
        journal.append([{"event": "asked", "index": i}])
    journal.close()
    return path.read_bytes()


@given(st.lists(st.dictionaries(st.sampled_from("abc"), plain), max_size=5))
def test_events_come_back_as_they_went_in(events):
    lines = [{"event": "run", "format": "nas/journal/1"}, *events]
    data = b"".join(encode(i, event) for i, event in enumerate(lines))
    found, good = parse("x", data)
    assert good == len(data)
    assert [{k: v for k, v in e.items() if k not in ("crc", "seq")} for e in found] == lines


def test_a_line_is_json_with_the_crc_of_what_follows_it(tmp_path):
    data = written(tmp_path / "j", 1)
    for number, line in enumerate(data.splitlines()):
        event = json.loads(line)
        assert event["seq"] == number
        rest = line.split(b",", 1)[1]
        assert int(event["crc"], 16) == zlib.crc32(rest)


def test_a_torn_last_line_is_cut_and_kept_aside(tmp_path):
    path = tmp_path / "j"
    data = written(path)
    path.write_bytes(data[:-7])
    journal, events, warning = Journal.open(path)
    journal.append([{"event": "asked", "index": 4}])
    journal.close()
    assert len(events) == 5
    assert "torn" in warning
    assert path.read_bytes() == data
    torn = data[data[:-1].rindex(b"\n") + 1 : -7]
    assert (tmp_path / "j.torn-1").read_bytes() == torn


def test_a_missing_line_is_named(tmp_path):
    path = tmp_path / "j"
    lines = written(path).splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))
    with pytest.raises(JournalError, match=r"line 3 has number 3, expected 2"):
        Journal.open(path)


def test_a_second_process_is_refused_and_a_reader_is_not(tmp_path):
    path = tmp_path / "j"
    journal = Journal.create(path, HEADER)
    with pytest.raises(JournalError, match="another process is running this search"):
        Journal.open(path)
    assert len(read(path)) == 1
    journal.close()
    Journal.open(path)[0].close()


def test_a_failed_write_leaves_the_journal_whole(tmp_path, monkeypatch):
    path = tmp_path / "j"
    journal = Journal.create(path, HEADER)
    before = path.read_bytes()
    real = __import__("os").write
    calls = []

    def torn_write(descriptor, data):
        calls.append(len(data))
        if len(calls) == 1:
            return real(descriptor, data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nas.runs.journal.os.write", torn_write)
    with pytest.raises(JournalError, match="no space left"):
        journal.append([{"event": "asked", "index": 0}])
    monkeypatch.undo()
    assert path.read_bytes() == before
    journal.append([{"event": "asked", "index": 0}])
    journal.close()
    assert [e["event"] for e in read(path)] == ["run", "asked"]


def test_numbers_that_are_not_finite_never_reach_the_journal(tmp_path):
    journal = Journal.create(tmp_path / "j", HEADER)
    with pytest.raises(JournalError, match="not JSON compliant"):
        journal.append([{"event": "done", "reward": float("nan")}])
    journal.close()
