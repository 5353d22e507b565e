"""Names of classes and pixels' normalization, from the images into runs, reports, comparisons and exports."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pictures import make_folder

from nas.cli.main import main
from nas.core.values import ClassCounts
from nas.data.splits import load_splits
from nas.errors import JournalError
from nas.evaluators.train import _splits
from nas.graph import BatchNorm, Conv, Flatten, GlobalAvgPool, GraphBuilder, Linear, Relu
from nas.report.classes import class_accuracies, class_table
from nas.report.markdown import class_section
from nas.report.statistics import share_interval
from nas.runs.journal import Journal, read
from nas.workflows.export.formats import FORMATS

NAMES = ["=1+1", "a,b", "café au lait"]
needs_onnx = pytest.mark.skipif(bool(FORMATS["onnx"].missing), reason="the packages of the extra 'onnx' are not here")
Run = Callable[[str], str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images of three classes with odd names, and a search and a training on them."""
    place = tmp_path_factory.mktemp("classes")
    photos = make_folder(place / "photos", val=4)
    for split in ("train", "val"):
        for old, new in zip(("ant", "bee", "cat"), NAMES, strict=True):
            (photos / split / old).rename(photos / split / new)
    data = f"--dataset folder --data-dir {photos} --image-size 8 --threads 1 --results-dir {place}/results --epochs 1"
    search = "--space nb201 --width 2 --depth 1 --trials 1 --baseline none --final-epochs 2 --final-seeds 2"
    assert main(shlex.split(f"search --name found {search} {data}")) == 0
    b = GraphBuilder((3, 8, 8))
    x = b(Relu(), b(BatchNorm(), b(Conv(4, 3, padding=1), b.input)))
    net = b.build(logits=b(Linear(3), b(Flatten(), b(GlobalAvgPool(), x))))
    (place / "small.json").write_text(json.dumps(net.to_json()))
    assert main(shlex.split(f"train {place}/small.json --name trained {data}")) == 0
    return place


@pytest.fixture
def command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Carry a command out, ``{}`` being the folder and ``{out}`` a new one; return what it printed."""

    def run(text: str, code: int = 0) -> str:
        capsys.readouterr()
        text = text.replace("{}", str(folder)).replace("{out}", str(tmp_path / "out"))
        assert main(shlex.split(f"{text} --results-dir {folder}/results")) == code
        printed = capsys.readouterr()
        return printed.err if code else printed.out

    return run


def summary(run: Path, name: str = "summary.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / name).read_text())
    return found


def told(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Events without what differs between equal runs."""
    return [{k: v for k, v in e.items() if k not in ("seq", "crc", "time", "seconds", "wall")} for e in events]


