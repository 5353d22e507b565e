"""Processors and file systems as the kernel tells them."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from nas.core.machine import cpu_limit, file_system, processor

MOUNTS = """\
1 0 8:1 / / rw,relatime - ext4 /dev/sda1 rw
2 1 0:5 / /mnt/my\\040home rw - nfs4 host:/export rw,vers=4.2,local_lock=flock
3 1 0:6 / /mnt rw - xfs /dev/sdb rw
4 1 0:7 / /mnt/hidden rw - ext4 /dev/sdc rw
5 4 0:8 / /mnt/hidden ro shared:3 - lustre a@tcp:/b rw,flock
"""


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "garbage"}, None),
        ({}, None),
    ],
)
def test_the_limit_of_a_container(files, limit, tmp_path):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cpu_limit(tmp_path) == limit


@pytest.mark.parametrize(
    ("folder", "kind", "option"),
    [
        ("/mnt/my home/x", "nfs4", "local_lock=flock"),
        ("/mnt/my", "xfs", "rw"),
        ("/mnt/hidden", "lustre", "ro"),
        ("/mntx", "ext4", "relatime"),
        ("/", "ext4", "relatime"),
    ],
)
def test_a_folder_is_on_the_innermost_mount(folder, kind, option, tmp_path, monkeypatch):
    (tmp_path / "mountinfo").write_text(MOUNTS)
    monkeypatch.setattr(shutil, "disk_usage", lambda place: shutil._ntuple_diskusage(3, 2, 1))
    from pathlib import Path

    found = file_system(Path(folder), tmp_path / "mountinfo")
    assert (found.kind, found.free) == (kind, 1)
    assert option in found.options


@pytest.mark.skipif(shutil.which("findmnt") is None, reason="findmnt is not installed")
def test_it_is_the_file_system_that_findmnt_names(tmp_path):
    words = ["findmnt", "--noheadings", "--output", "FSTYPE", "--target", str(tmp_path)]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    assert file_system(tmp_path).kind == said[-1]


def test_the_cores_are_those_of_this_process():
    found = processor()
    assert found.cores == len(os.sched_getaffinity(0))
    assert 0 < found.usable <= found.cores
