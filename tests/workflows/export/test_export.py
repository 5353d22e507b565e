"""Exports: every format computes the original, what cannot leaves nothing, and the model card tells the truth."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import nas
from nas.cli.main import main
from nas.data.splits import load_splits
from nas.engine.random_streams import FINAL, derive
from nas.errors import ConfigError
from nas.graph import Conv, Flatten, GlobalAvgPool, Graph, GraphBuilder, Linear, Relu
from nas.graph.primitives.layers import BatchNorm
from nas.models.resolve import SizeOptions
from nas.report.run_view import load_view
from nas.runs.journal import Journal, read
from nas.training.evaluation import measure
from nas.workflows.export import formats as export_formats
from nas.workflows.export import write as exports
from nas.workflows.export.formats import FORMATS, Network, difference
from nas.workflows.export.model import ExportModel, model_of

EDGES = ["edge_0_1", "edge_0_2", "edge_1_2", "edge_0_3", "edge_1_3", "edge_2_3"]
OPERATIONS = ["nor_conv_3x3", "skip_connect", "nor_conv_1x1", "avg_pool_3x3", "nor_conv_3x3", "skip_connect"]
CELL = {
    "format": "nas/architecture/1",
    "space": "nb201",
    "args": {},
    "decisions": dict(zip(EDGES, OPERATIONS, strict=True)),
}
needs_onnx = pytest.mark.skipif(bool(FORMATS["onnx"].missing), reason="the packages of the extra 'onnx' are not here")

Nas = Callable[[str], str]


def small(channels: int = 4) -> Graph:
    """Two convolutions, the first with a norm."""
    b = GraphBuilder((3, 8, 8))
    x = b(Relu(), b(BatchNorm(), b(Conv(channels, 3, padding=1), b.input)))
    x = b(Conv(2 * channels, 3, 2, bias=True), x)
    return b.build(logits=b(Linear(5), b(Flatten(), b(GlobalAvgPool(), x))))


def subject(**changes: Any) -> ExportModel:
    return replace(ExportModel("small", small(), "logits", "key", "A small network"), **changes)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a graph, an architecture and a run; the exports of the tests go there too."""
    place = tmp_path_factory.mktemp("export")
    (place / "small-net.json").write_text(json.dumps(small().to_json()))
    (place / "cell.json").write_text(json.dumps(CELL))
    run = "--space nb201 --width 2 --depth 1 --trials 1 --baseline none --epochs 1 --final-epochs 2 --final-seeds 2"
    assert main(f"search --name digits --dataset digits {run} --results-dir {place}/results --threads 1".split()) == 0
    return place


@pytest.fixture
def nas_command(folder: Path, capsys: pytest.CaptureFixture[str]) -> Nas:
    """Run ``export`` with arguments in which ``{}`` is the folder; return what it printed."""

    def run(arguments: str) -> str:
        capsys.readouterr()
        text = f"export {arguments.replace('{}', str(folder))} --results-dir {folder}/results"
        assert main(shlex.split(text)) == 0
        return capsys.readouterr().out

    return run


def blocks(card: Path) -> list[str]:
    """The Python code of a model card: how each format is loaded."""
    return re.findall(r"```python\n(.*?)```", card.read_text(), re.DOTALL)


