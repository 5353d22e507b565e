"""What the report says of a comparison."""

from __future__ import annotations

import pytest

from nas.report.markdown import verdict
from nas.report.view import Score


def row(role, *scores, failures=()):
    return Score(role, role, scores, 1, 1, 1.0, failures)


@pytest.mark.parametrize(
    ("search", "other", "words"),
    [
        ((90, 91, 92), (80, 81, 82), "The search beat random search"),
        ((80, 81, 82), (90, 91, 92), "**The search lost to random search**"),
        ((90, 91, 92), (90, 91, 91), "**The search did not beat random search**"),
        ((90, 90.2), (89,), "without an estimate of noise"),
        ((89,), (90,), "without an estimate of noise"),
        ((90,), (90,), "**The search did not beat random search**"),
    ],
)
def test_a_verdict_is_plain_and_never_claims_more_than_the_seeds_say(search, other, words):
    assert words in verdict([row("search", *search), row("random", *other)])


def test_two_standard_errors_use_each_ones_own_number_of_seeds():
    # spreads sqrt(2) of 2 seeds and 1 of 3: 2 * sqrt(2 / 2 + 1 / 3) = 2.31
    text = verdict([row("search", 90, 92), row("random", 87, 88, 89)])
    assert "two standard errors (2.31)" in text


def test_a_final_training_that_failed_is_named():
    text = verdict([row("search", failures=("the loss is nan",)), row("random", 90)])
    assert "No comparison" in text
    assert "the loss is nan" in text


def test_without_random_search_nothing_is_claimed():
    assert "nothing here says that the search beats it" in verdict([row("search", 90)])
