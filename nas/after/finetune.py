"""Fine-tuning: which layers keep the weights they come with, where a new classifier goes, and at what rate to learn."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

from nas.after.names import classifier_of, shapes_of_state
from nas.errors import ConfigError, unknown
from nas.graph import Flatten, GlobalAvgPool, Graph, Linear, Node
from nas.graph.convolutions import Conv
from nas.graph.cost import shapes_of

LITTLE = 200
"""Training images of a class below which data counts as little: between the usual small sets (Caltech-101 with 30,
Oxford pets with 100) and ImageNet's 1,300. A rule of ours; the lectures give no number."""
LOWER = 0.1
"""What the learning rate is multiplied by for weights that were trained before; new ones learn at the full rate."""
TOP = "top"
"""The stage of a probe on the features that the network's own classifier gets."""

TABLE = {
    ("little", "similar"): "a linear probe on the top features",
    ("little", "different"): "a linear probe on an earlier stage, whose features are less particular to their task",
    ("much", "similar"): "the last stage is fine-tuned at a lower rate",
    ("much", "different"): "all stages are fine-tuned at a lower rate",
}
"""The lectures' table: how much data there is and how near its task is, and what follows."""


@dataclass(frozen=True)
class Wish:
    """What the user says of data and task, and what to do; None: as :data:`TABLE` has it.

    ``data``: ``little`` or ``much``; ``task``: ``similar`` or ``different``. ``freeze``: a stage or any dotted name, up
    to and including which all layers are frozen. ``probe``: a stage after which a linear classifier is trained and
    nothing else. ``factor``: what the recipe's learning rate is multiplied by for weights that were given.
    """

    data: str | None = None
    task: str | None = None
    freeze: str | None = None
    probe: str | None = None
    factor: float | None = None

    def __post_init__(self) -> None:
        for name, known in (("data", ("little", "much")), ("task", ("similar", "different"))):
            value = getattr(self, name)
            if value is not None and value not in known:
                raise ConfigError(f"--{name}: {unknown('answer', value, known)}")
        if self.freeze is not None and self.probe is not None:
            raise ConfigError("--freeze and --probe exclude each other: a probe freezes all but its classifier")
        if self.factor is not None and not (0 < self.factor < math.inf):
            raise ConfigError(f"--lr-factor must be a number above 0, found {self.factor:g}")


@dataclass(frozen=True)
class Plan:
    """What is trained: ``graph``, whose layers below the names ``frozen`` keep their weights.

    Other given weights learn at ``factor`` times the recipe's rate. ``reason`` says in a line what was chosen and why.
    """

    graph: Graph
    frozen: tuple[str, ...]
    factor: float
    reason: str


def adapted(graph: Graph, shape: Sequence[int], classes: int) -> Graph:
    """Return the network for images of ``shape`` (C, H, W), with a classifier of ``classes``, without other outputs."""
    graph = graph.pruned(("logits",)).resized(shape)
    name = classifier_of(graph)
    nodes = tuple(
        node._replace(op=replace(node.op, out=classes))
        if node.name == name and isinstance(node.op, Linear | Conv)
        else node
        for node in graph.nodes
    )
    found = Graph(nodes, graph.outputs)
    if shapes_of(found)[found.output("logits")] != (classes,):
        raise ConfigError(
            f"layer '{name}' does not decide the network's number of classes; its head cannot be replaced"
        )
    return found


def plan(graph: Graph, images_per_class: float, wish: Wish) -> Plan:
    """Return what :data:`TABLE` or the user's wish makes of ``graph``, whose classifier has the new classes."""
    reason, freeze, probe = _chosen(graph, images_per_class, wish)
    if probe is not None:
        built, frozen = probed(graph, probe)
        return Plan(built, frozen, 1.0 if wish.factor is None else wish.factor, reason)
    frozen = () if freeze is None else frozen_until(graph, freeze)
    return Plan(graph, frozen, LOWER if wish.factor is None else wish.factor, reason)


def _chosen(graph: Graph, images_per_class: float, wish: Wish) -> tuple[str, str | None, str | None]:
    """Return the reason, the stage to freeze up to and the stage to probe."""
    if wish.probe is not None:
        return f"a linear probe on {_said(wish.probe)}, as asked", None, wish.probe
    if wish.freeze is not None:
        return f"frozen up to and including '{wish.freeze}', as asked", wish.freeze, None
    data = wish.data or ("little" if images_per_class < LITTLE else "much")
    counted = "as you say"
    if wish.data is None:
        counted = (
            f"{images_per_class:.0f} training images a class, {'under' if data == 'little' else 'at least'} {LITTLE}"
        )
    task = wish.task or "similar"
    said = "as you say" if wish.task else "taken for granted, --task different says otherwise"
    reason = f"{data} data ({counted}), a {task} task ({said}): {TABLE[data, task]}"
    if (data, task) == ("little", "similar"):
        return reason, None, TOP
    if (data, task) == ("much", "different"):
        return reason, None, None
    stage = earlier_stage(graph)
    if data == "little":
        return f"{reason} ('{stage}')", None, stage
    return f"{reason} (frozen up to '{stage}')", stage, None


