"""Whatever a user gets wrong: one line that names it, exit code 2, nothing written."""

from __future__ import annotations

import contextlib
import random
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from mistakes import SEARCH, TABLE, cases

from nas.cli.main import main
from nas.errors import ConfigError
from nas.tables.benchmark_table import load_table

ROOT = Path(__file__).resolve().parents[2]


def arguments(command: str, wrong: Path, out: Path) -> list[str]:
    """Return the words of a command with its folders filled in."""
    filled = command.replace("{search}", "search --results-dir {out} --plugin {in}/good.py --evaluator flat")
    return shlex.split(filled.replace("{in}", str(wrong)).replace("{out}", str(out)))


def refused(code: int, error: str, words: str, wrong: Path) -> None:
    """Assert that the program refused with exactly one line that has ``words``."""
    assert error.count("\n") == 1, error
    assert error.startswith("error: "), error
    assert error.endswith("\n")
    assert "Traceback" not in error
    assert words.replace("{in}", str(wrong)) in error
    assert code == 2


@pytest.mark.long
@pytest.mark.parametrize(("command", "words"), list(cases()))
def test_refused_with_one_line_that_names_it(command, words, wrong_files, results, tree, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = tree(tmp_path)
    code = main(arguments(command, wrong_files, results))
    out, error = capsys.readouterr()
    refused(code, error, words, wrong_files)
    assert out == ""
    assert tree(tmp_path) == before


PROCESSES = [
    ("serach", "unknown command 'serach'"),
    (f"{SEARCH} --trails 3", "did you mean '--trials'?"),
    (f"{SEARCH} --config {{in}}/binary.toml", "is not text"),
    (f"{TABLE} --space table --table {{in}}/pickled.npz --reward accuracy", "is of Python objects"),
    ("inspect {in}/graph_groups.json", "groups must divide"),
    ("resume damaged --results-dir {out}", "line 1 is damaged"),
    ("check {in}/counting_space.py", "no memory of earlier calls"),
]


@pytest.mark.long
@pytest.mark.parametrize(("command", "words"), PROCESSES)
def test_refused_in_a_process_of_its_own(command, words, wrong_files, results, tree, tmp_path):
    before = tree(tmp_path)
    run = [sys.executable, str(ROOT / "run_search.py"), *arguments(command, wrong_files, results)]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    refused(done.returncode, done.stderr, words, wrong_files)
    assert done.stdout == ""
    assert tree(tmp_path) == before


def test_the_traceback_is_there_with_debug(wrong_files):
    command = [sys.executable, str(ROOT / "run_search.py"), "check", str(wrong_files / "raises.py"), "--debug"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "RuntimeError: planted in the plugin" in done.stderr


def test_a_table_with_a_bit_flipped_is_refused_or_harmless(wrong_files, tmp_path):
    original, good = (wrong_files / "good.npz").read_bytes(), load_table(wrong_files / "good.npz")
    rng = random.Random(0)
    path = tmp_path / "table.npz"
    loaded = []
    for _ in range(300):
        data = bytearray(original)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        with contextlib.suppress(ConfigError):
            loaded.append(load_table(path))
    assert 10 < len(loaded) < 150
    for table in loaded:  # where a flip hides a file of the archive, a column is missing, never wrong
        assert (table.names, table.options, table.rows) == (good.names, good.options, good.rows)
        assert all((values == good.columns[name]).all() for name, values in table.columns.items())
