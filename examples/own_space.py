"""A search space of your own for the command line: nas search --plugin examples/own_space.py --space plain_convs"""

from nas import Network, register_space
from nas.graph import BatchNorm, Conv, Flatten, GlobalAvgPool, GraphBuilder, Linear, Relu


@register_space("plain_convs", source="this file")
def plain_convs(choose):
    """One to four convolutions, each with a kernel and a width of its own."""
    count = choose("layers", [1, 2, 3, 4])
    layers = [(choose(f"kernel{i}", [1, 3, 5]), choose(f"times{i}", [1, 2])) for i in range(count)]

    def build(task, width, depth):
        b = GraphBuilder(task.input_shape)
        x = b.input
        for kernel, times in layers:
            x = b(Relu(), b(BatchNorm(), b(Conv(times * width, kernel, padding=kernel // 2), x)))
        return b.build(logits=b(Linear(task.classes), b(Flatten(), b(GlobalAvgPool(), x))))

    return Network(build)
