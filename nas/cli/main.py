"""The command line: ``nas`` or ``python run_search.py``. It parses, shows progress, and turns errors into one line.

Nothing heavy is imported before a command runs: ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from nas.cli.parser import Parser
from nas.cli.streams import quiet_streams
from nas.cli.waiting import told_of_waits
from nas.core.commit import SHOWN, commit
from nas.core.environment import import_problem
from nas.core.signals import exit_code, interruptible
from nas.data.config import DEFAULT_DATASET
from nas.errors import LINE_LIMIT, ClusterError, ConfigError, NasError, one_line, printable, unknown

DESCRIPTION = f"""\
Find a neural network for images: search, resume, status, report; inspect, draw and export networks.
Without a command, 'search' runs; without flags it searches networks of one size on the dataset {DEFAULT_DATASET} and
compares the winner with random search and the best of five handcrafted families of that size."""
MODULES = (
    *("search", "runs", "network", "list", "check", "doctor", "bench"),
    *("compare", "export", "convert", "finetune", "scale", "train"),
)
"""In the order of the help: the modules of ``nas.cli`` that have commands."""
ALIASES = {"study": "export-optuna"}
"""Earlier names of commands, which keep working and which no help shows."""
ANSWERS = ("convert", "doctor", "inspect", "list", "status")
"""Commands that do nothing but print."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code.

    0; 1 for a search or a comparison without any score, and where doctor finds that no search can run; 2 for what the
    user can fix; 3 for a cluster that is gone; 130 after Ctrl-C, 143 after SIGTERM and 129 after SIGHUP.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    with quiet_streams() as output, interruptible() as interruption:
        try:
            code = _main([a for a in arguments if a != "--debug"], debug)
        except BaseException as error:
            # numpy and torch make an ImportError of what interrupts their import
            if not interruption and not isinstance(error, KeyboardInterrupt):
                if debug or not (problem := import_problem(error)):
                    raise
                sys.stderr.write(f"error: {problem}\n")
                return 2
            sys.stderr.write("interrupted\n")
            code = interruption[0].code if interruption else exit_code(signal.SIGINT)
        sys.stdout.flush()
        # whoever closes a pipe has seen enough
        lost = output.problem is not None and not isinstance(output.problem, BrokenPipeError)
        return 2 if lost and code == 0 and arguments[0] in ANSWERS else code


def _main(arguments: list[str], debug: bool) -> int:
    try:
        return _dispatch(arguments)
    except (NasError, OSError) as error:
        if debug:
            raise
        message = one_line(error, LINE_LIMIT)
        if isinstance(error, OSError) and error.strerror:
            name = f": '{error.filename}'" if error.filename else ""
            message = printable(f"{error.strerror}{name}", LINE_LIMIT)
        sys.stderr.write(f"error: {message}\n")
        if isinstance(error, ClusterError):
            sys.stdout.flush()
            os._exit(error.code)  # what Ray would do at the end waits for a head node that is gone
        return 2


def _dispatch(arguments: list[str]) -> int:
    parser, commands = build_parser()
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
        arguments = ["search", *arguments]
    arguments[0] = ALIASES.get(arguments[0], arguments[0])
    if not arguments[0].startswith("-"):
        if arguments[0] not in commands:
            raise ConfigError(unknown("command", arguments[0], commands))
        commands[arguments[0]].check_flags(arguments[1:])
    options = parser.parse_args(arguments)
    # what only prints is not waited for, and answers at once
    with nullcontext() if arguments[0] in ANSWERS else told_of_waits(arguments[0]):
        code: int = options.run(options)
    return code


def build_parser() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser and its sub-parsers by command."""
    parser = Parser(prog="nas", description=DESCRIPTION, epilog="--debug shows the traceback of an error.")
    try:
        number = version("nas-toolkit")
    except PackageNotFoundError:
        number = "(not installed)"
    found = commit()[:SHOWN]
    text = f"nas {number} (commit {found})" if found else f"nas {number}"
    parser.add_argument("--version", action="version", version=text)
    subs = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    made: dict[str, Parser] = {}

    def command(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> Parser:
        made[name] = subs.add_parser(name, help=text, description=text)
        made[name].set_defaults(run=run)
        return made[name]

    for name in MODULES:
        import_module(f"nas.cli.{name}").register(command)
    return parser, made
