"""ResNets for small images."""

from __future__ import annotations

import math

from nas.graph import Add, BatchNorm, Conv, Graph, GraphBuilder, Relu, cost
from nas.types import Task
from search_spaces.skeleton import check_size, classifier


def cifar_resnet(task: Task, blocks: int, width: int = 16) -> Graph:
    """The ResNet of 6 * ``blocks`` + 2 layers for small images: stages of ``width``, 2 * and 4 * width channels.

    arXiv:1512.03385, section 4.2; where the shape changes the shortcut is a 1x1 convolution (option B).
    """
    check_size(width, blocks)
    b = GraphBuilder(task.input_shape)
    with b.scope("stem"):
        x = _conv_bn(b, b.input, width, 3)
        x = b(Relu(), x)
    for stage in range(3):
        for i in range(blocks):
            with b.scope(f"stage{stage + 1}.block{i + 1}"):
                x = _basic_block(b, x, width * 2**stage, 2 if stage and not i else 1)
    return classifier(b, x, task.classes)


def _conv_bn(b: GraphBuilder, x: str, channels: int, kernel: int, stride: int = 1) -> str:
    return b(BatchNorm(), b(Conv(channels, kernel, stride, kernel // 2), x))


def _basic_block(b: GraphBuilder, x: str, channels: int, stride: int) -> str:
    y = b(Relu(), _conv_bn(b, x, channels, 3, stride))
    y = _conv_bn(b, y, channels, 3)
    if stride != 1 or b.channels(x) != channels:
        with b.scope("short"):
            x = _conv_bn(b, x, channels, 1, stride)
    return b(Relu(), b(Add(), x, y))


def matching_resnet(task: Task, macs: int, most_blocks: int = 3, most_width: int = 256) -> tuple[str, Graph]:
    """Return the name and graph of the CIFAR ResNet whose MACs come closest to ``macs`` (as a ratio)."""
    best: tuple[float, str, Graph] | None = None
    for blocks in range(1, most_blocks + 1):
        for width in range(2, most_width + 1):
            graph = cifar_resnet(task, blocks, width)
            found = cost(graph).macs
            distance = abs(math.log(found / max(macs, 1)))
            if best is None or distance < best[0]:
                best = distance, f"ResNet-{6 * blocks + 2} of width {width}", graph
            if found > macs:
                break
    assert best is not None
    return best[1], best[2]
