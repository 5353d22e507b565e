"""Source code: a graph becomes one readable Python file that imports torch and nothing else."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from nas.errors import GraphError
from nas.graph.blocks import TAKEN, Block, Blocks, Item, Scope
from nas.graph.cost import cost, shapes_of
from nas.graph.expression import LINE, expression, wrap
from nas.graph.graph import Graph
from nas.graph.operators import Input
from nas.types import Shape

_POSITIONAL = {
    "Conv2d": ("in_channels", "out_channels", "kernel_size"),
    "ConvTranspose2d": ("in_channels", "out_channels", "kernel_size"),
    "Linear": ("in_features", "out_features"),
    "BatchNorm1d": ("num_features",),
    "BatchNorm2d": ("num_features",),
    "InstanceNorm2d": ("num_features",),
    "GroupNorm": ("num_groups", "num_channels"),
    "LayerNorm": ("normalized_shape",),
    "LocalResponseNorm": ("size",),
    "MaxPool2d": ("kernel_size",),
    "AvgPool2d": ("kernel_size",),
    "AdaptiveAvgPool2d": ("output_size",),
    "ChannelShuffle": ("groups",),
    "Dropout": ("p",),
    "ZeroPad2d": ("padding",),
    "ReflectionPad2d": ("padding",),
}
_NORM = {"eps": "1e-05", "momentum": "0.1", "affine": "True", "elementwise_affine": "True"}
_CONV = {"stride": "1", "padding": "0", "dilation": "1", "output_padding": "0", "groups": "1", "bias": "True"}
_POOL = {"padding": "0", "ceil_mode": "False", "count_include_pad": "True"}
DEFAULTS: dict[str, dict[str, str]] = {
    "Conv2d": _CONV,
    "ConvTranspose2d": _CONV,
    "Linear": {"bias": "True"},
    "BatchNorm1d": _NORM,
    "BatchNorm2d": _NORM,
    "InstanceNorm2d": {"eps": "1e-05", "affine": "False"},
    "GroupNorm": _NORM,
    "LayerNorm": _NORM,
    "LocalResponseNorm": {"alpha": "0.0001", "beta": "0.75", "k": "1.0"},
    "MaxPool2d": _POOL,
    "AvgPool2d": _POOL,
    "Flatten": {"start_dim": "1"},
}
"""Arguments of ``torch.nn`` layers that are left out where they have torch's default; tested against torch."""

_SHORT = ("x", "y", "z", "w", "v", "u")
_TENSOR = "torch.Tensor"


def source_code(graph: Graph, outputs: Sequence[str] = ("logits",), name: str = "Network") -> str:
    """Return a Python file with the class ``name`` that computes the wanted ``outputs`` of ``graph``.

    The file imports torch alone. Its class maps images (N, C, H, W) to one tensor, or to a tuple in the order asked
    for, and its ``state_dict`` has the keys of :func:`nas.graph.module.build_module`. Blocks that repeat are classes of
    their own. Equal graphs give equal text. Raises :class:`GraphError` for cells and for names that are no class name.
    """
    if not name.isidentifier() or name in TAKEN:
        raise GraphError(f"name must be a Python name that a class can have, found '{name}'")
    graph = graph.pruned(outputs)
    if len(graph.inputs) != 1 or not isinstance(graph.nodes[0].op, Input):
        raise GraphError("a network has exactly one input and begins with it")
    shapes = shapes_of(graph)
    blocks = Blocks(graph, shapes, name)
    parts = [_header(graph, name, outputs, shapes)]
    for block in blocks.all:
        parts.append(_block_class(blocks, block))
    parts.append(_network_class(blocks, graph, outputs, name, shapes))
    return "\n\n\n".join(parts) + "\n"


def _header(graph: Graph, name: str, outputs: Sequence[str], shapes: Mapping[str, Shape]) -> str:
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
    return '"""' + "\n".join(lines) + '\n"""\n\nimport torch\nfrom torch import nn'


def _shape(shape: Shape) -> str:
    return f"({', '.join(['N', *map(str, shape)])})"


def _network_class(blocks: Blocks, graph: Graph, outputs: Sequence[str], name: str, shapes: Mapping[str, Shape]) -> str:
    items = blocks.body(None)
    image = graph.inputs[0].name
    steps = [item for item in items if item.path != image]
    code = [f"class {name}(nn.Module):", '    """The whole network."""', ""]
    code += _constructor(blocks, steps, {})
    code += _forward(blocks, steps, {image: "image"}, tuple(graph.output(o) for o in outputs), shapes)
    return "\n".join(code)


def _block_class(blocks: Blocks, block: Block) -> str:
    scope = block.scopes[0]
    kinds = [node.op.kind for node in blocks.graph.nodes[scope.start : scope.stop]]
    shown = ", ".join(kinds if len(kinds) <= 8 else [*kinds[:8], "..."])
    summary = textwrap.shorten(f"{shown}; {len(block.scopes)} times, first as {scope.path}.", LINE - 10)
    items = blocks.body(scope)
    names = {v: "x" if len(scope.inputs) == 1 else f"x{i}" for i, v in enumerate(scope.inputs, 1)}
    code = [f"class {block.name}(nn.Module):", f'    """{summary}"""', ""]
    code += _constructor(blocks, items, block.arguments)
    code += _forward(blocks, items, names, scope.outputs, {})
    return "\n".join(code)


