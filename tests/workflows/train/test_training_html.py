"""The HTML report of a training: whole, escaped, true to the journal, with its curves."""

from __future__ import annotations

import re
import shlex
import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from html_page import CHROMIUM, EVIL, Page, check_alone, console

from nas.cli.main import build_parser, main
from nas.report.html.charts import Chart, linear_axis
from nas.runs.journal import read
from nas.workflows.command_words import training_command
from nas.workflows.train.outputs import next_steps, training_html, write_training
from nas.workflows.train.settings import settings_from
from nas.workflows.train.view import ROWS, TrainingView, facts, load_training, result_line, size_line, training_view

TRAINED = {"event": "trained", "top1": 87.25, "top5": 99.125, "loss": 0.4321, "device": "CPU", "switches": ["fused"]}
NETWORK = {"name": "resnet18", "width": 4, "params": 701_818, "macs": 738_816, "input": [1, 8, 8], "digest": "0" * 32}


def epoch(number: int, validated: bool = False) -> dict[str, Any]:
    event = {"event": "epoch", "number": number, "loss": 2 / number, "seconds": 3.5}
    found = {"accuracy": 50.0 + number, "top5": 80.0 + number, "loss": 2.5 / number}
    return {**event, "validation": found} if validated else event


def view_of(
    events: list[dict[str, Any]], network: dict[str, Any] | None = None, command: str = "train", **given: Any
) -> TrainingView:
    """Return a training of three epochs, begun with a forecast of 9 s, to which ``events`` happened."""
    start = given.pop("start", None)
    settings = settings_from(command, None, {"target": "resnet18", "epochs": 3, "seed": 5, **given}).to_json()
    settings |= {} if start is None else {"start": start}
    first = {"event": "run", "kind": "train", "settings": settings, "network": {**NETWORK, **(network or {})}}
    began = {"event": "began", "workers": None, "forecast": 9.0}
    return training_view(Path("mine"), [first, began, *events])


def whole(**more: Any) -> TrainingView:
    events = [epoch(1), epoch(2, True), epoch(3, True), {"event": "test_read"}, TRAINED]
    return view_of([*events, {"event": "stopped", "reason": "finished"}], **more)


def test_the_page_is_one_whole_file_that_loads_nothing() -> None:
    page = check_alone(training_html(whole()))
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids)) == 4


def test_every_number_of_the_training_is_in_the_page() -> None:
    view = whole(network={"not_applied": ["drop_path"]}, validate=1)
    said = Page(training_html(view)).says()
    assert result_line(view)[1:] in said
    assert size_line(view.network) in said
    for fact in facts(view):
        assert re.sub(r"[\s`]", "", fact) in re.sub(r"\s", "", said)
    for words in ("87.25", "99.12", "0.4321", "702 k", "739 k", "forecast 9.0 s", "10.5 s", "Test split read: 1 time"):
        assert words in said
    for event in view.epochs:
        assert f"{event['number']} {event['loss']:.4f}" in said
    assert "53 83 0.8333 3.5" in said
    assert "validation top-1: 53 in the end" in said
    assert "drop_path" in said
    assert "learning_rate" in said


def test_without_validation_there_is_the_curve_of_the_loss_alone() -> None:
    text = training_html(view_of([epoch(n) for n in (1, 2, 3)]))
    assert "Loss by epoch" in text
    assert "Validation accuracy" not in text
    assert "validation loss" not in text


@pytest.mark.parametrize("events", [[], [epoch(1)], [epoch(1), {"event": "stopped", "reason": "interrupted"}]])
def test_a_training_that_is_not_over_says_so(events: list[dict[str, Any]]) -> None:
    view = view_of(events)
    said = check_alone(training_html(view)).says()
    assert "nas resume mine" in said
    assert view.status in said
    assert "the test split is not measured yet" in said
    assert ("after epoch 1" in said) == bool(view.epochs)


def test_a_training_that_failed_says_why() -> None:
    events = [epoch(1), {"event": "lost", "message": "worker 1 died"}, {"event": "began"}]
    view = view_of([*events, {"event": "stopped", "reason": "failed", "message": EVIL}])
    said = check_alone(training_html(view)).says()
    assert f"It failed: {EVIL}." in said
    assert "began or was resumed 2 times; the group was lost 1 time" in said


