"""What the report says of the final comparison: as modest as a comparison's own words, and from the same tests."""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats

from nas.report.run_view import Score
from nas.report.verdict import NO_RANDOM_SEARCH, few_seeds_note, verdicts


def row(role, *scores, failures=(), seeds=()):
    return Score(role, role, scores, 1, 1, 1.0, failures, seeds)


@pytest.mark.parametrize(
    ("search", "other", "mark", "words"),
    [
        ((90, 91, 92, 91.5, 90.5), (80, 81, 82, 81.2, 80.4), "good", "**higher**"),
        ((80, 81, 82, 81.2, 80.4), (90, 91, 92, 91.5, 90.5), "open", "**lower**"),
        ((90, 91, 92), (90, 91, 91), "open", "**no difference found**"),
        ((90, 91, 92), (90, 91, 92), "open", "**no difference found**, +0.00 points (3 pairs)"),
        ((90, 91, 92), (80, 81, 82), "open", "**no difference found**, +10.00 points (3 pairs)"),  # least p is 0.25
        ((90, 90.2), (89,), "none", "+1.00 points (1 pair); a single pair says nothing of noise."),
        ((89,), (90,), "none", "-1.00 points (1 pair); a single pair says nothing of noise."),
    ],
)
def test_a_verdict_is_plain_and_never_claims_more_than_the_seeds_say(search, other, mark, words):
    (found,) = verdicts([row("search", *search), row("random", *other)])
    assert found.text.startswith("The search against random search: ")
    assert words in found.text
    assert found.mark == mark


@pytest.mark.parametrize("seeds", [3, 5, 9])
@pytest.mark.parametrize("gap", [0.0, 1.0, 4.0])
def test_a_difference_is_told_only_where_scipys_paired_test_agrees(seeds, gap):
    rng = np.random.default_rng([seeds, int(gap)])
    for _ in range(40):
        shared = rng.normal(90, 1, seeds)
        search = shared + gap + rng.normal(0, 0.5, seeds)
        others = [shared + rng.normal(0, 0.5, seeds), shared + gap + rng.normal(0, 0.5, seeds)]
        rows = [row("search", *search), row("random", *others[0]), row("handcrafted", *others[1])]
        theirs = [stats.ttest_rel(search, other) for other in others]
        for found, test, other in zip(verdicts(rows), theirs, others, strict=True):
            claimed = "no difference found" not in found.text
            # what is told is the larger p-value of two tests, so Student's own cannot be above 0.05
            assert not claimed or test.pvalue <= 0.05
            assert not claimed or (found.mark == "good") == (np.mean(search - other) > 0)


def test_an_even_difference_over_many_seeds_has_the_p_value_of_the_signs():
    text = verdicts([row("search", *range(90, 98)), row("random", *range(80, 88))])[0].text
    p = float(re.search(r"p ([0-9.]+)\.$", text)[1])
    assert p == pytest.approx(stats.binomtest(8, 8).pvalue, abs=5e-4)


def test_scores_are_paired_by_the_number_of_the_seed():
    search = row("search", 90.0, 95.0, failures=("nan",), seeds=(0, 2))
    random = row("random", 80.0, 94.0, seeds=(1, 2))
    assert "+1.00 points (1 pair)" in verdicts([search, random])[0].text


def test_scores_of_a_table_have_no_unit():
    assert "+1.00 (1 pair)" in verdicts([row("search", 2.0), row("random", 1.0)], "")[0].text


def test_several_differences_are_corrected_together():
    rng = np.random.default_rng(0)
    search, other = rng.normal(90, 1, 5), rng.normal(88, 1, 5)
    alone = verdicts([row("search", *search), row("random", *other)])[0].text
    both = verdicts([row("search", *search), row("random", *other), row("handcrafted", *other)])
    p, corrected = (float(re.search(r"p ([0-9.]+)\.$", text)[1]) for text in (alone, both[0].text))
    assert corrected == pytest.approx(2 * p, abs=2e-3)


@pytest.mark.parametrize(("seeds", "least"), [(3, "0.25"), (4, "0.125"), (6, None), (1, None)])
def test_few_seeds_are_said_to_be_few(seeds, least):
    note = few_seeds_note([row("search", *range(seeds)), row("random", *range(seeds))])
    assert bool(note) == (seeds > 1)
    assert (f"can fall below {least}" in note) == (least is not None)


def test_a_final_training_that_failed_is_named():
    (found,) = verdicts([row("search", failures=("the loss is nan",)), row("random", 90)])
    assert "No comparison" in found.text
    assert "the loss is nan" in found.text


def test_of_rivals_each_difference_is_told_and_corrected_for_all():
    scores = (90, 91, 92, 91.5, 90.5), (80, 81, 82, 81.2, 80.4)
    roles = ("handcrafted_in_time", "handcrafted", "random")
    rows = [row("search", *scores[0]), *(row(role, *scores[1]) for role in roles)]
    found = [verdict.text for verdict in verdicts(rows, rivals=True)]
    assert [text.partition(":")[0] for text in found] == [
        "The search against random search",
        "The search against the best handcrafted rival (handcrafted)",
        "The search against the best rival of no more training time (handcrafted_in_time)",
    ]
    alone = float(re.search(r"p ([0-9.]+)\.$", verdicts(rows[::3])[0].text.replace("< ", ""))[1])
    assert all("**higher**" in text and "95 % interval" in text for text in found)
    assert alone <= 0.05 / 3


def test_named_networks_each_have_a_verdict():
    rows = [row("search", 90, 91), row("against resnet", 89, 90), row("against vgg16", 88, 91)]
    found = [verdict.text for verdict in verdicts(rows)]
    assert found[0] == NO_RANDOM_SEARCH
    assert [text.partition(":")[0] for text in found[1:]] == [
        f"The search against the handcrafted against {name}" for name in ("resnet", "vgg16")
    ]


def test_without_random_search_nothing_is_claimed():
    assert [found.text for found in verdicts([row("search", 90)])] == [NO_RANDOM_SEARCH]
    assert verdicts([row("random", 90)]) == []
