"""What the documents say: their code runs, prints what they claim, and their pictures are what we draw."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from nas.cli.main import main

ROOT = Path(__file__).resolve().parent.parent
PICTURES = {
    "nasnet-a-normal.svg": ["NASNet-A", "--cell", "normal"],
    "resnet50.svg": ["resnet50"],
}
SHORT = """
space = "small_stages"
max_params = 100000
trials = 2
epochs = 1
dataset = "digits"
train_images = 100
baseline = "none"
final_seeds = 0
threads = 1
"""


def blocks(path: str) -> list[str]:
    """Return the Python blocks of a document."""
    return re.findall(r"^```python\n(.*?)^```$", (ROOT / path).read_text("utf-8"), re.MULTILINE | re.DOTALL)


DOCUMENTS = ["README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
LONG = ("docs/export.md", "docs/finetune.md")
"""Documents whose code takes more than a few seconds."""
TUTORIAL = "docs/tutorial.md"
"""Its code needs what its commands have made: see tests/test_tutorial.py."""


def run(folder: Path, *arguments: str) -> str:
    """Run Python in a fresh process that finds this project, and return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def nas(folder: Path, *arguments: str) -> str:
    return run(folder, str(ROOT / "run_search.py"), *arguments)


@pytest.mark.long
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(path, marks=[pytest.mark.long] * (path in LONG))
        for path in DOCUMENTS
        if blocks(path) and path != TUTORIAL
    ],
)
def test_the_code_runs_and_prints_what_is_said(path: str, tmp_path: Path) -> None:
    code = "\n\n".join(blocks(path))
    (tmp_path / "document.py").write_text(code, "utf-8")
    printed = run(tmp_path, "document.py").splitlines()
    claimed = re.findall(r"^print\(.*\)  # (.+)$", code, re.MULTILINE)
    assert [line for line in printed if line in claimed] == claimed


@pytest.mark.long
def test_the_block_is_short_and_its_cell_can_be_inspected(tmp_path: Path) -> None:
    block, space, look = blocks("docs/add-a-block.md")
    assert len(block.splitlines()) <= 20
    (tmp_path / "my_block.py").write_text(block + space, "utf-8")
    (tmp_path / "document.py").write_text(block + space + look, "utf-8")
    run(tmp_path, "document.py")
    assert "'ghost_cells' keeps the contract" in nas(tmp_path, "check", "my_block.py")
    shown = nas(tmp_path, "inspect", "ghost.json", "--plugin", "my_block.py", "--json")
    assert '"output_shape": [\n    10\n  ]' in shown
    nas(tmp_path, "draw", "ghost.json", "--plugin", "my_block.py", "--cell", "cell", "-o", "ghost.svg")
    assert (tmp_path / "ghost.svg").is_file()


@pytest.mark.long
def test_the_space_is_short_keeps_the_contract_and_is_searched(tmp_path: Path) -> None:
    space = blocks("docs/add-a-space.md")[0]
    assert len(space.splitlines()) <= 30
    (tmp_path / "my_space.py").write_text(space, "utf-8")
    assert "'small_stages' keeps the contract" in nas(tmp_path, "check", "my_space.py")
    (tmp_path / "short.toml").write_text(SHORT, "utf-8")
    nas(
        tmp_path,
        "search",
        "--config",
        "short.toml",
        "--plugin",
        "my_space.py",
        "--space-arg",
        "stages=2",
        "--name",
        "short",
    )
    assert (tmp_path / "results" / "short" / "best" / "graph.json").is_file()


@pytest.mark.long
def test_the_searcher_is_short_and_keeps_the_laws(tmp_path: Path) -> None:
    searcher, tests, _ = blocks("docs/add-a-searcher.md")
    assert len(searcher.splitlines()) < 60
    (tmp_path / "my_searcher.py").write_text(searcher, "utf-8")
    (tmp_path / "test_my_searcher.py").write_text(tests, "utf-8")
    assert "'annealing' keeps all 11 laws" in nas(tmp_path, "check", "my_searcher.py")
    assert "12 passed" in run(tmp_path, "-m", "pytest", "-q", "test_my_searcher.py")


def test_every_law_of_a_searcher_is_explained() -> None:
    from nas.testing import LAWS

    text = (ROOT / "docs" / "add-a-searcher.md").read_text("utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(LAWS)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_what_we_draw(name: str, tmp_path: Path) -> None:
    assert main(["draw", *PICTURES[name], "-o", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_bytes() == (ROOT / "docs" / "pictures" / name).read_bytes()


@pytest.mark.parametrize("path", DOCUMENTS)
def test_what_a_document_points_to_exists(path: str) -> None:
    for link in re.findall(r"\]\(([^)#]+)", (ROOT / path).read_text("utf-8")):
        assert "://" in link or ((ROOT / path).parent / link).exists(), f"{path}: {link}"
