"""The report of a run as Markdown: what was found, how it compares, and what it took."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import tomli_w

from nas.report.importance import importance
from nas.report.view import RunView, Score
from nas.run.config import search_name
from nas.searchers.pareto import value_of
from nas.types import Trial


def report_text(view: RunView, figures: Sequence[str]) -> str:
    """Return ``report.md``; ``figures`` are paths relative to it."""
    parts = [
        f"# {view.name}: {search_name(view.config)} in the space `{view.config.space}`",
        _headline(view),
        _final_section(view),
        *(f"![{figure}]({figure})" for figure in figures),
        _top_section(view),
        _front_section(view),
        _importance_section(view),
        _failure_section(view),
        _damage_section(view),
        _recipe_section(view),
        _method_section(view),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _headline(view: RunView) -> str:
    best, ledger = view.ledger.best(), view.ledger
    counts = ", ".join(f"{count} {status}" for status, count in sorted(ledger.counts.items()))
    lines = [
        f"Status: **{view.status}**. {ledger.queries} evaluations ({counts}); test scores read: {view.test_reads}."
    ]
    if best is None:
        lines.append("No trial has a score.")
    else:
        lines.append(f"Best: trial {best.index}, reward {best.reward:.4g}{_size(best)}, key `{best.key}`.")
    return "\n".join(lines)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _size(trial: Trial) -> str:
    if trial.params is None or trial.macs is None:
        return ""
    return f", {trial.params:,} parameters, {trial.macs:,} MACs"


def _final_section(view: RunView) -> str:
    rows = view.scores()
    if not any(row.role == "search" for row in rows):  # an interrupted comparison may have others first
        return "There was no final comparison: nothing here says that the search beats random search."
    trained = view.config.evaluator == "train"
    what = "Test accuracy, %" if trained else f"{view.config.objective or view.config.reward}"
    how = (
        f"Trained from scratch on train + validation under one recipe, {_epochs(view)}, "
        f"{_count(len(rows[0].scores + rows[0].failures), 'seed')}, tested once each."
        if trained
        else "Looked up in the table, once each."
    )
    table = [
        f"| network | {what} | spread | parameters | MACs | seconds a training |",
        "|---|---:|---:|---:|---:|---:|",
        *(_final_row(row) for row in rows),
    ]
    return "\n".join(["## Final comparison", "", how, "", *table, "", verdict(rows)])


def _final_row(row: Score) -> str:
    params = f"{row.params:,}" if row.params is not None else ""
    macs = f"{row.macs:,}" if row.macs is not None else ""
    mean, spread = row.shown()
    return f"| {row.name} | {mean} | {spread} | {params} | {macs} | {row.seconds:.1f} |"


def verdict(rows: Sequence[Score]) -> str:
    """Say plainly how the search did against random search and the handcrafted network."""
    by_role = {row.role: row for row in rows}
    search = by_role["search"]
    lines = []
    if "random" in by_role:
        lines.append(_against(search, by_role["random"], "random search"))
    else:
        lines.append("No random search of equal length was run: nothing here says that the search beats it.")
    if "handcrafted" in by_role:
        lines.append(_against(search, by_role["handcrafted"], f"the handcrafted {by_role['handcrafted'].name}"))
    return "\n".join(lines)


def _against(search: Score, other: Score, name: str) -> str:
    if not search.scores or not other.scores:
        return f"**No comparison with {name}**: {'; '.join((search.failures + other.failures)[:1])}."
    difference = search.mean - other.mean
    numbers = f"{search.mean:.2f} against {other.mean:.2f}"
    if min(len(search.scores), len(other.scores)) == 1:
        caveat = "a single value, so without an estimate of noise"
        if difference > 0:
            return f"The search beat {name}: {numbers} ({caveat})."
        return f"**The search did not beat {name}**: {numbers} ({caveat})."
    noise = 2 * math.sqrt(search.spread**2 / len(search.scores) + other.spread**2 / len(other.scores))
    if abs(difference) <= noise:
        margin = f"two standard errors are {noise:.2f}"
        return f"**The search did not beat {name}**: {numbers}, a difference within the noise ({margin})."
    if difference < 0:
        return f"**The search lost to {name}**: {numbers}, more than two standard errors ({noise:.2f})."
    return f"The search beat {name}: {numbers}, more than two standard errors ({noise:.2f})."


def _top_section(view: RunView) -> str:
    scored = [t for t in view.ledger.trials if t.status == "done" and t.reward is not None]
    if not scored:
        return ""
    ranked = sorted(scored, key=lambda t: (-t.proposal.epochs, -(t.reward or 0.0), t.index))[:10]
    rows = [
        f"| {rank} | {t.index} | {t.proposal.epochs} | {t.reward:.4g} | {_number(t.params)} | {_number(t.macs)} "
        f"| {_spent(t):.2f} | `{t.key[:8]}` |"
        for rank, t in enumerate(ranked, 1)
    ]
    head = ["| rank | trial | epochs | reward | parameters | MACs | seconds | key |", f"|{'---:|' * 7}---|"]
    return "\n".join(["## Best trials", "", *head, *rows])


def _spent(trial: Trial) -> float:
    """Return the seconds of a trial, a table's simulated ones where it has them."""
    simulated = trial.metrics is not None and trial.metrics.simulated
    return trial.metrics.seconds if trial.metrics is not None and simulated else trial.seconds


