"""Weights of torchvision's, timm's and our own files, by the names that our networks' layers have.

A safetensors file has no order, its names have: siblings such as ``conv1, bn1, conv2, bn2, downsample`` stand in the
order of the forward pass by the table :data:`LAYER_ORDERS`. Layers of theirs in that order are paired with the
layers of our graph, and every pair must hold the same tensors.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from nas.errors import ConfigError, unknown
from nas.graph import Graph
from nas.models.weight_wrappers import mostly, readings

if TYPE_CHECKING:
    from torch import Tensor

LAYER_ORDERS: tuple[tuple[str, str], ...] = (
    # the first line also orders the layers of a block: conv1, bn1, conv2, bn2, downsample
    ("ResNet, ResNeXt, wide ResNet, SENet", "conv#,bn# layer# se se_module downsample fc last_linear"),
    ("torchvision's ShuffleNet v2", "conv#,stage# fc"),
    ("torchvision's GoogLeNet", r"conv# inception\w+ aux# fc"),
    # timm's mobile networks
    ("EfficientNet, MobileNet", "conv_stem bn1 blocks conv_head bn2 classifier"),
    ("their depthwise separable blocks", "conv_dw bn1 se conv_pw bn2"),
    ("their inverted residuals", "conv_pw bn1 conv_dw bn2 se conv_pwl bn3"),
    ("their squeeze-and-excitation", "conv_reduce conv_expand"),
    # networks whose layers are a list of features, and what has its norms before its convolutions
    ("AlexNet, VGG, SqueezeNet, DenseNet, Inception v4", "features pre_logits classifier head last_linear"),
    ("DenseNet's features", "conv0 norm0 denseblock#,transition# norm5"),
    ("timm's ResNet v2", "stem stages norm head"),
    ("blocks of ResNet v2, layers of DenseNet", "norm#,conv# downsample"),
    ("a convolution with its norm, gates of SENet, timm's VGG", "conv# conv bn fc# fc"),
    # timm's networks of found cells, from inside
    ("NASNet's separable convolution", "depthwise_conv2d pointwise_conv2d"),
    ("NASNet's separable convolutions", "separable_#,bn_sep_#"),
    ("NASNet's and PNASNet's cells", r"conv_prev_1x1 path_# final_path_bn conv_1x1 comb_iter_\w+"),
    ("SqueezeNet's fire modules", "squeeze expand1x1 expand3x3"),
    # Inception
    ("Inception v3", r"Conv2d_\w+ Mixed_[56]\w AuxLogits Mixed_7\w fc"),
    ("Inception v3's modules", r"branch1x1 branch5x5_. branch3x3 branch3x3_\w+ branch7x7_. branch3x3dbl_\w+ "
        "branch7x7dbl_. branch7x7x3_. branch_pool"),
    ("Inception-ResNet v2",
        r"conv2d_[1-4]\w mixed_5b repeat mixed_6a repeat_1 mixed_7a repeat_2 block8 conv2d_7b classif"),
    ("modules of GoogLeNet, Inception v4 and Inception-ResNet v2, units of ShuffleNet v2", "branch# conv2d"),
    ("NASNet, PNASNet", "conv0,conv_0 cell_stem_# cell_[0-5] reduction_cell_0 cell_[6-9] cell_1[01] reduction_cell_1 "
        "cell_# last_linear"),
)  # fmt: skip
"""Whose names a line is for, and siblings in the order of the forward pass; the first line that knows all counts.

