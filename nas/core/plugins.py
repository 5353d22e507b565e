"""Where registered things come from: the built-in modules, installed plugins, and files named on the command line."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import iter_modules

from nas.core.digests import is_own
from nas.core.files import is_file, real_path
from nas.core.forks import ending_forks
from nas.core.signals import is_interrupt
from nas.errors import ConfigError, NasError, described, one_line

BUILT_IN = ("search_spaces.spaces", "nas.searchers", "nas.schedulers", "nas.evaluators.registry")
"""What registers the built-in things that every command may need."""
ON_DEMAND = {
    "genotype": "search_spaces.genotypes",
    "network": "search_spaces.networks",
    "operation": "search_spaces.blocks",
    "skeleton": "search_spaces.skeletons",
}
"""What registers the others, by their kind: packages, imported with all their modules before the first look-up."""


@contextmanager
def naming(what: str, ours: bool = False) -> Iterator[None]:
    """Turn whatever a stranger's code raises into a :class:`ConfigError` that begins with ``what``.

    The toolkit's own errors name their thing already and pass; with ``ours`` they get the beginning too. A child that
    the code forks ends here.
    """
    try:
        with ending_forks():
            yield
    except NasError as error:
        if not ours:
            raise
        raise ConfigError(f"{what}: {one_line(error)}") from error
    except BaseException as error:
        if is_interrupt(error):
            raise
        raise ConfigError(f"{what}: {described(error)}") from error


@cache
def load_built_in() -> None:
    """Register everything that comes with the toolkit, and every plugin of the entry point group ``nas.plugins``."""
    for module in BUILT_IN:
        importlib.import_module(module)
    for entry in entry_points(group="nas.plugins"):
        with naming(f"plugin '{entry.name}'"):
            entry.load()


def load_on_demand(kind: str) -> None:
    """Register the built-in things of a ``kind`` of :data:`ON_DEMAND`."""
    # every module of a package, so that a new file needs no second list
    package = importlib.import_module(ON_DEMAND[kind])
    for module in iter_modules(package.__path__):
        importlib.import_module(f"{package.__name__}.{module.name}")


@cache
def _load(path: Path) -> tuple[Path, ...]:
    if not is_file(path) or path.suffix != ".py":
        raise ConfigError(f"plugin '{path}': it must be an existing Python file (.py)")
    name = f"nas_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"plugin '{path}': Python cannot import it")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    # modules beside it are found as those of a program are, last of all, so that they hide nothing
    if (beside := str(path.parent)) not in sys.path:
        sys.path.append(beside)
    before = {*sys.modules}
    try:
        with naming(f"plugin '{path}'", ours=True):
            spec.loader.exec_module(module)
    except NasError:
        del sys.modules[name]
        raise
    # what it imports of the user's own is its source too
    own = [sys.modules[imported] for imported in sys.modules.keys() - before if is_own(imported)]
    return path, *sorted(Path(file).resolve() for found in own if (file := found.__file__))


def load_plugin(path: str | Path) -> tuple[Path, ...]:
    """Run the Python file ``path`` once so that it registers its things; errors name the file.

    Return the files of its source: its own, and the user's modules that it imported.
    """
    load_built_in()
    return _load(Path(real_path(path)))


def load_plugins(paths: Iterable[str | Path]) -> None:
    """Register the built-in things and those of the plugins ``paths``."""
    load_built_in()
    for path in paths:
        load_plugin(path)
