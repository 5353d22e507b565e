"""What an export takes away: the network that a run, a file or a name stands for, and what is known of its weights."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from importlib import import_module
from pathlib import Path
from typing import Any

from nas.after.training_view import is_training, load_training
from nas.errors import ConfigError
from nas.evaluators.train import TrainSettings
from nas.files import read_json
from nas.graph import Graph, cost, key
from nas.plugins import load_built_in, load_plugin
from nas.report.view import RunView, load_view
from nas.run.seeds import FINAL, derive
from nas.starts import is_path
from nas.targets import Wanted, find, run_name

FRESH = "freshly initialised (seed 0), not trained"


@dataclass(frozen=True)
class Training:
    """How the weights came about: for the model card.

    ``parts`` are the splits that were trained on, ``recipe`` holds every number. ``scores``: top-1 accuracy in percent
    of the test split for every seed, first that of these weights, and ``top5`` of these. ``moments`` are mean and
    deviation of every channel, each (C,), in units of 0..255; None where the images are not here now. ``begun_with``
    names the weights that a fine-tuning began with.
    """

    dataset: str
    parts: tuple[str, ...]
    recipe: Mapping[str, Any]
    epochs: int
    seed: int
    scores: tuple[float, ...]
    top5: float | None = None
    moments: tuple[list[float], list[float]] | None = None
    begun_with: str = ""


@dataclass(frozen=True)
class Subject:
    """A network to export: ``output`` is the one of its outputs that counts, ``weights`` a file or None for fresh ones.

    ``origin`` and ``weights_from`` are sentences for the model card without their full stops.
    """

    name: str
    graph: Graph
    output: str
    key: str
    origin: str
    weights: Path | None = None
    weights_from: str = FRESH
    training: Training | None = None
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def stem(self) -> str:
        """The name of the files, which Python can import."""
        plain = re.sub(r"\W", "_", self.name, flags=re.ASCII)
        return plain if plain.isidentifier() and not keyword.iskeyword(plain) else f"network_{plain}"


def subject_of(
    text: str,
    size: Wanted,
    plugins: Sequence[str] = (),
    results: Path = Path("results"),
    weights: Path | None = None,
) -> Subject:
    """Return what ``text`` stands for, at the size asked for, with the weights of ``weights`` or else the run's own.

    A search's weights belong to its winner as it was trained: at another size, or where there are none, the weights are
    new. A training has one size, and is refused before its end. Other errors are those of :func:`nas.targets.find`.
    """
    load_built_in()
    for plugin in plugins:
        load_plugin(plugin)
    if weights is not None and not weights.is_file():
        raise ConfigError(f"--weights '{weights}': there is no such file")
    text = run_name(text, results)
    folder = results / text
    networks = import_module("search_spaces.networks.registry").NETWORKS
    found = text not in networks and not text.startswith(".") and (folder / "journal.jsonl").is_file()
    if found and is_training(folder):
        subject = _of_training(text, folder, size, weights is None)
    elif found and (folder / "best" / "graph.json").is_file():
        subject = _of_run(text, folder, size, plugins, results)
    else:
        target = find(text, size, plugins, results)
        graph, output = _classifier(target.graph)
        name, shown = (Path(text).stem, Path(text).name) if is_path(text) else (text, text)
        subject = Subject(name, graph, output, target.key, f"The network of `{shown}`")
    if weights is None:
        return subject
    return replace(subject, weights=weights, weights_from=f"those of the file `{weights.name}`", training=None)


def _classifier(graph: Graph) -> tuple[Graph, str]:
    """Return ``graph`` without auxiliary heads, and the name of its output."""
    names = [name for name, _ in graph.outputs]
    output = "logits" if "logits" in names else names[0]
    return graph.pruned((output,)), output


def _of_run(text: str, folder: Path, size: Wanted, plugins: Sequence[str], results: Path) -> Subject:
    view = load_view(folder)
    for plugin in view.config.plugins:
        load_plugin(plugin)
    trained, output = _classifier(Graph.from_json(read_json(folder / "best" / "graph.json")))
    total = cost(trained)
    wanted = Wanted(size.shape or trained.input_shape, size.classes or total.output_shape[0], size.width, size.depth)
    target = find(text, wanted, plugins, results)
    graph, output = _classifier(target.graph)
    origin = f"The best architecture of the run `{folder.name}`, a search in the space `{view.config.space}`"
    subject = Subject(folder.name, graph, output, target.key, origin, versions=_versions(view.environment))
    weights = folder / "best" / "weights.safetensors"
    if not weights.is_file():
        return subject
    if graph.to_json() != trained.to_json():
        own = f"the run's own belong to its network of {total.params:,} parameters and {total.macs:,} MACs"
        return replace(subject, weights_from=f"{FRESH}; {own}")
    told = "trained by the run's final comparison, its first seed"
    return replace(subject, weights=weights, weights_from=told, training=_final_training(view))


def _of_training(text: str, folder: Path, size: Wanted, wants_weights: bool) -> Subject:
    view = load_training(folder)
    for plugin in view.settings.plugins:
        load_plugin(plugin)
    if size != Wanted():
        target = view.settings.target
        raise ConfigError(f"run '{text}' trained a network of one size; for another size export '{target}'")
    graph, output = _classifier(Graph.from_json(read_json(folder / "graph.json")))
    origin = f"The network `{view.network['name']}`, trained by the run `{folder.name}`"
    subject = Subject(folder.name, graph, output, key(graph), origin, versions=_versions(view.environment))
    if not wants_weights:
        return subject
    if view.trained is None:
        raise ConfigError(f"run '{text}' has no weights yet, its training is {view.status}; go on: nas resume {text}")
    settings, result = view.settings, view.trained
    training = Training(
        settings.dataset,
        settings.train_on,
        settings.recipe,
        settings.epochs,
        settings.seed,
        (result["top1"],),
        result["top5"],
        _moments(settings.job, settings.train_on),
        str(settings.start["weights"]) if settings.start else "",
    )
    told = f"trained by the run, seed {settings.seed}"
    return replace(subject, weights=folder / "weights.safetensors", weights_from=told, training=training)


def _versions(found: Mapping[str, Any]) -> dict[str, str]:
    packages = {name: str(number) for name, number in found.get("packages", {}).items()}
    return {"date": str(found.get("date", "")), "Python": str(found.get("python", "")), **packages}


def _final_training(view: RunView) -> Training:
    """Return how the run's weights were trained: those of seed number 0, whose score stands first or there is none."""
    config = view.config
    recipe = config.final_recipe if isinstance(config.final_recipe, dict) else config.recipe
    finals = {f["number"]: f["score"] for f in view.ledger.finals if f["role"] == "search" and f["score"] is not None}
    parts = ("train", "validation")
    job = {
        "dataset": config.dataset,
        "data_dir": config.data_dir,
        "validation": config.validation_images,
        "train_images": config.train_images,
        "image_size": config.image_size,
    }
    return Training(
        config.dataset or "",
        parts,
        recipe if isinstance(recipe, dict) else {},
        config.final_epochs,
        derive(config.seed, 0, 0, FINAL),
        tuple(finals[number] for number in sorted(finals)) if 0 in finals else (),
        None,
        _moments(job, parts),
    )


def _moments(job: Mapping[str, Any], parts: Sequence[str]) -> tuple[list[float], list[float]] | None:
    """Return mean and deviation of the images that the network was trained on, None where they cannot be read now."""
    try:
        splits = TrainSettings.from_json(job).splits()
    except ConfigError:
        return None
    images: Any = reduce(lambda a, b: a.joined(b), (getattr(splits, name) for name in parts))
    mean, deviation = images.moments
    return [float(m) for m in mean], [float(d) for d in deviation]
