"""Twenty networks and twenty found cells in every format: each file computes what the original does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nas.after.export import TOLERANCE, export
from nas.after.export_formats import FORMATS, new_network
from nas.after.export_subject import Subject
from nas.graph import Graph
from nas.plugins import load_built_in
from nas.space import SPACES
from nas.training.weights import save_weights
from nas.types import Task
from search_spaces.networks.registry import NETWORKS

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


@pytest.fixture(autouse=True)
def _needs_onnx() -> None:
    for package in FORMATS["onnx"].packages:
        pytest.importorskip(package)


def exported(name: str, graph: Graph, folder: Path, fold: bool) -> None:
    """Export a network whose norms are not those of a new one, and look at what came of it."""
    module = new_network(graph, "logits", None).module
    generator = torch.Generator().manual_seed(1)
    for value in module.state_dict().values():
        if value.is_floating_point() and value.dim() == 1:  # biases, and all that norms hold
            value.copy_(torch.rand(value.shape, generator=generator) * 0.5 + 0.75)
    save_weights(module, folder / "weights.safetensors")
    subject = Subject(name, graph, "logits", "key", f"The network `{name}`", folder / "weights.safetensors")
    written = export(subject, folder / "out", list(FORMATS), fold)
    assert [file.format for file in written] == ["py", "safetensors", "pt2", "onnx"]
    assert all(file.difference <= TOLERANCE for file in written)
    assert {path.suffix for path in (folder / "out").iterdir()} == {
        ".py",
        ".safetensors",
        ".pt2",
        ".onnx",
        ".md",
        ".json",
    }


@pytest.mark.long
@pytest.mark.parametrize("name", SIZES)
def test_a_named_network_in_every_format(name: str, tmp_path: Path) -> None:
    info, size = NETWORKS[name], SIZES[name]
    graph = info.build((info.input_shape[0], size, size), 10)
    exported(name, graph, tmp_path, fold=len(name) % 2 == 0)


@pytest.mark.long
@pytest.mark.parametrize(("space", "seed"), CELLS)
def test_a_found_cell_in_every_format(space: str, seed: int, tmp_path: Path) -> None:
    load_built_in()
    found = SPACES[space]
    architecture = found.sample(np.random.default_rng(seed))
    graph = found.build(architecture, Task("photos", (3, 32, 32), 10), 8 if space == "lecture" else 4, 1)
    exported(space, graph, tmp_path, fold=seed % 2 == 0)
