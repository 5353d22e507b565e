"""What a comparison leaves for people: ``compare.json``, ``compare.csv`` and ``report.md``."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.after.compare_result import load_comparison, result
from nas.files import write_atomic, write_json
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
Data = Mapping[str, Any]


def write_comparison(folder: Path) -> dict[str, Any]:
    """Write all outputs of the comparison in ``folder`` anew and return what ``compare.json`` holds."""
    data = result(load_comparison(folder))
    write_json(folder / "compare.json", data)
    write_atomic(folder / "compare.csv", comparison_csv(data))
    write_atomic(folder / "report.md", comparison_text(data))
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
        _headline(data),
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


def _headline(data: Data) -> str:
    names = " and ".join(f"`{recipe['name']}`" for recipe in data["recipes"])
    what = f"recipe {names}" if len(data["recipes"]) == 1 else f"recipes {names}"
    budget = f"{count(data['epochs'], 'epoch')}, with the same {count(data['seeds'], 'seed')}"
    return (
        f"Status: **{data['status']}**. Every candidate was trained from scratch on train + validation under the same "
        f"{what}, {budget}, and tested once each; test scores read: {data['test_reads']}."
    )


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


def columns_of(row: Data) -> list[str]:
    """Return a row's numbers as text, from its accuracy to its seconds."""
    d = row["difference"]
    difference = ["", "", "", "", ""]
    if d is not None:
        ps = (p_text(d[name]) for name in ("p_holm", "p_wilcoxon", "p_permutation"))
        difference = [f"{d['mean']:+.2f}", interval_text(d["interval"], "+.2f"), *ps]
    latency = [_number(row["latency"][batch], ".3g") for batch in ("1", "64")]
    own = [_number(row["mean"], ".2f") or ("failed" if row["failures"] else ""), interval_text(row["interval"])]
    return [*own, *difference, f"{row['params']:,}", f"{row['macs']:,}", *latency, _number(row["seconds"], ".1f")]


def interval_text(found: Data | None, how: str = ".2f") -> str:
    """Return an interval as text, nothing where there is none."""
    return "" if found is None else f"{found['low']:{how}} to {found['high']:{how}}"


