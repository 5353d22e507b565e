"""An untrained network as scores look at it: its layers, fixed random weights and images, and what it makes of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import cached_property, partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from nas.core.values import Shape
from nas.graph import Graph, Input, Multiply, Node, shapes_of
from nas.graph.analysis.limits import check_fits
from nas.graph.primitives.base import Functions, Operand

BATCH = 16
"""Images; the scores of two networks compare only where they see as many."""
SEED = 0
_WEIGHTS, _IMAGES = SEED, SEED + 1
_WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)
_GATES = (nn.Sigmoid, nn.Tanh)


@contextmanager
def isolated() -> Iterator[None]:
    """Compute on one CPU thread, with gradients, in float32, and leave torch's global state as it was.

    That is its generator, which layers and a user's primitives may draw from, its number of threads, default device
    and precision, and its modes (gradients, inference, autocast).
    """
    threads, dtype, state = torch.get_num_threads(), torch.get_default_dtype(), torch.get_rng_state()
    try:
        torch.set_num_threads(1)
        torch.set_default_dtype(torch.float32)
        torch.default_generator.manual_seed(SEED)
        with ExitStack() as modes:
            modes.enter_context(torch.inference_mode(False))
            modes.enter_context(torch.enable_grad())
            modes.enter_context(torch.autocast("cpu", enabled=False))
            if torch.get_default_device().type != "cpu":
                modes.enter_context(torch.device("cpu"))
            yield
    finally:
        torch.set_rng_state(state)
        torch.set_default_dtype(dtype)
        torch.set_num_threads(threads)


class UntrainedNetwork:
    """The network of a graph with random weights, for the functions of :func:`nas.zero_cost.register_zero_cost`.

    Weights of convolutions and linear layers are drawn from N(0, 2 / fan-in) (arXiv:1502.01852, equation 10) and
    biases are zero; other layers begin as torch has them. Batch norms use the statistics of the batch, dropout and
    dropped paths are off. What several scores need is computed once.

    Attributes:
        graph: what its logits need of the graph.
        output: the node of the logits.
        features: the node of the last feature map: what reaches the global pool, or the flattening, before the logits.
        shapes: the output shape of every node.
    """

    def __init__(self, graph: Graph) -> None:
        output = "logits" if any(name == "logits" for name, _ in graph.outputs) else graph.outputs[0][0]
        self.graph = graph.pruned([output])
        self.output = self.graph.output(output)
        self.shapes: dict[str, Shape] = shapes_of(self.graph)
        nodes = {node.name: node for node in self.graph.nodes}
        features = self.output
        # back from the logits over vectors and what has a single pixel
        while math.prod(self.shapes[features][1:]) == 1 and nodes[features].inputs:
            features = nodes[features].inputs[0]
        self.features = features

    @cached_property
    def layers(self) -> dict[str, nn.Module]:
        """The layers by their node's name; those of :attr:`weights` take them when the network is computed."""
        check_fits(self.graph, BATCH)
        found: dict[str, nn.Module] = {}
        for node in self.graph.nodes:
            layer = node.op.layer(tuple(self.shapes[i] for i in node.inputs))
            if layer is None:
                continue
            kind, arguments = getattr(nn, layer.name), dict[str, Any](layer.arguments)
            if kind in _WEIGHTED:  # what it would draw is not needed
                module = kind(**arguments, device="meta")
                del module.weight
                if module.bias is not None:
                    del module.bias
                    module.bias = torch.zeros(node.op.out)  # type: ignore[attr-defined]
            elif issubclass(kind, nn.modules.batchnorm._BatchNorm):
                module = kind(**arguments, track_running_stats=False)
            else:
                module = kind(**arguments).eval()
            for parameter in module.parameters():
                parameter.requires_grad_(False)
            found[node.name] = module
        return found

    @cached_property
    def fan_in(self) -> dict[str, int]:
        """The numbers that are added up for one output of each convolution and linear layer."""
        shapes = self._weight_shapes
        return {name: math.prod(shape[1:]) for name, shape in shapes.items()}

    @cached_property
    def weights(self) -> dict[str, Tensor]:
        """The weights by node, with gradients: (out, in / groups, H, W), of linear layers (out, in).

        Those of transposed convolutions are (in, out / groups, H, W), as torch has them.
        """
        shapes = self._weight_shapes
        total = sum(map(math.prod, shapes.values()))
        drawn = torch.randn(total, generator=torch.Generator().manual_seed(_WEIGHTS))
        parts = torch.split(drawn, [math.prod(shape) for shape in shapes.values()])
        found = {}
        for (name, shape), part in zip(shapes.items(), parts, strict=True):
            weight = part.mul_(math.sqrt(2 / self.fan_in[name])).view(shape)
            layer = self.layers[name]
            if isinstance(layer, nn.ConvTranspose2d):
                weight = _transposed(weight, layer.groups)
            found[name] = weight.detach().requires_grad_()
        return found

    @cached_property
    def images(self) -> Tensor:
        """:data:`BATCH` images (N, C, H, W) of standard normal numbers, with gradients."""
        return self.noise(BATCH).requires_grad_()

    @cached_property
    def labels(self) -> Tensor:
        """Random labels (N,), int64."""
        classes = self.shapes[self.output][0]
        return torch.randint(classes, (BATCH,), generator=torch.Generator().manual_seed(_IMAGES))

    def noise(self, count: int, seed: int = _IMAGES) -> Tensor:
        """Return ``count`` images (N, C, H, W) of standard normal numbers, the same for the same ``seed``."""
        return torch.randn((count, *self.graph.input_shape), generator=torch.Generator().manual_seed(seed))

    @cached_property
    def values(self) -> dict[str, Tensor]:
        """The output (N, ...) of every node for :attr:`images`."""
        with torch.enable_grad():  # a score that asks first may not need gradients
            return self.compute(self.images, self.weights)

    @cached_property
    def loss(self) -> Tensor:
        """The mean cross-entropy of :attr:`labels`; logits that are images are averaged over their pixels."""
        logits = self.values[self.output]
        with torch.enable_grad():
            return nn.functional.cross_entropy(logits.flatten(2).mean(2) if logits.ndim > 2 else logits, self.labels)

    def compute(self, images: Tensor, weights: Mapping[str, Tensor], last: str | None = None) -> dict[str, Tensor]:
        """Return the output of every node for ``images`` (N, C, H, W), up to the node ``last``."""
        functions, values = cast(Functions, torch), dict[str, Tensor]()
        for node in self.graph.nodes:
            values[node.name] = images if isinstance(node.op, Input) else self._apply(functions, node, values, weights)
            if node.name == last:
                break
        return values

    def positive_flow(self, gain: Tensor) -> tuple[Tensor, float]:
        """Return the sum of the outputs for an image of ones with absolute weights: (number, logarithm of a factor).

        The output of each convolution and linear layer is multiplied by ``gain``, as if all of its weights were.
        Batch norms and other normalizations are left out. On numbers from zero on a ReLU does nothing, and so does
        every other activation here; a sigmoid or tanh whose output only multiplies others is an open gate, 1. Each
        output is scaled to a greatest number of 1, and its factor kept, so that no depth overflows.
        """
        functions, readers = cast(Functions, torch), _readers(self.graph)
        positive = {name: weight.detach().abs() for name, weight in self.weights.items()}
        values, factors = dict[str, Tensor](), dict[str, float]()
        for node in self.graph.nodes:
            layer = self.layers.get(node.name)
            factor = max((factors[i] for i in node.inputs), default=0.0)
            if isinstance(node.op, Input):
                value = torch.ones(1, *node.op.size)
            elif isinstance(layer, _GATES) and readers[node.name] <= {Multiply}:
                value, factor = torch.ones_like(values[node.inputs[0]]), 0.0
            elif isinstance(layer, _NORMS) or (layer is not None and is_activation(layer)):
                value = values[node.inputs[0]]
            elif isinstance(node.op, Multiply):
                value, factor = math.prod(values[i] for i in node.inputs), sum(factors[i] for i in node.inputs)  # type: ignore[assignment]
            else:
                # inputs that meet are brought to one factor
                scaled = {i: values[i] * math.exp(factors[i] - factor) for i in node.inputs if factors[i] < factor}
                value = self._apply(functions, node, values | scaled, positive)
            greatest = float(value.detach().abs().max())
            if node.name in positive and greatest > 0:
                value, factor = value * (gain / greatest), factor + math.log(greatest)
            values[node.name], factors[node.name] = value, factor
        return values[self.output].sum(), factors[self.output]

    @cached_property
    def _weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Of the weights by node, outputs first, also of transposed convolutions."""
        found: dict[str, tuple[int, ...]] = {}
        for name, layer in self.layers.items():
            match layer:
                case nn.Linear():
                    found[name] = (layer.out_features, layer.in_features)
                case nn.Conv2d() | nn.ConvTranspose2d():
                    found[name] = (layer.out_channels, layer.in_channels // layer.groups, *layer.kernel_size)
        return found

    def _apply(
        self, functions: Functions, node: Node, values: Mapping[str, Tensor], weights: Mapping[str, Tensor]
    ) -> Tensor:
        layer = self.layers.get(node.name)
        if node.name in weights:
            layer.weight = weights[node.name]  # type: ignore[union-attr]
        inputs = [cast(Operand, values[i]) for i in node.inputs]
        return cast(Tensor, node.op.apply(functions, None if layer is None else partial(_call, layer), *inputs))


def is_activation(layer: nn.Module) -> bool:
    """Return whether a layer is one of torch's activations, whose input's signs tell on which side of it a unit is."""
    return type(layer).__module__ == nn.ReLU.__module__


def _call(layer: nn.Module, *inputs: Any) -> Any:
    return layer(*inputs)


def _transposed(weight: Tensor, groups: int) -> Tensor:
    """Return (out, in / groups, H, W) as torch's transposed convolutions have it: (in, out / groups, H, W)."""
    out, inner, *kernel = weight.shape
    grouped = weight.view(groups, out // groups, inner, *kernel).transpose(1, 2)
    return grouped.reshape(groups * inner, out // groups, *kernel)


def _readers(graph: Graph) -> dict[str, set[type]]:
    """Return the kinds of the nodes that read each node, an output as one of its own."""
    found: dict[str, set[type]] = {node.name: set() for node in graph.nodes}
    for node in graph.nodes:
        for name in node.inputs:
            found[name].add(type(node.op))
    for _, name in graph.outputs:
        found[name].add(type(None))
    return found
