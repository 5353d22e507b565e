"""What a comparison leaves for people: ``compare.json``, ``compare.csv``, ``report.md`` and ``report.html``."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas.after.compare_html import comparison_html
from nas.after.compare_result import load_comparison, result
from nas.after.compare_words import (
    Data,
    columns_of,
    effect_text,
    ensemble_note,
    few_seeds,
    how_trained,
    interval_text,
    latency_note,
    random_sentence,
    sentence,
    shares_text,
    troubles,
)
from nas.files import write_atomic, write_json
from nas.report.pages import recipe_facts
from nas.report.words import count

COLUMNS = (
    "recipe",
    "name",
    "kind",
    "mean",
    "low",
    "high",
    "params",
    "macs",
    "seconds",
    "latency_1_ms",
    "latency_64_ms",
    "difference",
    "difference_low",
    "difference_high",
    "p",
    "p_holm",
    "p_wilcoxon",
    "p_permutation",
    "verdict",
)


def write_comparison(folder: Path) -> dict[str, Any]:
    """Write all outputs of the comparison in ``folder`` anew and return what ``compare.json`` holds."""
    data = result(load_comparison(folder))
    write_json(folder / "compare.json", data)
    write_atomic(folder / "compare.csv", comparison_csv(data))
    write_atomic(folder / "report.md", comparison_text(data))
    write_atomic(folder / "report.html", comparison_html(data, folder.parent))
    return data


def comparison_csv(data: Data) -> str:
    """Return a row for each recipe and candidate: :data:`COLUMNS`, then the scores of the seeds."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *(f"seed_{number}" for number in range(data["seeds"]))])
    for row in data["rows"]:
        d, own = row["difference"] or {}, row["interval"] or {}
        apart = d.get("interval") or {}
        line = [row["recipe"], row["name"], row["kind"], row["mean"], own.get("low"), own.get("high"), row["params"]]
        line += [row["macs"], row["seconds"], row["latency"]["1"], row["latency"]["64"], d.get("mean")]
        line += [apart.get("low"), apart.get("high")]
        line += [d.get(name) for name in ("p", "p_holm", "p_wilcoxon", "p_permutation", "verdict")]
        writer.writerow(["" if value is None else value for value in [*line, *row["scores"]]])
    return text.getvalue()


def comparison_text(data: Data) -> str:
    """Return ``report.md``."""
    parts = [
        f"# {data['name']}: a comparison on {data['dataset']}",
        f"Status: **{data['status']}**. {how_trained(data)}",
        *(_table(data, recipe["name"]) for recipe in data["recipes"]),
        _certainty(data),
        _random_section(data),
        _effects_section(data["effects"]),
        _ensemble_section(data["ensembles"]),
        _failures(data),
        _method(data),
        *(published_section(table) for table in data["published"]),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(data: Data, recipe: str) -> str:
    found = [row for row in data["rows"] if row["recipe"] == recipe]
    first = next((row["difference"]["second"] for row in found if row["difference"]), None)
    head = [
        f"| network | test accuracy, % | 95 % interval | less {first or 'the first'} | 95 % interval | p (Holm) "
        "| Wilcoxon | permutation | parameters | MACs | ms, 1 image | ms, 64 images | seconds a training |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    return "\n".join([f"## Under the recipe {recipe}", "", *head, *map(_row, found)])


def _row(row: Data) -> str:
    cells = [row["name"].replace("|", "/"), *columns_of(row)]
    return f"| {' | '.join(cells)} |"


def _certainty(data: Data) -> str:
    """Say what the numbers can and cannot tell, plainly."""
    found = [row["difference"] for row in data["rows"] if row["difference"]]
    if not found:
        return ""
    lines = ["## What the differences are worth", ""]
    lines += [f"- {sentence(difference)}" for difference in found]
    lines += ["", few_seeds(data)]
    return "\n".join(lines)


def _random_section(data: Data) -> str:
    lines = [f"- {random_sentence(found)}" for found in data["against_random"]]
    return "\n".join(["## Against random search at equal cost", "", *lines]) if lines else ""


def _effects_section(effects: Data | None) -> str:
    if effects is None:
        return ""
    recipes = [recipe["name"] for recipe in effects["recipes"]]
    rows = [
        f"| {found['name']} | {' | '.join(f'{mean:.2f}' for mean in cells)} | {found['mean']:.2f} "
        f"| {effect_text(found)} |"
        for found, cells in zip(effects["candidates"], effects["cells"], strict=True)
    ]
    means = " | ".join(f"{found['mean']:.2f}" for found in effects["recipes"])
    own = " | ".join(effect_text(found) for found in effects["recipes"])
    head = f"| network | {' | '.join(recipes)} | mean | effect of the architecture |"
    table = [head, "|---|" + "---:|" * (len(recipes) + 2), *rows]
    table += [f"| mean | {means} | {effects['grand']:.2f} | |", f"| effect of the recipe | {own} | | |"]
    return "\n".join(["## Recipe and architecture apart", "", *table, "", shares_text(effects["shares"])])


def _ensemble_section(found: Sequence[Data]) -> str:
    if not found:
        return ""
    rows = [
        f"| {', '.join(e['members'])} | {e['recipe']} | {e['mean']:.2f} | {e['best']:.2f} | {e['gain']['mean']:+.2f} "
        f"| {interval_text(e['gain'].get('interval'), '+.2f')} |"
        for e in found
    ]
    head = ["| members | recipe | accuracy, % | best member | gain | 95 % interval |", "|---|---|---:|---:|---:|---:|"]
    return "\n".join(["## Ensembles", "", ensemble_note(found), "", *head, *rows])


def _failures(data: Data) -> str:
    lines = [f"- {name} (recipe {recipe}): {what}" for name, recipe, what in troubles(data)]
    return "\n".join(["## What did not apply or failed", "", *lines]) if lines else ""


def _method(data: Data) -> str:
    latency, environment = data["latency"], data["environment"]
    packages = ", ".join(f"{name} {version}" for name, version in environment.get("packages", {}).items())
    lines = [f"- Seed {data['seed']}; {count(data['threads'], 'thread')} a training."]
    if latency is not None:
        lines.append(f"- {latency_note(latency)}")
    lines.append(f"- {environment.get('processor', '')}, {environment.get('cores', '')} cores; {packages}.")
    for recipe in data["recipes"]:
        found = recipe_facts("trainings", recipe["numbers"], data["epochs"])["numbers"]
        lines.append(f"- Recipe {recipe['name']}: {', '.join(f'{name} {value}' for name, value in found)}.")
    return "\n".join(["## Method", "", *lines])


def published_section(table: Data) -> str:
    """Return published rows under a heading of their own."""
    columns = [
        (title, name)
        for title, name in (
            ("top-1, %", "top1_accuracy"),
            ("top-5, %", "top5_accuracy"),
            ("parameters", "params_printed"),
            ("MACs", "macs_printed"),
            ("GPU-days", "gpu_days"),
        )
        if any(row.get(name) is not None for row in table["rows"])
    ]
    titles = " | ".join(title for title, _ in columns)
    head = [f"| network | {titles} | source | remark |", f"|---|{'---:|' * len(columns)}---|---|"]
    lines = []
    for row in table["rows"]:
        cells = [row.get(name) for _, name in columns]
        shown = [f"{c:g}" if isinstance(c, float) else c or "" for c in cells]
        lines.append(f"| {row['network']} | {' | '.join(shown)} | {row['source']} | {row['remark'] or ''} |")
    how = "Published by others and trained under recipes of their own: not to be ranked with what was measured here."
    return "\n".join([f"## Published: {table['title']}", "", how, "", *head, *lines])
