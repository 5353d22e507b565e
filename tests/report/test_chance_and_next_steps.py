"""What a report says before its numbers, what it recommends, and the statistics of both, against known values."""

from __future__ import annotations

import math
import re
import shlex

import numpy as np
import pytest
from html_page import Page
from scipy import stats
from test_html import asked, done, finals, write_run

from nas.cli.main import build_parser, main
from nas.errors import ConfigError
from nas.evaluators.train import MOST_POINTS, curve_of
from nas.report.chance import MeasuredOn, reads_text
from nas.report.html.search_report import html_text
from nas.report.markdown import report_text
from nas.report.next_steps import Step, next_steps, notices, too_close, validation_text
from nas.report.run_view import load_view
from nas.report.statistics import accuracy_interval, chance_p, paired, seeds_needed, wilson_interval
from nas.training.published_recipes import recipe_of, recipe_table

COUNTS = {"classes": 10, "train": 1_297, "train_commonest": 132, "validation": 144, "validation_commonest": 15}
COUNTS |= {"test": 360, "test_commonest": 37}


def searched(folder, rewards, events=(), counts=COUNTS, **settings):
    """A search whose trials have ``rewards``; the first tells how many images there are."""
    trials = []
    for index, reward in enumerate(rewards):
        notes = {"notes": {"images": counts}} if not index else {}
        trials += [asked(index, epochs=3), done(index, reward, **notes)]
    return write_run(folder / "results" / "found", [*trials, *events], evaluator="train", **settings)


FINISHED = {"event": "stopped", "reason": "finished", "time": 1.0}


@pytest.mark.parametrize(
    ("correct", "images", "low", "high"),
    [  # Newcombe 1998, table I, method 3
        (81, 263, 25.53, 36.62),
        (15, 148, 6.24, 16.05),
        (0, 20, 0.0, 16.11),
        (1, 29, 0.61, 17.18),
        (20, 20, 83.89, 100.0),
    ],
)
def test_wilsons_interval_is_the_published_one(correct, images, low, high):
    found = wilson_interval(correct, images)
    assert [found.low, found.high] == pytest.approx([low, high], abs=0.006)
    assert accuracy_interval([100 * correct / images], images) == found


def test_an_accuracy_never_lies_outside_of_0_to_100():
    for scores in (
        [99.7, 99.9, 100.0],
        [0.0, 0.3, 0.1],
        [0.0, 100.0],
        [0.0, 0.0, 100.0],
        [99.99, 100, 100],
        [100, 100],
    ):
        found = accuracy_interval(scores)
        assert 0 <= found.low <= np.mean(scores) <= found.high <= 100
    difference = paired([100.0, 5.0, 90.0], [0.0, 0.0, 10.0]).interval
    assert -100 <= difference.low <= difference.high <= 100
    assert accuracy_interval([90.0]) is None
    with pytest.raises(ConfigError, match="from 0 to 100 %, found -1 to 90"):
        accuracy_interval([-1.0, 90.0])


def test_an_interval_of_a_mean_is_students_on_the_logit_scale():
    scores = np.array([60.0, 70.0, 65.0, 62.0])
    share, error = scores.mean() / 100, stats.sem(scores / 100)
    half = stats.t.ppf(0.975, 3) * error / (share * (1 - share))
    ends = [100 / (1 + math.exp(-(math.log(share / (1 - share)) + side * half))) for side in (-1, 1)]
    found = accuracy_interval(scores)
    assert [found.low, found.high] == pytest.approx(ends)
    # where it is narrow the scale does not matter
    narrow = accuracy_interval(50 + (scores - 50) / 100)
    plain = stats.t.interval(0.95, 3, 50 + (scores.mean() - 50) / 100, stats.sem(scores) / 100)
    assert [narrow.low, narrow.high] == pytest.approx(list(plain), abs=1e-3)


def test_the_p_value_of_chance_is_the_binomial_tail():
    assert chance_p(10, 10, 0.5) == pytest.approx(2**-10)
    assert chance_p(0, 10, 0.5) == 1.0
    assert chance_p(2, 3, 0.5) == pytest.approx(0.5)
    assert chance_p(10, 10, 0.5, tries=4) == pytest.approx(1 - (1 - 2**-10) ** 4)
    assert chance_p(20, 144, 0.1) == pytest.approx(stats.binomtest(20, 144, 0.1, alternative="greater").pvalue)


@pytest.mark.parametrize(("effect", "seeds"), [(0.2, 199), (0.5, 34), (0.8, 15), (1.0, 10)])  # as G*Power 3 has them
def test_seeds_are_those_of_published_power_calculations(effect, seeds):
    assert seeds_needed(effect, 1.0) == seeds_needed(-3 * effect, 3.0) == seeds


def test_more_than_all_seeds_and_no_spread():
    assert seeds_needed(0.001, 1.0) is None
    assert seeds_needed(0.0, 1.0) is None
    assert seeds_needed(1.0, 0.0) == 2


