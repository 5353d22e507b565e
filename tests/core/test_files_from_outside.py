"""Files from outside: every reader goes through one door, which knows kinds, sizes, nesting, numbers and encodings."""

from __future__ import annotations

import json
import os
import socket
import zipfile
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from command import nas, nas_within, one_error, python
from hypothesis import given
from hypothesis import strategies as st

from nas.core.files import parse_json, read_bytes, read_json, read_text, read_toml
from nas.core.memory import free_memory
from nas.core.npz import read_npz
from nas.core.values import NESTING, freeze
from nas.errors import ConfigError, JournalError
from nas.runs.journal import Journal, encode, parse, read
from nas.types import Architecture

ARCHITECTURE = {"format": "nas/architecture/1", "space": "nb201", "args": {}, "decisions": {"edge_0_1": "none"}}


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize("levels", [400, 3_000])
def test_nesting_is_refused_in_a_line_by_whoever_reads_json(tmp_path: Path, levels: int) -> None:
    text = json.dumps(ARCHITECTURE).replace('"none"', nested(levels))
    (tmp_path / "deep.json").write_text(text)
    line = one_error(nas(tmp_path, "inspect", "./deep.json"))
    assert "deep.json" in line
    assert "nested too deeply" in line


@pytest.mark.parametrize(("name", "flag"), [("long.json", "inspect"), ("long.toml", "--config")])
def test_integers_of_thousands_of_digits_are_refused_in_a_line(tmp_path: Path, name: str, flag: str) -> None:
    digits = "9" * 5_000
    (tmp_path / name).write_text(f'{{"format": {digits}}}' if name.endswith("json") else f"trials = {digits}\n")
    words = ["inspect", f"./{name}"] if flag == "inspect" else ["search", "--config", name]
    assert "more than 64 bits" in one_error(nas(tmp_path, *words))


@pytest.mark.long
def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_bytes(b'\xef\xbb\xbfspace = "nb202"\n')
    assert "unknown space 'nb202'" in one_error(nas(tmp_path, "search", "--config", "a.toml"))
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"format": "other/1"}')
    assert "found 'other/1'" in one_error(nas(tmp_path, "inspect", "./a.json"))


@pytest.mark.long
def test_a_pipe_and_a_device_are_refused_by_name(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    assert "pipe.json' cannot be read: it is a pipe" in one_error(nas(tmp_path, "inspect", "./pipe.json", timeout=30))
    found = nas_within(tmp_path, 2, "inspect", "./zero.json")
    assert "zero.json' cannot be read: it is a device" in one_error(found)


@pytest.mark.long
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_journal_that_is_no_file_neither_hangs_nor_fills_the_memory(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "results" / "run"
    folder.mkdir(parents=True)
    if kind == "pipe":
        os.mkfifo(folder / "journal.jsonl")
    else:
        (folder / "journal.jsonl").symlink_to("/dev/zero")
    for command in ("status", "report", "resume", "inspect"):
        assert f"it is a {kind}" in one_error(nas(tmp_path, command, "run", timeout=30))
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2 << 30,) * 2)\n"
    code += "from pathlib import Path\nfrom nas.errors import JournalError\nfrom nas.runs.journal import read\n"
    code += "try: read(Path('results/run/journal.jsonl'))\nexcept JournalError as error: print(error)\n"
    assert f"it is a {kind}" in python(tmp_path, code, timeout=30).stdout


def test_what_is_no_regular_file_is_refused_before_it_is_opened(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "socket"))
        with pytest.raises(ConfigError, match="it is a socket"):
            read_text(tmp_path / "socket")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_bytes(tmp_path)
    with pytest.raises(ConfigError, match=r"null (byte|character)"):
        read_bytes(Path("a\0b"))


def test_a_file_is_at_most_as_large_as_is_allowed_and_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate((256 << 20) + 1)
    with pytest.raises(ConfigError, match="too large: 268,435,457 bytes, 268,435,456 are allowed"):
        read_json(path)
    monkeypatch.setattr("nas.core.files.free_memory", lambda: 10)
    path.write_bytes(b"123456")
    with pytest.raises(ConfigError, match="6 bytes, 5 are allowed"):
        read_bytes(path)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("[1e999]", "numbers must be finite"),
        ("[NaN]", "numbers must be finite, found NaN"),
        ('{"a": 1, "a": 2}', "the name 'a' twice"),
        ('["\\ud800"]', "half of a surrogate pair"),
        ("[18446744073709551616]", "more than 64 bits"),
        ("[1,", "is not JSON: line 1"),
        ("", "is not JSON"),
    ],
)
def test_json_that_its_readers_could_not_bear_is_refused(text: str, rule: str) -> None:
    with pytest.raises(ConfigError, match=rule):
        parse_json(text, "it")


def test_toml_has_the_same_rules(tmp_path: Path) -> None:
    path = tmp_path / "a.toml"
    for text in (f"a = {nested(3_000)}", f"a = {nested(101)}", ".".join("a" * 5_000) + " = 1"):
        path.write_text(text)
        with pytest.raises(ConfigError, match="nested too deeply"):
            read_toml(path)
    path.write_text("a = 0x" + "f" * 20_000)
    with pytest.raises(ConfigError, match="more than 64 bits"):
        read_toml(path)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="utf-8")), inner),
    max_leaves=30,
)


