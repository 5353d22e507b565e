"""The command ``compare``: candidates trained alike, with several seeds, and what their differences are worth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from nas.after.compare_run import CompareRun

HELP = "train networks under one recipe with several seeds and say which differences are more than noise"
SHOWN = ("network", "test %", "95 % interval", "difference", "95 % interval", "p", "Wilcoxon", "permutation")
SIZES = ("parameters", "MACs", "ms, 1 image", "ms, 64", "seconds")


def register(command: Any) -> None:
    """Add the command and its flags."""
    from nas.cli import setting_flags
    from nas.run.config import CHANGEABLE

    sub = command("compare", HELP, run)
    text = "runs (their best), networks, genotypes, architecture or graph files; the others are compared with the first"
    sub.add_argument("candidates", metavar="RUN|FILE|NETWORK", nargs="+", help=text)
    text = "a name (see: list recipes) or a JSON file; given again, the effect of recipes is shown apart"
    sub.add_argument("--recipe", metavar="NAME|FILE.json", action="append", dest="recipes", help=text)
    text = "training epochs, the same for all; default the recipe's own, without --recipe 10"
    sub.add_argument("--epochs", metavar="N", help=text)
    sub.add_argument("--seeds", metavar="N", type=int, help="trainings of each candidate; default 3")
    text = "with each run, the best of a random search of as many trials: the run's own, else one that is run now"
    sub.add_argument("--against-random", action="store_true", default=None, help=text)
    text = "also the accuracy of the mean of K networks' probabilities: the K best candidates, and K seeds of each"
    sub.add_argument("--ensemble", metavar="K", type=int, help=text)
    sub.add_argument("--name", metavar="NAME", help="name of the comparison; default: compare-number")
    sub.add_argument("--results-dir", metavar="DIR", type=Path, default=Path("results"), help="default: results")
    names = ("dataset", "image_size", "train_images", "validation_images", "width", "depth", "seed", "threads")
    places = [name for name in CHANGEABLE if name != "table"]
    setting_flags(sub, [*names, *places, "plugins"], defaults=False)


def run(options: argparse.Namespace) -> int:
    """Start a comparison and carry it to its report."""
    from nas.after.compare_run import CompareRun
    from nas.after.compare_settings import settings_from
    from nas.cli import settings_of
    from nas.report.terminal import ProgressBar
    from nas.runs import folder_of

    own = ("recipes", "seeds", "against_random", "ensemble")
    given = {**settings_of(options), **{name: getattr(options, name) for name in own}}
    settings = settings_from(tuple(options.candidates), given)
    name = _fresh(options.results_dir) if options.name is None else options.name
    with ProgressBar() as bar:
        comparison = CompareRun.create(folder_of(options.results_dir, name), settings, bar.update)
    return _carry_out(comparison)


def resume(folder: Path, changes: dict[str, Any]) -> int:
    """Go on with a comparison."""
    from nas.after.compare_run import CompareRun

    return _carry_out(CompareRun.resume(folder, changes))


def report(folder: Path) -> int:
    """Write the outputs of a comparison anew."""
    from nas.after.compare_report import write_comparison

    return show(folder, write_comparison(folder))


def status(folder: Path) -> dict[str, Any]:
    """Return how a comparison stands."""
    from nas.after.compare_stand import facts

    return facts(folder)


def _fresh(results: Path) -> str:
    number = 1
    while (results / f"compare-{number}").exists():
        number += 1
    return f"compare-{number}"


def _carry_out(comparison: CompareRun) -> int:
    from nas.after.compare_report import write_comparison
    from nas.commands import INTERRUPTED, stopping_once
    from nas.report.terminal import ProgressBar, warn

    if comparison.warning:
        warn(comparison.warning)
    with ProgressBar() as bar, stopping_once(cast(Any, comparison), bar.warn):
        reason = comparison.execute(bar.update)
    code = show(comparison.folder, write_comparison(comparison.folder))
    return INTERRUPTED if reason == "interrupted" else code


def show(folder: Path, data: dict[str, Any]) -> int:
    """Print what a comparison found and where everything is; return the exit code."""
    from nas.after.compare_words import columns_of, few_seeds, sentence
    from nas.report.terminal import resume_command, say, show_rows

    for recipe in data["recipes"]:
        if len(data["recipes"]) > 1:
            say(f"recipe {recipe['name']}")
        rows = [row for row in data["rows"] if row["recipe"] == recipe["name"]]
        show_rows((*SHOWN, *SIZES), [[row["name"], *columns_of(row)] for row in rows])
    found = [row["difference"] for row in data["rows"] if row["difference"]]
    for difference in [*found, *(entry["difference"] for entry in data["against_random"])]:
        say(sentence(difference).replace("**", ""))
    if found:
        say(few_seeds(data))
    for ensemble in data["ensembles"]:
        members = ", ".join(ensemble["members"])
        say(f"ensemble of {members}: {ensemble['mean']:.2f} % (recipe {ensemble['recipe']})")
    if data["status"] != "finished":
        say(f"{data['status']}; go on with: {resume_command(folder)}")
    say(f"report: {folder / 'report.html'}")
    return 0 if data["status"] != "finished" or any(row["mean"] is not None for row in data["rows"]) else 1
