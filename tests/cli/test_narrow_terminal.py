"""A terminal of 80 columns shows whole words and whole tables."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from nas.cli.terminal import _fitting, note, show_rows

PROSE = "the winner against random search's best and a ResNet of about its size: 3 networks x 2 seeds x 2 epochs"


@pytest.fixture
def terminal(monkeypatch):
    """What is printed goes to a terminal of 80 columns."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")


def lines_of(printed: str) -> list[str]:
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in printed.splitlines()]


def test_prose_is_broken_between_words(terminal, capsys):
    note(PROSE)
    lines = lines_of(capsys.readouterr().err)
    assert len(lines) == 2
    assert " ".join(line.strip() for line in lines) == PROSE


def test_a_log_has_prose_in_one_line(capsys):
    note(PROSE)
    assert capsys.readouterr().err == f"{PROSE}\n"


def test_a_wide_table_is_printed_as_several_with_the_same_first_column(terminal, capsys):
    head = ["network", *(f"column {i}" for i in range(14))]
    rows = [["resnet20_cifar", *(f"{i}.125" for i in range(14))], ["found", *(f"{i}.5" for i in range(14))]]
    show_rows(head, rows)
    lines = lines_of(capsys.readouterr().out)
    assert max(map(len, lines)) <= 80
    for cell in [*head[1:], *rows[0][1:], *rows[1][1:]]:
        assert sum(cell in re.split(r"\s*[│┃]\s*", line) for line in lines) == 1
    assert sum("resnet20_cifar" in line for line in lines) == sum("network" in line for line in lines) >= 2


@given(st.lists(st.integers(1, 60), min_size=1, max_size=12), st.integers(20, 120))
@settings(max_examples=50, deadline=None)
def test_no_column_is_lost_and_a_table_is_too_wide_only_for_two_columns(widths, width):
    console = Console(width=width, force_terminal=True)
    table = Table(*("x" * wide for wide in widths))
    table.add_row(*map(str, range(len(widths))))
    parts = list(_fitting(table, console))
    found = [cell for part in parts for column in part.columns[1:] for cell in column.cells]
    assert found == [str(i) for i in range(1, len(widths))]
    wide = console.options.update(width=10_000)
    assert all(len(part.columns) <= 2 or console.measure(part, options=wide).maximum <= width for part in parts)
