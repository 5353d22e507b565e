"""Source code: a graph becomes one readable Python file that imports torch and nothing else."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush

from nas.core.values import Shape
from nas.errors import GraphError
from nas.graph.analysis.cost import cost, shapes_of
from nas.graph.graph import Graph
from nas.graph.lowering.expressions import LINE, expression, wrap
from nas.graph.lowering.repeated_blocks import TAKEN, Blocks, Item
from nas.graph.primitives.structure import IMAGE, Input

_POSITIONAL = {
    **dict.fromkeys(("Conv2d", "ConvTranspose2d"), ("in_channels", "out_channels", "kernel_size")),
    "Linear": ("in_features", "out_features"),
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "InstanceNorm2d"), ("num_features",)),
    "GroupNorm": ("num_groups", "num_channels"),
    "LayerNorm": ("normalized_shape",),
    "LocalResponseNorm": ("size",),
    **dict.fromkeys(("MaxPool2d", "AvgPool2d"), ("kernel_size",)),
    "AdaptiveAvgPool2d": ("output_size",),
    "ChannelShuffle": ("groups",),
    "Dropout": ("p",),
    **dict.fromkeys(("ZeroPad2d", "ReflectionPad2d"), ("padding",)),
}
_NORM = {"eps": "1e-05", "momentum": "0.1", "affine": "True", "elementwise_affine": "True"}
_CONV = {"stride": "1", "padding": "0", "dilation": "1", "output_padding": "0", "groups": "1", "bias": "True"}
_POOL = {"padding": "0", "ceil_mode": "False", "count_include_pad": "True"}
DEFAULTS: dict[str, dict[str, str]] = {
    **dict.fromkeys(("Conv2d", "ConvTranspose2d"), _CONV),
    **dict.fromkeys(("BatchNorm1d", "BatchNorm2d", "GroupNorm", "LayerNorm"), _NORM),
    **dict.fromkeys(("MaxPool2d", "AvgPool2d"), _POOL),
    "Linear": {"bias": "True"},
    "InstanceNorm2d": {"eps": "1e-05", "affine": "False"},
    "LocalResponseNorm": {"alpha": "0.0001", "beta": "0.75", "k": "1.0"},
    "Flatten": {"start_dim": "1"},
}
"""Arguments of ``torch.nn`` layers that are left out where they have torch's default; tested against torch."""

_SHORT = ("x", "y", "z", "w", "v", "u")
_TENSOR = "torch.Tensor"


def source_code(graph: Graph, outputs: Sequence[str] = ("logits",), name: str = "Network") -> str:
    """Return a Python file with the class ``name`` that computes the wanted ``outputs`` of ``graph``.

    The file imports torch alone. Its class maps images (N, C, H, W) to one tensor, or to a tuple in the order asked
    for, and its ``state_dict`` has the keys of :func:`nas.graph.lowering.torch_module.build_module`. Blocks that repeat
    are classes of their own. Equal graphs give equal text. Raises :class:`GraphError` for cells and for names that are
    no class name.
    """
    if not name.isidentifier() or name in TAKEN:
        raise GraphError(f"name must be a Python name that a class can have, found '{name}'")
    graph = graph.pruned(outputs)
    if len(graph.inputs) != 1 or not isinstance(graph.nodes[0].op, Input):
        raise GraphError("a network has exactly one input and begins with it")
    shapes = shapes_of(graph)
    blocks = Blocks(graph, shapes, name)

    # the file's docstring and imports
    total = cost(graph)
    shape = ", ".join(map(str, graph.input_shape))
    results = ", ".join(f"{o} {_shape(shapes[graph.output(o)])}" for o in outputs)
    text = [
        f"{name}: a network of {total.params:,} parameters and {total.macs:,} multiply-accumulates an image.",
        "",
        f"It maps images (N, {shape}) to {results}.",
        "Weights are loaded by load_state_dict; call eval() before inference.",
    ]
    lines = [line for paragraph in text for line in textwrap.wrap(paragraph, LINE - 4) or [""]]
    parts = ['"""' + "\n".join(lines) + '\n"""\n\nimport torch\nfrom torch import nn']

    # a class for every block that repeats, the inner ones first; the first of its scopes is written
    for block in blocks.all:
        scope = block.scopes[0]
        kinds = [node.op.kind for node in graph.nodes[scope.start : scope.stop]]
        kinds = kinds if len(kinds) <= 8 else [*kinds[:8], "..."]
        summary = f"{', '.join(kinds)}; {len(block.scopes)} times, first as {scope.path}."
        items = blocks.body(scope)
        names = {v: "x" if len(scope.inputs) == 1 else f"x{i}" for i, v in enumerate(scope.inputs, 1)}
        code = [f"class {block.name}(nn.Module):", f'    """{textwrap.shorten(summary, LINE - 10)}"""', ""]
        code += _constructor(blocks, items, block.arguments)
        code += _forward(blocks, items, names, scope.outputs, {})
        parts.append("\n".join(code))

    # the class of the network, whose forward has remarks where the shape changes
    image = graph.inputs[0].name
    items = [item for item in blocks.body(None) if item.path != image]
    code = [f"class {name}(nn.Module):", '    """The whole network."""', ""]
    code += _constructor(blocks, items, {})
    code += _forward(blocks, items, {image: IMAGE}, tuple(graph.output(o) for o in outputs), shapes)
    parts.append("\n".join(code))
    return "\n\n\n".join(parts) + "\n"


