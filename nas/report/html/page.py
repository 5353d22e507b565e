"""The frame of every HTML page: one file that needs nothing else, neither a network nor a script nor another file.

A page forbids itself every request and every script (Content-Security-Policy), so that a name or a message that came
from outside can do no harm even where it were not escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from nas.core.text import count, duration, hours, printable, printable_lines
from nas.report.html.charts import short

TEMPLATES = Path(__file__).parent.parent / "templates"
_MARKED = re.compile(r"\*\*(.+?)\*\*|`(.+?)`")


def page(template: str, context: Mapping[str, object]) -> str:
    """Return the page that ``template`` makes of ``context``; what is no :class:`Markup` in it is escaped."""
    return _environment().get_template(template).render(context)


@cache
def _environment() -> Environment:
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=lambda value: printable_lines(value) if type(value) is str else value,
    )
    found.filters.update(short=short, count=count, duration=duration, hours=hours, grouped=grouped, marked=marked)
    # the colours of charts come first, since the page has darker and lighter ones for a dark screen
    found.globals["style"] = Markup(
        "".join((TEMPLATES / f"{n}.css").read_text(encoding="utf-8") for n in ("chart", "report"))
    )
    return found


def grouped(value: float | None) -> str:
    """Return a number with commas between its thousands, nothing where there is none."""
    return "" if value is None else f"{value:,}"


def marked(line: str) -> Markup:
    """Return a line of Markdown as HTML: what is bold or code there is so here, and nothing else means anything."""
    line = printable(line)
    # what is between the marks is escaped, and so is what they enclose
    found, end = Markup(), 0
    for match in _MARKED.finditer(line):
        bold, code = match.groups()
        found += escape(line[end : match.start()])
        found += Markup("<strong>{}</strong>").format(bold) if bold else Markup("<code>{}</code>").format(code)
        end = match.end()
    return found + escape(line[end:])


@dataclass(frozen=True)
class RecipeFacts:
    """A recipe as the macro of that name shows it."""

    use: str
    """What it is for."""
    name: str
    epochs: int
    numbers: list[tuple[str, object]]
    """All that are not off, with their names."""
    missing: Sequence[str]
    """What networks had no place for."""


def recipe_facts(use: str, table: Mapping[str, object], epochs: int, missing: Sequence[str] = ()) -> RecipeFacts:
    """Return what is told of the recipe ``table``, which is for ``use``."""
    numbers = [
        (name, " ".join(map(str, value)) if isinstance(value, list | tuple) else value)
        for name, value in table.items()
        if name not in ("name", "epochs") and value not in (0, False, (), [], None)
    ]
    return RecipeFacts(use, str(table.get("name", "")), epochs, numbers, missing)
