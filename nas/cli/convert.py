"""The command ``convert``: write an architecture as other tools read it."""

from __future__ import annotations

import argparse
from pathlib import Path

from nas.cli.flags import plugin_flag, results_flag
from nas.cli.parser import Command
from nas.errors import ConfigError, SpaceError, unknown

HELP = "write an architecture as others do: Genotype(...), a NAS-Bench string or matrix, an arc of ENAS"
FORMS = ("darts", "nb201", "nb101", "amoebanet", "enas", "json")


def register(command: Command) -> None:
    """Add the command and its flags."""
    sub = command("convert", HELP, run)
    text = "a run, a genotype, an architecture file, or text or a file of another notation (docs/genotypes.md)"
    sub.add_argument("target", metavar="NETWORK", help=text)
    text = f"{', '.join(FORMS)}; default: that of the network's space"
    sub.add_argument("--to", metavar="NAME", help=text)
    sub.add_argument("-o", "--output", metavar="FILE", type=Path, help="file to write; default: print it")
    results_flag(sub)
    plugin_flag(sub)


def run(options: argparse.Namespace) -> int:
    """Print or write a network in a notation of others."""
    from nas.cli.terminal import say
    from nas.core.files import write_atomic
    from nas.models.resolve import OWN_SIZE, resolve
    from nas.space.genotypes import GenotypeInfo
    from nas.space.notations import NOTATIONS, notation_of

    if options.to is not None and options.to not in NOTATIONS:
        raise ConfigError(f"--to: {unknown('notation', options.to, NOTATIONS)}")
    if options.output is not None and not options.output.parent.is_dir():
        raise ConfigError(f"-o '{options.output}': the folder '{options.output.parent}' does not exist")
    model = resolve(options.target, OWN_SIZE, options.plugins, options.results_dir)
    noted = model.info if isinstance(model.info, GenotypeInfo) else model.architecture
    form = options.to or (None if noted is None else notation_of(noted))
    if noted is None or form is None:
        kind = f"a {model.kind} of layers" if model.architecture is None else f"of space '{model.architecture.space}'"
        raise ConfigError(f"'{model.name}' is {kind}, which no notation has (known: {', '.join(NOTATIONS)})")
    try:
        text = NOTATIONS[form].write(noted)
    except SpaceError as error:
        raise ConfigError(f"'{model.name}' cannot be written as '{form}': {error}") from None
    if options.output is None:
        say(text)
    else:
        write_atomic(options.output, text + "\n")
        say(f"{form}: {options.output}")
    return 0
