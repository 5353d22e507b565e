"""The commands of this package; each module ``NAME_command`` registers its own."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

MODULES: tuple[str, ...] = ("compare", "export", "finetune", "scale", "train", "transfer")

Command = Callable[[str, str, Any], Any]
"""``command(name, help, run)`` makes the parser of a command, to which its module adds the flags."""


def register(command: Command) -> None:
    """Add the commands to the command line; nothing heavy is imported."""
    for name in MODULES:
        import_module(f"nas.after.{name}_command").register(command)
