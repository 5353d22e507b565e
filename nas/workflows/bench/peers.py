"""Other packages' searchers behind one protocol: they are asked for decisions of a table and told their rewards."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from nas.core.values import Value

Options = Mapping[str, tuple[Value, ...]]
"""The options of every decision, none of which depends on another."""
Decisions = Mapping[str, Value]


class Peer(Protocol):
    """A searcher of another package: it may propose the same again."""

    def ask(self) -> Decisions:
        """Return what to evaluate next."""

    def tell(self, decisions: Decisions, reward: float) -> None:
        """Take the reward of what was asked last, which is to be maximised."""


@dataclass(frozen=True)
class PeerInfo:
    """A package that may be installed."""

    make: Callable[[Options, int, int], Peer]
    """``make(options, seed, queries)``."""
    package: str
    """What it is imported by."""
    install: str
    """What pip calls it."""

    @property
    def installed(self) -> bool:
        """Whether it can be imported here."""
        return importlib.util.find_spec(self.package) is not None


class _Optuna:
    """Optuna as its users use it: a study, its suggestions as they come (arXiv:1907.10902)."""

    def __init__(self, options: Options, seed: int, sampler: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._options = options
        self._study = optuna.create_study(direction="maximize", sampler=getattr(optuna.samplers, sampler)(seed=seed))
        self._trial: Any = None

    def ask(self) -> Decisions:
        self._trial = self._study.ask()
        # by their places: options may be of kinds that Optuna does not store
        return {
            name: known[self._trial.suggest_categorical(name, list(range(len(known))))]
            for name, known in self._options.items()
        }

    def tell(self, decisions: Decisions, reward: float) -> None:
        self._study.tell(self._trial, reward)


class _Smac:
    """SMAC 3 (JMLR 23(54), 2022): random forests over categorical decisions, its facade for hyperparameters."""

    def __init__(self, options: Options, seed: int, queries: int) -> None:
        import logging
        from tempfile import TemporaryDirectory

        from ConfigSpace import Categorical, ConfigurationSpace
        from smac import HyperparameterOptimizationFacade, Scenario

        logging.getLogger("smac").setLevel(logging.ERROR)
        self._options, self._folder = options, TemporaryDirectory()
        space = ConfigurationSpace(seed=seed)
        for name, known in options.items():
            space.add(Categorical(name, list(range(len(known)))))
        # it may ask more often than there are queries, since repeats may be none; it begins as for as many as queries
        scenario = Scenario(
            space, output_directory=self._folder.name, deterministic=True, n_trials=100 * queries, seed=seed
        )
        first = HyperparameterOptimizationFacade.get_initial_design(
            scenario, n_configs=max(1, min(10 * len(options), queries // 4))
        )
        self._facade = HyperparameterOptimizationFacade(
            scenario, lambda config, seed: 0.0, initial_design=first, logging_level=False
        )
        self._asked: Any = None

    def ask(self) -> Decisions:
        self._asked = self._facade.ask()
        return {name: known[int(self._asked.config[name])] for name, known in self._options.items()}

    def tell(self, decisions: Decisions, reward: float) -> None:
        from smac.runhistory.dataclasses import TrialValue

        self._facade.tell(self._asked, TrialValue(cost=-reward))


class _Neps:
    """NePS (arXiv:2212.03193 and later): Bayesian optimization by botorch's Gaussian processes."""

    def __init__(self, options: Options, seed: int, queries: int) -> None:
        import logging
        import random
        import warnings

        import neps
        import numpy as np
        import torch
        from neps.optimizers.ask_and_tell import AskAndTell

        # it takes no seed, but draws from the global generators
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        torch.set_num_threads(1)
        warnings.simplefilter("ignore")
        logging.getLogger("neps").setLevel(logging.ERROR)
        self._options = options
        decisions = {name: neps.Categorical(tuple(range(len(known)))) for name, known in options.items()}
        space = type("Decisions", (neps.PipelineSpace,), decisions)
        self._optimizer = AskAndTell(neps.algorithms.bayesian_optimization(space()))
        self._asked: Any = None

    def ask(self) -> Decisions:
        self._asked = self._optimizer.ask()
        return {name: known[int(self._asked.config[name])] for name, known in self._options.items()}

    def tell(self, decisions: Decisions, reward: float) -> None:
        self._optimizer.tell(self._asked, -reward)


class _SyneTune:
    """Syne Tune (AutoML 2022): its Bayesian optimization by botorch."""

    def __init__(self, options: Options, seed: int, queries: int) -> None:
        import warnings

        import torch
        from syne_tune.config_space import choice
        from syne_tune.optimizer.baselines import BOTorch

        torch.set_num_threads(1)
        warnings.simplefilter("ignore")
        self._options, self._count = options, 0
        space = {name: choice(list(range(len(known)))) for name, known in options.items()}
        self._scheduler = BOTorch(space, metric="reward", do_minimize=False, random_seed=seed)
        self._asked: Any = None

    def ask(self) -> Decisions:
        from datetime import datetime

        from syne_tune.backend.trial_status import Trial

        config = self._scheduler.suggest().config
        self._asked = Trial(self._count, config, datetime.now())
        self._count += 1
        self._scheduler.on_trial_add(self._asked)
        return {name: known[int(config[name])] for name, known in self._options.items()}

    def tell(self, decisions: Decisions, reward: float) -> None:
        self._scheduler.on_trial_complete(self._asked, {"reward": reward})


PEERS = {
    "optuna-tpe": PeerInfo(lambda options, seed, queries: _Optuna(options, seed, "TPESampler"), "optuna", "optuna"),
    "optuna-gp": PeerInfo(lambda options, seed, queries: _Optuna(options, seed, "GPSampler"), "optuna", "optuna"),
    "smac": PeerInfo(_Smac, "smac", "smac"),
    "neps": PeerInfo(_Neps, "neps", "neural-pipeline-search"),
    "syne-tune": PeerInfo(_SyneTune, "syne_tune", "'syne-tune[botorch]'"),
}
"""What is compared where it is installed; none is a dependency."""
