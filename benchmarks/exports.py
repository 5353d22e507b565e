"""Twenty named networks and twenty found cells in every format, each file read again and compared with the original.

    python benchmarks/exports.py [--only NAME ...]

Differences are the greatest of an output to the original, relative to the scale of the outputs; the bar is 1e-5. Norms
are not those of a new network. Every second graph has its batch norms folded into the convolutions. Cells are drawn
from the spaces with the seed that stands behind their name.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from common import show

from nas.core.plugins import load_built_in
from nas.core.values import Task
from nas.graph import Graph, cost
from nas.space import SPACES
from nas.space.networks import NETWORKS
from nas.training.weights import save_weights
from nas.workflows.export.formats import FORMATS, new_network
from nas.workflows.export.model import ExportModel
from nas.workflows.export.write import TOLERANCE, export

# a size at which the network's pools and windows still fit
SIZES = {
    "lenet5": 28,
    "alexnet": 64,
    "alexnet_two_gpus": 75,
    "vgg11_bn": 32,
    "vgg11_lrn": 32,
    "squeezenet1_0_complex_bypass": 64,
    "googlenet": 64,
    "resnet18": 64,
    "resnet20_cifar": 32,
    "resnetv2_50": 64,
    "resnext50_32x4d": 64,
    "seresnet50": 64,
    "wrn_16_4": 32,
    "densenet_bc_100_12": 32,
    "mobilenetv1_025": 64,
    "mobilenet_v2": 64,
    "shufflenet_v1_x1_0": 64,
    "shufflenet_v2_x1_0": 64,
    "inception_v3": 96,
    "efficientnet_b0": 64,
}
CELLS = [(space, seed) for space in ("nasnet", "darts", "nb201", "nb101", "stages", "lecture") for seed in range(3)]
CELLS += [("nb201", 3), ("nb101", 3)]


def network(name: str) -> Graph:
    """Return a named network at its small size with 10 classes."""
    load_built_in()
    info, size = NETWORKS[name], SIZES[name]
    return info.build((info.input_shape[0], size, size), 10)


def cell(space: str, seed: int) -> Graph:
    """Return the network of a cell that ``seed`` draws, for 32x32 photos."""
    load_built_in()
    found = SPACES[space]
    architecture = found.sample(np.random.default_rng(seed))
    return found.build(architecture, Task("photos", (3, 32, 32), 10), 8 if space == "lecture" else 4, 1)


def exported(name: str, graph: Graph, folder: Path, fold: bool) -> dict[str, float]:
    """Export a network whose norms are not those of a new one; return the difference of each format."""
    module = new_network(graph, "logits", None).module
    generator = torch.Generator().manual_seed(1)
    for value in module.state_dict().values():
        if value.is_floating_point() and value.dim() == 1:  # biases, and all that norms hold
            value.copy_(torch.rand(value.shape, generator=generator) * 0.5 + 0.75)
    save_weights(module, folder / "weights.safetensors")
    subject = ExportModel(name, graph, "logits", "key", f"The network `{name}`", folder / "weights.safetensors")
    return {file.format: file.difference for file in export(subject, folder / "out", list(FORMATS), fold)}


def row(name: str, graph: Graph, fold: bool) -> tuple[tuple[str, ...], float]:
    """Return the row of a graph and its greatest difference."""
    start = time.perf_counter()
    with TemporaryDirectory() as folder:
        found = exported(name, graph, Path(folder), fold)
    seconds = time.perf_counter() - start
    shown = [f"{found[form]:.1e}" for form in FORMATS]
    return (name, f"{cost(graph).params:,}", "yes" if fold else "", *shown, f"{seconds:.1f}"), max(found.values())


def main(arguments: list[str] | None = None) -> int:
    """Export all and print the table; exit code 1 where a difference is over the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these graphs alone, e.g. lenet5 darts-0")
    only = parser.parse_args(arguments).only
    plans = [(name, network, (name,)) for name in SIZES]
    plans += [(f"{space}-{seed}", cell, (space, seed)) for space, seed in CELLS]
    found = []
    for number, (name, build, args) in enumerate(plans):
        if only is None or name in only:
            found.append(row(name, build(*args), number % 2 == 0))
            sys.stderr.write(f"{' | '.join(found[-1][0])}\n")
    head = ("network", "params", "norms folded", *FORMATS, "seconds")
    show("Exports, the difference of each file to the original", head, [cells for cells, _ in found])
    worst = max(difference for _, difference in found)
    print(f"{len(found)} graphs, the greatest difference {worst:.1e}, bar {TOLERANCE:g}")
    return int(worst > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
