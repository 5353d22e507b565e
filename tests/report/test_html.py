"""The HTML report: whole, escaped, true to the journal, and quiet in a real browser."""

from __future__ import annotations

import json
import re
from itertools import pairwise

import numpy as np
import pytest
from html_page import CHROMIUM, EVIL, Page, check_alone, console

from nas.cli.main import main
from nas.core.plugins import load_built_in
from nas.engine.assemble import with_defaults
from nas.engine.config import RunOptions
from nas.report.html.search_figures import progress, progress_figures
from nas.report.html.search_report import html_text
from nas.report.lineage import lineage
from nas.report.rank_correlation import interval, rankings
from nas.report.run_view import load_view
from nas.report.statistics import accuracy_interval
from nas.report.write import write_outputs
from nas.runs.journal import Journal
from nas.space import SPACES
from nas.space.networks import NETWORKS


def asked(index, seed=None, epochs=1, **more):
    """An event: trial ``index`` of the architecture that ``seed`` samples."""
    load_built_in()
    found = SPACES["nasnet"].with_args({"nodes": 2}).sample(np.random.default_rng(index if seed is None else seed))
    key = f"{index if seed is None else seed:032x}"
    size = {"params": 10_000 + 100 * index, "macs": 100_000 + 1_000 * index}
    asked = {"event": "asked", "index": index, "key": key, "epochs": epochs, "architecture": found.to_json()}
    return {**asked, **size, **more}


def done(index, reward, **more):
    """An event: the result of trial ``index``."""
    result = {"event": "done", "index": index, "reward": reward, "values": {}, "seconds": 1.0, "simulated": False}
    return {**result, "wall": 1.0, **more}


def finals(role, name, key, scores):
    """Yield the events of final trainings, one for each seed."""
    for number, score in enumerate(scores):
        size = {"params": 12_345, "macs": 678_901}
        yield {"event": "test_read", "role": role, "number": number}
        yield {"event": "final", "role": role, "name": name, "number": number, "key": key, "score": score} | {
            "seconds": 3.0,
            **size,
        }


def write_run(folder, events=(), random_events=None, **settings):
    """Write the journal of a run and, below it, of its random search."""
    settings = {"space": "nasnet", "space_args": {"nodes": 2}, "searcher": "evolution", **settings}
    config = with_defaults(RunOptions.from_json(settings)).to_json()
    for path, lines in ((folder, events), (folder / "random", random_events)):
        if lines is not None:
            path.mkdir(parents=True)
            journal = Journal.create(path / "journal.jsonl", {"config": config, "time": 0.0})
            journal.append([dict(event) for event in lines])
            journal.close()
    return folder


@pytest.fixture
def run(tmp_path):
    """A whole run: a lineage, a failure, a trial that was tried again, a final comparison of three."""
    rewards = [61.25, 64.5, 70.125, 66.0]
    events = [
        asked(0),
        done(0, rewards[0]),
        asked(1, info={"parent": 0}),
        done(1, rewards[1]),
        asked(2, info={"parent": 1, "mate": 0}),
        {"event": "retried", "index": 2, "kind": "crashed", "message": EVIL, "attempt": 0},
        done(2, rewards[2]),
        asked(3),
        done(3, rewards[3]),
        asked(4),
        {"event": "failed", "index": 4, "kind": "diverged", "message": EVIL, "wall": 1.0},
        *finals("search", "evolution search", f"{2:032x}", [90.0, 91.0, 92.0]),
        *finals("random", "random search", "f" * 32, [89.0, 89.5, 90.25]),
        *finals("handcrafted", "ResNet-8 of width 3", "ResNet-8", [80.0, 80.5, 81.0]),
        {"event": "stopped", "reason": "finished", "time": 1.0},
    ]
    other = [asked(0, 7), done(0, 63.0), asked(1, 8), done(1, 62.0)]
    return write_run(tmp_path / "whole", events, other)


