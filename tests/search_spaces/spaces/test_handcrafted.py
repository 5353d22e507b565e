"""The space ``handcrafted``: known families at any width, the rivals of a search."""

from __future__ import annotations

import pytest
import torch
from budget_examples import meets

from nas.core.plugins import load_built_in
from nas.core.values import Task
from nas.errors import ConfigError
from nas.graph import cost, key, shapes_of
from nas.graph.lowering.torch_module import build_module
from nas.space import SPACES, Space
from nas.space.validate import problems
from nas.types import Architecture
from search_spaces.networks.resnet import cifar_resnet
from search_spaces.stages import PLANS, build
from search_spaces.stages.shape import Shape, build_shape

load_built_in()
SPACE = SPACES["handcrafted"]
DIGITS, FASHION, CIFAR = Task("digits", (1, 8, 8), 10), Task("fashion", (1, 28, 28), 10), Task("c", (3, 32, 32), 10)
LARGER = Task("larger", (3, 64, 64), 10), Task("imagenet", (3, 224, 224), 1000)
EVERY = list(SPACE.enumerate())


def of(*families: str) -> Space:
    return SPACE.with_args({"families": families})


def test_the_space_keeps_the_contract() -> None:
    assert list(problems(SPACE, draws=20)) == []
    assert len({SPACE.key(architecture) for architecture in EVERY}) == len(EVERY) == 30


def first_points() -> dict[object, Architecture]:
    first: dict[object, Architecture] = {}
    for architecture in EVERY:
        first.setdefault(architecture["family"], architecture)
    return first


def test_the_published_stem_is_a_member_at_any_size() -> None:
    """The stem of ResNet-18 reduces by 4; at 64 pixels its authors' network ends with 2x2 of them."""
    point = Architecture("handcrafted", {"family": "resnet", "resnet.layers": 18, "resnet.stem_stride": 4}, SPACE.args)
    graph = SPACE.build(point, LARGER[0])
    assert [node.op.kind for node in graph.nodes].count("max_pool") == 1
    shapes = shapes_of(graph)
    # and the 1x1 of the pool
    assert {s[-1] for s in shapes.values() if len(s) == 3} == {64, 32, 16, 8, 4, 2, 1}
    strided = Architecture("handcrafted", dict(point.decisions) | {"resnet.stem_stride": 2}, SPACE.args)
    assert key(SPACE.build(point, LARGER[1])) == key(SPACE.build(strided, LARGER[1]))


def test_each_family_begins_with_its_likeliest_member() -> None:
    first = {family: dict(architecture.decisions) for family, architecture in first_points().items()}
    assert list(first) == ["resnet", "vgg", "wide_resnet", "mobilenet_v2", "efficientnet_b0"]
    assert first["resnet"] == {"family": "resnet", "resnet.layers": 10, "resnet.stem_stride": 2}
    assert first["mobilenet_v2"]["mobilenet_v2.stem_stride"] == 2


def test_resnets_are_the_published_ones_for_small_images() -> None:
    thin = Architecture("handcrafted", {"family": "resnet", "resnet.layers": 14, "resnet.stem_stride": 1}, SPACE.args)
    assert key(SPACE.build(thin, CIFAR)) == key(cifar_resnet(CIFAR, 2, 16))
    assert key(SPACE.build(thin, CIFAR, 40)) == key(cifar_resnet(CIFAR, 2, 5))
    # 128ths of 16 channels: a width between two whole ones
    assert cost(SPACE.build(thin, CIFAR, 40)).macs < cost(SPACE.build(thin, CIFAR, 44)).macs
    wanted = build_shape(Shape((1, 1, 1, 1), stem_stride=2), CIFAR, 16)
    assert key(SPACE.build(EVERY[0], CIFAR)) == key(wanted)


