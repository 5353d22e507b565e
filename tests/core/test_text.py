"""Text from outside: printable anywhere, whole for programs that read it."""

from __future__ import annotations

import csv
import io
import os
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.core.informing import informing
from nas.core.text import csv_text, printable, quoted
from nas.core.values import NESTING, plain
from nas.errors import LINE_LIMIT, one_line, unknown

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()))


@given(ANY_TEXT, st.none() | st.integers(40, 100))
def test_printable_text_is_one_line_of_unicode_within_its_limit_and_stays_as_it_is(text, limit):
    shown = printable(text, limit)
    shown.encode()
    assert all(character.isprintable() or character in "\u200c\u200d" for character in shown)
    assert limit is None or len(shown) <= limit
    assert printable(shown, limit) == shown
    if text.isprintable() and limit is None:
        assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc\r\x0bd\u2028e", "a b c  d e"),
        ("\x1b[31m", r"\x1b[31m"),
        ("\x00\x7f\x9b", r"\x00\x7f\x9b"),
        ("\u202eabc\u2066", r"\u202eabc\u2066"),
        ("\ud800", r"\ud800"),
        (os.fsdecode(b"caf\xe9"), r"caf\xe9"),
        ("café 日本", "café 日本"),
    ],
)
def test_what_is_no_character_becomes_an_escape(text, shown):
    assert printable(text) == shown


def test_a_cut_keeps_both_ends_and_tells_how_long_the_text_was():
    shown = printable("begin" + "x" * 9_990 + "end", 60)
    assert len(shown) <= 60
    assert shown.startswith("begin")
    assert shown.endswith("end")
    assert " 9,998 characters " in shown


@given(st.lists(st.lists(ANY_TEXT | st.floats(allow_nan=False) | st.integers(), min_size=1, max_size=4), max_size=4))
def test_cells_of_text_are_no_formulas_and_numbers_stay(rows):
    read = list(csv.reader(io.StringIO(csv_text(rows))))
    for before, after in zip(rows, read, strict=True):
        for value, cell in zip(before, after, strict=True) if after else ():
            if isinstance(value, str):
                assert not cell.lstrip().startswith(("=", "+", "-", "@"))
            else:
                assert type(value)(cell) == value


@given(st.binary(min_size=1).filter(lambda name: b"\0" not in name).map(os.fsdecode))
def test_a_quoted_word_is_what_a_shell_reads(word):
    assert quoted(word).isprintable()
    said = subprocess.run(["bash", "-c", f"printf %s {quoted(word)}"], capture_output=True, check=True).stdout
    assert said == os.fsencode(word)


@pytest.mark.long
@given(
    st.dictionaries(
        ANY_TEXT, st.recursive(ANY_TEXT | st.integers(-(10**9), 10**9), lambda x: st.lists(x, max_size=3), max_leaves=6)
    )
)
def test_plain_data_is_what_json_holds_in_every_encoding(data):
    found = plain(data)
    assert plain(found) == found
    str(found).encode()


def test_data_that_is_nested_as_deep_as_allowed_is_plain():
    deep = []
    for _ in range(NESTING - 2):
        deep = [deep]
    assert plain({"a": deep}) == {"a": deep}
    with pytest.raises(ValueError, match=f"at most {NESTING} levels"):
        plain({"a": [deep]})
    assert plain({"a": "[" * 1_000}) == {"a": "[" * 1_000}


def test_an_unknown_name_is_never_offered_as_itself():
    assert "did you mean" not in unknown("run", "s1", ["s1"])
    assert r"which is '\u04551'; did you mean 's1'?" in unknown("run", "\u04551", ["s1"])
    long = unknown("run", "x" * 10_000, [f"run-{i}" for i in range(30)])
    assert len(long) <= LINE_LIMIT


def test_what_informs_may_fail_and_is_told_of_once(caplog):
    for _ in range(2):
        with informing("file 'x'") as attempt:
            raise OSError(28, "No space left on device")
        assert "No space left" in attempt.problem
    assert [record.getMessage() for record in caplog.records] == [
        "warning: file 'x': [Errno 28] No space left on device; the work goes on without it"
    ]
    with pytest.raises(KeyError), informing("file 'x'"):
        raise KeyError("a fault of the program")


def test_the_message_of_an_error_is_one_line():
    assert one_line(ValueError("a\n b\ud800")) == r"a b\ud800"
    assert one_line(ValueError()) == "ValueError"
