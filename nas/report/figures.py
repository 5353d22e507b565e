"""The figures of ``report.md``: the charts of the HTML report as SVG files that need nothing else.

A Markdown viewer shows such a file as a picture, on a light or a dark page: it brings its own white paper, its colours
are plain values (not every viewer knows variables of CSS), and its words are text.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from nas.core.files import write_atomic
from nas.core.text import printable_lines
from nas.report.html.charts import Figure
from nas.report.html.page import TEMPLATES
from nas.report.html.search_figures import cost_figures, curve_figures, drawn, progress_figures
from nas.report.run_view import RunView

WIDTH, PLOT = 760, 320
"""Pixels: the width of a picture, and the height of its plot without labels."""
LEFT, RIGHT, MARGIN = 66, 18, 20
"""Pixels beside the plot, and from the edge to the words."""
LINE, COLUMNS = 19, 100
"""Pixels from one line of words to the next, and the letters that a line holds."""
FONT = "font-family: system-ui, -apple-system, 'Segoe UI', Roboto, Arial, 'DejaVu Sans', sans-serif"


def draw_figures(view: RunView, folder: Path, problems: list[str] | None = None) -> list[str]:
    """Draw what there is data for into ``folder``; return the paths relative to the run's folder.

    ``problems`` gets a sentence on each figure that cannot be drawn or written.
    """
    told = [] if problems is None else problems
    found: list[str] = []
    for name, figures in (("progress", progress_figures), ("cost", cost_figures), ("curves", curve_figures)):

        def draw(view: RunView, name: str = name, of: Callable[[RunView], list[Figure]] = figures) -> list[str]:
            return _write(view, folder / f"{name}.svg", of(view))

        found += drawn(view, name, draw, told)
    return found


def _write(view: RunView, path: Path, figures: Sequence[Figure]) -> list[str]:
    """Write the first of ``figures``, if there is one; return its path relative to the run's folder."""
    # a report of an earlier version has left a picture of another kind
    path.with_suffix(".png").unlink(missing_ok=True)
    if not figures:
        return []
    path.parent.mkdir(exist_ok=True)
    write_atomic(path, standalone(figures[0]))
    return [str(path.relative_to(view.folder))]


def standalone(figure: Figure) -> str:
    """Return a figure as a whole SVG file: heading, chart, legend and note on white paper."""
    top = MARGIN + 52
    place = f'x="{LEFT}" y="{top}" width="{WIDTH - LEFT - RIGHT}" height="{PLOT}" overflow="visible"'
    parts = [
        f'<text class="heading" x="{MARGIN}" y="{MARGIN + 14}">{escape(figure.heading)}</text>',
        figure.chart.svg(figure.title, place),
    ]

    # Legend and note below the labels of the axis, one line each; SVG does not wrap words by itself.
    y = top + PLOT + 66
    for style, text in figure.legend:
        line = style.startswith(("line", "level"))
        mark = f'<line x1="{MARGIN}" x2="{MARGIN + 16}" y1="{y - 4}" y2="{y - 4}"/>' if line else ""
        mark = mark or f'<circle cx="{MARGIN + 8}" cy="{y - 4}" r="5"/>'
        lines = textwrap.wrap(text, COLUMNS) or [""]
        parts.append(f'<g class="{style}">{mark}</g>')
        for row in lines:
            parts.append(f'<text class="words" x="{MARGIN + 26}" y="{y}">{escape(row)}</text>')
            y += LINE
    for row in textwrap.wrap(figure.note, COLUMNS):
        parts.append(f'<text class="words" x="{MARGIN}" y="{y + 4}">{escape(row)}</text>')
        y += LINE

    height = y + 4
    # the rules of chart.css, with plain values for its variables
    css = (TEMPLATES / "chart.css").read_text(encoding="utf-8")
    palette, _, rules = css.partition("}\n")
    values = dict(re.findall(r"--(\w+): (#\w+);", palette))
    rules = rules.replace("--colour:", "color:").replace("var(--colour)", "currentColor")
    own = f"svg {{ {FONT}; }}\n.heading {{ font-size: 15px; font-weight: 600; fill: var(--ink); }}\n"
    own += ".words { font-size: 12px; fill: var(--quiet); }\n"
    style = re.sub(r"var\(--(\w+)\)", lambda name: values[name[1]], own + rules)

    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label={quoteattr(figure.title)}>'
    paper = '<rect width="100%" height="100%" rx="8" fill="#ffffff"/>'
    return printable_lines("\n".join([head, f"<style>\n{style}</style>", paper, *parts, "</svg>"])) + "\n"
