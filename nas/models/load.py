"""Architectures and graphs from their files."""

from __future__ import annotations

from pathlib import Path

from nas.core.files import read_json
from nas.errors import ConfigError
from nas.graph import Graph
from nas.graph.graph import GRAPH_FORMAT
from nas.types import ARCHITECTURE_FORMAT, Architecture


def load(path: str | Path) -> Architecture | Graph:
    """Read an architecture or a graph from a JSON file."""
    path = Path(path)
    data = read_json(path)
    form = data.get("format") if isinstance(data, dict) else None
    if form == GRAPH_FORMAT:
        return Graph.from_json(data)
    if form == ARCHITECTURE_FORMAT:
        return Architecture.from_json(data)
    raise ConfigError(f"file '{path}': format must be '{ARCHITECTURE_FORMAT}' or '{GRAPH_FORMAT}', found {form!r}")
