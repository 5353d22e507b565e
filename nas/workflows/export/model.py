"""What an export takes away: the network that a run, a file or a name means, and what is known of its weights."""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path

from nas.core.values import Json
from nas.data.splits import Normalization
from nas.engine.random_streams import FINAL, derive
from nas.errors import NAME_SHOWN, ConfigError, printable
from nas.evaluators.train import TrainSettings
from nas.graph import Graph, cost
from nas.models.resolve import RESULTS, Model, SizeOptions, resolve
from nas.report.run_view import RunView, load_view
from nas.workflows.train.view import load_training

FRESH = "freshly initialised (seed 0), not trained"


@dataclass(frozen=True)
class Training:
    """How the weights came about: for the model card."""

    dataset: str
    parts: tuple[str, ...]
    """The splits that were trained on."""
    recipe: Mapping[str, object]
    """The recipe with every number."""
    epochs: int
    seed: int
    scores: tuple[float, ...]
    """Top-1 accuracy in percent of the test split for every seed, first that of these weights."""
    top5: float | None = None
    """Top-5 accuracy in percent of the test split, of these weights."""
    normalization: Normalization | None = None
    """Of the pixels; None where an earlier version has not recorded it, and no images are here to compute it from."""
    class_names: tuple[str, ...] = ()
    """In the order of the logits; empty where they are not known."""
    begun_with: str = ""
    """The weights that a fine-tuning began with."""