def page_of(folder):
    text = html_text(load_view(folder))
    return text, Page(text)


def test_the_report_is_one_whole_file_that_loads_nothing(run):
    text, page = page_of(run)
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids)) > 5
    check_alone(text)
    marks = re.findall(r"url\(#([\w-]+)\)", text)
    assert marks
    assert set(marks) <= set(ids)


def test_the_report_says_what_the_journal_says(run):
    view = load_view(run)
    said = page_of(run)[1].says()
    for row in view.scores():
        assert row.name in said
        assert f"{row.mean:.2f}" in said
        assert all(f"{score:.2f}" in said for score in row.scores)
        ends = accuracy_interval(row.scores)
        assert f"{ends.low:.2f} to {ends.high:.2f}" in said
    for number in ("70.12", "12.3 k", "679 k", "5 evaluations", "9 (3 scores of search", "1 diverged"):
        assert number in said
    assert "The search against random search: higher , +1.42 points (3 pairs)" in said
    assert "neither the Wilcoxon nor the permutation test can fall below 0.25" in said
    assert "1 trial had to be tried again" in said
    assert "crashed" in said
    assert f"search {view.config.seed}" in said


def test_a_seed_that_failed_takes_its_partner_out_of_the_comparison(tmp_path):
    others = list(finals("random", "random search", "r", [80.0, 80.5, 81.0]))
    others[3] |= {"score": None, "failure": "diverged: nan"}  # of seed 1
    events = [asked(0), done(0, 1.0), *finals("search", "evolution search", "s", [90.0, 99.0, 91.5]), *others]
    view = load_view(write_run(tmp_path / "failed", events))
    search, random = view.scores()
    assert (search.by_seed, random.by_seed) == ({0: 90.0, 1: 99.0, 2: 91.5}, {0: 80.0, 2: 81.0})
    said = Page(html_text(view)).says()
    assert re.search(
        r"The search against random search: (higher|no difference found) , \+10\.25 points \(2 pairs\)", said
    )


def test_every_run_leaves_the_report_beside_the_other_outputs(run, capsys):
    assert main(["report", run.name, "--results-dir", str(run.parent)]) == 0
    assert (run / "report.html").read_text() == html_text(load_view(run))
    assert (run / "report.md").is_file()


@pytest.mark.parametrize("events", [[], [asked(0)], [asked(0), done(0, 1.0)]])
def test_a_run_that_has_hardly_begun_has_a_report_too(events, tmp_path):
    folder = write_run(tmp_path / "new", events)
    write_outputs(folder)
    said = page_of(folder)[1].says()
    assert "nas resume new" in said
    assert "There was no final comparison" in said


def test_what_came_from_outside_is_escaped(tmp_path):
    event = asked(0)
    event["architecture"]["space"] = "a<script>alert(1)</script>space"
    event["architecture"]["decisions"] = {"<b>op</b>": "<i>3</i>"}
    failed = {"event": "failed", "index": 1, "kind": "<u>", "message": EVIL, "wall": 1.0}
    child = asked(2, info={"parent": 0})
    child["architecture"] = {**event["architecture"], "decisions": {"<b>op</b>": "<i>5</i>"}}
    events = [event, done(0, 1.0), asked(1), failed, child, done(2, 2.0), *finals("search", EVIL, "k", [1.0, 2.0])]
    folder = write_run(tmp_path / "evil", events, space="nasnet")
    page = page_of(folder)[1]
    assert page.tags["script"] == page.tags["i"] == page.tags["u"] == 0
    said = page.says()
    assert said.count(EVIL) >= 3
    assert "<i>5</i>" in said
    assert "The cells cannot be drawn" in said


