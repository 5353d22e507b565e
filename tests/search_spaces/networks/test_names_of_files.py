"""Weights under torchvision's and timm's names: in our networks they compute the same."""

from __future__ import annotations

import random
from typing import Any

import pytest
import torch
from parity import RELATIVE, randomise, timm_create, torchvision_models
from test_families_parity import FULL, QUICK, SMALL, TIMM, TORCHVISION

from nas.graph.lowering.torch_module import build_module
from nas.models.weight_names import classifier_of, in_order, matched
from nas.space.networks import NETWORKS

MORE_TORCHVISION = {
    "alexnet": FULL,
    "googlenet": SMALL,
    "inception_v3": (3, 155, 171),
    "shufflenet_v2_x0_5": SMALL,
    "shufflenet_v2_x1_0": SMALL,
}
MORE_TIMM = {
    "resnet18": SMALL,
    "densenet121": SMALL,
    "efficientnet_b0": SMALL,
    "vgg11_bn": FULL,
    "senet154": (3, 97, 90),
    "legacy_senet154": (3, 97, 90),
    "inception_v3": (3, 155, 171),
    "inception_v4": (3, 155, 171),
    "inception_resnet_v2": (3, 155, 171),
    "nasnetalarge": (3, 96, 96),
    "pnasnet5large": (3, 96, 96),
}
QUICK_MORE = ("shufflenet_v2_x0_5", "googlenet", "densenet121")


def _torchvision(name: str) -> Any:
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return getattr(torchvision_models(), name)(weights=None, **options)


def _cases() -> list[Any]:
    rows = [("torchvision", name, shape) for name, shape in {**TORCHVISION, **MORE_TORCHVISION}.items()]
    rows += [("timm", name, shape) for name, shape in {**dict.fromkeys(TIMM, SMALL), **MORE_TIMM}.items()]
    quick = (*QUICK, *QUICK_MORE)
    return [pytest.param(*row, marks=() if row[1] in quick else pytest.mark.long, id="-".join(row[:2])) for row in rows]


@pytest.mark.reference
@pytest.mark.parametrize(("source", "name", "shape"), _cases())
def test_their_weights_by_name_alone_give_their_outputs(source: str, name: str, shape: tuple[int, int, int]) -> None:
    theirs = (_torchvision(name) if source == "torchvision" else timm_create()(name)).eval()
    randomise(theirs)
    state = list(theirs.state_dict().items())
    random.Random(name).shuffle(state)  # a safetensors file has another order than the network
    graph = NETWORKS[name].build(shape)
    found = matched(graph, dict(state), "theirs")
    ours = build_module(graph).eval()
    assert not found.fresh
    assert set(ours.state_dict()) == set(found.tensors)
    ours.load_state_dict(dict(found.tensors))
    images = torch.randn(1, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, given = theirs(images), ours(images)
    assert float((expected - given).abs().max()) <= RELATIVE * float(expected.abs().max())


@pytest.mark.reference
def test_auxiliary_heads_go_where_both_have_them() -> None:
    state = _torchvision("googlenet").state_dict()
    plain, heads = NETWORKS["googlenet"].build(SMALL), NETWORKS["googlenet"].build(FULL, aux=True)
    assert {name.split(".")[0] for name in matched(plain, state, "theirs").unused} == {"aux1", "aux2"}
    found = matched(heads, state, "theirs")
    assert not found.unused
    assert not found.fresh
    without = {name: tensor for name, tensor in state.items() if not name.startswith("aux")}
    assert all(layer.startswith("aux") for layer in matched(heads, without, "theirs").fresh)


@pytest.mark.reference
def test_another_number_of_classes_has_a_new_classifier() -> None:
    graph = NETWORKS["mobilenet_v2"].build(SMALL, 7)
    found = matched(graph, _torchvision("mobilenet_v2").state_dict(), "theirs")
    assert found.fresh == (classifier_of(graph),)


@pytest.mark.reference
def test_siblings_stand_in_the_order_in_which_torchvision_registers_them() -> None:
    for name in ("resnet50", "densenet121", "efficientnet_b0", "inception_v3", "shufflenet_v2_x1_0"):
        layers = list(dict.fromkeys(key.rpartition(".")[0] for key in _torchvision(name).state_dict()))
        assert in_order(sorted(layers)) == layers