@dataclass(frozen=True)
class ExportModel:
    """A network to export."""

    name: str
    graph: Graph
    output: str
    """The one of its outputs that counts."""
    key: str
    """The canonical key."""
    origin: str
    """Where the network is from: a sentence for the model card, without its full stop."""
    weights: Path | None = None
    """A safetensors file; None for freshly initialised weights."""
    weights_from: str = FRESH
    """Where they are from: the end of a sentence."""
    training: Training | None = None
    """How they came about, where that is known."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """The date and the versions of Python and packages of the run."""

    @property
    def stem(self) -> str:
        """The name of the files, which Python can import."""
        plain = re.sub(r"\W", "_", self.name, flags=re.ASCII)
        return plain if plain.isidentifier() and not keyword.iskeyword(plain) else f"network_{plain}"


def model_of(
    text: str, size: SizeOptions, plugins: Sequence[str] = (), results: Path = RESULTS, weights: Path | None = None
) -> ExportModel:
    """Return what ``text`` names, at the size asked for, with the weights of ``weights`` or else the run's own.

    A search's weights belong to its winner as it was trained: at another size, or where there are none, the weights are
    new. A training has one size, and is refused before its end. Other errors are those of
    :func:`nas.models.resolve.resolve`.
    """
    if weights is not None and not weights.is_file():
        raise ConfigError(f"--weights '{weights}': there is no such file")
    found = resolve(text, size, plugins, results)
    # a run knows how its weights were trained, names and files do not
    if found.run is not None and found.kind == "training":
        subject = _of_training(found, found.run.folder, weights is None)
    elif found.run is not None and found.fixed is not None:
        subject = _of_run(found, found.run.folder, found.fixed)
    else:
        graph, output = _classifier(found.graph)
        subject = ExportModel(
            found.name, graph, output, found.key, f"The network of `{printable(Path(text).name, NAME_SHOWN)}`"
        )
    if weights is None:
        return subject
    return replace(subject, weights=weights, weights_from=f"those of the file `{weights.name}`", training=None)


def _classifier(graph: Graph) -> tuple[Graph, str]:
    """Return ``graph`` without auxiliary heads, and the name of its output."""
    names = [name for name, _ in graph.outputs]
    output = "logits" if "logits" in names else names[0]
    return graph.pruned((output,)), output


def _of_run(found: Model, folder: Path, fixed: Graph) -> ExportModel:
    """Return a network of a search, the winner with its weights where it has the size at which they were trained."""
    view = load_view(folder)
    graph, output = _classifier(found.graph)
    which = "The best architecture" if found.trial is None else f"Trial {found.trial.index}"
    origin = f"{which} of the run `{folder.name}`, a search in the space `{view.config.space.name}`"
    subject = ExportModel(found.name, graph, output, found.key, origin, versions=_versions(view.environment))
    if found.weights is None:
        others = "" if found.trial is None else "; a search keeps weights of its best alone"
        return replace(subject, weights_from=f"{FRESH}{others}")
    # weights belong to the network that was trained, and to no other size of it
    trained, _ = _classifier(fixed)
    if graph.to_json() != trained.to_json():
        total = cost(trained)
        own = f"the run's own belong to its network of {total.params:,} parameters and {total.macs:,} MACs"
        return replace(subject, weights_from=f"{FRESH}; {own}")
    told = "trained by the run's final comparison, its first seed"
    return replace(subject, weights=found.weights, weights_from=told, training=_final_training(view))


def _of_training(found: Model, folder: Path, wants_weights: bool) -> ExportModel:
    """Return the network of a training, which has one size."""
    view, text = load_training(folder), found.name
    if found.size != SizeOptions():
        target = view.settings.target
        raise ConfigError(f"run '{text}' trained a network of one size; for another size export '{target}'")
    graph, output = _classifier(found.graph)
    origin = f"The network `{view.network['name']}`, trained by the run `{folder.name}`"
    subject = ExportModel(folder.name, graph, output, found.key, origin, versions=_versions(view.environment))
    if not wants_weights:
        return subject
    if view.trained is None:
        raise ConfigError(f"run '{text}' has no weights yet, its training is {view.status}; go on: nas resume {text}")
    settings, result = view.settings, view.trained
    training = Training(
        dataset=settings.dataset,
        parts=settings.train_on,
        recipe=settings.recipe.to_json(),
        epochs=settings.epochs,
        seed=settings.seed,
        scores=(result["top1"],),
        top5=result["top5"],
        begun_with=str(settings.start["weights"]) if settings.start else "",
        **_input_and_classes(result.get("normalization"), view.class_names, settings.job, settings.train_on),
    )
    told = f"trained by the run, seed {settings.seed}"
    return replace(subject, weights=folder / "weights.safetensors", weights_from=told, training=training)


def _versions(found: Json) -> dict[str, str]:
    return {"date": found.get("date", ""), "Python": found.get("python", ""), **found.get("packages", {})}


def _final_training(view: RunView) -> Training:
    """Return how the run's weights were trained: those of seed number 0, whose score stands first or there is none."""
    config, data, parts = view.config, view.config.data, ("train", "validation")
    recipe = config.comparison.recipe or config.train.recipe
    # the score of seed number 0 is that of these weights
    finals = {f["number"]: f["score"] for f in view.ledger.finals if f["role"] == "search" and f["score"] is not None}
    job = {"dataset": data.dataset, "data_dir": data.data_dir, "image_size": data.image_size}
    job |= {"train_images": data.train_images, "validation": data.validation_images, **data.shares()}
    return Training(
        dataset=data.dataset or "",
        parts=parts,
        recipe={} if recipe is None else recipe.to_json(),
        epochs=config.comparison.epochs,
        seed=derive(config.seed, 0, 0, FINAL),
        scores=tuple(finals[number] for number in sorted(finals)) if 0 in finals else (),
        **_input_and_classes(view.normalization, view.class_names, job, parts),
    )


def _input_and_classes(recorded: Json | None, names: tuple[str, ...], job: Json, parts: Sequence[str]) -> Json:
    """Return ``normalization`` and ``class_names`` as they are recorded, else of the images, where they can be read."""
    if recorded is not None:
        return {"normalization": Normalization.from_json(recorded), "class_names": names}
    try:  # a run of a version that recorded neither
        splits = TrainSettings.from_json(job).splits()
    except ConfigError:
        return {"normalization": None, "class_names": names}
    images = reduce(lambda a, b: a.joined(b), (getattr(splits, name) for name in parts))
    return {"normalization": Normalization.of(images), "class_names": names or splits.class_names}
