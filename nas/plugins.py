"""Where registered things come from: the built-in modules, installed plugins, and files named on the command line."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path

from nas.errors import ConfigError, NasError, one_line

BUILT_IN = ("search_spaces.spaces", "nas.searchers", "nas.evaluators.built_in")


@contextmanager
def naming(what: str, ours: bool = False) -> Iterator[None]:
    """Turn whatever a stranger's code raises into a :class:`ConfigError` that begins with ``what``.

    The toolkit's own errors name their thing already and pass; with ``ours`` they get the beginning too.
    """
    try:
        yield
    except NasError as error:
        if not ours:
            raise
        raise ConfigError(f"{what}: {one_line(error)}") from error
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{what}: {type(error).__name__}: {one_line(error)}") from error


@cache
def load_built_in() -> None:
    """Register everything that comes with the toolkit, and every plugin of the entry point group ``nas.plugins``."""
    for module in BUILT_IN:
        importlib.import_module(module)
    for entry in entry_points(group="nas.plugins"):
        with naming(f"plugin '{entry.name}'"):
            entry.load()


@cache
def _load(path: Path) -> None:
    if not path.is_file() or path.suffix != ".py":
        raise ConfigError(f"plugin '{path}': it must be an existing Python file (.py)")
    name = f"nas_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"plugin '{path}': Python cannot import it")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        with naming(f"plugin '{path}'", ours=True):
            spec.loader.exec_module(module)
    except NasError:
        del sys.modules[name]
        raise


def load_plugin(path: str | Path) -> None:
    """Run the Python file ``path`` once so that it registers its things; errors name the file."""
    load_built_in()
    _load(Path(path).resolve())
