"""The command ``doctor``: whether a search can run here, and what helps where it cannot."""

from __future__ import annotations

import argparse
import json
import sys

from nas.cli.flags import results_flag
from nas.cli.parser import Command
from nas.core.text import printable

HELP = "say whether a search can run here: versions, devices, memory, disks, locks, Ray; and what helps if not"


def register(command: Command) -> None:
    """Add the command and its flags."""
    sub = command("doctor", HELP, run)
    text = "start a Ray on this machine and end it, as --executor ray does; 5 seconds or more"
    sub.add_argument("--ray", action="store_true", help=text)
    text = "look whether a Ray cluster answers there (auto: this machine's)"
    sub.add_argument("--ray-address", metavar="HOST:PORT", help=text)
    sub.add_argument("--json", action="store_true", help="print JSON")
    results_flag(sub)


def run(options: argparse.Namespace) -> int:
    """Print a line for everything that was looked at; the exit code is 1 where no search can run.

    Not by :mod:`nas.cli.terminal`: the packages that it needs may be what is missing.
    """
    from nas.workflows.doctor import examine

    found = examine(options.results_dir, options.ray, options.ray_address)
    if options.json:
        lines = [json.dumps(found.to_json(), indent=2)]
    else:
        lines = []
        for one in found.findings:
            lines.append(printable(f"{one.state:<8} {one.name:<14} {one.text}"))
            lines += [printable(f"{'':<23} -> {one.fix}")] if one.fix else []
        lines.append(found.summary)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if found.can_search else 1
