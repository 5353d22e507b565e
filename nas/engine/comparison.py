"""The end of a search: the winner against random search and handcrafted networks, trained alike and tested once."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

from nas.core.files import write_atomic
from nas.engine.assemble import SearchParts
from nas.engine.config import RunConfig, search_name
from nas.engine.final_trainings import FinalTraining, FinalTrainingRunner
from nas.engine.loop import Ledger
from nas.engine.random_streams import FINAL, derive
from nas.engine.rivals import RESNET, best_in_time, families_of, named, network_near, rival_name
from nas.errors import ConfigError, EvaluationError
from nas.evaluators.table import reward_name
from nas.executors.inline import InlineExecutor
from nas.graph import Graph, cost
from nas.runs.journal import Sink
from nas.runs.run_folder import BASELINE, RIVALS
from nas.space.networks import REFERENCES
from nas.types import Architecture, Executor, Job, Metrics


@dataclass(frozen=True)
class Finalist:
    """One row of the final comparison."""

    role: str
    """``search``, ``random``, ``handcrafted``, ``handcrafted_in_time``, or ``against NAME``."""
    name: str
    """For people."""
    key: str
    """Equal for networks that are the same."""
    architecture: Architecture | None
    """What was found; None for a handcrafted network."""
    graph: Graph | None
    """The network; None where a table knows the architecture alone."""


def compared_networks(
    config: RunConfig, parts: SearchParts, ledger: Ledger, below: Mapping[str, tuple[Ledger, SearchParts]]
) -> list[Finalist]:
    """Return who is compared: the winner of ``ledger``, the best of the searches ``below``, and handcrafted networks.

    Rivals of one budget are the best on validation, and the best of those that took no more seconds an epoch than the
    winner, where that is another; without rivals it is a ResNet, or what is named, of about the winner's MACs.
    """
    best = ledger.best()
    assert best is not None
    found = [("search", search_name(config), best, parts)]
    if BASELINE in below and (trial := below[BASELINE][0].best()) is not None:
        found.append(("random", search_name(config.changed(searcher="random")), trial, parts))
    if RIVALS in below:
        rivals, own = below[RIVALS]
        first, quick = rivals.best(), best_in_time(ledger, rivals)
        if first is not None:
            found.append(("handcrafted", rival_name(first.architecture), first, own))
        if first is not None and quick is not None and quick.key != first.key:
            found.append(("handcrafted_in_time", rival_name(quick.architecture), quick, own))
    rows = [
        Finalist(role, name, trial.key, trial.architecture, of.prepare_final(trial.architecture).graph)
        for role, name, trial, of in found
    ]
    if config.evaluator != "train" or best.macs is None:
        return rows
    task = parts.settings.task
    if not config.comparison.against:
        name, graph = REFERENCES[RESNET](task, best.macs)
        rows.append(Finalist("handcrafted", name, name, None, graph))
    for network in () if families_of(config) else named(config):
        with suppress(ConfigError):  # the search is over: the others are compared all the same, and the report says so
            name, graph = network_near(network, task, best.macs)
            rows.append(Finalist(f"against {network}", name, name, None, graph))
    return rows


def measure_latencies(rows: Sequence[Finalist], journal: Sink, ledger: Ledger) -> None:
    """Measure what one image takes on one thread of this CPU, for each network once, while nothing else runs."""
    from nas.models.latency import measure_latency

    for row in rows:
        known = ledger.latencies.get(row.role)
        # a search that went on with a larger budget may have another winner
        if row.graph is not None and (known is None or known.get("key", row.key) != row.key):
            found = measure_latency(row.graph, 1, threads=1, device="cpu")
            event = {"event": "latency", "role": row.role, "key": row.key, **asdict(found)}
            ledger.apply(event)
            journal.append([event])


def final_runner(
    config: RunConfig,
    parts: SearchParts,
    rows: Sequence[Finalist],
    *,
    executor: Executor,
    journal: Sink,
    ledger: Ledger,
    best_folder: Path,
) -> FinalTrainingRunner:
    """Return what trains and tests the finalists as far as the ledger does not hold their scores yet.

    ``executor`` trains as many at a time as it takes; a table is looked up here, once for each finalist. The winner's
    weights go to ``best_folder``. For what becomes of failures see
    :class:`nas.engine.final_trainings.FinalTrainingRunner`.
    """
    # seed by seed, so that what is done when it stops can be compared
    seeds = config.comparison.seeds if config.evaluator == "train" else min(config.comparison.seeds, 1)
    plan = []
    for index, (number, finalist) in enumerate(product(range(seeds), rows)):
        # the size of the first output, without auxiliary heads
        graph = finalist.graph
        size = None if graph is None else cost(graph.pruned((graph.outputs[0][0],)))
        job = Job(
            index=index,
            attempt=0,
            architecture=finalist.architecture or Architecture(finalist.role, {"network": finalist.name}),
            key=finalist.key,
            epochs=config.comparison.epochs,
            seed=derive(config.seed, number, 0, FINAL),
            task=parts.settings.task,
            graph=graph,
            settings=dict(parts.final_job),
            params=None if size is None else size.params,
            macs=None if size is None else size.macs,
            keep_weights=finalist.role == "search" and number == 0,
        )
        # a table without a column for the objective tells the reward again, which is no test score
        reads = config.evaluator == "train" or config.table.test_column is not None
        plan.append(FinalTraining(finalist.role, number, finalist.name, finalist.key, job, reads=reads))

    def look_up(job: Job) -> Metrics:
        assert parts.table is not None
        objective = config.table.test_column or reward_name(config.table.val_column or "", config.train.epochs)
        row = parts.table.row(job.architecture, job.key)
        value = float(parts.table.column(objective, config.data.dataset)[row])
        if not math.isfinite(value):
            raise EvaluationError(f"column '{objective}' of the table is {value} for the winner", "diverged")
        return Metrics(value)

    def keep(step: FinalTraining, metrics: Metrics) -> None:
        if metrics.weights:
            write_atomic(best_folder / "weights.safetensors", metrics.weights)

    found = executor if parts.table is None else InlineExecutor(look_up)
    return FinalTrainingRunner(plan, found, journal, ledger, keep)
