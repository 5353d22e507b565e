"""Pictures of graphs in notebooks: well-formed, small, with names of their own; and reprs of one line."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import pytest
from graph_examples import resnet50
from small_networks import NETWORKS, TASK, sampled

from nas.core.values import spelled
from nas.graph import Add, Conv, Graph, GraphBuilder, Node, Relu
from nas.graph.drawing.svg import MOST_SHOWN, inline_svg, side_by_side
from nas.graph.primitives.structure import Input
from search_spaces.networks.resnet import cifar_resnet

SVG = "{http://www.w3.org/2000/svg}"


def flat(count: int) -> Graph:
    """A network of ``count`` nodes without blocks, of which every second is a branch."""
    b = GraphBuilder((4, 8, 8))
    x = b.input
    for _ in range(count // 2):
        x = b(Add(), x, b(Relu(), x))
    return b.build(logits=x)


def words(picture: str) -> str:
    return " ".join(text.text or "" for text in ET.fromstring(picture).iter(f"{SVG}text"))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_picture_is_well_formed_and_shows_what_draw_shows(name):
    graph = NETWORKS[name]()
    shown = graph._repr_svg_()
    assert words(shown) == words(graph.to_svg())
    assert len(shown) < 200_000


def test_a_graph_too_large_for_a_picture_is_one_block_that_counts_its_nodes():
    graph = flat(3_000)
    shown = graph._repr_svg_()
    assert len(shown) < 10_000
    assert "3,000 nodes" in words(shown)
    assert "1,500 add" in words(shown)
    assert "1,500 relu" in words(shown)
    assert f"{graph.cost().params:,} parameters" in words(shown)


def test_a_large_network_of_blocks_is_drawn_in_blocks():
    assert len(cifar_resnet(TASK, 200)._repr_svg_()) < 100_000


def test_a_large_cell_is_a_summary_too():
    b = GraphBuilder(None, inputs=2)
    x = b.inputs[0]
    for _ in range(MOST_SHOWN):
        x = b(Add(), x, b.inputs[1])
    shown = b.build(cell=x)._repr_svg_()
    assert f"{MOST_SHOWN} nodes" in words(shown)
    assert "input 1" in words(shown)


def test_shapes_that_do_not_fit_have_no_picture_and_a_repr_that_says_so():
    image = Node("image", Input((3, 4, 4)), ())
    graph = Graph((image, Node("conv", Conv(8, 7), ("image",))), (("logits", "conv"),))
    assert graph._repr_svg_() is None
    assert repr(graph) == "Graph(3x4x4, 2 nodes, shapes that do not fit)"


def test_pictures_on_one_page_do_not_share_names():
    one, other = (sampled("nasnet", seed, 8, 1)._repr_svg_() for seed in (1, 2))
    ids = [set(re.findall(r'id="([^"]+)"', text)) for text in (one, other)]
    assert len(ids[0]) == 2  # the picture and the head of its arrows
    assert not ids[0] & ids[1]
    for text, own in zip((one, other), ids, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)", text)) <= own
        style = ET.fromstring(text).find(f"{SVG}style").text
        assert style.startswith("#")


def test_cells_are_side_by_side_each_under_its_name():
    cells = {name: flat(4) for name in ("normal", "<b>")}
    root = ET.fromstring(side_by_side(cells))
    inner = root.findall(f"{SVG}svg")
    assert [next(s.iter(f"{SVG}text")).text for s in inner] == list(cells)
    ends = [(float(s.get("x")), float(s.get("x")) + float(s.get("width"))) for s in inner]
    assert ends[0][1] <= ends[1][0]
    assert ends[1][1] == pytest.approx(float(root.get("width")), abs=0.2)


def test_a_picture_for_any_page_has_no_paper():
    root = ET.fromstring(inline_svg(flat(4)))
    assert not [r for r in root.findall(f"{SVG}rect") if r.get("width") == "100%"]


def test_a_repr_is_one_line_and_the_whole_is_spelled():
    graph = resnet50()
    cost = graph.cost()
    said = f"Graph(3x224x224, {len(graph.nodes)} nodes, {cost.params:,} params, {cost.macs:,} MACs)"
    assert repr(graph) == said
    assert len(said) <= 120
    assert spelled(graph) == f"Graph(nodes={graph.nodes!r}, outputs={graph.outputs!r})"


def test_a_cell_says_how_many_inputs_it_has():
    b = GraphBuilder(None, inputs=2)
    assert repr(b.build(cell=b(Add(), *b.inputs))) == "Graph(cell of 2 inputs, 3 nodes)"