def test_the_cells_are_drawn_and_so_is_the_lineage(run):
    page = page_of(run)[1]
    assert {"cell-0", "cell-1", "cell-0-arrow"} <= {value for _, name, value in page.attributes if name == "id"}
    steps = lineage(load_view(run).ledger.trials, load_view(run).ledger.best())
    assert [(step.trial.index, step.how, step.mate) for step in steps] == [
        (0, "drawn", None),
        (1, "mutation", None),
        (2, "crossover", 0),
    ]
    for parent, child in pairwise(steps):
        before, after = (dict(step.trial.architecture.decisions) for step in (parent, child))
        changed = {name: after[name] for name in after if before.get(name) != after[name]}
        assert {change.name: change.after for change in child.changes} == {n: str(v) for n, v in changed.items()}


@pytest.mark.parametrize("parent", [5, 1, -1, "0", None, True, 1.5, [0]])
def test_what_is_no_earlier_trial_is_no_parent(parent, tmp_path):
    folder = write_run(tmp_path / "odd", [asked(0), done(0, 1.0), asked(1, info={"parent": parent}), done(1, 2.0)])
    ledger = load_view(folder).ledger
    assert [step.how for step in lineage(ledger.trials, ledger.best())] == ["drawn"]


def halving(tmp_path, pairs):
    """A run under a scheduler: every architecture at 1 epoch, then at 9."""
    low = [e for i, (reward, _) in enumerate(pairs) for e in (asked(i, i), done(i, reward))]
    count = len(pairs)
    high = [
        event
        for i, (_, reward) in enumerate(pairs)
        for event in (asked(count + i, i, 9, continue_from=i), done(count + i, reward))
    ]
    return write_run(tmp_path / "asha", [*low, *high], scheduler="asha", epochs=9)


def test_rank_correlations_of_few_and_many_epochs_are_those_of_scipy(tmp_path):
    rng = np.random.default_rng(0)
    pairs = [(float(x), float(x + rng.normal(0, 0.5))) for x in rng.normal(50, 1, 24)]
    folder = halving(tmp_path, pairs)
    (found,) = rankings(load_view(folder))
    ranks = np.argsort(np.argsort(np.array(pairs), axis=0), axis=0)
    assert found.spearman == pytest.approx(np.corrcoef(ranks.T)[0, 1])
    signs = [np.sign((a[0] - b[0]) * (a[1] - b[1])) for i, a in enumerate(pairs) for b in pairs[:i]]
    assert found.kendall == pytest.approx(np.mean(signs))
    assert found.interval[0] < found.spearman < found.interval[1]
    said = page_of(folder)[1].says()
    assert f"{found.spearman:.2f}" in said
    assert "trained on to 9 epochs" in said


def test_the_interval_of_a_rank_correlation_covers_the_truth():
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(400):
        x, y = rng.normal(size=(2, 40))
        ranks = np.argsort(np.argsort(np.stack([x, y]), axis=1), axis=1)
        low, high = interval(float(np.corrcoef(ranks)[0, 1]), 40)
        covered += low <= 0 <= high
    assert 0.91 < covered / 400 < 0.98


def test_finalists_that_were_trials_are_compared_with_their_rewards_from_three_on(tmp_path):
    events = [e for i in range(3) for e in (asked(i), done(i, 60.0 + i))]
    three = [e for i in range(3) for e in finals(f"role{i}", f"n{i}", f"{i:032x}", [90.0 - i])]
    assert not rankings(load_view(write_run(tmp_path / "two", [*events, *three[:4]])))
    (found,) = rankings(load_view(write_run(tmp_path / "three", [*events, *three])))
    assert (found.high, found.spearman, found.interval) == ("final score", -1.0, None)


def test_progress_counts_failures_and_simulated_seconds(tmp_path):
    simulated = {"simulated": True, "seconds": 7200.0, "wall": 0.001}
    events = [asked(0), done(0, 1.0, **simulated), asked(1), {"event": "failed", "index": 1} | {"kind": "error"}]
    events[-1] |= {"message": "no", "wall": 60.0}
    events += [asked(2), done(2, 0.5, **simulated), asked(3), done(3, 2.0, **simulated)]
    view = load_view(write_run(tmp_path / "table", events))
    assert [(p.query, p.seconds, p.best) for p in progress(view.ledger)] == [
        (1, 7200.0, 1.0),
        (3, 14460.0, 1.0),
        (4, 21660.0, 2.0),
    ]
    assert [figure.heading for figure in progress_figures(view)] == [
        "Best so far by evaluations",
        "Best so far by simulated time",
    ]
    assert "simulated hours" in page_of(view.folder)[1].says()


