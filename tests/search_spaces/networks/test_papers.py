"""What networks are made of is what their papers and their own descriptions say."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import torch
from command import nas, python

from nas.core.plugins import load_built_in
from nas.graph import LocalResponseNorm
from nas.graph.lowering.torch_module import build_module
from nas.space.networks import NETWORKS
from nas.space.operations import OPERATIONS
from search_spaces.blocks.layers import ACTIVATIONS
from search_spaces.networks.mobilenet import mobilenet_v1

load_built_in()
KRIZHEVSKY = ("vgg11_lrn", "alexnet_lecture", "alexnet_two_gpus", "zfnet")


@pytest.mark.long
def test_every_local_response_norm_has_its_papers_alpha_over_torchs_mean(tmp_path: Path) -> None:
    # Caffe's GoogLeNet: local_size 5, alpha 1e-4 (the default), beta 0.75, k 1, alpha divided by local_size
    for name, numbers in (("vgg11_lrn", "alpha=0.0005, k=2.0"), ("googlenet_paper", "")):
        done = nas(tmp_path, "source", name, "-o", "net.py")
        assert done.returncode == 0, done.stderr
        found = set(re.findall(r"nn.LocalResponseNorm\((.*)\)", (tmp_path / "net.py").read_text()))
        assert found == {f"5, {numbers}" if numbers else "5"}, name
    for name in KRIZHEVSKY:
        ops = {node.op for node in NETWORKS[name].build().nodes if isinstance(node.op, LocalResponseNorm)}
        assert ops == {LocalResponseNorm(5, 1e-4 * 5, 0.75, 2.0)}, name


@pytest.mark.parametrize("name", KRIZHEVSKY)
def test_local_response_norms_compute_the_papers_formula(name: str) -> None:
    op = next(node.op for node in NETWORKS[name].build().nodes if isinstance(node.op, LocalResponseNorm))
    layer = op.layer(((9, 3, 3),))
    a = 50 * torch.randn(1, 9, 3, 3)
    found = getattr(torch.nn, layer.name)(**layer.arguments)(a)
    for i in range(9):
        near = a[:, max(0, i - 2) : i + 3].square().sum(1)
        torch.testing.assert_close(found[:, i], a[:, i] / (2 + 1e-4 * near) ** 0.75)


def test_no_other_network_has_a_local_response_norm() -> None:
    found = {
        name
        for name in NETWORKS
        if any(isinstance(node.op, LocalResponseNorm) for node in NETWORKS[name].build(classes=10).nodes)
    }
    assert found == {*KRIZHEVSKY, "googlenet_paper"}


def test_the_two_gpus_norm_before_they_pool() -> None:
    """Section 3.5 of the paper: pools follow the response-normalization layers; the lecture has it the other way."""
    for name, order in (("alexnet_two_gpus", ["local_response_norm", "max_pool"]), ("zfnet", None)):
        kinds = [node.op.kind for node in NETWORKS[name].build().nodes]
        pairs = [kind for kind in kinds if kind in ("local_response_norm", "max_pool")]
        assert pairs[:4] == 2 * (order or ["max_pool", "local_response_norm"])


def test_mobilenet_v1_says_its_relu6_and_is_there_with_relu(tmp_path: Path) -> None:
    lines = nas(tmp_path, "list", "networks").stdout.splitlines()
    own = [line for line in lines if line.split()[0].startswith("mobilenetv1_")]
    assert all(("ReLU6" in line) == ("_relu" not in line.split()[0]) for line in own), own
    assert len(own) == 8


@pytest.mark.parametrize("width", ["025", "050", "075", "100"])
def test_mobilenet_v1_with_relu_differs_by_the_activation_alone(width: str) -> None:
    six, relu = (NETWORKS[f"mobilenetv1_{width}{end}"].build((3, 64, 64), 10) for end in ("", "_relu"))
    assert {n.op.kind for n in six.nodes} - {n.op.kind for n in relu.nodes} == {"relu6"}
    assert {n.op.kind for n in relu.nodes} - {n.op.kind for n in six.nodes} == {"relu"}
    assert len(six.nodes) == len(relu.nodes)
    names = build_module(six).state_dict()
    assert {k: v.shape for k, v in build_module(relu).state_dict().items()} == {k: v.shape for k, v in names.items()}
    assert "``relu``" in str(mobilenet_v1.__doc__)


def test_lenet5_is_described_with_the_activation_that_it_has(tmp_path: Path) -> None:
    code = "import inspect\nfrom search_spaces.networks.lenet import lenet5 as f\nprint(f.__doc__.splitlines()[0])"
    line = python(tmp_path, code).stdout.lower()
    assert "tanh" in line
    assert "sigmoid" not in line


def test_what_takes_an_activation_is_described_by_no_other() -> None:
    """A first line that names an activation names the one that is there by default."""
    things = {name: NETWORKS[name].function for name in NETWORKS} | {name: OPERATIONS[name] for name in OPERATIONS}
    for name, thing in things.items():
        default = inspect.signature(thing).parameters.get("activation")
        words = re.findall(r"\w+", (thing.__doc__ or "").split("\n")[0].lower())
        if default is not None:
            assert set(words) & set(ACTIVATIONS) <= {default.default}, name
