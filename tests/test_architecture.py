"""The rooms and their doors: who may import whom, parsed from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = (
    "errors",
    "core",
    "graph data",
    "types training zero_cost",
    "tables executors runs",
    "space evaluators",
    "searchers search_spaces",
    "schedulers",
    "models",
    "engine",
    "report",
    "trackers",
    "workflows",
    "api testing",
    "cli",
)
"""From the ground up: a room may import the rooms of lower floors and no other; those of one floor are strangers."""
LEVEL = {room: level for level, floor in enumerate(FLOORS) for room in floor.split()}
OUTSIDE = {"nas"}
"""``nas/__init__.py`` names the homes of the public names, none of which it imports before it is asked for it."""
BUILT_IN_PLUGINS = "nas/core/plugins.py"
"""Holds the one list of modules that are imported by string: those that register the built-in things."""
TORCH_ROOMS = (
    "nas/graph/lowering/torch_module.py",
    "nas/data/",
    "nas/training/",
    "nas/evaluators/",
    "nas/executors/ray/worker.py",
    "nas/models/",
    "nas/workflows/",
    "nas/zero_cost/",
)


def sources(folder):
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path, typing_too=False):
    """Yield the modules that a file imports, those under ``if TYPE_CHECKING`` left out."""
    skipped = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING" and not typing_too:
            skipped.update(id(n) for n in ast.walk(node))
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            if node.module == "nas":
                yield from (f"nas.{alias.name}" for alias in node.names)


def room_of(module):
    """Return the room of a dotted name, None for other people's modules."""
    first, _, rest = module.partition(".")
    return first if first != "nas" else rest.partition(".")[0] or "nas"


def modules_named(path):
    """Yield the project's modules that a file imports, also inside functions and by string."""
    yield from (m for m in imports(path) if m.split(".")[0] in ("nas", "search_spaces"))
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and "import_module" in ast.unparse(node.func):
            text = "".join(c.value for c in ast.walk(node) if isinstance(c, ast.Constant) and isinstance(c.value, str))
            if text.startswith(("nas.", "search_spaces.")):
                yield text


@pytest.mark.long
@pytest.mark.parametrize("room", sorted(LEVEL))
def test_an_arrow_only_goes_down(room):
    folder = ROOT / (room if room == "search_spaces" else f"nas/{room}")
    paths = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    assert paths
    for path in paths:
        name = str(path.relative_to(ROOT))
        for module in modules_named(path):
            other = room_of(module)
            if other == room or other in OUTSIDE:
                continue
            assert LEVEL[other] < LEVEL[room], f"{name} imports {module}"


def test_what_is_imported_by_string_stands_in_one_list():
    for path in sources("nas"):
        name = str(path.relative_to(ROOT))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and name != BUILT_IN_PLUGINS:
                assert not node.value.startswith("search_spaces."), f"{name}: {node.value}"


@pytest.mark.long
def test_nas_imports_no_search_space():
    for path in sources("nas"):
        found = [m for m in imports(path, typing_too=True) if m.split(".")[0] == "search_spaces"]
        assert not found, f"{path.relative_to(ROOT)} imports {found}"


def test_every_room_has_a_floor_and_nothing_else_is_loose():
    found = {p.stem for p in (ROOT / "nas").iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert found - {"__init__", "__main__"} == set(LEVEL) - {"search_spaces"}
    assert {p.name for p in (ROOT / "nas").glob("*.py")} == {"__init__.py", "__main__.py", "errors.py", "types.py"}


def test_the_loop_knows_the_rooms_only_as_arguments():
    own = {m for m in imports(ROOT / "nas/engine/loop.py") if m.startswith(("nas", "search_spaces"))}
    assert own <= {
        "nas.runs.journal",
        "nas.core.values",
        "nas.types",
        "nas.errors",
        "nas.engine.random_streams",
    }


@pytest.mark.long
def test_torch_is_imported_where_networks_are_built_and_trained_alone():
    for folder in ("nas", "search_spaces"):
        for path in sources(folder):
            name = str(path.relative_to(ROOT))
            if not name.startswith(TORCH_ROOMS):
                assert not any(m.split(".")[0] == "torch" for m in imports(path)), name


READS_CHECKPOINTS = "nas/training/weight_files.py"
READS_CIFAR = "nas/data/cifar_forms.py"


@pytest.mark.long
def test_nothing_pickles_evaluates_or_prints():
    for folder in ("nas", "search_spaces"):
        for path in sources(folder):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    name = ast.unparse(node.func)
                    assert name not in ("print", "eval", "exec", "yaml.load"), f"{path}: {name}"
                    # tensors and plain values alone, of files of weights
                    if name == "torch.load":
                        assert "weights_only=True" in map(ast.unparse, node.keywords), path
                        assert str(path.relative_to(ROOT)) == READS_CHECKPOINTS
            # the one for its exception, the other for an unpickler that finds only what is on its list
            kept = {"pickle"} if str(path.relative_to(ROOT)) in (READS_CHECKPOINTS, READS_CIFAR) else set()
            if kept:
                assert "pickle.load" not in path.read_text(), path
            assert not any(m.split(".")[0] in {"pickle", "yaml"} - kept for m in imports(path)), path


def test_no_file_is_over_500_lines():
    for folder in ("nas", "search_spaces", "tests", "benchmarks", "tools", "examples"):
        for path in sources(folder):
            assert len(path.read_text().splitlines()) <= 500, path
