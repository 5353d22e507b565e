"""The winner as drawings for the HTML report: its cells, and the network built of them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from markupsafe import Markup

from nas.errors import NasError
from nas.files import read_json
from nas.graph import Graph
from nas.graph.draw import draw_svg
from nas.plugins import load_built_in, load_plugin, naming
from nas.report.view import RunView
from nas.space import SPACES, Cells
from nas.types import Trial

_PAPER = '<rect width="100%" height="100%" fill="#ffffff"/>'
_WIDTH = re.compile(r'<svg [^>]*?width="([\d.]+)"')


@dataclass(frozen=True)
class Drawing:
    """A drawing with its name and its natural width in pixels."""

    name: str
    svg: Markup
    width: float


def cell_drawings(view: RunView, best: Trial) -> tuple[list[Drawing], str]:
    """Return the cells of the best trial, none where its space has none, and why they cannot be drawn if so."""
    try:
        load_built_in()
        for plugin in view.config.plugins:
            load_plugin(plugin)
        found = best.architecture
        with naming(f"space '{found.space}'"):
            described = SPACES[found.space].with_args(dict(found.args)).describe(found)
        cells = dict(described.cells) if isinstance(described, Cells) else {}
        return [_drawing(f"cell-{i}", _title(name), cell) for i, (name, cell) in enumerate(cells.items())], ""
    except NasError as error:
        return [], str(error)


def _title(name: str) -> str:
    return name if "cell" in name else f"{name} cell"


def network_drawing(view: RunView) -> Drawing | None:
    """Return the winner's whole network, as the run has left it; None where there is none, or none that is whole."""
    path = view.folder / "best" / "graph.json"
    if not path.is_file():
        return None
    try:
        return _drawing("network", "network", Graph.from_json(read_json(path)))
    except NasError:
        return None


def _drawing(mark: str, name: str, graph: Graph) -> Drawing:
    svg = "\n".join(_inlined(draw_svg(graph, title="", legend=False), mark))
    width = _WIDTH.search(svg)
    return Drawing(name, Markup(svg), float(width[1]) if width else 0.0)


def _inlined(svg: str, mark: str) -> Iterator[str]:
    """Yield the lines of a drawing that shares its page with others: names of its own, and no heading twice."""
    for line in svg.splitlines():
        if line.startswith("<svg "):
            line = line.replace("<svg ", f'<svg id="{mark}" class="drawing" role="img" ', 1)
        elif line.startswith("<defs>"):
            line = line.replace('id="arrow"', f'id="{mark}-arrow"')
        elif line.startswith("<style>"):
            line = line.replace(".edge{", f"#{mark} .edge{{").replace("url(#arrow)", f"url(#{mark}-arrow)")
        elif line == _PAPER:
            continue  # the page's own colour, light or dark, shows through
        yield line
