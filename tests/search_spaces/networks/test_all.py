"""Every named network: it builds, costs, round-trips as JSON; its source is the same function elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from source_runs import run, write

from nas.graph import Graph, cost, key
from nas.graph.lowering.torch_module import build_module
from nas.space.networks import NETWORKS
from search_spaces import networks

SLOW_KEYS = ("resnet1202_cifar", "resnet1202_stochastic_depth")
# a size at which the network's pools and windows still fit
SOURCES = {
    "alexnet": 64,
    "alexnet_two_gpus": 75,
    "darts_v2_imagenet": 64,
    "densenet121": 64,
    "densenet_bc_100_12": 32,
    "efficientnet_b0": 64,
    "enas_cifar": 32,
    "googlenet": 64,
    "googlenet_paper": 64,
    "inception_resnet_v2": 96,
    "inception_v3": 96,
    "inception_v4": 96,
    "lenet5": 28,
    "mobilenet_v2": 64,
    "mobilenetv1_025": 64,
    "amoebanet_a_cifar": 32,
    "nasnet_a_mobile": 64,
    "pnasnet5_mobile": 64,
    "plain20_cifar": 32,
    "resnet110_preact_e": 32,
    "resnet110_stochastic_depth": 32,
    "resnet18": 64,
    "resnet50": 64,
    "resnetv2_50": 64,
    "resnext50_32x4d": 64,
    "seresnet50": 64,
    "shufflenet_v1_x1_0": 64,
    "shufflenet_v2_x1_0": 64,
    "squeezenet1_0_complex_bypass": 64,
    "squeezenet1_1": 64,
    "vgg11_bn": 32,
    "vgg11_lrn": 32,
    "wrn_16_4": 32,
}


@pytest.fixture
def _one_thread() -> Iterator[None]:
    """As in the other process: sums over several threads may round otherwise."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.long
@pytest.mark.parametrize("name", list(NETWORKS))
def test_it_builds_at_its_own_size_and_comes_back_from_json(name: str) -> None:
    info = NETWORKS[name]
    graph = info.build()
    total = cost(graph)
    assert graph.input_shape == info.input_shape
    assert total.output_shape == (info.classes,)
    assert [output for output, _ in graph.outputs] == ["logits"]
    assert graph.pruned() == graph  # nothing that the logits do not need
    again = Graph.from_json(graph.to_json())
    assert again == graph
    assert cost(again) == total
    if name not in SLOW_KEYS:
        assert key(again) == key(graph)


def test_every_name_is_written_out_where_its_network_is() -> None:
    folder = Path(networks.__file__).parent
    text = "".join(path.read_text() for path in sorted(folder.glob("*.py")))
    assert [name for name in NETWORKS if text.count(f'"{name}"') != 1] == []


@pytest.mark.parametrize("name", list(NETWORKS))
def test_it_builds_for_other_classes(name: str) -> None:
    assert cost(NETWORKS[name].build(classes=7)).output_shape == (7,)


def assert_state_names_are_of_nodes(name: str) -> None:
    """Check that every node has a name of its own in the state, and that the state holds what the cost counts."""
    graph = NETWORKS[name].build()
    names = [node.name for node in graph.nodes]
    assert len(set(names)) == len(names)
    with torch.device("meta"):  # names and sizes, no memory
        module = build_module(graph)
    found = {key.rpartition(".")[0] for key in module.state_dict()}
    assert found <= set(names)
    assert sum(value.numel() for value in module.parameters()) == cost(graph).params


@pytest.mark.parametrize("name", ["alexnet", "densenet121", "googlenet", "resnet18", "shufflenet_v2_x1_0", "vgg11"])
def test_names_in_the_state_are_those_of_the_nodes(name: str) -> None:
    assert_state_names_are_of_nodes(name)


@pytest.mark.long
@pytest.mark.parametrize("name", list(NETWORKS))
def test_names_in_every_state_are_those_of_the_nodes(name: str) -> None:
    assert_state_names_are_of_nodes(name)


@pytest.mark.long
@pytest.mark.usefixtures("_one_thread")
def test_the_source_of_named_networks_gives_equal_bits_elsewhere(tmp_path: Path) -> None:
    for name, size in SOURCES.items():
        channels = NETWORKS[name].input_shape[0]
        write(NETWORKS[name].build((channels, size, size), 10), tmp_path / f"{name}.py")
    heads = NETWORKS["googlenet"].build((3, 64, 64), 10, aux=True)
    write(heads, tmp_path / "googlenet_heads.py", tuple(name for name, _ in heads.outputs))
    assert run(tmp_path) == len(SOURCES) + 1 > 25
