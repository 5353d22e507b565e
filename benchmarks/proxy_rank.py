"""How well short trainings rank networks: variants of the recipe ``proxy`` against a longer training.

    python benchmarks/proxy_rank.py DATASET [--data-dir DIR] [--cells 30] [--images 3000] [--epochs 12] [--seeds 1]
        [--width 8] [--depth 1] [--only VARIANT ...]

Random cells of NAS-Bench-201 in which the image reaches the classes, no two isomorphic, are trained with every variant
and, with other seeds, for --epochs epochs of the dataset's own recipe. All are measured on the same validation images;
the test split is not read. The table holds each variant's rank correlation with the long training's accuracy, the mean
over --seeds, and its share of the long training's CPU seconds, the measuring among them; --seeds above 1 also shows how
well one long training ranks like another. Parameters and multiply-accumulates rank for nothing: a proxy must beat them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from common import show
from scipy.stats import kendalltau, spearmanr

from nas import space_of
from nas.core.values import Task
from nas.data.splits import Splits, load_splits
from nas.errors import NasError
from nas.graph import Graph, cost
from nas.training.published_recipes import named_recipe
from nas.training.recipe import Recipe, default_recipe
from nas.training.trainer import train
from nas.types import Architecture

SPACE = "nb201"
LONG_SEED = 1000
PROXY = named_recipe("proxy")
_PLAIN = replace(PROXY, batch_size=64, learning_rate=0.1, crop_padding=0, flip=False)
VARIANTS: dict[str, Recipe] = {
    "1 epoch": replace(_PLAIN, epochs=1),
    "2 epochs": replace(_PLAIN, epochs=2),
    "4 epochs": replace(_PLAIN, epochs=4),
    "4 epochs, batch 256, crops and flips": replace(
        _PLAIN, epochs=4, batch_size=256, learning_rate=0.2, crop_padding=4, flip=True
    ),
}
"""``proxy`` with some of its numbers changed."""


@dataclass(frozen=True)
class Scores:
    """Validation accuracies in percent, one a network, and the CPU seconds that all took together."""

    accuracies: tuple[float, ...]
    seconds: float


def connected(architecture: Architecture) -> bool:
    """Return whether a cell's input reaches its output over edges that are not ``none``."""
    used = [name.split("_")[1:] for name, operation in architecture.decisions.items() if operation != "none"]
    reached = {0}
    for end in range(1, 4):
        if any(int(j) == end and int(i) in reached for i, j in used):
            reached.add(end)
    return 3 in reached


def random_cells(count: int, seed: int) -> list[Architecture]:
    """Return ``count`` random connected cells, of which no two are isomorphic."""
    space, rng = space_of(SPACE), np.random.default_rng(seed)
    found: dict[str, Architecture] = {}
    while len(found) < count:
        architecture = space.sample(rng)
        if connected(architecture):
            found.setdefault(space.key(architecture), architecture)
    return list(found.values())


def graphs(cells: Sequence[Architecture], task: Task, width: int, depth: int) -> list[Graph]:
    """Return the network of each cell."""
    space = space_of(SPACE)
    return [space.build(cell, task, width, depth) for cell in cells]


def score(name: str, networks: Sequence[Graph], splits: Splits, recipe: Recipe, seed: int) -> Scores:
    """Train every network with ``recipe`` on one thread and return how they did on the validation split."""
    start, found = time.process_time(), []
    for number, graph in enumerate(networks):
        found.append(train(graph, splits, recipe, seed, device="cpu", threads=1).accuracy)
        seconds = time.process_time() - start
        sys.stderr.write(f"{name}: {number + 1} of {len(networks)}, {found[-1]:.2f} %, {seconds:.0f} s\n")
    return Scores(tuple(found), time.process_time() - start)


def correlations(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Return Spearman's and Kendall's rank correlation (tau-b), ties counted as such."""
    return float(spearmanr(one, other).statistic), float(kendalltau(one, other).statistic)


def rows(
    truth: Sequence[float], variants: Mapping[str, Scores], free: Mapping[str, Sequence[float]], long_seconds: float
) -> list[tuple[str, ...]]:
    """Return the table: what ranks, both correlations with ``truth`` (of the better half too), share of the cost."""
    found: list[tuple[str, ...]] = []
    better = [i for i, value in enumerate(truth) if value >= statistics.median(truth)]
    for name, values, seconds in (
        *((name, s.accuracies, s.seconds) for name, s in variants.items()),
        *((name, values, 0.0) for name, values in free.items()),
    ):
        spearman, kendall = correlations(values, truth)
        top, _ = correlations([values[i] for i in better], [truth[i] for i in better])
        share = f"1/{long_seconds / seconds:.1f}" if seconds else "0"
        mean = f"{statistics.mean(values):.2f}" if seconds else ""
        found.append((name, f"{spearman:.3f}", f"{kendall:.3f}", f"{top:.3f}", share, f"{seconds:.0f}", mean))
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, correlate and print."""
    o = _parser().parse_args(arguments)
    splits = load_splits(o.dataset, o.data_dir, validation=o.validation, train_images=o.images)
    networks = graphs(random_cells(o.cells, o.seed), splits.task, o.width, o.depth)
    recipes = {name: VARIANTS[name] for name in o.only or VARIANTS}
    variants = {name: score(name, networks, splits, recipe, o.seed) for name, recipe in recipes.items()}
    long = replace(default_recipe(o.dataset), epochs=o.epochs)
    longs = [score(f"long {n}", networks, splits, long, LONG_SEED + o.seed + n) for n in range(o.seeds)]
    truth = [statistics.mean(values) for values in zip(*(s.accuracies for s in longs), strict=True)]
    totals = [cost(graph, "logits") for graph in networks]
    free = {"parameters": [t.params for t in totals], "multiply-accumulates": [t.macs for t in totals]}
    seconds = statistics.mean(s.seconds for s in longs)
    print(f"`python benchmarks/proxy_rank.py {' '.join(sys.argv[1:] if arguments is None else arguments)}`\n")
    head = ("ranked by", "Spearman", "Kendall", "Spearman, better half", "cost", "CPU s", "mean, %")
    show(f"Ranking {len(networks)} cells on {o.dataset}", head, rows(truth, variants, free, seconds))
    print(f"long training: {o.epochs} epochs, {seconds:.0f} CPU s, accuracy {min(truth):.2f} to {max(truth):.2f} %,")
    print(
        f"mean {statistics.mean(truth):.2f} %; {len(splits.train):,} training and {len(splits.validation):,} validation"
    )
    print(f"images, width {o.width}, depth {o.depth}, seed {o.seed}, {o.seeds} long seeds, one thread")
    for other in longs[1:]:
        same = correlations(longs[0].accuracies, other.accuracies)
        print(f"two long trainings of other seeds: Spearman {same[0]:.3f}, Kendall {same[1]:.3f}")
    print(flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("--data-dir")
    parser.add_argument("--validation", type=int, default=3_000)
    for name, default in (("cells", 30), ("images", 3_000), ("epochs", 12), ("seeds", 1), ("width", 8), ("depth", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=sorted(VARIANTS), metavar="VARIANT")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NasError as error:
        sys.exit(f"error: {error}")
