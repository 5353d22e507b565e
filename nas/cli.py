"""The command line: ``nas`` or ``python run_search.py``. It parses, shows progress, and turns errors into one line.

Nothing heavy is imported before a command runs: ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn

from nas.errors import ClusterError, ConfigError, NasError, one_line, unknown
from nas.run.config import CHANGEABLE, RunConfig, expected, flag

DESCRIPTION = """\
Find a neural network for images: search, resume, status, report; inspect, draw and export networks.
Without a command, 'search' runs; without flags it searches NASNet cells on scikit-learn's digits in a few minutes and
compares the winner with random search and a handcrafted ResNet."""


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code.

    0; 1 for a search or a comparison without any score; 2 for what the user can mend; 3 for a cluster that is gone; 130
    after Ctrl-C.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in arguments
    arguments = [a for a in arguments if a != "--debug"]
    try:
        code = _dispatch(arguments)
        sys.stdout.flush()
        return code
    except ClusterError as error:
        if debug:
            raise
        _complain(one_line(error))
        sys.stdout.flush()
        os._exit(error.code)  # what Ray would do at the end waits for a head node that is gone
    except NasError as error:
        if debug:
            raise
        return _complain(one_line(error))
    except BrokenPipeError:
        # whoever read the output has seen enough; the interpreter must not flush the rest at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if debug:
            raise
        message = error.strerror or one_line(error)
        return _complain(f"{message}: '{error.filename}'" if error.filename else message)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        return 130


def _complain(message: str) -> int:
    sys.stderr.write(f"error: {message}\n")
    return 2


def _dispatch(arguments: list[str]) -> int:
    parser, commands = build_parser()
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help", "--version")):
        arguments = ["search", *arguments]
    if not arguments[0].startswith("-"):
        if arguments[0] not in commands:
            raise ConfigError(unknown("command", arguments[0], commands))
        commands[arguments[0]].check_flags(arguments[1:])
    options = parser.parse_args(arguments)
    code: int = options.run(options)
    return code


def build_parser() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser and its sub-parsers by command."""
    from nas import commands as c
    from nas import network_commands as n
    from nas import status_command as s
    from nas.after.commands import register

    parser = Parser(prog="nas", description=DESCRIPTION, epilog="--debug shows the traceback of an error.")
    parser.add_argument("--version", action="version", version=_version())
    subs = parser.add_subparsers(metavar="COMMAND", parser_class=Parser)
    made: dict[str, Parser] = {}

    def command(name: str, text: str, run: Any) -> Parser:
        made[name] = subs.add_parser(name, help=text, description=text)
        made[name].set_defaults(run=run)
        return made[name]

    _search_flags(command("search", "search for an architecture and compare the winner", c.search))
    for name, text, run in (
        ("resume", "go on with an interrupted or killed run, also on another machine or cluster", c.resume),
        ("report", "write the report of a run anew from its journal", c.report),
    ):
        sub = command(name, text, run)
        sub.add_argument("name", metavar="NAME", help="name of the run")
        _results_flag(sub)
    setting_flags(made["resume"], CHANGEABLE, defaults=False)
    sub = command("status", "show how a run stands, also while it runs in another terminal", s.status)
    sub.add_argument("name", metavar="NAME", help="name of the run")
    _results_flag(sub)
    sub.add_argument("--json", action="store_true", help="print JSON")
    text = "write a run as an Optuna study; look at it with: optuna-dashboard FILE.log, or sqlite:///FILE.db"
    sub = command("study", text, c.export_study)
    sub.add_argument("name", metavar="NAME", help="name of the run")
    text = "new file: .log is Optuna's journal, .db or .sqlite3 SQLite"
    sub.add_argument("-o", "--output", metavar="FILE", type=Path, required=True, help=text)
    _results_flag(sub)
    sub = command("inspect", "show shape and cost of a network, an architecture or a graph", n.inspect)
    _target_flags(sub)
    sub.add_argument("--layers", action="store_true", help="a row for every layer")
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub = command("draw", "draw a network or a cell as SVG", n.draw)
    _target_flags(sub)
    sub.add_argument("-o", "--output", metavar="FILE.svg", type=Path, required=True, help="file to write")
    sub.add_argument("--cell", metavar="NAME", help="draw this cell (normal, reduction, ...) instead of the network")
    sub.add_argument("--level", metavar="N", type=int, help="segments of names a box; default: readable")
    sub = command("source", "write a network as one Python file that needs torch alone", n.source)
    _target_flags(sub)
    sub.add_argument("-o", "--output", metavar="FILE.py", type=Path, required=True, help="file to write")
    sub.add_argument("--class-name", metavar="NAME", default="Network", help="name of the class (default: Network)")
    sub = command("list", "list what is registered", c.list_things)
    sub.add_argument("what", metavar="WHAT", help=", ".join(c.LISTS))
    _plugin_flag(sub)
    sub = command("check", "check that the spaces and searchers in a Python file keep the contract", c.check)
    sub.add_argument("file", metavar="FILE.py", help="file that registers search spaces or searchers")
    register(command)
    return parser, made


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"nas {version('nas-toolkit')}"
    except PackageNotFoundError:
        return "nas (not installed)"


