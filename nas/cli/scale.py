"""The command ``scale``: families of networks by compound scaling, and by one dimension alone."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nas.cli.carry_out import RunKind, carry_out
from nas.cli.flags import RUN_TRIAL, grace_flag, plugin_flag, recipe_changes, recipe_flags, results_flag, size_of, whole
from nas.cli.parser import Command
from nas.core.values import Json
from nas.errors import ConfigError

if TYPE_CHECKING:
    from nas.core.values import Shape, Task
    from nas.models.resolve import SizeOptions
    from nas.runs.run_folder import RunFolder
    from nas.space.scalable import ScalableModel
    from nas.workflows.scale.compound import Budget, Factors, ScaledSize
    from nas.workflows.scale.grid_search import Candidate
    from nas.workflows.scale.run import FindModel, GridSearchRun
    from nas.workflows.scale.settings import GridSettings

HELP = "scale a network in width, depth and resolution together (EfficientNet's way), or by one of them"
DIMENSIONS = ("compound", "depth", "width", "resolution", "all")
PRESETS = ("efficientnet",)
PHIS = "0..7"
MOST_PHI = 10
OWN = ("alpha", "beta", "gamma", "phi", "input", "classes", "width", "depth", "search", "table", "step")
"""What says how something is scaled; a published family has all of it."""


def register(command: Command) -> None:
    """Add the command and its flags."""
    sub = command("scale", HELP, run)
    text = f"a genotype, an architecture file, a network that is a table of stages, {RUN_TRIAL}"
    sub.add_argument("target", metavar="NAME|FILE|RUN[:TRIAL]", nargs="?", help=text)
    for name, default, what in (("alpha", 1.2, "depth"), ("beta", 1.1, "width"), ("gamma", 1.15, "resolution")):
        sub.add_argument(f"--{name}", metavar="X", type=float, help=f"factor of the {what} (default: {default:g})")
    sub.add_argument("--phi", metavar="A..B", help="exponents: 0..7, or a list 1,2.5 (default: 0..7)")
    text = "compound; depth, width or resolution alone at 2^phi times the MACs; all: the four beside each other"
    sub.add_argument("--by", choices=DIMENSIONS, default="compound", metavar="HOW", help=text)
    text = "how far alpha * beta^2 * gamma^2 and a candidate's MACs may be from twice, as a share (default: 0.05)"
    sub.add_argument("--tolerance", metavar="X", type=float, default=0.05, help=text)
    sub.add_argument("--preset", choices=PRESETS, metavar="NAME", help="a published family: efficientnet (B0 to B7)")
    sub.add_argument("--max-macs", metavar="N", help="mark members of more multiply-accumulates an image, e.g. 600M")
    sub.add_argument("--max-memory", metavar="BYTES", help="mark members whose training step needs more, e.g. 8G")
    text = "images of the training step whose memory is told (default: 32)"
    sub.add_argument("--batch-size", metavar="N", type=int, default=32, help=text)
    sub.add_argument("--input", metavar="C,H,W", help="size of the base's image; default its own, or 3,32,32")
    sub.add_argument("--classes", metavar="N", type=int, help="classes; default its own, or 10")
    sub.add_argument(
        "--width",
        metavar="N",
        type=int,
        help="width of the base: channels of the first stage, or what its space counts in",
    )
    sub.add_argument("--depth", metavar="N", type=int, help="the base's cells a stage")

    # a search for the factors
    text = "search a grid of alpha, beta and gamma with short trainings, then show the family of the best"
    sub.add_argument("--search", action="store_true", help=text)
    text = "the same with accuracies from a CSV file: alpha,beta,gamma,accuracy"
    sub.add_argument("--table", metavar="FILE.csv", type=Path, help=text)
    sub.add_argument("--step", metavar="X", type=float, help="step of the grid (default: 0.1)")
    sub.add_argument("--dataset", metavar="NAME", help="dataset of the trainings (see: list datasets)")
    sub.add_argument("--data-dir", metavar="DIR", type=Path, help="folder of the dataset")
    sub.add_argument("--image-size", metavar="N", type=int, help="side of the images of the dataset 'folder', pixels")
    sub.add_argument("--train-images", metavar="N", type=int, help="train on N images only")
    text = "validate on this share of the training images, 0 to 1"
    sub.add_argument("--val-share", metavar="X", type=float, help=text)
    text = "test on this share of the images of a dataset without a test split, 0 to 1"
    sub.add_argument("--test-share", metavar="X", type=float, help=text)
    sub.add_argument("--recipe", metavar="NAME|FILE.json", help="how candidates are trained (see: list recipes)")
    recipe_flags(sub, batch=False)
    sub.add_argument("--epochs", metavar="N", type=int, help="epochs of a training; default --recipe's own, else 3")
    sub.add_argument("--seeds", metavar="N", type=int, default=1, help="trainings of each candidate (default: 1)")
    sub.add_argument("--threads", metavar="N", type=int, help="torch threads; default all cores")
    sub.add_argument("--name", metavar="NAME", help="name of the search's run; default: scale-network-number")
    # results of earlier searches, which are read and never written
    sub.add_argument("--journal", metavar="FILE.csv", type=Path, help=argparse.SUPPRESS)

    text = "new folder for the members: graph.json, member.json and, of found cells, architecture.json"
    sub.add_argument("-o", "--output", metavar="FOLDER", type=Path, help=text)
    sub.add_argument("--json", action="store_true", help="print JSON")
    results_flag(sub)
    grace_flag(sub)
    plugin_flag(sub)


def run(options: argparse.Namespace) -> int:
    """Scale, show the family, and write its members where asked to."""
    _check(options)
    if options.preset:
        return _preset(options)
    if options.search:
        return _search(options)
    from nas.workflows.scale.compound import Scaler, scale
    from nas.workflows.scale.grid_search import best_of, from_table
    from nas.workflows.scale.outputs import write_members

    # the factors are given, or the best of a table
    factors = _factors(options)
    scaler = Scaler(_square(options.target, size_of(options), options.plugins, options.results_dir), _budget(options))
    found: Sequence[Candidate[ScaledSize]] = []
    if options.table:
        found = from_table(scaler, options.table, options.tolerance)
        factors = best_of(found).factors
    else:
        factors.check(options.tolerance)
    members = scale(scaler, factors, phis(options.phi), _dimensions(options))
    if options.output:
        write_members(options.output, members, scaler.subject.architecture)

    if options.json:
        data = {"target": options.target, "factors": factors.to_json(), "product": factors.product}
        data |= {"candidates": [c.facts() for c in found]} if found else {}
        return _print({**data, "members": [m.facts() for m in members]})
    task = scaler.subject.task
    subject = _subject(options.target, task.input_shape, task.classes)
    _show(found, subject, factors, members, options.batch_size, options.output)
    return 0


def _search(options: argparse.Namespace) -> int:
    """Search the factors in a run of its own, which shows the family of the best."""
    from nas.cli.terminal import note, say
    from nas.core.files import is_path
    from nas.runs.run_folder import new_folder
    from nas.workflows.scale.grid_search import STEP
    from nas.workflows.scale.run import GridSearchRun
    from nas.workflows.scale.settings import GridSettings, GridTrainingConfig

    # what the search itself decides cannot be given
    _factors(options)
    if options.input or options.classes:
        raise ConfigError("--input and --classes are the dataset's own; leave them out")
    names = (
        "dataset",
        "data_dir",
        "image_size",
        "train_images",
        "val_share",
        "test_share",
        "recipe",
        "epochs",
        "threads",
    )
    settings = GridSettings(
        target=options.target,
        training=GridTrainingConfig.of(
            {name: getattr(options, name) for name in names} | recipe_changes(options, batch=False)
        ),
        seeds=options.seeds,
        tolerance=options.tolerance,
        step=STEP if options.step is None else options.step,
        width=options.width,
        depth=options.depth,
        budget=_budget(options),
        phis=tuple(phis(options.phi)),
        by=_dimensions(options),
        output=None if options.output is None else str(options.output.resolve()),
        plugins=tuple(str(Path(plugin).resolve()) for plugin in options.plugins),
    )
    # tables of earlier searches are read, never written
    recorded = options.journal
    if recorded is not None and not recorded.exists():
        note(f"--journal {recorded}: there is no such file to read; results are in the folder of the run")
        recorded = None
    network = Path(options.target).stem if is_path(options.target) else options.target
    with new_folder(options.results_dir, options.name, f"scale-{network}") as folder:
        run = GridSearchRun.create(folder, settings, _finder(options.results_dir), recorded)
    if not options.json:
        epochs = settings.training.epochs
        say(f"{len(run.plan.candidates)} candidates, seeds: {settings.seeds}, {epochs} epochs each: {folder}")
    return carry_out(run, GridKind(options.json), options.grace)


class GridKind(RunKind["GridSearchRun"]):
    """Searches for the factors of compound scaling; they show their result as ``json`` where that is asked for."""

    def __init__(self, json: bool = False) -> None:
        self._json = json

    def resume(self, folder: Path, changes: Json, accept_changes: bool) -> RunFolder[GridSearchRun]:
        from nas.workflows.scale.run import GridSearchRun

        return GridSearchRun.resume(folder, _finder(folder.parent), changes, accept_changes)

    def write_outputs(self, folder: Path) -> None:
        from nas.workflows.scale.outputs import write_grid

        write_grid(folder)

    def show(self, folder: Path) -> int:
        """Print the grid, and the family of the best factors."""
        from nas.cli.terminal import resume_command, say, warn
        from nas.workflows.scale.outputs import summary
        from nas.workflows.scale.view import load_grid

        view = load_grid(folder)
        if self._json:
            return _print(summary(view))
        subject = _subject(view.settings.target, view.input_shape, view.classes)
        factors = None if view.best is None else view.best.factors
        output = None if view.settings.output is None else Path(view.settings.output)
        _show(view.candidates, subject, factors, view.members, view.settings.budget.batch, output)
        if view.problem:
            warn(view.problem)
        if view.status != "finished":
            say(f"{view.status}; go on with: {resume_command(folder)}")
        say(f"report: {folder / 'report.md'}")
        return 0

    def status(self, folder: Path) -> Json:
        from nas.workflows.scale.status import facts

        return facts(folder)


def _dimensions(options: argparse.Namespace) -> tuple[str, ...]:
    return DIMENSIONS[:-1] if options.by == "all" else (options.by,)


def phis(text: str | None) -> list[float]:
    """Return the exponents of a flag's text: a range ``0..7`` (what is meant by none) or a list ``1,2.5``."""
    text = PHIS if text is None else text
    numbers = re.fullmatch(r"(\d+)\.\.(\d+)", text)
    try:
        found = list(map(float, range(int(numbers[1]), int(numbers[2]) + 1) if numbers else text.split(",")))
    except ValueError:
        found = []
    if not found or not all(0 <= phi <= MOST_PHI for phi in found):
        raise ConfigError(f"--phi must be A..B or a list of numbers from 0 to {MOST_PHI}, found '{text}'")
    return found


