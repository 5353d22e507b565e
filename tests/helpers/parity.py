"""Is a network of ours the same function as torchvision's or timm's? Copies weights and compares outputs.

The references are for these checks only, never a dependency; tests that use them carry the marker ``reference``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import pytest
import torch
from torch import nn

from nas.graph import Graph
from nas.graph.lowering.torch_module import build_module

Layers = list[tuple[str, nn.Module]]
Order = Callable[[Layers], Layers]
"""Puts the reference's layers (name, module) into the order of our graph's nodes."""

RELATIVE = 1e-4
_LIBRARIES: list[Any] = []


@cache
def torchvision_models() -> Any:
    """Return ``torchvision.models``, importable beside a torch without torchvision's compiled operators."""
    try:
        library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")  # type: ignore[no-untyped-call]
        _LIBRARIES.append(library)  # the definitions live as long as the library does
    except RuntimeError:
        pass  # a torchvision with its own operators has defined them already
    return pytest.importorskip("torchvision").models


@cache
def timm_create() -> Callable[..., nn.Module]:
    """Return ``timm.create_model``."""
    torchvision_models()
    create: Callable[..., nn.Module] = pytest.importorskip("timm").create_model
    return create


def with_state(layers: Sequence[tuple[str, nn.Module]]) -> Layers:
    """Return the layers that hold parameters or buffers of their own, in order."""
    return [(name, layer) for name, layer in layers if [*layer.parameters(False), *layer.buffers(False)]]


def our_layers(graph: Graph, module: nn.Module) -> Layers:
    """Return the layers with weights in the order of the graph's nodes."""
    names = dict(module.named_modules())
    return with_state([(node.name, names[node.name]) for node in graph.nodes if node.name in names])


def randomise(module: nn.Module, seed: int = 0) -> None:
    """Draw all weights and running statistics so that signals keep their size through a deep network."""
    g = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in module.modules():
            for name, value in [*layer.named_parameters(recurse=False), *layer.named_buffers(recurse=False)]:
                if name == "weight" and value.dim() > 1:
                    value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=g)
                elif name in ("weight", "running_var"):
                    value.uniform_(0.5, 1.5, generator=g)
                elif value.is_floating_point():
                    value.normal_(0, 0.2, generator=g)


def copy_weights(theirs: Layers, ours: Layers) -> None:
    """Copy the tensors of ``theirs`` to ``ours`` pairwise; shapes may differ by trailing ones only (1x1, linear)."""
    pairs = [f"{a} -> {b}" for (a, _), (b, _) in zip(theirs, ours, strict=False)]
    assert len(theirs) == len(ours), (
        f"{len(theirs)} layers of theirs, {len(ours)} of ours; the last pairs: {pairs[-3:]}"
    )
    for (their_name, source), (our_name, target) in zip(theirs, ours, strict=True):
        given = source.state_dict()
        wanted = target.state_dict()
        assert given.keys() == wanted.keys(), f"{their_name} has {list(given)}, {our_name} has {list(wanted)}"
        for key, value in given.items():
            shapes = f"{their_name}.{key} {tuple(value.shape)}, {our_name}.{key} {tuple(wanted[key].shape)}"
            assert _core(value) == _core(wanted[key]), shapes
        target.load_state_dict({key: value.reshape(wanted[key].shape) for key, value in given.items()})


def _core(value: torch.Tensor) -> tuple[int, ...]:
    shape = tuple(value.shape)
    while shape and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def assert_parity(
    graph: Graph,
    reference: nn.Module,
    input_shape: Sequence[int],
    order: Order | None = None,
    *,
    outputs: Sequence[str] = ("logits",),
    batch: int = 1,
    seed: int = 0,
) -> None:
    """Assert that ``graph`` computes what ``reference`` does, both with the same random weights, in eval mode.

    Layers with weights are paired in order: ours as the graph's nodes, theirs as registered, or as ``order`` arranges
    them. Outputs must be equal within 1e-4 of the largest; the reference's outputs must not be all alike.
    """
    theirs, ours = reference.eval(), build_module(graph, outputs).eval()
    randomise(theirs, seed)
    layers = with_state(list(theirs.named_modules()))
    copy_weights(layers if order is None else order(layers), our_layers(graph.pruned(outputs), ours))
    images = torch.randn(batch, *input_shape, generator=torch.Generator().manual_seed(seed + 1))
    with torch.no_grad():
        expected, found = theirs(images), ours(images)
    pairs = [(expected, found)] if len(outputs) == 1 else list(zip(expected, found, strict=True))
    for e, f in pairs:
        scale = float(e.abs().max())
        assert float(e.std()) > 1e-3 * scale > 0, "the reference's outputs are all alike: the check would be void"
        difference = float((e - f).abs().max()) / scale
        assert difference <= RELATIVE, f"outputs differ by {difference:.2e} of the largest"