def _constructor(blocks: Blocks, items: Sequence[Item], arguments: Mapping[str, tuple[str, ...]]) -> list[str]:
    """Return the lines of ``__init__``; an argument of the class stands wherever values vary as it does."""
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
    own = blocks.built_with(item)
    varying = _varying(blocks, item, by_values)
    code = {name: varying.get(name, value) for name, value in own.items()}
    if item.scope is not None:
        return f"{blocks.of[item.scope.path].name}({', '.join(code.values())})"
    assert item.node is not None
    layer = blocks.layers[item.node.name]
    assert layer is not None
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
    block = blocks.of[prefix]
    rows = [blocks.built_with(_sibling(blocks, scope, item)) for scope in block.scopes]
    columns = {argument: tuple(row[argument] for row in rows) for argument in rows[0]}
    return {argument: by_values[values] for argument, values in columns.items() if values in by_values}


def _sibling(blocks: Blocks, scope: Scope, item: Item) -> Item:
    """Return the item of ``scope`` that stands where ``item`` stands in another scope of the class."""
    path = f"{scope.path}.{item.path}"
    if item.scope is not None:
        block = blocks.of[path]
        return item._replace(scope=block.scopes[block.index[path]])
    return item._replace(node=next(n for n in blocks.graph.nodes[scope.start : scope.stop] if n.name == path))


class _Tree:
    """The tree of modules under one class: containers are plain modules, or lists where children are 0, 1, 2, ..."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._children: dict[str, list[str]] = {}
        self._made = {""}
        for path in paths:
            segments = path.split(".")
            for i, segment in enumerate(segments):
                children = self._children.setdefault(".".join(segments[:i]), [])
                if segment not in children:
                    children.append(segment)

    def _is_list(self, path: str) -> bool:
        children = self._children[path]
        return path != "" and children == [str(i) for i in range(len(children))]

    def access(self, path: str) -> str:
        """Return the code that reaches the module at ``path``."""
        code, parent = "self", ""
        for segment in path.split(".") if path else ():
            if self._is_list(parent):
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
                statements.append(self.attach(outer, f"nn.{'ModuleList' if self._is_list(outer) else 'Module'}()"))
        return statements

    def attach(self, path: str, module: str) -> str:
        """Return the statement that puts ``module`` at ``path``."""
        parent, _, segment = path.rpartition(".")
        owner = self.access(parent)
        if self._is_list(parent):
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
    variables = _Locals(items, names, results)
    body: list[str] = []
    before: Shape | None = None
    for i, item in enumerate(items):
        values = [variables.name[v] for v in item.inputs]
        if item.node is None:
            code = f"{tree.access(item.path)}({', '.join(values)})"
        else:
            layer = tree.access(item.path) if _is_built(blocks, item) else None
            code = expression(item.node.op, layer, values)
        lines = wrap(f"{', '.join(variables.assign(i, item))} = {code}", 8)
        shape = shapes.get(item.outputs[-1])
        remark = f"  # {_shape(shape)}" if shape and shape != before else ""
        before = shape
        body += [f"{lines[0]}{remark}"] if len(lines) == 1 and len(lines[0] + remark) <= LINE else lines
    body += wrap(f"return {', '.join(variables.name[v] for v in results)}", 8)
    returns = _TENSOR if len(results) == 1 else f"tuple[{', '.join([_TENSOR] * len(results))}]"
    arguments = "".join(f", {name}: {_TENSOR}" for name in names.values())
    return [*wrap(f"def forward(self{arguments}) -> {returns}:", 4), *body]


class _Locals:
    """Names of local variables: short ones, used again when their value is needed no more."""

    def __init__(self, items: Sequence[Item], names: Mapping[str, str], results: tuple[str, ...]) -> None:
        self.name = dict(names)
        self._last = {value: i for i, item in enumerate(items) for value in item.inputs}
        self._last.update(dict.fromkeys(results, len(items)))
        self._used = set(names.values())

    def assign(self, index: int, item: Item) -> list[str]:
        """Name the outputs of step ``index``; the names of inputs that end here are free again."""
        dying = [self.name[v] for v in dict.fromkeys(item.inputs) if self._last[v] == index]
        self._used.difference_update(dying)
        chosen = []
        for value in item.outputs:
            name = self._wish(item) or next((n for n in dying if n in _SHORT and n not in self._used), None)
            self.name[value] = name = name or self._short()
            self._used.add(name)
            chosen.append(name)
        return chosen

    def _wish(self, item: Item) -> str | None:
        """Return the name that a merge was given by hand: no layer would show it otherwise."""
        if item.node is None or item.node.op.kind not in ("add", "concat", "multiply"):
            return None
        *_, segment = item.path.split(".")
        name = item.path.replace(".", "_")
        given = segment.rstrip("0123456789") != item.node.op.kind
        fine = name.isidentifier() and name not in TAKEN and name not in self._used
        return name if given and fine and len(name) <= 16 else None

    def _short(self) -> str:
        spare = next((n for n in _SHORT if n not in self._used), None)
        number = 1
        while spare is None:
            spare = None if f"t{number}" in self._used else f"t{number}"
            number += 1
        return spare
