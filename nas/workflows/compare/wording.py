"""What a comparison's numbers say in words, for every output that says it; bold and code are marked as in Markdown.

Sentences on single differences are in :mod:`nas.report.verdict`, since the end of a search says them too.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence

from nas.core.text import count, quoted
from nas.report.chance import MeasuredOn, reads_text
from nas.report.next_steps import LONGER, Notice, Step
from nas.report.statistics import LEVEL, Difference, seeds_needed
from nas.report.verdict import how_tested, interval_text, p_text, sentence
from nas.runs.snapshot import ENDED
from nas.workflows.command_words import comparison_command
from nas.workflows.compare.ensembles import Ensemble
from nas.workflows.compare.recipe_effects import MainEffect, Shares
from nas.workflows.compare.result import AgainstRandom, Comparison, LatencyMeasurement, Row

VERDICTS = ("higher", "lower", "no difference found", "one seed")
"""Strongest first."""
NAMED = 6
"""Networks that a sentence names at most."""


def how_trained(data: Comparison) -> str:
    """Say how candidates were trained and how often the test split was read; names of recipes are in backticks."""
    names = " and ".join(f"`{recipe.name}`" for recipe in data.recipes)
    what = f"recipe {names}" if len(data.recipes) == 1 else f"recipes {names}"
    budget = f"{count(data.epochs, 'epoch')}, with the same {count(data.seeds, 'seed')}"
    how = f"Every candidate was trained from scratch on train + validation under the same {what}, {budget}"
    tested = reads_text(data.trainings or data.test_reads, data.test_reads)
    return " ".join([f"{how}, and {tested}; test scores read: {data.test_reads}.", *data.input_changes])


def at_chance(data: Comparison, where: str = "") -> Notice | None:
    """Return a warning where all networks, or most, are no better than chance on the test split; else None.

    ``where`` is the flag with which commands find the comparison's folder (:func:`nas.core.text.elsewhere`).
    """
    on = MeasuredOn.of(data.images, "test")
    trained = [[score for score in row.scores if score is not None] for row in data.rows]
    trained = [scores for scores in trained if scores]
    if on is None or not trained:
        return None
    guessing = sum(on.chance_p(max(scores), len(scores)) > 1 - LEVEL for scores in trained)
    which = "is" if guessing == 1 else "are"
    told = f"of {on.chance:.2f} % (binomial tests on {on.images:,} test images)"
    what = "**Nothing was learned**: no network is above the chance level"
    if guessing < len(trained):
        what = f"**Most networks learned nothing**: {guessing:,} of {len(trained):,} {which} not above the chance level"
    if 2 * guessing <= len(trained):
        return None
    longer = _command(data, where, epochs=LONGER * data.epochs)
    return Notice(f"{what} {told}. Their ranking means nothing.", (Step("Train for longer:", longer),))


def next_steps(data: Comparison, where: str = "") -> list[Step]:
    """Return what can be done with a comparison: ``where`` is as in :func:`at_chance`."""
    if data.status not in ENDED:
        return [Step("Go on with the comparison:", f"nas resume {quoted(data.name)}{where}")]
    undecided = [d for d in data.differences if d.verdict in ("one seed", "no difference found")]
    if not undecided:
        return []
    widest = max(undecided, key=lambda d: abs(d.mean))
    who = f"{widest.first} against {widest.second} is undecided ({widest.mean:+.2f} points)"
    rows = {row.name: row.scores for row in data.rows_of(widest.recipe)}
    pairs = zip(rows[widest.first], rows[widest.second], strict=True)
    apart = [first - second for first, second in pairs if first is not None and second is not None]
    if len(apart) < 2:
        return [Step(f"{who}, and a single seed says nothing of noise:", _command(data, where, seeds=5))]
    seeds = seeds_needed(widest.mean, statistics.stdev(apart), (1 - LEVEL) / len(data.differences))
    if seeds is None:
        return []
    seeds = max(seeds, len(apart) + 2)
    needed = f"were it the truth, {seeds:,} seeds would find it in 80 % of all comparisons"
    return [Step(f"{who}; {needed}:", _command(data, where, seeds=seeds))]


def _command(data: Comparison, where: str, **changes: int) -> str:
    return " ".join(comparison_command({**data.settings, **changes})) + where


def intervals(data: Comparison) -> str:
    """Say what the intervals of accuracies are, and what one test image is worth."""
    images = data.images.get("test")
    if not any(row.interval for row in data.rows):
        return "A single value has no interval."
    worth = f" One of {images:,} test images is worth {100 / images:.2g} points." if images else ""
    if all(sum(score is not None for score in row.scores) < 2 for row in data.rows):
        return f"Intervals are Wilson's for the test images; the noise of seeds is not in them.{worth}"
    return f"Intervals are 95 % intervals of the means over the seeds, Student's on the logit scale.{worth}"


def columns_of(row: Row) -> list[str]:
    """Return a row's numbers as text, from its accuracy to its seconds."""
    d = row.difference
    difference = [""] * 5
    if d is not None:
        ps = (p_text(p) for p in (d.p_holm, d.p_wilcoxon, d.p_permutation))
        difference = [f"{d.mean:+.2f}", interval_text(d.interval, "+.2f"), *ps]
    times = [row.latency[batch] for batch in ("1", "64")]
    latency = ["" if ms is None else f"{ms:.3g}" if ms < 100 else f"{ms:,.0f}" for ms in times]
    mean = ("failed" if row.failures else "") if row.mean is None else f"{row.mean:.2f}"
    seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
    return [mean, interval_text(row.interval), *difference, f"{row.params:,}", f"{row.macs:,}", *latency, seconds]


