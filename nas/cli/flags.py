"""Flags that several commands share, and the settings that they give."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Collection
from dataclasses import MISSING
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.cli.parser import Parser
from nas.core import options
from nas.core.options import Config, parts_of
from nas.core.values import Json, Value
from nas.engine.config import RunConfig
from nas.errors import ConfigError

if TYPE_CHECKING:
    from nas.models.resolve import SizeOptions

GROUPS = {
    "space": "what is searched",
    "searcher": "how architectures are proposed",
    "scheduler": "how epochs are spread",
    "data": "images",
    "table": "tables of published benchmarks",
    "train": "how trials are trained",
    "constraints": "limits of networks",
    "budget": "the size of every network",
    "finalists": "a second stage",
    "executor": "where trials run",
    "comparison": "the comparison at the end",
}
"""Headings of the help, by the part of a configuration."""
RUN_TRIAL = "or a run's best, or another of its trials: RUN:12, RUN:knee"
"""What of a run a command takes beside names and files, in its help."""


def results_flag(parser: Parser) -> None:
    parser.add_argument("--results-dir", metavar="DIR", type=Path, default=Path("results"), help="default: results")


def plugin_flag(parser: Parser) -> None:
    text = "Python file with things of your own; may be given again"
    parser.add_argument("--plugin", metavar="FILE.py", action="append", default=[], dest="plugins", help=text)


def grace_flag(parser: Parser) -> None:
    """Add the flag of commands that carry a run out."""
    text = "seconds to finish what runs after SIGTERM or SIGHUP, default 30, or Ctrl-C, default any; then end at once"
    parser.add_argument("--grace", metavar="SECONDS", type=_grace, help=text)


def _grace(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= (seconds := float(text)) <= 1e6:
            return seconds
    raise ConfigError(f"--grace must be seconds from 0 to 1,000,000, found '{text}'")


def recipe_flags(parser: Parser, batch: bool = True) -> None:
    """Add the flags that change fields of a recipe; without ``batch`` its size is a field like the others."""
    text = "set a field of the recipe, such as weight_decay=1e-4 or milestones=30,60; may be given again"
    parser.add_argument("--set", metavar="FIELD=VALUE", action="append", default=[], dest="recipe_changes", help=text)
    parser.add_argument("--lr", metavar="X", help="learning rate, the highest of a training: --set learning_rate=X")
    if batch:
        text = "images in a batch, of all workers together; the learning rate follows in proportion unless --lr sets it"
        parser.add_argument("--batch-size", metavar="N", help=text)


def recipe_changes(given: argparse.Namespace, batch: bool = True) -> Json:
    """Return what :func:`recipe_flags` were given: ``recipe_changes`` and ``batch_size``, each only where it is set."""
    changes = dict(pair("--set", text) for text in given.recipe_changes)
    if given.lr is not None:
        if "learning_rate" in changes:
            raise ConfigError("--lr and --set learning_rate are one setting; name it once")
        try:
            changes["learning_rate"] = float(given.lr)
        except ValueError:
            raise ConfigError(f"--lr must be a number, found '{given.lr}'") from None
    found: Json = {"recipe_changes": changes} if changes else {}
    if batch and given.batch_size is not None:
        found["batch_size"] = whole("--batch-size", given.batch_size)
    return found


def size_flags(parser: Parser, shape: str, classes: str) -> None:
    """Add the flags of a network's size; without them ``shape`` and ``classes`` are as these words say."""
    parser.add_argument("--input", metavar="C,H,W", help=f"size of the image; default {shape}")
    parser.add_argument("--classes", metavar="N", type=int, help=f"classes; default {classes}")
    parser.add_argument(
        "--width",
        metavar="N",
        type=int,
        help="an architecture's width: channels of the first stage, or what its space counts in (docs/budgets.md)",
    )
    parser.add_argument("--depth", metavar="N", type=int, help="an architecture's cells a stage")


def size_of(given: argparse.Namespace, aux: bool = False) -> SizeOptions:
    """Return what :func:`size_flags` were given."""
    from nas.models.resolve import SizeOptions

    shape = None
    if given.input:
        parts = given.input.split(",")
        if len(parts) != 3 or not all(p.isdecimal() and len(p) < 10 and int(p) > 0 for p in parts):
            raise ConfigError(f"--input must be C,H,W: three integers of at least 1, found '{given.input}'")
        shape = tuple(map(int, parts))
    return SizeOptions(shape, given.classes, given.width, given.depth, aux)


def setting_flags(
    parser: Parser, names: Collection[str], defaults: bool = True, config: type[Config] = RunConfig
) -> None:
    """Add the flags of the settings ``names`` of ``config``, with their ``defaults`` in the help where asked for.

    With the defaults, settings stand in groups, by the part of the configuration that they belong to.
    """
    grouped = dict(parts_of(config)) if defaults else {}
    group_of = {s.name: part for part, own in grouped.items() for s in options.settings_of(own)}
    groups = {part: parser.add_argument_group(GROUPS[part]) for part in grouped}
    for setting in options.settings_of(config):
        if setting.name not in names:
            continue
        how: dict[str, Any] = {"dest": setting.name, "action": "store", "metavar": setting.metavar}
        if setting.kind is bool:
            how = {"dest": setting.name, "action": "store_true", "default": None}
        elif setting.kind in (dict, tuple):
            how["action"] = "append"
        told = setting.kind is bool or "default" in setting.help or setting.default in (None, "", {}, (), MISSING)
        text = setting.help if told or not defaults else f"{setting.help} (default: {setting.default})"
        groups.get(group_of.get(setting.name, ""), parser).add_argument(setting.flag, help=text, **how)
        for alias in setting.aliases:
            parser.add_argument("--" + alias.replace("_", "-"), help=argparse.SUPPRESS, **how)


def settings_of(given: argparse.Namespace, config: type[Config] = RunConfig) -> Json:
    """Return the settings that were given on the command line, as plain data for a ``config``."""
    found: Json = {}
    for setting in options.settings_of(config):
        value = getattr(given, setting.name, None)
        if value is None:
            continue
        if setting.kind is int:
            value = whole(setting.flag, value)
        elif setting.kind is float:
            try:
                value = float(value)
            except ValueError:
                raise ConfigError(f"{setting.flag} must be a number, found '{value}'") from None
        elif setting.kind is dict:
            value = dict(pair(setting.flag, text) for text in value)
        elif setting.kind is tuple:
            value = tuple(value)
        found[setting.name] = value
    return found


def whole(name: str, text: str) -> int:
    """Return an integer; ``600M`` and ``2k`` are allowed."""
    factor = {"k": 10**3, "K": 10**3, "M": 10**6, "G": 10**9}.get(text[-1:], 1)
    with contextlib.suppress(ValueError, OverflowError):
        # rounded, since 4.1 * 10**6 is not whole in floating point
        value = int(text) if factor == 1 else round(float(text[:-1]) * factor, 3)
        if value == int(value):
            return int(value)
    raise ConfigError(f"{name} must be an integer (600, 2k, 600M), found '{text}'")


def pair(flag: str, text: str) -> tuple[str, Value]:
    """Return the name and the value of ``NAME=VALUE``: a number, true, false, or text."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigError(f"{flag} must be NAME=VALUE, found '{text}'")
    if value in ("true", "false"):
        return name, value == "true"
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return name, kind(value)
    return name, value
