"""The command ``scale``: families of networks by compound scaling, and by one dimension alone."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import ConfigError

if TYPE_CHECKING:
    from nas.after.scaling import Budget, Factors, Member, PresetRow, Scaler
    from nas.after.scaling_search import Candidate
    from nas.after.scaling_subjects import Subject
    from nas.after.scaling_training import Trainer

HELP = "scale a network in width, depth and resolution together (EfficientNet's way), or by one of them"
DIMENSIONS = ("compound", "depth", "width", "resolution", "all")
PRESETS = ("efficientnet",)
PHIS = "0..7"
MOST_PHI = 10
OWN = ("alpha", "beta", "gamma", "phi", "input", "classes", "width", "depth", "search", "table", "step")
"""What says how something is scaled; a published family has all of it."""


def register(command: Any) -> None:
    """Add the command and its flags."""
    sub = command("scale", HELP, run)
    text = "a run, a genotype, an architecture file, or a network that is a table of stages"
    sub.add_argument("target", metavar="RUN|FILE|NETWORK", nargs="?", help=text)
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
    sub.add_argument("--width", metavar="N", type=int, help="channels of the base's first stage")
    sub.add_argument("--depth", metavar="N", type=int, help="the base's cells a stage")
    _search_flags(sub)
    text = "new folder for the members: graph.json, member.json and, of found cells, architecture.json"
    sub.add_argument("-o", "--output", metavar="FOLDER", type=Path, help=text)
    sub.add_argument("--json", action="store_true", help="print JSON")
    sub.add_argument("--results-dir", metavar="DIR", type=Path, default=Path("results"), help="default: results")
    text = "Python file with things of your own; may be given again"
    sub.add_argument("--plugin", metavar="FILE.py", action="append", default=[], dest="plugins", help=text)


def _search_flags(sub: Any) -> None:
    text = "search a grid of alpha, beta and gamma with short trainings, then show the family of the best"
    sub.add_argument("--search", action="store_true", help=text)
    text = "the same with accuracies from a CSV file: alpha,beta,gamma,accuracy"
    sub.add_argument("--table", metavar="FILE.csv", type=Path, help=text)
    sub.add_argument("--step", metavar="X", type=float, help="step of the grid (default: 0.1)")
    sub.add_argument("--dataset", metavar="NAME", help="dataset of the trainings (see: list datasets)")
    sub.add_argument("--data-dir", metavar="DIR", type=Path, help="folder of the dataset")
    sub.add_argument("--image-size", metavar="N", type=int, help="side of the images of the dataset 'folder', pixels")
    sub.add_argument("--train-images", metavar="N", type=int, help="train on so many images only")
    sub.add_argument("--recipe", metavar="NAME|FILE.json", help="how candidates are trained (see: list recipes)")
    sub.add_argument("--epochs", metavar="N", type=int, help="epochs of a training; default --recipe's own, else 3")
    sub.add_argument("--seeds", metavar="N", type=int, default=1, help="trainings of each candidate (default: 1)")
    sub.add_argument("--threads", metavar="N", type=int, help="torch threads; default all cores")
    text = "results of the grid, where an interrupted one goes on; default RESULTS/scale/NAME.csv"
    sub.add_argument("--journal", metavar="FILE.csv", type=Path, help=text)


def run(options: argparse.Namespace) -> int:
    """Scale, show the family, and write its members where asked to."""
    _check(options)
    from nas.after.scaling import Scaler, scale

    if options.preset:
        return _preset(options)
    factors, trainer = _factors(options), _trainer(options)
    scaler = Scaler(_subject(options, trainer), _budget(options))
    found: list[Candidate] = []
    if options.search or options.table:
        found, factors = _searched(options, scaler, trainer)
    else:
        factors.check(options.tolerance)
    dimensions = DIMENSIONS[:-1] if options.by == "all" else (options.by,)
    members = scale(scaler, factors, phis(PHIS if options.phi is None else options.phi), dimensions)
    _write(options, members, scaler.subject.architecture)
    if options.json:
        data = {"target": options.target, "factors": vars(factors), "product": factors.product}
        data |= {"candidates": [c.facts() for c in found]} if found else {}
        return _print({**data, "members": [m.facts() for m in members]})
    _show(options, scaler, factors, found, members)
    return 0


def phis(text: str) -> list[float]:
    """Return the exponents of a flag's text: a range ``0..7`` or a list ``1,2.5``."""
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
    from nas.after.scaling import Factors

    given = {name: getattr(options, name) for name in ("alpha", "beta", "gamma")}
    if (options.search or options.table) and any(value is not None for value in given.values()):
        raise ConfigError("--alpha, --beta and --gamma are what --search and --table find; leave them out")
    return Factors(**{name: value for name, value in given.items() if value is not None})


