"""Any model at any size, by one line of Python: as a graph, or as a torch module with weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from nas.core.files import is_file
from nas.core.plugins import load_built_in
from nas.errors import ConfigError
from nas.graph import Graph, Linear
from nas.graph.analysis.cost import shapes_of
from nas.graph.primitives.layers import Conv
from nas.models.resolve import RESULTS, Model, SizeOptions, resolve
from nas.models.weight_names import classifier_of, matched
from nas.runs.run_folder import find_run, read_best
from nas.runs.trials import find_trial
from nas.space.genotypes import GENOTYPES
from nas.space.networks import NETWORKS
from nas.training.weights import read_tensors
from nas.types import Architecture

if TYPE_CHECKING:
    from torch import nn


def list_models(pattern: str = "*") -> list[str]:
    """Return the names of networks and genotypes that match ``pattern``, as file names do: ``resnet*``."""
    load_built_in()
    return [name for name in sorted([*NETWORKS, *GENOTYPES]) if fnmatchcase(name, pattern)]


def create_graph(
    model: str | Path | Architecture,
    num_classes: int | None = None,
    input_shape: Sequence[int] | None = None,
    width: int | None = None,
    depth: int | None = None,
    aux: bool = False,
    *,
    plugins: Sequence[str] = (),
    results: str | Path = RESULTS,
) -> Graph:
    """Return the network of ``model`` for images of ``input_shape`` (C, H, W) and ``num_classes``.

    ``model`` is a run, a trial of one (``RUN:12``, ``RUN:best``, ``RUN:knee``), a network, a genotype, a file of an
    architecture or a graph, or an architecture; for the order see :func:`nas.models.resolve.resolve`. None is the
    model's own. A run is its network as it was trained, with another classifier where the classes are others, unless
    another ``width`` or ``depth`` is asked for. With ``aux`` it has auxiliary heads. What cannot be built so raises
    :class:`ConfigError` or :class:`GraphError`.
    """
    size = SizeOptions(None if input_shape is None else tuple(input_shape), num_classes, width, depth, aux)
    if isinstance(model, Architecture):
        load_built_in()
        found = Model("architecture", model.space, architecture=model)
    else:
        # a path is a file or a folder, also where a network has its name
        text = model if isinstance(model, str) or model.is_absolute() else f"./{model}"
        found = resolve(str(text), plugins=plugins, results=Path(results))
    fixed = found.fixed
    if fixed is None or aux or width is not None or depth is not None:
        return found.at(size).graph
    if input_shape is None and num_classes is None:
        return fixed
    classes = num_classes or shapes_of(fixed)[fixed.outputs[0][1]][0]
    return adapted(fixed, input_shape or fixed.input_shape, classes)


def create_model(
    model: str | Path | Architecture,
    num_classes: int | None = None,
    input_shape: Sequence[int] | None = None,
    width: int | None = None,
    depth: int | None = None,
    aux: bool = False,
    *,
    weights: str | Path | Literal[True] | None = None,
    plugins: Sequence[str] = (),
    results: str | Path = RESULTS,
) -> nn.Module:
    """Return :func:`create_graph`'s network as a torch module, which returns logits (N, classes).

    With ``aux`` it returns the outputs as a tuple. ``weights`` are those of a run or of a file (safetensors or
    ``torch.save``) with our, torchvision's or timm's names, also wrapped by training tools; True are those of ``model``
    itself, a run; None are new ones, drawn from torch's global generator. A classifier for other classes is new in any
    case.
    """
    from nas.graph.lowering.torch_module import build_module
    from nas.training.train_step import init_weights

    results = Path(results)
    graph = create_graph(model, num_classes, input_shape, width, depth, aux, plugins=plugins, results=results)
    # weights are matched after the initialisation, which new classifiers keep
    module = build_module(graph, tuple(name for name, _ in graph.outputs))
    init_weights(module)
    if weights is not None:
        path = weights_file(str(model) if weights is True else str(weights), results)
        module.load_state_dict(matched(graph, read_tensors(path), str(path)).tensors, strict=False)
    return module


def weights_file(text: str, results: Path = RESULTS) -> Path:
    """Return the file of weights that ``text`` names, a run's, that of its best by the trial's name, or its own.

    A missing one raises :class:`ConfigError`.
    """
    if find_trial(text, results) is not None:
        found = resolve(text, results=results)
        if found.weights is None:
            raise ConfigError(f"weights '{text}': a search keeps weights of its best alone, and trains them at its end")
        return found.weights
    folder = find_run(text, results)
    if folder is None:
        if not is_file(text):
            raise ConfigError(f"weights '{text}': neither a run in '{results}' nor a file")
        return Path(text)
    run = read_best(folder)
    if run.weights is None:
        raise ConfigError(f"run '{run.name}' has no weights: '{run.weights_place}' is written at the end of a training")
    return run.weights


def adapted(graph: Graph, shape: Sequence[int], classes: int) -> Graph:
    """Return the network for images of ``shape`` (C, H, W), with a classifier of ``classes``, without other outputs."""
    graph = graph.pruned(("logits",)).resized(shape)
    name = classifier_of(graph)
    # the layer that gives the classes is the last with weights; its name stays, so that weights find it
    nodes = tuple(
        node._replace(op=replace(node.op, out=classes))
        if node.name == name and isinstance(node.op, Linear | Conv)
        else node
        for node in graph.nodes
    )
    found = Graph(nodes, graph.outputs)
    if shapes_of(found)[found.output("logits")] != (classes,):
        rule = "does not decide the network's number of classes; its head cannot be replaced"
        raise ConfigError(f"layer '{name}' {rule}")
    return found
