"""inspect, draw, source and list on named networks, and searches that start from them: used well and used wrongly."""

from __future__ import annotations

import ast
import json
import shlex
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from wrong_files import GRAPH

from nas.cli.main import main

Nas = Callable[[str], str]
Look = Callable[[Path], dict[str, bytes | None]]
SEARCH = "search --results-dir {out}/results --trials 2"

WRONG = {
    "unknown network": (
        "inspect resnet51",
        "genotype or file 'resnet51'; did you mean 'resnet50'?",
    ),
    "unknown network to draw": ("draw resnet51 -o {out}/x.svg", "did you mean 'resnet50'?"),
    "unknown network as source": ("source vgg61 -o {out}/x.py", "did you mean 'vgg1"),
    "unknown genotype": (
        "inspect DARTS_V3",
        "genotype or file 'DARTS_V3'; did you mean 'DARTS_V",
    ),
    "unknown list": ("list network", "unknown list 'network'; did you mean 'networks'?"),
    "unknown cell": ("draw DARTS_V2 --cell norml -o {out}/x.svg", "unknown cell 'norml'; did you mean 'normal'?"),
    "cell of a network": ("draw resnet18 --cell normal -o {out}/x.svg", "unknown cell 'normal' (known: none)"),
    "picture's suffix": (
        "draw resnet18 -o {out}/x.png",
        "-o must be a file that ends in .svg, .graphml, .dot or .json, found '{out}/x.png'",
    ),
    "drawing's format": ("draw resnet18 --format dott -o {out}/x.gv", "unknown format 'dott'; did you mean 'dot'?"),
    "level of dot": ("draw resnet18 --level 1 -o {out}/x.dot", "--level is for SVG; dot has every node"),
    "source's suffix": ("source resnet18 -o {out}/x.txt", "-o must be a file that ends in .py, found '{out}/x.txt'"),
    "no suffix": ("source resnet18 -o {out}/x", "-o must be a file that ends in .py"),
    "empty output": ("draw resnet18 -o ''", "-o must be a file that ends in .svg"),
    "no output": ("draw resnet18", "-o"),
    "drawing's missing folder": ("draw resnet18 -o {out}/no/x.svg", "the folder '{out}/no' does not exist"),
    "source's missing folder": ("source resnet18 -o {out}/no/x.py", "the folder '{out}/no' does not exist"),
    "output is a folder": ("source resnet18 -o {out}/folder.py", "cannot write '{out}/folder.py': Is a directory"),
    "small image for alexnet": ("inspect alexnet --input 3,32,32", "does not fit an input of 1"),
    "small image for inception": ("inspect inception_v3 --input 3,32,32", "an input of at least 3 is allowed"),
    "small image for vgg": ("inspect vgg16 --input 3,16,16", "node 'stage5.max_pool': max_pool: the window of 2"),
    "small image to draw": ("draw vgg16 --input 3,16,16 -o {out}/x.svg", "does not fit an input of 1"),
    "small image as source": ("source vgg16 --input 3,16,16 -o {out}/x.py", "does not fit an input of 1"),
    "small image for a graph": ("inspect {in}/graph.json --input 3,0,8", "--input must be C,H,W"),
    "width of a network": ("inspect lenet5 --width 8", "--width: 'lenet5' has a size of its own"),
    "depth of a network": ("inspect lenet5 --depth 8", "--depth: 'lenet5' has a size of its own"),
    "heads of a network without": ("inspect resnet18 --aux", "network 'resnet18' has no auxiliary heads"),
    "no room for heads": ("inspect DARTS_V2 --aux --input 3,8,8", "images of 3x8x8 leave no room for them"),
    "heads of an architecture": ("inspect {in}/arch_good.json --aux", "has no auxiliary heads"),
    "heads of a graph": ("inspect {in}/graph.json --aux", "network 'graph' has no auxiliary heads"),
    "classes of a graph": ("inspect {in}/graph.json --classes 5", "cannot be built for 5"),
    "two numbers": ("inspect resnet18 --input 3,32", "--input must be C,H,W: three integers"),
    "no pixels": ("inspect resnet18 --input 3,0,32", "--input must be C,H,W: three integers"),
    "endless number": (f"inspect resnet18 --input 3,32,{'9' * 5000}", "--input must be C,H,W"),
    "no classes": ("inspect resnet18 --classes 0", "--classes must be at least 1, found 0"),
    "classes in words": ("inspect resnet18 --classes ten", "--classes"),
    "level": ("draw resnet18 --level 0 -o {out}/x.svg", "level must be an integer of at least 1, found 0"),
    "class name": ("source resnet18 --class-name 1x -o {out}/x.py", "found '1x'"),
    "class name is Python's": ("source resnet18 --class-name class -o {out}/x.py", "found 'class'"),
    "class name is torch's": ("source resnet18 --class-name torch -o {out}/x.py", "found 'torch'"),
    "start from nonsense": (f"{SEARCH} --start-from nonsense", "--start-from nonsense: unknown run, network"),
    "start from a slip": (f"{SEARCH} --start-from resnt18", "did you mean 'resnet18'?"),
    "start from a network that is no point": (
        f"{SEARCH} --start-from googlenet",
        "--start-from googlenet: it is no point of a search space",
    ),
    "start from a missing file": (f"{SEARCH} --start-from {{in}}/none.json", "file '{in}/none.json' does not exist"),
    "start from a graph": (
        f"{SEARCH} --start-from {{in}}/graph.json",
        "--start-from {in}/graph.json: it is no point of a search space",
    ),
    "start from a damaged file": (
        f"{SEARCH} --start-from {{in}}/arch_missing.json",
        "--start-from {in}/arch_missing.json: decision 'edge_2_3' is missing",
    ),
    "start in another space": (
        f"{SEARCH} --space nb201 --start-from resnet18",
        "--start-from resnet18: it is of space 'stages', the search of 'nb201'",
    ),
    "second start of another space": (
        f"{SEARCH} --start-from resnet18 --start-from {{in}}/arch_good.json",
        "it is of space 'nb201', the search of 'stages'",
    ),
}


