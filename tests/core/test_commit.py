"""The commit of this code, compared with what git says of real repositories, and of what git has no part in."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile

import pytest
from command import SOURCE, environment

from nas.core.commit import PACKED, commit

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")
PROJECT = '[project]\nname = "nas-toolkit"\n'
PLACEHOLDER = "$Format:%H$\n"


@pytest.fixture
def git(tmp_path):
    """Return what runs git in a new repository of the toolkit with one commit; its folder is ``git.root``."""
    root = tmp_path / "checkout"
    (root / PACKED).parent.mkdir(parents=True)
    (root / PACKED).write_text(PLACEHOLDER)
    (root / "pyproject.toml").write_text(PROJECT)
    (root / ".gitattributes").write_text((SOURCE / ".gitattributes").read_text())

    def run(*arguments, cwd=root):
        who = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false")
        words = ["git", *who, *arguments]
        return subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=True).stdout.strip()

    run.root = root
    run("init", "-q", "-b", "main")
    run("add", "-A")
    run("commit", "-q", "-m", "one")
    return run


@needs_git
def test_it_is_what_git_says_on_a_branch_detached_and_after_packing(git):
    assert commit(git.root) == git("rev-parse", "HEAD")
    git("checkout", "-q", "-b", "some/branch")
    git("commit", "-q", "--allow-empty", "-m", "two")
    assert commit(git.root) == git("rev-parse", "HEAD")
    git("pack-refs", "--all")
    assert not (git.root / ".git/refs/heads/some/branch").exists()
    assert commit(git.root) == git("rev-parse", "HEAD")
    git("checkout", "-q", "--detach", "main")
    assert commit(git.root) == git("rev-parse", "main") != git("rev-parse", "some/branch")


@needs_git
def test_a_further_worktree_has_its_own(git):
    other = git.root.parent / "other"
    git("worktree", "add", "-q", "-b", "beside", str(other))
    git("commit", "-q", "--allow-empty", "-m", "two", cwd=other)
    assert commit(other) == git("rev-parse", "beside")
    assert commit(git.root) == git("rev-parse", "main") != commit(other)


@needs_git
def test_an_archive_has_it_without_git(git, tmp_path):
    git("archive", "-o", str(tmp_path / "a.tar"), "HEAD")
    with tarfile.open(tmp_path / "a.tar") as archive:
        archive.extractall(tmp_path / "unpacked", filter="data")
    assert commit(tmp_path / "unpacked") == git("rev-parse", "HEAD")


@needs_git
def test_a_repository_that_holds_an_installed_copy_is_not_ours(git):
    (git.root / "pyproject.toml").write_text('[project]\nname = "another"\n')
    assert commit(git.root) == ""


@pytest.mark.parametrize(
    "head", ["", "ref: refs/heads/none", "ref: refs/heads/.invalid", "ref: \0", "0123", "\xff" * 40, "g" * 40]
)
def test_a_repository_that_says_none_gives_none(head, tmp_path):
    (tmp_path / ".git").mkdir()
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / ".git/HEAD").write_text(head, encoding="latin-1")
    assert commit(tmp_path) == ""


def test_what_was_packed_comes_first_and_nothing_at_all_is_no_error(tmp_path):
    assert commit(tmp_path) == ""
    (tmp_path / PACKED).parent.mkdir(parents=True)
    (tmp_path / PACKED).write_text(PLACEHOLDER)
    assert commit(tmp_path) == ""
    (tmp_path / PACKED).write_text("0123456789abcdef" * 2 + "01234567\n")
    assert commit(tmp_path) == "0123456789abcdef" * 2 + "01234567"


@pytest.mark.long
@needs_git
def test_the_version_names_it_and_starts_no_git():
    checkout = subprocess.run(["git", "rev-parse", "HEAD"], cwd=SOURCE, capture_output=True, text=True, check=False)
    if checkout.returncode:
        pytest.skip("this is no git checkout")
    # no program can be found by its name
    words = [sys.executable, str(SOURCE / "run_search.py"), "--version"]
    done = subprocess.run(words, env=environment(PATH=""), capture_output=True, text=True, check=True)
    assert done.stdout.startswith("nas ")
    assert done.stdout.rstrip().endswith(f" (commit {checkout.stdout[:7]})")
