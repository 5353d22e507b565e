"""Fine-tuning from weights trained on another dataset against training from scratch, at equal epochs, several seeds.

    python benchmarks/finetune.py --source-dir CIFAR --target-dir IMAGENETTE [--source NAME] [--target NAME]
        [--image-size N] [--network NAME] [--source-images N] [--source-epochs N] [--train-images N ...] [--epochs N]
        [--seeds N] [--threads N]

One network is trained on the source (by default CIFAR-10); its weights begin every fine-tuning on the target (by
default the Imagenette folder of ``materialize.py imagenette64`` at 32 pixels), of which ``--train-images`` are taken.
The ways are those of ``nas finetune``: what the lectures' table has for little and much data, and for similar and
different tasks, its lower rate among them, and all stages at the full rate. From scratch has the same images, epochs,
batches and schedule at the recipe's own rate. A seed draws images, new weights, order and augmentation; the test split
is read once a training and chooses nothing.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from common import show
from safetensors.torch import load
from torch import Tensor

from nas.core.plugins import load_built_in
from nas.data.splits import Splits, load_splits
from nas.errors import NasError
from nas.graph import Graph
from nas.models.weight_names import matched
from nas.training.initial_weights import Start
from nas.training.recipe import Recipe
from nas.training.trainer import train
from nas.workflows.finetune.plan import FinetuneOptions, FinetunePlan, plan, trained_parameters
from nas.workflows.finetune.weights import InitialWeights, network_of

HEAD = ("images", "way", "frozen", "rate times", "trained params", "accuracy, %", "over scratch", "each seed", "CPU s")
RECIPE = Recipe(learning_rate=0.05, batch_size=32, crop_padding=2)
WAYS = {
    "little, similar: probe on top": FinetuneOptions("little", "similar"),
    "little, different: probe on an earlier stage": FinetuneOptions("little", "different"),
    "much, similar: the last stage": FinetuneOptions("much", "similar", factor=0.1),
    "much, different: all stages": FinetuneOptions("much", "different", factor=0.1),
    "all stages at the full rate": FinetuneOptions("much", "different", factor=1.0),
}


@dataclass(frozen=True)
class Row:
    """A way to train on ``images`` of the target: its accuracy (percent) with every seed, and the CPU's seconds."""

    images: int
    way: str
    plan: FinetunePlan
    scores: tuple[float, ...]
    seconds: float

    def cells(self, scratch: Row) -> tuple[str, ...]:
        """Return the cells of the table; the difference is the mean over seeds of those with the same seed."""
        trained, _ = trained_parameters(self.plan)
        spread = f" +- {stdev(self.scores):.2f}" if len(self.scores) > 1 else ""
        more = fmean(a - b for a, b in zip(self.scores, scratch.scores, strict=True))
        return (
            f"{self.images:,}",
            self.way,
            ", ".join(self.plan.frozen) or "nothing",
            f"{self.plan.factor:g}",
            f"{trained:,}",
            f"{fmean(self.scores):.2f}{spread}",
            f"{more:+.2f}" if self is not scratch else "",
            ", ".join(f"{score:.2f}" for score in self.scores),
            f"{self.seconds:.0f}",
        )


def trained_source(o: argparse.Namespace) -> tuple[Mapping[str, Tensor], str]:
    """Train the network on the source; return its state, and how it did there in a sentence."""
    splits = load_splits(o.source, o.source_dir, train_images=o.source_images)
    graph = network_of(o.network, splits.task)
    recipe, begin = RECIPE.for_batch(4 * RECIPE.batch_size), time.process_time()
    found = train(graph, splits, recipe, 0, o.source_epochs, device="cpu", threads=o.threads)
    seconds = time.process_time() - begin
    images = f"{len(splits.train):,} images of {o.source}, {o.source_epochs} epochs, {seconds:.0f} CPU s"
    return found.module.state_dict(), f"{o.network} on {images}: {found.accuracy:.2f} % of its validation images"


def ways(
    graph: Graph, images_per_class: float, weights: Mapping[str, Tensor]
) -> Iterator[tuple[str, FinetunePlan, InitialWeights]]:
    """Yield every way to train ``graph``, whose classifier is that of the target, and what it begins with."""
    yield "from scratch", FinetunePlan(graph, (), 1.0, ""), InitialWeights({}, "")
    given = InitialWeights(matched(graph, weights, "source", other_task=True).tensors, "")
    for name, wish in WAYS.items():
        yield name, plan(graph, images_per_class, wish), given


def measured(o: argparse.Namespace, way: str, chosen: FinetunePlan, given: InitialWeights, images: int) -> Row:
    """Train on ``images`` of the target with every seed."""
    scores, begin = [], time.process_time()
    for seed in range(o.seeds):
        found = train(
            chosen.graph,
            target(o, images, seed),
            RECIPE,
            seed,
            o.epochs,
            measure_on="test",
            device="cpu",
            threads=o.threads,
            initial=Start(load(given.content(chosen)), chosen.frozen, chosen.factor),
        )
        scores.append(found.accuracy)
        sys.stderr.write(f"{images} images, {way}, seed {seed}: {found.accuracy:.2f} % after {found.seconds:.0f} s\n")
    return Row(images, way, chosen, tuple(scores), time.process_time() - begin)


def target(o: argparse.Namespace, images: int, seed: int) -> Splits:
    """Return ``images`` of the target, drawn by ``seed``."""
    return load_splits(o.target, o.target_dir, seed, train_images=images, image_size=o.image_size)


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what the command line says and print the table."""
    o = _parser().parse_args(arguments)
    load_built_in()
    if o.target != "folder":
        o.image_size = None
    task = target(o, o.train_images[0], 0).task
    weights, told = trained_source(o)
    sys.stderr.write(f"{told}\n")
    graph, rows = network_of(o.network, task), []
    for images in o.train_images:
        found = [measured(o, *way, images) for way in ways(graph, images / task.classes, weights)]
        rows += [row.cells(found[0]) for row in found]
    print(f"`python benchmarks/finetune.py {' '.join(sys.argv[1:] if arguments is None else arguments)}`\n")
    show(f"Fine-tuning from {o.source} to {o.target}", HEAD, rows)
    cores = f"{o.threads} thread{'s' if o.threads > 1 else ''} of {os.cpu_count()} cores"
    print(f"Weights: {told}. Then {o.epochs} epochs each, {o.seeds} seeds, {cores}; +-: deviation of one seed.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    texts = {"source": "cifar10", "target": "folder", "network": "resnet20_cifar"}
    for name, text in texts.items():
        parser.add_argument(f"--{name}", default=text)
    for name in ("source-dir", "target-dir"):
        parser.add_argument(f"--{name}")
    numbers = {"image-size": 32, "source-images": 10_000, "source-epochs": 5, "epochs": 5, "seeds": 3, "threads": 1}
    for name, number in numbers.items():
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--train-images", type=int, nargs="+", default=[500, 1500])
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except NasError as error:
        sys.exit(f"error: {error}")
