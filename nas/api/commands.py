"""What follows a search, as functions: each is the command of its name, and what it leaves is the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nas.core.files import read_json
from nas.core.plugins import load_built_in, load_plugins
from nas.core.values import Json, Value
from nas.errors import ConfigError
from nas.models.resolve import SizeOptions, resolve
from nas.runs.progress import Observer
from nas.runs.run_folder import JOURNAL, find_journal, folder_of, new_folder

if TYPE_CHECKING:
    from nas.workflows.compare.result import Comparison
    from nas.workflows.scale.compound import ScaledNetwork
    from nas.workflows.start import TrainingStart
    from nas.workflows.train.view import TrainingView

    Start = Callable[..., TrainingStart]


def compare(
    models: Sequence[str | Path],
    *,
    seeds: int = 3,
    name: str | None = None,
    results_dir: str | Path = "results",
    observe: Observer | None = None,
    accept_changes: bool = False,
    **settings: Value,
) -> Comparison:
    """Train ``models`` alike, with several seeds, and say which differences are more than noise.

    They are runs (their best), networks, genotypes or files. The comparison is a run in ``results_dir``; with the
    ``name`` of an earlier one it goes on, with other plugins, data or versions only where ``accept_changes``.
    ``settings`` are those of ``nas compare``: ``dataset``, ``data_dir``, ``recipes``, ``epochs``, ``train_images``,
    ``against_random``, ``ensemble``, ``width``, ``depth``, ``seed``.
    """
    return compared(
        models,
        name,
        "compare",
        Path(results_dir),
        observe,
        {**settings, "seeds": seeds, "accept_changes": accept_changes},
    )


def compared(
    models: Sequence[str | Path], name: str | None, stem: str, results: Path, observe: Observer | None, settings: Json
) -> Comparison:
    """Carry out a comparison as a run, from where it is; without a ``name`` it has a number after ``stem``."""
    from nas.workflows.compare import run as comparisons
    from nas.workflows.compare.result import Comparison
    from nas.workflows.compare.settings import settings_from

    told, given = observe or (lambda progress: None), dict(settings)
    accept_changes = given.pop("accept_changes", False)
    if name is not None and (folder_of(results, name) / JOURNAL).is_file():
        run = comparisons.ComparisonRun.resume(folder_of(results, name), _plugins_of(given), accept_changes)
    else:
        asked = settings_from(tuple(map(str, models)), named_data(given))
        with new_folder(results, name, stem) as folder:
            run = comparisons.ComparisonRun.create(folder, asked, told)
    run.execute(told)
    return Comparison.from_json(read_json(run.folder / "compare.json"))


def load_comparison(folder: str | Path) -> Comparison:
    """Return the comparison in ``folder`` as far as it is, whoever made it; what is none raises ConfigError."""
    from nas.workflows.compare.result import result
    from nas.workflows.compare.view import load_comparison as view_of

    return result(view_of(find_journal(Path(folder)).parent))


def train(model: str | Path, *, name: str | None = None, **settings: Value) -> TrainingView:
    """Train a run's best, a network, a genotype or a file on a dataset, and measure the test split once.

    The training is a run in ``results_dir`` ("results"); with the ``name`` of an earlier one it goes on, with other
    plugins, data or versions only where ``accept_changes``. ``settings`` are those of ``nas train``: ``dataset``,
    ``data_dir``, ``recipe``, ``epochs``, ``batch_size``, ``max_macs``; also ``callbacks``, which are told of every
    epoch: :class:`nas.Callback` objects, or trackers such as ``tensorboard=DIR``.
    """
    from nas.workflows.start import start_training

    command = "transfer" if settings.get("max_macs") else "train"
    return _trained(model, name, command, settings, start_training)


def finetune(
    model: str | Path,
    *,
    name: str | None = None,
    weights: str | Path | None = None,
    new_classifier: bool = False,
    data: str | None = None,
    task: str | None = None,
    freeze: str | None = None,
    probe: str | None = None,
    lr_factor: float | None = None,
    **settings: Value,
) -> TrainingView:
    """Train on from the weights of a run or a file: a linear probe, the last stages, or all of the network.

    What is not said of ``data`` (little or much), ``task`` (similar or different), ``freeze`` and ``probe`` follows
    from the images. ``settings`` are those of :func:`train`.
    """
    from nas.workflows.finetune.plan import FinetuneOptions
    from nas.workflows.start import start_finetuning

    asked = FinetuneOptions(data, task, freeze, probe, lr_factor)
    text = None if weights is None else str(weights)
    start = partial(start_finetuning, asked=asked, weights=text, new_classifier=new_classifier)
    return _trained(model, name, "finetune", settings, start)


def _trained(model: str | Path, name: str | None, command: str, settings: Json, start: Start) -> TrainingView:
    """Carry out a training as a run, from where it is."""
    from nas.trackers.registry import make_trackers, placed
    from nas.trackers.tracking import apart
    from nas.workflows.train.run import TrainingRun
    from nas.workflows.train.settings import settings_from
    from nas.workflows.train.tracked import checked_changes, execute
    from nas.workflows.train.view import load_training

    load_built_in()
    given = dict(settings)
    results, told = Path(given.pop("results_dir", "results")), given.pop("observe", None) or (lambda progress: None)
    own, track = apart(given.pop("callbacks", ()))
    if track := placed((*given.get("track", ()), *track)):
        load_plugins(given.get("plugins", ()))
        given["track"] = track
    if name is not None and (folder_of(results, name) / JOURNAL).is_file():
        accept_changes = given.pop("accept_changes", False)
        changes = {**_plugins_of(given), **({"track": track} if track else {})}
        changes, trackers = checked_changes(folder_of(results, name), changes)
        run = TrainingRun.resume(folder_of(results, name), changes, accept_changes)
    else:
        trackers = make_trackers(track)
        given.pop("accept_changes", None)
        asked = settings_from(command, None, {**named_data(given), "target": str(model)})
        asked.check()
        begin = start(asked, results=results)
        with new_folder(results, name, f"{begin.network['name']}-{asked.dataset}") as folder:
            run = TrainingRun.create(folder, begin.settings, begin.graph, begin.network, initial=begin.initial)
    execute(run, (*own, *trackers), told)
    return load_training(run.folder)


def named_data(settings: Json) -> Json:
    """Return ``settings`` with the name of a dataset that is given as an object."""
    dataset = settings.get("dataset")
    if dataset is None or isinstance(dataset, str):
        return settings
    from nas.data.user_data import Data

    if not isinstance(dataset, Data):
        raise ConfigError(f"dataset must be a name or nas.Data, found {type(dataset).__name__}; nas.Data(train=...)")
    return {**settings, "dataset": dataset.name}


def _plugins_of(settings: Json) -> Json:
    """Return what a run that goes on is told: the plugins that are named again, which are run wherever they lie."""
    return {"plugins": settings["plugins"]} if settings.get("plugins") else {}


def scale(
    model: str | Path,
    phi: Sequence[float] = (0, 1, 2, 3),
    by: Sequence[str] = ("compound",),
    *,
    alpha: float = 1.2,
    beta: float = 1.1,
    gamma: float = 1.15,
    num_classes: int | None = None,
    input_shape: Sequence[int] | None = None,
    results_dir: str | Path = "results",
) -> list[ScaledNetwork]:
    """Return the family of ``model`` by compound scaling (arXiv:1905.11946), or by other dimensions, for exponents."""
    from nas.workflows.scale.compound import Factors, Scaler
    from nas.workflows.scale.compound import scale as family

    size = SizeOptions(None if input_shape is None else tuple(input_shape), num_classes)
    found = resolve(str(model), size, results=Path(results_dir)).scalable
    return family(Scaler(found), Factors(alpha, beta, gamma), phi, by)


def export(
    model: str | Path,
    folder: str | Path,
    formats: Sequence[str] | None = None,
    *,
    fold_bn: bool = False,
    normalize: bool = False,
    num_classes: int | None = None,
    input_shape: Sequence[int] | None = None,
    weights: str | Path | None = None,
    results_dir: str | Path = "results",
) -> Path:
    """Write ``model`` as source, safetensors, torch.export and ONNX with a model card into the new ``folder``.

    Each file is loaded again and compared. ``formats`` None: all that the installed packages allow. ``normalize``: a
    run's network normalizes its pixels, levels of 0 to 1, itself.
    """
    from nas.workflows.export.model import model_of
    from nas.workflows.export.write import default_formats
    from nas.workflows.export.write import export as write

    size = SizeOptions(None if input_shape is None else tuple(input_shape), num_classes)
    subject = model_of(str(model), size, (), Path(results_dir), None if weights is None else Path(weights))
    write(subject, Path(folder), formats or default_formats(), fold_bn, normalize)
    return Path(folder)
