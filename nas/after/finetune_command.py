"""The command ``finetune``: train on from weights, as much of the network as data and task suggest."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nas.after.finetune import Plan, Wish
    from nas.after.training_settings import TrainingSettings

HELP = "train on from weights of a run or a file: a linear probe, the last stages, or all of the network"


def register(command: Any) -> None:
    """Add the command and its flags."""
    from nas.after.training_show import add_flags

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
    text = "draw the classifier anew; done anyway for another number of classes, and for a run of another dataset"
    sub.add_argument("--new-classifier", action="store_true", help=text)
    text = "what the recipe's learning rate is multiplied by for weights that were given; default 0.1, of a probe 1"
    sub.add_argument("--lr-factor", metavar="X", type=float, help=text)


def run(options: argparse.Namespace) -> int:
    """Say what is trained and why, train it, and measure the test split once."""
    from dataclasses import replace

    from nas.after.finetune import Wish, plan
    from nas.after.finetune_weights import network_of, weights_for
    from nas.after.training_run import digest_of
    from nas.after.training_show import launch, settings_of
    from nas.report.terminal import say
    from nas.training.data import images_named

    wish = Wish(options.data, options.task, options.freeze, options.probe, options.lr_factor)
    settings, results = settings_of(options, "finetune", None), options.results_dir
    size, dropped = (settings.width, settings.depth), settings.actual_recipe.drop_path or 0.0
    graph = network_of(settings.target, settings.task, *size, settings.plugins, results, dropped)
    images = images_named(settings.dataset, settings.data_dir)
    given = weights_for(graph, options.weights, settings.target, images, results, options.new_classifier)
    chosen = plan(graph, images_per_class(settings, wish), wish)
    content = given.content(chosen)
    start = {
        "weights": options.weights or settings.target,
        "digest": digest_of(content),
        "frozen": list(chosen.frozen),
        "factor": chosen.factor,
        "reason": chosen.reason,
    }
    settings = replace(settings, start=start)
    say(f"weights: {given.said}")
    say(f"{chosen.reason}; {trained_line(chosen)}; given weights learn at {chosen.factor:g} times the recipe's rate")
    return launch(options, settings, chosen.graph, network_facts(chosen, settings), content)


def images_per_class(settings: TrainingSettings, wish: Wish) -> float:
    """Return how many images of a class are trained on; 0 where it does not matter, without reading them."""
    from nas.evaluators.train import TrainSettings

    if wish.data is not None or wish.freeze is not None or wish.probe is not None:
        return 0.0
    splits = TrainSettings.from_json(settings.job).splits()
    return sum(len(getattr(splits, name)) for name in settings.train_on) / settings.task.classes


def network_facts(plan: Plan, settings: TrainingSettings) -> dict[str, Any]:
    """Return name, size and cost of what is trained, for the report."""
    from pathlib import Path

    from nas.graph import cost
    from nas.starts import is_path

    total, target = cost(plan.graph), settings.target
    sizes = {name: getattr(settings, name) for name in ("width", "depth") if getattr(settings, name) is not None}
    name = target if not is_path(target) else Path(target).stem if Path(target).is_file() else Path(target).name
    return {"name": name, **sizes, "params": total.params, "macs": total.macs, "input": [*settings.task.input_shape]}


def trained_line(plan: Plan) -> str:
    """Return what of the network is trained, in words."""
    from nas.after.finetune import trained_parameters

    trained, total = trained_parameters(plan)
    frozen = f"frozen: {', '.join(plan.frozen)}" if plan.frozen else "nothing is frozen"
    return f"{frozen}; {trained:,} of {total:,} parameters are trained"
