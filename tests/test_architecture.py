"""The rooms and their doors: who may import whom, parsed from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
COMMON = {"nas.types", "nas.errors", "nas.registry", "nas.files"}
ALLOWED = {
    "nas/graph": {"nas.graph"},
    "nas/space": {"nas.space", "nas.graph", "nas.table"},
    "nas/searchers": {"nas.searchers", "nas.space"},
    "nas/training": {"nas.training", "nas.graph"},
    "nas/evaluators": {"nas.evaluators", "nas.graph", "nas.training", "nas.table"},
    "nas/executors": {"nas.executors", "nas.graph"},
    "nas/run": {"nas.run"},
    "search_spaces": {"search_spaces", "nas.graph", "nas.space"},
}
TORCH_ROOMS = (
    "nas/graph/module.py",
    "nas/training/",
    "nas/evaluators/",
    "nas/executors/ray_worker.py",
    "nas/after/",
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


@pytest.mark.parametrize("room", ALLOWED)
def test_a_room_imports_only_what_its_arrows_allow(room):
    allowed = ALLOWED[room] | COMMON
    for path in sources(room):
        for module in imports(path):
            if module.split(".")[0] in ("nas", "search_spaces"):
                ok = any(module == a or module.startswith(f"{a}.") for a in allowed)
                assert ok, f"{path.relative_to(ROOT)} imports {module}"


def test_the_loop_knows_the_rooms_only_as_arguments():
    own = {m for m in imports(ROOT / "nas/run/loop.py") if m.startswith(("nas", "search_spaces"))}
    assert own <= {"nas.run.journal", "nas.run.ledger", "nas.run.seeds", *COMMON}


def test_torch_is_imported_where_networks_are_built_and_trained_alone():
    for folder in ("nas", "search_spaces"):
        for path in sources(folder):
            name = str(path.relative_to(ROOT))
            if not name.startswith(TORCH_ROOMS):
                assert not any(m.split(".")[0] == "torch" for m in imports(path)), name


def test_nothing_pickles_evaluates_or_prints():
    for folder in ("nas", "search_spaces"):
        for path in sources(folder):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    name = ast.unparse(node.func)
                    assert name not in ("print", "eval", "exec", "torch.load", "yaml.load"), f"{path}: {name}"
            assert not any(m.split(".")[0] in ("pickle", "yaml") for m in imports(path)), path


def test_no_file_is_over_400_lines():
    for folder in ("nas", "search_spaces", "tests", "benchmarks", "tools", "examples"):
        for path in sources(folder):
            assert len(path.read_text().splitlines()) <= 400, path
