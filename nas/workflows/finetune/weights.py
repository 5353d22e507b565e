"""Where a fine-tuning's network and weights come from: runs, files and names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas.core.text import printable
from nas.core.values import Task
from nas.data.config import DEFAULT_TEST_SHARE
from nas.data.splits import images_named
from nas.errors import ConfigError
from nas.graph import Graph
from nas.models.create import adapted, weights_file
from nas.models.resolve import RESULTS, resolve
from nas.models.weight_names import matched, shapes_of_state
from nas.runs.run_folder import JOURNAL, BestNetwork, find_run, read_best
from nas.runs.trials import find_trial
from nas.training.weight_files import read_weights
from nas.workflows.finetune.plan import FinetunePlan
from nas.workflows.train.transfer import transferred

if TYPE_CHECKING:
    from torch import Tensor

NAMED = 6
"""How much of what a file holds beside the weights is named."""


@dataclass(frozen=True, eq=False)
class InitialWeights:
    """Weights for a network by its layers' names, and a sentence that says where they are from and what is new."""

    tensors: Mapping[str, Tensor]
    summary: str

    def content(self, plan: FinetunePlan) -> bytes:
        """Return those that the network of ``plan`` has as a safetensors file."""
        from safetensors.torch import save

        names = (f"{layer}.{own}" for layer, shapes in shapes_of_state(plan.graph).items() for own in shapes)
        return save({name: self.tensors[name].clone().contiguous() for name in names if name in self.tensors})


def network_of(
    text: str,
    task: Task,
    width: int | None = None,
    depth: int | None = None,
    plugins: Sequence[str] = (),
    results: Path = RESULTS,
    drop_path: float = 0.0,
) -> Graph:
    """Return the network that ``text`` names for ``task``, with a classifier of its number of classes.

    Of a run it is the network as it was trained, where no other width or depth is asked for, so that its weights fit.
    Anything else is built as :func:`nas.workflows.train.transfer.transferred` does.
    """
    model = resolve(text, plugins=plugins, results=results)
    # weights fit the network as it was trained; any other size is built again
    if model.fixed is not None and width is None and depth is None:
        return adapted(model.fixed, task.input_shape, task.classes)
    if model.kind == "training":
        own = f"the training '{text}' has a size of its own"
        raise ConfigError(f"--width and --depth go with what is built again; {own}")
    built = transferred(text, task, width, depth, None, plugins, results, aux=False, drop_path=drop_path)
    return adapted(built.graph, task.input_shape, task.classes)


def weights_for(
    graph: Graph,
    text: str | None,
    target: str,
    images: str,
    results: Path = RESULTS,
    renew: bool = False,
    class_names: tuple[str, ...] = (),
    test_share: float | None = None,
) -> InitialWeights:
    """Return the weights for ``graph`` that ``text`` names, a run or a file; None is the run ``target``.

    A file is one of safetensors or ``torch.save``. The names in it may be ours, torchvision's or timm's, see
    :func:`nas.models.weight_names.matched`. The classifier is new where it has another number of classes, where the run
    was trained on others than ``images``, as :func:`nas.data.splits.images_named` names them, or on classes of other
    names than ``class_names``, where both are known, and with ``renew``. A run on the same images that kept another
    share of them for the test than ``test_share`` raises :class:`ConfigError`: it was trained on some of these.
    """
    if text is None and find_run(target, results) is None and find_trial(target, results) is None:
        raise ConfigError(f"'{target}' is no run with weights of its own; name a run or a file of weights: --weights")
    path = weights_file(text or target, results)
    # the same number of classes of another dataset, or with other names, are other classes
    if (run := run_of(path)) is not None and run.dataset is not None:
        renamed = bool(class_names and run.class_names) and class_names != run.class_names
        same = images_named(*run.dataset) == images
        renew = renew or renamed or not same
        if same and (kept := run.test_share or DEFAULT_TEST_SHARE) != (test_share or DEFAULT_TEST_SHARE):
            told = f"run '{run.name}' kept a share of {kept:g} of these images for the test"
            raise ConfigError(f"{told}, and was trained on others of them; use --test-share {kept:g}")
    stored = read_weights(path)
    found = matched(graph, stored.tensors, str(path), renew)
    layers = len(shapes_of_state(graph))
    summary = f"{layers - len(found.fresh)} of {layers} layers from {path}"
    if not found.ours:
        summary += ", whose names are torchvision's or timm's"
    if found.fresh:
        summary += f"; new, for other classes: {', '.join(found.fresh)}"
    if found.unused:
        summary += f"; left out: {', '.join(dict.fromkeys(name.split('.')[0] for name in found.unused))}"
    if found.prefix:
        summary += f"; read from '{found.prefix}' of the file"
    if passed_over := [*found.passed_over, *stored.others]:
        more = f" and {len(passed_over) - NAMED} more" if len(passed_over) > NAMED else ""
        summary += f"; passed over: {', '.join(map(printable, passed_over[:NAMED]))}{more}"
    return InitialWeights(found.tensors, summary)


def run_of(weights: Path) -> BestNetwork | None:
    """Return the run whose file ``weights`` is; None for any other file."""
    folder = weights.parent.parent if weights.parent.name == "best" else weights.parent
    if not (folder / JOURNAL).is_file() or (run := read_best(folder)).weights != weights:
        return None
    return run
