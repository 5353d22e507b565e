"""Charts: places, ticks, thinning, and SVG that says what it shows."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.report.html.charts import Chart, linear_axis, log_axis, short, strip, thinned

NUMBERS = st.floats(-1e9, 1e9).filter(lambda v: v == 0 or abs(v) > 1e-6)


def elements(svg):
    return list(ElementTree.fromstring(svg).iter())


@given(st.lists(NUMBERS, min_size=1, max_size=30), st.booleans())
def test_an_axis_holds_its_values_and_has_few_ticks_that_all_differ(values, robust):
    axis = linear_axis(values, "reward", robust=robust)
    assert axis.low < axis.high >= max(values)
    assert all(0 <= axis.at(v) <= 1 for v in values)
    assert 2 <= len(axis.ticks) <= 8
    assert len({text for _, text in axis.ticks}) == len(axis.ticks)
    assert all(axis.low <= tick * (1 + 1e-12 * math.copysign(1, tick)) or tick == 0 for tick, _ in axis.ticks)


@given(st.lists(st.floats(1e-3, 1e12), min_size=1, max_size=30))
def test_a_logarithmic_axis_holds_its_values_and_has_few_ticks(values):
    axis = log_axis(values, "MACs")
    assert all(0 < axis.at(v) < 1 for v in values)
    assert 1 <= len(axis.ticks) <= 8
    assert all(axis.low <= tick <= axis.high for tick, _ in axis.ticks)


def test_equal_factors_are_equal_ways_on_a_logarithmic_axis():
    axis = log_axis([1e6, 1e8], "MACs")
    assert axis.at(1e7) - axis.at(1e6) == pytest.approx(axis.at(1e8) - axis.at(1e7))
    assert (1e7, "10 M") in axis.ticks


def test_far_outliers_stand_at_the_edge_of_a_robust_axis():
    values = [10.0, *(80 + i / 10 for i in range(40))]
    axis = linear_axis(values, "accuracy", robust=True)
    assert axis.low > 70
    assert axis.at(10.0) == 0
    assert linear_axis(values, "accuracy").low < 10


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (950, "950"), (1_073_466, "1.07 M"), (153_272_960, "153 M"), (999_999, "1 M"), (2.5e9, "2.5 G")],
)
def test_numbers_are_short(value, text):
    assert short(value) == text


def test_a_cloud_of_ten_thousand_dots_stays_small_and_keeps_its_shape():
    points = [(1e6 + i, 50 + 40 * math.sin(i)) for i in range(10_000)]
    chart = Chart(log_axis([x for x, _ in points], "MACs"), linear_axis([y for _, y in points], "reward"))
    kept = thinned(points, chart.x, chart.y)
    assert len(kept) <= 800
    assert set(kept) <= set(points)
    assert min(y for _, y in kept) < 12
    assert max(y for _, y in kept) > 88
    assert len(chart.cloud(points, "search").svg("trials")) < 60_000


def test_a_step_line_keeps_each_value_until_the_next():
    axis = linear_axis([0, 4], "x")
    svg = Chart(axis, axis).steps([(1, 1), (2, 1), (3, 2)], "search", "best", end=4).svg("t")
    line = next(e for e in elements(svg) if e.get("class") == "line search")
    places = [tuple(float(e.get(k)[:-1]) for k in ("x1", "x2", "y1", "y2")) for e in line.findall("line")]
    xs = [round(100 * axis.at(v), 2) for v in (1, 2, 3, 4)]
    assert [(x1, x2) for x1, x2, _, _ in places if x1 != x2] == [(xs[0], xs[2]), (xs[2], xs[3])]
    assert all(x1 == x2 or y1 == y2 for x1, x2, y1, y2 in places)


def test_what_a_chart_says_is_escaped():
    axis = linear_axis([0, 1], "<script>&")
    svg = Chart(axis, axis).dot((0, 1), "search", 3, "<b>\"'").svg('"<script>alert(1)</script>')
    found = elements(svg)
    assert "<script" not in svg
    assert found[0].get("aria-label") == '"<script>alert(1)</script>'
    assert {e.text for e in found if e.get("class", "").startswith("name")} == {"<script>&"}
    assert "<b>\"'" in [e.text for e in found]


def test_a_strip_shows_every_seed_the_mean_and_the_interval():
    svg = strip(linear_axis([0, 10], "x"), [2.0, 4.0], (1.0, 5.0), "search", "two seeds")
    kinds = [e.get("class") for e in elements(svg)]
    assert kinds.count("seed") == 2
    assert kinds.count("mean") == kinds.count("bar") == 1