Names are regular expressions, ``#`` is a number; of those that a comma joins the lower number comes first. Siblings
that no line knows are in natural order, ``10`` after ``9``.
"""
AUXILIARY = re.compile(r"aux\w*", re.IGNORECASE)

Shape = tuple[int, ...]
Shapes = Mapping[str, Mapping[str, Shape]]
"""The shapes of the tensors of each layer."""
Place = tuple[int, int, int, list[tuple[int, str]]]
"""Where a name stands among its siblings: token of the line, number, place within the token, natural order."""
T = TypeVar("T")
Layers = Mapping[str, Mapping[str, T]]
"""What the parameters and buffers of each layer have, by the names of layers and their own."""


@dataclass(frozen=True, eq=False)
class Matched:
    """What of a file of weights fits a network."""

    tensors: Mapping[str, Tensor]
    """Parameters and buffers by our names, in the shapes of ours."""
    fresh: tuple[str, ...]
    """Our layers that the file has no tensors for: classifiers of other classes, and auxiliary heads."""
    unused: tuple[str, ...]
    """Their layers that have no place in our network."""
    ours: bool
    """Whether the file has our names."""
    prefix: str = ""
    """What all names of the tensors begin with in the file."""
    passed_over: tuple[str, ...] = ()
    """What begins the names of what else the file holds."""


def matched(graph: Graph, tensors: Mapping[str, Tensor], path: str, other_task: bool = False) -> Matched:
    """Return the ``tensors`` of the file ``path`` by the names of the layers of ``graph``.

    Their names may be ours, torchvision's or timm's, with what training tools wrap around them (see
    :mod:`nas.models.weight_wrappers`); of a network and its moving average the average is taken. Classifiers of other
    classes are left out, any one where the file is of an ``other_task``, and auxiliary heads of one side; other
    differences raise :class:`ConfigError`.
    """
    if not tensors:
        raise ConfigError(f"weights '{path}' hold no tensors")
    wanted = shapes_of_state(graph)
    main = shapes_of_state(graph.pruned(("logits",))) if "logits" in dict(graph.outputs) else wanted
    problem, found = None, None
    for reading in readings(tensors, wanted, len(main)):
        if found is not None and reading.rank != found[0].rank:
            break
        try:
            fits = _matched(graph, wanted, main, reading.tensors, path, other_task)
        except ConfigError as error:
            problem = problem or error
            continue
        if found is not None:
            names = f"'{found[0].prefix}' and '{reading.prefix}'"
            raise ConfigError(f"weights '{path}' hold several networks that fit, {names}; write a file of one")
        found = reading, replace(fits, prefix=reading.prefix, passed_over=reading.passed_over)
    if found is None:
        assert problem is not None
        raise problem
    return found[1]


def _matched(
    graph: Graph, wanted: Shapes, main: Shapes, tensors: Mapping[str, Tensor], path: str, other_task: bool
) -> Matched:
    # pair layers: by name where the file has our names, else by their places in the forward pass
    given = _by_layer(tensors)
    ours = mostly(wanted, tensors)
    if ours:
        for layer in main:
            if layer not in given:
                raise ConfigError(f"weights '{path}': {unknown('layer', layer, given)}")
        for layer in given:
            if layer not in wanted and not _auxiliary(layer):
                raise ConfigError(f"weights '{path}': layer '{layer}' is none of the network's")
        pairs = {layer: layer for layer in wanted if layer in given}
    else:
        names, places = in_order(given), wanted
        if len(names) != len(wanted):
            names, places = [name for name in names if not _auxiliary(name)], main
        pairs = dict(zip(places, names, strict=False))
        counts = "" if len(names) == len(places) else f"; it has {len(names)} layers with tensors, ours {len(places)}"
        for layer, name in [*pairs.items()][:-1]:  # the last one may be a classifier of other classes
            try:
                _fitted(layer, wanted[layer], name, given[name], path)
            except ConfigError as error:
                raise ConfigError(f"{error}{counts}") from None
        if counts:
            raise ConfigError(f"weights '{path}' are of another network{counts}")
    # take what fits; classifiers may be of other classes
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

    from nas.graph.lowering.torch_module import build_module

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
    """Return dotted names in the order of the forward pass, by :data:`LAYER_ORDERS`."""

    def ordered(paths: Sequence[Sequence[str]], depth: int) -> list[str]:
        below: dict[str, list[Sequence[str]]] = {}
        for path in paths:
            below.setdefault(path[depth] if depth < len(path) else "", []).append(path)
        found = [".".join(path) for path in below.pop("", ())]
        for name in sorted(below, key=_sort_key(below)):
            found += ordered(below[name], depth + 1)
        return found

    return ordered([name.split(".") for name in names], 0)


@cache
def _rules() -> list[list[tuple[int, int, re.Pattern[str]]]]:
    """Return the lines of :data:`LAYER_ORDERS` as patterns, each with its token's place and its own in the token."""
    return [
        [
            (rank, second, re.compile(name.replace("#", r"(\d*)")))
            for rank, token in enumerate(line.split())
            for second, name in enumerate(token.split(","))
        ]
        for _, line in LAYER_ORDERS
    ]


