"""The published numbers: every row has a source, and sizes that name a network of ours agree with its graph."""

from __future__ import annotations

import pytest

from nas.errors import ConfigError
from nas.graph import cost
from nas.report import published_results as reference
from nas.space.networks import NETWORKS

ROWS = [
    pytest.param(name, row, id=f"{name}: {row['network']}")
    for name in reference.table_names()
    for row in reference.rows(name)
]
SIZED = [case for case in ROWS if case.values[1]["ours"] and (case.values[1]["params"] or case.values[1]["macs"])]


def test_there_are_three_tables():
    assert reference.table_names() == ["cifar10", "imagenet", "imagenet_mobile"] == sorted(reference.TITLES)
    assert [len(reference.rows(name)) for name in reference.table_names()] == [25, 58, 12]


@pytest.mark.parametrize(("name", "row"), ROWS)
def test_a_row_has_a_name_a_source_and_something_to_compare(name, row):
    assert row["network"]
    assert row["source"]
    assert row["published"] is True
    assert any(row.get(column) is not None for column in ("top1_accuracy", "top5_accuracy", "params", "macs"))
    for column in ("top1_accuracy", "top5_accuracy"):
        assert row.get(column) is None or 50 < row[column] < 100
    assert row["ours"] is None or row["ours"] in NETWORKS


@pytest.mark.parametrize(("name", "row"), SIZED)
def test_sizes_agree_with_our_graphs_or_the_row_says_that_they_differ(name, row):
    info, size = NETWORKS[row["ours"]], row.get("input_size")
    shape = (3, int(size), int(size)) if size else info.input_shape
    total = cost(info.build(shape))
    agree = [
        reference.printed(row[f"{column}_printed"]).agrees(exact)
        for column, exact in (("params", total.params), ("macs", total.macs))
        if row[f"{column}_printed"]
    ]
    assert all(agree) != str(row["remark"]).startswith("differs"), f"{total.params:,} {total.macs:,}"


def test_names_are_unique_in_a_table():
    for name in reference.table_names():
        networks = [row["network"] for row in reference.rows(name)]
        assert len(set(networks)) == len(networks)


@pytest.mark.parametrize(
    ("name", "network", "column", "value"),
    [
        ("imagenet", "EfficientNet-B7", "top1_accuracy", 84.3),
        ("imagenet", "ResNet-50", "macs", 4_089_184_256),
        ("imagenet_mobile", "NASNet-A", "macs", 564e6),
        ("imagenet_mobile", "P-DARTS", "top5_accuracy", 92.6),
        ("cifar10", "PC-DARTS", "top1_accuracy", 97.43),
        ("cifar10", "AmoebaNet-A", "gpu_days", 3150),
    ],
)
def test_numbers_are_numbers(name, network, column, value):
    (row,) = (row for row in reference.rows(name) if row["network"] == network)
    assert row[column] == value


def test_the_mobile_setting_is_kept():
    assert all(row["macs"] <= 600e6 for row in reference.rows("imagenet_mobile"))


@pytest.mark.parametrize(
    ("text", "value", "low", "high"),
    [
        ("5.3M", 5.3e6, 5_250_000, 5_350_000),
        ("0.39G", 3.9e8, 385e6, 395e6),
        ("25,557,032", 25_557_032, 25_557_032, None),
    ],
)
def test_a_printed_figure_stands_for_what_rounds_to_it(text, value, low, high):
    found = reference.printed(text)
    assert found.value == pytest.approx(value)
    assert found.agrees(low)
    assert found.agrees(high or low)
    assert not found.agrees(low - 1000)


def test_wrong_names_and_figures_are_refused():
    with pytest.raises(ConfigError, match="did you mean 'imagenet'"):
        reference.rows("imagnet")
    with pytest.raises(ConfigError, match="found 'many'"):
        reference.printed("many")


def test_tables_belong_to_their_datasets():
    assert reference.fitting("cifar10", (3, 32, 32), 10) == ["cifar10"]
    assert reference.fitting("folder", (3, 224, 224), 1000) == ["imagenet", "imagenet_mobile"]
    assert reference.fitting("digits", (1, 8, 8), 10) == []