def run_blocks(place: Path, codes: Sequence[str], shape: Sequence[int]) -> list[torch.Tensor]:
    """Run pieces of a card beside its files, in a process that cannot import this project."""
    head = "import sys, torch\nsys.modules['nas'] = sys.modules['search_spaces'] = None\nsys.path.insert(0, '.')\n"
    head += f"image = torch.randn({list(shape)}, generator=torch.Generator().manual_seed(7))\nfound = []\n"
    tail = "found.append(torch.as_tensor(logits).detach().clone())\n"
    foot = "from safetensors.torch import save_file\nsave_file({str(i): x for i, x in enumerate(found)}, 'found')\n"
    code = head + "".join(c + tail for c in codes) + foot
    done = subprocess.run([sys.executable, "-I", "-B", "-c", code], cwd=place, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = load_file(place / "found")
    (place / "found").unlink()
    return [found[str(i)] for i in range(len(codes))]


@pytest.mark.long
@needs_onnx
@pytest.mark.parametrize(
    ("flags", "stem", "shape"),
    [
        ("{}/small-net.json", "small_net", (3, 8, 8)),
        pytest.param("{}/cell.json --width 4 --depth 1 --fold-bn", "cell", (3, 32, 32), marks=pytest.mark.long),
    ],
    ids=["graph", "folded cell"],
)
def test_every_format_computes_the_network_where_this_project_is_not(
    nas_command: Nas, folder: Path, tmp_path: Path, flags: str, stem: str, shape: tuple[int, ...]
) -> None:
    out = tmp_path / "out"
    told = nas_command(f"{flags} -o {out}")
    files = {f"{stem}{form.suffix}" for form in FORMATS.values()}
    assert {path.name for path in out.iterdir()} == files | {"model_card.md", "graph.json", "config.json"}
    assert "freshly initialised (seed 0), not trained" in told
    assert not any(word in path.read_bytes() for path in out.iterdir() for word in (b"site-packages", b"/module.py"))
    source, weights, *others = blocks(out / "model_card.md")
    assert "import nas" in weights
    found = run_blocks(out, [source, *others], (5, *shape))
    wanted = nas.build_module(nas.load(out / "graph.json"))
    wanted.load_state_dict(load_file(out / f"{stem}.safetensors"))
    images = torch.randn(5, *shape, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        logits = wanted.eval()(images)
    assert [difference(f, logits) < 1e-5 for f in found] == [True] * 3
    card = (out / "model_card.md").read_text()
    assert ("| batch norms | 14 of 15 folded; as trained: " in card) == ("--fold-bn" in flags)


@pytest.mark.long
def test_the_trained_weights_of_a_run_reach_its_score(nas_command: Nas, folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    told = nas_command(f"digits --formats safetensors --fold-bn -o {out}")
    assert "trained by the run's final comparison, its first seed" in told
    card = (out / "model_card.md").read_text()
    rows = json.loads((folder / "results/digits/summary.json").read_text())["finals"]
    scores = next(row["scores"] for row in rows if row["role"] == "search")
    assert f"These weights: {scores[0]:.2f} % top-1 on the test split of digits" in card
    assert f"The 2 seeds of the final comparison, each read once: {scores[0]:.2f} %, {scores[1]:.2f} %." in card
    assert "Trained from scratch for 2 epochs" in card
    assert "learning_rate = 0.1\n" in card
    module = nas.build_module(nas.load(out / "graph.json"))
    module.load_state_dict(load_file(out / "digits.safetensors"))
    splits = load_splits("digits")
    mean, deviation = (np.float32(json.loads(text)) for text in re.findall(r"(\[[\d.]+\])", card)[:2])
    images = splits.train.joined(splits.validation)
    assert np.allclose((255 * mean, 255 * deviation), images.moments, rtol=1e-4)
    assert "Classes, in its order: 0 `0`, 1 `1`" in card
    assert measure(module, splits.test, images).accuracy == pytest.approx(scores[0], abs=0.3)  # folded


@pytest.mark.long
@pytest.mark.parametrize("failed", [False, True], ids=["out of order", "the first seed failed"])
def test_the_accuracy_of_weights_is_that_of_their_own_seed(folder: Path, tmp_path: Path, failed: bool) -> None:
    shutil.copytree(folder / "results/digits", tmp_path / "digits")
    path = tmp_path / "digits/journal.jsonl"
    header, *events = ({k: v for k, v in e.items() if k not in ("seq", "crc")} for e in read(path))
    scores = {e["number"]: e["score"] for e in events if e["event"] == "final" and e["role"] == "search"}
    others = [e for e in events if e["event"] != "final"]
    finals = [e for e in reversed(events) if e["event"] == "final"]
    if failed:
        finals = [{**e, "score": None, "failure": "diverged"} if e["number"] == 0 else e for e in finals]
    path.unlink()
    with closing(Journal.create(path, {k: v for k, v in header.items() if k != "event"})) as journal:
        journal.append([*others, *finals])
    found = model_of("digits", SizeOptions(), results=tmp_path)
    assert found.training is not None
    assert found.training.scores == (() if failed else (scores[0], scores[1]))
    assert found.training.seed == derive(load_view(tmp_path / "digits").config.seed, 0, 0, FINAL)


def test_a_training_gives_its_weights_at_its_own_size_alone(
    nas_command: Nas, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = f"--results-dir {folder}/results"
    sizes = "--width 2 --depth 1 --dataset digits --epochs 1 --train-images 200 --threads 1 --seed 3"
    assert main(shlex.split(f"train {folder}/cell.json {sizes} --name trained {results}")) == 0
    told = nas_command(f"trained --formats safetensors -o {tmp_path}/out")
    assert "trained by the run, seed 3" in told
    run = folder / "results/trained"
    assert (tmp_path / "out/trained.safetensors").read_bytes() == (run / "weights.safetensors").read_bytes()
    nas_command(f"{{}}/results/trained --formats safetensors -o {tmp_path}/by-path")
    assert (tmp_path / "by-path/trained.safetensors").read_bytes() == (run / "weights.safetensors").read_bytes()
    card, found = (tmp_path / "out/model_card.md").read_text(), json.loads((run / "summary.json").read_text())
    accuracy = f"{found['top1']:.2f} % top-1, {found['top5']:.2f} % top-5 on the test split of digits, read once"
    assert accuracy in card
    assert "deviation [" in card
    capsys.readouterr()
    assert main(shlex.split(f"export trained --width 3 -o {tmp_path}/wide {results}")) == 2
    assert "run 'trained' trained a network of one size; for another size export '" in capsys.readouterr().err
    (run / "journal.jsonl").write_text((run / "journal.jsonl").read_text().splitlines(keepends=True)[0])
    assert main(shlex.split(f"export trained -o {tmp_path}/early {results}")) == 2
    assert "has no weights yet, its training is running or killed" in capsys.readouterr().err


def test_another_size_has_new_weights_and_says_so(nas_command: Nas, tmp_path: Path) -> None:
    told = nas_command(f"digits --width 3 --formats safetensors -o {tmp_path}/wide")
    assert "freshly initialised (seed 0), not trained; the run's own belong to its network of" in told
    assert "no accuracy is claimed" in (tmp_path / "wide/model_card.md").read_text()
    told = nas_command(f"digits --width 2 --formats safetensors -o {tmp_path}/same")
    assert "trained by the run's final comparison" in told


def test_what_was_exported_can_be_exported_again_with_its_weights(nas_command: Nas, tmp_path: Path) -> None:
    first, again = tmp_path / "first", tmp_path / "again"
    nas_command(f"digits --formats safetensors --fold-bn -o {first}")
    told = nas_command(
        f"{first}/graph.json --weights {first}/digits.safetensors --formats safetensors --input 1,8,8 -o {again}"
    )
    assert "those of the file `digits.safetensors`" in told
    assert (again / "graph.safetensors").read_bytes() == (first / "digits.safetensors").read_bytes()
    assert "their recipe and accuracy are not known here" in (again / "model_card.md").read_text()


def test_new_weights_are_always_the_same_and_leave_the_global_generator_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    for name in ("a", "b"):
        exports.export(subject(), tmp_path / name, ["safetensors"])
    assert torch.equal(before, torch.get_rng_state())
    assert (tmp_path / "a/small.safetensors").read_bytes() == (tmp_path / "b/small.safetensors").read_bytes()


def test_auxiliary_heads_stay_behind(tmp_path: Path) -> None:
    b = GraphBuilder((3, 8, 8))
    x = b(Flatten(), b.input)
    graph = b.build(aux=b(Linear(5), x, name="head"), logits=b(Linear(5), b(Relu(), x), name="classifier"))
    (tmp_path / "graph.json").write_text(json.dumps(graph.to_json()))
    found = model_of(str(tmp_path / "graph.json"), SizeOptions())
    assert [name for name, _ in found.graph.outputs] == ["logits"]
    exports.export(found, tmp_path / "out", ["safetensors"])
    assert set(load_file(tmp_path / "out/graph.safetensors")) == {"classifier.weight", "classifier.bias"}


def slightly_other(network: Network) -> Network:
    """The network with one weight that is a little larger."""
    changed = export_formats.new_network(network.graph, network.output, None)
    with torch.no_grad():
        next(changed.module.parameters())[0] += 0.01
    return changed


@pytest.mark.long
@pytest.mark.parametrize("name", ["safetensors", "pt2", pytest.param("onnx", marks=needs_onnx)])
@pytest.mark.parametrize("fold", [False, True])
def test_wrong_weights_in_a_file_are_found_and_nothing_is_left(
    name: str, fold: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    form = FORMATS[name]
    monkeypatch.setitem(FORMATS, name, replace(form, write=lambda n, path: form.write(slightly_other(n), path)))
    with pytest.raises(
        ConfigError, match=rf"format '{name}': what was written computes something else: outputs differ"
    ):
        exports.export(subject(), tmp_path / "out", ["safetensors", name], fold)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.long
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("return x", "return x * 1.001", "format 'py': what was written computes something else"),
        ("import torch\n", "import nas\n", "format 'py': the file does not run: .*import of nas halted"),
        ("nn.Linear(8, 5)", "nn.Linear(8, 6)", "format 'py': the file does not run"),
    ],
    ids=["other result", "needs this project", "other layers"],
)
def test_a_source_that_is_wrong_is_found_and_nothing_is_left(
    old: str, new: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = export_formats.source_code(small())
    assert old in code
    monkeypatch.setattr(export_formats, "source_code", lambda *_: code.replace(old, new))
    with pytest.raises(ConfigError, match=message):
        exports.export(subject(), tmp_path / "out", ["py"])
    assert list(tmp_path.iterdir()) == []


def test_what_torch_cannot_export_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(network: Network, path: Path) -> None:
        raise torch.onnx.OnnxExporterError("no operator\nfor it")

    monkeypatch.setitem(FORMATS, "pt2", replace(FORMATS["pt2"], write=refuse))
    with pytest.raises(ConfigError, match="format 'pt2' cannot express the network: no operator for it"):
        exports.export(subject(), tmp_path / "out", ["pt2"])
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(network: Network, path: Path) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setitem(FORMATS, "py", replace(FORMATS["py"], write=interrupt))
    with pytest.raises(KeyboardInterrupt):
        exports.export(subject(), tmp_path / "out", ["py"])
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_export_left_goes_and_an_empty_folder_is_used(tmp_path: Path) -> None:
    (tmp_path / ".out.123.new").mkdir()
    (tmp_path / "out").mkdir()
    exports.export(subject(), tmp_path / "out", ["safetensors"])
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_outputs_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = export_formats.new_network(small(), "logits", None).module.state_dict()
    save_file({n: v * math.nan if v.is_floating_point() else v for n, v in state.items()}, tmp_path / "nan.safetensors")
    with pytest.raises(ConfigError, match="not finite"):
        exports.export(subject(weights=tmp_path / "nan.safetensors"), tmp_path / "out", ["safetensors"])
    assert not (tmp_path / "out").exists()


def test_the_difference_is_relative_and_never_hides_a_nan() -> None:
    zeros, ones, nan = torch.zeros(2), torch.ones(2), torch.tensor([1, math.nan])
    assert difference(100 * ones + 1, 100 * ones) == pytest.approx(0.01)
    assert difference(zeros, zeros) == 0
    assert difference(ones, zeros) == difference(nan, ones) == difference(torch.ones(3), ones) == math.inf


def test_names_of_files_can_be_imported() -> None:
    stems = {name: subject(name=name).stem for name in ("resnet18", "nb201-random-1", "3nets", "class", "né.t")}
    assert stems == {
        "resnet18": "resnet18",
        "nb201-random-1": "nb201_random_1",
        "3nets": "network_3nets",
        "class": "network_class",
        "né.t": "n__t",
    }


WRONG = {
    "unknown target": ("resnet19 -o {out}/x", "unknown run, network, genotype or file 'resnet19'; did you mean"),
    "unknown format": ("lenet5 --formats py,onx -o {out}/x", "--formats: unknown format 'onx'; did you mean 'onnx'?"),
    "no format": ("lenet5 --formats '' -o {out}/x", "--formats: unknown format ''"),
    "no folder": ("lenet5", "-o"),
    "no parent": ("lenet5 -o {out}/no/x", "the folder '{out}/no' does not exist"),
    "folder in use": ("lenet5 -o {out}/used", "-o '{out}/used' exists already; name a new folder"),
    "file": ("lenet5 -o {out}/used/file", "-o '{out}/used/file' exists already"),
    "no weights": ("lenet5 --weights {out}/none -o {out}/x", "--weights '{out}/none': there is no such file"),
    "weights of text": ("lenet5 --weights {out}/used/file -o {out}/x", "are no safetensors file"),
    "weights of another": (
        "{}/small-net.json --weights {out}/other.safetensors -o {out}/x",
        "must be (4, 3, 3, 3), found (6, 3, 3, 3)",
    ),
    "width of a network": ("lenet5 --width 3 -o {out}/x", "--width: 'lenet5' has a size of its own"),
    "classes of a graph": ("{}/small-net.json --classes 3 -o {out}/x", "cannot be built for 3"),
    "input": ("lenet5 --input 3 -o {out}/x", "--input must be C,H,W"),
    "no classes": ("digits --classes 0 -o {out}/x", "--classes must be at least 1, found 0"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_one_line_and_writes_nothing(
    case: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used/file").write_text("mine")
    export_formats.save_weights(
        export_formats.new_network(small(6), "logits", None).module, tmp_path / "other.safetensors"
    )
    before = sorted(tmp_path.rglob("*"))
    command, message = (text.replace("{}", str(folder)).replace("{out}", str(tmp_path)) for text in WRONG[case])
    capsys.readouterr()
    assert main(shlex.split(f"export {command} --results-dir {folder}/results")) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.long
def test_a_missing_package_is_one_line_and_the_default_does_without(
    nas_command: Nas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(export_formats, "find_spec", lambda name: None if name == "onnxruntime" else object())
    assert main(["export", "lenet5", "--formats", "onnx", "-o", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err == "error: format 'onnx' needs onnxruntime: pip install 'nas-toolkit[onnx]'\n"
    told = nas_command(f"lenet5 -o {tmp_path}/y")
    assert {path.suffix for path in (tmp_path / "y").iterdir()} == {".py", ".safetensors", ".pt2", ".md", ".json"}
    assert "no ONNX file: it needs more packages, pip install 'nas-toolkit[onnx]'" in told


def test_an_export_tells_nothing_of_this_machine(nas_command: Nas, folder: Path, tmp_path: Path) -> None:
    nas_command(f"{{}}/small-net.json --formats safetensors -o {tmp_path}/out")
    text = "".join((tmp_path / "out" / name).read_text() for name in ("model_card.md", "graph.json"))
    assert "The network of `small-net.json`" in text
    assert not any(word in text for word in (str(folder), str(tmp_path), os.uname().nodename))
