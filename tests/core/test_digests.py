"""Digests change with what a result depends on, and with nothing else."""

from __future__ import annotations

import functools
import os
import textwrap

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.core import digests
from nas.core.digests import code_digest, files_digest

NAMES = st.lists(st.text("abc/.", min_size=1, max_size=6), unique=True, max_size=6)


def digest_of(source: str) -> str | None:
    """Return the digest of what ``source`` calls f, as if a user's script had defined it."""
    space = {"__name__": "__main__"}
    exec(textwrap.dedent(source), space)
    return code_digest(space["f"])


BASE = "S = 2\ndef g(x):\n    return x + 1\ndef f(job):\n    return g(job) * S\n"


@pytest.mark.parametrize(
    "change",
    [
        ("x + 1", "x + 2"),  # of a function that it calls
        ("* S", "- S"),
        ("S = 2", "S = 3"),  # a constant
        ("f(job)", "f(job, scale=2)"),
        ("return g", "return -g"),
    ],
)
def test_other_code_has_another_digest(change):
    assert digest_of(BASE) != digest_of(BASE.replace(*change))


@pytest.mark.parametrize(
    "change",
    [
        ("def g", "# a remark\n\ndef g"),
        ("return g(job) * S", "return (g(job)  *  S)"),
        ("def f(job):\n", 'def f(job):\n    "What it is for."\n'),
        ("S = 2", "S = 2\ncount = 7"),
    ],
)
def test_remarks_layout_and_other_names_do_not_count(change):
    assert digest_of(BASE) == digest_of(BASE.replace(*change))


def test_what_changes_while_it_works_does_not_count():
    source = """
    calls = 0
    class C:
        total = 0
        def __init__(self): self.seen = []
        def __call__(self, job):
            global calls
            calls += 1; C.total += 1; self.seen.append(job)
            return 1.0
    f = C()
    """
    space = {"__name__": "__main__"}
    exec(textwrap.dedent(source), space)
    before = code_digest(space["f"])
    space["f"](None)
    assert before is not None
    assert code_digest(space["f"]) == before
    assert digest_of(source.replace("1.0", "2.0")) != before


def test_arguments_that_are_fixed_count_and_installed_code_does_not():
    def f(job, scale):
        return scale

    assert code_digest(functools.partial(f, scale=1)) != code_digest(functools.partial(f, scale=2))
    assert code_digest(len) is None
    assert code_digest(np.mean) is None
    assert code_digest(textwrap.dedent) is None


def test_sets_of_constants_have_one_digest_in_every_process(tmp_path):
    from command import python

    code = """
from nas.core.digests import code_digest
def f(job): return job in {"a", "b", "c", "d"}
print(code_digest(f))
"""
    found = {python(tmp_path, code, PYTHONHASHSEED=str(seed)).stdout for seed in (1, 2)}
    assert len(found) == 1
    assert len(found.pop()) == 33


@given(NAMES)
def test_the_order_of_files_does_not_count(tmp_path_factory, names):
    file = tmp_path_factory.mktemp("files") / "one"
    file.touch()
    files = [(name, str(file)) for name in names]
    assert files_digest(files) == files_digest(files[::-1])


@pytest.mark.parametrize("content", [True, False])
def test_names_and_content_of_files_count(content, tmp_path, monkeypatch):
    if not content:
        monkeypatch.setattr(digests, "MOST_BYTES", 3)
    (tmp_path / "a").write_text("one")
    (tmp_path / "b").write_text("two")
    files = [(name, str(tmp_path / name)) for name in "ab"]
    first = files_digest(files)
    assert ("times" in first) == (not content)
    assert files_digest([("c", files[0][1]), files[1]])["digest"] != first["digest"]
    (tmp_path / "b").write_text("owt")
    os.utime(tmp_path / "b", (1, 1))
    assert (files_digest(files)["digest"] == first["digest"]) == (not content)
    assert files_digest(files) != first
    (tmp_path / "b").write_text("three")
    assert files_digest(files)["digest"] != first["digest"]


def test_a_large_npz_is_known_by_the_checksums_of_its_arrays(tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "MOST_BYTES", 3)
    path = tmp_path / "x.npz"
    np.savez(path, a=np.zeros(9))
    first = files_digest([("x.npz", str(path))])
    os.utime(path, (1, 1))
    assert files_digest([("x.npz", str(path))]) == first
    np.savez(path, a=np.ones(9))
    assert files_digest([("x.npz", str(path))])["digest"] != first["digest"]


def test_of_very_many_files_a_sample_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr(digests, "MOST_FILES", 5)
    looked = []
    stat = os.stat
    monkeypatch.setattr(digests.os, "stat", lambda path, **k: looked.append(path) or stat(path, **k))
    (tmp_path / "one").touch()
    found = files_digest([(str(i), str(tmp_path / "one")) for i in range(50)])
    assert found["files"] == 50
    assert len(looked) == 5


def test_a_pipe_among_the_files_is_passed_over(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    assert files_digest([("x.png", str(tmp_path / "x.png"))])["files"] == 1