def rewritten(run: Path, keep: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Write a journal again with what ``keep`` makes of its events."""
    events = [kept for e in read(run / "journal.jsonl") if (kept := keep(e)) is not None]
    header, *events = [{k: v for k, v in e.items() if k not in ("seq", "crc")} for e in events]
    (run / "journal.jsonl").unlink()
    with closing(Journal.create(run / "journal.jsonl", {k: v for k, v in header.items() if k != "event"})) as journal:
        journal.append(events)


def test_a_search_knows_its_classes_and_how_it_did_on_each(folder: Path) -> None:
    run = folder / "results/found"
    events = read(run / "journal.jsonl")
    assert events[0]["class_names"] == NAMES
    finals = [e for e in events if e["event"] == "final" and e["role"] == "search"]
    for final in finals:
        counts = ClassCounts.from_json(final["per_class"])
        assert counts.images == (4, 4, 4)
        assert final["score"] == pytest.approx(100 * sum(counts.correct) / 12)
    found = summary(run)
    splits = load_splits("folder", folder / "photos", image_size=8)
    mean, std = splits.train.joined(splits.validation).moments  # type: ignore[arg-type]
    assert found["class_names"] == NAMES
    assert np.allclose(found["normalization"]["mean"], mean / 255, atol=1e-6)
    assert np.allclose(found["normalization"]["std"], std / 255, atol=1e-6)
    worst_first = [row["accuracy"] for row in found["per_class"]]
    assert worst_first == sorted(worst_first)
    for row in found["per_class"]:
        right = sum(final["per_class"]["correct"][row["label"]] for final in finals)
        assert (row["name"], row["images"]) == (NAMES[row["label"]], 4)
        assert row["accuracy"] == pytest.approx(100 * right / 8)
        assert 0 <= row["interval"]["low"] <= row["accuracy"] <= row["interval"]["high"] <= 100


def test_reports_have_a_section_of_classes(folder: Path) -> None:
    for name in ("found", "trained"):
        text, page = ((folder / "results" / name / f"report.{kind}").read_text() for kind in ("md", "html"))
        section = text.partition("## Accuracy by class\n")[2].partition("\n## ")[0]
        rows = [line.split(" | ")[0].removeprefix("| ") for line in section.splitlines() if " | 4 | " in line]
        assert rows == [row["name"] for row in summary(folder / "results" / name)["per_class"]]
        assert page.count('<section id="classes">') == 1
        assert all(f'<th scope="row">{name}</th><td>4</td>' in page for name in NAMES)


def test_a_resumed_search_counts_what_an_uninterrupted_one_counts(folder: Path, command: Run, tmp_path: Path) -> None:
    run = folder / "results/found"
    whole = told(read(run / "journal.jsonl"))
    shutil.copytree(run, tmp_path / "found")
    lines = (run / "journal.jsonl").read_text().splitlines(keepends=True)
    last = max(i for i, event in enumerate(whole) if event["event"] == "final" and "per_class" in event)
    try:
        (run / "journal.jsonl").write_text("".join(lines[:last]))
        command("resume found")
        again = [e for e in told(read(run / "journal.jsonl")) if e["event"] == "final"]
        assert again == [e for e in whole if e["event"] == "final"]
        assert summary(run)["per_class"] == summary(tmp_path / "found")["per_class"]
    finally:
        shutil.rmtree(run)
        shutil.copytree(tmp_path / "found", run)


def test_a_comparison_shows_classes_and_equal_networks_have_equal_counts(folder: Path, command: Run) -> None:
    data = "--dataset folder --data-dir {}/photos --image-size 8 --threads 1 --epochs 1 --seeds 1"
    command(f"compare found {{}}/results/found/best/graph.json --name compared {data}")
    run = folder / "results/compared"
    found = summary(run, "compare.json")
    assert found["class_names"] == NAMES
    assert found["normalization"] == summary(folder / "results/found")["normalization"]
    first, second = (row["per_class"] for row in found["rows"])
    assert first == second
    assert sorted(row["name"] for row in first) == NAMES
    assert "| class | images | found, % | graph, % |" in (run / "report.md").read_text()
    assert '<section id="classes-1">' in (run / "report.html").read_text()


@pytest.mark.parametrize("name", ["found", "trained"])
def test_runs_of_earlier_versions_stay_readable(name: str, folder: Path, command: Run, tmp_path: Path) -> None:
    def older(event: dict[str, Any]) -> dict[str, Any]:
        notes = {k: v for k, v in event.get("notes", {}).items() if k != "normalization"}
        new = ("class_names", "per_class", "normalization", "notes")
        return {k: v for k, v in event.items() if k not in new} | ({"notes": notes} if notes else {})

    shutil.copytree(folder / "results" / name, tmp_path / name)
    rewritten(tmp_path / name, older)
    assert main(["report", name, "--results-dir", str(tmp_path)]) == 0
    assert "Accuracy by class" not in (tmp_path / name / "report.md").read_text()
    assert summary(tmp_path / name)["class_names"] == []
    # the images tell what the journal does not, where they are there
    command(f"export {tmp_path}/{name} --formats safetensors --normalize -o {{out}}")
    assert summary(tmp_path / "out", "config.json")["class_names"] == NAMES
    (folder / "photos").rename(folder / "away")
    _splits.cache_clear()
    try:
        command(f"export {tmp_path}/{name} --formats safetensors -o {tmp_path}/without")
        assert "which were not here to compute them from" in (tmp_path / "without/model_card.md").read_text()
        command(f"export {name} --formats safetensors --normalize -o {tmp_path}/known")
        assert summary(tmp_path / "known", "config.json")["class_names"] == NAMES
    finally:
        (folder / "away").rename(folder / "photos")


def test_a_journal_with_strange_counts_is_refused_by_line(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder / "results/found", tmp_path / "found")
    wrong = {"per_class": {"correct": [5], "images": [4]}}
    rewritten(tmp_path / "found", lambda event: event | (wrong if "score" in event else {}))
    with pytest.raises(JournalError, match="'per_class' must be the images of every class and the correct ones"):
        read(tmp_path / "found/journal.jsonl")


@pytest.mark.long
@needs_onnx
def test_an_onnx_file_says_how_it_is_used(command: Run, folder: Path, tmp_path: Path) -> None:
    for name, flag in (("outside", ""), ("inside", "--normalize --fold-bn")):
        command(f"export trained --formats onnx {flag} -o {tmp_path}/{name}")
    onnx, runtime = import_module("onnx"), import_module("onnxruntime")
    made = {name: onnx.load(tmp_path / name / "trained.onnx") for name in ("outside", "inside")}
    facts = {name: {p.key: p.value for p in model.metadata_props} for name, model in made.items()}
    recorded = summary(folder / "results/trained")["normalization"]
    for name, model in made.items():
        assert [value.name for value in model.graph.input] == ["image"] == [facts[name]["input"]]
        assert json.loads(facts[name]["class_names"]) == NAMES
        assert (facts[name]["input_layout"], json.loads(facts[name]["input_range"])) == ("NCHW", [0, 1])
        card = (tmp_path / name / "model_card.md").read_text()
        assert "`image` is a float32 tensor (N, 3, 8, 8)" in card
        assert 'session.run(None, {"image": image.numpy()})' in card
        assert "Classes, in its order: 0 `=1+1`, 1 `a,b`, 2 `café au lait`." in card
        config = summary(tmp_path / name, "config.json")
        assert {k: v if isinstance(v, str) else json.dumps(v) for k, v in config.items()} == facts[name]
    assert {k: json.loads(facts["outside"][k]) for k in ("mean", "std")} == recorded
    # whoever does as the metadata say gets the same from both
    pixels = np.random.default_rng(0).random((5, 3, 8, 8), dtype=np.float32)
    found = []
    for name in made:
        mean, std = (np.float32(json.loads(facts[name][key])).reshape(-1, 1, 1) for key in ("mean", "std"))
        session = runtime.InferenceSession(str(tmp_path / name / "trained.onnx"), providers=["CPUExecutionProvider"])
        found += session.run(None, {"image": (pixels - mean) / std})
    assert np.abs(found[0] - found[1]).max() <= 1e-5 * np.abs(found[0]).max()


@pytest.mark.long
def test_every_other_format_normalizes_inside_too(command: Run, tmp_path: Path) -> None:
    command(
        "export trained --formats py,safetensors,pt2 --fold-bn --normalize -o {out}"
    )  # each is held to the original
    extra = {"config.json": ""}
    program = torch.export.load(tmp_path / "out/trained.pt2", extra_files=extra)
    config = summary(tmp_path / "out", "config.json")
    assert json.loads(extra["config.json"]) == config
    assert config["class_names"] == NAMES
    assert [node.name for node in program.graph.nodes if node.op == "placeholder"][-1] == "image"
    assert "def forward(self, image" in (tmp_path / "out/trained.py").read_text()
    assert (
        "and nothing else:\nthe network itself computes (x - mean[c]) / deviation[c]"
        in (tmp_path / "out/model_card.md").read_text()
    )


@pytest.mark.parametrize(("target", "name"), [("lenet5", "lenet5"), ("found --width 3", "found")])
def test_what_was_never_trained_has_no_normalization(target: str, name: str, command: Run, tmp_path: Path) -> None:
    error = command(f"export {target} --normalize -o {{out}}", 2)
    assert error.startswith(f"error: --normalize: mean and deviation of the pixels of '{name}' are unknown; ")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_classes_of_other_names_get_a_classifier_of_their_own(command: Run, folder: Path, tmp_path: Path) -> None:
    photos = shutil.copytree(folder / "photos", tmp_path / "photos")
    data = f"--dataset folder --data-dir {photos} --image-size 8 --threads 1 --epochs 1 --task different --data much"
    command(f"train {{}}/small.json --name base {data.partition(' --task')[0]}")
    assert "new, for other classes" not in command(f"finetune base --name same {data}")
    for split in ("train", "val"):
        (photos / split / "a,b").rename(photos / split / "zebra")
    assert "new, for other classes: " in command(f"finetune base --name renamed {data}")


def test_the_interval_of_a_share_is_wilsons() -> None:
    # R: binom::binom.confint(x, n, methods="wilson")
    for share, number, low, high in ((0.5, 6, 18.7616, 81.2384), (0.0, 10, 0.0, 27.7533), (1.0, 10, 72.2467, 100.0)):
        found = share_interval(share, number)
        assert (found.low, found.high) == pytest.approx((low, high), abs=1e-3)


def test_a_long_table_ends_and_says_where_the_rest_is() -> None:
    counts = ClassCounts((*range(24), 0), (*([30] * 24), 0))  # the last class has no test image
    found = class_accuracies([{"per_class": counts.to_json()}] * 2, [])
    assert [one.label for one in found] == list(range(24))
    table = class_table({"accuracy, %": found}, 2, "summary.json")
    assert table is not None
    assert [row[0] for row in table.rows] == [str(label) for label in range(20)]
    assert "the mean of 2 seeds" in table.note
    assert "These are 20 of 24 classes; `summary.json` has all of them." in table.note
    hostile = replace(table, rows=[["a|b <img src=x>", "1", "2"]])
    assert "| a\\|b \\<img src=x\\> | 1 | 2 |" in class_section(hostile)
    assert class_table({"accuracy, %": []}, 2, "summary.json") is None
