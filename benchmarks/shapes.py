"""Which shapes are good at one budget, by the validation split alone: what searches could find, and at which fidelity.

    python benchmarks/shapes.py NAME [--data DIR] [--seeds 0,1]
    python benchmarks/shapes.py --table NAME

``NAME`` is one of :data:`STUDIES`: a dataset, a budget of MACs, a training, and the shapes to train. One thread; what
has a row in ``benchmarks/rows/shapes.csv`` is not trained again. The test split is never read.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from common import machine, show

from nas.core.values import Budget
from nas.data.splits import load_splits
from nas.graph import cost
from nas.space.budget import fit
from nas.training.recipe import default_recipe
from nas.training.trainer import train
from search_spaces.spaces.macro import PARTS, WIDTHS
from search_spaces.stages.shape import HEADS, Shape, build_shape

ROWS = Path(__file__).parent / "rows" / "shapes.csv"
HEAD = ("study", "shape", "epochs", "seed", "val_accuracy", "macs", "params", "width", "cpu_seconds", "machine")
FOUR, THREE = Shape((1, 1, 1, 1), stem_stride=2), Shape((1, 1, 1), stem_stride=2)
MODERN = {"preactivated": True, "activation": "swish"}
BOTTLENECK = {"family": "bottleneck", "expansion": 0.5}


def changed(shape: Shape, **one: Iterable[object]) -> list[Shape]:
    """Return ``shape`` with one decision changed, for every other value of each."""
    return [replace(shape, **{name: value}) for name, values in one.items() for value in values]


NEAR_RESNET = [
    FOUR,
    *changed(FOUR, activation=["swish"], se=[0.25], growth=[1.4, 2.8], stem_width=[0.5, 2.0], head=["conv_pool_fc"]),
    *changed(FOUR, kernel=[5], stem_stride=[1], preactivated=[True], family=["plain", "separable"]),
    *changed(FOUR, repeats=[(1, 1, 2, 1), (1, 1, 1, 2), (1, 2, 1, 1)]),
    replace(FOUR, **MODERN),
    THREE,
    *changed(THREE, early=[True], growth=[2.8]),
    replace(THREE, early=True, growth=2.8),
    replace(THREE, repeats=(1, 1), early=True),
    replace(THREE, repeats=(1, 1), early=True, growth=2.8),
    replace(FOUR, family="plain", repeats=(2, 2, 2, 2)),
    replace(FOUR, **BOTTLENECK),
    replace(FOUR, **BOTTLENECK | MODERN | {"expansion": 0.25}),
    replace(THREE, repeats=(2, 2, 2), **BOTTLENECK | MODERN | {"expansion": 0.25}),
    replace(FOUR, family="inverted", expansion=4.0),
    replace(FOUR, stem_stride=1, early=True),
    replace(THREE, stem_stride=1, early=True),
]
"""ResNet-10 with a strided stem, one decision changed, and a few shapes further off."""
SWISH = [
    FOUR,
    replace(FOUR, activation="swish"),
    replace(FOUR, **MODERN),
    replace(FOUR, preactivated=True, stem_width=0.5),
    replace(FOUR, **MODERN, se=0.25),
    replace(FOUR, growth=2.8, activation="swish"),
    replace(THREE, early=True, **MODERN),
    replace(FOUR, family="plain", activation="swish"),
    replace(THREE, early=True, **BOTTLENECK | MODERN),
    replace(FOUR, **BOTTLENECK, activation="swish"),
    replace(FOUR, family="inverted", expansion=4.0, activation="swish"),
    replace(FOUR, family="separable", activation="swish"),
    replace(THREE, **MODERN),
    replace(FOUR, stem_stride=1, early=True, **MODERN),
]
"""Shapes with the activation that helped on Fashion-MNIST."""
FEW = [
    FOUR,
    replace(FOUR, **MODERN),
    replace(THREE, early=True, **MODERN),
    replace(FOUR, family="plain"),
    replace(THREE, **MODERN),
    replace(FOUR, activation="swish", se=0.25),
    replace(THREE, early=True, **BOTTLENECK | MODERN),
]
"""Those that were good in short trainings."""


def near(count: int) -> list[Shape]:
    """Return the shapes of VGG's and ResNet's units, and ``count`` of few units drawn at random, the same ever."""
    draw = random.Random(0)
    shapes = [*changed(FOUR, family=["plain"]), *changed(replace(FOUR, family="plain"), activation=["swish"])]
    while len(shapes) < count + 2:
        family = draw.choice(("basic", "plain"))
        shape = Shape(
            repeats=tuple(draw.choice((1, 1, 2)) for _ in range(draw.choice((3, 4)))),
            family=family,
            activation=draw.choice(("relu", "swish")),
            preactivated=family == "basic" and draw.random() < 0.5,
            stem_stride=draw.choice((1, 2)),
            stem_width=draw.choice((0.5, 1.0)),
            growth=draw.choice((1.4, 2.0, 2.8)),
            early=draw.random() < 0.5,
            head=draw.choice(("pool_fc", "conv_pool_fc")),
        )
        if 8 <= shape.reduction <= 16 and sum(shape.repeats) <= 5 and shape not in shapes:
            shapes.append(shape)
    return shapes


PLAIN = replace(FOUR, family="plain")
VGG = replace(PLAIN, stem_stride=1, stem_width=0.5, early=True, down="max")
POOLED = [
    *changed(PLAIN, down=["stride", "max", "max_overlapping", "avg"]),
    *changed(FOUR, down=["stride", "max", "avg"]),
    *changed(replace(FOUR, preactivated=True), down=["stride", "max"]),
    VGG,
    replace(VGG, down="stride"),
    *changed(VGG, activation=["swish"], down=["max_overlapping"], growth=[1.4, 2.8], head=["conv_pool_fc"], se=[0.25]),
    *changed(VGG, family=["basic", "separable"], stem_width=[1.0], repeats=[(1, 1, 2, 1)]),
]
"""Halving by strides and by pools."""
VGG3 = replace(VGG, repeats=(1, 1, 1), down="max_overlapping")
PARTED = [
    *changed(VGG, head=HEADS[::2]),
    *changed(VGG3, head=HEADS, growth=[1.4], family=["basic"]),
    *changed(replace(VGG3, head="pool4_fc"), growth=[1.4]),
    *changed(replace(VGG3, head="pool2_fc"), family=["basic", "bottleneck"]),
]
"""Heads that see a mean over the whole image, and over parts of it."""


@dataclass(frozen=True)
class Study:
    """What is trained."""

    dataset: str
    macs: int
    train_images: int | None
    epochs: tuple[int, ...]
    shapes: list[Shape]
    recipe: dict[str, float] = field(default_factory=dict)
    """What differs from the dataset's own recipe."""


