"""Optuna's samplers as searchers: ``optuna:NAME``. Optuna is imported when such a searcher is made.

Every proposal asks a fresh sampler, seeded by the trial's random stream, with the whole history as its study. What
some samplers keep between trials follows from the history as well: small facts travel in ``Proposal.info``
(``attrs``, ``sequence``, ``seed``), the rest is folded over the results.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.errors import ConfigError, Exhausted, one_line, unknown
from nas.searchers.base import Fold, register_family
from nas.searchers.optuna_coding import Categorical, Coding, Ordinal, Suggest, import_optuna, quiet
from nas.space import Space
from nas.space.choices import Chooser, Options, Random
from nas.types import Architecture, History, Proposal, Trial, Value

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler
    from optuna.trial import FrozenTrial

    from nas.searchers.optuna_storage import HistoryStorage

RETRIES = 5
"""How often a sampler is asked again after it proposed what was tried already."""
DRAWS = 100
"""How many random architectures are tried then, before the first untried one in the space's order is taken."""
INFEASIBLE = 20
"""After so many infeasible draws of a sampler the decisions are drawn uniformly."""
HUGE = 1e100
"""Rewards are clipped to this for the samplers: a Gaussian process squares them."""
DEFAULTS: dict[str, dict[str, Value]] = {"QMCSampler": {"scramble": True}, "TPESampler": {"group": True}}
"""Defaults that differ from Optuna's: unscrambled, all seeds draw one sequence; groups serve conditional decisions."""
_KINDS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "str": (str,)}
_LEAST = {"n_startup_trials": 0, "popsize": 4}
_NOT_ARGUMENTS = {
    "seed",  # the searcher seeds
    *("warn_independent_sampling", "warn_asynchronous_seeding"),  # the log is hidden
    *("consider_prior", "consider_magic_clip", "consider_endpoints", "prior_weight"),  # deprecated in Optuna 5
    *("sigma0", "restart_strategy", "inc_popsize"),
    "with_margin",  # fails inside Optuna where decisions are conditional; no better on NAS-Bench-201
}


def sampler_classes() -> dict[str, type[BaseSampler]]:
    """Return the samplers of Optuna that need no objects to be made, by short name: ``tpe`` for TPESampler."""
    samplers: Any = import_optuna().samplers
    found: dict[str, type[BaseSampler]] = {}
    members: dict[str, Any] = vars(samplers)
    for name, cls in members.items():
        if isinstance(cls, type) and issubclass(cls, samplers.BaseSampler) and not inspect.isabstract(cls):
            required = [p for p in inspect.signature(cls).parameters.values() if p.default is p.empty]
            if not required:
                found[name.removesuffix("Sampler").lower()] = cls
    return found


def _find(member: str) -> type[BaseSampler]:
    classes = sampler_classes()
    short = member.lower().removesuffix("sampler")
    if short not in classes:
        raise ConfigError(unknown("searcher", f"optuna:{member}", [f"optuna:{name}" for name in classes]))
    return classes[short]


def _plain_arguments(cls: type[BaseSampler]) -> dict[str, list[str]]:
    """Return the constructor's arguments that take plain values, with the names of the types they take."""
    found = {}
    for p in inspect.signature(cls).parameters.values():
        kinds = [kind for kind in str(p.annotation).replace(" ", "").split("|") if kind in _KINDS]
        if kinds and p.name not in _NOT_ARGUMENTS:
            found[p.name] = kinds
    return found


def _checked(where: str, cls: type[BaseSampler], args: Mapping[str, Value]) -> dict[str, Value]:
    known = _plain_arguments(cls)
    for name, value in args.items():
        if name not in known:
            raise ConfigError(f"{where}: {unknown('argument', name, known)}")
        kinds = known[name]
        if isinstance(value, bool) != ("bool" in kinds) or not any(isinstance(value, _KINDS[kind]) for kind in kinds):
            raise ConfigError(f"{where}: {name} must be of type {' or '.join(kinds)}, found {value!r}")
        least = _LEAST.get(name, 1)
        if kinds == ["int"] and value < least:
            raise ConfigError(f"{where}: {name} must be at least {least}, found {value!r}")
    defaults = DEFAULTS.get(cls.__name__, {})
    if args.get("multivariate") is False:
        defaults = {}  # without it there are no groups
    return {**defaults, **args}