@pytest.mark.parametrize("layers", [5, 6, 9, 11, 14])
def test_vggs_are_convolutions_and_pools(layers: int) -> None:
    """arXiv:1409.1556: 3x3 convolutions, 2x2 pools, channels that double to 512; one linear layer of its three."""
    graph = SPACE.build(Architecture("handcrafted", {"family": "vgg", "vgg.layers": layers}, SPACE.args), CIFAR)
    kinds = [node.op.kind for node in graph.nodes]
    assert kinds.count("conv") == layers - 1
    assert kinds.count("linear") == 1
    assert set(kinds) == {"input", "conv", "batch_norm", "relu", "max_pool", "global_avg_pool", "flatten", "linear"}
    # the convolutions of A, B and D have the parameters of the published networks
    if (name := {9: "vgg11_bn", 11: "vgg13_bn", 14: "vgg16_bn"}.get(layers)) is not None:
        shapes = shapes_of(graph)
        published = shapes_of(build(PLANS[name], LARGER[1]))
        channels = [[s[0] for s in of.values() if len(s) == 3] for of in (shapes, published)]
        assert channels[0][:-1] == channels[1][: len(channels[0]) - 1]


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_b0", "resnet18"])
def test_a_named_network_at_the_full_width_is_the_published_one(name: str) -> None:
    strides = (2, 1, 4) if name == "resnet18" else (2, 1)
    space = of(name)
    found = [space.build(architecture, LARGER[1]) for architecture in space.enumerate()]
    assert len(found) == len(strides)
    published = cost(build(PLANS[name], LARGER[1]))
    built = cost(found[strides.index(4) if 4 in strides else 0])
    assert (built.params, built.macs) == (published.params, published.macs)


def test_trained_like_what_they_are_compared_with() -> None:
    for architecture in EVERY:
        kinds = {node.op.kind for node in SPACE.build(architecture, CIFAR, 16).nodes}
        assert not kinds & {"dropout", "drop_path"}


@pytest.mark.parametrize("task", [DIGITS, FASHION, CIFAR, *LARGER])
def test_every_member_builds(task: Task) -> None:
    for architecture in EVERY:
        for width in (2, 16, 37):
            assert cost(SPACE.build(architecture, task, width)).output_shape == (task.classes,)


@pytest.mark.parametrize(("macs", "share"), [(1_000_000, 0.8), (3_000_000, 0.95), (12_000_000, 1.0)])
@pytest.mark.parametrize("task", [FASHION, CIFAR])
def test_members_meet_a_budget(task: Task, macs: int, share: float) -> None:
    met = [meets(SPACE, architecture, task, macs) for architecture in EVERY]
    assert sum(met) >= share * len(met)
    assert met[0]


@pytest.mark.parametrize("name", ["densenet121", "vgg11_bn", "resnext50_32x4d", "squeezenet1_1", "resnet20_cifar"])
def test_any_table_of_stages_is_a_family(name: str) -> None:
    space = of(name)
    for architecture in space.enumerate():
        thin, half = (cost(space.build(architecture, CIFAR, width)) for width in (8, 64))
        assert thin.output_shape == half.output_shape == (10,)
        assert 2 * thin.macs < half.macs


def test_families_may_be_text() -> None:
    space = SPACE.with_args({"families": "wide_resnet, resnet20_cifar"})
    assert {architecture["family"] for architecture in space.enumerate()} == {"wide_resnet", "resnet20_cifar"}


@pytest.mark.parametrize("families", ["resnets", ("resnet", "resnets")])
def test_an_unknown_family_is_one_clear_line(families: str | tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"unknown family 'resnets'; did you mean 'resnet'.*or a network that is a"):
        next(SPACE.with_args({"families": families}).enumerate())


def test_no_family_is_refused() -> None:
    with pytest.raises(ConfigError, match="must name one or more"):
        next(SPACE.with_args({"families": ()}).enumerate())


def test_the_first_of_each_family_trains() -> None:
    for architecture in first_points().values():
        module = build_module(SPACE.build(architecture, CIFAR, 16))
        loss = torch.nn.functional.cross_entropy(module(torch.randn(4, 3, 32, 32)), torch.tensor([0, 1, 2, 3]))
        loss.backward()
        assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in module.parameters())
