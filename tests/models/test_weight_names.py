"""Names of layers in files of weights: ours and a hand-written table of torchvision's for a small ResNet."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor

from nas.core.values import Task
from nas.errors import ConfigError
from nas.graph import Graph
from nas.graph.lowering.torch_module import build_module
from nas.models.weight_names import classifier_of, in_order, matched, shapes_of_state
from nas.training.weights import read_tensors
from nas.workflows.train.transfer import transferred


def resnet18(classes: int = 10) -> Graph:
    """A ResNet-18 an eighth as wide."""
    return transferred("resnet18", Task("t", (3, 32, 32), classes), 2, None).graph


GRAPH = resnet18()
STATE = dict(build_module(GRAPH).state_dict())


def theirs(name: str) -> str:
    """Return torchvision's name of a tensor of ours, as its ``resnet.py`` has them."""
    name = re.sub(r"^stem\.conv", "conv1", name)
    name = re.sub(r"^stem\.batch_norm", "bn1", name)
    name = re.sub(r"^head\.classifier", "fc", name)
    name = re.sub(r"^stage(\d)\.block(\d+)", lambda m: f"layer{m[1]}.{int(m[2]) - 1}", name)
    return name


def renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the state under torchvision's names: the layers within a block are told by their shapes and order."""
    found: dict[str, Tensor] = {}
    blocks: dict[str, list[str]] = {}
    for name in state:
        block = re.match(r"stage\d\.block\d+", name)
        if block is None:
            found[theirs(name)] = state[name]
        else:
            layer = name.rpartition(".")[0]
            known = blocks.setdefault(block[0], [])
            if layer not in known:
                known.append(layer)
    inner = ("conv1", "bn1", "conv2", "bn2", "downsample.0", "downsample.1")
    order = list(shapes_of_state(GRAPH))
    for block_name, layers in blocks.items():
        for layer, plain in zip(sorted(layers, key=order.index), inner, strict=False):
            for own in shapes_of_state(GRAPH)[layer]:
                found[f"{theirs(block_name)}.{plain}.{own}"] = state[f"{layer}.{own}"]
    return found


FOREIGN = renamed(STATE)


def test_the_hand_written_names_are_torchvisions() -> None:
    assert len(FOREIGN) == len(STATE)
    assert "layer2.0.downsample.0.weight" in FOREIGN
    assert "layer4.1.bn2.running_var" in FOREIGN


@settings(max_examples=10, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_a_file_does_not_matter(random) -> None:  # type: ignore[no-untyped-def]
    names = list(FOREIGN)
    random.shuffle(names)
    found = matched(GRAPH, {name: FOREIGN[name] for name in names}, "f")
    assert not found.ours
    assert not found.fresh
    assert found.tensors.keys() == STATE.keys()
    assert all(torch.equal(found.tensors[name], STATE[name]) for name in STATE)


def test_our_own_names_stay() -> None:
    found = matched(GRAPH, STATE, "f")
    assert found.ours
    assert all(found.tensors[name] is not None and torch.equal(found.tensors[name], STATE[name]) for name in STATE)


@pytest.mark.parametrize("state", [STATE, FOREIGN], ids=["ours", "theirs"])
def test_only_the_classifier_may_be_of_other_classes(state: dict[str, Tensor]) -> None:
    found = matched(resnet18(7), state, "f")
    assert found.fresh == ("head.classifier",)
    assert len(found.tensors) == len(STATE) - 2
    assert matched(GRAPH, state, "f", other_task=True).fresh == ("head.classifier",)


def test_siblings_of_numbers_are_in_natural_order() -> None:
    assert in_order([f"features.{i}" for i in (10, 9, 0)] + ["classifier.1"]) == [
        "features.0",
        "features.9",
        "features.10",
        "classifier.1",
    ]


def test_what_stands_before_a_separable_unit_depends_on_its_siblings() -> None:
    plain = ["b.conv_pw", "b.bn1", "b.bn2", "b.conv_dw"]
    assert in_order(plain) == ["b.conv_dw", "b.bn1", "b.conv_pw", "b.bn2"]
    assert in_order([*plain, "b.bn3", "b.conv_pwl"]) == [
        *("b.conv_pw", "b.bn1", "b.conv_dw", "b.bn2"),
        *("b.conv_pwl", "b.bn3"),
    ]


def without(state: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if part not in name}


@pytest.mark.parametrize(
    ("state", "rule"),
    [
        (
            {**FOREIGN, "conv1.weight": torch.zeros(8, 2, 7, 7)},
            r"tensor 'conv1.weight', our 'stem.conv.weight', must be",
        ),
        (without(FOREIGN, "layer3.1.bn1.running_mean"), "tensor 'layer3.1.bn1.running_mean' is missing"),
        ({**FOREIGN, "layer1.0.bn1.more": torch.zeros(2)}, "tensor 'layer1.0.bn1.more' has no place in our layer"),
        (without(FOREIGN, "layer4.1"), "it has 37 layers with tensors, ours 41"),
        ({**STATE, "stem.conv.weight": torch.zeros(8, 2, 7, 7)}, r"tensor 'stem.conv.weight'.* must be \(8, 3, 7, 7\)"),
        ({**STATE, "stem.conv.weight": torch.zeros(8, 1, 7, 7)}, "a network for grey images .*, the data has RGB"),
        (without(STATE, "stage3.block1"), "unknown layer 'stage3.block1"),
        ({**STATE, "stage9.conv.weight": torch.zeros(2)}, "layer 'stage9.conv' is none of the network's"),
        ({"w": torch.zeros(2)}, "it has 1 layers with tensors, ours 41"),
        ({}, "hold no tensors"),
    ],
)
def test_what_does_not_fit_is_one_line_that_names_it(state: dict[str, Tensor], rule: str) -> None:
    with pytest.raises(ConfigError, match=rule) as error:
        matched(GRAPH, state, "file.safetensors")
    assert "\n" not in str(error.value)
    assert "file.safetensors" in str(error.value)


def test_counts_of_batches_may_be_missing() -> None:
    assert len(matched(GRAPH, without(FOREIGN, "num_batches"), "f").tensors) == len(without(STATE, "num_batches"))


def test_the_classifier_is_the_last_layer_with_weights() -> None:
    assert classifier_of(GRAPH) == "head.classifier"
    squeezed = transferred("squeezenet1_1", Task("t", (3, 64, 64), 10), None, None).graph
    assert next(node.op.kind for node in squeezed.nodes if node.name == classifier_of(squeezed)) == "conv"


def test_files_are_read_or_refused(tmp_path: Path) -> None:
    save_file({"a.weight": torch.ones(2)}, tmp_path / "w.safetensors")
    assert torch.equal(read_tensors(tmp_path / "w.safetensors")["a.weight"], torch.ones(2))
    (tmp_path / "bad").write_bytes(b"no")
    for name, rule in (("bad", "are no safetensors file"), ("none", "cannot be read")):
        with pytest.raises(ConfigError, match=rule):
            read_tensors(tmp_path / name)
