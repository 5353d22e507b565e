"""A share of images that was kept for the test stays kept by what follows a run on the same images."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import nas
from layouts import LAYOUTS, flat_pictures

TRAIN = "train lenet5 --data-dir photos --image-size 32 --epochs 1 --threads 1 --batch-size 8"
TUNE = "finetune first --data-dir photos --image-size 32 --epochs 1 --threads 1 --batch-size 8 --data much"


@pytest.mark.long
def test_another_share_than_that_of_the_weights_is_refused(tmp_path: Path) -> None:
    LAYOUTS["no-split"](tmp_path / "photos", flat_pictures(20, 3, 32))
    first = nas(tmp_path, *TRAIN.split(), "--test-share", "0.3", "--name", "first")
    assert first.returncode == 0, first.stderr
    other = nas(tmp_path, *TUNE.split(), "--name", "second")
    assert other.returncode == 2
    told = "run 'first' kept a share of 0.3 of these images for the test, and was trained on others of them"
    assert f"{told}; use --test-share 0.3" in other.stderr
    assert not (tmp_path / "results" / "second").exists()
    same = nas(tmp_path, *TUNE.split(), "--test-share", "0.3", "--name", "second")
    assert same.returncode == 0, same.stderr