@pytest.mark.long
@given(plain)
def test_json_comes_back_as_it_was_written(data: object) -> None:
    assert parse_json(json.dumps(data), "it") == data


@given(st.integers(1, 200))
def test_the_limit_of_nesting_is_one_number(levels: int) -> None:
    try:
        parse_json(nested(levels), "it")
        assert levels <= NESTING
    except ConfigError:
        assert levels > NESTING


def test_nested_values_of_python_are_refused_as_those_of_files_are() -> None:
    deep: object = 1
    for _ in range(5_000):
        deep = [deep]
    with pytest.raises(ConfigError, match="nested too deeply"):
        freeze(deep)
    with pytest.raises(ConfigError, match="nested too deeply"):
        Architecture.from_json({**ARCHITECTURE, "decisions": {"a": deep}})


def test_a_journal_line_of_a_right_checksum_is_read_with_care(tmp_path: Path) -> None:
    head = encode(0, {"event": "run", "format": "nas/journal/1"})
    for inner in (b"9" * 5_000, nested(400).encode(), nested(100_000).encode(), b'{"a":'):
        body = b'"seq":1,"event":"done","info":' + inner + b"}"
        with pytest.raises(JournalError, match="line 2 is damaged"):
            parse(tmp_path, head + b'{"crc":"%08x",%s\n' % (crc32(body), body))
    journal = Journal.create(tmp_path / "j", {})
    deep: object = 1
    for _ in range(200):
        deep = [deep]
    with pytest.raises(JournalError, match="nested too deeply"):
        journal.append([{"event": "note", "info": deep}])
    journal.close()
    assert len(read(tmp_path / "j")) == 1


@pytest.mark.long
def test_fields_of_another_kind_in_a_journal_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "run"
    folder.mkdir(parents=True)
    for event, rule in (
        ({"event": "done", "index": 0, "reward": "high"}, "line 2 is damaged ('reward' must be a finite number)"),
        ({"event": "asked", "index": -1}, "line 2 is damaged ('index' must be an integer of at least 0)"),
        ({"event": "reused", "index": 0, "of": 5}, "event 'reused' is of trial 0, which was not asked"),
        ({"event": "final", "role": "search"}, "line 2, event 'final', has no field 'number'"),
        ({"index": 0}, "line 2 is damaged (it names no event)"),
    ):
        config = {"space": "nb201", "evaluator": "mine"}
        lines = [{"event": "run", "format": "nas/journal/1", "config": config}, event]
        (folder / "journal.jsonl").write_bytes(b"".join(encode(i, e) for i, e in enumerate(lines)))
        assert rule in one_error(nas(tmp_path, "report", "run"))


def test_a_table_claims_no_more_than_it_holds(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "claims.npz", "w") as file, file.open("names.npy", "w") as member:
        np.lib.format.write_array_header_1_0(member, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with pytest.raises(ConfigError, match=r"claims float64 \(1000000000000,\)"):
        read_npz(tmp_path / "claims.npz", "table")
    with zipfile.ZipFile(tmp_path / "other.npz", "w") as file:
        file.writestr("notes.npy", "no array")
    with pytest.raises(ConfigError, match=r"member 'notes.npy' is no array"):
        read_npz(tmp_path / "other.npz", "table")


def test_a_table_that_unpacks_to_more_than_is_free_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", accuracy=np.zeros(1_000_000))
    monkeypatch.setattr("nas.core.npz.free_memory", lambda: 1_000_000)
    with pytest.raises(ConfigError, match="8,000,000 bytes, 500,000 are allowed now"):
        read_npz(tmp_path / "bomb.npz", "table")


def test_options_of_a_table_are_read_as_other_json_is(tmp_path: Path) -> None:
    options = np.array('{"a": [' + "9" * 5_000 + "]}")
    choices = np.zeros((1, 1), dtype=np.uint8)
    np.savez(tmp_path / "t.npz", names=np.array(["a"]), options=options, choices=choices, accuracy=np.zeros(1))
    words = ("search", "--space", "table", "--table", "t.npz", "--val-column", "accuracy", "--trials", "1")
    assert "more than 64 bits" in one_error(nas(tmp_path, *words))


def test_a_field_that_csv_does_not_take_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text('alpha,beta,gamma,accuracy\n"' + "1" * 200_000 + '",1,1,50\n')
    assert "it is not CSV" in one_error(nas(tmp_path, "scale", "resnet18", "--table", "t.csv"))


def test_free_memory_knows_the_limit_of_the_address_space(tmp_path: Path) -> None:
    code = "import resource; resource.setrlimit(resource.RLIMIT_AS, (1 << 30,) * 2); "
    found = int(python(tmp_path, code + "from nas.core.memory import free_memory; print(free_memory())").stdout)
    assert 0 < found < 1 << 30
    assert free_memory() > 0


@pytest.mark.long
def test_a_link_in_a_circle_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    table = ("search", "--table", "loop", "--val-column", "x")
    arrays = ("train", "resnet18", "--dataset", "arrays", "--data-dir", "loop", "--epochs", "1")
    for command in (("search", "--plugin", "loop.py"), table, arrays):
        (tmp_path / "loop.py").unlink(missing_ok=True)
        (tmp_path / "loop.py").symlink_to("loop.py")
        assert "loop" in one_error(nas(tmp_path, *command))
