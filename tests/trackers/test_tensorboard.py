"""TensorBoard's event files, read by tensorboard itself, against the journal."""

from __future__ import annotations

import numpy as np
import pytest
from tracked_searches import bits, evaluate, recorded, walls

import nas
from nas.runs.journal import read

pytest.importorskip("tensorboard")


def events_of(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    found.Reload()
    return found


def scalars(found, tag):
    """Return the values by step; a step that is there twice is an error."""
    from tensorboard.util.tensor_util import make_ndarray

    values = {}
    for event in found.Tensors(tag):
        assert event.step not in values, f"{tag}: step {event.step} was logged twice"
        values[event.step] = float(make_ndarray(event.tensor_proto))
    return values


def text(found, tag, step=0):
    [event] = [event for event in found.Tensors(tag) if event.step == step]
    return event.tensor_proto.string_val[0].decode()


@pytest.mark.long
def test_the_files_hold_what_the_journal_says_also_after_resuming(tmp_path):
    def study(**callbacks):
        return nas.Study(bits, evaluate, "random", folder=tmp_path / "bits", seed=3, **callbacks)

    study(callbacks=["tensorboard"]).run(5)
    study().run(9)  # with the trackers that the run has
    found, rewards = events_of(tmp_path / "bits" / "tensorboard"), recorded(tmp_path / "bits")
    assert scalars(found, "trial/reward") == rewards
    latencies = {e["index"]: e["values"]["latency"] for e in read(tmp_path / "bits" / "journal.jsonl") if "values" in e}
    assert latencies.items() <= scalars(found, "trial/latency").items()
    seconds, taken = scalars(found, "trial/seconds"), walls(tmp_path / "bits")
    assert {index: value for index, value in seconds.items() if value} == taken
    first = min(rewards)
    running = {i: max(r for j, r in rewards.items() if j <= i) for i in seconds if i >= first}
    assert scalars(found, "best/reward") == running
    # times are those of the journal: a run that was not resumed has the same
    events = {event.step: event.wall_time for event in found.Tensors("trial/seconds")}
    begun = read(tmp_path / "bits" / "journal.jsonl")[0]["time"]
    assert events[max(events)] == pytest.approx(begun + sum(taken.values()))
    best = max(rewards, key=lambda index: (rewards[index], -index))
    assert f"trial {best}, done" in text(found, "best/decisions", best)
    assert "| `searcher` | `random` |" in text(found, "run/settings")


def test_runs_in_one_folder_keep_apart_and_nothing_else_is_touched(tmp_path):
    pytest.importorskip("tensorboard")
    other = tmp_path / "logs" / "one" / "events.out.tfevents.1.mine"
    other.parent.mkdir(parents=True)
    other.write_text("mine")
    for name in ("one", "two"):
        place = f"tensorboard={tmp_path / 'logs'}"
        nas.Study(bits, evaluate, "random", folder=tmp_path / name, callbacks=[place], seed=3).run(3)
    assert other.read_text() == "mine"
    other.unlink()
    for name in ("one", "two"):
        assert scalars(events_of(tmp_path / "logs" / name), "trial/reward") == recorded(tmp_path / name)


@pytest.mark.long
def test_the_winner_its_curves_and_the_comparison_are_there(tmp_path):
    train = nas.TrainEvaluator(dataset="digits", train_images=200, validation_images=100, epochs=1, threads=1)
    small = {"space_args": {"nodes": 2}, "width": 2, "depth": 1, "final_seeds": 2, "final_epochs": 2}
    folder = tmp_path / "small"
    nas.Study("nasnet", train, "random", folder=folder, callbacks=["tensorboard"], **small).run(2)
    found, events = events_of(folder / "tensorboard"), read(folder / "journal.jsonl")
    asked = [event for event in events if event["event"] == "asked"]
    assert scalars(found, "trial/macs") == {event["index"]: event["macs"] for event in asked}
    assert scalars(found, "trial/params") == {event["index"]: event["params"] for event in asked}
    finals = [event for event in events if event["event"] == "final"]
    for event in finals:
        tag = f"final/{event['role']}/seed {event['number']}/loss"
        assert scalars(found, tag) == dict(event["notes"]["curve"])
        assert scalars(found, f"final/{event['role']}/score")[event["number"]] == event["score"]
    mean = np.mean([event["score"] for event in finals if event["role"] == "search"])
    assert f"{mean:.2f}" in text(found, "final/comparison")
    # the network under Graphs is the best one's
    graph = nas.create_graph(str(folder))
    nodes = {node.name.replace("/", "."): (node.op, list(node.input)) for node in found.Graph().node}
    assert {name: op for name, (op, _) in nodes.items()} == {node.name: node.op.kind for node in graph.nodes}
    assert all([i.replace("/", ".") for i in nodes[n.name][1]] == list(n.inputs) for n in graph.nodes)
    [svg] = found.Tensors("best/network")
    assert svg.tensor_proto.string_val[0].startswith(b"```svg\n<svg")