def test_what_came_from_outside_is_escaped_and_a_fine_tuning_says_what_it_began_with() -> None:
    start = {"weights": EVIL, "digest": "0", "frozen": ["<i>stem</i>"], "factor": 0.1, "reason": "<u>little</u> data"}
    damaged = {"count": 2, "first": ["<img src=x>", "b.png"]}
    events = [epoch(1), {"event": "test_read"}, {**TRAINED, "top5": None, "damaged": damaged}]
    view = view_of(events, {"name": "<b>x</b>" + "y" * 300}, "finetune", start=start)
    page = check_alone(training_html(view))
    assert page.tags["i"] == page.tags["u"] == page.tags["b"] == 0
    said = page.says()
    for words in (EVIL, "<i>stem</i>", "<u>little</u> data", "2 damaged files", "Fine-tuning", "--lr-factor 0.1"):
        assert words in said
    assert "top-5" not in said


def test_many_epochs_are_thinned_in_the_table_and_none_is_missing_in_the_curve() -> None:
    text = training_html(view_of([epoch(n) for n in range(1, 301)], epochs=300))
    assert text.count('<tr><th scope="row">') <= ROWS
    assert text.count("<line x1=") == 299
    assert "(one in 8)" in text


def test_a_path_goes_straight_from_point_to_point() -> None:
    axis = linear_axis([0, 4], "x")
    svg = Chart(axis, axis).path([(0, 1), (2, 4), (4, 0)], "search", "<loss>").svg("t")
    line = next(e for e in ElementTree.fromstring(svg).iter() if e.get("class") == "line search")
    places = [tuple(e.get(k) for k in ("x1", "y1", "x2", "y2")) for e in line.findall("line")]
    assert len(places) == 2
    assert places[0][2:] == places[1][:2]
    assert len(line.findall("circle")) == 3


def test_the_command_of_a_training_makes_the_same_settings_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    own = ["--train-images", "120", "--batch-size", "20", "--width", "2", "--threads", "1", "--epochs", "1"]
    assert main(["train", "resnet18", *own, "--validate", "1", "--seed", "3", "--name", "one"]) == 0
    assert f"report: {Path('results/one/report.html')}" in capsys.readouterr().out
    write_training(Path("results/one"))
    view = load_training(Path("results/one"))
    text = Path("results/one/report.html").read_text()
    assert text == training_html(view)
    check_alone(text)

    command = shlex.split(" ".join(training_command(view.settings)))
    assert command[:3] == ["nas", "train", "resnet18"]
    shown = re.search(r"<summary>(default\.json)</summary><pre>(.*?)</pre>", text, re.S)
    assert shown is not None
    Path(shown[1]).write_text(shown[2].replace("&#34;", '"'))
    assert main(command[1:]) == 0
    again = read(Path("results/NEW_NAME/journal.jsonl"))[0]["settings"]
    assert again["recipe"].pop("name") == "default.json"
    assert {**again, "recipe": {"name": "default", **again["recipe"]}} == view.settings.to_json()


@pytest.mark.long
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium or Chrome is installed")
def test_a_browser_opens_the_page_without_an_error_or_a_request(tmp_path: Path) -> None:
    assert console(tmp_path, training_html(whole())) == []


def test_a_lost_group_is_no_failure() -> None:
    said = Page(training_html(view_of([epoch(1), {"event": "lost", "message": "worker 1 died"}]))).says()
    assert "It failed" not in said


def test_commands_find_the_run_where_it_lies() -> None:
    there = replace(whole(), folder=Path("/data/my runs/mine"))
    assert "nas report mine --results-dir '/data/my runs'" in Page(training_html(there)).says()
    assert "--results-dir" not in Page(training_html(replace(there, folder=Path("results/mine")))).says()


def test_the_result_of_a_training_has_the_interval_of_its_test_images() -> None:
    counts = {"classes": 10, "test": 359, "test_commonest": 37}
    view = whole()
    events = [{**e, "top1": 95.0, "notes": {"images": counts}} if e["event"] == "trained" else e for e in view.events]
    told = result_line(replace(view, events=events))
    assert "top-1 95 % interval 92.21 to 96.81 (Wilson, 359 images), chance level 10.31 %" in told
    assert "interval" not in result_line(view)


def test_what_to_do_next_is_what_the_command_line_takes() -> None:
    steps = [*next_steps(whole()), *next_steps(view_of([epoch(1)]))]
    assert [step.command.split()[1] for step in steps] == ["train", "export", "resume"]
    for step in steps:
        words = shlex.split(step.command)[1:]
        parser, known = build_parser()
        known[words[0]].check_flags(words)
        assert parser.parse_args(words)
    assert "--epochs 12" in steps[0].command
