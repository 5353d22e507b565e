"""The end of a search: the winner against random search and a handcrafted network, trained alike and tested once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nas.errors import EvaluationError, one_line
from nas.evaluators.notes import news
from nas.evaluators.table import objective_of, reward_name
from nas.graph import Graph, cost
from nas.run.config import RunConfig, search_name
from nas.run.journal import Sink
from nas.run.ledger import Ledger
from nas.run.seeds import FINAL, derive
from nas.study import Study
from nas.types import Architecture, Trial
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
    journal: Sink,
    ledger: Ledger,
    best_folder: Path,
    proceed: Callable[[], bool],
    observe: Callable[[int, int], None],
) -> bool:
    """Train and test what the ledger does not hold yet; return whether all is done (``proceed`` may say stop).

    Every read of the test split is journalled before it happens. Equal architectures are trained once for all.
    """
    plan = list(steps(config, rows))
    for done, (finalist, number) in enumerate(plan):
        observe(done, len(plan))
        if any(f["role"] == finalist.role and f["number"] == number for f in ledger.finals):
            continue
        if not proceed():
            return False
        twin = next((f for f in ledger.finals if f["key"] == finalist.key and f["number"] == number), None)
        event: dict[str, Any] = {"event": "final", "role": finalist.role, "name": finalist.name, "number": number}
        if twin is not None:
            event |= {k: v for k, v in twin.items() if k not in (*event, "seq", "crc", "notes")}
        else:
            if config.evaluator == "train" or config.objective:
                _append(journal, ledger, {"event": "test_read", "role": finalist.role, "number": number})
            event |= {"key": finalist.key, **_tested(config, study, finalist, number, best_folder)}
            notes = news(event.pop("notes", {}), _told(ledger, finalist.role))
            event |= {"notes": notes} if notes else {}
        _append(journal, ledger, event)
    observe(len(plan), len(plan))
    return True


def _told(ledger: Ledger, role: str) -> list[dict[str, Any]]:
    """Return the notes of earlier final trainings; what did not apply to other networks says nothing of this one."""
    earlier = [(f["role"] == role, f.get("notes", {})) for f in ledger.finals]
    return [{n: v for n, v in notes.items() if same or n != "not_applied"} for same, notes in earlier]


def _append(journal: Sink, ledger: Ledger, event: dict[str, Any]) -> None:
    journal.append([event])
    ledger.apply(event)


def _tested(config: RunConfig, study: Study, finalist: Finalist, number: int, best_folder: Path) -> dict[str, Any]:
    """Return the score, or why there is none: a final training that diverges must not keep a run from its report."""
    try:
        return _measure(config, study, finalist, number, best_folder)
    except EvaluationError as error:
        return {"score": None, "failure": one_line(error), "seconds": 0.0, **_size(finalist.graph)}


def _measure(config: RunConfig, study: Study, finalist: Finalist, number: int, best_folder: Path) -> dict[str, Any]:
    if study.table is not None:
        assert finalist.architecture is not None
        objective = config.objective or reward_name(config.reward or "", config.epochs)
        value = objective_of(study.table, finalist.architecture, finalist.key, objective, config.dataset)
        if not math.isfinite(value):
            raise EvaluationError(f"column '{objective}' of the table is {value} for the winner", "diverged")
        return {"score": value, "seconds": 0.0, **_size(finalist.graph)}
    from nas.evaluators.final import train_final
    from nas.training.weights import save_weights

    assert finalist.graph is not None
    seed = derive(config.seed, number, 0, FINAL)
    result = train_final(finalist.graph, study.final_job, config.final_epochs, seed)
    if finalist.role == "search" and number == 0:
        save_weights(result.module, best_folder / "weights.safetensors")
    return {
        "score": result.test_accuracy,
        "seconds": round(result.train_seconds, 3),
        **_size(finalist.graph),
        "notes": dict(result.notes),
    }


def _size(graph: Graph | None) -> dict[str, int | None]:
    if graph is None:
        return {"params": None, "macs": None}
    total = cost(graph.pruned((graph.outputs[0][0],)))
    return {"params": total.params, "macs": total.macs}