def _budget(options: argparse.Namespace) -> Budget:
    from nas.after.scaling import Budget
    from nas.cli import whole

    limits = [(name, getattr(options, name.strip("-").replace("-", "_"))) for name in ("--max-macs", "--max-memory")]
    macs, memory = (None if text is None else whole(name, text) for name, text in limits)
    return Budget(macs, memory, options.batch_size)


def _trainer(options: argparse.Namespace) -> Trainer | None:
    if not options.search:
        return None
    if options.input or options.classes:
        raise ConfigError("--input and --classes are the dataset's own; leave them out")
    from nas.after.scaling_training import Setting, Trainer

    names = ("dataset", "data_dir", "image_size", "train_images", "recipe", "epochs", "threads")
    return Trainer(Setting(**{name: getattr(options, name) for name in names}))


def _subject(options: argparse.Namespace, trainer: Trainer | None) -> Subject:
    from nas.after.scaling_lookup import subject
    from nas.network_commands import parse_shape
    from nas.targets import Wanted

    shape, classes = parse_shape(options.input) if options.input else None, options.classes
    if trainer is not None:
        shape, classes = trainer.task.input_shape, trainer.task.classes
    wanted = Wanted(shape, classes, options.width, options.depth)
    found = subject(options.target, wanted, options.plugins, options.results_dir)
    _, height, width = found.task.input_shape
    if height != width:
        raise ConfigError(f"images are scaled as squares, found {height} x {width} pixels")
    return found


def _searched(options: argparse.Namespace, scaler: Scaler, trainer: Trainer | None) -> tuple[list[Candidate], Factors]:
    from nas.after import scaling_search as s
    from nas.report.terminal import say

    if trainer is None:
        found = s.from_table(scaler, options.table, options.tolerance)
        return found, s.best_of(found).factors
    candidates = s.grid(scaler, options.tolerance, s.STEP if options.step is None else options.step)
    trainer.check(c.member for c in candidates)
    path = options.journal or options.results_dir / "scale" / f"{scaler.subject.name}.csv"
    file = s.GridFile(path, trainer.settings(scaler.subject.scaled(1.0, 1.0, scaler.base_side).graph))
    if not options.json:
        say(f"{len(candidates)} candidates, seeds: {options.seeds}, {trainer.epochs} epochs each; results: {path}")
    found = s.search(candidates, trainer, range(options.seeds), file, _quiet if options.json else _progress)
    return found, s.best_of(found).factors


def _quiet(done: int, total: int) -> None:
    """Standard output is JSON."""


