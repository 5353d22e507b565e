"""The HTML report of a comparison: whole, escaped, true to ``compare.json``, and honest about what few seeds tell."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from html_page import CHROMIUM, EVIL, Page, check_alone, console

from nas.cli.main import main
from nas.graph import Flatten, GraphBuilder, Linear
from nas.report.published_results import TITLES, rows
from nas.report.verdict import sentence
from nas.runs.journal import read
from nas.workflows.command_words import comparison_command
from nas.workflows.compare.html_report import comparison_html
from nas.workflows.compare.outputs import write_comparison
from nas.workflows.compare.result import Comparison, PublishedTable, result
from nas.workflows.compare.settings import settings_from
from nas.workflows.compare.view import CompareView, fold
from nas.workflows.compare.wording import columns_of, outcomes, troubles

NAMES = ("ours", "ours/random", "plain")
KINDS = ("run", "random", "network")


def linear(outputs=10):
    b = GraphBuilder((1, 8, 8))
    return b.build(logits=b(Linear(outputs), b(Flatten(), b.input), name="classifier"))


def finals(role, recipe, scores):
    """Yield the events of a candidate's trainings; a text in place of a score is why there is none."""
    for number, score in enumerate(scores):
        failed = isinstance(score, str)
        yield {"event": "test_read", "role": str(role), "number": number, "recipe": recipe}
        yield {"event": "final", "role": str(role), "number": number, "recipe": recipe, "key": f"{role}"} | {
            "name": str(role),
            "score": None if failed else score,
            "failure": score if failed else None,
            "seconds": 12.5,
            "notes": {"trained_on": {"device": "CPU"}},
        }


def comparison(tables, names=NAMES, reason="finished", **given):
    """Return a comparison: ``tables`` has for each recipe the scores of every candidate."""
    seeds = max(len(scores) for table in tables.values() for scores in table)
    settings = settings_from(tuple(names), {"epochs": 7, "seeds": seeds, "recipes": list(tables), **given})
    graph = linear()
    candidates = [
        {"name": name, "kind": KINDS[min(i, 2)], "params": 1_000 + 10 * i, "macs": 20_000 + 300 * i}
        | {"of": names[0] if i == 1 else None, "queries": 40 if i < 2 else None, "graph": graph.to_json()}
        | {"trained": [None] * len(tables)}
        for i, name in enumerate(names)
    ]
    events = [
        {"event": "latency", "role": str(i), "batch": batch, "milliseconds": batch * (1.25 + i), "repeats": 100}
        | {"device": "CPU", "threads": 1}
        for i in range(len(names))
        for batch in (1, 64)
    ]
    for recipe, table in tables.items():
        events += [event for i, scores in enumerate(table) for event in finals(i, recipe, scores)]
    events += [{"event": "stopped", "reason": reason}] if reason else []
    where = {"processor": "a processor", "cores": 2, "python": "3.11.0", "packages": {"torch": "2.13.0"}}
    return result(CompareView(Path("mine"), settings, candidates, (1, 8, 8), 10, fold(events), where))


@pytest.fixture
def data():
    """Three networks under two recipes, of which one is clearly worse under the first, and a failed training."""
    return comparison(
        {
            "cifar-short": [[93.1, 93.0, 93.3, 93.2], [93.0, 93.2, 93.1, 93.3], [88.2, 88.1, 88.3, 88.2]],
            "fashion-short": [
                [91.5, 91.9, 92.2, 91.1],
                [91.25, 90.75, 92.5, 91.0],
                [87.5, "diverged: nan", 88.0, 87.0],
            ],
        }
    )


def test_the_page_is_one_whole_file_that_loads_nothing(data):
    page = check_alone(comparison_html(data))
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids)) > 5


def test_every_number_of_the_comparison_is_in_the_page(data):
    said = Page(comparison_html(data)).says()
    for row in data.rows:
        assert row.name in said
        assert all(text in said for text in columns_of(row))
        assert all(f"{score:.2f}" in said for score in row.scores if score is not None)
        if row.difference:
            assert sentence(row.difference).replace("**", "") in re.sub(r" ([,:])", r"\1", said)
    for found in data.effects.candidates:
        assert f"{found.mean:.2f} {found.effect:+.2f}" in said
    assert all(f"{100 * share:.1f} %" in said for share in vars(data.effects.shares).values())
    assert f"test scores read {data.test_reads}" in said
    assert "40 evaluations of the search, 40 of random search" in said
    assert ("ours/random", "fashion-short") not in [(name, recipe) for name, recipe, _ in troubles(data)]
    assert re.search(r"plain fashion-short diverged: nan", said)
    for words in ("finished", "a processor, 2 cores", "torch 2.13.0", "learning_rate", "trained on CPU"):
        assert words in said


def test_what_the_differences_are_worth_comes_first_and_plainly(data):
    assert outcomes(data) == [
        ("lower", "Under the recipe `cifar-short`: **lower** than ours: plain; **no difference found** for 1 other."),
        ("lower", "Under the recipe `fashion-short`: **lower** than ours: plain; **no difference found** for 1 other."),
    ]
    said = Page(comparison_html(data)).says()
    assert said.index("lower than ours: plain") < said.index("What the differences are worth") < said.index("0.125")
    assert "With 4 seeds neither the Wilcoxon nor the permutation test can fall below 0.125" in said


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        (
            [[90.0], [91.0]],
            ("one seed", "A single seed in common, so nothing here tells a difference to a from noise."),
        ),
        ([[90.0, 91.0], [90.5, 90.4]], ("no difference found", "**No difference found** between a and b.")),
        ([[90.0, 91.0, 92.0], [80.0, 81.0, 82.0]], ("no difference found", "**No difference found** between a and b.")),
        ([[90.0] * 6, [80.0, 81.0, 82.0, 81.5, 80.5, 81.2]], ("lower", "**Lower** than a: b.")),
        ([[80.0, 81.0, 82.0, 81.5, 80.5, 81.2], [90.0] * 6], ("higher", "**Higher** than a: b.")),
    ],
)
def test_the_verdict_is_that_of_the_tests(scores, expected):
    data = comparison({"proxy": scores}, ("a", "b"))
    assert outcomes(data) == [expected]
    assert expected[1].replace("**", "") in re.sub(r" ([.])", r"\1", Page(comparison_html(data)).says())


