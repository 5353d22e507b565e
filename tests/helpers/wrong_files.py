"""Files that are wrong in one way each, and the few right ones that are needed beside them."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from nas.runs.journal import Journal

OPERATIONS = ["none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"]
EDGES = ["edge_0_1", "edge_0_2", "edge_1_2", "edge_0_3", "edge_1_3", "edge_2_3"]

GOOD_PLUGIN = """
from nas.evaluators import register_evaluator
from nas.errors import EvaluationError

@register_evaluator("flat")
def flat(job):
    "Rewards the key."
    return int(job.key[:8], 16) / 2**32
"""
SPACE_PLUGIN = """
import itertools
from nas.graph import Flatten, GraphBuilder, Linear, MaxPool
from nas.space import Network, register_space

calls = itertools.count()

def net(kernel, classes=0):
    def build(task, width, depth):
        b = GraphBuilder(task.input_shape)
        x = b(Flatten(), b(MaxPool(kernel), b.input))
        return b.build(logits=b(Linear(classes or task.classes), x))
    return Network(build)

@register_space("{name}", source="test")
def space(choose, size=2):
    "A test."
    {body}
"""
SPACES_OF = {
    "unbuildable": "return net(choose('kernel', (98, 99)))",
    "random_space": "import random; k = choose('kernel', (1, 2)); return net(random.choice((1, 2)))",
    "counting_space": "choose('kernel', (1, 2)); return net(next(calls) % 2 + 1)",
    "changing_options": "return net(choose('kernel', tuple(range(1, 3 + next(calls) % 2))))",
    "raising_space": "raise ValueError('planted in the space')",
    "wrong_shape": "return net(choose('kernel', (1, 2)), 7)",
    "twice": "choose('kernel', (1, 2)); return net(choose('kernel', (1, 2)))",
    "no_options": "return net(choose('kernel', ()))",
    "odd_options": "return net(choose('kernel', (object(), 1)))",
    "infeasible": "from nas.errors import Infeasible; raise Infeasible('never')",
    "empty_space": "return net(1)",
}
GRAPH: dict[str, Any] = {
    "format": "nas/graph/1",
    "nodes": [
        {"name": "image", "op": "input", "inputs": [], "attrs": {"size": [3, 8, 8]}},
        {"name": "conv", "op": "conv", "inputs": ["image"], "attrs": {"out": 4, "kernel": 3, "padding": 1}},
        {"name": "relu", "op": "relu", "inputs": ["conv"], "attrs": {}},
        {"name": "pool", "op": "global_avg_pool", "inputs": ["relu"], "attrs": {}},
        {"name": "flat", "op": "flatten", "inputs": ["pool"], "attrs": {}},
        {"name": "fc", "op": "linear", "inputs": ["flat"], "attrs": {"out": 10}},
    ],
    "outputs": {"logits": "fc"},
}
ARCHITECTURE: dict[str, Any] = {
    "format": "nas/architecture/1",
    "space": "nb201",
    "args": {},
    "decisions": dict.fromkeys(EDGES, "skip_connect"),
}
CONFIGS = {
    "unknown": 'space = "nb201"\ntrails = 3\n',
    "text_trials": 'trials = "many"\n',
    "true_trials": "trials = true\n",
    "half_trials": "trials = 1.5\n",
    "list_space": 'space = ["nb201"]\n',
    "number_args": "space_args = 3\n",
    "date_args": 'space = "nasnet"\n[space_args]\nnodes = 2020-01-01\n',
    "nan_args": 'space = "nasnet"\n[space_args]\nnodes = nan\n',
    "number_plugins": "plugins = [1]\n",
    "text_plugins": 'plugins = "one.py"\n',
    "broken": "trials = = 3\n",
    "deep": "space = " + "[" * 3_000 + "]" * 3_000 + "\n",
}


def graph_files() -> dict[str, Any]:
    """Return damaged graphs by name."""

    def changed(index: int, **change: Any) -> dict[str, Any]:
        nodes = [dict(node) for node in GRAPH["nodes"]]
        nodes[index] |= change
        return {**GRAPH, "nodes": nodes}

    return {
        "missing_node": changed(2, inputs=["conf"]),
        "forward": changed(1, inputs=["relu"]),
        "itself": changed(2, inputs=["relu"]),
        "doubled": changed(2, name="conv"),
        "primitive": changed(1, op="convolution"),
        "attribute": changed(1, attrs={"out": 4, "kernal": 3}),
        "no_attribute": changed(1, attrs={"kernel": 3}),
        "type": changed(1, attrs={"out": "four"}),
        "float": changed(1, attrs={"out": 4.0}),
        "object": changed(1, attrs={"out": {"a": 1}}),
        "attrs_list": changed(1, attrs=[1]),
        "arity": changed(3, inputs=["relu", "conv"]),
        "no_inputs": changed(2, inputs=[]),
        "output": {**GRAPH, "outputs": {"logits": "classifier"}},
        "no_output": {**GRAPH, "outputs": {}},
        "no_nodes": {**GRAPH, "nodes": []},
        "nodes_object": {**GRAPH, "nodes": {}},
        "node_number": {**GRAPH, "nodes": [1]},
        "reserved": changed(2, name="forward"),
        "odd_name": changed(2, name="a b"),
        "groups": changed(1, attrs={"out": 4, "groups": 2}),
        "small": changed(1, attrs={"out": 4, "kernel": 99}),
        "vector": changed(4, op="relu"),
        "newer": {**GRAPH, "format": "nas/graph/9"},
    }


def architecture_files() -> dict[str, Any]:
    """Return damaged architectures by name."""
    a, decisions = ARCHITECTURE, ARCHITECTURE["decisions"]
    return {
        "space": {**a, "space": "nb202"},
        "no_space": {**a, "space": 3},
        "argument": {**a, "args": {"nodes": 4}},
        "decision": {**a, "decisions": {**decisions, "edge_3_3": "none"}},
        "value": {**a, "decisions": {**decisions, "edge_0_1": "skip_conect"}},
        "missing": {**a, "decisions": {k: v for k, v in decisions.items() if k != "edge_2_3"}},
        "object_value": {**a, "decisions": {**decisions, "edge_0_1": {"a": 1}}},
        "decisions_list": {**a, "decisions": []},
        "good": a,
    }


def table_arrays() -> dict[str, Any]:
    """Return the arrays of a small table of the space nb201: 25 cells."""
    choices = np.zeros((25, 6), dtype=np.uint8)
    choices[:, 0], choices[:, 1] = np.divmod(np.arange(25), 5)
    return {
        "names": np.array(EDGES),
        "options": np.array(json.dumps(dict.fromkeys(EDGES, OPERATIONS))),
        "choices": choices,
        "datasets": np.array(["small", "large"]),
        "accuracy": np.stack([np.arange(25.0), np.arange(25.0) / 2], axis=1),
        "seconds": np.full(25, 60.0),
    }


def npz(**arrays: Any) -> bytes:
    """Return a table file in memory; arrays given as None are left out."""
    file = io.BytesIO()
    np.savez_compressed(file, **{name: a for name, a in {**table_arrays(), **arrays}.items() if a is not None})
    return file.getvalue()


def table_files() -> dict[str, bytes]:
    """Return damaged table files by name."""
    good, single = npz(), io.BytesIO()
    np.save(single, np.arange(3))
    choices = table_arrays()["choices"]
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as file:
        file.writestr("notes.txt", "not an array")
    middle = bytearray(good)
    middle[len(good) // 2 :: 7] = bytes(len(middle[len(good) // 2 :: 7]))
    return {
        "good": good,
        "truncated": good[: len(good) // 2],
        "damaged": bytes(middle),
        "text": b"not a table",
        "empty": b"",
        "single": single.getvalue(),
        "zip": zipped.getvalue(),
        "no_choices": npz(choices=None),
        "one_name": npz(names=np.array("edge_0_1")),
        "no_names": npz(names=np.array([], dtype="U1"), options=np.array("{}"), choices=choices[:, :0]),
        "wide": npz(choices=choices[:, :5]),
        "signed": npz(choices=choices.astype(np.int64)),
        "high": npz(choices=choices + np.uint8(5)),
        "twin": npz(choices=choices * np.uint8(0)),
        "not_json": npz(options=np.array("{")),
        "options_list": npz(options=np.array("[]")),
        "options_number": npz(options=np.array(json.dumps(dict.fromkeys(EDGES, 3)))),
        "options_twice": npz(options=np.array(json.dumps(dict.fromkeys(EDGES, ["none"] * 5)))),
        "options_object": npz(options=np.array(json.dumps(dict.fromkeys(EDGES, [{"a": 1}] * 5)))),
        "pickled": npz(names=np.array(EDGES, dtype=object)),
        "short": npz(accuracy=np.zeros(24)),
        "words": npz(accuracy=np.array(["high"] * 25)),
        "scalar": npz(accuracy=np.array(3.0)),
        "no_columns": npz(accuracy=None, seconds=None),
        "one_dataset": npz(datasets=np.array(["small"])),
        "dataset_word": npz(datasets=np.array("small")),
        "no_dataset": npz(datasets=None, accuracy=np.zeros(25)),
        "other": npz(
            names=np.array([f"op_{i}" for i in range(6)]),
            options=np.array(json.dumps({f"op_{i}": OPERATIONS for i in range(6)})),
        ),
        "other_options": npz(options=np.array(json.dumps({name: list("abcde") for name in EDGES}))),
    }


def data_files() -> dict[str, bytes]:
    """Return the files of damaged datasets by path."""
    images, labels = struct.pack(">4I", 0x803, 60_000, 28, 28), struct.pack(">2I", 0x801, 60_000)
    zipped = gzip.compress(images + bytes(1_000))
    names = ("idx_magic", "idx_labels", "idx_sizes", "idx_header", "idx_short", "idx_gzip", "idx_no_gzip")
    return {
        **{f"{name}/train-labels-idx1-ubyte": labels + bytes(60_000) for name in names},
        "cifar_truncated/data_batch_1.bin": bytes(3_073 * 10),
        "cifar_odd/data_batch_1.bin": bytes(3_072),
        "idx_magic/train-images-idx3-ubyte": struct.pack(">4I", 0x903, 60_000, 28, 28),
        "idx_labels/train-images-idx3-ubyte": labels + bytes(8),
        "idx_sizes/train-images-idx3-ubyte": struct.pack(">4I", 0x803, 60_000, 32, 32),
        "idx_header/train-images-idx3-ubyte": images[:7],
        "idx_short/train-images-idx3-ubyte": images + bytes(1_000),
        "idx_gzip/train-images-idx3-ubyte.gz": zipped[: len(zipped) // 2],
        "idx_no_gzip/train-images-idx3-ubyte.gz": images,
    }


def write_files(folder: Path) -> None:
    """Write every wrong file, and the few right ones that the cases need."""
    (folder / "folder").mkdir()
    for name, data in data_files().items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(data)
    texts = {
        "good.py": GOOD_PLUGIN,
        "syntax.py": "def broken(:\n",
        "raises.py": "raise RuntimeError('planted in the plugin')\n",
        "exits.py": "import sys\nsys.exit(0)\n",
        "imports.py": "import a_module_that_is_not_there\n",
        "taken.py": GOOD_PLUGIN.replace("flat", "train"),
        "spaced.py": GOOD_PLUGIN.replace('"flat"', '"fl at"'),
        "nothing.py": "x = 1\n",
        "plugin.txt": GOOD_PLUGIN,
        "bad_searcher.py": "from nas.searchers.base import register_searcher\n\n"
        "@register_searcher('odd', 'test')\nclass Odd:\n    def __init__(self, space):\n"
        "        raise KeyError('planted in the searcher')\n",
        "not_json.json": '{"format": ',
        "list.json": "[1, 2]",
        "deep.json": "[" * 100_000,
        "format.json": '{"format": "other/1"}',
    }
    texts |= {f"{name}.py": SPACE_PLUGIN.replace("{name}", name).replace("{body}", b) for name, b in SPACES_OF.items()}
    texts |= {f"{name}.toml": text for name, text in CONFIGS.items()}
    texts |= {f"graph_{name}.json": json.dumps(data) for name, data in graph_files().items()}
    texts |= {f"arch_{name}.json": json.dumps(data) for name, data in architecture_files().items()}
    for name, text in texts.items():
        (folder / name).write_text(text)
    for name, data in table_files().items():
        (folder / f"{name}.npz").write_bytes(data)
    (folder / "binary.toml").write_bytes(b"\xff\xfe\x00binary")
    (folder / "binary.py").write_bytes(b"\x00\xff")


def write_results(folder: Path) -> None:
    """Write a results folder: a good run, a damaged and an empty journal, and a file where a run could be."""
    config = {"space": "nb201", "evaluator": "flat", "baseline": "none", "final_seeds": 0, "trials": 2}
    for name in ("first-run", "damaged", "empty", "foreign"):
        (folder / name).mkdir(parents=True)
        Journal.create(folder / name / "journal.jsonl", {"config": config}).close()
    journal = folder / "damaged" / "journal.jsonl"
    journal.write_bytes(journal.read_bytes().replace(b"nb201", b"nb101"))
    (folder / "empty" / "journal.jsonl").write_bytes(b"")
    (folder / "foreign" / "journal.jsonl").write_bytes(b"2026-01-01 a log of something else\n")
    (folder / "file").write_text("not a run")