@pytest.fixture
def folders(wrong_files: Path, tmp_path: Path) -> dict[str, str]:
    """Names of the folders for reading and for writing; the first holds a good graph, too."""
    (wrong_files / "graph.json").write_text(json.dumps(GRAPH))
    out = tmp_path / "out"
    (out / "folder.py").mkdir(parents=True)
    return {"{in}": str(wrong_files), "{out}": str(out)}


def filled(text: str, folders: dict[str, str]) -> str:
    for name, folder in folders.items():
        text = text.replace(name, folder)
    return text


@pytest.fixture
def nas(folders: dict[str, str], capsys: pytest.CaptureFixture[str]) -> Nas:
    """Run a command that must succeed and return what it printed."""

    def run(command: str) -> str:
        capsys.readouterr()
        assert main(shlex.split(filled(command, folders))) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def facts(nas: Nas) -> Callable[[str], dict[str, Any]]:
    """Return what ``inspect --json`` says of a target with flags."""
    return lambda target: json.loads(nas(f"inspect {target} --json"))


@pytest.mark.parametrize("case", WRONG)
def test_a_mistake_is_one_line_and_writes_nothing(
    case: str, folders: dict[str, str], capsys: pytest.CaptureFixture[str], tree: Look
) -> None:
    command, words = (filled(text, folders) for text in WRONG[case])
    before = tree(Path(folders["{out}"]))
    assert main(shlex.split(command)) == 2
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert words in error
    assert tree(Path(folders["{out}"])) == before


def test_inspect_of_resnet50_is_exact(facts: Callable[[str], dict[str, Any]]) -> None:
    found = facts("resnet50")
    assert (found["params"], found["macs"]) == (25_557_032, 4_089_184_256)
    assert (found["input_shape"], found["output_shape"]) == ([3, 224, 224], [1000])
    assert found["memory_lecture"] == sum(found["memory_lecture_parts"].values())


def test_inspect_at_other_classes_and_another_size(facts: Callable[[str], dict[str, Any]]) -> None:
    own, few, small = facts("resnet50"), facts("resnet50 --classes 10"), facts("resnet50 --input 3,112,112")
    assert own["params"] - few["params"] == 990 * 2049
    assert few["output_shape"] == [10]
    assert small["params"] == own["params"]
    assert small["input_shape"] == [3, 112, 112]
    assert small["macs"] < own["macs"] / 3