def _check(options: argparse.Namespace) -> None:
    if bool(options.target) == bool(options.preset):
        raise ConfigError("scale: name a RUN, FILE or NETWORK, or a --preset (not both)")
    if options.search and options.table:
        raise ConfigError("--search and --table both tell accuracies; give one of them")
    if options.search != bool(options.dataset):
        raise ConfigError("--search and --dataset go together: candidates are trained on a dataset")
    given = [name for name in OWN if not (getattr(options, name) is None or getattr(options, name) is False)]
    given += ["by"] if options.by != "compound" else []
    if options.preset and given:
        raise ConfigError(f"--preset is a published family; --{given[0]} goes with a RUN, FILE or NETWORK")
    for name in ("batch_size", "seeds", "epochs", "train_images", "image_size", "threads"):
        value = getattr(options, name)
        if value is not None and value < 1:
            raise ConfigError(f"--{name.replace('_', '-')} must be at least 1, found {value}")
    if not 0 < options.tolerance < 1:
        raise ConfigError(f"--tolerance must be a share above 0 and below 1, found {options.tolerance:g}")
    if options.output and options.output.exists():
        raise ConfigError(f"-o '{options.output}' exists; name a new folder")


def _factors(options: argparse.Namespace) -> Factors:
    from nas.workflows.scale.compound import Factors

    given = {name: getattr(options, name) for name in ("alpha", "beta", "gamma")}
    if (options.search or options.table) and any(value is not None for value in given.values()):
        raise ConfigError("--alpha, --beta and --gamma are what --search and --table find; leave them out")
    return Factors(**{name: value for name, value in given.items() if value is not None})


