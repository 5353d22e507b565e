"""Trackers of a training that is a run of its own: its epochs, once each, also when it is resumed."""

from __future__ import annotations

import pytest
from test_tensorboard import events_of, scalars

import nas
from nas.cli.main import main
from nas.runs.journal import read

pytest.importorskip("tensorboard")
pytestmark = pytest.mark.long
SMALL = {
    "dataset": "digits",
    "train_images": 200,
    "validation_images": 100,
    "validate": 1,
    "threads": 1,
    "epochs": 3,
    "width": 2,
}


def recorded(folder):
    """Return the loss and the validation accuracy by epoch, and the test score, from the journal."""
    events = read(folder / "journal.jsonl")
    epochs = {e["number"]: e for e in events if e["event"] == "epoch"}
    [top1] = [e["top1"] for e in events if e["event"] == "trained"]
    return {n: e["loss"] for n, e in epochs.items()}, {n: e["validation"]["accuracy"] for n, e in epochs.items()}, top1


class Stops(nas.Callback):
    """Interrupts the training after its first epoch, and keeps what it is told."""

    def __init__(self, stops):
        self.told, self.stops = [], stops

    def on_epoch(self, epoch):
        self.told.append(epoch.number)
        if self.stops:
            raise KeyboardInterrupt

    def on_training(self, training):
        self.told.append((training.role, training.score))


@pytest.mark.usefixtures("ctrl_c")
def test_every_epoch_is_told_once_though_the_training_is_interrupted(tmp_path):
    common = {"name": "small", "results_dir": tmp_path, **SMALL}
    first, second, third = Stops(True), Stops(False), Stops(False)
    with pytest.raises(KeyboardInterrupt):
        nas.train("resnet18", callbacks=[first, "tensorboard"], **common)
    nas.train("resnet18", callbacks=[second], **common)
    nas.train("resnet18", callbacks=[third], **common)
    losses, accuracies, top1 = recorded(tmp_path / "small")
    assert first.told == [1]
    # what was being told when it was interrupted is told again
    assert second.told == [1, 2, 3, ("test", top1)]
    assert third.told == []
    found = events_of(tmp_path / "small" / "tensorboard")
    assert scalars(found, "train/loss") == losses
    assert scalars(found, "validation/accuracy") == accuracies
    assert scalars(found, "final/test/score") == {0: top1}


def test_the_command_line_tracks_a_training_and_goes_on_with_it(tmp_path, capsys):
    words = (
        "train resnet18 --dataset digits --train-images 200 --epochs 2 --threads 1 --width 2 --name small --results-dir"
    )
    assert main([*words.split(), str(tmp_path), "--track", "tensorboard=" + str(tmp_path / "logs")]) == 0
    assert main(["resume", "small", "--results-dir", str(tmp_path)]) == 0
    events = read(tmp_path / "small" / "journal.jsonl")
    losses = {e["number"]: e["loss"] for e in events if e["event"] == "epoch"}
    assert scalars(events_of(tmp_path / "logs" / "small"), "train/loss") == losses
    capsys.readouterr()
    assert main([*words.replace("small", "other").split(), str(tmp_path), "--track", "tensorbord"]) == 2
    assert "unknown tracker 'tensorbord'" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()
