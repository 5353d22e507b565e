"""The test accuracy that networks reach under a recipe, with what it costs: one row a network.

    python benchmarks/accuracy.py DATASET NETWORK [NETWORK ...] [--recipe NAME|FILE] [--data-dir DIR] [--epochs N]
        [--seed 0] [--threads N] [--width N] [--depth N] [--train-images N] [--bf16] [--held-out]

A NETWORK is what ``nas inspect`` takes (a name, a genotype, the file of an architecture or graph; --width and --depth
are for architectures), ``airbench`` or ``airbench:64-256-256`` (see benchmarks/airbench.py), or ``resnet``: the
handcrafted ResNet whose MACs come closest to the first network's.

Networks train one after another on train and validation together and measure the test split once. ``--held-out``
leaves the test split unread: it trains on train alone and measures validation, as one does to choose a recipe.
``--bf16`` computes the forward pass in bfloat16 where that is safe (torch's autocast). The seconds are of training and
measuring, without the reading of files.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from airbench import WIDTHS, airbench
from common import show

from nas.core.files import read_json
from nas.core.values import Task
from nas.data.splits import Splits, load_splits
from nas.errors import ConfigError, NasError
from nas.graph import Graph, cost
from nas.training.backend_tuning import choose
from nas.training.published_recipes import RECIPES, named_recipe
from nas.training.recipe import Recipe, default_recipe
from nas.training.train_step import OnEpoch
from nas.training.trainer import train
from search_spaces.networks.resnet import matching_resnet

HEAD = ("network", "params", "MACs", "epochs", "seconds", "CPU s", "images/s")


@dataclass(frozen=True)
class Setting:
    """How every network is trained; ``epochs`` 0 means the recipe's."""

    recipe: Recipe
    epochs: int = 0
    seed: int = 0
    threads: int | None = None
    bf16: bool = False
    held_out: bool = False


@dataclass(frozen=True)
class Row:
    """What one training cost and reached; ``accuracy`` in percent."""

    name: str
    params: int
    macs: int
    epochs: int
    seconds: float
    cpu_seconds: float
    images_per_second: float
    accuracy: float

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        times = (f"{self.seconds:.1f}", f"{self.cpu_seconds:.1f}", f"{self.images_per_second:,.0f}")
        return self.name, f"{self.params:,}", f"{self.macs:,}", str(self.epochs), *times, f"{self.accuracy:.2f}"


def networks(names: Sequence[str], task: Task, width: int | None, depth: int | None) -> list[tuple[str, Graph]]:
    """Return name and graph of each network for ``task``; an unknown one raises :class:`ConfigError`."""
    found: list[tuple[str, Graph]] = []
    for name in names:
        kind, _, widths = name.partition(":")
        if name == "resnet":
            if not found:
                raise ConfigError("resnet: it matches the MACs of the network before it, name one first")
            found.append(matching_resnet(task, cost(found[0][1], "logits").macs))
        elif kind == "airbench":
            found.append((name, airbench(task, [int(w) for w in widths.split("-")] if widths else WIDTHS)))
        else:
            found.append(_named(name, task, width, depth))
    return found


def _named(name: str, task: Task, width: int | None, depth: int | None) -> tuple[str, Graph]:
    # the command line's own way to find what a name means
    from nas.models.resolve import SizeOptions, resolve

    graph = resolve(name, SizeOptions(task.input_shape, task.classes, width, depth)).graph
    size = [f"{what} {n}" for what, n in (("width", width), ("depth", depth)) if n]
    return ", ".join([Path(name).stem, *size]), graph


def measure(name: str, graph: Graph, splits: Splits, setting: Setting) -> Row:
    """Train ``graph`` and measure it once."""
    epochs, total = setting.epochs or setting.recipe.epochs, cost(graph, "logits")
    switches = replace(choose(torch.device("cpu")), bf16=setting.bf16)
    start, cpu = time.perf_counter(), time.process_time()
    result = train(
        graph,
        splits,
        setting.recipe,
        setting.seed,
        epochs,
        train_on=("train",) if setting.held_out else ("train", "validation"),
        measure_on="validation" if setting.held_out else "test",
        device="cpu",
        threads=setting.threads,
        on_epoch=_progress(name, epochs, start),
        backend=switches,
    )
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu
    rate, accuracy = result.images_per_second, result.accuracy
    row = Row(name, total.params, total.macs, epochs, seconds, cpu_seconds, rate, accuracy)
    sys.stderr.write(f"{' | '.join(row.cells())}\n")
    return row


def _progress(name: str, epochs: int, start: float) -> OnEpoch:
    def tell(epoch: int, loss: float) -> None:
        seconds = time.perf_counter() - start
        sys.stderr.write(f"{name}: epoch {epoch} of {epochs}, loss {loss:.4f}, {seconds:.0f} s\n")

    return tell


def recipe_of(text: str | None, dataset: str) -> tuple[str, Recipe]:
    """Return name and recipe: a registered one, a JSON file's, or without ``text`` the dataset's own."""
    if text is None:
        return "the dataset's own", default_recipe(dataset)
    if text not in RECIPES and Path(text).is_file():
        return Path(text).stem, Recipe.from_json(read_json(Path(text)))
    return text, named_recipe(text)


def describe(recipe: Recipe) -> str:
    """Return the numbers of ``recipe`` that are not the defaults, then those that are."""
    plain, data = Recipe(), recipe.to_json()
    changed = [f.name for f in fields(Recipe) if getattr(recipe, f.name) != getattr(plain, f.name)]
    rest = [name for name in data if name not in changed]
    own, others = (", ".join(f"{name} {data[name]}" for name in names) for names in (changed, rest))
    return f"{own or 'nothing'}; the defaults else: {others}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what the command line names and print the table."""
    o = _parser().parse_args(arguments)
    recipe_name, recipe = recipe_of(o.recipe, o.dataset)
    splits = load_splits(o.dataset, o.data_dir, train_images=o.train_images)
    setting = Setting(recipe, o.epochs, o.seed, o.threads, o.bf16, o.held_out)
    chosen = networks(o.networks, splits.task, o.width, o.depth)
    rows = [measure(name, graph, splits, setting) for name, graph in chosen]
    used = len(splits.train) + (0 if o.held_out else len(splits.validation))
    print(f"`python benchmarks/accuracy.py {' '.join(sys.argv[1:] if arguments is None else arguments)}`\n")
    split = "validation" if o.held_out else "test"
    show(f"Accuracy on {o.dataset}", (*HEAD, f"{split} accuracy, %"), [row.cells() for row in rows])
    cores, kind = o.threads or torch.get_num_threads(), "bfloat16 (autocast)" if o.bf16 else "float32"
    print(f"{used:,} training images, {cores} threads of {os.cpu_count()} cores, {kind}, seed {o.seed}")
    print(f"recipe {recipe_name}: {describe(recipe)}\n", flush=True)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("networks", nargs="+", metavar="NETWORK")
    for name in ("--recipe", "--data-dir"):
        parser.add_argument(name)
    for name in ("--epochs", "--seed"):
        parser.add_argument(name, type=int, default=0)
    for name in ("--threads", "--width", "--depth", "--train-images"):
        parser.add_argument(name, type=int)
    for name in ("--bf16", "--held-out"):
        parser.add_argument(name, action="store_true")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NasError as error:
        sys.exit(f"error: {error}")
