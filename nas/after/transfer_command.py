"""The command ``transfer``: found cells on the skeleton for larger images, within a budget of MACs, and trained."""

from __future__ import annotations

import argparse
from typing import Any

RECIPE = "imagenet-mobile"


def register(command: Any) -> None:
    """Add the command to the command line."""
    from nas.after.training_show import add_flags

    text = "rebuild a found architecture for another dataset, such as ImageNet within 600M MACs, and train it"
    sub = command("transfer", text, run)
    add_flags(sub, f"{RECIPE} with an average of weights")
    text = "solve width and depth (NASNet's N @ F) for at most so many MACs, such as 600M"
    sub.add_argument("--max-macs", metavar="N", help=text)


def run(options: argparse.Namespace) -> int:
    """Build, train and measure the network."""
    from nas.after.training_show import train
    from nas.cli import whole

    if options.max_macs is not None:
        options.max_macs = whole("--max-macs", options.max_macs)
    return train(options, "transfer", RECIPE)
