"""The frame of every HTML page: one file that needs nothing else, neither a network nor a script nor another file.

A page forbids itself every request and every script (Content-Security-Policy), so that a name or a message that came
from outside can do no harm even where it were not escaped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from nas.report.charts import short
from nas.report.words import count, duration, hours

TEMPLATES = Path(__file__).parent / "templates"
_MARKED = re.compile(r"\*\*(.+?)\*\*|`(.+?)`")


def page(template: str, context: Mapping[str, Any]) -> str:
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
    )
    found.filters.update(short=short, count=count, duration=duration, hours=hours, grouped=_grouped, marked=marked)
    found.globals["style"] = Markup((TEMPLATES / "report.css").read_text(encoding="utf-8"))
    return found


def _grouped(value: float | None) -> str:
    return "" if value is None else f"{value:,}"


def marked(line: str) -> Markup:
    """Return a line of Markdown as HTML: what is bold or code there is so here, and nothing else means anything."""
    found, end = Markup(), 0
    for match in _MARKED.finditer(line):
        bold, code = match.groups()
        found += escape(line[end : match.start()])
        found += Markup("<strong>{}</strong>").format(bold) if bold else Markup("<code>{}</code>").format(code)
        end = match.end()
    return found + escape(line[end:])


def recipe_facts(use: str, table: Mapping[str, Any], epochs: int, missing: Sequence[str] = ()) -> dict[str, Any]:
    """Return a recipe for the macro of that name: what it is for, and all its numbers that are not off."""
    numbers = [
        (name, " ".join(map(str, value)) if isinstance(value, list | tuple) else value)
        for name, value in table.items()
        if name not in ("name", "epochs") and value not in (0, False, (), [], None)
    ]
    return {"use": use, "name": table.get("name", ""), "epochs": epochs, "numbers": numbers, "missing": missing}
