"""An argument parser whose errors are one line and name the nearest flag."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeAlias

from nas.errors import ConfigError, unknown


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and name the nearest flag."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": _Formatter, **settings})

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and exiting."""
        raise ConfigError(f"{self.prog}: {message}")

    def check_flags(self, arguments: Sequence[str]) -> None:
        """Refuse unknown flags, with the nearest known one."""
        known = [name for name in self._option_string_actions if name.startswith("--")]
        for argument in arguments:
            name = argument.split("=", 1)[0]
            if name == "--":
                return
            if name.startswith("--") and name not in known:
                raise ConfigError(unknown("flag", name, known))


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=110)


Command: TypeAlias = Callable[[str, str, Callable[[argparse.Namespace], int]], Parser]
"""Makes the parser of a command, whose module adds the flags, from its name, its help and what carries it out."""
