"""Drawings: valid XML, every box and arrow there, nothing overlaps or overflows, the same every time."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET
from collections.abc import Iterator

import numpy as np
import pytest
from graph_examples import all_but_one, equal_paths, resnet50, squeeze_excite
from PIL import ImageFont
from small_networks import NETWORKS, TASK, sampled

from nas.errors import GraphError
from nas.graph import Add, Graph, GraphBuilder, Named, Node, Relu
from nas.graph.drawing.boxes import READABLE, picture
from nas.graph.drawing.layout import layered
from nas.graph.drawing.svg import draw_svg
from nas.space import SPACES
from search_spaces.networks.resnet import cifar_resnet

SVG = "{http://www.w3.org/2000/svg}"
Span = tuple[float, float, float, float]


def cell(space: str, seed: int, name: str = "cell") -> Graph:
    """A cell of named operations."""
    found = SPACES[space]
    made = found.describe(found.sample(np.random.Generator(np.random.PCG64(seed))))
    return made.cells[name] if hasattr(made, "cells") else made.graph()


def graphs() -> dict[str, tuple[Graph, int | None]]:
    found: dict[str, tuple[Graph, int | None]] = {name: (build(), None) for name, build in NETWORKS.items()}
    found |= {f"{space}-{i}": (cell(space, i), None) for space in ("nb201", "nb101") for i in range(3)}
    found |= {f"nasnet-{kind}": (cell("nasnet", 1, kind), None) for kind in ("normal", "reduction")}
    found |= {f"network-{level}": (sampled("nasnet", 1, 8, 2), level) for level in (None, 1, 2, 3, 9)}
    found |= {"resnet50": (resnet50(), None), "resnet56": (cifar_resnet(TASK, 9), None), "se": (squeeze_excite(), None)}
    return found | {"paths": (equal_paths(8, 2), None), "dense": (all_but_one(5), None)}


GRAPHS = graphs()
every = pytest.mark.parametrize("name", GRAPHS)


def drawn(name: str) -> ET.Element:
    return ET.fromstring(draw_svg(*GRAPHS[name], title=name))


def rects(root: ET.Element) -> dict[str, Span]:
    """Left, top, right and bottom of each box by name."""
    return {r.attrib["data-name"]: span(r) for r in root.iter(f"{SVG}rect") if r.get("class") == "node"}


def span(rect: ET.Element) -> Span:
    x, y, width, height = (float(rect.attrib[k]) for k in ("x", "y", "width", "height"))
    return x, y, x + width, y + height


def arrows(root: ET.Element) -> Iterator[tuple[str, str, list[float]]]:
    for path in root.iter(f"{SVG}path"):
        if path.get("class") == "edge":
            numbers = [float(n) for n in path.attrib["d"].translate(str.maketrans("MLC", "   ")).split()]
            yield path.attrib["data-from"], path.attrib["data-to"], numbers


@every
def test_one_box_for_each_drawn_node_and_one_arrow_for_each_edge(name: str) -> None:
    root = drawn(name)
    shown = picture(*GRAPHS[name])
    boxes = [r for r in root.iter(f"{SVG}rect") if r.get("class") == "node"]
    assert len(boxes) == len(rects(root)) == len(shown.boxes)
    assert sorted((u, v) for u, v, _ in arrows(root)) == sorted(shown.edges)
    graph = GRAPHS[name][0]
    members = [m for box in shown.boxes.values() for m in box.members]
    assert sorted(members) == sorted(node.name for node in graph.nodes)
    home = {m: box.name for box in shown.boxes.values() for m in box.members}
    wanted = {(home[i], home[n.name]) for n in graph.nodes for i in n.inputs if home[i] != home[n.name]}
    assert wanted | {(home[n], f"output {o}") for o, n in graph.outputs} == set(shown.edges)


@every
def test_boxes_do_not_overlap_and_arrows_go_from_box_to_box(name: str) -> None:
    root = drawn(name)
    found = rects(root)
    for (a, one), (b, two) in itertools.combinations(found.items(), 2):
        apart = one[2] < two[0] or two[2] < one[0] or one[3] < two[1] or two[3] < one[1]
        assert apart, (a, b)
    for u, v, numbers in arrows(root):
        (x0, y0), (x1, y1) = numbers[:2], numbers[-2:]
        assert found[u][0] <= x0 <= found[u][2]
        assert found[v][0] <= x1 <= found[v][2]
        assert abs(y0 - found[u][3]) < 0.2
        assert abs(y1 - found[v][1]) < 0.2
        assert y0 < y1


@every
def test_text_stays_in_its_box_and_all_stays_in_the_picture(name: str) -> None:
    root = drawn(name)
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    for group in root.iter(f"{SVG}g"):
        if group.get("class") == "box":
            left, top, right, bottom = next(span(r) for r in group.iter(f"{SVG}rect") if r.get("class") == "node")
            assert right - left <= width
            for text in group.iter(f"{SVG}text"):
                first, last = extent(text)
                assert left <= first <= last <= right, text.text
                assert top < float(text.attrib["y"]) < bottom
    assert max(s[3] for s in rects(root).values()) < height


def extent(text: ET.Element) -> tuple[float, float]:
    """Left and right end of a text as DejaVu Sans sets it."""
    bold = "-Bold" if text.get("font-weight", "normal") == "bold" else ""
    try:
        font = ImageFont.truetype(f"DejaVuSans{bold}.ttf", 100)
    except OSError:
        pytest.skip("the font DejaVu Sans is not installed")
    x, width = float(text.attrib["x"]), font.getlength(text.text or "") * float(text.attrib["font-size"]) / 100
    left = {"middle": x - width / 2, "end": x - width, "start": x}[text.attrib["text-anchor"]]
    return left, left + width


@every
def test_equal_graphs_give_equal_drawings(name: str) -> None:
    graph, level = GRAPHS[name]
    assert draw_svg(graph, level) == draw_svg(Graph.from_json(graph.to_json()), level)


def test_special_characters_are_escaped() -> None:
    b = GraphBuilder()
    odd = "a<b>&\"c'"
    graph = b.build(out=b(Named(odd), b.input))
    root = ET.fromstring(draw_svg(graph, title='<script>&"'))
    texts = {text.text for text in root.iter(f"{SVG}text")}
    assert {odd, "out", '<script>&"'} <= texts


def test_equal_blocks_in_a_row_are_one_box() -> None:
    shown = picture(cifar_resnet(TASK, 9))
    repeats = {name: box.repeat for name, box in shown.boxes.items() if box.repeat > 1}
    assert repeats == {"stage1.block1": 9, "stage2.block2": 8, "stage3.block2": 8}


def test_without_a_level_a_network_with_names_is_readable() -> None:
    for graph in (
        sampled("nasnet", 1, 16, 2),
        cifar_resnet(TASK, 18),
        NETWORKS["efficientnet"](),
        NETWORKS["densenet"](),
    ):
        assert len(picture(graph).boxes) <= READABLE[0]
    assert len(picture(resnet50()).boxes) < 100  # 175 nodes whose names have no blocks


def test_blocks_that_would_be_in_a_cycle_fall_apart() -> None:
    b = GraphBuilder((3, 8, 8))
    with b.scope("block"):
        first, other = b(Relu(), b.input, name="first"), b(Relu(), b.input, name="other")
    middle = b(Relu(), first, name="middle")
    with b.scope("block"):
        last = b(Add(), middle, other, name="last")
    shown = picture(b.build(logits=last), 1)
    place = {name: i for i, name in enumerate(shown.boxes)}
    assert all(place[u] < place[v] for u, v in shown.edges)
    assert {"block.first", "block.last"} <= set(place)


def test_a_layout_is_straight_where_it_can_be() -> None:
    sizes = {name: (50.0 + 10 * i, 20.0) for i, name in enumerate("abcd")}
    found = layered(sizes, [("a", "b"), ("b", "c"), ("c", "d"), ("a", "d")])
    assert len({round(x, 3) for x, _ in found.centers.values()}) == 1
    assert all(y1 >= y0 for route in found.routes.values() for (_, y0), (_, y1) in itertools.pairwise(route))


def test_wrong_arguments_are_refused() -> None:
    for level in (0, -1, True, 1.5):
        with pytest.raises(GraphError, match="level"):
            draw_svg(squeeze_excite(), level)  # type: ignore[arg-type]


def test_a_graph_of_one_node_and_one_without_a_legend() -> None:
    b = GraphBuilder((3, 4, 4))
    graph = Graph((Node("image", b.build(x=b.input).nodes[0].op, ()),), (("logits", "image"),))
    assert draw_svg(graph).count('class="node"') == 2
    assert "merge" in draw_svg(squeeze_excite())
    assert "merge" not in draw_svg(squeeze_excite(), legend=False)