def _budget(options: argparse.Namespace) -> Budget:
    from nas.workflows.scale.compound import Budget

    limits = [(name, getattr(options, name.strip("-").replace("-", "_"))) for name in ("--max-macs", "--max-memory")]
    macs, memory = (None if text is None else whole(name, text) for name, text in limits)
    return Budget(macs, memory, options.batch_size)


def _finder(results: Path) -> FindModel:
    """Return what finds the network that a grid search scales, for the dataset's task."""

    def find(settings: GridSettings, task: Task) -> ScalableModel:
        from nas.models.resolve import SizeOptions

        size = SizeOptions(task.input_shape, task.classes, settings.width, settings.depth)
        return _square(settings.target, size, settings.plugins, results)

    return find


def _square(target: str, size: SizeOptions, plugins: Sequence[str], results: Path) -> ScalableModel:
    """Return what ``target`` names; images are scaled as squares."""
    from nas.models.resolve import resolve

    found = resolve(target, size, plugins, results).scalable
    _, height, width = found.task.input_shape
    if height != width:
        raise ConfigError(f"images are scaled as squares, found {height} x {width} pixels")
    return found


def _preset(options: argparse.Namespace) -> int:
    from nas.cli.terminal import say, show_rows
    from nas.workflows.scale.compound import efficientnet
    from nas.workflows.scale.outputs import bytes_text, over_text, write_members

    rows = efficientnet(_budget(options))
    if options.output:
        write_members(options.output, [row.member for row in rows], None)
    if options.json:
        members = []
        for row in rows:
            numbers = {"params_millions": row.printed.params, "macs_billions": row.printed.macs}
            members.append({**row.member.facts(), "dropout": row.dropout, "printed": numbers})
        return _print({"preset": options.preset, "members": members})
    head = ("network", "width", "depth", "resolution", "dropout", "parameters", "printed", "", "MACs", "printed", "")
    cells = []
    for row in rows:
        m, printed = row.member, row.printed
        name = m.name.replace("efficientnet_", "EfficientNet-").replace("-b", "-B")
        size = (f"{m.width:g}", f"{m.depth:g}", str(m.resolution), f"{row.dropout:g}")
        params = (f"{m.params:,}", f"{printed.params:g}M", f"{row.params_off:+.1%}")
        macs = (f"{m.macs:,}", f"{printed.macs:g}G", f"{row.macs_off:+.1%}")
        cells.append((name, *size, *params, *macs, bytes_text(m.memory), over_text(m)))
    show_rows((*head, "memory", "note"), cells)
    say(f"printed: arXiv:1905.11946, table 2, rounded; memory: of a training step with {options.batch_size} images")
    return 0


