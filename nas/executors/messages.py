"""What crosses from process to process: jobs, and what became of them, as JSON and never as pickles."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from nas.graph import Graph, Node
from nas.graph.graph import trusted
from nas.graph.primitive import from_json
from nas.types import Architecture, Failure, Job, Metrics, Task

_AS_THEY_ARE = [f.name for f in fields(Job) if f.name not in ("architecture", "task", "graph", "settings")]


def job_to_bytes(job: Job) -> bytes:
    """Return ``job`` as JSON."""
    data: dict[str, Any] = {name: getattr(job, name) for name in _AS_THEY_ARE}
    data["architecture"] = job.architecture.to_json()
    data["task"] = [job.task.name, job.task.input_shape, job.task.classes]
    data["graph"] = None if job.graph is None else _packed(job.graph)
    data["settings"] = dict(job.settings)
    return json.dumps(data).encode()


def job_from_bytes(message: bytes) -> Job:
    """Return the job that :func:`job_to_bytes` wrote."""
    data = json.loads(message)
    name, shape, classes = data["task"]
    graph = None if data["graph"] is None else _unpacked(data["graph"])
    rest = {name: data[name] for name in _AS_THEY_ARE}
    architecture = Architecture.from_json(data["architecture"])
    return Job(
        architecture=architecture,
        task=Task(name, tuple(shape), classes),
        graph=graph,
        settings=data["settings"],
        **rest,
    )


def _packed(graph: Graph) -> dict[str, Any]:
    """Return the graph as JSON data with every primitive once: a third of the size, and quicker both ways."""
    ops = {id(node.op): node.op for node in graph.nodes}
    number = {key: i for i, key in enumerate(ops)}
    place = {node.name: i for i, node in enumerate(graph.nodes)}
    nodes = [(node.name, number[id(node.op)], [place[name] for name in node.inputs]) for node in graph.nodes]
    return {
        "ops": [(op.kind, op.attributes()) for op in ops.values()],
        "nodes": nodes,
        "outputs": graph.outputs,
    }


def _unpacked(data: Mapping[str, Any]) -> Graph:
    """Return the graph that :func:`_packed` wrote, whose rules were checked where it was built."""
    ops = [from_json(kind, attributes) for kind, attributes in data["ops"]]
    names = [name for name, _, _ in data["nodes"]]
    nodes = tuple(Node(name, ops[op], tuple([names[i] for i in inputs])) for name, op, inputs in data["nodes"])
    return trusted(nodes, tuple((output, node) for output, node in data["outputs"]))


def result_to_bytes(result: Metrics | Failure, seconds: float) -> list[bytes]:
    """Return what became of a job, and the seconds it took, as JSON; then its weights and predictions."""
    if isinstance(result, Failure):
        return [json.dumps({"kind": result.kind, "message": result.message, "took": seconds}).encode(), b"", b""]
    data = {
        "reward": result.reward,
        "values": dict(result.values),
        "seconds": result.seconds,
        "simulated": result.simulated,
        "notes": dict(result.notes),
        "took": seconds,
    }
    return [json.dumps(data).encode(), result.weights, result.predictions]


def result_from_bytes(message: list[bytes]) -> tuple[Metrics | Failure, float]:
    """Return what :func:`result_to_bytes` wrote."""
    data: Mapping[str, Any] = json.loads(message[0])
    if "kind" in data:
        return Failure(data["kind"], data["message"]), data["took"]
    kept = bytes(message[1]), bytes(message[2])
    metrics = Metrics(data["reward"], data["values"], data["seconds"], data["simulated"], data["notes"], *kept)
    return metrics, data["took"]
