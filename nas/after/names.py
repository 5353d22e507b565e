"""Weights of torchvision's, timm's and our own files, by the names that our networks' layers have.

A safetensors file has no order, its names have: siblings such as ``conv1, bn1, conv2, bn2, downsample`` stand in the
order of the forward pass by the rules of :data:`ORDERS`. Layers of theirs in that order are paired with the layers of
our graph, and every pair must hold the same tensors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.errors import ConfigError, unknown
from nas.graph import Graph

if TYPE_CHECKING:
    from torch import Tensor

ORDERS = """
conv#,bn# layer# se se_module downsample fc last_linear
conv#,stage# fc
conv# inception\\w+ aux# fc
conv_stem bn1 blocks conv_head bn2 classifier
conv_dw bn1 se conv_pw bn2
conv_pw bn1 conv_dw bn2 se conv_pwl bn3
conv_reduce conv_expand
features pre_logits classifier head last_linear
conv0 norm0 denseblock#,transition# norm5
stem stages norm head
norm#,conv# downsample
norm conv
conv# conv bn fc# fc
depthwise_conv2d pointwise_conv2d
separable_#,bn_sep_#
conv_prev_1x1 path_# final_path_bn conv_1x1 comb_iter_\\w+
squeeze expand1x1 expand3x3
Conv2d_\\w+ Mixed_[56]\\w AuxLogits Mixed_7\\w fc
branch1x1 branch5x5_. branch3x3 branch3x3_\\w+ branch7x7_. branch3x3dbl_\\w+ branch7x7dbl_. branch7x7x3_. branch_pool
conv2d_[1-4]\\w mixed_5b repeat mixed_6a repeat_1 mixed_7a repeat_2 block8 conv2d_7b classif
branch# conv2d
conv0,conv_0 cell_stem_# cell_[0-5] reduction_cell_0 cell_[6-9] cell_1[01] reduction_cell_1 cell_# last_linear
"""
"""Siblings in the order of the forward pass, a rule a line: the first one that knows all siblings counts.

Names are regular expressions, ``#`` is a number; of those that a comma joins the lower number comes first. Siblings
that no rule knows are in natural order, ``10`` after ``9``.
"""
AUXILIARY = re.compile(r"aux\w*", re.IGNORECASE)

Shape = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Matched:
    """Tensors of a file by our names; ``fresh`` layers of ours have none, ``unused`` ones of theirs no place.

    ``fresh`` are classifiers of other classes and auxiliary heads.
    """

    tensors: Mapping[str, Tensor]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]
    ours: bool


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file; one that is missing or damaged raises :class:`ConfigError`."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        found: dict[str, Tensor] = load(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"weights '{path}' cannot be read: {error.strerror or error}") from None
    except SafetensorError as error:
        raise ConfigError(f"weights '{path}' are no safetensors file: {error}") from None
    return found


def matched(graph: Graph, tensors: Mapping[str, Tensor], path: str, other_task: bool = False) -> Matched:
    """Return the ``tensors`` of the file ``path`` by the names of the layers of ``graph``.

    Their names may be ours, torchvision's or timm's. A classifier of another number of classes is left out, any one
    where the file is of an ``other_task``, and so is an auxiliary head that only one side has. Any other difference
    raises :class:`ConfigError` and names the tensor.
    """
    if not tensors:
        raise ConfigError(f"weights '{path}' hold no tensors")
    wanted = shapes_of_state(graph)
    given = _by_layer(tensors)
    main = shapes_of_state(graph.pruned(("logits",)))
    ours = sum(name in wanted for name in given) * 2 >= len(given)
    pairs = _same_names(wanted, given, main, path) if ours else _same_places(wanted, given, main, path)
    ends = {classifier_of(graph, output) for output, _ in graph.outputs}
    found: dict[str, Tensor] = {}
    fresh = [layer for layer in wanted if layer not in pairs]
    for layer, theirs in pairs.items():
        if layer in ends and (other_task or _other_classes(wanted[layer], given[theirs])):
            fresh.append(layer)
        else:
            found |= _fitted(layer, wanted[layer], theirs, given[theirs], path)
    used = set(pairs.values())
    return Matched(found, tuple(fresh), tuple(name for name in given if name not in used), ours)


def shapes_of_state(graph: Graph) -> dict[str, dict[str, Shape]]:
    """Return the shapes of parameters and buffers of the layers that have any, in the order of the graph's nodes."""
    import torch

    from nas.graph.module import build_module

    with torch.device("meta"):
        module = build_module(graph, [output for output, _ in graph.outputs])
    state = _by_layer(module.state_dict())
    return {
        node.name: {name: tuple(t.shape) for name, t in state[node.name].items()}
        for node in graph.nodes
        if node.name in state
    }


def classifier_of(graph: Graph, output: str = "logits") -> str:
    """Return the layer that gives ``output`` its number of classes: the last one with weights that leads there."""
    for node in reversed(graph.pruned((output,)).nodes):
        if node.op.kind in ("linear", "conv"):
            return node.name
    raise ConfigError(f"the network has no layer that could be the classifier of its output '{output}'")


def in_order(names: Collection[str]) -> list[str]:
    """Return dotted names in the order of the forward pass, by :data:`ORDERS`."""
    return _ordered([tuple(name.split(".")) for name in names], 0)