def test_chance_is_the_commonest_class_where_classes_differ():
    assert MeasuredOn.of({"classes": 2, "validation": 80, "validation_commonest": 60}, "validation").chance == 75
    assert MeasuredOn.of({"classes": 4, "validation": 80, "validation_commonest": 20}, "validation").chance == 25
    assert MeasuredOn.of({"classes": 4}, "validation") is None
    assert MeasuredOn.of({"classes": "4", "validation": 80, "validation_commonest": None}, "validation") is None
    on = MeasuredOn(80, 50.0)
    assert (on.point, on.standard_error(50.0)) == (1.25, pytest.approx(50 / math.sqrt(80)))


def test_reads_of_the_test_split_are_told_as_they_were():
    assert reads_text(6, 6) == "tested once each"
    assert "7 reads of the test split are counted for 6 trainings" in reads_text(6, 7)


def test_nothing_learned_is_the_first_thing_that_a_report_says(tmp_path):
    view = load_view(searched(tmp_path, [10.0, 12.5, 9.0, 14.0], [FINISHED]))
    (notice,) = notices(view)
    assert notice.text.startswith(
        "**Nothing was learned**: the best of 4 networks has 14.00 % of 144 validation images"
    )
    assert "chance level is 10.42 %" in notice.text  # 15 of 144
    said, text = Page(html_text(view)).says(), report_text(view, [])
    assert said.index("Nothing was learned") < said.index("no final comparison") < said.index("What to do next")
    assert text.index("Nothing was learned") < text.index("##")
    assert "--epochs 12" in text
    for rate in ("0.01", "1"):
        assert f"--lr {rate} --name" in text
    assert too_close(view) is None


def test_the_best_of_many_guessers_is_not_taken_for_a_learner(tmp_path):
    guesses = 100 * np.random.default_rng(3).binomial(144, 15 / 144, 200) / 144
    view = load_view(searched(tmp_path, guesses.tolist(), [FINISHED]))
    assert stats.binomtest(round(guesses.max() * 1.44), 144, 15 / 144, alternative="greater").pvalue < 0.05
    assert "Nothing was learned" in notices(view)[0].text


def test_most_networks_at_chance_and_networks_that_learned(tmp_path):
    view = load_view(searched(tmp_path / "most", [10.0, 12.5, 9.0, 90.0], [FINISHED]))
    assert "3 of 4 are not above the chance level" in notices(view)[0].text
    view = load_view(searched(tmp_path / "learned", [60.0, 70.0, 90.0], [FINISHED]))
    assert notices(view) == []
    assert "chance level, 10.42 %" in Page(html_text(view)).says()
    view = load_view(searched(tmp_path / "old", [10.0, 9.0], [FINISHED], counts={}))
    assert notices(view) == []
    assert validation_text(view) == ""


def test_most_trials_failed(tmp_path):
    events = []
    for index in range(1, 4):
        failed = {
            "event": "failed",
            "index": index,
            "kind": "oom" if index < 3 else "crashed",
            "message": "too `large`",
        }
        events += [asked(index, epochs=3), {**failed, "wall": 1.0}]
    view = load_view(searched(tmp_path, [90.0], events))
    (notice,) = notices(view)
    assert "**3 of 4 trials failed**, 2 of them with `oom: too 'large'`" in notice.text
    assert "--max-params 10099" in notice.steps[0].command  # the smaller of the two had 10,100


def test_one_image_and_the_standard_error_are_told_where_they_hide_the_best(tmp_path):
    view = load_view(searched(tmp_path / "near", [90.0, 89.0, 70.0], [FINISHED]))
    assert "one of them is worth 0.69 points, the standard error of the best is 2.5 points" in validation_text(view)
    assert "1 of the other 2 networks is within 2.5 points of the best" in too_close(view).text
    assert too_close(load_view(searched(tmp_path / "far", [90.0, 80.0, 70.0], [FINISHED]))) is None
    perfect = load_view(searched(tmp_path / "perfect", [100.0, 99.5], [FINISHED]))
    assert "which is one image" in too_close(perfect).text


def commands(steps: list[Step]) -> list[str]:
    return [line for step in steps for line in step.command.splitlines() if line.startswith("nas ")]


SCORES = [
    *finals("search", "evolution search", "s", [90.0, 91.0, 92.5]),
    *finals("random", "random", "r", [89, 91, 91]),
]


@pytest.mark.parametrize("rewards", [[90.0, 89.0], [10.0, 9.0]])
@pytest.mark.parametrize("events", [[], [FINISHED], [*SCORES, FINISHED]])
def test_every_command_of_a_report_is_one_that_the_command_line_takes(tmp_path, rewards, events):
    view = load_view(searched(tmp_path, rewards, events, dataset="arrays", data_dir="my images.npz"))
    close = too_close(view)
    found = commands([*next_steps(view), *(s for n in notices(view) for s in n.steps), *(close.steps if close else ())])
    assert len(found) >= 5
    assert ("nas resume found" in found[0]) == (not events)
    for command in found:
        words = shlex.split(command)[1:]
        parser, known = build_parser()
        known[words[0]].check_flags(words[1:])
        given = parser.parse_args(words)
        assert str(tmp_path / "results") in (given.target if words[0] == "inspect" else str(given.results_dir))
        if "--dataset" in words and words[0] != "transfer":
            assert words[words.index("--data-dir") + 1].endswith("my images.npz")


