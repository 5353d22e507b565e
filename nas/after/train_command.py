"""The command ``train``: any network on any dataset, by one process or by many, resumable."""

from __future__ import annotations

import argparse
from typing import Any


def register(command: Any) -> None:
    """Add the command to the command line."""
    from nas.after.training_show import add_flags

    text = "train a found, named or saved network on a dataset, also by many workers; resumable at any moment"
    add_flags(command("train", text, run), "the dataset's own")


def run(options: argparse.Namespace) -> int:
    """Train a network and measure the test split once."""
    from nas.after.training_show import train

    return train(options, "train", None)