def _results_flag(parser: Parser) -> None:
    parser.add_argument("--results-dir", metavar="DIR", type=Path, default=Path("results"), help="default: results")


def _plugin_flag(parser: Parser) -> None:
    text = "Python file with things of your own; may be given again"
    parser.add_argument("--plugin", metavar="FILE.py", action="append", default=[], dest="plugins", help=text)


def _search_flags(parser: Parser) -> None:
    parser.add_argument("--name", metavar="NAME", help="name of the run; default: space-searcher-number")
    _results_flag(parser)
    parser.add_argument("--config", metavar="FILE.toml", type=Path, help="settings from a file; flags override them")
    text = "measure one epoch of a few networks, say what the search will take, and stop"
    parser.add_argument("--forecast", action="store_true", help=text)
    setting_flags(parser, [f.name for f in fields(RunConfig)])


def setting_flags(parser: Parser, names: Sequence[str], defaults: bool = True) -> None:
    """Add the flags of the settings ``names`` of a run, with their ``defaults`` in the help where that is asked for."""
    for f in fields(RunConfig):
        if f.name not in names:
            continue
        kind = expected(f)
        plain = not defaults or f.default in (None, "") or kind in (dict, tuple)
        default = "" if plain else f" (default: {f.default})"
        parser.add_argument(
            flag(f.name),
            dest=f.name,
            metavar=f.metadata["meta"] or ("N" if kind is int else "NAME"),
            action="append" if kind in (dict, tuple) else "store",
            help=f.metadata["help"] + default,
        )


def _target_flags(parser: Parser) -> None:
    parser.add_argument("target", metavar="NAME|FILE", help="a network, a genotype, or an architecture or graph file")
    parser.add_argument("--input", metavar="C,H,W", help="size of the image; default the network's own, or 3,32,32")
    parser.add_argument("--classes", metavar="N", type=int, help="classes; default the network's own, or 10")
    parser.add_argument("--width", metavar="N", type=int, help="channels of an architecture's first stage")
    parser.add_argument("--depth", metavar="N", type=int, help="an architecture's cells a stage")
    parser.add_argument("--aux", action="store_true", help="with the network's auxiliary heads")
    _plugin_flag(parser)


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the settings that were given on the command line, as plain data for :class:`RunConfig`."""
    found: dict[str, Any] = {}
    for f in fields(RunConfig):
        value = getattr(options, f.name, None)
        if value is None:
            continue
        kind = expected(f)
        if kind is int:
            found[f.name] = whole(flag(f.name), value)
        elif kind is float:
            found[f.name] = _number(flag(f.name), value)
        elif kind is dict:
            found[f.name] = dict(_pair(flag(f.name), text) for text in value)
        else:
            found[f.name] = tuple(value) if kind is tuple else value
    return found


def whole(name: str, text: str) -> int:
    """Return a whole number; ``600M`` and ``2k`` are allowed."""
    factor = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}.get(text[-1:], 1)
    with contextlib.suppress(ValueError, OverflowError):
        # rounded, since 4.1 * 10**6 is not whole in floating point
        value = int(text) if factor == 1 else round(float(text[:-1]) * factor, 3)
        if value == int(value):
            return int(value)
    raise ConfigError(f"{name} must be a whole number (600, 2k, 600M), found '{text}'")


def _number(name: str, text: str) -> float:
    with contextlib.suppress(ValueError):
        return float(text)
    raise ConfigError(f"{name} must be a number, found '{text}'")


def _pair(name: str, text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"{name} must be NAME=VALUE, found '{text}'")
    return key, _value(value)


def _value(text: str) -> Any:
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
