"""What a folder of results is a run of: a search, or what another command made, which a journal's first event tells."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from nas.run.journal import read
from nas.runs import find_journal

KINDS = {"compare": "nas.after.compare_command", "train": "nas.after.training_show"}
"""By the ``kind`` in a journal's first event, the module that goes on with such a run.

Its ``resume(folder, changes)`` carries the run on, ``report(folder)`` writes its outputs anew; both return exit codes.
``status(folder)`` returns how it stands: see :meth:`nas.run.snapshot.Snapshot.frame`.
"""


def module_of(folder: Path) -> Any | None:
    """Return the module for the run in ``folder``, None for a search; a missing run raises with the nearest name."""
    kind = read(find_journal(folder))[0].get("kind")
    return import_module(KINDS[kind]) if kind in KINDS else None
