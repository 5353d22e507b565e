"""The command ``check``: whether a user's spaces and searchers keep the contract."""

from __future__ import annotations

import argparse
from typing import Any

from nas.errors import ConfigError


def register(command: Any) -> None:
    """Add the command and its flags."""
    sub = command("check", "check that the spaces and searchers in a Python file keep the contract", check)
    sub.add_argument("file", metavar="FILE.py", help="file that registers search spaces or searchers")


def check(options: argparse.Namespace) -> int:
    """Check the spaces and the searchers that a file registers; exit code 2 when a rule is broken."""
    from nas.cli.terminal import say
    from nas.core.plugins import load_built_in, load_plugin, naming
    from nas.searchers import SEARCHERS
    from nas.space import SPACES
    from nas.space.validate import problems
    from nas.testing import LAWS, check_searcher

    load_built_in()
    before = {*SPACES}, {*SEARCHERS}
    load_plugin(options.file)
    spaces, searchers = sorted({*SPACES} - before[0]), sorted({*SEARCHERS} - before[1])
    if not spaces and not searchers:
        rule = "decorate a function with @register_space(...) or a class with @register_searcher(...)"
        raise ConfigError(f"'{options.file}' registers no search space and no searcher; {rule}")
    for name in spaces:
        for problem in problems(SPACES[name]):
            raise ConfigError(f"space '{name}': {problem}")
        say(f"space '{name}' keeps the contract")
    for name in searchers:
        with naming(f"searcher '{name}'", ours=True):
            check_searcher(name, plugin=options.file)
        say(f"searcher '{name}' keeps all {len(LAWS)} laws")
    return 0
