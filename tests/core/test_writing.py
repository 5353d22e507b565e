"""Files are written through temporary ones that lead nowhere else and do not pile up."""

from __future__ import annotations

import os
import stat
import time

import pytest
from command import QUICK, nas, write_plugin
from file_systems import with_calls
from hypothesis import given
from hypothesis import strategies as st

from nas.core.files import FORGOTTEN, sweep_temporaries, write_atomic
from nas.errors import ConfigError


@pytest.mark.long
def test_no_link_in_a_shared_folder_leads_a_runs_files_elsewhere(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    body = f"""
for name in ("status.json", "report.md", "report.html", "summary.json", "trials.csv"):
    link = f"results/r/.{{name}}.{{os.getpid()}}.tmp"
    if not os.path.lexists(link):
        os.symlink({str(victim)!r}, link)
"""
    write_plugin(tmp_path / "plug.py", body)
    done = nas(tmp_path, "search", "--name=r", "--trials=3", *QUICK, "--plugin=plug.py")
    assert done.returncode == 0, done.stderr
    assert victim.read_text() == "precious"


@pytest.mark.long
def test_no_link_leads_an_exported_study_elsewhere(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    write_plugin(tmp_path / "plug.py")
    assert nas(tmp_path, "search", "--name=r", "--trials=3", *QUICK, "--plugin=plug.py").returncode == 0
    code = f"import os\nos.symlink({str(victim)!r}, f'.s.log.{{os.getpid()}}.tmp')"
    done = nas(tmp_path, "study", "r", "-o", "s.log", **with_calls(tmp_path, code))
    assert done.returncode == 0, done.stderr
    assert victim.read_text() == "precious"
    assert (tmp_path / "s.log").stat().st_size > 0
    assert not list(tmp_path.glob(".s*.new"))


def test_a_link_at_the_place_itself_is_replaced_and_what_it_names_is_not(tmp_path):
    (tmp_path / "target").write_text("old")
    (tmp_path / "link").symlink_to("target")
    write_atomic(tmp_path / "link", "new")
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_text() == "new"
    assert (tmp_path / "target").read_text() == "old"


@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_rights_that_the_umask_gives(tmp_path, umask):
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "f", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o666 & ~umask


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_atomic(tmp_path / "f", "old")

    def fail(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nas.core.files.os.fsync", fail)
    with pytest.raises(ConfigError, match=r"cannot write '.*/f': No space left on device"):
        write_atomic(tmp_path / "f", "new")
    assert os.listdir(tmp_path) == ["f"]
    assert (tmp_path / "f").read_text() == "old"


@given(st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=60), st.binary())
def test_any_name_that_a_file_can_have_can_be_written(tmp_path_factory, name, content):
    if name in (".", "..") or len(name.encode()) > 255:
        return
    path = tmp_path_factory.mktemp("f") / name
    write_atomic(path, content)
    assert path.read_bytes() == content
    assert os.listdir(path.parent) == [name]


def test_a_name_as_long_as_a_file_system_allows_can_be_written(tmp_path):
    write_atomic(tmp_path / ("n" * 255), "x")
    assert os.listdir(tmp_path) == ["n" * 255]


@pytest.mark.long
def test_a_resume_removes_what_killed_writers_left_and_nothing_younger(tmp_path):
    write_plugin(tmp_path / "plug.py", "if job.index == 2 and not os.path.exists('go'): os.kill(os.getpid(), 9)")
    nas(tmp_path, "search", "--name=r", "--trials=3", *QUICK, "--plugin=plug.py")
    run = tmp_path / "results/r"
    (run / "checkpoints").mkdir()
    old = [run / ".nas-0123456789abcdef.tmp", run / "checkpoints" / ".nas-fedcba9876543210.tmp"]
    kept = [run / ".nas-00112233445566aa.tmp", run / "nas.tmp", run / ".nas-notes.tmp"]
    for path in old + kept:
        path.write_text("half")
    for path in old + kept[1:]:
        os.utime(path, (time.time() - FORGOTTEN - 9,) * 2)
    (tmp_path / "go").touch()
    assert nas(tmp_path, "resume", "r").returncode == 0
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in kept)


def test_a_link_among_temporary_files_is_not_followed(tmp_path):
    (tmp_path / "target").write_text("x")
    link = tmp_path / ".nas-0123456789abcdef.tmp"
    link.symlink_to("target")
    os.utime(link, (0, 0), follow_symlinks=False)
    sweep_temporaries(tmp_path)
    assert os.listdir(tmp_path) == ["target"]
