"""The command line run in this process: wrong files, results folders, and registries that forget."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from wrong_files import write_files, write_results

from nas.core import plugins
from nas.evaluators import EVALUATORS
from nas.graph import PRIMITIVES
from nas.schedulers import SCHEDULERS
from nas.searchers import SEARCHERS
from nas.space import SPACES


@pytest.fixture(autouse=True)
def registries() -> Iterator[None]:
    """Forget what plugins registered, so that every test starts with the built-in things."""
    plugins.load_built_in()
    before = [(registry, dict(registry._items)) for registry in (SPACES, SEARCHERS, SCHEDULERS, EVALUATORS, PRIMITIVES)]
    yield
    for registry, items in before:
        registry._items.clear()
        registry._items.update(items)
    plugins._load.cache_clear()


@pytest.fixture(scope="session")
def wrong_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of wrong files."""
    folder = tmp_path_factory.mktemp("wrong")
    write_files(folder)
    return folder


@pytest.fixture(scope="session")
def made_results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results folder that the tests copy."""
    folder = tmp_path_factory.mktemp("made") / "results"
    write_results(folder)
    return folder


@pytest.fixture
def results(tmp_path: Path, made_results: Path) -> Path:
    """A results folder with a few runs."""
    return Path(shutil.copytree(made_results, tmp_path / "results"))


@pytest.fixture
def tree() -> Callable[[Path], dict[str, bytes | None]]:
    """Return what lies below a folder: every path with its bytes."""

    def look(folder: Path) -> dict[str, bytes | None]:
        return {
            str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
            for path in sorted(folder.rglob("*"))
        }

    return look