@pytest.mark.parametrize("reason", ["interrupted", ""])
@pytest.mark.parametrize("table", [[[], [], ["no"]], [[90.0], [], []], [[90.0, 91.0], [90.0], []]])
def test_a_comparison_that_is_not_over_says_so(table, reason):
    data = comparison({"proxy": table}, reason=reason)
    said = check_alone(comparison_html(data)).says()
    assert "nas resume mine" in said
    assert (reason or "running or killed") in said
    assert ("nothing here says that one is better" in said) == (len(table[1]) == 0)


def test_where_every_training_failed_the_page_says_why():
    data = comparison({"proxy": [["diverged: <b>"] * 2, [EVIL] * 2]}, ("a", "b"))
    page = check_alone(comparison_html(data))
    assert page.says().count("failed") >= 2
    assert f"{EVIL} (2 times)" in page.says()
    assert "Accuracy against" not in page.says()


def test_names_from_outside_are_escaped_and_long_ones_fit():
    names = (EVIL, "x" * 300, "<i>&quot;", "`code` and **bold**")
    page = check_alone(comparison_html(comparison({"proxy": [[90.0, 91.0, 92.0]] * 4}, names)))
    assert page.tags["i"] == 0
    assert all(name in page.says() for name in names[:3])


def test_bubbles_stand_at_cost_and_accuracy_with_their_front_and_intervals(data):
    text = comparison_html(data)
    for cost in ("MACs", "parameters", "latency"):
        assert text.count(f"<h3>Accuracy against {cost}</h3>") == 2
    assert text.count("Pareto front of the means</title>") == 6
    assert text.count('<g class="interval thin') == 18
    assert text.count('<text class="label"') == 18
    assert "ours: 93.15 % (92." in text


def test_twenty_five_networks_have_their_numbers_and_most_sentences_unfold():
    scores = [[80 + i / 3, 80.5 + i / 3, 81 + i / 3] for i in range(25)]
    text = comparison_html(comparison({"proxy": scores}, [f"net{i}" for i in range(25)]))
    said = Page(text).says()
    assert "25. net0" in said.replace("\xa0", " ")
    assert "The other 12 differences" in said
    assert len(text) < 250_000


def test_one_network_under_two_recipes_has_the_effect_of_the_recipe():
    said = check_alone(
        comparison_html(comparison({"proxy": [[90.0, 91.0]], "cifar-short": [[94.0, 96.0]]}, ("a",)))
    ).says()
    assert "One network under 2 recipes" in said
    assert "nothing here says" not in said
    assert re.search(r"effect of the recipe -2\.25 \+2\.25", said)


def test_published_numbers_stand_apart_and_are_called_so(data):
    assert "Published" not in Page(comparison_html(data)).says()
    published = [PublishedTable("cifar10", TITLES["cifar10"], rows("cifar10"))]
    said = Page(comparison_html(replace(data, published=published))).says()
    before, after = said.split("Published numbers")
    assert "not measured here" in after
    assert "DARTS" not in before
    assert re.search(r"DARTS.*arXiv:1806\.09055", after)


def test_the_command_of_a_comparison_makes_the_same_settings_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name, graph in (("a b", linear()), ("other", linear())):
        Path(f"{name}.json").write_text(json.dumps(graph.to_json()))
    Path("mine.json").write_text(json.dumps({"base": "proxy", "learning_rate": 0.03}))
    own = ["--recipe", "./mine.json", "--recipe", "proxy", "--ensemble", "2", "--train-images", "100"]
    own += ["--dataset", "digits"]
    given = ["./a b.json", "./other.json", *own, "--epochs", "1", "--seeds", "2"]
    assert main(["compare", *given, "--name", "one"]) == 0
    assert f"report: {Path('results/one/report.html')}" in capsys.readouterr().out
    data = write_comparison(Path("results/one"))
    text = Path("results/one/report.html").read_text()
    held = json.loads(Path("results/one/compare.json").read_text())
    assert held == data.to_json()
    assert Comparison.from_json(held) == data
    assert text == comparison_html(data)
    said = check_alone(text).says()
    assert all(" ".join(e.members[:1]) in said and f"{e.mean:.2f}" in said for e in data.ensembles)

    command = shlex.split(" ".join(comparison_command(data.settings)))
    assert command[:2] == ["nas", "compare"]
    shown = json.loads(re.search(r"<summary>mine\.json</summary><pre>(.*?)</pre>", text, re.S)[1].replace("&#34;", '"'))
    Path("mine.json").write_text(json.dumps(shown))
    assert main(command[1:]) == 0
    assert read(Path("results/NEW_NAME/journal.jsonl"))[0]["config"] == data.settings


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome is installed")
def test_a_browser_opens_the_page_without_an_error_or_a_request(data, tmp_path):
    assert console(tmp_path, comparison_html(data)) == []
