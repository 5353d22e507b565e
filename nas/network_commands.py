"""The commands about one network: inspect, draw, source."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, unknown


def inspect(options: argparse.Namespace) -> int:
    """Show shape and cost of a network, an architecture or a graph."""
    from nas.graph import layers
    from nas.report.terminal import show_inspection

    target = _target(options)
    facts = facts_of(target.graph, target.key)
    rows = layers(target.graph) if options.layers else []
    if options.json:
        if rows:
            facts["layers"] = [vars(row) for row in rows]
        sys.stdout.write(json.dumps(facts, indent=2) + "\n")
    else:
        show_inspection(target.name, facts, rows)
    return 0


def facts_of(graph: Any, key: str) -> dict[str, Any]:
    """Return what ``inspect`` tells of a graph; memory is in bytes for a batch of one image."""
    from nas.graph import cost, receptive_field
    from nas.graph.memory import memory_peak

    total = cost(graph)
    return {
        "params": total.params,
        "macs": total.macs,
        "activations": total.activations,
        "memory_forward": total.memory_forward,
        "memory_lecture": total.memory_lecture(),
        "memory_lecture_parts": {
            "weights": 4 * total.params,
            "gradients": 4 * total.params,
            "momentum": 4 * total.params,
            "layer_outputs": total.memory_forward,
            "layer_errors": total.memory_forward,
        },
        "memory_peak": memory_peak(graph),
        "input_shape": list(graph.input_shape),
        "output_shape": list(total.output_shape),
        "receptive_field": list(receptive_field(graph)),
        "nodes": len(graph.nodes),
        "key": key,
    }


def draw(options: argparse.Namespace) -> int:
    """Write the drawing of a network, or of one of its cells, as SVG."""
    from nas.files import write_atomic
    from nas.graph.draw import draw_svg
    from nas.report.terminal import say

    output = _output(options.output, ".svg")
    target = _target(options)
    graph, title = target.graph, target.name
    if options.cell:
        if options.cell not in target.cells:
            raise ConfigError(unknown("cell", options.cell, target.cells))
        graph, title = target.cells[options.cell], f"{target.name}: {options.cell} cell"
    write_atomic(output, draw_svg(graph, options.level, title))
    say(f"drawing: {output}")
    return 0


def source(options: argparse.Namespace) -> int:
    """Write a network as one Python file that needs torch alone."""
    from nas.files import write_atomic
    from nas.graph.source import source_code
    from nas.report.terminal import say

    output = _output(options.output, ".py")
    target = _target(options)
    outputs = tuple(name for name, _ in target.graph.outputs)
    write_atomic(output, source_code(target.graph, outputs, options.class_name))
    say(f"source: {output}")
    return 0


def _target(options: argparse.Namespace) -> Any:
    from nas.targets import Wanted, find

    shape = parse_shape(options.input) if options.input else None
    wanted = Wanted(shape, options.classes, options.width, options.depth, options.aux)
    return find(options.target, wanted, options.plugins)


def _output(path: Path, suffix: str) -> Path:
    if path.suffix != suffix:
        raise ConfigError(f"-o must be a file that ends in {suffix}, found '{path}'")
    if not path.parent.is_dir():
        raise ConfigError(f"-o '{path}': the folder '{path.parent}' does not exist")
    return path


def parse_shape(text: str) -> tuple[int, ...]:
    """Return (C, H, W) of a flag's text."""
    parts = text.split(",")
    if len(parts) != 3 or not all(p.isdecimal() and len(p) < 10 and int(p) > 0 for p in parts):
        raise ConfigError(f"--input must be C,H,W: three whole numbers of at least 1, found '{text}'")
    return tuple(int(p) for p in parts)
