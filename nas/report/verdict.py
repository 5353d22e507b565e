"""What differences between networks are worth, in words: the same at the end of a search and in a comparison.

Bold and code are marked as in Markdown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nas.core.text import count, printable
from nas.engine.rivals import FAMILIES, best_in_time, families_of, named
from nas.report.run_view import RunView, Score
from nas.report.statistics import Difference, Interval, Question, differences, least_p
from nas.runs.snapshot import ENDED
from nas.types import Trial

NO_RANDOM_SEARCH = "No random search of equal length was run: nothing here says that the search beats it."


@dataclass(frozen=True)
class Verdict:
    """A sentence on the search, and how a page marks it."""

    mark: str
    """``good`` where the search is higher, ``none`` where nothing can be told, else ``open``."""
    text: str


def search_verdicts(view: RunView) -> list[Verdict]:
    """Return the :func:`verdicts` on a search, and what must be known of its rivals."""
    rows, rivals, best = view.scores(), view.rivals, view.ledger.best()
    found = verdicts(rows, view.unit, rivals is not None)
    if found and best is not None and (given := _given_name(view, best)):
        # who reads that the search leads must know that it found nothing new
        found.append(Verdict("open", f"The winner is {given}, which the search began with: it found nothing better."))
    if found and view.status in ENDED and not families_of(view.config):
        for name in named(view.config):
            if not any(row.role == f"against {name}" for row in rows):
                why = "it has no network of about the size of the found one"
                found.append(Verdict("open", f"**No comparison with the handcrafted {name}**: {why}."))
    if not found or rivals is None or best is None:
        return found
    # from the trials: of an interrupted comparison some rows are not there yet
    first, quick = rivals.best(), best_in_time(view.ledger, rivals)
    text = ""
    if first is None:
        text = "No handcrafted rival has a score."
    elif first.key == best.key:
        text = "The best handcrafted rival is the found network itself."
    elif quick is None:
        text = "No handcrafted rival took as few seconds an epoch as the found network, by the trials of both."
    elif quick.key == first.key:
        text = "The best handcrafted rival took no more seconds an epoch than the found network."
    elif quick.key == best.key:
        text = "The best rival of no more training time is the found network itself."
    if text:
        found.append(Verdict("none", text))
    # the default is all families that have a network of the budget
    missing = [name for name in FAMILIES if name not in named(view.config)]
    if missing and set(named(view.config)) < set(FAMILIES):
        why = "not asked for, or without a network of the budget"
        found.append(Verdict("none", f"Not among the rivals: {', '.join(missing)} ({why})."))
    return found


def _given_name(view: RunView, best: Trial) -> str:
    """Return what the winner is called where the search was given it to begin with, else nothing."""
    for trial in view.ledger.trials:
        place = trial.proposal.info.get("start")
        if trial.key == best.key and type(place) is int:
            names = view.config.searcher.start_from
            return printable(names[place]) if place < len(names) else f"trial {trial.index}"
    return ""


def verdicts(rows: Sequence[Score], unit: str = "points", rivals: bool = False) -> list[Verdict]:
    """Say how the search did against random search and handcrafted networks, pair by pair of equal seeds.

    ``rows`` are the final comparison; without the search in it, which an interrupted one may lack, there is none.
    ``rivals``: the handcrafted networks are the best of many, chosen on validation.
    """
    by_role = {row.role: row for row in rows}
    search = by_role.get("search")
    if search is None:
        return []

    # Both differences are asked together, since p-values are corrected for being two.
    roles = ("random", "handcrafted", "handcrafted_in_time", *(role for role in by_role if role.startswith("against ")))
    others = [by_role[role] for role in roles if role in by_role]
    what = {
        "handcrafted": "the best handcrafted rival",
        "handcrafted_in_time": "the best rival of no more training time",
    }
    names = []
    for row in others:
        told = f"{what[row.role]} ({row.name})" if rivals and row.role in what else f"the handcrafted {row.name}"
        names.append("random search" if row.role == "random" else told)
    asked = [
        Question("the search", name, (search.by_seed, row.by_seed)) for name, row in zip(names, others, strict=True)
    ]

    # A sentence on each; where no seed has both scores, why.
    found = [] if "random" in by_role else [Verdict("none", NO_RANDOM_SEARCH)]
    for row, name, difference in zip(others, names, differences(asked), strict=True):
        if difference is None:
            why = "; ".join((search.failures + row.failures)[:1]) or "no seed in common"
            found.append(Verdict("open", f"**No comparison with {name}**: {why}."))
        else:
            mark = {"higher": "good", "one seed": "none"}.get(difference.verdict, "open")
            text = sentence(difference, unit)
            found.append(Verdict(mark, text[:1].upper() + text[1:]))
    return found


def interval_note(rows: Sequence[Score]) -> str:
    """Say what the intervals of final scores are, and what they leave out; nothing where there are none."""
    images = next((row.images for row in rows if row.images), None)
    if not any(row.interval for row in rows):
        return ""
    if all(len(row.scores) < 2 for row in rows):
        return f"Intervals are Wilson's for {images:,} test images; the noise of seeds is not in them."
    note = "Intervals of means over seeds are Student's on the logit scale."
    return f"{note} One of {images:,} test images is worth {100 / images:.2g} points." if images else note


def few_seeds_note(rows: Sequence[Score]) -> str:
    """Say how the final comparison was tested; nothing where every network has a single score."""
    seeds = max((len(row.scores) for row in rows), default=0)
    return how_tested(seeds, least_p(seeds)) if seeds > 1 else ""


def sentence(d: Difference, unit: str = "points") -> str:
    """Return a difference as a sentence; ``unit`` is what the scores are counted in, empty where that is unknown."""
    under = f"recipe {d.recipe}, " if d.recipe else ""
    amount = f"{d.mean:+.2f}{unit and ' ' + unit} ({under}{count(d.pairs, 'pair')})"
    who = f"{d.first} against {d.second}"
    if d.verdict == "one seed":
        return f"{who}: {amount}; a single pair says nothing of noise."
    interval = f"95 % interval {interval_text(d.interval, '+.2f')}, p {p_text(d.p_holm)}"
    return f"{who}: **{d.verdict}**, {amount}, {interval}."


def how_tested(seeds: int, least: float | None) -> str:
    """Say what intervals and p-values are, and what ``seeds`` can prove; ``least`` is the least p-value of signs."""
    text = (
        "Intervals of differences are those of a paired bootstrap stretched to Student's width; p is the larger of "
        "theirs and of Student's paired test, corrected for all differences here (Holm)."
    )
    if seeds > 1 and least is not None and least > 0.05:
        text += (
            f" With {count(seeds, 'seed')} neither the Wilcoxon nor the permutation test can fall below "
            f"{least:.3g}, however large a difference is: they cannot confirm one."
        )
    return text


def interval_text(found: Interval | None, how: str = ".2f") -> str:
    """Return an interval as text, nothing where there is none."""
    return "" if found is None else f"{found.low:{how}} to {found.high:{how}}"


def p_text(p: float | None) -> str:
    """Return a p-value as text."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"
