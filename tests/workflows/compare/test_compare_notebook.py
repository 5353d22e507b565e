"""A comparison in a notebook: the report's numbers and sentences, escaped, pictures, and a row a training."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree

import pytest
from html_page import EVIL, Page
from test_compare_html import comparison

from nas.errors import ConfigError
from nas.report.verdict import interval_text, sentence
from nas.workflows.compare.result import Comparison

SVG = "{http://www.w3.org/2000/svg}"
TABLES = {
    "cifar-short": [[93.1, 93.0, 93.3], [93.0, 93.2, 93.1], [88.2, 88.1, 88.3]],
    "fashion-short": [[91.5, 91.9, 92.2], [91.25, 90.75, 92.5], [87.5, "diverged: nan", 88.0]],
}


@pytest.fixture
def data():
    return comparison(TABLES)


def texts(picture: str) -> list[str]:
    return [text.text or "" for text in ElementTree.fromstring(picture).iter(f"{SVG}text")]


def test_it_has_every_number_and_sentence_of_the_report(data):
    page = Page(data._repr_html_())
    said = page.says()
    assert len(data.differences) == 4
    for row in data.rows:
        assert f"{row.mean:.2f}" in said
        assert interval_text(row.interval) in said
    for difference in data.differences:
        plain = sentence(difference).replace("**", "").replace("`", "")
        assert plain.split(" against ")[0] in said
        assert f"{difference.mean:+.2f}" in said
    assert page.tags["svg"] == len(data.recipes)
    assert len(data._repr_html_()) < 100_000


def test_its_page_may_have_any_color(data):
    text = data._repr_html_()
    assert "#ffffff" not in text
    assert "background" not in text


def test_names_and_reasons_mean_nothing():
    names = (EVIL, "<b>other</b>", "a | `b`")
    page = Page(comparison({"cifar-short": [[90.0, 91.0], [90.5, EVIL], [EVIL, EVIL]]}, names)._repr_html_())
    assert page.tags["script"] == 0
    for name in (*names, "why trainings failed"):
        assert name in page.says()


def test_a_single_seed_and_nothing_at_all_are_shown():
    for tables in ({"cifar-short": [[90.0], [91.0]]}, {"cifar-short": [["diverged: nan"], ["diverged: nan"]]}):
        found = comparison(tables, ("a", "b"))
        assert "a" in Page(found._repr_html_()).says()
    with pytest.raises(ConfigError, match="no network has a score"):
        found.plot()


def test_a_repr_is_one_line(data):
    best = data.rows[0]
    assert repr(data) == f"Comparison(mine, 3 networks x 3 seeds on {data.dataset}, best ours 93.13 %, finished)"
    assert best.name == "ours"
    assert len(repr(comparison(TABLES, ("x" * 400, "y", "z")))) <= 120


def test_its_plots_show_every_network_and_seed(data):
    for recipe in (None, "fashion-short"):
        shown = data.plot(recipe=recipe).to_svg()
        rows = data.rows_of(recipe or "cifar-short")
        assert [text for text in texts(shown) if re.search(r": .* %$", text)] == [
            f"{r.name}: {r.mean:.2f} %" for r in rows
        ]
        clouds = [g for g in ElementTree.fromstring(shown).iter(f"{SVG}g") if g.get("class", "").startswith("cloud")]
        seeds = [len(cloud.findall(f"{SVG}circle")) for cloud in clouds]
        assert seeds == [len({score for score in row.scores if score is not None}) for row in rows]


@pytest.mark.parametrize("against", ["macs", "params", "latency"])
def test_a_plot_against_a_cost_says_what_its_numbers_are(data, against):
    said = " ".join(texts(data.plot(against).to_svg()))
    assert all(f"{number}: {row.name}" in said for number, row in enumerate(data.rows_of("cifar-short"), 1))


def test_an_unknown_cost_or_recipe_is_one_line(data):
    with pytest.raises(ConfigError, match=r"unknown cost 'mac'; did you mean 'macs'"):
        data.plot("mac")
    with pytest.raises(ConfigError, match=r"unknown recipe 'x' \(known: cifar-short, fashion-short\)"):
        data.plot(recipe="x")


def test_a_data_frame_has_a_row_a_training(data):
    pytest.importorskip("pandas")
    frame = data.to_dataframe()
    assert len(frame) == 2 * 3 * 3
    for recipe, table in TABLES.items():
        for name, scores in zip(("ours", "ours/random", "plain"), table, strict=True):
            own = frame[(frame["model"] == name) & (frame["recipe"] == recipe)].sort_values("seed")
            done = [score for score in scores if not isinstance(score, str)]
            assert own["accuracy"].dropna().tolist() == done
            assert own["failure"].dropna().tolist() == [score for score in scores if isinstance(score, str)]
            assert own["seconds"].dropna().tolist() == [12.5] * len(done)
    assert {"params", "macs", "latency_1_ms"} <= set(frame)


def test_what_is_written_is_read_again_and_earlier_files_too(data):
    written = json.loads(json.dumps(data.to_json()))
    assert Comparison.from_json(written).to_json() == data.to_json()
    for row in written["rows"]:
        del row["training_seconds"]
    earlier = Comparison.from_json(written)
    assert "training_seconds" not in earlier.to_json()["rows"][0]
    assert earlier.to_dataframe()["seconds"].isna().all()
