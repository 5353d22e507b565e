"""What a comparison's numbers say in words, for every output that says it; ``data`` as ``compare.json`` holds it.

Bold and code are marked as in Markdown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nas.report.words import count

Data = Mapping[str, Any]

VERDICTS = ("higher", "lower", "no difference found", "one seed")
NAMED = 6
"""Networks that a sentence names at most."""


def how_trained(data: Data) -> str:
    """Say how candidates were trained and how often the test split was read; names of recipes stand in backticks."""
    names = " and ".join(f"`{recipe['name']}`" for recipe in data["recipes"])
    what = f"recipe {names}" if len(data["recipes"]) == 1 else f"recipes {names}"
    budget = f"{count(data['epochs'], 'epoch')}, with the same {count(data['seeds'], 'seed')}"
    return (
        f"Every candidate was trained from scratch on train + validation under the same {what}, {budget}, and tested "
        f"once each; test scores read: {data['test_reads']}."
    )


def columns_of(row: Data) -> list[str]:
    """Return a row's numbers as text, from its accuracy to its seconds."""
    d = row["difference"]
    difference = ["", "", "", "", ""]
    if d is not None:
        ps = (p_text(d[name]) for name in ("p_holm", "p_wilcoxon", "p_permutation"))
        difference = [f"{d['mean']:+.2f}", interval_text(d["interval"], "+.2f"), *ps]
    latency = [_milliseconds(row["latency"][batch]) for batch in ("1", "64")]
    own = [_number(row["mean"], ".2f") or ("failed" if row["failures"] else ""), interval_text(row["interval"])]
    return [*own, *difference, f"{row['params']:,}", f"{row['macs']:,}", *latency, _number(row["seconds"], ".1f")]


def interval_text(found: Data | None, how: str = ".2f") -> str:
    """Return an interval as text, nothing where there is none."""
    return "" if found is None else f"{found['low']:{how}} to {found['high']:{how}}"


def p_text(p: float | None) -> str:
    """Return a p-value as text."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _milliseconds(value: float | None) -> str:
    return _number(value, ".3g" if value is None or value < 100 else ",.0f")


def _number(value: float | None, how: str) -> str:
    return "" if value is None else f"{value:{how}}"


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


def effect_text(found: Data) -> str:
    """Return a main effect with the interval of the difference to the first of its kind, where there is one."""
    d = found["difference"]
    apart = "" if d is None or d["interval"] is None else f" ({interval_text(d['interval'], '+.2f')} to the first)"
    return f"{found['effect']:+.2f}{apart}"


def shares_text(shares: Data | None) -> str:
    """Say how much of the variance of all scores each factor explains."""
    if shares is None:
        return "All scores are equal."
    return (
        f"Of the variance of all scores the architecture explains {shares['candidates']:.0%}, the recipe "
        f"{shares['recipes']:.0%}, that recipes suit some architectures better {shares['interplay']:.0%}; the rest, "
        f"{shares['seeds']:.0%}, is seeds and noise. Intervals are those of the paired difference to the first."
    )


def random_sentence(found: Data) -> str:
    """Return a run against its random search as a sentence, and what both have cost."""
    queries = found["queries"]
    cost = f"{queries['run']} evaluations of the search, {queries['random']} of random search"
    return f"{sentence(found['difference'])} Cost: {cost}."


def ensemble_note(found: Sequence[Data]) -> str:
    """Say what the accuracy of an ensemble is, and what flatters it."""
    how = (
        "The accuracy of the mean of the members' probabilities, from the same reads of the test split. The gain is to "
        "the best member of an ensemble of candidates, seed by seed, and to the mean of an ensemble of seeds."
    )
    if any(e["of"] == "candidates" and e["chosen"] for e in found):
        how += " The candidates were chosen by their test accuracies among more, which flatters their ensemble."
    return how


def latency_note(latency: Data) -> str:
    """Say how latencies were measured."""
    passes = " to ".join(map(str, sorted(set(latency["repeats"]))))
    return (
        f"Latency on {latency['device']}, {count(latency['threads'], 'thread')}: the median of {passes} passes "
        "after 3 for warming up, as torch runs it (float32, channels last, not compiled)."
    )


def outcomes(data: Data) -> list[tuple[str, str]]:
    """Return for each recipe what its differences come to: the strongest verdict among them, and a sentence."""
    found = []
    for recipe in [recipe["name"] for recipe in data["recipes"]]:
        own = [row["difference"] for row in data["rows"] if row["recipe"] == recipe and row["difference"]]
        if own:
            several = len(data["recipes"]) > 1
            text = f"Under the recipe `{recipe}`: {_outcome(own)}" if several else _capital(_outcome(own))
            verdicts = {d["verdict"] for d in own}
            found.append((next(verdict for verdict in VERDICTS if verdict in verdicts), text))
    return found


def _capital(text: str) -> str:
    return re.sub("[a-z]", lambda first: first[0].upper(), text, count=1)


def _outcome(own: Sequence[Data]) -> str:
    second, parts = own[0]["second"], []
    tested = [d for d in own if d["verdict"] != "one seed"]
    if not tested:
        return f"a single seed in common, so nothing here tells a difference to {second} from noise."
    for verdict in ("higher", "lower"):
        names = [d["first"] for d in tested if d["verdict"] == verdict]
        if names:
            listed = ", ".join(names[:NAMED]) + (f" and {len(names) - NAMED} more" if len(names) > NAMED else "")
            parts.append(f"**{verdict}** than {second}: {listed}")
    same = [d["first"] for d in tested if d["verdict"] == "no difference found"]
    if same and not parts:
        who = same[0] if len(same) == 1 else f"any of {len(same)} other networks"
        parts.append(f"**no difference found** between {second} and {who}")
    elif same:
        parts.append(f"**no difference found** for {count(len(same), 'other')}")
    return f"{'; '.join(parts)}."


def troubles(data: Data) -> list[tuple[str, str, str]]:
    """Return what failed or did not apply, as (network, recipe, what)."""
    found = [(row["name"], row["recipe"], message) for row in data["rows"] for message in row["failures"]]
    found += [
        (row["name"], row["recipe"], f"the network has no place for {', '.join(row['not_applied'])}")
        for row in data["rows"]
        if row["not_applied"]
    ]
    return found