def _shape(shape: Shape) -> str:
    return f"({', '.join(['N', *map(str, shape)])})"


def _constructor(blocks: Blocks, items: Sequence[Item], arguments: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the lines of ``__init__``; an argument of the class is used wherever values vary as it does."""
    tree = _Tree(item.path for item in items if _is_built(blocks, item))
    by_values = {values: name for name, values in arguments.items()}
    body = ["super().__init__()"]
    for item in items:
        if _is_built(blocks, item):
            body += tree.containers(item.path)
            body.append(tree.attach(item.path, _build(blocks, item, by_values)))
    lines = wrap(f"def __init__(self{''.join(f', {a}' for a in arguments)}):", 4)
    return [*lines, *(line for statement in body for line in wrap(statement, 8)), ""]


def _is_built(blocks: Blocks, item: Item) -> bool:
    return item.node is None or blocks.layers[item.node.name] is not None


def _build(blocks: Blocks, item: Item, by_values: Mapping[tuple[str, ...], str]) -> str:
    """Return the call that builds an item's layer or block."""
    varying = _varying(blocks, item, by_values)
    code = blocks.built_with(item) | varying
    if item.scope is not None:
        return f"{blocks.of[item.scope.path].name}({', '.join(code.values())})"
    assert item.node is not None
    layer = blocks.layers[item.node.name]
    assert layer is not None
    # what everybody knows by its place comes first; the rest is named, and left out where it is torch's default
    first = _POSITIONAL.get(layer.name, ())
    defaults = DEFAULTS.get(layer.name, {})
    parts = [code[name] for name in first if name in code]
    parts += [f"{n}={c}" for n, c in code.items() if n not in first and (n in varying or defaults.get(n) != c)]
    return f"nn.{layer.name}({', '.join(parts)})"


def _varying(blocks: Blocks, item: Item, by_values: Mapping[tuple[str, ...], str]) -> dict[str, str]:
    """Return which of an item's arguments are arguments of the class around it, and how they are called there."""
    if not by_values:
        return {}
    name = item.node.name if item.node is not None else item.scope.path if item.scope is not None else ""
    prefix = name[: len(name) - len(item.path) - 1]

    # the item at the same place in every scope of the class, and what each of them is built with
    rows = []
    for scope in blocks.of[prefix].scopes:
        path = f"{scope.path}.{item.path}"
        if item.scope is not None:
            inner = blocks.of[path]
            sibling = item._replace(scope=inner.scopes[inner.index[path]])
        else:
            nodes = blocks.graph.nodes[scope.start : scope.stop]
            sibling = item._replace(node=next(n for n in nodes if n.name == path))
        rows.append(blocks.built_with(sibling))

    # a column of values that varies as an argument of the class does is that argument
    columns = {argument: tuple(row[argument] for row in rows) for argument in rows[0]}
    return {argument: by_values[values] for argument, values in columns.items() if values in by_values}


class _Tree:
    """The tree of modules under one class: containers are plain modules, or lists where children are 0, 1, 2, ..."""

    def __init__(self, paths: Iterable[str]) -> None:
        children: dict[str, dict[str, None]] = {}
        self._made = {""}
        for path in paths:
            segments = path.split(".")
            for i, segment in enumerate(segments):
                children.setdefault(".".join(segments[:i]), {})[segment] = None
        self._lists = {p for p, found in children.items() if p and list(found) == list(map(str, range(len(found))))}

    def access(self, path: str) -> str:
        """Return the code that reaches the module at ``path``."""
        code, parent = "self", ""
        for segment in path.split(".") if path else ():
            if parent in self._lists:
                code = f"{code}[{segment}]"
            else:
                code = f"{code}.{segment}" if segment.isidentifier() else f'getattr({code}, "{segment}")'
            parent = f"{parent}.{segment}" if parent else segment
        return code

    def containers(self, path: str) -> list[str]:
        """Return the statements that make the containers around ``path`` that are not made yet."""
        segments, statements = path.split("."), []
        for length in range(1, len(segments)):
            outer = ".".join(segments[:length])
            if outer not in self._made:
                self._made.add(outer)
                statements.append(self.attach(outer, f"nn.{'ModuleList' if outer in self._lists else 'Module'}()"))
        return statements

    def attach(self, path: str, module: str) -> str:
        """Return the statement that puts ``module`` at ``path``."""
        parent, _, segment = path.rpartition(".")
        owner = self.access(parent)
        if parent in self._lists:
            return f"{owner}.append({module})"
        if segment.isidentifier():
            return f"{owner}.{segment} = {module}"
        return f'{owner}.add_module("{segment}", {module})'


def _forward(
    blocks: Blocks,
    items: Sequence[Item],
    names: Mapping[str, str],
    results: tuple[str, ...],
    shapes: Mapping[str, Shape],
) -> list[str]:
    tree = _Tree(item.path for item in items if _is_built(blocks, item))
    # local variables have short names, which are used again when their value is needed no more
    variable = dict(names)
    used = set(names.values())
    free: list[int] = []  # numbers of names t1, t2, ... that were used and are not any more, the smallest first
    highest = 0
    last = {value: i for i, item in enumerate(items) for value in item.inputs} | dict.fromkeys(results, len(items))
    body: list[str] = []
    before: Shape | None = None
    for i, item in enumerate(items):
        values = [variable[v] for v in item.inputs]
        if item.node is None:
            code = f"{tree.access(item.path)}({', '.join(values)})"
        else:
            layer = tree.access(item.path) if _is_built(blocks, item) else None
            code = expression(item.node.op, layer, values)
        ending = [variable[v] for v in dict.fromkeys(item.inputs) if last[v] == i]
        used.difference_update(ending)
        for name in ending:
            if name[0] == "t" and name[1:].isdecimal():
                heappush(free, int(name[1:]))
        for value in item.outputs:
            # the name that a merge was given by hand, as no layer would show it otherwise; else that of an input that
            # ends here (x = relu(x)), else the next free one
            given = []
            if item.node is not None and item.node.op.kind in ("add", "concat", "multiply"):
                name = item.path.replace(".", "_")
                by_hand = item.path.rpartition(".")[2].rstrip("0123456789") != item.node.op.kind
                given = [name] if by_hand and len(name) <= 16 and name.isidentifier() and name not in TAKEN else []
            again = (n for n in ending if n in _SHORT)
            short = next((n for n in itertools.chain(given, again, _SHORT) if n not in used), "")
            while not short:
                highest += not free
                number = heappop(free) if free else highest
                short = f"t{number}" if f"t{number}" not in used else ""
            variable[value] = short
            used.add(short)
        lines = wrap(f"{', '.join(variable[v] for v in item.outputs)} = {code}", 8)
        # the remark is left out where the line would be too long with it
        shape = shapes.get(item.outputs[-1])
        remark = f"  # {_shape(shape)}" if shape and shape != before else ""
        before = shape
        body += [f"{lines[0]}{remark}"] if len(lines) == 1 and len(lines[0] + remark) <= LINE else lines
    body += wrap(f"return {', '.join(variable[v] for v in results)}", 8)
    returns = _TENSOR if len(results) == 1 else f"tuple[{', '.join([_TENSOR] * len(results))}]"
    arguments = "".join(f", {name}: {_TENSOR}" for name in names.values())
    return [*wrap(f"def forward(self{arguments}) -> {returns}:", 4), *body]
