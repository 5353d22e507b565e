"""The space of whole networks as shapes: what a network is like at a given cost, with its width left to a budget."""

from __future__ import annotations

from functools import partial

from nas.core.values import Task, Value
from nas.errors import Infeasible
from nas.graph import Graph
from nas.space import Choose, Network, register_space
from search_spaces.stages.shape import DOWNS, FAMILIES, HEADS, RESIDUAL, Shape, build_shape

PARTS = 8
"""The parts of a channel that ``width`` counts in, so that thin networks meet a budget closely too."""
WIDTHS = (2 * PARTS, 1)
"""The least width that a budget may choose, and the step to the next."""


def _start(stages: int, family: str, **changes: Value) -> dict[str, Value]:
    """Return the decisions of one unit a stage after a strided stem, with ``changes``."""
    found: dict[str, Value] = {"family": family, "activation": "relu", "se": 0.0, "kernel": 3}
    if family in RESIDUAL:
        found["preactivated"] = False
    if family == "inverted":
        found["inverted.expansion"] = 6.0
    found |= {"stem.stride": 2, "stem.width": 1.0, "early": False, "down": "stride", "growth": 2.0, "stages": stages}
    return found | {f"stage{i + 1}.repeats": 1 for i in range(stages)} | {"head": "pool_fc"} | changes


STARTS = {
    "resnet10": _start(4, "basic"),
    "wide_resnet10": _start(3, "basic", preactivated=True, **{"stem.width": 0.5}),
    "vgg6": _start(4, "plain", early=True, down="max", **{"stem.stride": 1, "stem.width": 0.5}),
    "mbconv": _start(4, "inverted", activation="swish", se=0.25),
}
"""What a search begins with: shapes of handcrafted families, but for VGG with the stem that small budgets ask for."""


@register_space(
    "macro",
    source="shapes of arXiv:1512.03385, 1603.05027, 1605.07146, 1704.04861, 1801.04381, 1409.1556",
    width=16 * PARTS,
    starts=STARTS,
)
def macro(choose: Choose) -> Network:
    """A stem, two to four stages of one kind of unit and a head; a budget of MACs or parameters sets the width.

    The units are ResNet's two (arXiv:1512.03385; pre-activated: arXiv:1603.05027, arXiv:1605.07146), MobileNet's two
    (arXiv:1704.04861, arXiv:1801.04381) and VGG's convolutions (arXiv:1409.1556) with batch norm; gates are those of
    arXiv:1709.01507, means over parts of an image those of arXiv:1406.4729, section 2.2. At one cost it matters most
    how early, how often and by what a network halves the image: what is saved there pays for channels. So stem stride,
    an early first stage, strides or pools, the number of stages and the growth of channels are decided here, which a
    space of cells fixes, and whether the classifier sees a mean over the whole image or over parts of it. The width is
    no decision: networks of one budget differ in shape and not in size. ``width`` is in eighths of a channel of the
    first stage, and each stage's channels are rounded for themselves: 128 are 16 channels. A network that reduces the
    image by 2 only is infeasible: no budget leaves it channels.
    """
    family = choose("family", FAMILIES)
    activation = choose("activation", ("relu", "swish"))
    se = choose("se", (0.0, 0.25))
    kernel = choose("kernel", (3, 5))
    preactivated = choose("preactivated", (False, True)) if family in RESIDUAL else False
    expansion = 1.0
    if family == "bottleneck":
        expansion = choose("bottleneck.expansion", (0.25, 0.5))
    if family == "inverted":
        expansion = choose("inverted.expansion", (2.0, 4.0, 6.0))
    shape = Shape(
        family=family,
        activation=activation,
        se=se,
        kernel=kernel,
        preactivated=preactivated,
        expansion=expansion,
        stem_stride=choose("stem.stride", (1, 2)),
        stem_width=choose("stem.width", (0.5, 1.0, 2.0)),
        early=choose("early", (False, True)),
        down=choose("down", DOWNS),
        growth=choose("growth", (1.0, 1.4, 2.0, 2.8)),
        repeats=tuple(choose(f"stage{i + 1}.repeats", (1, 2, 3)) for i in range(choose("stages", (2, 3, 4)))),
        head=choose("head", HEADS),
    )
    if shape.reduction < 4:
        raise Infeasible(f"macro: a network must reduce images by 4 or more, found {shape.reduction}")
    return Network(partial(_build, shape), WIDTHS, between=True)


def _build(shape: Shape, task: Task, width: int, depth: float) -> Graph:
    return build_shape(shape, task, width / PARTS, depth)
