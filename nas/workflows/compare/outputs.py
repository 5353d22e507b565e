"""What a comparison leaves for people: ``compare.json``, ``compare.csv``, ``report.md`` and ``report.html``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nas.core.files import write_atomic, write_json
from nas.core.text import count, csv_text, elsewhere
from nas.report.html.page import recipe_facts
from nas.report.markdown import (
    class_section,
    damaged_section,
    escaped,
    escaped_sentence,
    markdown_table,
    notice_text,
    steps_section,
)
from nas.report.verdict import interval_text, sentence
from nas.workflows.compare import wording
from nas.workflows.compare.html_report import comparison_html
from nas.workflows.compare.result import Comparison, PublishedTable, result
from nas.workflows.compare.view import load_comparison

PUBLISHED = {
    "top1_accuracy": "top-1, %",
    "top5_accuracy": "top-5, %",
    "params_printed": "parameters",
    "macs_printed": "MACs",
    "gpu_days": "GPU-days",
}
"""What a reader sees of published rows, and what it is called."""


def write_comparison(folder: Path) -> Comparison:
    """Write all outputs of the comparison in ``folder`` again and return what ``compare.json`` holds."""
    data = result(load_comparison(folder))
    write_json(folder / "compare.json", data.to_json())
    write_atomic(folder / "compare.csv", comparison_csv(data))
    write_atomic(folder / "report.md", comparison_text(data, elsewhere(folder)))
    write_atomic(folder / "report.html", comparison_html(data, folder.parent))
    return data


def comparison_csv(data: Comparison) -> str:
    """Return a row for each recipe and candidate, the scores of the seeds at its end."""
    lines = []
    for row in data.rows:
        own, d = row.interval, row.difference
        apart = None if d is None else d.interval
        line: dict[str, object] = {name: getattr(row, name) for name in ("recipe", "name", "kind", "mean")}
        line |= {end: getattr(own, end, None) for end in ("low", "high")}
        line |= {name: getattr(row, name) for name in ("params", "macs", "seconds")}
        line |= {f"latency_{batch}_ms": row.latency[batch] for batch in ("1", "64")}
        line |= {"difference": None if d is None else d.mean}
        line |= {f"difference_{end}": getattr(apart, end, None) for end in ("low", "high")}
        line |= {name: getattr(d, name, None) for name in ("p", "p_holm", "p_wilcoxon", "p_permutation", "verdict")}
        lines.append(line | {f"seed_{number}": score for number, score in enumerate(row.scores)})
    return csv_text([list(lines[0]), *([line.get(name) for name in lines[0]] for line in lines)])


def comparison_text(data: Comparison, where: str = "") -> str:
    """Return ``report.md``."""
    # the table of each recipe, and what the numbers can and cannot tell
    parts = [f"# {data.name}: a comparison on {escaped(data.dataset)}"]
    parts.append(f"Status: **{data.status}**. {wording.how_trained(data)} {wording.intervals(data)}")
    parts += [notice_text(notice)] if (notice := wording.at_chance(data, where)) is not None else []
    for recipe in data.recipes:
        rows = data.rows_of(recipe.name)
        first = next((row.difference.second for row in rows if row.difference), "the first")
        head = ["network", "test accuracy, %", "95 % interval", f"less {escaped(first)}", "95 % interval", "p (Holm)"]
        head += ["Wilcoxon", "permutation", "parameters", "MACs", "ms, 1 image", "ms, 64 images", "seconds a training"]
        cells = [[escaped(row.name), *wording.columns_of(row)] for row in rows]
        parts.append(_section(f"Under the recipe {escaped(recipe.name)}", *_table(head, cells)))
        parts += [found] if (found := class_section(data.class_table(recipe.name))) else []
    if data.differences:
        lines = [f"- {escaped_sentence(sentence(difference))}" for difference in data.differences]
        parts.append(_section("What the differences are worth", *lines, "", wording.few_seeds(data)))
    if data.against_random:
        random = [f"- {escaped_sentence(wording.random_sentence(found))}" for found in data.against_random]
        parts.append(_section("Against random search at equal cost", *random))

    # recipe and architecture apart: below the candidates the recipes have the two lines that each has as columns
    if (effects := data.effects) is not None:
        cells = []
        for effect, means in zip(effects.candidates, effects.cells, strict=True):
            cells.append(
                [escaped(effect.name), *(f"{m:.2f}" for m in means), f"{effect.mean:.2f}", wording.effect_text(effect)]
            )
        cells.append(["mean", *(f"{found.mean:.2f}" for found in effects.recipes), f"{effects.grand:.2f}", ""])
        cells.append(["effect of the recipe", *map(wording.effect_text, effects.recipes), "", ""])
        head = ["network", *(escaped(recipe.name) for recipe in effects.recipes), "mean", "effect of the architecture"]
        table = _table(head, cells)
        parts.append(_section("Recipe and architecture apart", *table, "", wording.shares_text(effects.shares)))
    if data.ensembles:
        cells = []
        for e in data.ensembles:
            gain = [f"{e.gain.mean:+.2f}", interval_text(e.gain.interval, "+.2f")]
            cells.append([escaped(", ".join(e.members)), escaped(e.recipe), f"{e.mean:.2f}", f"{e.best:.2f}", *gain])
        head = ["members", "recipe", "accuracy, %", "best member", "gain", "95 % interval"]
        table = markdown_table(head, "llrrrr", cells)
        parts.append(_section("Ensembles", wording.ensemble_note(data.ensembles), "", *table))

    # the images, what went wrong, how it was measured, and what others published
    if data.remarks:
        parts.append(_section("The images", *(f"- {escaped(remark)}." for remark in data.remarks)))
    parts += [found] if (found := damaged_section(data.damaged_images, data.damaged)) else []
    failures = [f"- {escaped(f'{name} (recipe {recipe}): {what}')}" for name, recipe, what in wording.troubles(data)]
    if failures:
        parts.append(_section("What did not apply or failed", *failures))
    packages = ", ".join(f"{name} {version}" for name, version in data.environment.get("packages", {}).items())
    machine = f"{data.environment.get('processor', '')}, {data.environment.get('cores', '')} cores; {packages}"
    lines = [f"- Seed {data.seed}; {count(data.threads, 'thread')} a training."]
    lines += [] if data.latency is None else [f"- {wording.latency_note(data.latency)}"]
    lines.append(f"- {machine}.")
    for recipe in data.recipes:
        numbers = recipe_facts("trainings", recipe.numbers, data.epochs).numbers
        lines.append(
            f"- {escaped(f'Recipe {recipe.name}: ' + ', '.join(f'{name} {value}' for name, value in numbers))}."
        )
    parts.append(_section("Method", *lines))
    parts += map(published_section, data.published)
    return "\n\n".join(filter(None, [*parts, steps_section(wording.next_steps(data, where))])) + "\n"


def _section(title: str, *lines: str) -> str:
    return "\n".join([f"## {title}", "", *lines])


def _table(head: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    return markdown_table(head, "l" + "r" * (len(head) - 1), cells)


def published_section(table: PublishedTable) -> str:
    """Return published rows under a heading of their own."""
    columns = {name: title for name, title in PUBLISHED.items() if any(r.get(name) is not None for r in table.rows)}
    cells = []
    for row in table.rows:
        values = [row.get(name) for name in columns]
        shown = [f"{value:g}" if isinstance(value, float) else str(value or "") for value in values]
        cells.append([str(row["network"]), *shown, str(row["source"]), str(row["remark"] or "")])
    head = ["network", *columns.values(), "source", "remark"]
    how = "Published by others and trained under recipes of their own: not to be ranked with what was measured here."
    return _section(f"Published: {table.title}", how, "", *markdown_table(head, f"l{'r' * len(columns)}ll", cells))
