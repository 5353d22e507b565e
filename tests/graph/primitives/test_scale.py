"""The constant factor and the adaptive pool: refusals, keys and receptive fields (their values: test_primitives)."""

from __future__ import annotations

import pytest

from nas.errors import GraphError
from nas.graph import AdaptiveAvgPool, Add, Conv, Flatten, Graph, GraphBuilder, Scale, key, receptive_field


def scaled(factor: float | None) -> Graph:
    b = GraphBuilder((3, 8, 8))
    x = b(Conv(3, 3, padding=1), b.input)
    x = x if factor is None else b(Scale(factor), x)
    return b.build(logits=b(Conv(2), b(Add(), b.input, x)))


def test_scale_by_one_is_an_identity_and_by_zero_a_zero_path() -> None:
    b = GraphBuilder((3, 8, 8))
    alone = b.build(logits=b(Conv(2), b.input))
    assert key(scaled(1.0)) == key(scaled(1)) == key(scaled(None))
    assert key(scaled(0.0)) == key(alone)
    assert len({key(scaled(factor)) for factor in (None, 0.0, 0.1, 0.17)}) == 4


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda: Scale(-0.1), "scale: factor must be a number from 0 on, and finite, found -0.1"),
        (lambda: Scale(True), "scale: factor must be a number"),
        (lambda: AdaptiveAvgPool(0), "adaptive_avg_pool: size must be an integer of at least 1"),
        (lambda: AdaptiveAvgPool((4, 4, 4)), "adaptive_avg_pool: size must be .* pair of them, found"),
        (lambda: AdaptiveAvgPool(4).shape(((8,),)), "adaptive_avg_pool: the input must be an image"),
    ],
)
def test_wrong_input_is_refused(wrong: object, says: str) -> None:
    with pytest.raises(GraphError, match=says):
        wrong()  # type: ignore[operator]


@pytest.mark.parametrize(("extent", "out"), [(14, 4), (12, 6), (7, 7), (13, 6), (3, 6), (9, 1), (31, 7)])
def test_a_bin_of_an_adaptive_pool_sees_its_widest_span_and_all_bins_see_the_image(extent: int, out: int) -> None:
    spans = [-(-(i + 1) * extent // out) - i * extent // out for i in range(out)]
    b = GraphBuilder((1, extent, 5))
    x = b(AdaptiveAvgPool((out, 2)), b.input)
    graph = b.build(pooled=x, flat=b(Flatten(), x))
    assert receptive_field(graph, "pooled") == (max(spans), 3)
    assert receptive_field(graph, "flat") == (extent, 5)