def test_every_objective_of_a_search_has_a_picture_with_its_front(tmp_path):
    events = [
        event
        for i, (reward, latency) in enumerate([(1.0, 2.0), (2.0, 3.0), (1.5, 4.0), (3.0, 0.0)])
        for event in (asked(i), done(i, reward, values={"latency": latency}))
    ]
    args = {"objectives": "latency,macs"}
    folder = write_run(tmp_path / "front", events, searcher="nsga2", searcher_args=args)
    text, page = page_of(folder)
    assert "Accuracy against latency" in page.says()
    assert "Pareto front" in page.says()
    assert "trial 3: reward 3, 0 latency" in text


def test_a_training_that_finalists_have_in_common_counts_once(tmp_path):
    own = [{**event, "seconds": 3600.0} for event in finals("search", "evolution search", "a", [90.0, 91.0])]
    copied = [{**event, "role": "random", "name": "random search"} for event in own if event["event"] == "final"]
    view = load_view(write_run(tmp_path / "twins", [asked(0), done(0, 60.0), *own, *copied]))
    said = Page(html_text(view)).says()
    assert "final comparison 2.0 " in said
    assert "Test scores read: 2 (2 scores of search)" in said


def test_published_numbers_stand_apart_with_their_sources(run, tmp_path):
    assert "Published" not in page_of(run)[1].says()
    said = page_of(write_run(tmp_path / "cifar", [asked(0), done(0, 60.0)], dataset="cifar10"))[1].says()
    before, after = said.split("Published numbers")
    assert "not measured here" in after
    assert "DARTS" not in before
    assert re.search(r"DARTS.*arXiv:1806\.09055", after)


@pytest.mark.parametrize(("side", "classes", "shown"), [(224, 1000, True), (64, 200, False)])
def test_photos_of_a_thousand_classes_are_shown_the_published_tables_of_imagenet(side, classes, shown, tmp_path):
    folder = write_run(tmp_path / "photos", [asked(0), done(0, 60.0)], dataset="folder", data_dir=str(tmp_path))
    (folder / "best").mkdir()
    graph = NETWORKS["mobilenet_v2"].build((3, side, side), classes)
    (folder / "best" / "graph.json").write_text(json.dumps(graph.to_json()))
    assert ("ImageNet in the mobile setting" in html_text(load_view(folder))) == shown


@pytest.mark.long
def test_the_report_of_ten_thousand_trials_is_small(tmp_path):
    rng = np.random.default_rng(0)
    one = asked(0)
    events = []
    for i, reward in enumerate(rng.normal(80, 5, 10_000)):
        key = {"index": i, "key": f"{i:032x}", "macs": 100_000 + 37 * i, "params": 1_000 + i}
        events += [{**one, **key, "info": {"parent": i - 1} if i else {}}, done(i, float(reward))]
    text, page = page_of(write_run(tmp_path / "big", events))
    assert len(text) < 500_000
    assert "steps between" in page.says()


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome is installed")
def test_a_browser_opens_the_report_without_an_error_or_a_request(run, tmp_path):
    text = html_text(load_view(run))
    assert console(tmp_path, text) == []
    # the page forbids what it does not do: the browser says so when something is smuggled in
    for smuggled in ("<script>console.log('ran')</script>", '<img src="http://127.0.0.1:9/x.png" alt="">'):
        said = console(tmp_path, text.replace("<main>", f"<main>{smuggled}"))
        assert said
        assert all("Content Security Policy" in line for line in said)
