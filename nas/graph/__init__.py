"""The graph language: one registry of primitives, one graph, and everything computed from it.

``nas.graph.lowering.torch_module`` lowers a graph to torch and is imported on demand: nothing else here needs torch.
"""

from nas.graph.analysis.canonical import cells_key, key, normal_form
from nas.graph.analysis.cost import Cost, LayerCost, cost, layers, receptive_field, shapes_of
from nas.graph.graph import GRAPH_FORMAT, Graph, GraphBuilder, Node, Operation
from nas.graph.lowering.fold_batch_norm import fold_batch_norms
from nas.graph.primitives.base import PRIMITIVES, Layer, Primitive, Window, primitive
from nas.graph.primitives.elementwise import (
    Add,
    Concat,
    Dropout,
    DropPath,
    Multiply,
    Relu,
    Relu6,
    Scale,
    Sigmoid,
    Swish,
    Tanh,
)
from nas.graph.primitives.layers import (
    AdaptiveAvgPool,
    AvgPool,
    BatchNorm,
    Conv,
    GlobalAvgPool,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    Linear,
    LocalResponseNorm,
    MaxPool,
    TransposedConv,
)
from nas.graph.primitives.structure import (
    ChannelShuffle,
    ChannelSlice,
    Crop,
    Flatten,
    Identity,
    Input,
    Named,
    Pad,
    Zero,
)

__all__ = ["GRAPH_FORMAT", "PRIMITIVES", "Graph", "GraphBuilder", "Layer", "Node", "Operation", "Primitive", "Window"]
__all__ += ["Cost", "LayerCost", "cells_key", "cost", "fold_batch_norms", "key", "layers", "normal_form", "primitive"]
__all__ += ["receptive_field", "shapes_of"]
# the primitives: with windows and weights, normalizations, elementwise, and those that only move numbers
__all__ += ["AdaptiveAvgPool", "AvgPool", "Conv", "GlobalAvgPool", "Linear", "MaxPool", "TransposedConv"]
__all__ += ["BatchNorm", "GroupNorm", "InstanceNorm", "LayerNorm", "LocalResponseNorm"]
__all__ += ["Add", "Concat", "DropPath", "Dropout", "Multiply", "Relu", "Relu6", "Scale", "Sigmoid", "Swish", "Tanh"]
__all__ += ["ChannelShuffle", "ChannelSlice", "Crop", "Flatten", "Identity", "Input", "Named", "Pad", "Zero"]