def _front_section(view: RunView) -> str:
    names, trials = view.front()
    if not trials:
        return ""
    columns = [name.replace("|", "/") for name in names]
    rows = [
        f"| {t.index} | {t.reward:.4g} | " + " | ".join(f"{value_of(t, name):,.6g}" for name in names) + " |"
        for t in trials
    ]
    head = [f"| trial | reward | {' | '.join(columns)} |", "|---:|---:|" + "---:|" * len(names)]
    how = f"No other trial has at least this reward and no more {' and '.join(columns)}, and is better in one of them."
    limits = view.config.searcher_args.get("limits")
    how += f" Trials over the limits {limits} are left out." if limits else ""
    return "\n".join(["## Pareto front", "", how, "", *head, *rows])


def _importance_section(view: RunView) -> str:
    found = importance(view.ledger.trials)
    if found is None:
        return ""
    how = (
        f"How much each decision tells the best {found.good} trials from all {found.trials} "
        "(PED-ANOVA, shares of the whole)."
    )
    some = any(count < found.trials for count in found.present.values())
    note = " A decision that is not always made counts within the trials that made it." if some else ""
    rows = [f"| `{name}` | {share:.1%} | {found.present[name]} |" for name, share in found.shares[:10]]
    head = ["| decision | importance | trials |", "|---|---:|---:|"]
    return "\n".join(["## Parameter importance", "", how + note, "", *head, *rows])


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _failure_section(view: RunView) -> str:
    failures = Counter(
        (t.failure.kind, t.failure.message) for t in view.ledger.trials if t.failure and t.status == "failed"
    )
    if not failures:
        return ""
    rows = [
        f"| {count} | {kind} | {message.replace('|', '/')[:200]} |"
        for (kind, message), count in failures.most_common(10)
    ]
    return "\n".join(["## Failures", "", "| trials | kind | message |", "|---:|---|---|", *rows])


def _damage_section(view: RunView) -> str:
    count, lines = view.damaged
    if not count:
        return ""
    more = f", the first {len(lines)} of them" if count > len(lines) else ""
    head = f"{_count(count, 'file')} could not be read and took no part{more}:"
    return "\n".join(["## Damaged images", "", head, "", *(f"- `{line.replace('`', chr(39))}`" for line in lines)])


def _recipe_section(view: RunView) -> str:
    config = view.config
    if not isinstance(config.recipe, dict):
        return ""
    lines = [f"Trials: {_recipe(config.recipe, config.epochs)}{_left_out(view.not_applied(False))}"]
    if config.time_limit is not None:
        lines[0] += f" A trial fails after {config.time_limit} s of training."
    if config.final_seeds:
        final = config.final_recipe
        shown = _recipe(final, config.final_epochs) if isinstance(final, dict) else f"the same, {_epochs(view)}."
        lines.append(f"Final trainings: {shown}{_left_out(view.not_applied(True))}")
    return "\n\n".join(["## Recipe", *lines])


def _recipe(table: Mapping[str, Any], epochs: int) -> str:
    """Return a recipe with all its numbers; what is not listed is off."""
    numbers = [
        f"{name} {' '.join(map(str, value)) if isinstance(value, list | tuple) else value}"
        for name, value in table.items()
        if name not in ("name", "epochs") and value not in (0, False, (), [])
    ]
    return f"`{table.get('name', '')}`, {_count(epochs, 'epoch')}: {', '.join(numbers)}; all else is off."


def _epochs(view: RunView) -> str:
    return _count(view.config.final_epochs, "epoch")


def _left_out(fields: Sequence[str]) -> str:
    return f" Not applied, as the network has no place for it: {', '.join(fields)}." if fields else ""


def _method_section(view: RunView) -> str:
    found = view.environment
    packages = ", ".join(f"{name} {number}" for name, number in found.get("packages", {}).items())
    machine = f"{found.get('processor', '')}, {found.get('cores', '?')} cores, {found.get('system', '')}"
    lines = [
        "## How to reproduce",
        "",
        f"{found.get('date', '')}; {machine}; Python {found.get('python', '')}; {packages}."
        + (f" Trained on {'; '.join(view.trained_on)}." if view.trained_on else ""),
        "",
        "`nas search --config config.toml --name NEW_NAME` with this configuration:",
        "",
        "```toml",
        tomli_w.dumps(view.config.to_json()).rstrip(),
        "```",
    ]
    return "\n".join(lines)
