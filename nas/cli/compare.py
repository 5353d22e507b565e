"""The command ``compare``: candidates trained alike, with several seeds, and what their differences are worth."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.carry_out import RunKind, carry_out
from nas.cli.flags import (
    grace_flag,
    plugin_flag,
    recipe_changes,
    recipe_flags,
    results_flag,
    setting_flags,
    settings_of,
)
from nas.cli.parser import Command
from nas.core.options import settings_of as all_settings
from nas.core.values import Json
from nas.workflows.compare.settings import CompareSettings, settings_from

if TYPE_CHECKING:
    from nas.runs.run_folder import RunFolder
    from nas.workflows.compare.run import ComparisonRun

HELP = "train networks under one recipe with several seeds and say which differences are more than noise"
SHOWN = ("network", "test %", "95 % interval", "difference", "95 % interval", "p", "Wilcoxon", "permutation")
SIZES = ("parameters", "MACs", "ms, 1 image", "ms, 64", "seconds")


def register(command: Command) -> None:
    """Add the command and its flags."""
    sub = command("compare", HELP, run)
    text = (
        "networks, genotypes, architecture or graph files, runs (their best), or trials of them: RUN:12, RUN:knee, all "
        "of RUN:front; the others are compared with the first"
    )
    sub.add_argument("candidates", metavar="NAME|FILE|RUN[:TRIAL]", nargs="+", help=text)
    sub.add_argument("--name", metavar="NAME", help="name of the comparison; default: compare-number")
    results_flag(sub)
    grace_flag(sub)
    plugin_flag(sub)
    names = {setting.name for setting in all_settings(CompareSettings)} - {"candidates", "plugins"}
    recipe_flags(sub)
    setting_flags(sub, names, config=CompareSettings)


def run(options: argparse.Namespace) -> int:
    """Start a comparison and carry it to its report."""
    from nas.cli.terminal import ProgressBar
    from nas.runs.run_folder import new_folder
    from nas.workflows.compare.run import ComparisonRun

    settings = settings_from(tuple(options.candidates), settings_of(options, CompareSettings) | recipe_changes(options))
    with new_folder(options.results_dir, options.name, "compare") as folder, ProgressBar() as bar:
        comparison = ComparisonRun.create(folder, settings, bar.update)  # the bar: random searches that are run for it
    return carry_out(comparison, ComparisonKind(), options.grace)


class ComparisonKind(RunKind["ComparisonRun"]):
    """Comparisons of networks."""

    def resume(self, folder: Path, changes: Json, accept_changes: bool) -> RunFolder[ComparisonRun]:
        from nas.workflows.compare.run import ComparisonRun

        return ComparisonRun.resume(folder, changes, accept_changes)

    def write_outputs(self, folder: Path) -> None:
        from nas.workflows.compare.outputs import write_comparison

        write_comparison(folder)

    def show(self, folder: Path) -> int:
        """Print what the comparison found; without any score the exit code is 1."""
        from nas.cli.terminal import resume_command, say, show_rows
        from nas.core.files import read_json
        from nas.report.verdict import sentence
        from nas.workflows.compare.result import Comparison
        from nas.workflows.compare.wording import columns_of, few_seeds

        data = Comparison.from_json(read_json(folder / "compare.json"))
        for recipe in data.recipes:
            if len(data.recipes) > 1:
                say(f"recipe {recipe.name}")
            show_rows((*SHOWN, *SIZES), [[row.name, *columns_of(row)] for row in data.rows_of(recipe.name)])
        for difference in [*data.differences, *(found.difference for found in data.against_random)]:
            say(sentence(difference).replace("**", ""), prose=True)
        if data.differences:
            say(few_seeds(data), prose=True)
        for remark in data.remarks:
            say(remark)
        for ensemble in data.ensembles:
            say(f"ensemble of {', '.join(ensemble.members)}: {ensemble.mean:.2f} % (recipe {ensemble.recipe})")
        if data.status != "finished":
            say(f"{data.status}; go on with: {resume_command(folder)}")
        say(f"report: {folder / 'report.html'}")
        return 0 if data.status != "finished" or any(row.mean is not None for row in data.rows) else 1

    def status(self, folder: Path) -> Json:
        from nas.workflows.compare.status import ComparisonStatus

        return ComparisonStatus.of(folder).facts()