def _said(stage: str) -> str:
    return "the top features" if stage == TOP else f"the features of '{stage}'"


def stages(graph: Graph) -> list[str]:
    """Return the stages of a network from first to last: the first parts of its layers' names, without the head's.

    The head is the classifier and, where it shares its first part, all layers below that.
    """
    own = [name.split(".")[0] for name in shapes_of_state(graph.pruned(("logits",)))]
    head = classifier_of(graph).split(".")[0]
    return list(dict.fromkeys(name for name in own if name != head))


def earlier_stage(graph: Graph) -> str:
    """Return the last stage whose features have a higher resolution than the last one's, else the last but one."""
    names, shapes = stages(graph), shapes_of(graph)
    ends = {stage: shapes[end_of(graph, stage)] for stage in names}
    areas = {stage: math.prod(shape[1:]) for stage, shape in ends.items() if len(shape) == 3}
    if not areas:
        raise ConfigError("the network has no stages of image features; name layers with --freeze or --probe")
    last = areas[list(areas)[-1]]
    higher = [stage for stage, area in areas.items() if area > last]
    return higher[-1] if higher else list(areas)[max(0, len(areas) - 2)]


def end_of(graph: Graph, stage: str) -> str:
    """Return the last node of a stage or any dotted name; an unknown one raises :class:`ConfigError`."""
    return _within(graph, stage, "--probe")[-1]


def probed(graph: Graph, stage: str) -> tuple[Graph, tuple[str, ...]]:
    """Return a network with a linear classifier on the averaged features of ``stage``, and the names of what is frozen.

    On :data:`TOP` it is the network with its own classifier. Everything but the classifier is frozen.
    """
    graph, last = graph.pruned(("logits",)), classifier_of(graph)
    if stage == TOP:
        return graph, _shortest(graph, [name for name in shapes_of_state(graph) if name != last])
    end, shapes = end_of(graph, stage), shapes_of(graph)
    if last in _leading_to(graph, [end]):
        raise ConfigError(f"--probe '{stage}': these are no features but the classifier; --probe {TOP} replaces it")
    root = _free(graph, "probe")
    nodes = [*graph.nodes]
    if len(shapes[end]) == 3:
        nodes += [Node(f"{root}.pool", GlobalAvgPool(), (end,)), Node(f"{root}.flatten", Flatten(), (f"{root}.pool",))]
        end = f"{root}.flatten"
    classes = shapes[graph.output("logits")][0]
    nodes.append(Node(f"{root}.classifier", Linear(classes), (end,)))
    built = Graph(tuple(nodes), (("logits", f"{root}.classifier"),)).pruned(("logits",))
    return built, _shortest(built, [name for name in shapes_of_state(built) if not name.startswith(f"{root}.")])


def frozen_until(graph: Graph, stage: str) -> tuple[str, ...]:
    """Return the names of what is frozen: ``stage``, or any dotted name, and all that leads to it."""
    graph = graph.pruned(("logits",))
    before = _leading_to(graph, _within(graph, stage, "--freeze"))
    layers = list(shapes_of_state(graph))
    frozen = [name for name in layers if name in before]
    if classifier_of(graph) in frozen:
        raise ConfigError(f"--freeze '{stage}': nothing would be left to train, as it has the classifier in it")
    return _shortest(graph, frozen)


def _within(graph: Graph, name: str, flag: str) -> list[str]:
    found = [node.name for node in graph.nodes if f"{node.name}.".startswith(f"{name}.")]
    if not found or found == [graph.inputs[0].name]:
        known = dict.fromkeys([*stages(graph), *_names(node.name for node in graph.nodes if node.inputs)])
        raise ConfigError(f"{flag}: {unknown('stage', name, [*known])}")
    return found


def _names(nodes: Iterator[str]) -> Iterator[str]:
    for node in nodes:
        parts = node.split(".")
        yield from (".".join(parts[: i + 1]) for i in range(len(parts)))


def _leading_to(graph: Graph, ends: Collection[str]) -> set[str]:
    found = set(ends)
    for node in reversed(graph.nodes):
        if node.name in found:
            found.update(node.inputs)
    return found


def _shortest(graph: Graph, frozen: Collection[str]) -> tuple[str, ...]:
    """Return as few dotted names as cover the layers ``frozen`` and no other layer with weights."""
    free = {part for name in shapes_of_state(graph) if name not in frozen for part in _names(iter([name]))}
    return tuple(dict.fromkeys(next(part for part in _names(iter([name])) if part not in free) for name in frozen))


def _free(graph: Graph, name: str) -> str:
    taken = {node.name.split(".")[0] for node in graph.nodes}
    return next(found for found in (name + "_" * i for i in range(len(taken) + 1)) if found not in taken)


def trained_parameters(plan: Plan) -> tuple[int, int]:
    """Return how many parameters are trained, and how many there are."""
    found = {
        layer: sum(math.prod(shape) for own, shape in shapes.items() if own in ("weight", "bias"))
        for layer, shapes in shapes_of_state(plan.graph).items()
    }
    free = [layer for layer in found if not any(f"{layer}.".startswith(f"{name}.") for name in plan.frozen)]
    return sum(found[layer] for layer in free), sum(found.values())
