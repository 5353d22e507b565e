"""What a search is compared with: searches of equal cost, and handcrafted networks of its size."""

from __future__ import annotations

import math
from contextlib import suppress
from functools import lru_cache
from itertools import islice

from nas.core.values import Budget, Task
from nas.engine.config import NONE, RunConfig
from nas.engine.loop import Ledger
from nas.engine.prepare import make_prepare
from nas.engine.random_streams import BELOW, derive
from nas.errors import ConfigError
from nas.graph import Graph
from nas.runs.run_folder import BASELINE, RIVALS
from nas.schedulers.finalists import trained_finalists
from nas.searchers.grid import in_turns
from nas.space import SPACES
from nas.space.budget import LEAST_SHARE
from nas.space.networks import REFERENCES
from nas.types import Architecture, Candidate, Trial

HANDCRAFTED = "handcrafted"
"""The space of rivals: families of networks, each point of it at the size of a budget."""
FAMILIES = ("resnet", "vgg", "wide_resnet", "mobilenet_v2", "efficientnet_b0")
"""The families that a search under a budget is compared with where it names none."""
RESNET = "cifar_resnet"
"""The family of references whose member of the winner's MACs is compared with it where there is no budget."""
STEPS = 20
"""How many sizes, each 1 / 0.82 times the one before, are tried above and below one that no network has."""
MOST_POINTS = 100
"""How many points of a family are tried to find one that meets a budget."""


def families_of(config: RunConfig) -> tuple[str, ...]:
    """Return the families whose best is a rival; only networks of one budget compete."""
    return named(config) if config.budget.size else ()


def named(config: RunConfig) -> tuple[str, ...]:
    """Return the handcrafted families and networks that the winner is compared with."""
    return () if config.comparison.against == (NONE,) else config.comparison.against


def searches_below(config: RunConfig, ledger: Ledger) -> dict[str, RunConfig]:
    """Return the searches that the winner is compared with, by the folder below the run's and the phase they have.

    Where the search of ``ledger`` ended early, so do they: each has as many evaluations, and as many finalists.
    """
    alike = config.changed(
        searcher_args=None,
        start_from=None,
        learn_from=None,
        baseline=NONE,
        against=None,
        final_seeds=0,
        zero_cost=(NONE,),
        trials=max(1, ledger.queries),
        finalists=len(trained_finalists(ledger.trials)),
    )
    found = {}
    if config.comparison.baseline == "random":
        found[BASELINE] = alike.changed(searcher="random", seed=_seed_below(config, 1))
    if families := families_of(config):
        found[RIVALS] = alike.changed(
            searcher="grid",
            space=HANDCRAFTED,
            space_args={"families": families},
            width=None,
            depth=None,
            seed=_seed_below(config, 2),
        )
    return found


def _seed_below(config: RunConfig, number: int) -> int:
    """Return the seed of a search below: under a budget one that no run with a seed near this one's has.

    Without a budget it is ``number`` more than the run's, as ever.
    """
    return derive(config.seed, number, 0, BELOW) if config.budget.size else config.seed + number


def check_against(config: RunConfig, task: Task) -> None:
    """Raise :class:`ConfigError` for what is no family or network, or can have no size that is asked for."""
    if config.comparison.against and config.evaluator != "train":
        raise ConfigError(f"--against goes with the evaluator 'train', not with '{config.evaluator}'")
    for name in named(config):
        if config.budget.size or name not in REFERENCES:
            _member(name, task, config.budget.size)


def network_near(name: str, task: Task, macs: int) -> tuple[str, Graph]:
    """Return what to call the network ``name``, and it for ``task`` at about ``macs``.

    Of a family it is the first point of the space :data:`HANDCRAFTED` that meets them, as wide as they let it be, or
    the nearest where none does. Raises :class:`ConfigError` where that is none.
    """
    if name in REFERENCES:
        return REFERENCES[name](task, macs)
    sizes = [macs, *(round(macs * LEAST_SHARE**step) for steps in range(1, STEPS + 1) for step in (-steps, steps))]
    for size in filter(None, sizes):
        with suppress(ConfigError):  # those of some networks are far apart, or all greater
            architecture, found = _member(name, task, Budget(macs=size))
            assert found.graph is not None
            return rival_name(architecture), found.graph
    raise ConfigError(f"--against {name}: none of its networks has anything like {macs:,} MACs")


