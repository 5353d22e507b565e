"""What the commands that train have in common: from a line of settings to a run that someone watches."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from nas.errors import ConfigError

if TYPE_CHECKING:
    from nas.after.training_run import TrainingRun
    from nas.after.training_settings import TrainingSettings
    from nas.graph import Graph

FLAGS = (
    ("dataset", "NAME", str, "dataset (see: list datasets); imagenet: --data-dir's train/ and val/ at 224 pixels"),
    ("data-dir", "DIR", str, "folder (or .npz file) of the dataset"),
    ("image-size", "N", int, "side of the images of the dataset 'folder', pixels; default 224"),
    ("train-images", "N", int, "train on so many images only; default all"),
    ("epochs", "N", int, "epochs; default the recipe's"),
    ("batch-size", "N", int, "images in a batch of all workers together; the learning rate follows in proportion"),
    ("seed", "N", int, "seed of weights, order and augmentation (default: 0)"),
    ("width", "N", int, "channels of the first stage of what is built of cells, or sixteenths of a table of stages"),
    ("depth", "N", int, "normal cells a stage"),
    ("validate", "K", int, "hold validation images out and measure them every K epochs; default: train on them"),
    ("threads", "N", int, "threads of each worker; default: the machine's cores, shared evenly"),
    ("workers", "N", int, "data-parallel processes on Ray, each with its share of every batch"),
    ("ray-address", "ADDRESS", str, "existing Ray cluster (auto, HOST:PORT); default: workers on this machine"),
    ("gpus-per-worker", "N", int, "GPUs of each worker; default 1 where the cluster has GPUs"),
)


MEASURING = "measuring a few steps ..."


def add_flags(sub: Any, recipe: str) -> None:
    """Add the flags of a training to the parser of a command."""
    sub.add_argument("target", metavar="RUN|FILE|NETWORK", help="a run's best, a file, a genotype or a named network")
    sub.add_argument("--recipe", metavar="NAME|FILE", help=f"recipe (see: list recipes) or JSON file; default {recipe}")
    for name, meta, kind, text in FLAGS:
        sub.add_argument(f"--{name}", metavar=meta, type=_whole if kind is int else str, help=text)
    sub.add_argument("--forecast", action="store_true", help="measure a few steps, say what it will take, and stop")
    sub.add_argument("--name", metavar="NAME", help="name of the run; default: network-dataset-number")
    sub.add_argument("--results-dir", metavar="DIR", type=Path, default=Path("results"), help="default: results")
    text = "Python file with things of your own; may be given again"
    sub.add_argument("--plugin", metavar="FILE.py", action="append", default=[], dest="plugins", help=text)


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"a whole number is wanted, found '{text}'") from None


def train(options: argparse.Namespace, command: str, default_recipe: str | None) -> int:
    """Carry out a command that trains, from its options."""
    from nas.after.transfer import transferred

    settings = settings_of(options, command, default_recipe)
    recipe = settings.actual_recipe
    built = transferred(
        settings.target,
        settings.task,
        settings.width,
        settings.depth,
        settings.max_macs,
        settings.plugins,
        options.results_dir,
        aux=bool(recipe.aux_weight),
        drop_path=recipe.drop_path or 0.0,
    )
    network = {name: getattr(built, name) for name in ("name", "width", "depth", "params", "macs")}
    network = {name: value for name, value in network.items() if value is not None}
    network["input"] = list(settings.task.input_shape)
    return launch(options, settings, built.graph, network)


def settings_of(options: argparse.Namespace, command: str, default_recipe: str | None) -> TrainingSettings:
    """Return the checked settings of a command line, after its plugins are loaded."""
    from nas.after.training_settings import settings_from
    from nas.plugins import load_built_in, load_plugin

    load_built_in()
    for plugin in options.plugins:
        load_plugin(plugin)
    names = ("target", "recipe", "plugins", "max_macs", *(name.replace("-", "_") for name, *_ in FLAGS))
    settings = settings_from(command, default_recipe, {name: getattr(options, name, None) for name in names})
    settings.check()
    return settings


def launch(
    options: argparse.Namespace,
    settings: TrainingSettings,
    graph: Graph,
    network: dict[str, Any],
    initial: bytes | None = None,
) -> int:
    """Say what a training will take, and carry it out as a new run unless the forecast is all that is wanted."""
    from nas.after.training_run import (
        CHECKPOINT,
        TrainingRun,
        check_free,
        forecast_of,
        fresh_training_name,
        trainer_of,
    )
    from nas.report.terminal import note, say
    from nas.runs import folder_of

    results = options.results_dir
    folder = folder_of(results, options.name or fresh_training_name(results, settings, network["name"]))
    check_free(folder)
    if not options.forecast:
        results.mkdir(parents=True, exist_ok=True)  # a place that cannot be written is told before anything is measured
    say(_size(network))
    note(MEASURING)
    # before anything is written: where the workers find no room there is no run
    trainer = trainer_of(settings, graph, folder / CHECKPOINT, initial or b"")
    try:
        foreseen = forecast_of(settings, trainer)
        say(foreseen.text)
        if options.forecast:
            return 0
        return carry_out(TrainingRun.create(folder, settings, graph, network, trainer, foreseen, initial))
    finally:
        trainer.close()


def resume(folder: Path, changes: dict[str, Any]) -> int:
    """Go on with a training, after a forecast of what is left."""
    from nas.after.training_run import TrainingRun
    from nas.report.terminal import note, say, warn

    run = TrainingRun.resume(folder, changes)
    if run.warning:
        warn(run.warning)
    say(_size(run.network))
    if not run.all_epochs_done:
        note(MEASURING)
        try:
            say(run.forecast())
        except BaseException:
            run.close()
            raise
    return carry_out(run)


def report(folder: Path) -> int:
    """Write the outputs of a training anew."""
    from nas.after.training_report import write_training

    show(folder, write_training(folder).status)
    return 0


def status(folder: Path) -> dict[str, Any]:
    """Return how a training stands."""
    from nas.after.training_stand import facts

    return facts(folder)


def carry_out(run: TrainingRun) -> int:
    """Train with a bar meanwhile, and show what came out."""
    from nas.commands import INTERRUPTED, stopping_once
    from nas.report.terminal import ProgressBar

    with ProgressBar() as bar, stopping_once(cast(Any, run), bar.warn):
        reason = run.execute(bar.update)
    show(run.folder, reason)
    return INTERRUPTED if reason == "interrupted" else 0


def show(folder: Path, status: str) -> None:
    """Print how a training ended and where everything is."""
    from nas.after.training_view import load_training, result_line
    from nas.report.terminal import resume_command, say

    say(result_line(load_training(folder)))
    if status != "finished":
        say(f"{status}; go on with: {resume_command(folder)}")
    say(f"report: {folder / 'report.html'}")


def _size(network: Any) -> str:
    from nas.after.training_view import size_line

    return size_line(network)
