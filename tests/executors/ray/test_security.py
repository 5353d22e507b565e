"""A Ray that the toolkit starts listens on the loopback interface alone, and obeys nobody without its token."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from nas.executors.ray.watchdog import holders

pytestmark = pytest.mark.long
pytest.importorskip("ray")
DRIVER = """
import json, sys
from nas.executors.ray import cluster as ray_session
session = ray_session.connect(None, 2)
print(json.dumps({"folder": session.folder, "host": session.head[0], "port": session.head[1]}), flush=True)
sys.stdin.read()
"""
CLIENT = """
import sys
import ray
ray.init(address=sys.argv[1], log_to_driver=False, logging_level="ERROR")
print("submitted", ray.get(ray.remote(lambda: 42).options(num_cpus=0).remote(), timeout=10))
"""
KNOWING = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_gcs_rpc_server_reconnect_timeout_s": "5"}
"""What a client on this machine would set: by itself, Ray looks for the head at the machine's other address."""
KEYS = """
import sys
from ray._raylet import GcsClient
print("read", GcsClient(address=sys.argv[1]).internal_kv_keys(b"", None, timeout=5))
"""


@pytest.fixture(scope="module")
def ray_of_ours():
    """A local Ray; what its driver tells of it, and the driver's process."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    command = [sys.executable, "-c", DRIVER]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
        about = json.loads(driver.stdout.readline())
        yield {**about, "driver": driver.pid}
        driver.stdin.close()
        driver.wait(timeout=30)
    assert not Path(about["folder"]).exists()


def processes(about):
    """Return the processes of a Ray of ours, the driver's too."""
    return [pid for pid in holders(about["folder"]) | {about["driver"]} if Path(f"/proc/{pid}/fd").exists()]


def outside(about, program, home, **settings):
    """Start a program that does not know the token, nor where Ray keeps any."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    return subprocess.Popen(
        [sys.executable, "-c", program, f"{about['host']}:{about['port']}"],
        env={**environment, **KNOWING, "HOME": str(home), **settings},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


CLIENTS = {
    "no token": {},
    "no token, which it is told to have": {"RAY_AUTH_MODE": "token"},
    "a wrong token": {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64},
    "no authentication": {"RAY_AUTH_MODE": "disabled"},
}


def test_clients_without_the_token_are_refused(ray_of_ours, tmp_path):
    started = {
        (name, program): outside(ray_of_ours, program, tmp_path, **settings)
        for name, settings in CLIENTS.items()
        for program in (CLIENT, KEYS)
    }
    for what, process in started.items():
        out, error = process.communicate(timeout=120)
        assert process.returncode != 0, what
        assert "submitted" not in out, what
        assert "read" not in out, what
        assert re.search("(?i)unauthenticated|InvalidAuthToken|token", error), error[-2000:]


def test_the_token_opens_it(ray_of_ours, tmp_path):
    """That the others are refused is because of their token alone."""
    found = {token for pid in processes(ray_of_ours) for token in tokens(pid)}
    assert len(found) == 1
    (token,) = found
    assert re.fullmatch("[0-9a-f]{64}", token)
    process = outside(ray_of_ours, CLIENT, tmp_path, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
    out, error = process.communicate(timeout=120)
    assert out.strip() == "submitted 42", error[-2000:]


def tokens(pid):
    """Return the token in a process's environment, where only its owner can read it."""
    path = Path(f"/proc/{pid}/environ")
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    return re.findall("RAY_AUTH_TOKEN=([^\0]*)", path.read_text())


def test_all_its_ports_are_on_the_loopback_interface(ray_of_ours):
    sockets = {target for pid in processes(ray_of_ours) for target in targets(pid) if target.startswith("socket:")}
    found = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == "0A" and f"socket:[{words[9]}]" in sockets:
                found[words[1]] = table
    assert len(found) >= 4
    assert {address.split(":")[0] for address in found} <= LOOPBACK, found


LOOPBACK = {"0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F"}
"""127.0.0.1, ::1 and ::ffff:127.0.0.1 as the kernel writes them."""


def targets(pid):
    """Return what the open descriptors of a process are."""
    found = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        try:
            found.append(os.readlink(descriptor))
        except OSError:
            continue
    return found


def test_nobody_else_can_read_its_files(ray_of_ours):
    folder = Path(ray_of_ours["folder"])
    assert folder.parent == Path("/tmp")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_token_is_on_no_command_line_and_in_no_file(ray_of_ours):
    (token,) = {token for pid in processes(ray_of_ours) for token in tokens(pid)}
    for pid in processes(ray_of_ours):
        assert token.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
    for path in Path(ray_of_ours["folder"]).rglob("*"):
        assert not path.is_file() or token.encode() not in path.read_bytes()
    kept = Path.home() / ".ray" / "auth_token"
    assert not kept.exists() or token not in kept.read_text()
