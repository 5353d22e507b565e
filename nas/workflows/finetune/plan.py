"""Fine-tuning: which layers keep the weights they come with, where a new classifier goes, and at what rate to learn."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from itertools import accumulate

from nas.errors import ConfigError, unknown
from nas.graph import Flatten, GlobalAvgPool, Graph, Linear, Node
from nas.graph.analysis.cost import shapes_of
from nas.models.weight_names import classifier_of, shapes_of_state

LITTLE = 200
"""Training images of a class below which data counts as little: between the usual small sets (Caltech-101 with 30,
Oxford pets with 100) and ImageNet's 1,300. A rule of ours; the lectures give no number."""
FACTOR = 1.0
"""What the learning rate is multiplied by for weights that were trained before. The lectures advise a lower rate; as
measured (``benchmarks/RESULTS.md``, "Fine-tuning against training from scratch"), a tenth loses 4.1 points to the full
rate with 500 images and 7.2 with 1,500, all stages trained for 5 epochs."""
TOP = "top"
"""The stage of a probe on the features that the network's own classifier gets."""

TABLE = {
    ("little", "similar"): "a linear probe on the top features",
    ("little", "different"): "a linear probe on an earlier stage, whose features are less particular to their task",
    ("much", "similar"): "the last stage is fine-tuned",
    ("much", "different"): "all stages are fine-tuned",
}
"""The lectures' table: how much data there is and how near its task is, and what follows."""


@dataclass(frozen=True)
class FinetuneOptions:
    """What the user says of data and task, and what to do; None: as :data:`TABLE` has it."""

    data: str | None = None
    """How much there is: ``little`` or ``much``."""
    task: str | None = None
    """How near it is to that of the weights: ``similar`` or ``different``."""
    freeze: str | None = None
    """A stage or any dotted name, up to and including which all layers are frozen."""
    probe: str | None = None
    """A stage after which a linear classifier is trained, and nothing else."""
    factor: float | None = None
    """What the recipe's learning rate is multiplied by for weights that were given."""

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
class FinetunePlan:
    """What is trained, and how."""

    graph: Graph
    frozen: tuple[str, ...]
    """Dotted names; the layers below them keep their weights."""
    factor: float
    """What the recipe's learning rate is multiplied by for given weights that are trained."""
    reason: str
    """What was chosen and why, in a line."""


def plan(graph: Graph, images_per_class: float, asked: FinetuneOptions) -> FinetunePlan:
    """Return what :data:`TABLE` or the user's options make of ``graph``, whose classifier has the new classes."""
    freeze, probe = asked.freeze, asked.probe
    if probe is not None:
        features = "the top features" if probe == TOP else f"the features of '{probe}'"
        reason = f"a linear probe on {features}, as asked"
    elif freeze is not None:
        reason = f"frozen up to and including '{freeze}', as asked"
    else:
        # how much data, how near a task, and who says so
        data = asked.data or ("little" if images_per_class < LITTLE else "much")
        least = "under" if data == "little" else "at least"
        counted = "as you say" if asked.data else f"{images_per_class:.0f} training images a class, {least} {LITTLE}"
        task = asked.task or "similar"
        near = "as you say" if asked.task else "taken for granted, --task different says otherwise"
        reason = f"{data} data ({counted}), a {task} task ({near}): {TABLE[data, task]}"
        # the row of the table; the middle two depend on where the resolution falls
        if (data, task) == ("little", "similar"):
            probe = TOP
        elif data == "little":
            probe = earlier_stage(graph)
            reason += f" ('{probe}')"
        elif task == "similar":
            freeze = earlier_stage(graph)
            reason += f" (frozen up to '{freeze}')"
    factor = FACTOR if asked.factor is None else asked.factor
    if probe is not None:
        return FinetunePlan(*probed(graph, probe), factor, reason)
    return FinetunePlan(graph, () if freeze is None else frozen_until(graph, freeze), factor, reason)


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
    ends = {stage: shapes[_within(graph, stage, "--probe")[-1]] for stage in names}
    # what has no height and width any more is behind the pool
    areas = {stage: math.prod(shape[1:]) for stage, shape in ends.items() if len(shape) == 3}
    if not areas:
        raise ConfigError("the network has no stages of image features; name layers with --freeze or --probe")
    last = areas[list(areas)[-1]]
    higher = [stage for stage, area in areas.items() if area > last]
    return higher[-1] if higher else list(areas)[max(0, len(areas) - 2)]


def probed(graph: Graph, stage: str) -> tuple[Graph, tuple[str, ...]]:
    """Return a network with a linear classifier on the averaged features of ``stage``, and the names of what is frozen.

    On :data:`TOP` it is the network with its own classifier. Everything but the classifier is frozen.
    """
    graph, last = graph.pruned(("logits",)), classifier_of(graph)
    if stage == TOP:
        return graph, _shortest(graph, [name for name in shapes_of_state(graph) if name != last])
    end, shapes = _within(graph, stage, "--probe")[-1], shapes_of(graph)
    if last in _leading_to(graph, [end]):
        raise ConfigError(f"--probe '{stage}': these are no features but the classifier; --probe {TOP} replaces it")
    # the features are averaged over the image, whatever the network does behind them
    taken, root = {node.name.split(".")[0] for node in graph.nodes}, "probe"
    while root in taken:
        root += "_"
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
    frozen = [name for name in shapes_of_state(graph) if name in before]
    if classifier_of(graph) in frozen:
        raise ConfigError(f"--freeze '{stage}': nothing would be left to train, as it has the classifier in it")
    return _shortest(graph, frozen)


def _within(graph: Graph, name: str, flag: str) -> list[str]:
    found = [node.name for node in graph.nodes if f"{node.name}.".startswith(f"{name}.")]
    if not found or found == [graph.inputs[0].name]:
        below = [part for node in graph.nodes if node.inputs for part in _parts(node.name)]
        known = dict.fromkeys([*stages(graph), *below])
        raise ConfigError(f"{flag}: {unknown('stage', name, [*known])}")
    return found


def _parts(name: str) -> list[str]:
    """Return a dotted name's beginnings, itself the last."""
    return list(accumulate(name.split("."), "{}.{}".format))


def _leading_to(graph: Graph, ends: Collection[str]) -> set[str]:
    found = set(ends)
    for node in reversed(graph.nodes):  # inputs come before their users
        if node.name in found:
            found.update(node.inputs)
    return found


def _shortest(graph: Graph, frozen: Collection[str]) -> tuple[str, ...]:
    """Return as few dotted names as cover the layers ``frozen`` and no other layer with weights."""
    free = {part for name in shapes_of_state(graph) if name not in frozen for part in _parts(name)}
    return tuple(dict.fromkeys(next(part for part in _parts(name) if part not in free) for name in frozen))


def trained_parameters(plan: FinetunePlan) -> tuple[int, int]:
    """Return how many parameters are trained, and how many there are."""
    found = {
        layer: sum(math.prod(shape) for own, shape in shapes.items() if own in ("weight", "bias"))
        for layer, shapes in shapes_of_state(plan.graph).items()
    }
    free = [layer for layer in found if not any(f"{layer}.".startswith(f"{name}.") for name in plan.frozen)]
    return sum(found[layer] for layer in free), sum(found.values())
