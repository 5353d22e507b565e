"""The report of a comparison as one HTML file (see :mod:`nas.report.pages`)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.after.command_lines import comparison_command, recipe_file, recipe_text
from nas.after.compare_figures import cost_figures, seed_strips, style_of
from nas.after.compare_words import (
    Data,
    columns_of,
    effect_text,
    ensemble_note,
    few_seeds,
    how_trained,
    interval_text,
    latency_note,
    outcomes,
    random_sentence,
    sentence,
    shares_text,
    troubles,
)
from nas.report.html_published import as_text
from nas.report.pages import page, recipe_facts
from nas.report.words import elsewhere

OPEN = 12
"""Sentences on differences that are open to see; the others unfold."""
MOST = 30
"""Rows of the table of failures at most."""
ACCURACY = 7
"""Columns of a row that are about accuracy; the others are what it costs."""
MARKS = {"higher": "good", "lower": "good", "no difference found": "open", "one seed": "none"}
SHARES = (
    ("candidates", "architecture"),
    ("recipes", "recipe"),
    ("interplay", "recipes that suit some architectures better"),
    ("seeds", "seeds and noise"),
)


def comparison_html(data: Data, results: Path = Path("results")) -> str:
    """Return ``report.html`` from what ``compare.json`` holds (:mod:`nas.after.compare_result`).

    ``results`` is where the comparison's folder lies, and the runs that it compares.
    """
    return page("comparison.html.j2", _context(data, elsewhere(results / data["name"])))


def _context(data: Data, where: str) -> dict[str, Any]:
    names = list(dict.fromkeys(row["name"] for row in data["rows"]))
    numbers = {name: number for number, name in enumerate(names, 1)}
    differences = [row["difference"] for row in data["rows"] if row["difference"]]
    return {
        "data": data,
        "elsewhere": where,
        "networks": len(names),
        "mark": "good" if data["status"] == "finished" else "open",
        "best": max((row for row in data["rows"] if row["mean"] is not None), key=lambda r: r["mean"], default=None),
        "reference": differences[0]["second"] if differences else None,
        "outcomes": [(MARKS[verdict], text) for verdict, text in outcomes(data)],
        "how": how_trained(data),
        "certain": [(MARKS[d["verdict"]], sentence(d)) for d in differences],
        "few": few_seeds(data) if any(d["interval"] for d in differences) else "",
        "recipes": [_under(data, recipe["name"], numbers) for recipe in data["recipes"]],
        "random": [(MARKS[found["difference"]["verdict"]], random_sentence(found)) for found in data["against_random"]],
        "open": OPEN,
        "latency": None if data["latency"] is None else latency_note(data["latency"]),
        "effects": data["effects"],
        "effect_text": effect_text,
        "shares": None if data["effects"] is None else _shares(data["effects"]["shares"]),
        "interval_text": interval_text,
        "ensemble_note": ensemble_note(data["ensembles"]),
        "troubles": Counter(troubles(data)).most_common(),
        "most": MOST,
        "references": [as_text(table["title"], table["rows"]) for table in data["published"]],
        **_again(data, where),
    }


def _under(data: Data, recipe: str, numbers: Mapping[str, int]) -> dict[str, Any]:
    """Return what is shown of one recipe."""
    rows = [row for row in data["rows"] if row["recipe"] == recipe]
    shown = [
        {
            "name": row["name"],
            "number": numbers[row["name"]],
            "style": style_of(row),
            "scores": row["scores"],
            "queries": row["queries"],
            "cells": columns_of(row)[:ACCURACY],
            "sizes": columns_of(row)[ACCURACY:-1],
            "seconds": columns_of(row)[-1],
        }
        for row in rows
    ]
    return {"name": recipe, "rows": shown, "strips": seed_strips(rows), "figures": cost_figures(rows, numbers)}


def _shares(shares: Data | None) -> dict[str, Any]:
    """Return the shares of the variance, for bars and in words."""
    bars = [(label, shares[name]) for name, label in SHARES] if shares else []
    return {"bars": bars, "text": shares_text(shares)}


def _again(data: Data, where: str) -> dict[str, Any]:
    """Return how to do the comparison again: the command, and the files that its recipes must stand in."""
    tables = [recipe["numbers"] for recipe in data["recipes"]]
    files = [(recipe_file(table, data["dataset"]), recipe_text(table)) for table in tables]
    return {
        "command": [*comparison_command(data["settings"]), *([where.strip()] if where else [])],
        "files": [(name, text) for name, text in files if name is not None],
        "facts": [recipe_facts("trainings", table, data["epochs"]) for table in tables],
        "settings": json.dumps(data["settings"], indent=1),
    }
