"""The commands that train any network on any dataset: train, transfer, and what finetune shares with them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli import flags
from nas.cli.carry_out import RunKind, carry_out
from nas.cli.parser import Command, Parser
from nas.core.options import settings_of as all_settings
from nas.core.values import Json
from nas.data.config import DEFAULT_DATASET
from nas.workflows.train.settings import TrainingSettings, settings_from

if TYPE_CHECKING:
    from nas.runs.progress import Progress
    from nas.runs.run_folder import RunFolder
    from nas.workflows.start import TrainingStart
    from nas.workflows.train.run import TrainingRun

NO_COMMON_FLAG = {
    "target",
    "recipe",
    "dataset",
    "validation_images",
    "val_share",
    "max_macs",
    "plugins",
    "command",
    "start",
}
"""Settings of a training that have flags in other words, those of a single command, or none."""
TRANSFER_RECIPE = "imagenet-mobile"
MEASURING = "measuring a few steps, 30 s at most ..."


def register(command: Command) -> None:
    """Add the commands and their flags."""
    text = "train a found, named or saved network on a dataset, also by many workers; resumable at any moment"
    add_flags(command("train", text, partial(train, command="train")), "the dataset's own")
    text = "rebuild a found architecture for another dataset, such as ImageNet within 600M MACs, and train it"
    sub = command("transfer", text, partial(train, command="transfer", default_recipe=TRANSFER_RECIPE))
    add_flags(sub, f"{TRANSFER_RECIPE} with an average of weights")
    flags.setting_flags(sub, ("max_macs",), False, TrainingSettings)


def add_flags(sub: Parser, recipe: str) -> None:
    """Add the flags of a training to the parser of a command; without its flag the recipe is as ``recipe`` says."""
    text = f"a named network, a genotype, a file, {flags.RUN_TRIAL}"
    sub.add_argument("target", metavar="NAME|FILE|RUN[:TRIAL]", help=text)
    sub.add_argument(
        "--recipe", metavar="NAME|FILE.json", help=f"recipe (see: list recipes) or JSON file; default {recipe}"
    )
    text = "dataset (see: list datasets); imagenet: --data-dir's train/ and val/ at 224 pixels; default "
    sub.add_argument("--dataset", metavar="NAME", help=text + DEFAULT_DATASET)
    names = {setting.name for setting in all_settings(TrainingSettings)} - NO_COMMON_FLAG
    flags.setting_flags(sub, names, False, TrainingSettings)
    flags.recipe_flags(sub)
    sub.add_argument("--forecast", action="store_true", help="measure a few steps, say what it will take, and stop")
    sub.add_argument("--name", metavar="NAME", help="name of the run; default: network-dataset-number")
    flags.results_flag(sub)
    flags.grace_flag(sub)
    flags.plugin_flag(sub)


def train(options: argparse.Namespace, command: str, default_recipe: str | None = None) -> int:
    """Build a network, train it, and measure the test split once."""
    from nas.workflows.start import start_training

    return launch(options, start_training(settings_of(options, command, default_recipe), options.results_dir))


def settings_of(options: argparse.Namespace, command: str, default_recipe: str | None = None) -> TrainingSettings:
    """Return the checked settings of a command line, after its plugins are loaded."""
    from nas.core.plugins import load_plugins

    load_plugins(options.plugins)
    given = flags.settings_of(options, TrainingSettings) | flags.recipe_changes(options)
    settings = settings_from(command, default_recipe, given)
    if settings.track:
        from nas.trackers.registry import make_trackers, placed

        settings = replace(settings, track=placed(settings.track))
        make_trackers(settings.track)  # what is missing is told before anything is begun
    settings.check()
    return settings


def launch(options: argparse.Namespace, start: TrainingStart) -> int:
    """Say what a training will take, and carry it out as a new run unless the forecast is all that is wanted."""
    from nas.cli.terminal import note, say, warn
    from nas.runs.run_folder import new_folder
    from nas.workflows.train.run import CHECKPOINT, TrainingRun, forecast_of, trainer_of
    from nas.workflows.train.view import size_line

    results, settings, network = options.results_dir, start.settings, start.network
    stem = f"{network['name']}-{settings.dataset}"
    # a place that is taken, or cannot be written, is told before anything is measured; a forecast writes nothing
    with nullcontext(results / stem) if options.forecast else new_folder(results, options.name, stem) as folder:
        say(size_line(network))
        if settings.actual_recipe.schedule == "plateau" and not settings.validate:
            note("the rate will follow the training loss, as the validation images are trained on; see --validate")
        if settings.workers is None:  # else the images may be on other machines alone
            images = sum(len(getattr(settings.splits, name)) for name in settings.train_on)
            if told := settings.actual_recipe.batch_warning(images, "--batch-size {batch}"):
                warn(told)
        note(MEASURING)
        # before anything is written: where the workers find no room there is no run
        trainer = trainer_of(settings, start.graph, folder / CHECKPOINT, start.initial or b"")
        with closing(trainer):
            forecast = forecast_of(settings, trainer)
            say(forecast.text)
            if options.forecast:
                return 0
            run = TrainingRun.create(folder, settings, start.graph, network, trainer, forecast, start.initial)
            return carry_out(run, TrainingKind(), options.grace)


class TrainingKind(RunKind["TrainingRun"]):
    """Trainings of one network, fine-tunings among them."""

    def resume(self, folder: Path, changes: Json, accept_changes: bool) -> RunFolder[TrainingRun]:
        """Open the training where it stopped, and say what is left of it."""
        from nas.cli.terminal import note, say
        from nas.workflows.train.run import TrainingRun
        from nas.workflows.train.tracked import checked_changes
        from nas.workflows.train.view import size_line

        run = TrainingRun.resume(folder, checked_changes(folder, changes)[0], accept_changes)
        say(size_line(run.plan.network))
        if not run.plan.all_epochs_done:
            note(MEASURING)
            try:
                say(run.plan.forecast())
            except BaseException:
                run.close()
                raise
        return run

    def execute(self, run: RunFolder[TrainingRun], observe: Callable[[Progress], None]) -> str:
        """Carry the training out while its trackers are told of it."""
        if not run.plan.settings.track:
            return run.execute(observe)
        from nas.trackers.registry import make_trackers
        from nas.workflows.train.tracked import execute

        return execute(run, make_trackers(run.plan.settings.track), observe)

    def write_outputs(self, folder: Path) -> None:
        from nas.workflows.train.outputs import write_training

        write_training(folder)

    def show(self, folder: Path) -> int:
        """Print what became of the training in ``folder`` and return the exit code."""
        from nas.cli.terminal import resume_command, say
        from nas.report.run_view import data_remarks
        from nas.workflows.train.view import load_training, result_line

        view = load_training(folder)
        say(result_line(view))
        for remark in data_remarks([view.trained or {}]):
            say(remark)
        if view.status != "finished":
            say(f"{view.status}; go on with: {resume_command(folder)}")
        say(f"report: {folder / 'report.html'}")
        return 0

    def status(self, folder: Path) -> Json:
        from nas.workflows.train.status import facts

        return facts(folder)
