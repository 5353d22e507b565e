"""Networks under the names that torchvision and timm have for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import nas, one_error
from parity import assert_parity, timm_create, torchvision_models

from nas.core.plugins import load_built_in
from nas.core.registry import Registry
from nas.errors import ConfigError
from nas.models.create import list_models
from nas.models.resolve import resolve
from nas.space.genotypes import GENOTYPES
from nas.space.networks import NETWORKS
from search_spaces.networks.other_names import OTHER_NAMES

load_built_in()
WIDER = ("ig_resnext101_32x16d", "ig_resnext101_32x32d", "ig_resnext101_32x48d")
"""Old names that timm now gives to the weights of a network of another width."""


@pytest.mark.long
def test_a_name_of_timms_is_the_network(tmp_path: Path) -> None:
    done = nas(tmp_path, "inspect", "mobilenetv2_100", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["params"] == 3_504_872  # as torchvision and timm publish it
    assert "mobilenetv2_100" not in nas(tmp_path, "list", "networks").stdout
    assert "did you mean 'mobilenetv2_100'" in one_error(nas(tmp_path, "inspect", "mobilnetv2_100"))


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("mobilenetv2_100", "mobilenet_v2"),
        ("MobileNetV2-100", "mobilenet_v2"),
        ("resnet50.a1_in1k", "resnet50"),
        ("inception_v3.tf_adv_in1k", "inception_v3"),
        ("resnext101_32x8d.fb_swsl_ig1b_ft_in1k", "resnext101_32x8d"),
        ("mobilenetv2_100.ra_in1k", "mobilenet_v2"),
        ("VGG16-BN", "vgg16_bn"),
        ("tv_resnet50", "resnet50"),
    ],
)
def test_other_spellings_are_the_network(text: str, name: str) -> None:
    found = resolve(text)
    assert (found.kind, found.name, found.info) == ("network", name, NETWORKS[name])


def test_a_genotype_is_no_network_in_capitals() -> None:
    for name in GENOTYPES:
        if name not in NETWORKS:
            assert (resolve(name).kind, resolve(name).name) == ("genotype", GENOTYPES[name].name)
    assert {name.lower() for name in GENOTYPES} & set(NETWORKS) - set(GENOTYPES)
    for name in NETWORKS:
        assert (resolve(name).kind, resolve(name).name) == ("network", name)


def test_other_names_are_of_networks_and_not_listed() -> None:
    assert set(OTHER_NAMES.values()) <= set(NETWORKS)
    assert not set(OTHER_NAMES) & set(NETWORKS)
    assert not set(OTHER_NAMES) & set(list_models())
    for other, name in OTHER_NAMES.items():
        assert other in NETWORKS
        assert NETWORKS[other] is NETWORKS[name]


def test_a_registered_name_wins_over_an_alias() -> None:
    registry: Registry[int] = Registry("thing")
    registry.alias("b_1", "a_1")
    registry.add("a_1", 1)
    assert (registry["b_1"], registry.named("B-1"), list(registry)) == (1, "a_1", ["a_1"])
    registry.add("b_1", 2)
    assert (registry["b_1"], registry.named("b-1")) == (2, "b_1")
    assert registry.named("c") is None
    with pytest.raises(ConfigError, match="unknown thing 'c'"):
        registry["c"]


@pytest.mark.reference
def test_torchvision_has_no_name_for_them_that_is_unknown() -> None:
    models = torchvision_models()
    families = ("alexnet", "densenet", "efficientnet_b", "googlenet", "inception", "mobilenet_v2", "resnet", "resnext")
    families += ("shufflenet", "squeezenet", "vgg", "wide")
    theirs = [name for name in models.list_models(models) if name.startswith(families)]
    assert len(theirs) >= 40
    assert [name for name in theirs if name not in NETWORKS] == []


@pytest.mark.reference
def test_timm_has_no_name_for_them_that_is_unknown() -> None:
    timm_create()
    from timm.models import list_models as timms
    from timm.models import list_pretrained
    from timm.models._registry import _deprecated_models

    named = set(timms())
    unknown = [
        old
        for old, new in _deprecated_models.items()
        if str(new).partition(".")[0] in NETWORKS and old not in NETWORKS and old not in WIDER
    ]
    assert unknown == []
    tagged = [name for name in list_pretrained() if name.partition(".")[0] in NETWORKS]
    assert len(tagged) > 100
    wrong = [name for name in tagged if resolve(name).info is not NETWORKS[name.partition(".")[0]]]
    assert wrong == []
    assert "mobilenetv2_100" in named


@pytest.mark.reference
@pytest.mark.parametrize("name", ["mobilenetv2_100", "efficientnet_b2a"])
def test_timms_function_of_that_name_is_ours(name: str) -> None:
    shape = (3, 64, 64)
    assert_parity(NETWORKS[name].build(shape), timm_create()(name), shape)