def few_seeds(data: Comparison) -> str:
    """Say what intervals and p-values are, and what this number of seeds can prove."""
    return how_tested(data.seeds, data.least_p)


def effect_text(found: MainEffect) -> str:
    """Return a main effect with the interval of the difference to the first of its kind, where there is one."""
    d = found.difference
    apart = "" if d is None or d.interval is None else f" ({interval_text(d.interval, '+.2f')} to the first)"
    return f"{found.effect:+.2f}{apart}"


def shares_text(shares: Shares | None) -> str:
    """Say how much of the variance of all scores each factor explains."""
    if shares is None:
        return "All scores are equal."
    return (
        f"Of the variance of all scores the architecture explains {shares.candidates:.0%}, the recipe "
        f"{shares.recipes:.0%}, that recipes suit some architectures better {shares.interplay:.0%}; the rest, "
        f"{shares.seeds:.0%}, is seeds and noise. Intervals are those of the paired difference to the first."
    )


def random_sentence(found: AgainstRandom) -> str:
    """Return a run against its random search as a sentence, and what both have cost."""
    queries = found.queries
    cost = f"{queries['run']} evaluations of the search, {queries['random']} of random search"
    return f"{sentence(found.difference)} Cost: {cost}."


def ensemble_note(found: Sequence[Ensemble]) -> str:
    """Say what the accuracy of an ensemble is, and what flatters it."""
    how = (
        "The accuracy of the mean of the members' probabilities, from the same reads of the test split. The gain is to "
        "the best member of an ensemble of candidates, seed by seed, and to the mean of an ensemble of seeds."
    )
    if any(e.of == "candidates" and e.chosen for e in found):
        how += " The candidates were chosen by their test accuracies among more, which flatters their ensemble."
    return how


def latency_note(latency: LatencyMeasurement) -> str:
    """Say how latencies were measured."""
    passes = " to ".join(map(str, sorted(set(latency.repeats))))
    median = f"the median of {passes} passes after 3 for warming up"
    how = "as torch runs it (float32, channels last, not compiled)"
    return f"Latency on {latency.device}, {count(latency.threads, 'thread')}: {median}, {how}."


def outcomes(data: Comparison) -> list[tuple[str, str]]:
    """Return for each recipe what its differences come to: the strongest verdict among them, and a sentence."""
    found = []
    for recipe in data.recipes:
        own = [row.difference for row in data.rows_of(recipe.name) if row.difference is not None]
        if own:
            text = _outcome(own)
            if len(data.recipes) > 1:
                text = f"Under the recipe `{recipe.name}`: {text}"
            else:  # the first letter, which may come after the mark of bold text
                text = re.sub("[a-z]", lambda first: first[0].upper(), text, count=1)
            verdicts = {d.verdict for d in own}
            found.append((next(verdict for verdict in VERDICTS if verdict in verdicts), text))
    return found


def _outcome(own: Sequence[Difference]) -> str:
    second, parts = own[0].second, []
    tested = [d for d in own if d.verdict != "one seed"]
    if not tested:
        return f"a single seed in common, so nothing here tells a difference to {second} from noise."
    for verdict in ("higher", "lower"):
        names = [d.first for d in tested if d.verdict == verdict]
        if names:
            listed = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
            parts.append(f"**{verdict}** than {second}: {listed}")
    same = [d.first for d in tested if d.verdict == "no difference found"]
    if same and not parts:
        who = same[0] if len(same) == 1 else f"any of {len(same)} other networks"
        parts.append(f"**no difference found** between {second} and {who}")
    elif same:
        parts.append(f"**no difference found** for {count(len(same), 'other')}")
    return f"{'; '.join(parts)}."


def troubles(data: Comparison) -> list[tuple[str, str, str]]:
    """Return what failed or did not apply, as (network, recipe, what)."""
    found = [(row.name, row.recipe, message) for row in data.rows for message in row.failures]
    plateaus = {recipe.name for recipe in data.recipes if recipe.numbers.get("schedule") == "plateau"}
    for row in data.rows:
        if row.recipe in plateaus:
            found.append((row.name, row.recipe, "the rate follows the training loss, as no images are held out"))
        if row.not_applied:
            found.append((row.name, row.recipe, f"the network has no place for {', '.join(row.not_applied)}"))
    return found
