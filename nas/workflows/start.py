"""From checked settings to what a training begins with: shared by the command line and the Python page."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from nas.core.files import is_file, is_path
from nas.core.values import Json
from nas.data.splits import images_named
from nas.evaluators.train import TrainSettings
from nas.graph import Graph, cost
from nas.workflows.finetune.plan import FinetuneOptions, plan, trained_parameters
from nas.workflows.finetune.weights import network_of, weights_for
from nas.workflows.train.run import digest_of
from nas.workflows.train.settings import TrainingSettings
from nas.workflows.train.transfer import transferred


@dataclass(frozen=True)
class TrainingStart:
    """What a training begins with."""

    settings: TrainingSettings
    graph: Graph
    network: Json
    """Name, size and cost, for the report."""
    initial: bytes | None = None
    """The weights of a fine-tuning, as a safetensors file."""
    said: tuple[str, ...] = ()
    """Where they are from, and what of the network is trained and why; a line each."""


def start_training(settings: TrainingSettings, results: Path) -> TrainingStart:
    """Return the network that ``settings`` name, built for the dataset, within the budget where one is set."""
    s, aux, drop_path = settings, bool(settings.actual_recipe.aux_weight), settings.actual_recipe.drop_path or 0.0
    built = transferred(
        s.target, s.task, s.width, s.depth, s.max_macs, s.plugins, results, aux=aux, drop_path=drop_path
    )
    network = {name: getattr(built, name) for name in ("name", "width", "depth", "params", "macs")}
    network = {name: value for name, value in network.items() if value is not None}
    return TrainingStart(settings, built.graph, {**network, "input": list(settings.task.input_shape)})


def start_finetuning(
    settings: TrainingSettings,
    asked: FinetuneOptions,
    results: Path,
    weights: str | None = None,
    new_classifier: bool = False,
) -> TrainingStart:
    """Return the network with the weights of ``weights`` (None: the run's own) and what of it is trained."""
    # network and weights first: what does not fit is told before any image is read
    target, task, width, depth = settings.target, settings.task, settings.width, settings.depth
    dropped = settings.actual_recipe.drop_path or 0.0
    graph = network_of(target, task, width, depth, settings.plugins, results, dropped)
    images = images_named(settings.dataset, settings.data.data_dir)
    classes = settings.data.class_names()
    given = weights_for(graph, weights, target, images, results, new_classifier, classes, settings.data.test_share)

    # what is trained follows from the images of a class, which are counted where nothing else decides it
    per_class = 0.0
    if asked.data is None and asked.freeze is None and asked.probe is None:
        splits = TrainSettings.from_json(settings.job).splits()
        per_class = sum(len(getattr(splits, name)) for name in settings.train_on) / task.classes
    chosen = plan(graph, per_class, asked)
    content = given.content(chosen)

    # what the run's journal and the worker are told of the beginning, and what people are
    start: Json = {"weights": weights or target, "digest": digest_of(content), "frozen": list(chosen.frozen)}
    start |= {"factor": chosen.factor, "reason": chosen.reason}
    trained, total = trained_parameters(chosen)
    frozen = f"frozen: {', '.join(chosen.frozen)}" if chosen.frozen else "nothing is frozen"
    of_all = f"{frozen}; {trained:,} of {total:,} parameters are trained"
    said = (
        f"weights: {given.summary}",
        f"{chosen.reason}; {of_all}; given weights learn at {chosen.factor:g} times the recipe's rate",
    )

    # name, size and cost of what is trained, for the report
    name = target if not is_path(target) else Path(target).stem if is_file(target) else Path(target).name
    sizes = {key: value for key, value in (("width", width), ("depth", depth)) if value is not None}
    found = cost(chosen.graph)
    network = {"name": name, **sizes, "params": found.params, "macs": found.macs, "input": [*task.input_shape]}
    return TrainingStart(replace(settings, start=start), chosen.graph, network, content, said)
