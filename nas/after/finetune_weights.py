"""Where a fine-tuning's network and weights come from: runs, files and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.after.finetune import Plan, adapted
from nas.after.names import matched, read_tensors, shapes_of_state
from nas.after.training_view import is_training, load_training
from nas.after.transfer import transferred
from nas.api import load
from nas.errors import ConfigError
from nas.files import read_json
from nas.graph import Graph
from nas.run.config import config_of
from nas.run.journal import read
from nas.starts import is_path
from nas.targets import run_name
from nas.types import Task

if TYPE_CHECKING:
    from torch import Tensor

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, eq=False)
class Given:
    """Weights for a network by its layers' names, and a sentence that says where they are from and what is new."""

    tensors: Mapping[str, Tensor]
    said: str

    def start(self, plan: Plan) -> dict[str, Tensor]:
        """Return those that the network of ``plan`` has."""
        state = shapes_of_state(plan.graph)
        names = (f"{layer}.{own}" for layer, shapes in state.items() for own in shapes)
        return {name: self.tensors[name] for name in names if name in self.tensors}

    def content(self, plan: Plan) -> bytes:
        """Return those that the network of ``plan`` has as a safetensors file."""
        from safetensors.torch import save

        return save({name: tensor.clone().contiguous() for name, tensor in self.start(plan).items()})


def network_of(
    text: str,
    task: Task,
    width: int | None = None,
    depth: int | None = None,
    plugins: Sequence[str] = (),
    results: Path = Path("results"),
    drop_path: float = 0.0,
) -> Graph:
    """Return the network that ``text`` names for ``task``, with a classifier of its number of classes.

    Of a run it is the network as it was trained, where no other width or depth is asked for, so that its weights fit.
    Anything else is built as :func:`nas.after.transfer.transferred` does.
    """
    trained = _trained(text, results)
    if trained is not None and width is None and depth is None:
        return adapted(Graph.from_json(read_json(trained)), task.input_shape, task.classes)
    if trained is not None and is_training(results / run_name(text, results)):
        raise ConfigError(
            f"--width and --depth go with what is built anew; the training '{text}' has a size of its own"
        )
    if is_path(text) and isinstance(found := load(Path(text)), Graph) and width is None and depth is None:
        return adapted(found, task.input_shape, task.classes)
    built = transferred(text, task, width, depth, None, plugins, results, aux=False, drop_path=drop_path)
    return adapted(built.graph, task.input_shape, task.classes)


def weights_for(
    graph: Graph, text: str | None, target: str, images: str, results: Path = Path("results"), renew: bool = False
) -> Given:
    """Return the weights for ``graph`` that ``text`` names, a run or a safetensors file; None is the run ``target``.

    The names in a file may be ours, torchvision's or timm's, see :func:`nas.after.names.matched`. The classifier is new
    where it has another number of classes, where the run was trained on others than ``images``, as
    :func:`nas.training.data.images_named` names them, and with ``renew``.
    """
    path = _file(text, target, results)
    before = images_of(path)
    found = matched(graph, read_tensors(path), str(path), renew or (before is not None and before != images))
    layers = len(shapes_of_state(graph))
    said = f"{layers - len(found.fresh)} of {layers} layers from {path}"
    if not found.ours:
        said += ", whose names are torchvision's or timm's"
    if found.fresh:
        said += f"; new, for other classes: {', '.join(found.fresh)}"
    if found.unused:
        said += f"; left out: {', '.join(dict.fromkeys(name.split('.')[0] for name in found.unused))}"
    return Given(found.tensors, said)


def images_of(weights: Path) -> str | None:
    """Return what names the images that the run whose file ``weights`` is was trained on; None for any other file."""
    from nas.training.data import images_named

    folder = weights.parent.parent if weights.parent.name == "best" else weights.parent
    journal = folder / "journal.jsonl"
    if weights.name != WEIGHTS or not journal.is_file():
        return None
    if is_training(folder):
        settings = load_training(folder).settings
        return images_named(settings.dataset, settings.data_dir)
    config = config_of(read(journal)[0], folder.name)
    return None if config.dataset is None else images_named(config.dataset, config.data_dir)


def _trained(text: str, results: Path) -> Path | None:
    """Return the graph of the run ``text`` as it was trained, None where there is no such run."""
    name = run_name(text, results)
    if is_path(name) or name.startswith("."):
        return None
    places = (results / name / "best" / "graph.json", results / name / "graph.json")
    return next((path for path in places if path.is_file()), None)


def _file(text: str | None, target: str, results: Path) -> Path:
    if text is None:
        trained = _trained(target, results)
        if trained is None:
            raise ConfigError(
                f"'{target}' is no run with weights of its own; name a run or a safetensors file: --weights"
            )
        return _of_run(target, trained)
    trained = _trained(text, results)
    if trained is not None:
        return _of_run(text, trained)
    if not Path(text).is_file():
        raise ConfigError(f"--weights '{text}': neither a run in '{results}' nor a file")
    return Path(text)


def _of_run(name: str, graph: Path) -> Path:
    path = graph.parent / WEIGHTS
    if not path.is_file():
        raise ConfigError(f"run '{name}' has no weights: '{path}' is written at the end of a training")
    return path
