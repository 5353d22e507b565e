"""Studies, trials and architectures in a notebook: true, escaped, small, whatever became of the search."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

import pytest
from html_page import EVIL, Page

import nas
from nas.errors import ConfigError
from nas.graph import Flatten, Linear
from nas.types import Failure, Metrics, Proposal, Trial

SVG = "{http://www.w3.org/2000/svg}"


def bits(choose):
    """Six bits."""
    return [choose(f"bit{i}", [0, 1]) for i in range(6)]


def ones(job):
    """The number of ones, and what it costs."""
    return nas.Metrics(float(sum(job.architecture.decisions.values())), {"ms": 1.0 + job.architecture["bit0"]})


def hostile(choose):
    """Decisions whose names and options are no text that a page should trust."""
    return [choose(EVIL, [EVIL, "plain"]), choose("other", [1, 2, 3])]


def plots(study):
    yield study.plot_history()
    yield study.plot_pareto("ms")
    yield study.plot_importance()


@pytest.fixture(scope="module")
def study():
    found = nas.Study(bits, ones, "random", seed=1)
    found.run(trials=30)
    return found


def test_a_study_shows_how_far_it_is_and_its_best_trials(study):
    page = Page(study._repr_html_())
    said = page.says()
    assert "Study of space bits" in said
    assert f"{len(study.trials)} (" in said
    best = study.best
    assert f"Trial {best.index}: 6 decisions" in said
    assert all(f"bit{i}" in said for i in range(6))
    assert page.tags["svg"] == 1
    assert len(study._repr_html_()) < 50_000


def test_its_table_begins_with_the_highest_reward(study):
    text = study._repr_html_()
    rows = [row.split("</td>")[:2] for row in text.split("<tr>") if "text-align:right" in row and "<td" in row]
    rewards = [float(row[1].rpartition(">")[2]) for row in rows]
    assert rewards == sorted((t.reward for t in study.trials if t.status == "done"), reverse=True)[: len(rewards)]


def test_no_color_of_a_study_needs_a_light_page(study):
    text = study._repr_html_()
    assert "#ffffff" not in text
    assert "background" not in text
    assert "--ink: currentColor" in text


def test_the_rules_of_a_picture_mean_nothing_else_on_the_page(study):
    html = study._repr_html_()
    styles = [html.partition("<style>")[2].partition("</style>")[0]]
    styles += [ElementTree.fromstring(plot._repr_svg_()).find(f"{SVG}style").text for plot in plots(study)]
    for style in styles:
        rules = [line for line in style.splitlines() if line.strip()]
        assert rules
        assert all(one.strip().startswith("#") for line in rules for one in line.partition("{")[0].split(","))


def test_nothing_from_outside_means_anything_in_a_notebook():
    def fails(job):
        if job.architecture["other"] == 3:
            raise nas.EvaluationError(EVIL)
        return nas.Metrics(float(job.architecture["other"]), {EVIL: 1.0})

    found = nas.Study(nas.Space("<i>evil</i>", hostile), fails, "random", seed=0)
    found.run(trials=5)
    shown = [found, found.best, found.best.architecture, *found.trials]
    for value in shown:
        page = Page(value._repr_html_())
        assert page.tags["script"] == page.tags["i"] == 0
        assert "<script>" in page.says()
    failed = [t for t in found.trials if t.failure is not None]
    assert failed
    assert all(f"error: {EVIL}" in Page(t._repr_html_()).says() for t in failed)


def test_a_study_without_a_reward_says_why():
    def fails(job):
        raise nas.EvaluationError(EVIL)

    found = nas.Study(bits, fails, "random", seed=0)
    assert "none yet" in Page(found._repr_html_()).says()
    found.run(trials=3, record_failures=True)
    page = Page(found._repr_html_())
    assert f"No trial has a reward; the first failed with error: {EVIL}" in page.says()
    assert page.tags["svg"] == 0


def test_rewards_too_far_apart_for_a_picture_leave_it_out():
    found = nas.Study(bits, lambda job: 1.7e308 * (2 * job.architecture["bit0"] - 1), "random", seed=0)
    found.run(trials=6)
    assert Page(found._repr_html_()).tags["svg"] == 0


def test_the_best_cells_are_drawn():
    found = nas.Study("nasnet", lambda job: 1.0, "random", space_args={"nodes": 2})
    found.run(trials=1)
    text = found._repr_html_()
    best = found.best.architecture
    assert "its cells" in Page(text).says()
    for name in {best[f"normal.{i}.{side}.op"] for i in range(2) for side in ("left", "right")}:
        assert text.count(str(name)) > 1  # once in the table, once in the picture


def test_a_run_on_disk_is_shown_as_it_is_there(tmp_path):
    nas.Study(bits, ones, "random", folder=tmp_path / "b", seed=1).run(trials=4)
    found = nas.load_study(tmp_path / "b")
    assert repr(found).startswith("Study('bits', folder='")
    assert len(repr(found)) <= 120
    page = Page(found._repr_html_())
    assert str(tmp_path / "b") in page.says()
    assert page.tags["svg"] == 1
    assert repr(found).startswith("Study('bits', 4 trials, best ")


def test_every_repr_is_one_line(study):
    best = study.best
    result = study.run(trials=30)
    assert repr(study) == f"Study('bits', {len(study.trials)} trials, best {best.reward:g} of trial {best.index})"
    assert repr(result).startswith(f"Result({len(study.trials)} trials, best {best.reward:g} of trial {best.index}, ")
    assert repr(best) == f"Trial({best.index}, done, bits, reward {best.reward:g})"
    three = ", ".join(f"bit{i}={best.architecture[f'bit{i}']}" for i in range(3))
    assert repr(best.architecture) == f"Architecture(bits: {three}, ... 6 decisions)"
    assert repr(nas.Space("bits", bits)) == "Space('bits')"
    assert repr(nas.get_space("nb201")).endswith("Space('nb201')")
    long = nas.Architecture("s" * 500, [("d" * 500, "v" * 500)])
    failed = Trial(0, Proposal(long), "k", "failed", failure=Failure("error", "m\n" * 900))
    for value in (long, failed):
        assert len(repr(value)) <= 120
        assert "\n" not in repr(value)


def test_a_trial_shows_what_it_measured_whatever_the_names_are():
    metrics = Metrics(0.5, {"status": 7.25, "latency": 3.5}, 2.0)
    trial = Trial(3, Proposal(nas.Architecture("s", [("d", 1)]), 4), "k", "done", metrics, params=1_000, seconds=2.0)
    said = Page(trial._repr_html_()).says()
    assert "status done" in said
    assert "7.25" not in said
    assert "latency 3.5" in said
    assert "parameters 1,000" in said


def test_plots_are_pictures_that_can_be_saved(study, tmp_path):
    for number, plot in enumerate(plots(study)):
        path = plot.save(tmp_path / f"{number}.svg")
        assert path.read_text("utf-8") == plot.to_svg()
        root, shown = (ElementTree.fromstring(text) for text in (plot.to_svg(), plot._repr_svg_()))
        assert [t.text for t in root.iter(f"{SVG}text")] == [t.text for t in shown.iter(f"{SVG}text")]
        assert plot.figure.heading in repr(plot)


def test_the_importance_of_a_decision_that_decides_alone_is_the_longest_bar():
    found = nas.Study(bits, lambda job: float(job.architecture["bit3"]) + 0.001 * job.index, "random", seed=0)
    found.run(trials=40)
    named = [t.text for t in ElementTree.fromstring(found.plot_importance().to_svg()).iter(f"{SVG}text")]
    assert next(text for text in named if text.startswith("bit")).startswith("bit3: ")


@pytest.mark.parametrize(
    ("plot", "rule"),
    [
        (lambda study: study.plot_pareto("watts"), "no trial with a reward has 'watts'; they have ms"),
        (lambda study: nas.Study(bits, ones).plot_history(), "no trial has a reward yet"),
        (lambda study: nas.Study(bits, ones).plot_importance(), "importance needs 20 trials .* found 0 trials"),
        (lambda study: study.plot_history().save("history.png"), "must end in .svg, found 'history.png'"),
        (lambda study: study.plot_history().save("missing/h.svg"), "the folder 'missing' does not exist"),
    ],
)
def test_what_cannot_be_plotted_is_one_line(study, plot, rule, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=rule):
        plot(study)


def test_a_comparison_that_is_none_is_one_line(tmp_path):
    nas.Study(bits, ones, "random", folder=tmp_path / "search").run(trials=1)
    with pytest.raises(ConfigError, match="run 'search' is no comparison"):
        nas.load_comparison(tmp_path / "search")
    with pytest.raises(ConfigError, match=r"unknown run 'serch'.*did you mean 'search'"):
        nas.load_comparison(tmp_path / "serch")


@pytest.mark.long
def test_a_comparison_is_loaded_from_its_folder(tmp_path):
    few = {"dataset": "digits", "train_images": 100, "epochs": 1, "results_dir": tmp_path, "threads": 1, "seeds": 2}
    files = [tmp_path / "linear.json", tmp_path / "hidden.json"]
    for path in files:
        b = nas.GraphBuilder((1, 8, 8))
        x = b(Flatten(), b.input)
        graph = b.build(logits=b(Linear(10), b(Linear(4), x) if path.stem == "hidden" else x))
        path.write_text(json.dumps(graph.to_json()))
    made = nas.compare(files, name="c", **few)
    assert nas.load_comparison(tmp_path / "c") == made
    frame = made.to_dataframe()
    assert sorted(frame["seed"]) == [0, 0, 1, 1]
    for row in made.rows:
        own = frame[frame["model"] == row.name]
        assert list(own["accuracy"]) == row.scores
        assert own["seconds"].mean() == pytest.approx(row.seconds)
