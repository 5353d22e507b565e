"""Bubbles in pictures of accuracy against cost, against plain definitions."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.report.html.charts import CLOSE, WIDEST, radius_of, shifts
from nas.report.html.page import marked


@given(st.lists(st.floats(0, 1), max_size=30))
def test_neighbours_stand_apart_in_their_order_and_not_too_far(places):
    moved = shifts(places)
    assert all(abs(shift) <= WIDEST / 2 for shift in moved)
    for (a, by), (b, other) in pairwise(sorted(zip(places, moved, strict=True))):
        assert by < other or b - a >= CLOSE


def test_areas_tell_sizes():
    radius = radius_of([100, 400, None], 10)
    assert (radius(400), radius(100)) == (10, 5)
    assert radius(None) == radius(1) == 2.5
    assert radius_of([], 8)(3) == 4


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("a **b** `c<`", "a <strong>b</strong> <code>c&lt;</code>"),
        ("<i>**", "&lt;i&gt;**"),
        ("**<b>** & `", "<strong>&lt;b&gt;</strong> &amp; `"),
    ],
)
def test_bold_and_code_are_all_that_is_read_of_a_line(line, text):
    assert marked(line) == text