def default_families(task: Task, budget: Budget) -> tuple[str, ...]:
    """Return those of :data:`FAMILIES` that have a network of ``budget``; all of them where none has."""
    found = []
    for name in FAMILIES:
        with suppress(ConfigError):
            _member(name, task, budget)
            found.append(name)
    return tuple(found) or FAMILIES


def rival_name(architecture: Architecture) -> str:
    """Return what people read for a handcrafted network: its family, and its other decisions."""
    (_, family), *others = architecture.decisions.items()
    return ", ".join([str(family), *(f"{name.rpartition('.')[2].replace('_', ' ')} {v}" for name, v in others)])


@lru_cache(16)
def _member(name: str, task: Task, budget: Budget) -> tuple[Architecture, Candidate]:
    """Return the first point of a family that meets ``budget``; without a budget, that can be built."""
    if HANDCRAFTED not in SPACES:
        raise ConfigError("--against needs the space 'handcrafted', which is not registered")
    try:
        space = SPACES[HANDCRAFTED].with_args({"families": (name,)})
        prepare, problem = make_prepare(space, task, None, None, budget=budget), ""
        for architecture in islice(in_turns(space), MOST_POINTS):
            found = prepare(architecture)
            if not found.problem:
                return architecture, found
            problem = problem or found.problem
    except ConfigError as error:
        raise ConfigError(f"--against {name}: {error}") from None
    raise ConfigError(f"--against {name}: none of its networks meets the budget; {problem}")


def epoch_seconds(ledger: Ledger, key: str) -> dict[float, float]:
    """Return the seconds of an epoch of the network ``key``, by how many it was trained for; the least of each.

    What else a machine does can only add to them.
    """
    found: dict[float, float] = {}
    for trial in ledger.trials:
        if trial.key == key and trial.status == "done" and trial.metrics is not None:
            epochs = max(1.0, trial.metrics.values.get("epochs_trained", trial.proposal.epochs))
            found[epochs] = min(trial.metrics.seconds / epochs, found.get(epochs, math.inf))
    return found


def best_in_time(ledger: Ledger, rivals: Ledger) -> Trial | None:
    """Return the best of ``rivals`` of those whose epoch took no more seconds than the winner's of ``ledger``.

    The least seconds of both are compared, of as many epochs where there are such: a training has parts that take as
    long however many epochs follow. As everywhere, of most epochs first, then by reward. None where none was as quick.
    """
    best = ledger.best()
    most = {} if best is None else epoch_seconds(ledger, best.key)
    quick = []
    for trial in rivals.trials:
        if trial.status == "done" and most:
            seconds = epoch_seconds(rivals, trial.key)
            common = seconds.keys() & most.keys()
            least, own = (min(each[n] for n in common or each) for each in (most, seconds))
            if own <= least:
                quick.append(trial)
    return max(quick, key=lambda t: (t.proposal.epochs, t.reward or 0.0, -t.index), default=None)


def final_rows(config: RunConfig, ledger: Ledger | None = None, rivals: Ledger | None = None) -> int:
    """Return how many networks a search ends with a comparison of; before the rivals are known, at most as many."""
    if config.evaluator not in ("train", "table"):
        return 0
    rows = 1 + (config.comparison.baseline == "random")
    if config.evaluator != "train":
        return rows
    if not families_of(config):
        return rows + (len(named(config)) if config.comparison.against else 1)
    if ledger is None or rivals is None or (best := rivals.best()) is None:
        return rows + 2
    quick = best_in_time(ledger, rivals)
    return rows + 1 + (quick is not None and quick.key != best.key)
