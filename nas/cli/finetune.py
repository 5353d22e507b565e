"""The command ``finetune``: train on from weights, as much of the network as data and task suggest."""

from __future__ import annotations

import argparse

from nas.cli.parser import Command
from nas.cli.train import add_flags, launch, settings_of

HELP = "train on from weights of a run or a file: a linear probe, the last stages, or all of the network"


def register(command: Command) -> None:
    """Add the command and its flags."""
    sub = command("finetune", HELP, run)
    add_flags(sub, "the dataset's own")
    text = "weights to begin with: a run, or a file with our, torchvision's or timm's names; default: the run's own"
    sub.add_argument("--weights", metavar="RUN|FILE", help=text)
    text = "how much data there is; default: little under 200 training images a class"
    sub.add_argument("--data", metavar="little|much", help=text)
    text = "how near the task is to that of the weights; default similar"
    sub.add_argument("--task", metavar="similar|different", help=text)
    text = "freeze all layers up to and including this stage (any dotted name of layers)"
    sub.add_argument("--freeze", metavar="STAGE", help=text)
    text = "train a linear classifier on the features after this stage (default the last) and nothing else"
    sub.add_argument("--probe", metavar="STAGE", nargs="?", const="top", help=text)
    text = "draw a new classifier; done anyway for another number of classes, and for a run of another dataset"
    sub.add_argument("--new-classifier", action="store_true", help=text)
    text = (
        "what the recipe's learning rate is multiplied by for weights that were given; default 1: in our table "
        "(benchmarks/RESULTS.md) 0.1 loses 4 to 7 points"
    )
    sub.add_argument("--lr-factor", metavar="X", type=float, help=text)


def run(options: argparse.Namespace) -> int:
    """Say what is trained and why, train it, and measure the test split once."""
    from nas.cli.terminal import say
    from nas.workflows.finetune.plan import FinetuneOptions
    from nas.workflows.start import start_finetuning

    asked = FinetuneOptions(options.data, options.task, options.freeze, options.probe, options.lr_factor)
    settings = settings_of(options, "finetune")
    start = start_finetuning(settings, asked, options.results_dir, options.weights, options.new_classifier)
    for line in start.said:
        say(line)
    return launch(options, start)
