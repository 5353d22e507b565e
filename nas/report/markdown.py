"""The report of a run as Markdown: what was found, how it compares, and what it took."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import tomli_w

from nas.core.text import count, printable, printable_lines
from nas.engine.config import search_name
from nas.report.classes import ClassTable
from nas.report.decision_importance import importance
from nas.report.front import front_table
from nas.report.html.page import grouped, recipe_facts
from nas.report.next_steps import Notice, Step, next_steps, notices, too_close, validation_text
from nas.report.run_view import RunView
from nas.report.verdict import few_seeds_note, interval_note, interval_text, search_verdicts

_SPECIAL = re.compile(r"[\\`*\[\]<>|~&$#]|(?<![^\W_])_|_(?![^\W_])")
_CODE_OR_TAG = re.compile(r"`[^`]+`|[\\`\[\]<>|~&$]")
_BAR = re.compile(r"(?<!\\)\|")
TOP = 10
"""Rows of the tables of trials, decisions and failures."""
SHOWN = 200
"""Characters of a failure."""


def report_text(view: RunView, figures: Sequence[str], left_out: Sequence[str] = ()) -> str:
    """Return ``report.md``; ``figures`` are paths relative to it, ``left_out`` says which are missing and why."""
    best, ledger = view.ledger.best(), view.ledger
    counts = ", ".join(f"{number} {status}" for status, number in view.counts)
    found = "No trial has a score."
    if best is not None:
        sized = best.params is not None and best.macs is not None
        size = f", {best.params:,} parameters, {best.macs:,} MACs" if sized else ""
        found = f"Best: trial {best.index}, reward {best.reward:.4g}{size}, key {code(best.key)}."
        found += f" {view.second_stage}" if view.second_stage else ""
    evaluations = f"{ledger.queries} evaluations ({counts})"
    parts = [
        f"# {view.folder.name}: {escaped(search_name(view.config))} in the space {code(view.config.space.name)}",
        f"Status: **{view.status}**. {evaluations}; test scores read: {ledger.test_reads}.\n{found}",
        *map(notice_text, notices(view)),
        "\n".join(view.input_changes),
        _final_section(view),
        class_section(view.class_table),
        *(f"![{figure}]({figure})" for figure in figures),
        *map(escaped, left_out),
        _spent_section(view),
        _top_section(view),
        _front_section(view),
        _importance_section(view),
        *_problem_sections(view),
        _recipe_section(view),
        _method_section(view),
        steps_section(next_steps(view)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _final_section(view: RunView) -> str:
    rows, config = view.scores(), view.config
    # what a reader must know of the images stands beside the scores
    remarks = ["", *(f"- {remark}." for remark in view.remarks)] if view.remarks else []
    if not any(row.role == "search" for row in rows):  # an interrupted comparison may have others first
        none = "There was no final comparison: nothing here says that the search beats random search."
        return "\n".join([none, *remarks])

    # How the scores came about.
    what, how = f"{config.table.test_column or config.table.val_column}", "Looked up in the table, once each."
    if config.evaluator == "train":
        what, seeds = "Test accuracy, %", count(len(rows[0].scores + rows[0].failures), "seed")
        under = f"under one recipe, {count(config.comparison.epochs, 'epoch')}, {seeds}"
        how = f"Trained from scratch on train + validation {under}, {view.tested}."

    # The table, what its differences are worth, and what this number of seeds can prove.
    head = ["network", escaped(what), "spread", "95 % interval", "parameters", "MACs", "seconds a training"]
    cells = []
    for row in rows:
        sizes = [grouped(row.params), grouped(row.macs), f"{row.seconds:.1f}"]
        cells.append([escaped(row.name), *row.shown(), interval_text(row.interval), *sizes])
    if any(row.latency is not None for row in rows):  # on one thread of this CPU
        head = [*head, "ms an image"]
        cells = [[*cell, f"{row.latency or 0:.3g}"] for cell, row in zip(cells, rows, strict=True)]
    table = markdown_table(head, "l" + "r" * (len(head) - 1), cells)
    lines = ["## Final comparison", "", how, "", *table, ""]
    lines += [f"- {escaped_sentence(verdict.text)}" for verdict in search_verdicts(view)]
    worth = " ".join(filter(None, (interval_note(rows), few_seeds_note(rows))))
    return "\n".join([*lines, *(["", worth] if worth else []), *remarks])


def _spent_section(view: RunView) -> str:
    parts = view.spent()
    if view.config.evaluator != "train" or len(parts) < 2:
        return ""
    cells = [[part.name, f"{part.seconds:.1f}"] for part in parts]
    table = markdown_table(["part", "seconds"], "lr", [*cells, ["in all", f"{sum(p.seconds for p in parts):.1f}"]])
    return "\n".join(
        ["## What it took", "", "Seconds on their workers; those of final trainings without the test.", "", *table]
    )


def _top_section(view: RunView) -> str:
    cells = []
    for rank, t in enumerate(view.best_trials(TOP), 1):
        # a table says what its trainings would have taken
        seconds = t.metrics.seconds if t.metrics is not None and t.metrics.simulated else t.seconds
        numbers = [str(rank), str(t.index), str(t.proposal.epochs), f"{t.reward:.4g}", grouped(t.params)]
        cells.append([*numbers, grouped(t.macs), f"{seconds:.2f}", code(t.key[:8])])
    head = ["rank", "trial", "epochs", "reward", "parameters", "MACs", "seconds", "key"]
    if not cells:
        return ""
    lines, close = ["## Best trials", "", *markdown_table(head, "rrrrrrrl", cells)], too_close(view)
    lines += ["", told] if (told := validation_text(view)) else []
    return "\n".join([*lines, *(["", notice_text(close)] if close is not None else [])])


def _front_section(view: RunView) -> str:
    found = front_table(view)
    if found is None:
        return ""
    cells = []
    for row in found.rows:
        values = (f"{value:,.6g}" for value in row.values)
        name = f"{code(row.name)}{', the knee' if row.is_knee else ''}"
        cells.append([str(row.trial.index), f"{row.trial.reward:.4g}", *values, name])
    columns = [escaped(name) for name in found.objectives]
    table = markdown_table(["trial", "reward", *columns, "name"], "rr" + "r" * len(columns) + "l", cells)
    return "\n".join(["## Pareto front", "", escaped_sentence(" ".join(found.sentences)), "", *table])


def _importance_section(view: RunView) -> str:
    found = importance(view.ledger.trials)
    if found is None:
        return ""
    how = (
        f"How much each decision tells the best {found.good} trials from all {found.trials} "
        "(PED-ANOVA, shares of the whole)."
    )
    if any(number < found.trials for number in found.present.values()):
        how += " A decision that is not always made counts within the trials that made it."
    cells = [[code(name), f"{share:.1%}", str(found.present[name])] for name, share in found.shares[:TOP]]
    table = markdown_table(["decision", "importance", "trials"], "lrr", cells)
    return "\n".join(["## Parameter importance", "", how, "", *table])


def _problem_sections(view: RunView) -> Iterator[str]:
    """Yield what failed, what was refused, and which images could not be read, where there are any."""
    failed = (t.failure for t in view.ledger.trials if t.failure and t.status == "failed")
    failures = Counter((failure.kind, failure.message) for failure in failed).most_common(TOP)
    if failures:
        cells = [[str(times), kind, escaped(printable(message, SHOWN))] for (kind, message), times in failures]
        yield "\n".join(["## Failures", "", *markdown_table(["trials", "kind", "message"], "rll", cells)])
    # numbers aside, so that networks over one limit are one row
    refused = (t.failure for t in view.ledger.trials if t.failure and t.status == "refused")
    reasons = Counter(re.sub(r"\d[\d,.]*", "N", failure.message) for failure in refused).most_common(TOP)
    if reasons:
        cells = [[str(times), escaped(printable(message, SHOWN))] for message, times in reasons]
        head = "These proposals cost no evaluation; `trials.csv` has the numbers, N here."
        yield "\n".join(["## Refused", "", head, "", *markdown_table(["proposals", "reason"], "rl", cells)])
    if found := damaged_section(*view.damaged):
        yield found


def damaged_section(number: int, lines: Sequence[str]) -> str:
    """Return the section that names the first of ``number`` image files that could not be read; empty for none."""
    if not number:
        return ""
    more = f", the first {len(lines)} of them" if number > len(lines) else ""
    head = f"{count(number, 'file')} could not be read and took no part{more}:"
    return "\n".join(["## Damaged images", "", head, "", *(f"- {code(line)}" for line in lines)])


def class_section(table: ClassTable | None) -> str:
    """Return the section of a table of accuracies by class; empty for none."""
    if table is None:
        return ""
    rows = [list(map(escaped, row)) for row in table.rows]
    lines = markdown_table(list(map(escaped, table.head)), "l" + "r" * (len(table.head) - 1), rows)
    return "\n".join(["## Accuracy by class", "", escaped_sentence(table.note), "", *lines])


def _recipe_section(view: RunView) -> str:
    train, comparison = view.config.train, view.config.comparison
    if train.recipe is None:
        return ""
    uses = (("Trials", train.recipe, train.epochs), ("Final trainings", comparison.recipe, comparison.epochs))
    lines = ["## Recipe"]
    for use, recipe, epochs in uses if comparison.seeds else uses[:1]:
        missing = view.not_applied(use != "Trials")
        text = f"{use}: the same, {count(epochs, 'epoch')}."
        if recipe is not None:
            facts = recipe_facts("", recipe.to_json(), epochs)
            numbers = escaped(", ".join(f"{name} {value}" for name, value in facts.numbers))
            text = f"{use}: {code(facts.name)}, {count(epochs, 'epoch')}: {numbers}; all else is off."
        if followed := view.plateau_of(use != "Trials"):
            text += f" The rate fell on plateaus of the {followed}."
        text += f" Not applied, as the network has no place for it: {escaped(', '.join(missing))}." if missing else ""
        if use == "Trials" and train.time_limit is not None:
            text += f" A trial fails after {train.time_limit} s of training."
        if use == "Trials" and view.precision:
            text += f" {view.precision}"
        lines.append(text)
    return "\n\n".join(lines)


def notice_text(notice: Notice) -> str:
    """Return a warning and what to try as Markdown."""
    return "\n\n".join([f"> {escaped_sentence(notice.text)}", *map(_step, notice.steps)])


def _step(step: Step) -> str:
    # a fence that is longer than any within
    return f"{escaped_sentence(step.text)}\n\n````sh\n{printable_lines(step.command)}\n````"


def steps_section(steps: Sequence[Step]) -> str:
    """Return the section of what to do next; empty where there is nothing."""
    return "\n\n".join(["## What to do next", *map(_step, steps)]) if steps else ""


def _method_section(view: RunView) -> str:
    found = view.environment
    packages = ", ".join(f"{name} {number}" for name, number in found.get("packages", {}).items())
    machine = f"{found.get('processor', '')}, {found.get('cores', '?')} cores, {found.get('system', '')}"
    trained_on = f" Trained on {'; '.join(view.trained_on)}." if view.trained_on else ""
    where = f"{found.get('date', '')}; {machine}; Python {found.get('python', '')}; {packages}.{trained_on}"
    how = "`nas search --config config.toml --name NEW_NAME` with this configuration:"
    toml = f"```toml\n{printable_lines(tomli_w.dumps(view.config.to_json()).rstrip())}\n```"
    return "\n\n".join(["## How to reproduce", where, how, toml])


def escaped(text: str) -> str:
    """Return text from outside as one line that Markdown shows as it is: no mark-up, no HTML, no link."""
    return _SPECIAL.sub(r"\\\g<0>", printable(text))


def escaped_sentence(text: str) -> str:
    """Return one line with its bold and code, as :mod:`nas.report.verdict` marks them, and no other mark-up."""
    return _CODE_OR_TAG.sub(lambda found: found[0] if len(found[0]) > 1 else f"\\{found[0]}", printable(text))


def code(text: str) -> str:
    """Return text from outside as code within a line."""
    return f"`{printable(text).replace('`', chr(39))}`"


def markdown_table(head: Sequence[str], align: str, rows: Iterable[Sequence[str]]) -> list[str]:
    """Return the lines of a table of Markdown; ``align`` has ``l`` or ``r`` for each column."""
    # a bar would end the cell, in code too
    head, *rows = [[_BAR.sub(r"\|", cell) for cell in row] for row in (head, *rows)]
    rule = "".join(f"{'---:' if side == 'r' else '---'}|" for side in align)
    return [f"| {' | '.join(head)} |", f"|{rule}", *(f"| {' | '.join(row)} |" for row in rows)]