def test_inspect_with_auxiliary_heads(facts: Callable[[str], dict[str, Any]]) -> None:
    own, heads = facts("googlenet"), facts("googlenet --aux")
    assert (own["params"], heads["params"]) == (6_624_904, 13_004_888)  # torchvision's two numbers
    assert own["output_shape"] == heads["output_shape"] == [1000]


def test_inspect_lists_the_layers(nas: Nas, facts: Callable[[str], dict[str, Any]]) -> None:
    found = facts("resnet18 --layers")
    rows = found["layers"]
    assert len(rows) == found["nodes"]
    for name in ("params", "macs", "activations"):
        assert sum(row[name] for row in rows) == found[name]
    assert rows[1]["shape"] == [64, 112, 112]
    words = nas("inspect resnet18 --layers")
    assert all(row["name"] in words for row in rows)


def test_inspect_of_a_genotype_at_a_width_and_depth(facts: Callable[[str], dict[str, Any]]) -> None:
    own, small = facts("DARTS_V2"), facts("DARTS_V2 --width 8 --depth 5 --classes 100 --input 3,64,64")
    assert own["output_shape"] == [10]
    assert small["output_shape"] == [100]
    assert small["input_shape"] == [3, 64, 64]
    assert small["params"] < own["params"] / 10


def test_a_name_is_the_network_and_a_path_the_file(
    facts: Callable[[str], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("resnet18", "mine"):
        (tmp_path / name).write_text(json.dumps(GRAPH))
    assert facts("resnet18")["params"] == 11_689_512
    assert facts("./resnet18")["params"] == facts("mine")["params"] == 158


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("networks", ["resnet50", "vgg16_bn", "googlenet_paper", "efficientnet_b7", "nasnetalarge", "lenet5"]),
        ("blocks", ["sep_conv_3x3", "skip_connect"]),
        ("genotypes", ["DARTS_V2", "NASNet-A", "AmoebaNet-A", "PNASNet-5"]),
    ],
)
def test_list_names_what_is_known(nas: Nas, what: str, names: list[str]) -> None:
    lines = nas(f"list {what}").splitlines()
    first = {line.split()[0]: line.split() for line in lines[1:] if line.strip()}
    for name in names:
        assert len(first[name]) > 1


@pytest.mark.parametrize("target", ["resnet18", "DARTS_V2 --depth 3", "DARTS_V2 --cell normal", "{in}/graph.json"])
def test_draw_writes_one_file_and_says_where(nas: Nas, folders: dict[str, str], target: str) -> None:
    path = Path(folders["{out}"]) / "x.svg"
    path.write_text("old")
    assert nas(f"draw {target} -o {path}").replace("\n", "") == f"drawing: {path}"
    assert ElementTree.fromstring(path.read_text()).tag.endswith("svg")
    assert {p.name for p in path.parent.iterdir()} == {"folder.py", "x.svg"}  # no temporary file


def test_source_writes_one_file_that_imports_torch_alone(nas: Nas, folders: dict[str, str]) -> None:
    path = Path(folders["{out}"]) / "x.py"
    path.write_text("old")
    assert nas(f"source googlenet --aux --class-name Mine -o {path}").replace("\n", "") == f"source: {path}"
    code = ast.parse(path.read_text())
    imports = [ast.unparse(n) for n in ast.walk(code) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert imports == ["import torch", "from torch import nn"]
    assert "Mine" in {n.name for n in code.body if isinstance(n, ast.ClassDef)}
    assert {p.name for p in path.parent.iterdir()} == {"folder.py", "x.py"}


@pytest.mark.parametrize("command", ["draw resnet18 -o {out}/x.svg", "source resnet18 -o {out}/x.py"])
def test_a_write_that_fails_leaves_the_old_file(
    command: str, folders: dict[str, str], tree: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(folders["{out}"])
    for name in ("x.svg", "x.py"):
        (out / name).write_text("old")
    before = tree(out)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nas.core.files.os.fsync", full)
    assert main(shlex.split(filled(command, folders))) == 2
    assert tree(out) == before