def test_the_recommended_rates_are_those_of_the_recipe_times_ten_and_a_tenth(tmp_path):
    view = load_view(searched(tmp_path, [10.0, 9.0], [FINISHED], recipe="proxy"))
    words = [shlex.split(s.command) for s in notices(view)[0].steps if "--lr" in s.command]
    before = recipe_of("proxy", "digits").learning_rate
    assert [float(one[one.index("--lr") + 1]) for one in words] == pytest.approx([0.1 * before, 10 * before])
    own = recipe_of({"base": "default", "learning_rate": 0.5}, "digits")
    assert own.to_json() == {**recipe_of(None, "digits").to_json(), "learning_rate": 0.5}
    assert recipe_table({"base": "default"}, "--recipe", "digits")["batch_size"] == own.batch_size


def test_an_undecided_comparison_says_how_many_seeds_would_decide_it(tmp_path):
    view = load_view(searched(tmp_path, [90.0, 80.0], [*SCORES, FINISHED]))
    (step,) = (s for s in next_steps(view) if "nas compare" in s.command)
    seeds = seeds_needed(np.mean([1.0, 0.0, 1.5]), np.std([1.0, 0.0, 1.5], ddof=1))
    assert f"were it the truth, {seeds} seeds would find it in 80 % of all comparisons" in step.text
    assert f"--seeds {seeds} " in step.command
    told = [*finals("search", "a", "s", [90.0, 91, 92, 91, 90]), *finals("random", "b", "r", [80.0, 81.1, 82, 81, 80])]
    view = load_view(searched(tmp_path / "told", [90.0, 80.0], [*told, FINISHED]))
    assert not [s for s in next_steps(view) if "nas compare" in s.command]


def test_a_single_test_score_has_the_interval_of_its_images(tmp_path):
    view = load_view(searched(tmp_path, [90.0], [*finals("search", "a", "s", [95.0]), FINISHED]))
    ends = wilson_interval(342, 360)
    said = Page(html_text(view)).says()
    assert f"{ends.low:.2f} to {ends.high:.2f}" in said
    assert "Wilson's for 360 test images" in said


def test_a_retried_final_training_is_counted_as_another_read(tmp_path):
    twice = [{"event": "test_read", "role": "search", "number": 0}, *finals("search", "a", "s", [95.0, 96.0])]
    view = load_view(searched(tmp_path, [90.0], [*twice, FINISHED]))
    assert "3 reads of the test split are counted for 2 trainings" in Page(html_text(view)).says()
    assert "3 reads of the test split are counted for 2 trainings" in report_text(view, [])


@pytest.mark.long
@pytest.mark.parametrize("count", [1, 2, 10_000])
def test_dots_of_trials_can_be_seen(tmp_path, count):
    rewards = np.random.default_rng(0).uniform(50, 90, count).round(2).tolist()
    view = load_view(searched(tmp_path, rewards, [FINISHED]))
    text = html_text(view)
    clouds = re.findall(r'<g class="cloud search">(.*?)</g>', text)
    radii = [float(r) for cloud in clouds for r in re.findall(r' r="([\d.]+)"', cloud)]
    assert min(radii) >= (3.1 if count <= 2 else 1.6)
    assert 1 <= len(radii) <= 3 * 801


def test_a_curve_is_bounded_and_keeps_its_ends():
    long = curve_of([1 / n for n in range(1, 1_001)])
    assert len(long) == MOST_POINTS
    assert (long[0], long[-1]) == ([1, 1.0], [1_000, 0.001])
    assert curve_of([0.5]) == [[1, 0.5]]
    assert curve_of([2.0, 1.0]) == [[1, 2.0], [2, 1.0]]


@pytest.mark.long
def test_a_search_draws_the_learning_curves_of_its_final_trainings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    space = "--dataset digits --space nasnet --space-arg nodes=1 --width 2 --depth 1"
    small = f"{space} --train-images 64 --trials 2 --epochs 1 --final-epochs 2"
    assert main(["search", *small.split(), "--final-seeds", "1", "--name", "a"]) == 0
    view = load_view(tmp_path / "results" / "a")
    assert view.image_counts["test"] == 359
    curves = [note["curve"] for note in view.notes if "curve" in note]
    assert all([epoch for epoch, _ in curve] == [1, 2] for curve in curves)
    assert len(curves) == len({event["key"] for event in view.ledger.finals})
    said = Page((view.folder / "report.html").read_text()).says()
    assert "Learning curves of the final trainings" in said
    assert "chance level" in said
    assert (view.folder / "figures" / "curves.svg").is_file()
    assert "curves.svg" in (view.folder / "report.md").read_text()
