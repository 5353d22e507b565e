"""What a run ran on: for ``environment.json`` and the report."""

from __future__ import annotations

import os
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from nas.core.values import Json
from nas.errors import LINE_LIMIT, described, printable

PACKAGES = ("nas-toolkit", "torch", "numpy", "scikit-learn", "safetensors")
LIBRARIES = ("torch", "ray", "optuna", "numpy")
"""Those that read settings of their own from the environment when they are imported."""


def environment() -> Json:
    """Return machine, versions and date as JSON data; nothing that identifies a person."""
    # platform.processor() tells no model on Linux
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            models = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        models = []
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": models[0] if models else platform.processor(),
        "cores": os.cpu_count(),
        "packages": {name: found for name in PACKAGES if (found := version_of(name))},
    }


def import_problem(error: BaseException) -> str:
    """Return what to say of ``error`` where it has ended the import of a library, else nothing.

    Most often the environment has a setting that the library refuses.
    """
    for name in LIBRARIES:
        # Python forgets a package whose import failed, but not those of its modules that were imported
        if name not in sys.modules and any(module.startswith(f"{name}.") for module in sys.modules):
            given = [variable for variable in sorted(os.environ) if variable.startswith(f"{name.upper()}_")]
            hint = f"; the environment sets {', '.join(given)}" if given else ""
            return printable(f"{name} cannot be imported: {described(error, 120)}{hint}", LINE_LIMIT)
    return ""


def version_of(name: str) -> str:
    """Return the version of an installed package, nothing where it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
