"""The graph language: one registry of primitives, one graph, and everything computed from it.

``nas.graph.module`` lowers a graph to torch and is imported on demand: nothing else here needs torch.
"""

from nas.graph.builder import GraphBuilder
from nas.graph.canonical import cells_key, key, normal_form
from nas.graph.convolutions import Conv, Linear, TransposedConv
from nas.graph.cost import Cost, LayerCost, cost, layers, receptive_field, shapes_of
from nas.graph.fold import fold_batch_norms
from nas.graph.graph import GRAPH_FORMAT, Graph, Node
from nas.graph.operators import (
    Add,
    ChannelShuffle,
    ChannelSlice,
    Concat,
    Crop,
    Dropout,
    DropPath,
    Flatten,
    Identity,
    Input,
    Multiply,
    Named,
    Pad,
    Relu,
    Relu6,
    Sigmoid,
    Swish,
    Tanh,
    Zero,
)
from nas.graph.pooling import (
    AvgPool,
    BatchNorm,
    GlobalAvgPool,
    GroupNorm,
    InstanceNorm,
    LayerNorm,
    LocalResponseNorm,
    MaxPool,
)
from nas.graph.primitive import PRIMITIVES, Layer, Primitive, Window, primitive
from nas.graph.scale import AdaptiveAvgPool, Scale

__all__ = [
    "GRAPH_FORMAT",
    "PRIMITIVES",
    "AdaptiveAvgPool",
    "Add",
    "AvgPool",
    "BatchNorm",
    "ChannelShuffle",
    "ChannelSlice",
    "Concat",
    "Conv",
    "Cost",
    "Crop",
    "DropPath",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "Graph",
    "GraphBuilder",
    "GroupNorm",
    "Identity",
    "Input",
    "InstanceNorm",
    "Layer",
    "LayerCost",
    "LayerNorm",
    "Linear",
    "LocalResponseNorm",
    "MaxPool",
    "Multiply",
    "Named",
    "Node",
    "Pad",
    "Primitive",
    "Relu",
    "Relu6",
    "Scale",
    "Sigmoid",
    "Swish",
    "Tanh",
    "TransposedConv",
    "Window",
    "Zero",
    "cells_key",
    "cost",
    "fold_batch_norms",
    "key",
    "layers",
    "normal_form",
    "primitive",
    "receptive_field",
    "shapes_of",
]
