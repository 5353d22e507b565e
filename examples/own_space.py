"""A search space of your own for the command line: nas search --plugin examples/own_space.py --space plain_convs"""

from nas import GraphBuilder, Network, register_space
from nas.graph import Conv, Flatten, GlobalAvgPool, Linear, Relu


@register_space("plain_convs")
def plain_convs(choose):  # one to four convolutions, each with a kernel of its own
    kernels = [choose(f"kernel{i}", [1, 3, 5]) for i in range(choose("layers", [1, 2, 3, 4]))]

    def build(task, width, depth):
        b = GraphBuilder(task.input_shape)
        x = b.input
        for kernel in kernels:
            x = b(Relu(), b(Conv(width, kernel, padding=kernel // 2), x))
        return b.build(logits=b(Linear(task.classes), b(Flatten(), b(GlobalAvgPool(), x))))

    return Network(build)
