"""LeNet-5 (LeCun et al. 1998, "Gradient-based learning applied to document recognition")."""

from __future__ import annotations

from nas.core.values import Shape
from nas.graph import AvgPool, Flatten, Graph, GraphBuilder
from nas.space.networks import register_network
from search_spaces.blocks.classic_stages import conv_stage, linear_stage
from search_spaces.skeletons.small_images import linear_head


@register_network("lenet5", "LeCun et al. 1998, section II.B", (1, 28, 28), 10)
def lenet5(input_shape: Shape, classes: int, activation: str = "tanh") -> Graph:
    """LeNet-5: CONV-POOL-CONV-POOL-FC-FC and the classifier; 5x5 convolutions, 2x2 average pools, tanh.

    The paper's activation is 1.7159 tanh(2x / 3), the lecture's any of the sigmoid type: ``activation`` names another.
    Images smaller than the paper's 32 pixels are padded by two a side, as MNIST's 28 were. The paper's trained
    subsampling and its sparse second convolution are a plain pool and a full convolution, as the lecture draws them.
    """
    b = GraphBuilder(input_shape)
    x = b.input
    # 28 pixels become the paper's 32
    border = 2 if min(input_shape[1:]) < 32 else 0
    for i, (out, padding) in enumerate(((6, border), (16, 0)), 1):
        with b.scope(f"stage{i}"):
            x = conv_stage(b, x, out, kernel=5, padding=padding, activation=activation, pool=AvgPool(2))
    x = b(Flatten(), x, name="flatten")
    for i, features in enumerate((120, 84), 1):
        with b.scope(f"hidden{i}"):
            x = linear_stage(b, x, features, dropout=0, activation=activation)
    return b.build(logits=linear_head(b, x, classes))
