"""Architectures and graphs from their files."""

from __future__ import annotations

from pathlib import Path

from nas.core.files import parse_json, read_text
from nas.core.plugins import load_built_in
from nas.errors import ConfigError, SpaceError, one_line
from nas.graph import Graph
from nas.graph.graph import GRAPH_FORMAT
from nas.space.genotypes import GenotypeInfo
from nas.space.notations import find_written, read_written
from nas.types import ARCHITECTURE_FORMAT, Architecture


def load(path: str | Path) -> Architecture | Graph:
    """Read an architecture or a graph from a JSON file, or an architecture in the notation of others.

    Cells that are no point of a space raise :class:`SpaceError`.
    """
    found = load_any(path)
    if not isinstance(found, GenotypeInfo):
        return found
    problems = []
    for point in found.points.values():
        try:
            return point()
        except SpaceError as error:
            problems.append(one_line(error))
    raise SpaceError(f"file '{path}': {'; '.join(problems)}")


def load_any(path: str | Path) -> Architecture | Graph | GenotypeInfo:
    """Read what :func:`load` does, cells that are no point of a space too.

    A file of several networks (``genotypes.py``) raises :class:`ConfigError` with their names.
    """
    load_built_in()
    path = Path(path)
    text, where = read_text(path), f"file '{path}'"
    data = parse_json(text, where) if path.suffix == ".json" or f'"{GRAPH_FORMAT[:4]}' in text[:200] else None
    form = data.get("format") if isinstance(data, dict) else None
    if form == GRAPH_FORMAT:
        return Graph.from_json(data)
    if form == ARCHITECTURE_FORMAT:
        return Architecture.from_json(data)
    if path.suffix != ".json":
        return read_written(text, where=where)[1]
    found = find_written(text, where=where) if form is None else None
    if found is None:
        raise ConfigError(f"{where}: format must be '{ARCHITECTURE_FORMAT}' or '{GRAPH_FORMAT}', found {form!r}")
    return found[1]
