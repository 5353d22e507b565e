"""The same function as torchvision's or timm's, with the same weights: not only the same size."""

from __future__ import annotations

import pytest
from parity import Layers, assert_parity, timm_create, torchvision_models

from nas.graph import cost
from nas.space.networks import NETWORKS
from search_spaces.stages import PLANS

NAMES = tuple(PLANS)  # registers the networks of stages
SMALL = (3, 64, 64)
FULL = (3, 224, 224)
TORCHVISION = {
    "resnet18": SMALL,
    "resnet34": SMALL,
    "resnet50": SMALL,
    "resnet101": SMALL,
    "resnet152": SMALL,
    "wide_resnet50_2": SMALL,
    "wide_resnet101_2": SMALL,
    "resnext50_32x4d": SMALL,
    "resnext101_32x8d": SMALL,
    "resnext101_64x4d": SMALL,
    "densenet121": SMALL,
    "densenet161": SMALL,
    "densenet169": SMALL,
    "densenet201": SMALL,
    "squeezenet1_0": SMALL,
    "squeezenet1_1": SMALL,
    "mobilenet_v2": SMALL,
    "efficientnet_b0": SMALL,
    "efficientnet_b1": SMALL,
    "efficientnet_b2": SMALL,
    "efficientnet_b3": SMALL,
    "efficientnet_b4": SMALL,
    "efficientnet_b5": SMALL,
    "efficientnet_b6": SMALL,
    "efficientnet_b7": SMALL,
    "vgg11": FULL,
    "vgg13": FULL,
    "vgg16": FULL,
    "vgg19": FULL,
    "vgg16_bn": FULL,
}
TIMM = (
    "seresnet50",
    "seresnet101",
    "seresnext50_32x4d",
    "seresnext101_32x4d",
    "seresnext101_32x8d",
    "mobilenetv1_100",
    "mobilenetv2_035",
    "mobilenetv2_050",
    "mobilenetv2_075",
    "mobilenetv2_140",
    "resnetv2_50",
    "resnetv2_101",
)
QUICK = ("resnet18", "resnet50", "squeezenet1_1", "mobilenet_v2", "mobilenetv1_100", "seresnet50", "resnetv2_50")


def _cases(names: object) -> list[object]:
    return [pytest.param(n, marks=() if n in QUICK else pytest.mark.long) for n in names]  # type: ignore[attr-defined]


@pytest.mark.reference
@pytest.mark.parametrize("name", _cases(TORCHVISION))
def test_computes_what_torchvision_does(name: str) -> None:
    shape = TORCHVISION[name]
    assert_parity(NETWORKS[name].build(shape), getattr(torchvision_models(), name)(weights=None), shape)


@pytest.mark.reference
@pytest.mark.parametrize("name", _cases(TIMM))
def test_computes_what_timm_does(name: str) -> None:
    order = _shortcut_last if name.startswith("resnetv2") else None
    assert_parity(NETWORKS[name].build(SMALL), timm_create()(name), SMALL, order)


def _shortcut_last(layers: Layers) -> Layers:
    """timm registers a pre-activated unit's shortcut first; ours comes after the branch."""

    def unit(name: str) -> str:
        return ".".join(name.split(".")[:4]) if name.startswith("stages.") else name

    first: dict[str, int] = {}
    for i, (name, _) in enumerate(layers):
        first.setdefault(unit(name), i)
    return sorted(layers, key=lambda layer: (first[unit(layer[0])], "downsample" in layer[0]))


@pytest.mark.reference
def test_a_wrong_network_is_noticed() -> None:
    """The helper refuses a network that has the same weights but another order of operations."""
    with pytest.raises(AssertionError, match="outputs differ"):
        assert_parity(NETWORKS["resnet50_v1"].build(SMALL), torchvision_models().resnet50(weights=None), SMALL)


@pytest.mark.reference
@pytest.mark.parametrize("name", [*TORCHVISION, "vgg11_bn", "vgg13_bn", "vgg19_bn"])
def test_torchvision_publishes_the_same_counts(name: str) -> None:
    """Parameters to the unit and billions of operations to three digits, at the resolution of each set of weights."""
    for weights in torchvision_models().get_model_weights(name):
        size = weights.transforms().crop_size[0]
        found = cost(NETWORKS[name].build((3, size, size)))
        assert found.params == weights.meta["num_params"]
        assert round(found.macs / 1e9, 3) == pytest.approx(weights.meta["_ops"], abs=1e-9)


def test_every_compared_network_is_a_table_of_the_space() -> None:
    assert all(name in NAMES for name in (*TORCHVISION, *TIMM))