def p_text(p: float | None) -> str:
    """Return a p-value as text."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _number(value: float | None, how: str) -> str:
    return "" if value is None else f"{value:{how}}"


def _certainty(data: Data) -> str:
    """Say what the numbers can and cannot tell, plainly."""
    found = [row["difference"] for row in data["rows"] if row["difference"]]
    if not found:
        return ""
    lines = ["## What the differences are worth", ""]
    lines += [f"- {sentence(difference)}" for difference in found]
    lines += ["", few_seeds(data)]
    return "\n".join(lines)


def sentence(d: Data) -> str:
    """Return a difference as a sentence."""
    amount = f"{d['mean']:+.2f} points (recipe {d['recipe']}, {count(d['pairs'], 'pair')})"
    who = f"{d['first']} against {d['second']}"
    if d["verdict"] == "one seed":
        return f"{who}: {amount}; a single pair says nothing of noise."
    interval = f"95 % interval {interval_text(d['interval'], '+.2f')}, p {p_text(d['p_holm'])}"
    if d["verdict"] == "no difference found":
        return f"{who}: **no difference found**, {amount}, {interval}."
    return f"{who}: **{d['verdict']}**, {amount}, {interval}."


def few_seeds(data: Data) -> str:
    """Say what so many seeds can prove."""
    text = (
        "Intervals are those of a paired bootstrap stretched to Student's width; p is the larger of theirs and of "
        "Student's paired test, corrected for all differences here (Holm)."
    )
    if data["seeds"] > 1 and data["least_p"] > 0.05:
        text += (
            f" With {count(data['seeds'], 'seed')} neither the Wilcoxon nor the permutation test can fall below "
            f"{data['least_p']:.3g}, however large a difference is: they cannot confirm one."
        )
    return text


def _random_section(data: Data) -> str:
    lines = []
    for found in data["against_random"]:
        queries = found["queries"]
        cost = f"{queries['run']} evaluations of the search, {queries['random']} of random search"
        lines.append(f"- {sentence(found['difference'])} Cost: {cost}.")
    return "\n".join(["## Against random search at equal cost", "", *lines]) if lines else ""


def _effects_section(effects: Data | None) -> str:
    if effects is None:
        return ""
    recipes = [recipe["name"] for recipe in effects["recipes"]]
    rows = [
        f"| {found['name']} | {' | '.join(f'{mean:.2f}' for mean in cells)} | {found['mean']:.2f} | {_effect(found)} |"
        for found, cells in zip(effects["candidates"], effects["cells"], strict=True)
    ]
    means = " | ".join(f"{found['mean']:.2f}" for found in effects["recipes"])
    own = " | ".join(_effect(found) for found in effects["recipes"])
    head = f"| network | {' | '.join(recipes)} | mean | effect of the architecture |"
    table = [head, "|---|" + "---:|" * (len(recipes) + 2), *rows]
    table += [f"| mean | {means} | {effects['grand']:.2f} | |", f"| effect of the recipe | {own} | | |"]
    return "\n".join(["## Recipe and architecture apart", "", *table, "", _shares(effects["shares"])])


def _effect(found: Data) -> str:
    d = found["difference"]
    apart = "" if d is None or d["interval"] is None else f" ({interval_text(d['interval'], '+.2f')} to the first)"
    return f"{found['effect']:+.2f}{apart}"


def _shares(shares: Data | None) -> str:
    if shares is None:
        return "All scores are equal."
    return (
        f"Of the variance of all scores the architecture explains {shares['candidates']:.0%}, the recipe "
        f"{shares['recipes']:.0%}, that recipes suit some architectures better {shares['interplay']:.0%}; the rest, "
        f"{shares['seeds']:.0%}, is seeds and noise. Intervals are those of the paired difference to the first."
    )


def _ensemble_section(found: Sequence[Data]) -> str:
    if not found:
        return ""
    rows = [
        f"| {', '.join(e['members'])} | {e['recipe']} | {e['mean']:.2f} | {e['best']:.2f} | {e['gain']['mean']:+.2f} "
        f"| {interval_text(e['gain'].get('interval'), '+.2f')} |"
        for e in found
    ]
    head = ["| members | recipe | accuracy, % | best member | gain | 95 % interval |", "|---|---|---:|---:|---:|---:|"]
    how = (
        "The accuracy of the mean of the members' probabilities, from the same reads of the test split. The gain is to "
        "the best member of an ensemble of candidates, seed by seed, and to the mean of an ensemble of seeds."
    )
    chosen = any(e["of"] == "candidates" and e["chosen"] for e in found)
    if chosen:
        how += " The candidates were chosen by their test accuracies among more, which flatters their ensemble."
    return "\n".join(["## Ensembles", "", how, "", *head, *rows])


def _failures(data: Data) -> str:
    lines = [
        f"- {row['name']} (recipe {row['recipe']}): {message}" for row in data["rows"] for message in row["failures"]
    ]
    lines += [
        f"- {row['name']} has no place for {', '.join(row['not_applied'])} of the recipe {row['recipe']}"
        for row in data["rows"]
        if row["not_applied"]
    ]
    return "\n".join(["## What did not apply or failed", "", *lines]) if lines else ""


def _method(data: Data) -> str:
    latency, environment = data["latency"], data["environment"]
    packages = ", ".join(f"{name} {version}" for name, version in environment.get("packages", {}).items())
    lines = [f"- Seed {data['seed']}; {count(data['threads'], 'thread')} a training."]
    if latency is not None:
        passes = " to ".join(map(str, sorted(set(latency["repeats"]))))
        lines.append(
            f"- Latency on {latency['device']}, {count(latency['threads'], 'thread')}: the median of {passes} passes "
            "after 3 for warming up, as torch runs it (float32, channels last, not compiled)."
        )
    lines.append(f"- {environment.get('processor', '')}, {environment.get('cores', '')} cores; {packages}.")
    for recipe in data["recipes"]:
        left_out = ("name", "epochs")
        found = {k: v for k, v in recipe["numbers"].items() if k not in left_out and v not in (0, False, None, [])}
        lines.append(f"- Recipe {recipe['name']}: {', '.join(f'{k} {v}' for k, v in found.items())}.")
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