def _progress(done: int, total: int) -> None:
    from nas.report.terminal import say

    if done == total or done % max(1, total // 10) == 0:
        say(f"trained: {done} of {total}")


def _preset(options: argparse.Namespace) -> int:
    from nas.after.scaling import efficientnet
    from nas.report.terminal import say, show_rows

    rows = efficientnet(_budget(options))
    _write(options, [row.member for row in rows], None)
    if options.json:
        return _print({"preset": options.preset, "members": [_printed(row) for row in rows]})
    head = ("network", "width", "depth", "resolution", "dropout", "parameters", "printed", "", "MACs", "printed", "")
    show_rows((*head, "memory", "note"), [_preset_row(row) for row in rows])
    say(f"printed: arXiv:1905.11946, table 2, rounded; memory: of a training step with {options.batch_size} images")
    return 0


def _printed(row: PresetRow) -> dict[str, Any]:
    printed = {"params_millions": row.printed.params, "macs_billions": row.printed.macs}
    return {**row.member.facts(), "dropout": row.dropout, "printed": printed}


def _preset_row(row: PresetRow) -> tuple[str, ...]:
    m, printed = row.member, row.printed
    name = m.name.replace("efficientnet_", "EfficientNet-").replace("-b", "-B")
    size = (f"{m.width:g}", f"{m.depth:g}", str(m.resolution), f"{row.dropout:g}")
    params = (f"{m.params:,}", f"{printed.params:g}M", f"{row.params_off:+.1%}")
    macs = (f"{m.macs:,}", f"{printed.macs:g}G", f"{row.macs_off:+.1%}")
    return name, *size, *params, *macs, _bytes(m.memory), _note(m)


def _bytes(count: int) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def _note(member: Member) -> str:
    return f"over: {', '.join(member.over)}" if member.over else ""


def _show(
    options: argparse.Namespace, scaler: Scaler, factors: Factors, found: Sequence[Candidate], members: Sequence[Member]
) -> None:
    from nas.report.terminal import say, show_rows

    if found:
        head = ("alpha", "beta", "gamma", "product", "network", "pixels", "MACs", "times")
        ranked = sorted(found, key=lambda c: -c.mean)
        show_rows((*head, "accuracy", "spread", "seeds"), [_candidate_row(c) for c in ranked])
        say("MACs: of the network nearest to twice those of the base; accuracy: validation, %")
    task = scaler.subject.task
    size = "x".join(map(str, task.input_shape))
    say(
        f"{options.target} for {size} images, {task.classes} classes; alpha {factors.alpha:g}, beta {factors.beta:g}, "
        f"gamma {factors.gamma:g}, alpha * beta^2 * gamma^2 = {factors.product:.4g}"
    )
    columns = ("scaled by", "phi", "width", "depth", "pixels", "network", "parameters", "MACs", "times", "memory")
    show_rows((*columns, "note"), [_member_row(m) for m in members])
    say(f"times: MACs over the base's; memory: of a training step with {options.batch_size} images")
    refused = sum(bool(m.over) for m in members)
    if options.output:
        left = f", {refused} over a budget left out" if refused else ""
        say(f"written: {len(members) - refused} members in {options.output}{left}")


def _candidate_row(c: Candidate) -> tuple[str, ...]:
    f, m = c.factors, c.member
    factors = (f"{f.alpha:g}", f"{f.beta:g}", f"{f.gamma:g}", f"{f.product:.3f}")
    scores = (f"{c.mean:.2f}", f"{c.spread:.2f}" if len(c.accuracies) > 1 else "", str(len(c.accuracies)))
    return *factors, m.size, str(m.resolution), f"{m.macs:,}", f"{m.ratio:.2f}", *scores


def _member_row(m: Member) -> tuple[str, ...]:
    numbers = (f"{m.phi:g}", f"{m.width:.3f}", f"{m.depth:.3f}", str(m.resolution))
    return m.by, *numbers, m.size, f"{m.params:,}", f"{m.macs:,}", f"{m.ratio:.2f}", _bytes(m.memory), _note(m)


def _print(data: Any) -> int:
    sys.stdout.write(json.dumps(data, indent=2) + "\n")
    return 0


def _write(options: argparse.Namespace, members: Sequence[Member], architecture: Any) -> None:
    """Write the members that keep the budgets: the folder is there whole or not at all."""
    if not options.output:
        return
    from nas.files import staged, write_json

    with staged(options.output) as folder:
        for member in members:
            if member.over:
                continue
            place = folder / member.name
            place.mkdir()
            write_json(place / "graph.json", member.graph.to_json())
            write_json(place / "member.json", member.facts())
            if architecture is not None:
                write_json(place / "architecture.json", architecture.to_json())
