"""What workers on other machines read for themselves is what the driver read."""

from __future__ import annotations

import numpy as np
import pytest
from command import write_plugin
from PIL import Image

from nas.core.digests import file_digest
from nas.data import image_folder
from nas.engine.executor_factory import evaluator_of
from nas.errors import ConfigError
from nas.evaluators import train
from nas.evaluators.train import DatasetCache, TrainSettings, shared_images


def test_a_worker_runs_no_plugin_but_the_drivers(tmp_path):
    plugin = write_plugin(tmp_path / "other.py")
    digests = {str(plugin): file_digest(plugin)}
    plugin.write_text("raise SystemExit('was run')")
    with pytest.raises(ConfigError, match="is not the driver's"):
        evaluator_of({"evaluator": "mine", "plugins": [str(plugin)]}, {}, digests, {})


def test_a_worker_with_other_image_files_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(image_folder.open_folder, "__defaults__", (None, 0))  # streamed, however small
    for split in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(6):
                Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / split / name / f"{i}.png")
    settings = TrainSettings("folder", str(tmp_path), image_size=8, validation=2)
    shared = shared_images(settings)
    DatasetCache().give(settings, shared)
    (tmp_path / "train" / "a" / "0.png").rename(tmp_path / "train" / "b" / "9.png")
    train._splits.cache_clear()
    with pytest.raises(ConfigError, match="has not the files of the driver's machine"):
        DatasetCache().give(settings, shared)
