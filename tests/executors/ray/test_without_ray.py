"""Ray is an extra: without it searches run inline, and what needs it is refused before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import python

CODE = """
import importlib.util, sys
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: None if name == "ray" else real(name, *rest)
sys.modules["ray"] = None
from nas.cli.main import main
sys.exit(main({words!r}.split()))
"""
INLINE = "search --dataset digits --space nb201 --width 2 --depth 1 --searcher random --trials 1 --epochs 1 --name x"


@pytest.mark.long
@pytest.mark.parametrize(
    "words",
    [
        f"{INLINE} --baseline none --executor ray --workers 1",
        f"{INLINE} --baseline none --executor ray",
        "train lenet5 --dataset fashion-mini --epochs 1 --workers 2",
        "compare lenet5 resnet20_cifar --dataset fashion-mini --epochs 1 --seeds 2 --executor ray --workers 1",
    ],
)
def test_what_needs_ray_says_how_to_get_it(tmp_path: Path, words: str) -> None:
    done = python(tmp_path, CODE.format(words=words))
    assert done.returncode == 2
    told = "need the package ray: python -m pip install 'nas-toolkit[ray]'"
    assert done.stderr.strip().splitlines()[-1].endswith(told)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.long
def test_a_search_in_this_process_runs_without_it(tmp_path: Path) -> None:
    words = f"{INLINE} --train-images 60 --baseline none --final-seeds 0 --against none"
    done = python(tmp_path, CODE.format(words=words))
    assert done.returncode == 0, done.stderr
