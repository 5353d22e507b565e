"""Whatever a trial says or measures, its run has a journal that every tool reads, and reports that show it as text."""

from __future__ import annotations

import csv
import json
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser

import pytest
from command import QUICK, SOURCE, nas, write_plugin
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_html import asked, done, write_run

from nas.report.write import write_outputs
from nas.runs.journal import Journal, asked_event, outcome_event, read, result_of
from nas.types import Architecture, Failure, Metrics, Outcome, Proposal, Trial

ANY_TEXT = st.text(st.characters(codec=None, exclude_categories=()), max_size=60)
ANY_NUMBER = st.floats(allow_nan=False, allow_infinity=False)
HOSTILE = r"""\ud800 | <b>x</b> `a` \x1b[31mred \x00 \u202e [x](http://e) #1
# head <script>alert(1)</script>"""


def search(folder, *bodies):
    """Search with an evaluator whose trials do one of ``bodies`` each, and end with 5 more."""
    lines = ["from nas.types import Metrics"]
    for index, body in enumerate(bodies):
        lines += [f"if job.index == {index}:", *(f"    {line}" for line in body.splitlines())]
    write_plugin(folder / "plug.py", "\n".join(lines))
    return nas(folder, "search", "--name=r", f"--trials={len(bodies) + 5}", "--plugin=plug.py", *QUICK)


def shown_rows(folder):
    """Return the rows of the Markdown report's table of failures, less the bars between cells."""
    text = (folder / "report.md").read_text()
    return [line for line in text.splitlines() if line.startswith("| 1 | error")]


@pytest.mark.long
@pytest.mark.parametrize(
    "body",
    [
        r"raise ValueError('\ud800')",
        "return Metrics(0.5, notes={'damaged': ['a'], 'trained_on': 1, 'not_applied': 2})",
        "return Metrics(0.5, {'a\\nb\\ud800': 1.0}, notes={'\\ud800': ['\\ud801']})",
    ],
)
def test_no_value_of_a_trial_takes_a_run_its_report(tmp_path, body):
    ended = search(tmp_path, "return 0.25", body, r"open(b'/missing/\xff')")
    assert ended.returncode == 0, ended.stderr
    for name in ("report.md", "report.html", "trials.csv", "summary.json"):
        (tmp_path / "results" / "r" / name).read_text(encoding="utf-8")
    # every line is JSON for strict readers too: no escape of half a character
    assert "\\ud8" not in (tmp_path / "results" / "r" / "journal.jsonl").read_text().replace("\\\\ud8", "")
    again = nas(tmp_path, "report", "r")
    assert again.returncode == 0, again.stderr


@pytest.mark.long
def test_a_figure_that_cannot_be_drawn_is_left_out_with_its_reason(tmp_path):
    ended = search(tmp_path, "return 1.7e308", "return -1.7e308", "return 5e-324")
    assert ended.returncode == 0, ended.stderr
    for name in ("report.md", "report.html"):
        text = (tmp_path / "results" / "r" / name).read_text()
        assert "is left out: values from -1.7e+308 to 1.7e+308 are too far apart for an axis." in text
    assert ended.stderr.count("is left out") == 0
    assert ended.stderr.count("warning: figure 'progress' of run 'r': values from") == 1


@pytest.mark.long
def test_what_is_over_a_limit_is_a_typed_failure_that_names_it(tmp_path):
    cases = {
        "return Metrics(1.0, seconds=-1.0)": "metric 'seconds' is -1.0; it must be at least 0",
        "return Metrics(1.0, {'': 1.0})": "metric '' has 0 characters; a name has 1 to 100 characters",
        "return Metrics(1.0, {'a' * 5000: 1.0})": "has 5,000 characters; a name has 1 to 100 characters",
        "return Metrics(1.0, notes={'a': 'b' * 2_000_000})": "it has more than 1,048,576 characters",
        "n = []\nfor _ in range(5000): n = [n]\nreturn Metrics(1.0, notes={'a': n})": "deeper than 100 levels",
        "n = []\nfor _ in range(110): n = [n]\nreturn Metrics(1.0, notes={'a': n})": "at most 100 levels",
        "n = []\nn.append(n)\nreturn Metrics(1.0, notes={'a': n})": "notes must be plain JSON",
        "raise ValueError('x' * 10_000)": "10,000 characters",
    }
    ended = search(tmp_path, *cases)
    assert ended.returncode == 0, ended.stderr
    events = read(tmp_path / "results" / "r" / "journal.jsonl")
    messages = {event["index"]: event["message"] for event in events if event["event"] == "failed"}
    assert list(messages) == list(range(len(cases)))
    for message, expected in zip(messages.values(), cases.values(), strict=True):
        assert expected in message
        assert len(message) <= 2_000


