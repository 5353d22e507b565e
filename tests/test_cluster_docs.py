"""What docs/cluster.md and examples/cluster.yaml tell people to type: it parses, and every flag exists."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from nas.cli.main import build_parser

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "cluster.md").read_text("utf-8")
EXAMPLE = ROOT / "examples" / "cluster.yaml"
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]*")

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed: pip install .[ray]"
)


def blocks(language: str) -> list[str]:
    """Return the document's code blocks of ``language``."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)


def flags_after(command: str, text: str) -> set[str]:
    """Return the flags that ``text`` gives to ``command``; a call ends with its line or at an operator of the shell."""
    calls = re.findall(rf"\b{command}\b([^\n#;|&<`']*)", text.replace("\\\n", " "))
    return {flag for call in calls for flag in FLAG.findall(call)}


def shell_text() -> str:
    """Return everything that a shell will read: shell blocks, commands inside manifests and the example."""
    folded = re.sub(r"\n {4,}(?=--)", " ", EXAMPLE.read_text("utf-8"))
    return "\n".join([*blocks("bash"), *blocks("yaml"), folded])


@cache
def ray_start_flags() -> set[str]:
    """Return the flags of the installed ``ray start``."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--help"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=True)
    return set(re.findall(r"^  (?:-\w, )?(--[a-z-]+)", done.stdout, re.MULTILINE))


def our_flags(command: str) -> set[str]:
    """Return the flags of ``nas COMMAND``."""
    return {name for name in build_parser()[1][command]._option_string_actions if name.startswith("--")}


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash here")
@pytest.mark.parametrize("block", blocks("bash"))
def test_a_shell_can_read_the_commands(block: str) -> None:
    done = subprocess.run(["bash", "-n"], input=block, capture_output=True, encoding="utf-8", timeout=30)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("command", ["search", "resume", "status"])
def test_our_flags_exist(command: str) -> None:
    assert flags_after(f"nas {command}", shell_text() + TEXT) <= our_flags(command)


@needs_ray
def test_the_flags_of_ray_start_exist() -> None:
    text = shell_text()
    prepared = " ".join(re.findall(r'^ports="(.*?)"$', text, re.MULTILINE | re.DOTALL))
    named = flags_after("ray start", text) | set(FLAG.findall(prepared))
    assert len(named) > 10
    assert named <= ray_start_flags()


@needs_ray
def test_every_flag_in_the_text_is_ours_or_of_ray_start() -> None:
    prose = re.sub(r"^```.*?^```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
    named = {flag for quoted in re.findall(r"`([^`\n]+)`", prose) for flag in FLAG.findall(quoted)}
    assert "--workers" in named
    assert named <= our_flags("search") | our_flags("resume") | our_flags("doctor") | ray_start_flags()


def test_manifests_are_yaml_and_all_pods_share_the_label_that_opens_the_ports() -> None:
    yaml = pytest.importorskip("yaml")
    cluster, job, policy = (part for block in blocks("yaml") for part in yaml.safe_load_all(block))
    assert [part["kind"] for part in (cluster, job, policy)] == ["RayCluster", "Job", "NetworkPolicy"]
    spec = cluster["spec"]
    assert spec["authOptions"] == {"mode": "token"}
    label = policy["spec"]["podSelector"]["matchLabels"]
    pods = [spec["headGroupSpec"], *spec["workerGroupSpecs"], job["spec"]]
    assert [pod["template"]["metadata"]["labels"] for pod in pods] == [label] * 3
    (driver,) = job["spec"]["template"]["spec"]["containers"]
    token = driver["env"][1]["valueFrom"]["secretKeyRef"]
    assert (driver["env"][1]["name"], token["name"]) == ("RAY_AUTH_TOKEN", cluster["metadata"]["name"])
    assert f"--address {cluster['metadata']['name']}-head-svc:6379" in driver["command"][2]
    assert subprocess.run(["bash", "-n"], input=driver["command"][2], text=True, timeout=30).returncode == 0


def prepared_example() -> dict[str, Any]:
    """Return the example as ``ray up`` completes it, checked against Ray's own schema."""
    import yaml
    from ray.autoscaler._private.util import prepare_config, validate_config

    config: dict[str, Any] = prepare_config(yaml.safe_load(EXAMPLE.read_text("utf-8")))
    validate_config(config)
    return config


@needs_ray
def test_the_example_is_a_cluster_of_ray_with_tokens_and_no_dashboard() -> None:
    config = prepared_example()
    starts = [config["head_start_ray_commands"][-1], *config["worker_start_ray_commands"][-1:]]
    assert all("RAY_AUTH_MODE=token" in start for start in starts)
    assert "--include-dashboard=false" in starts[0]
    assert config["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    assert any("chmod 600 ~/.ray/auth_token" in command for command in config["setup_commands"])


@needs_ray
def test_the_firewall_of_the_document_closes_the_ports_of_the_document_and_the_example() -> None:
    (closed,) = re.findall(r"tcp dport \{ (.*?) \} drop", TEXT)
    ranges = [tuple(map(int, (part.split("-") * 2)[:2])) for part in closed.split(", ")]
    commands = [*blocks("bash")[2:3], *(c[-1] for name, c in prepared_example().items() if "start_ray" in name)]
    used = [int(port) for text in commands for port in re.findall(r"-port[= ](\d+)", text)]
    assert len(used) == 3 * 8 + 2
    assert all(any(low <= port <= high for low, high in ranges) for port in used)
