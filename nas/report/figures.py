"""The figures of ``report.md``: the charts of the HTML report as SVG files that need nothing else.

A Markdown viewer shows such a file as a picture, on a light or a dark page: it brings its own white paper, its colours
are plain values (not every viewer knows variables of CSS), and its words are text.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable, Sequence
from hashlib import blake2b
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
INLINE_PLOT = 240
"""Pixels: the height of a plot without labels among the words of a notebook."""
INLINE = {
    **{"paper": "transparent", "ink": "currentColor", "quiet": "currentColor", "front": "currentColor"},
    **{"grid": "rgba(128, 128, 128, 0.3)", "search": "#2a8ad4", "random": "#dd6f25", "handcrafted": "#1c9c70"},
}
"""Colors that can be seen on light and on dark paper, by their names in chart.css."""
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


def standalone(figure: Figure, root: str = "") -> str:
    """Return a figure as a whole SVG file: heading, chart, legend and note on white paper.

    With an id for its ``root``, its rules mean nothing but itself on a page that holds it.
    """
    top, plot = MARGIN + 52, figure.height or PLOT
    place = f'x="{LEFT}" y="{top}" width="{WIDTH - LEFT - RIGHT}" height="{plot}" overflow="visible"'
    parts = [
        f'<text class="heading" x="{MARGIN}" y="{MARGIN + 14}">{escape(figure.heading)}</text>',
        figure.chart.svg(figure.title, place),
    ]

    # Legend and note below the labels of the axis, one line each; SVG does not wrap words by itself.
    y = top + plot + 66
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
    palette, rules = _chart_css()
    rules = rules.replace("--colour:", "color:").replace("var(--colour)", "currentColor")
    own = f"svg {{ {FONT}; }}\n.heading {{ font-size: 15px; font-weight: 600; fill: var(--ink); }}\n"
    own += ".words { font-size: 12px; fill: var(--quiet); }\n"
    style = re.sub(r"var\(--(\w+)\)", lambda name: palette[name[1]], own + rules)
    if root:
        style = _only_in(root, style)

    size = f'width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}"'
    name = f'id="{root}" ' if root else ""
    head = f'<svg {name}xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label={quoteattr(figure.title)}>'
    paper = '<rect width="100%" height="100%" rx="8" fill="#ffffff"/>'
    return printable_lines("\n".join([head, f"<style>\n{style}</style>", paper, *parts, "</svg>"])) + "\n"


def inline(figure: Figure) -> str:
    """Return a figure as a part of a page of a notebook: as wide as there is room, in the colors of that page.

    What it draws has colors that can be seen on light and on dark paper; words and axes have the page's own.
    """
    content = figure.svg
    mark = f"figure-{blake2b(content.encode(), digest_size=6).hexdigest()}"
    _, rules = _chart_css()
    variables = "".join(f"--{name}: {value}; " for name, value in INLINE.items())
    own = f".nas {{ {variables}max-width: {WIDTH}px; }}\n"
    own += f".plot {{ height: {figure.height or INLINE_PLOT}px; padding: 34px 14px 58px 56px; }}\n"
    own += ".chart { display: block; width: 100%; height: 100%; overflow: visible; }\n"
    own += ".legend { display: flex; flex-wrap: wrap; gap: 2px 18px; font-size: 12px; }\n"
    own += ".mark { color: var(--colour); }\n"
    style = _only_in(mark, own + rules).replace(f"#{mark} .nas", f"#{mark}")
    marks = []
    for name, text in figure.legend:
        sign = "━" if name.startswith(("line", "level")) else "●"
        marks.append(f'<span class="{name.split()[-1]}"><span class="mark">{sign}</span> {escape(text)}</span>')
    note = f'<div style="font-size:12px">{escape(figure.note)}</div>' if figure.note else ""
    words = f'<div class="legend">{"".join(marks)}</div>{note}'
    title = f"<div><b>{escape(figure.heading)}</b></div>"
    found = f'<div id="{mark}"><style>\n{style}</style>{title}<div class="plot">{content}</div>{words}</div>'
    return printable_lines(found)


def _chart_css() -> tuple[dict[str, str], str]:
    """Return the colors of chart.css by name, and its rules."""
    palette, _, rules = (TEMPLATES / "chart.css").read_text(encoding="utf-8").partition("}\n")
    return dict(re.findall(r"--(\w+): (#\w+);", palette)), rules


def _only_in(mark: str, style: str) -> str:
    """Return rules, one a line, that mean what is inside the element with the id ``mark`` and nothing else."""
    lines = []
    for line in style.splitlines():
        selectors, brace, rest = line.partition("{")
        lines.append(", ".join(f"#{mark} {one.strip()}" for one in selectors.split(",")) + f" {brace}{rest}")
    # the root is not inside itself
    return "\n".join(lines).replace(f"#{mark} svg {{", f"#{mark} {{") + "\n"
