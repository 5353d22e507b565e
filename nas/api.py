"""The Python API behind ``import nas``: search with your own function, load what was found, build networks."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from nas.errors import ConfigError
from nas.executors.inline import InlineExecutor
from nas.executors.ray_executor import RayExecutor
from nas.executors.ray_pool import Places, room
from nas.files import read_json
from nas.graph import Graph
from nas.graph.graph import GRAPH_FORMAT
from nas.plugins import load_built_in
from nas.remote import given
from nas.run.journal import Journal, MemoryJournal, Sink, opened, read
from nas.run.ledger import Ledger, fold
from nas.run.loop import Executor, Loop, Settings
from nas.runs import check_name
from nas.searchers import make_scheduler, make_searcher
from nas.searchers.auto import AUTO
from nas.searchers.schedulers import NONE, spelled_out
from nas.space import SPACES, Space
from nas.study import DEFAULT_TASK, preparer, remembered
from nas.types import ARCHITECTURE_FORMAT, Architecture, Context, Evaluator, Searcher, Task, Trial, Value


@dataclass(frozen=True)
class Result:
    """What a search found: every trial in order, the best of them (None when none has a score), and why it ended."""

    trials: tuple[Trial, ...]
    best: Trial | None
    reason: str
    queries: int


def space_of(space: str | Space | Callable[..., Any], **args: Value) -> Space:
    """Return a space from a registered name, a function that chooses, or a space; ``args`` are its arguments."""
    load_built_in()
    if isinstance(space, str):
        return SPACES[space].with_args(args)
    if isinstance(space, Space):
        return space.with_args(args) if args else space
    if not callable(space):
        raise ConfigError(f"a space is a name, a Space or a function that chooses, found {type(space).__name__}")
    return Space(getattr(space, "__name__", "space"), space, args)


def search(
    space: str | Space | Callable[..., Any],
    evaluator: Evaluator,
    searcher: str | Searcher = AUTO,
    trials: int = 50,
    *,
    seed: int = 0,
    epochs: int = 1,
    lag: int | None = None,
    task: Task = DEFAULT_TASK,
    width: int | None = None,
    depth: int | None = None,
    max_params: int | None = None,
    max_macs: int | None = None,
    space_args: Mapping[str, Value] | None = None,
    searcher_args: Mapping[str, Value] | None = None,
    scheduler: str = NONE,
    scheduler_args: Mapping[str, Value] | None = None,
    name: str | None = None,
    results_dir: str | Path = "results",
    workers: int | None = None,
    ray_address: str | None = None,
    cpus_per_trial: int = 1,
    gpus_per_trial: float = 0,
    observe: Callable[[Ledger], None] = lambda ledger: None,
) -> Result:
    """Search ``space`` for the architecture that ``evaluator`` rewards most.

    ``evaluator`` gets a :class:`Job` (its ``architecture``, and its ``graph`` where the space describes networks; see
    :func:`build_module`) and returns the reward to maximise or :class:`Metrics`. An exception fails that trial only.
    With a ``scheduler`` (see :mod:`nas.searchers.schedulers`) most jobs have fewer than ``epochs``; what did well is
    asked once more with more of them; every evaluation counts as one of ``trials``.
    With ``workers`` or a ``ray_address`` the jobs run on Ray, on this machine or on the cluster there; the function
    travels to the workers as :mod:`cloudpickle` writes it, and sees as many GPUs as ``gpus_per_trial``. With ``lag`` K,
    a proposal sees the results of all but the last K - 1 trials (0: of whatever has arrived); by default 1, and on Ray
    twice the workers.
    With a ``name`` every result is on disk in ``results_dir/name/journal.jsonl`` before it is used, and calling again
    with the same name and all else equal but ``trials`` goes on where the last call ended; without, the search lives in
    memory.
    Wrong arguments raise :class:`nas.errors.NasError` before anything is evaluated; where every trial fails there is a
    warning, and no best.
    """
    _check_numbers(trials=(trials, 1), seed=(seed, 0), epochs=(epochs, 1), lag=(1 if lag is None else lag, 0))
    if not callable(evaluator):
        raise ConfigError(f"an evaluator is a function of a job, found {type(evaluator).__name__}")
    found = space_of(space, **(space_args or {}))
    prepare = preparer(found, task, width, depth)
    named = type(searcher).__name__
    if isinstance(searcher, str):
        named, scheduler = spelled_out(searcher, scheduler, trials)
        context = Context(remembered(prepare), epochs, None, max_params, max_macs)  # trials may grow from call to call
        searcher = make_searcher(named, found, searcher_args or {}, context)
    searcher = _scheduled(searcher, named, scheduler, scheduler_args or {}, epochs)
    settings = Settings(task, trials, epochs, seed, max_params, max_macs)
    journal: Sink = MemoryJournal()
    lag = _recorded_lag(Path(results_dir), name) if lag is None else lag
    executor, lag = _executor(evaluator, workers, ray_address, cpus_per_trial, gpus_per_trial, lag)
    ledger = Ledger(lag)
    if name is not None:
        asked = named, dict(searcher_args or {}), scheduler, dict(scheduler_args or {})
        study = _study(found, settings, [width, depth], lag, *asked)
        if scheduler != NONE:
            settings = replace(settings, checkpoints=Path(results_dir).resolve() / name / "checkpoints")
        journal, ledger = _open(Path(results_dir), name, study, lag)
    try:
        reason = Loop(searcher, prepare, executor, journal, ledger, settings, observe).run()
    finally:
        executor.close()
        journal.close()
    _warn_of_failures(ledger)
    return Result(tuple(ledger.trials), ledger.best(), reason, ledger.queries)


def _warn_of_failures(ledger: Ledger) -> None:
    """Tell the caller of :func:`search` why there is no best."""
    failed = [t.failure for t in ledger.trials if t.failure]
    if failed and ledger.best() is None:
        what = f"no trial has a reward; {len(failed):,} of {len(ledger.trials):,} failed, the first with"
        warnings.warn(f"{what} {failed[0].kind}: {failed[0].message}", stacklevel=3)


def _study(
    space: Space,
    settings: Settings,
    size: list[int | None],
    lag: int | None,
    searcher: str,
    searcher_args: dict[str, Value],
    scheduler: str,
    scheduler_args: dict[str, Value],
) -> dict[str, Any]:
    """Return what must be equal for a search to go on, as JSON gives it back."""
    study = {
        "space": space.name,
        "args": space.args,
        "searcher": searcher,
        "searcher_args": searcher_args,
        "settings": asdict(replace(settings, trials=0)),
        "size": size,
        "lag": lag,
        "scheduler": [scheduler, scheduler_args] if scheduler != NONE else None,
    }
    found: dict[str, Any] = json.loads(json.dumps(study))
    return found


def _check_numbers(**numbers: tuple[Any, int]) -> None:
    for what, (value, least) in numbers.items():
        if type(value) is not int or value < least:
            raise ConfigError(f"{what} must be a whole number of at least {least}, found {value!r}")


def _executor(
    evaluator: Evaluator, workers: int | None, address: str | None, cpus: int, gpus: float, lag: int | None
) -> tuple[Executor, int | None]:
    """Return the executor, and the lag as a ledger takes it."""
    if workers is None and address is None:
        return InlineExecutor(evaluator), 1 if lag is None else lag or None
    _check_numbers(workers=(1 if workers is None else workers, 1), cpus_per_trial=(cpus, 1))
    places = Places(address, workers, cpus, gpus)
    seen = 2 * (workers or room(places)) if lag is None else lag
    return RayExecutor(places, partial(given, evaluator)), seen or None


def _recorded_lag(results: Path, name: str | None) -> int | None:
    """Return the lag of a search that goes on (0: whatever has arrived), None where there is none yet."""
    path = results / (name or "") / "journal.jsonl"
    if name is None or not path.is_file():
        return None
    return int(read(path)[0].get("study", {}).get("lag", 1) or 0)


def _scheduled(
    searcher: Searcher, named: str, scheduler: str, scheduler_args: Mapping[str, Value], epochs: int
) -> Searcher:
    if not callable(getattr(searcher, "ask", None)):
        raise ConfigError(f"a searcher is a name or has a method ask(history, rng), found {named}")
    if scheduler != NONE:
        return make_scheduler(scheduler, searcher, epochs, scheduler_args)
    if scheduler_args:
        raise ConfigError("scheduler_args need a scheduler")
    return searcher


def _open(results: Path, name: str, study: dict[str, Any], lag: int | None) -> tuple[Sink, Ledger]:
    check_name(name)
    path = results / name / "journal.jsonl"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        return Journal.create(path, {"study": study}), Ledger(lag)
    with opened(path) as (journal, events, _):
        if "study" not in events[0]:
            raise ConfigError(f"run '{name}' was not made by nas.search(): choose another name")
        found = events[0]["study"]
        differs = [key for key in study if found.get(key) != study[key]]
        if differs:
            was, now = found.get(differs[0]), study[differs[0]]
            raise ConfigError(f"run '{name}' belongs to another search: its {differs[0]} is {was}, not {now}")
        return journal, fold(events, lag)


def load(path: str | Path) -> Architecture | Graph:
    """Read an architecture or a graph from a JSON file."""
    path = Path(path)
    data = read_json(path)
    form = data.get("format") if isinstance(data, dict) else None
    if form == GRAPH_FORMAT:
        return Graph.from_json(data)
    if form == ARCHITECTURE_FORMAT:
        return Architecture.from_json(data)
    raise ConfigError(f"file '{path}': format must be '{ARCHITECTURE_FORMAT}' or '{GRAPH_FORMAT}', found {form!r}")


def build(
    architecture: Architecture, task: Task = DEFAULT_TASK, width: int | None = None, depth: int | None = None
) -> Graph:
    """Return the network of an architecture of a registered space at any width and depth."""
    load_built_in()
    space = SPACES[architecture.space].with_args(dict(architecture.args))
    return space.build(architecture, task, width, depth)


def build_module(graph: Graph, outputs: tuple[str, ...] = ("logits",)) -> Any:
    """Return ``graph`` as a torch module; see :func:`nas.graph.module.build_module`."""
    from nas.graph import module

    return module.build_module(graph, outputs)