@dataclass
class _State:
    """The history as Optuna's trials, and what samplers keep between trials."""

    past: list[FrozenTrial] = field(default_factory=list)
    tried: set[Architecture] = field(default_factory=set)
    attrs: dict[str, Any] = field(default_factory=dict)
    """A genetic algorithm's parents by generation."""
    sequence: dict[str, int] = field(default_factory=dict)
    """The position in a quasi-random sequence."""
    seed: int | None = None
    """The seed of that sequence."""
    generation: int = 0
    members: int = 0
    """How many trials with a reward the generation has."""
    size: int = 1
    """The fewest members with which CMA-ES may go on to the next generation, once that is known."""
    holder: FrozenTrial | None = None
    """The trial that carries the state of CMA-ES."""


@register_family("optuna", source="Optuna 5, arXiv:1907.10902; TPE: arXiv:2304.11127")
class OptunaSearcher:
    """A sampler of the package optuna: tpe, gp, cmaes, nsgaii, qmc, random, ...; arguments are its constructor's.

    What was tried or is pending is not proposed again while the space has anything else.
    """

    def __init__(self, space: Space, member: str, **args: Value) -> None:
        optuna = import_optuna()
        self._space, self._name = space, f"optuna:{member}"
        self._class = _find(member)
        self._args = _checked(f"searcher '{self._name}'", self._class, args)
        self._parameters = inspect.signature(self._class).parameters
        self._genetic = issubclass(self._class, optuna.samplers.BaseGASampler)
        self._cma = issubclass(self._class, optuna.samplers.CmaEsSampler)
        self._sequential = issubclass(self._class, optuna.samplers.QMCSampler)
        self._coding: Coding = Ordinal() if self._cma else Categorical()
        self._fold = Fold(_State, self._step)
        try:
            if self._cma:
                import_module("cmaes")
            self._sampler(0, 0)
        except ModuleNotFoundError as error:
            hint = "pip install 'nas-toolkit[optuna]'"
            raise ConfigError(f"searcher '{self._name}' needs the package {error.name}; {hint}") from None
        except (ValueError, TypeError) as error:
            raise ConfigError(f"searcher '{self._name}': {one_line(error)}") from None

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return what the sampler suggests; raise :class:`Exhausted` when everything was tried."""
        state = self._fold(history)
        tried, trials, sequence, fixed = self._with_pending(state, history)
        with quiet():
            storage = self._storage(trials, {**state.attrs, **sequence})
            for _ in range(1 + RETRIES):
                seed = int(rng.integers(2**31 - 1))
                fixed = seed if fixed is None else fixed
                architecture = self._suggested(storage, self._sampler(fixed, seed), rng)
                if architecture not in tried:
                    return Proposal(architecture, info=self._info(storage, fixed))
        architecture = self._untried(tried, rng)
        if self._cma:
            storage.asked = None
        return Proposal(architecture, info=self._info(storage, fixed))

    def _with_pending(
        self, state: _State, history: History
    ) -> tuple[set[Architecture], list[FrozenTrial], dict[str, int], int | None]:
        if not history.pending:
            return state.tried, state.past, state.sequence, state.seed
        tried, trials = set(state.tried), list(state.past)
        sequence, seed = dict(state.sequence), state.seed
        for trial in history.pending:
            tried.add(trial.architecture)
            trials.append(self._frozen(trial, len(trials), {}, running=True))
            seed = _follow(sequence, seed, trial)
        return tried, trials, sequence, seed

    def _suggested(self, storage: HistoryStorage, sampler: BaseSampler, rng: np.random.Generator) -> Architecture:
        study = storage.study(sampler)
        draws = 0

        def chooser() -> Chooser:
            nonlocal draws
            draws += 1
            if draws <= INFEASIBLE:
                return Suggest(study.ask(), self._coding)
            storage.asked = None
            return Random(rng)

        return self._space.draw(chooser)

    def _untried(self, tried: set[Architecture], rng: np.random.Generator) -> Architecture:
        for _ in range(DRAWS):
            architecture = self._space.sample(rng)
            if architecture not in tried:
                return architecture
        for architecture in self._space.enumerate():
            if architecture not in tried:
                return architecture
        raise Exhausted(f"space '{self._space.name}': every architecture was tried")

    def _info(self, storage: HistoryStorage, fixed: int | None) -> dict[str, Any]:
        """Return what the sampler wrote down, for those that need it later."""
        attrs = {} if storage.asked is None else storage.asked.system_attrs
        info: dict[str, Any] = {}
        if self._genetic or self._cma:
            info["attrs"] = _optimizer(attrs, False)
        if self._sequential:
            sequence = {key: value for key, value in storage.attrs.items() if key.startswith("qmc:")}
            info |= {"seed": fixed, "sequence": sequence}
        return info

    def _sampler(self, fixed: int, seed: int) -> BaseSampler:
        settings: dict[str, Any] = {"seed": fixed if self._sequential else seed}
        if "independent_sampler" in self._parameters:
            settings["independent_sampler"] = import_optuna().samplers.RandomSampler(seed)
        with quiet():
            return self._class(**settings, **self._args)

    def _storage(self, trials: list[FrozenTrial], attrs: dict[str, Any]) -> HistoryStorage:
        from nas.searchers.optuna_storage import HistoryStorage

        return HistoryStorage(trials, attrs)

    def _step(self, state: _State, trial: Trial) -> None:
        state.tried.add(trial.architecture)
        state.seed = _follow(state.sequence, state.seed, trial)
        attrs = dict(trial.proposal.info.get("attrs", {}))
        frozen = self._frozen(trial, len(state.past), attrs)
        if trial.reward is not None and (self._genetic or self._cma):
            with quiet():
                self._advance(state, frozen, _generation(attrs), trial.index)
        state.past.append(frozen)

    def _advance(self, state: _State, frozen: FrozenTrial, generation: int | None, seed: int) -> None:
        """Go on to the next generation where the results so far complete one, before ``frozen`` is added."""
        if self._genetic:
            if generation is not None and generation > state.generation:
                sampler: Any = self._sampler(0, seed)
                study = self._storage(state.past, state.attrs).study(sampler)
                sampler.get_parent_population(study, generation)
                state.generation = generation
            return
        if state.members >= state.size or (generation is None and state.holder is not None):
            self._tell_cma(state, frozen)
        state.members += generation == state.generation

    def _tell_cma(self, state: _State, frozen: FrozenTrial) -> None:
        """Let CMA-ES see a whole generation, and keep its state, which it hands to the next trial, in ``frozen``."""
        storage = self._storage(state.past, {})
        _ = storage.study(self._sampler(0, 0)).ask().relative_params
        assert storage.asked is not None
        kept = _optimizer(storage.asked.system_attrs, True)
        generation = _generation(storage.asked.system_attrs)
        if state.holder is not None and (kept or generation is None):
            state.holder.system_attrs = _optimizer(state.holder.system_attrs, False)
            state.holder = None
        if generation is None:
            # a decision turned out to be conditional: the optimiser begins anew with those that all trials made
            state.generation, state.members, state.size = 0, 0, 1
        if not kept or generation is None:
            return
        frozen.system_attrs = {**frozen.system_attrs, **kept}
        state.holder, state.generation, state.size, state.members = frozen, generation, state.members, 0

    def _frozen(self, trial: Trial, number: int, attrs: dict[str, Any], running: bool = False) -> FrozenTrial:
        from optuna.trial import TrialState

        from nas.searchers.optuna_storage import frozen

        params: dict[str, Any] = {}
        distributions: dict[str, BaseDistribution] = {}
        for name, value in trial.architecture.decisions:
            options = self._options(trial.architecture, name)
            if len(options) > 1:
                values, made = self._coding.encode(name, options, options.index(value))
                params.update(values)
                distributions.update(made)
        value = None if trial.reward is None else min(max(trial.reward, -HUGE), HUGE)
        ended = TrialState.FAIL if value is None else TrialState.COMPLETE
        return frozen(number, TrialState.RUNNING if running else ended, value, params, distributions, attrs)

    def _options(self, architecture: Architecture, name: str) -> Options:
        try:
            return self._space.options(name)
        except KeyError:
            self._space.describe(architecture)
            return self._space.options(name)


def _follow(sequence: dict[str, int], seed: int | None, trial: Trial) -> int | None:
    """Move ``sequence`` on to where ``trial`` took its point; return the seed of the first that had one."""
    info = trial.proposal.info
    for key, position in info.get("sequence", {}).items():
        sequence[key] = max(position, sequence.get(key, -1))
    return info.get("seed") if seed is None else seed


def _generation(attrs: Mapping[str, Any]) -> int | None:
    return next((value for key, value in attrs.items() if key.endswith(":generation")), None)


def _optimizer(attrs: Mapping[str, Any], wanted: bool) -> dict[str, Any]:
    """Return the attributes that hold the state of CMA-ES, or all others."""
    return {key: value for key, value in attrs.items() if (":optimizer:" in key) == wanted}