def _ordered(paths: Sequence[tuple[str, ...]], depth: int) -> list[str]:
    below: dict[str, list[tuple[str, ...]]] = {}
    for path in paths:
        below.setdefault(path[depth] if depth < len(path) else "", []).append(path)
    key = _rule(frozenset(below) - {""})
    found = [".".join(path) for path in below.pop("", ())]
    for name in sorted(below, key=key):
        found += _ordered(below[name], depth + 1)
    return found


@cache
def _rules() -> tuple[tuple[tuple[re.Pattern[str], ...], ...], ...]:
    def pattern(name: str) -> re.Pattern[str]:
        return re.compile(name.replace("#", r"(\d*)"))

    lines = ORDERS.split("\n")
    return tuple(
        tuple(tuple(pattern(name) for name in token.split(",")) for token in line.split()) for line in lines if line
    )


def _rule(siblings: frozenset[str]) -> Callable[[str], Any]:
    for rule in _rules():
        if all(_place(rule, name) is not None for name in siblings):
            return lambda name: _place(rule, name)
    return _natural


def _place(rule: Sequence[Sequence[re.Pattern[str]]], name: str) -> Any:
    for rank, joined in enumerate(rule):
        for second, pattern in enumerate(joined):
            found = pattern.fullmatch(name)
            if found:
                number = int(found[1] or -1) if pattern.groups else -1
                return rank, number, second, _natural(name)
    return None


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def _by_layer(tensors: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    layers: dict[str, dict[str, Any]] = {}
    for name, tensor in tensors.items():
        layer, _, own = name.rpartition(".")
        layers.setdefault(layer, {})[own] = tensor
    return layers


State = Mapping[str, Mapping[str, Any]]


def _same_names(wanted: State, given: State, main: State, path: str) -> dict[str, str]:
    for layer in main:
        if layer not in given:
            raise ConfigError(f"weights '{path}': {unknown('layer', layer, given)}")
    for layer in given:
        if layer not in wanted and not _auxiliary(layer):
            raise ConfigError(f"weights '{path}': layer '{layer}' is none of the network's")
    return {layer: layer for layer in wanted if layer in given}


def _same_places(wanted: State, given: State, main: State, path: str) -> dict[str, str]:
    theirs, places = in_order(given), wanted
    if len(theirs) != len(wanted):
        theirs, places = [name for name in theirs if not _auxiliary(name)], main
    pairs = dict(zip(places, theirs, strict=False))
    counts = "" if len(theirs) == len(places) else f"; it has {len(theirs)} layers with tensors, ours {len(places)}"
    for ours, name in [*pairs.items()][:-1]:  # the last one may be a classifier of other classes
        try:
            _fitted(ours, wanted[ours], name, given[name], path)
        except ConfigError as error:
            raise ConfigError(f"{error}{counts}") from None
    if counts:
        raise ConfigError(f"weights '{path}' are of another network{counts}")
    return pairs


def _auxiliary(layer: str) -> bool:
    return AUXILIARY.fullmatch(layer.split(".")[0]) is not None


def _other_classes(wanted: Mapping[str, Shape], given: Mapping[str, Any]) -> bool:
    if wanted.keys() != given.keys():
        return False
    shapes = [(wanted[own], tuple(given[own].shape)) for own in wanted]
    return all(_core(a)[1:] == _core(b)[1:] for a, b in shapes) and any(a[0] != b[0] for a, b in shapes)


def _fitted(
    layer: str, wanted: Mapping[str, Shape], theirs: str, given: Mapping[str, Tensor], path: str
) -> dict[str, Tensor]:
    """Return their tensors of a layer in the shapes of ours; a linear layer may be a convolution there."""
    for own in given:
        if own not in wanted:
            raise ConfigError(f"weights '{path}': tensor '{theirs}.{own}' has no place in our layer '{layer}'")
    found = {}
    for own, shape in wanted.items():
        if own == "num_batches_tracked" and own not in given:
            continue  # files of old versions lack it, and it counts in no forward pass
        if own not in given:
            raise ConfigError(f"weights '{path}': tensor '{theirs}.{own}' is missing, for our layer '{layer}'")
        if not _same(shape, tuple(given[own].shape)):
            _check_channels(shape, tuple(given[own].shape), path)
            shapes = f"{shape}, found {tuple(given[own].shape)}"
            raise ConfigError(f"weights '{path}': tensor '{theirs}.{own}', our '{layer}.{own}', must be {shapes}")
        found[f"{layer}.{own}"] = given[own].reshape(shape)
    return found


def _check_channels(ours: Shape, theirs: Shape, path: str) -> None:
    """Tell plainly where images have other channels: only a first layer looks at one here and at three there."""
    if (
        len(ours) == len(theirs) == 4
        and {ours[1], theirs[1]} == {1, 3}
        and (ours[0], *ours[2:]) == (theirs[0], *theirs[2:])
    ):
        kinds = {1: "grey images (1 channel)", 3: "RGB images (3 channels)"}
        raise ConfigError(f"weights '{path}' are of a network for {kinds[theirs[1]]}, the data has {kinds[ours[1]]}")


def _same(ours: Shape, theirs: Shape) -> bool:
    if _core(ours) == _core(theirs):
        return True
    # a linear layer over a flattened image is a convolution as large as that
    return {len(ours), len(theirs)} == {2, 4} and ours[0] == theirs[0] and _count(ours) == _count(theirs)


def _core(shape: Shape) -> Shape:
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def _count(shape: Shape) -> int:
    total = 1
    for extent in shape:
        total *= extent
    return total