def _show(
    found: Sequence[Candidate[ScaledSize]],
    subject: str,
    factors: Factors | None,
    members: Sequence[ScaledSize],
    batch: int,
    output: Path | None,
) -> None:
    """Print the candidates of a search, and the family of its best or of the factors that were given."""
    from nas.cli.terminal import say, show_rows
    from nas.workflows.scale.outputs import CANDIDATE_HEAD, MEMBER_HEAD, candidate_row, member_row, ranked

    if found:
        show_rows(CANDIDATE_HEAD, [candidate_row(c) for c in ranked(found)])
        say("MACs: of the network nearest to twice those of the base; accuracy: validation, %")
    if factors is not None:
        values = f"alpha {factors.alpha:g}, beta {factors.beta:g}, gamma {factors.gamma:g}"
        say(f"{subject}; {values}, alpha * beta^2 * gamma^2 = {factors.product:.4g}")
    if members:
        show_rows(MEMBER_HEAD, [member_row(m) for m in members])
        say(f"times: MACs over the base's; memory: of a training step with {batch} images")
        refused = sum(bool(m.over) for m in members)
        if output:
            left = f", {refused} over a budget left out" if refused else ""
            say(f"written: {len(members) - refused} members in {output}{left}")


def _subject(target: str, shape: Shape, classes: int) -> str:
    return f"{target} for {'x'.join(map(str, shape))} images, {classes} classes"


def _print(data: Json) -> int:
    sys.stdout.write(json.dumps(data, indent=2) + "\n")
    return 0
