"""The pictures of report.md: files that need nothing else, whose words are text and fit."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_html import asked, done, run, write_run

from nas.graph.drawing.svg import text_width
from nas.report.figures import FONT, WIDTH, draw_figures, standalone
from nas.report.html.charts import Chart, Figure, linear_axis
from nas.report.html.search_figures import cost_figures, progress_figures
from nas.report.run_view import load_view
from nas.report.write import write_outputs

__all__ = ["run"]
SVG = "{http://www.w3.org/2000/svg}"
AXIS = linear_axis([0, 1], "x")


def texts(root):
    return ["".join(e.itertext()) for e in root.iter(f"{SVG}text")]


def test_the_report_shows_the_charts_of_the_page_as_files(run):
    (run / "figures").mkdir()
    (run / "figures" / "progress.png").write_bytes(b"a picture of an earlier version")
    (run / "figures" / "mine.png").write_bytes(b"not ours")
    write_outputs(run)
    names = ("progress.svg", "cost.svg")
    assert {path.name for path in (run / "figures").iterdir()} == {*names, "mine.png"}
    view, report = load_view(run), (run / "report.md").read_text()
    for name, figure in zip(names, (progress_figures(view)[0], cost_figures(view)[0]), strict=True):
        assert f"![figures/{name}](figures/{name})" in report
        text = (run / "figures" / name).read_text()
        assert all(mark in text for mark in figure.chart.marks)
        shown = texts(ElementTree.fromstring(text))
        assert all(words in shown for words in (figure.heading, figure.chart.x.label, figure.chart.y.label))
        assert all(words in " ".join(shown) for _, words in figure.legend)


def test_a_file_brings_its_paper_and_plain_colours_and_loads_nothing(run):
    write_outputs(run)
    for path in (run / "figures").iterdir():
        text = path.read_text()
        root = ElementTree.fromstring(text)
        assert root.find(f"{SVG}rect").attrib["fill"] == "#ffffff"
        style = root.find(f"{SVG}style").text
        assert FONT in style
        assert not re.search(r"var\(|--|url\(|@import|http", style)
        assert not re.search(r"<(script|image|use|foreignObject)", text)


def test_a_run_without_a_score_has_no_figures(tmp_path):
    view = load_view(write_run(tmp_path / "new", [asked(0)]))
    assert draw_figures(view, view.folder / "figures") == []
    assert not (view.folder / "figures").exists()
    costless = [{**asked(0), "params": None, "macs": None}, done(0, 1.0)]
    view = load_view(write_run(tmp_path / "costless", costless))
    assert draw_figures(view, view.folder / "figures") == ["figures/progress.svg"]


WORDS = st.lists(st.text("abcde mW<&", min_size=1, max_size=40), max_size=20).map(" ".join)


@given(WORDS, WORDS, st.integers(0, 8))
def test_words_stay_on_the_paper_one_line_below_the_other(words, note, count):
    figure = Figure("heading", Chart(AXIS, AXIS), 'title <&">', (("line search", words),) * count, note)
    root = ElementTree.fromstring(standalone(figure))
    lines = [e for e in root.findall(f"{SVG}text") if e.get("class") == "words"]
    places = [float(e.get("y")) for e in lines]
    assert places == sorted(set(places))
    assert max(places, default=0) < float(root.get("height"))
    assert " ".join(e.text or "" for e in lines).split() == ((words + " ") * count + note).split()


def test_a_full_line_is_not_wider_than_the_paper():
    text = "The larger a bubble's area, the more parameters; numbers are those of the table, and test accuracy. " * 3
    root = ElementTree.fromstring(standalone(Figure("h", Chart(AXIS, AXIS), "t", (), text)))
    widths = [text_width(e.text, 12) for e in root.findall(f"{SVG}text") if e.get("class") == "words"]
    assert max(widths) < WIDTH - 40


@pytest.mark.parametrize("name", ["search", "random", "handcrafted", "front"])
def test_every_arm_has_its_colour(name):
    style = standalone(Figure("h", Chart(AXIS, AXIS), "t"))
    assert re.search(rf"\.{name} {{ color: #[0-9a-f]{{6}}; }}", style)
