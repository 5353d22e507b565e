"""What notebooks show of a value: small tables of HTML, and data frames.

Everything is escaped, also what came from outside. Nothing has a color of its own, so that a table can be read in a
light and in a dark notebook, and it scrolls sideways where a screen is narrow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from nas.core.text import printable
from nas.errors import ConfigError

if TYPE_CHECKING:
    from pandas import DataFrame

LONGEST = 300
"""Characters of a text in a table."""
MOST_ROWS = 60
"""Rows of a table; the last one says how many are left out."""


def shown(value: object) -> str:
    """Return a value as escaped text: nothing for None, numbers with commas or of six digits, texts cut."""
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.6g}"
    return escape(printable(str(value), LONGEST))


def heading(text: str) -> str:
    """Return a line of bold text."""
    return f'<div style="margin:0.4em 0"><b>{shown(text)}</b></div>'


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a table: columns of numbers are aligned right, all others left; an empty ``head`` is left out."""
    columns = range(max(map(len, (head, *rows)), default=0))
    numbers = [all(type(row[i]) in (int, float, type(None)) for row in rows) for i in columns]
    style = [f' style="text-align:{"right" if number else "left"};vertical-align:top"' for number in numbers]
    lines = []
    if head:
        lines.append("<tr>" + "".join(f"<th{s}>{shown(h)}</th>" for h, s in zip(head, style, strict=True)) + "</tr>")
    for row in rows[:MOST_ROWS]:
        lines.append("<tr>" + "".join(f"<td{s}>{shown(v)}</td>" for v, s in zip(row, style, strict=True)) + "</tr>")
    if len(rows) > MOST_ROWS:
        more = f"and {len(rows) - MOST_ROWS:,} more"
        lines.append(f'<tr><td colspan="{len(columns)}" style="text-align:left">{more}</td></tr>')
    return f'<div style="max-width:100%;overflow-x:auto"><table>{"".join(lines)}</table></div>'


def facts(pairs: Mapping[str, object]) -> str:
    """Return a table of a name and a value a row, without what is None."""
    told = {name: value for name, value in pairs.items() if value is not None}
    # numbers as text, since a column of several kinds is aligned left
    return table((), [(name, value if isinstance(value, str) else shown(value)) for name, value in told.items()])


def unfolding(title: str, content: str, is_open: bool = False) -> str:
    """Return HTML ``content`` that unfolds under a ``title``."""
    return f"<details{' open' if is_open else ''}><summary>{shown(title)}</summary>{content}</details>"


def dataframe(rows: Sequence[Mapping[str, object]], what: str) -> DataFrame:
    """Return a data frame of ``rows``; where pandas is not installed, ConfigError says what ``what`` needs."""
    try:
        from pandas import DataFrame
    except ImportError:
        raise ConfigError(f"{what} needs pandas: python -m pip install pandas") from None
    return DataFrame(rows)