@pytest.mark.long
def test_the_notes_of_ones_own_evaluator_are_kept_and_mean_nothing_to_the_report(tmp_path):
    notes = {"damaged": {"count": 3, "first": ["a.png"]}, "trained_on": {"device": "moon", "switches": []}, "role": "x"}
    ended = search(tmp_path, f"return Metrics(0.5, notes={notes!r})")
    assert ended.returncode == 0, ended.stderr
    events = read(tmp_path / "results" / "r" / "journal.jsonl")
    assert next(event["notes"] for event in events if event["event"] == "done") == notes
    report = (tmp_path / "results" / "r" / "report.md").read_text()
    assert "a.png" not in report
    assert "moon" not in report
    summary = json.loads((tmp_path / "results" / "r" / "summary.json").read_text())
    assert summary["damaged_images"] == 0


def test_a_journal_of_an_earlier_version_with_seconds_below_zero_is_reported(tmp_path):
    values = {"": 1.0, "a" * 300: 2.0}
    events = [asked(0), done(0, 0.5, seconds=-5.0, simulated=True, values=values), asked(1), done(1, 0.6)]
    write_outputs(write_run(tmp_path / "old", events))


class _Page(HTMLParser):
    """Collects elements and text of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.text = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.long
def test_messages_reach_terminal_and_reports_as_text_alone(tmp_path):
    ended = search(tmp_path, f"raise ValueError('''{HOSTILE}''')")
    assert ended.returncode == 0, ended.stderr
    status = nas(tmp_path, "status", "r")
    folder = tmp_path / "results" / "r"
    shown = [
        ended.stdout,
        ended.stderr,
        status.stdout,
        *((folder / n).read_text() for n in ("report.md", "trials.csv")),
    ]
    for text in shown:
        assert not any(mark in text for mark in "\x1b\x00\u202e\ud800")
    # one row of the table, nothing in it that is mark-up or HTML
    (row,) = shown_rows(folder)
    cell = row.removeprefix("| 1 | error | ").removesuffix(" |")
    assert cell.startswith(r"ValueError: \\ud800 \| \<b\>x\</b\> \`a\` \\x1b\[31mred \\x00 \\u202e \[x\](http://e)")
    assert r"\<script\>" in cell
    # the page shows the same
    page = _Page()
    page.feed((folder / "report.html").read_text())
    assert "script" not in page.tags
    assert any(r"\x1b[31mred \x00 \u202e [x](http://e) #1 # head <script>" in text for text in page.text)


@pytest.mark.long
def test_names_and_messages_are_no_formulas_of_a_spreadsheet(tmp_path):
    body = (
        "from nas.types import Metrics\nreturn Metrics(-0.5, {'=cmd()': -1.5, '@x': 1.0, '\\t+1': 2.0, 'plain': 3.0})"
    )
    ended = search(tmp_path, body)
    assert ended.returncode == 0, ended.stderr
    with (tmp_path / "results" / "r" / "trials.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert not [cell for cell in head if cell.lstrip().startswith(("=", "+", "-", "@"))]
    assert {"'=cmd()", "'@x", "plain"} < set(head)
    assert rows[0][head.index("reward")] == "-0.5"
    assert rows[0][head.index("'=cmd()")] == "-1.5"


@pytest.mark.long
@pytest.mark.skipif(SOURCE.name == "base", reason="the law is of what is new")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(ANY_TEXT, st.tuples(ANY_NUMBER, ANY_NUMBER, ANY_TEXT)), min_size=1, max_size=8))
def test_any_text_and_any_finite_number_pass_from_a_trial_to_every_report(tmp_path_factory, results):
    folder = tmp_path_factory.mktemp("runs") / "run"
    write_run(folder)
    journal, _, _ = Journal.open(folder / "journal.jsonl")
    for index, found in enumerate(results):
        architecture = Architecture.from_json(asked(index)["architecture"])
        journal.append([asked_event(Trial(index, Proposal(architecture, 1), f"{index:032x}", params=10, macs=10))])
        if isinstance(found, str):
            result = Failure("error", found)
        else:
            reward, value, text = found
            result = Metrics(reward, {(text or "x")[:100]: value}, notes={text: text})
        event = outcome_event(Outcome(index, result, 0.1))
        journal.append([event])
        assert result_of(json.loads(json.dumps(event))) == (
            result if isinstance(found, str) else Metrics(result.reward, result.values)
        )
    journal.close()
    write_outputs(folder)
    for name in ("report.md", "report.html", "trials.csv", "summary.json"):
        text = (folder / name).read_text(encoding="utf-8")
        assert all(c.isprintable() or c in "\n\t\u200c\u200d\u00a0" for c in text)
    for path in (folder / "figures").glob("*.svg"):
        ElementTree.parse(path)
    with (folder / "trials.csv").open(newline="") as file:
        assert len(list(csv.reader(file))) == len(results) + 1
