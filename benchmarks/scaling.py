"""A found cell scaled to 2 and 4 times the MACs three ways: compound, by depth, by width; one recipe, several seeds.

    python benchmarks/scaling.py [--cell FILE] [--dataset NAME] [--data-dir DIR] [--width N] [--depth N]
        [--train-images N] [--epochs N] [--seeds N] [--threads N] [--recipe NAME|FILE] [--by HOW ...] [--ratios N ...]

Every network trains on the same images with the same recipe and seeds and reads the test split once a seed, at its end;
nothing is chosen by it. Networks are those of ``nas scale --by all``: each has the coefficient whose MACs come nearest.
Compound scaling shows the same pictures with more pixels (bilinear), as the dataset has no larger ones.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev

from common import ROOT, show

from nas.data.splits import Splits, load_splits
from nas.errors import ConfigError, NasError
from nas.models.resolve import SizeOptions, resolve
from nas.training.published_recipes import recipe_of, recipe_table
from nas.training.recipe import Recipe
from nas.training.trainer import train
from nas.workflows.scale.compound import DIMENSIONS, Factors, ScaledNetwork, Scaler
from nas.workflows.scale.grid_training import enlarged

HEAD = ("scaled", "width", "depth", "pixels", "network", "params", "MACs", "times", "accuracy, %", "each seed", "CPU s")


def measured(
    member: ScaledNetwork, splits: Splits, recipe: Recipe, options: argparse.Namespace
) -> tuple[list[float], float]:
    """Train a member with every seed; return the test accuracies and the CPU's seconds."""
    sized, start, scores = enlarged(splits, member.resolution), time.process_time(), []
    for seed in range(options.seeds):
        found = train(
            member.graph,
            sized,
            recipe,
            seed,
            options.epochs,
            train_on=("train",),
            measure_on="test",
            device="cpu",
            threads=options.threads,
        )
        scores.append(found.accuracy)
        sys.stderr.write(f"{member.name}, seed {seed}: {found.accuracy:.2f} % after {found.seconds:.0f} s\n")
    return scores, time.process_time() - start


def row(member: ScaledNetwork, scores: Sequence[float], seconds: float) -> tuple[str, ...]:
    """Return a row of the table."""
    spread = f" +- {stdev(scores):.2f}" if len(scores) > 1 else ""
    ways = (member.by, f"{member.width:.3f}", f"{member.depth:.3f}", str(member.resolution), member.size)
    sizes = (f"{member.params:,}", f"{member.macs:,}", f"{member.ratio:.2f}")
    return *ways, *sizes, f"{fmean(scores):.2f}{spread}", ", ".join(f"{s:.2f}" for s in scores), f"{seconds:.0f}"


def members(scaler: Scaler, by: Sequence[str], ratios: Sequence[float]) -> list[ScaledNetwork]:
    """Return the base, then for every ratio of MACs a member of every way."""
    for way in by:
        if way not in DIMENSIONS:
            raise ConfigError(f"--by: {way} is none of {', '.join(DIMENSIONS)}")
    base = replace(scaler.equal("width", 0, Factors()), by="base")
    return [base, *(scaler.equal(way, math.log2(ratio), Factors()) for ratio in ratios for way in by)]


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what the command line says and print the table."""
    o = _parser().parse_args(arguments)
    splits = load_splits(o.dataset, o.data_dir, train_images=o.train_images)
    recipe = replace(recipe_of(recipe_table(o.recipe, "--recipe", o.dataset), o.dataset), aux_weight=0.0)
    wanted = SizeOptions(splits.task.input_shape, splits.task.classes, o.width, o.depth)
    scaler, rows = Scaler(resolve(str(o.cell), wanted).scalable), []
    for member in members(scaler, o.by, o.ratios):
        rows.append(row(member, *measured(member, splits, recipe, o)))
    print(f"`python benchmarks/scaling.py {' '.join(sys.argv[1:] if arguments is None else arguments)}`\n")
    show(f"{Path(o.cell).stem} on {o.dataset}, width {o.width}, depth {o.depth}", HEAD, rows)
    cores = f"{o.threads} thread{'s' if o.threads > 1 else ''} of {os.cpu_count()} cores"
    print(f"{len(splits.train):,} training images, {o.epochs} epochs, {o.seeds} seeds, {cores}; +-: of one seed")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", default=ROOT / "benchmarks/found/nb201-fashion.json")
    parser.add_argument("--dataset", default="fashion-mnist")
    for name in ("--data-dir", "--recipe"):
        parser.add_argument(name)
    numbers = {"width": 8, "depth": 1, "train-images": 4000, "epochs": 5, "seeds": 3, "threads": 1}
    for name, default in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--by", nargs="+", default=["compound", "depth", "width"])
    parser.add_argument("--ratios", nargs="+", type=float, default=[2.0, 4.0])
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NasError as error:
        sys.exit(f"error: {error}")
