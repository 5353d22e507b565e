"""What a comparison says of chance, of its test images and of its reads, and the learning curves that it draws."""

from __future__ import annotations

import shlex

import numpy as np
import pytest
from html_page import Page
from test_compare_html import comparison

from nas.cli.main import build_parser
from nas.report.statistics import accuracy_interval, seeds_needed, wilson_interval
from nas.workflows.compare import html_report
from nas.workflows.compare.outputs import comparison_text
from nas.workflows.compare.result import Comparison, LossCurve
from nas.workflows.compare.wording import at_chance, how_trained, next_steps

COUNTS = {"classes": 10, "test": 359, "test_commonest": 37}


def seen(tables, **more):
    found = comparison(tables)
    return Comparison.from_json({**found.to_json(), "images": COUNTS, **more})


@pytest.mark.parametrize(
    ("scores", "words"),
    [
        ([[10.3, 9.7], [10.1, 11.4], [9.0, 9.5]], "Nothing was learned"),
        ([[10.3, 9.7], [10.1, 11.4], [90.0, 91.0]], "Most networks learned nothing**: 2 of 3"),
        ([[10.3, 9.7], [80.1, 81.4], [90.0, 91.0]], ""),
    ],
)
def test_networks_at_chance_are_told_first(scores, words):
    data = seen({"proxy": scores})
    found = at_chance(data)
    assert (found is not None and words in found.text) == bool(words)
    page, text = Page(html_report.comparison_html(data)).says(), comparison_text(data)
    assert "chance level, 10.31 %" in page
    for told in (page, text):
        assert ("learned nothing" in told or "Nothing was learned" in told) == bool(words)
    assert ("--epochs 28" in page) == bool(words)
    assert at_chance(comparison({"proxy": scores})) is None  # without the number of images nothing is claimed


def test_intervals_stay_within_100_percent():
    data = comparison({"proxy": [[99.4, 100.0, 99.9], [0.0, 0.2, 0.1], [90.0, 91.0, 92.0]]})
    assert all(0 <= row.interval.low <= row.mean <= row.interval.high <= 100 for row in data.rows)
    assert data.rows[0].interval == accuracy_interval([99.4, 100.0, 99.9])
    assert all(-100 <= d.interval.low <= d.interval.high <= 100 for d in data.differences)


def test_a_second_read_of_a_training_is_told():
    data = seen({"proxy": [[90.0], [91.0], [92.0]]})
    assert (data.trainings, data.test_reads) == (3, 3)
    assert "and tested once each; test scores read: 3." in how_trained(data)
    again = seen({"proxy": [[90.0], [91.0], [92.0]]}, test_reads=4)
    assert "4 reads of the test split are counted for 3 trainings" in how_trained(again)
    old = seen({"proxy": [[90.0], [91.0], [92.0]]}, trainings=0)
    assert "tested once each; test scores read: 3" in how_trained(old)


def test_a_comparison_draws_the_curves_of_its_trainings():
    curves = [LossCurve("ours", "proxy", number, [[1, 2.0], [7, 0.5 + number]]) for number in range(2)]
    data = seen({"proxy": [[90.0, 91.0], [91.0, 91.5], [92.0, 92.5]]}, curves=[vars(curve) for curve in curves])
    assert data.curves == curves
    said = Page(html_report.comparison_html(data)).says()
    assert "Training loss by epoch" in said
    assert "ours: 2 seeds, 0.5 to 1.5 in the end" in said


def test_a_single_seed_has_wilsons_interval():
    from dataclasses import replace

    row = seen({"proxy": [[90.0], [91.0], [92.0]]}).rows[0]
    ends = accuracy_interval([row.mean], 359)
    assert ends == wilson_interval(330, 359)
    data = seen({"proxy": [[90.0], [91.0], [92.0]]})
    data = replace(data, rows=[replace(r, interval=accuracy_interval([r.mean], 359)) for r in data.rows])
    said = Page(html_report.comparison_html(data)).says()
    assert "Wilson's for the test images" in said
    assert f"{ends.low:.2f} to {ends.high:.2f}" in said


def test_an_undecided_comparison_says_how_many_seeds_it_needs():
    data = seen({"proxy": [[90.0, 91.0, 92.5], [91.0, 90.5, 92.0], [89.0, 91.0, 91.0]]})
    (step,) = next_steps(data)
    seeds = seeds_needed(-5 / 6, np.std([-1.0, 0.0, -1.5], ddof=1), 0.05 / 2)
    assert "plain against ours is undecided (-0.83 points)" in step.text
    assert f"--seeds {seeds} " in step.command
    (alone,) = next_steps(seen({"proxy": [[90.0], [91.0], [92.0]]}))
    for command in (step.command, alone.command):
        parser, known = build_parser()
        words = shlex.split(command)[1:]
        known["compare"].check_flags(words)
        assert int(parser.parse_args(words).seeds) >= 5
    (resume,) = next_steps(comparison({"proxy": [[90.0], [91.0], [92.0]]}, reason="interrupted"))
    assert resume.command == "nas resume mine"