STUDIES = {
    "fashion-mini": Study("fashion-mini", 1_000_000, None, (1, 4), NEAR_RESNET),
    "cifar10-8000": Study("cifar10", 3_000_000, 8_000, (2, 8), SWISH),
    "cifar10-8000-batch32": Study("cifar10", 3_000_000, 8_000, (1, 6), FEW, {"batch_size": 32, "learning_rate": 0.05}),
    "cifar10-15000": Study("cifar10", 3_000_000, 15_000, (1, 5), FEW),
    "cifar10-15000-near": Study("cifar10", 3_000_000, 15_000, (5,), near(40)),
    "cifar10-8000-pools": Study("cifar10", 3_000_000, 8_000, (6,), POOLED),
    "cifar10-8000-heads": Study("cifar10", 3_000_000, 8_000, (6,), PARTED),
    "cifar10-all": Study("cifar10", 3_000_000, None, (1, 5), FEW),
}
"""By name; MACs of an image, training images (None: all but those for validation), epochs."""


def described(shape: Shape) -> str:
    """Return the decisions that differ from ResNet's, and the units of each stage."""
    usual = Shape(shape.repeats)
    names = [name for name in vars(usual) if getattr(shape, name) != getattr(usual, name)]
    return ", ".join(["-".join(map(str, shape.repeats)), *(f"{name}={getattr(shape, name)}" for name in names)])


def rows_of(name: str) -> list[dict[str, str]]:
    """Return the rows that a study has."""
    if not ROWS.is_file():
        return []
    with ROWS.open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["study"] == name]


def measure(name: str, data: str | None, seeds: list[int]) -> None:
    """Train what has no row yet."""
    study = STUDIES[name]
    splits = load_splits(study.dataset, data, 0, None, study.train_images, None)
    recipe, new = replace(default_recipe(study.dataset), **study.recipe), not ROWS.is_file()
    done = {(row["shape"], row["epochs"], row["seed"]) for row in rows_of(name)}
    with ROWS.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HEAD, lineterminator="\n")
        if new:
            writer.writeheader()
        for shape in study.shapes:

            def build(width: int, shape: Shape = shape):
                return build_shape(shape, splits.task, width / PARTS)

            found = fit(build, Budget(study.macs), WIDTHS, 16 * PARTS)
            for epochs in study.epochs:
                for seed in seeds:
                    if (described(shape), str(epochs), str(seed)) in done:
                        continue
                    began = time.process_time()
                    trained = train(found.graph, splits, recipe, seed, epochs, threads=1)
                    seconds = round(time.process_time() - began, 1)
                    values = (name, described(shape), epochs, seed, round(trained.accuracy, 2), found.macs)
                    rest = (cost(found.graph).params, found.width, seconds, machine())
                    writer.writerow(dict(zip(HEAD, (*values, *rest), strict=True)))
                    file.flush()


def table(name: str) -> None:
    """Print the mean over seeds of every shape (and of how many), best of the longest training first."""
    found: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    sizes, seconds = {}, {}
    for row in rows_of(name):
        found[row["shape"]][int(row["epochs"])].append(float(row["val_accuracy"]))
        sizes[row["shape"]] = (f"{int(row['params']):,}", f"{int(row['macs']):,}")
        seconds[row["shape"]] = max(float(row["cpu_seconds"]), seconds.get(row["shape"], 0))
    epochs = sorted({number for scores in found.values() for number in scores})
    means = {shape: [sum(of[n]) / len(of[n]) if of[n] else 0.0 for n in epochs] for shape, of in found.items()}
    lines = [
        [
            shape,
            *(
                f"{mean:.2f} ({len(found[shape][n])})" if mean else ""
                for n, mean in zip(epochs, means[shape], strict=True)
            ),
            *sizes[shape],
            f"{seconds[shape]:.0f}",
        ]
        for shape in sorted(means, key=lambda shape: -means[shape][-1])
    ]
    head = ["shape", *(f"{number} epochs, %" for number in epochs), "params", "MACs", "CPU s of the longest"]
    show(f"Shapes: {name}", head, lines)


def main() -> None:
    """Measure, or print what is measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("--table", action="store_true", help="print the table of the rows that are there")
    parser.add_argument("--data", help="the folder of the images")
    parser.add_argument("--seeds", type=lambda text: [int(seed) for seed in text.split(",")], default=[0])
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if not options.table:
        measure(options.study, options.data, options.seeds)
    table(options.study)


if __name__ == "__main__":
    main()
