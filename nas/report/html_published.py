"""The tables of published numbers in the HTML report, apart from what was measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas.errors import NasError
from nas.files import read_json
from nas.graph import Graph, cost
from nas.report.reference import TITLES, fitting, rows
from nas.report.view import RunView

COLUMNS = {
    "network": "network",
    "error": "error, %",
    "top1_accuracy": "top-1, %",
    "top5_accuracy": "top-5, %",
    "params_printed": "parameters",
    "macs_printed": "MACs",
    "gpu_days": "search, GPU-days",
    "input_size": "image side",
    "source": "source",
    "remark": "remark",
}
"""What a reader sees of a row, and what it is called."""


@dataclass(frozen=True)
class Published:
    """A table of published numbers as text."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def published(view: RunView) -> Iterator[Published]:
    """Yield the published tables on images like the run's."""
    for name in fitting(view.config.dataset or "", *_images(view)):
        yield as_text(TITLES.get(name, name), rows(name))


def as_text(title: str, found: Sequence[Mapping[str, Any]]) -> Published:
    """Return rows of :func:`nas.report.reference.rows` as text, without columns in which nothing is known."""
    shown = [c for c in COLUMNS if any(row.get(c) is not None for row in found)]
    if "error" in shown:  # then the accuracy only says it again
        shown.remove("top1_accuracy")
    lines = tuple(tuple(_text(row.get(c)) for c in shown) for row in found)
    return Published(title, tuple(COLUMNS[c] for c in shown), lines)


def _images(view: RunView) -> tuple[tuple[int, ...], int]:
    """Return shape and classes as the winner's network has them; neither where the run has left none."""
    path = view.folder / "best" / "graph.json"
    try:
        graph = Graph.from_json(read_json(path)) if path.is_file() else None
    except NasError:
        graph = None
    return ((), 0) if graph is None else (graph.input_shape, cost(graph).output_shape[-1])


def _text(value: Any) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
