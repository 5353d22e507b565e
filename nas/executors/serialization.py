"""What crosses from process to process: jobs, and what became of them, as JSON and never as pickles."""

from __future__ import annotations

import json
from dataclasses import fields, replace

from nas.core.values import Json, Task
from nas.graph import Node
from nas.graph.graph import trusted
from nas.graph.primitives.base import from_json
from nas.types import Architecture, Failure, Job, Metrics

_AS_THEY_ARE = [f.name for f in fields(Job) if f.name not in ("architecture", "task", "graph", "settings")]


def job_to_bytes(job: Job) -> bytes:
    """Return ``job`` as JSON; its graph with every primitive once: a third of the size, and quicker both ways."""
    data: Json = {name: getattr(job, name) for name in _AS_THEY_ARE}
    data["architecture"] = job.architecture.to_json()
    data["task"] = [job.task.name, job.task.input_shape, job.task.classes]
    data["graph"] = None
    data["settings"] = dict(job.settings)
    if (graph := job.graph) is not None:
        ops = {id(node.op): node.op for node in graph.nodes}
        number = {key: i for i, key in enumerate(ops)}
        position = {node.name: i for i, node in enumerate(graph.nodes)}
        data["graph"] = {
            "ops": [(op.kind, op.attributes()) for op in ops.values()],
            "nodes": [(n.name, number[id(n.op)], [position[name] for name in n.inputs]) for n in graph.nodes],
            "outputs": graph.outputs,
        }
    return json.dumps(data).encode()


def job_from_bytes(message: bytes) -> Job:
    """Return the job that :func:`job_to_bytes` wrote, with a graph whose rules were checked where it was built."""
    data = json.loads(message)
    name, shape, classes = data["task"]
    graph = None
    if (packed := data["graph"]) is not None:
        ops = [from_json(kind, attributes) for kind, attributes in packed["ops"]]
        names = [name for name, _, _ in packed["nodes"]]
        nodes = tuple(Node(name, ops[op], tuple([names[i] for i in inputs])) for name, op, inputs in packed["nodes"])
        graph = trusted(nodes, tuple((output, node) for output, node in packed["outputs"]))
    return Job(
        architecture=Architecture.from_json(data["architecture"]),
        task=Task(name, tuple(shape), classes),
        graph=graph,
        settings=data["settings"],
        **{name: data[name] for name in _AS_THEY_ARE},
    )


def result_to_bytes(result: Metrics | Failure, seconds: float) -> list[bytes]:
    """Return what became of a job, and the seconds it took, as JSON; then its weights and predictions."""
    if isinstance(result, Failure):
        return [json.dumps({**result.to_json(), "took": seconds}).encode(), b"", b""]
    data = {**result.to_json(), "notes": dict(result.notes), "took": seconds}
    return [json.dumps(data).encode(), result.weights, result.predictions]


def result_from_bytes(message: list[bytes]) -> tuple[Metrics | Failure, float]:
    """Return what :func:`result_to_bytes` wrote."""
    data: Json = json.loads(message[0])
    if "kind" in data:
        return Failure.from_json(data), data["took"]
    metrics = Metrics.from_json(data)
    weights, predictions = bytes(message[1]), bytes(message[2])
    return replace(metrics, notes=data["notes"], weights=weights, predictions=predictions), data["took"]