def _sort_key(siblings: Collection[str]) -> Callable[[str], Place]:
    """Return the sort key of ``siblings``: their places in the first line that knows all, else natural order."""
    for rule in _rules():
        places: dict[str, Place] = {}
        for name in siblings:
            for rank, second, pattern in rule:
                if found := pattern.fullmatch(name):
                    number = int(found[1] or -1) if pattern.groups else -1
                    places[name] = rank, number, second, _natural(name)
                    break
        if len(places) == len(siblings):
            return places.__getitem__
    return lambda name: (0, 0, 0, _natural(name))


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name) if part]


def _by_layer(tensors: Mapping[str, T]) -> dict[str, dict[str, T]]:
    layers: dict[str, dict[str, T]] = {}
    for name, tensor in tensors.items():
        layer, _, own = name.rpartition(".")
        layers.setdefault(layer, {})[own] = tensor
    return layers


def _auxiliary(layer: str) -> bool:
    return AUXILIARY.fullmatch(layer.split(".")[0]) is not None


def _other_classes(wanted: Mapping[str, Shape], given: Mapping[str, Tensor]) -> bool:
    if wanted.keys() != given.keys():
        return False
    shapes = [(wanted[own], tuple(given[own].shape)) for own in wanted]
    return all(_core(a)[1:] == _core(b)[1:] for a, b in shapes) and any(a[0] != b[0] for a, b in shapes)


def _fitted(
    layer: str, wanted: Mapping[str, Shape], theirs: str, given: Mapping[str, Tensor], path: str
) -> dict[str, Tensor]:
    """Return their tensors of a layer in the shapes of ours; a linear layer may be a convolution there."""
    import torch

    for own in given:
        if own not in wanted:
            raise ConfigError(f"weights '{path}': tensor '{theirs}.{own}' has no place in our layer '{layer}'")
    found = {}
    for own, tensor in given.items():
        if own != "num_batches_tracked" and not (tensor.is_floating_point() and tensor.layout == torch.strided):
            kind = str(tensor.dtype if tensor.layout == torch.strided else tensor.layout).removeprefix("torch.")
            raise ConfigError(f"weights '{path}': tensor '{theirs}.{own}' holds {kind}, not plain floating point")
    for own, shape in wanted.items():
        if own == "num_batches_tracked" and own not in given:
            continue  # files of old versions lack it, and it counts in no forward pass
        if own not in given:
            raise ConfigError(f"weights '{path}': tensor '{theirs}.{own}' is missing, for our layer '{layer}'")
        other = tuple(given[own].shape)
        # a linear layer over a flattened image is a convolution as large as that
        flat = {len(shape), len(other)} == {2, 4} and shape[0] == other[0] and math.prod(shape) == math.prod(other)
        if _core(shape) != _core(other) and not flat:
            # only a first layer looks at one channel here and at three there
            others = len(shape) == len(other) == 4 and {shape[1], other[1]} == {1, 3}
            if others and shape == (other[0], shape[1], *other[2:]):
                kinds = {1: "grey images (1 channel)", 3: "RGB images (3 channels)"}
                images = f"{kinds[other[1]]}, the data has {kinds[shape[1]]}"
                raise ConfigError(f"weights '{path}' are of a network for {images}")
            named = f"tensor '{theirs}.{own}', our '{layer}.{own}'"
            raise ConfigError(f"weights '{path}': {named}, must be {shape}, found {other}")
        found[f"{layer}.{own}"] = given[own].reshape(shape)
    return found


def _core(shape: Shape) -> Shape:
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape
