"""The end of a search: the winner against random search and a handcrafted network, trained alike and tested once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from nas.errors import EvaluationError
from nas.evaluators.table import objective_of, reward_name
from nas.executors.inline import InlineExecutor
from nas.files import write_atomic
from nas.graph import Graph, cost
from nas.run.config import RunConfig, search_name
from nas.run.journal import Sink
from nas.run.ledger import Ledger
from nas.run.loop import Executor
from nas.run.seeds import FINAL, derive
from nas.study import Study
from nas.table import Table
from nas.tested import Step, Tested
from nas.types import Architecture, Job, Metrics, Trial
from search_spaces.networks.resnet import matching_resnet


@dataclass(frozen=True)
class Finalist:
    """One row of the final comparison: ``role`` is ``search``, ``random`` or ``handcrafted``."""

    role: str
    name: str
    key: str
    architecture: Architecture | None
    graph: Graph | None


def finalists(config: RunConfig, study: Study, best: Trial, baseline: Trial | None) -> list[Finalist]:
    """Return who is compared: the winner, the best of random search, and the handcrafted network of similar cost."""
    rows = [_finalist("search", search_name(config), study, best)]
    if baseline is not None:
        rows.append(_finalist("random", search_name(replace(config, searcher="random")), study, baseline))
    if config.evaluator == "train" and best.macs is not None:
        name, graph = matching_resnet(study.settings.task, best.macs)
        rows.append(Finalist("handcrafted", name, name, None, graph))
    return rows


def _finalist(role: str, name: str, study: Study, trial: Trial) -> Finalist:
    return Finalist(role, name, trial.key, trial.architecture, study.prepare_final(trial.architecture).graph)


def steps(config: RunConfig, rows: list[Finalist]) -> Iterator[tuple[Finalist, int]]:
    """Yield (finalist, seed number) for every final training; a table is looked up once for each."""
    for number in range(config.final_seeds if config.evaluator == "train" else min(config.final_seeds, 1)):
        for finalist in rows:
            yield finalist, number


def run_finals(
    config: RunConfig,
    study: Study,
    rows: list[Finalist],
    executor: Executor,
    journal: Sink,
    ledger: Ledger,
    best_folder: Path,
    proceed: Callable[[], bool],
    observe: Callable[[int, int], None],
) -> bool:
    """Train and test what the ledger does not hold yet; return whether all is done (``proceed`` may say stop).

    ``executor`` trains as many at a time as it takes; a table is looked up here. ``observe`` is told how many of all
    are done after each and every second. For what becomes of failures see :class:`nas.tested.Tested`.
    """
    if study.table is not None:
        executor = InlineExecutor(partial(_looked_up, config, study.table))

    def keep(step: Step, metrics: Metrics) -> None:
        if metrics.weights:
            write_atomic(best_folder / "weights.safetensors", metrics.weights)

    return Tested(_plan(config, study, rows), executor, journal, ledger, keep).run(proceed, observe)


def _plan(config: RunConfig, study: Study, rows: list[Finalist]) -> list[Step]:
    sizes = {finalist.role: size_of(finalist.graph) for finalist in rows}
    plan = []
    for index, (finalist, number) in enumerate(steps(config, rows)):
        job = Job(
            index=index,
            attempt=0,
            architecture=finalist.architecture or Architecture(finalist.role, (("network", finalist.name),)),
            key=finalist.key,
            epochs=config.final_epochs,
            seed=derive(config.seed, number, 0, FINAL),
            task=study.settings.task,
            graph=finalist.graph,
            settings=dict(study.final_job),
            params=sizes[finalist.role]["params"],
            macs=sizes[finalist.role]["macs"],
            keep_weights=finalist.role == "search" and number == 0,
        )
        reads = config.evaluator == "train" or config.objective is not None
        plan.append(Step(finalist.role, number, finalist.name, finalist.key, job, reads=reads))
    return plan


def _looked_up(config: RunConfig, table: Table, job: Job) -> Metrics:
    objective = config.objective or reward_name(config.reward or "", config.epochs)
    value = objective_of(table, job.architecture, job.key, objective, config.dataset)
    if not math.isfinite(value):
        raise EvaluationError(f"column '{objective}' of the table is {value} for the winner", "diverged")
    return Metrics(value)


def size_of(graph: Graph | None) -> dict[str, int | None]:
    """Return ``params`` and ``macs`` of a network's first output, None without a network."""
    if graph is None:
        return {"params": None, "macs": None}
    total = cost(graph.pruned((graph.outputs[0][0],)))
    return {"params": total.params, "macs": total.macs}
