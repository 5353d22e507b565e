"""What notebooks show: whole HTML in which nothing from outside means anything, reprs of one line, data frames."""

from __future__ import annotations

import builtins
from dataclasses import dataclass, make_dataclass

import pytest
from html_page import EVIL, Page

from nas.core.notebook import MOST_ROWS, dataframe, facts, heading, table, unfolding
from nas.core.values import SHORT, Shortened, spelled
from nas.errors import ConfigError


@dataclass(frozen=True, repr=False)
class Long(Shortened):
    """A value of many parts."""

    parts: tuple[object, ...]
    name: str = "a"

    def short(self) -> str:
        return f"Long({self.name}, {len(self.parts)} parts)"


def test_text_from_outside_is_shown_and_means_nothing():
    rows = [(EVIL, 1), ('"><img src=x onerror=alert(1)>', None)]
    page = Page(
        heading(EVIL) + table((EVIL, "n"), rows) + facts({EVIL: EVIL, "none": None}) + unfolding(EVIL, "<p></p>")
    )
    assert page.tags["script"] == page.tags["img"] == 0
    assert page.says().count("<script>alert('1')</script> & more") == 6
    assert "none" not in page.says()


def test_a_table_has_a_color_of_its_own_nowhere_and_scrolls_where_it_is_wide():
    text = table(("name", "number"), [("a", 1), ("b", 1_234_567)])
    assert "color" not in text
    assert "background" not in text
    assert "overflow-x:auto" in text
    assert "1,234,567" in text


def test_numbers_are_at_the_right_and_all_else_is_at_the_left():
    page = Page(table(("a", "b", "c"), [("x", 1, 0.5), ("1", None, 2.0)]))
    aligned = [value.partition(";")[0] for tag, name, value in page.attributes if tag == "td" and name == "style"]
    assert aligned == ["text-align:left", "text-align:right", "text-align:right"] * 2


def test_a_long_table_says_how_many_rows_are_left_out():
    page = Page(table(("n",), [(i,) for i in range(MOST_ROWS + 7)]))
    assert page.tags["tr"] == 1 + MOST_ROWS + 1
    assert "and 7 more" in page.says()
    assert len(table((), [("x" * 1_000_000,)])) < 1_000


def test_a_repr_is_one_short_line_whatever_the_value_holds():
    assert repr(Long((1, 2))) == "Long(a, 2 parts)"
    shown = repr(Long((), "line\n" * 1_000))
    assert len(shown) <= SHORT
    assert shown.isprintable()


def test_what_is_spelled_is_what_python_generates_for_the_same_class():
    plain = make_dataclass("Long", [("parts", tuple), ("name", str, "a")], frozen=True)
    for parts in ((), (1, "b"), (1.5, (2, [3, {"c": None}]))):
        assert spelled(Long(parts)) == repr(plain(parts))
    # also where it is inside something else, and no longer than it is asked for
    inside = [{"x": (Long((Long(()),)),)}]
    assert spelled(inside) == repr([{"x": (plain((plain(()),)),)}])
    assert repr(inside) == "[{'x': (Long(a, 1 parts),)}]"


def test_a_value_that_cannot_be_spelled_leaves_reprs_short():
    class Broken:
        def __repr__(self) -> str:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        spelled(Long((Broken(),)))
    assert repr(Long(())) == "Long(a, 0 parts)"


def test_without_pandas_one_line_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def absent(name, *rest, **named):
        if name == "pandas":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ConfigError, match=r"^to_dataframe\(\) needs pandas: python -m pip install pandas$"):
        dataframe([], "to_dataframe()")
