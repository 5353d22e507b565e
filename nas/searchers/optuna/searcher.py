"""Optuna's samplers as searchers: ``optuna:NAME``. Optuna is imported when such a searcher is made.

Every proposal asks a fresh sampler, seeded by the trial's random stream, with the whole history as its study. What
some samplers keep between trials follows from the history as well: small facts travel in ``Proposal.info``
(``attrs``, ``sequence``, ``seed``), the rest is folded over the results.
"""

from __future__ import annotations

import inspect
import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from itertools import chain, count
from types import ModuleType
from typing import TYPE_CHECKING, cast

import numpy as np

from nas.core.values import Json, Value
from nas.errors import ConfigError, Exhausted, one_line, unknown
from nas.searchers.base import Fold, register_family
from nas.space import Space
from nas.space.choices import Chooser, Options, Random
from nas.types import Architecture, History, Proposal, Trial

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseGASampler, BaseSampler
    from optuna.trial import FrozenTrial
    from optuna.trial import Trial as OptunaTrial

    from nas.searchers.optuna.storage import HistoryStorage

RETRIES = 5
"""How often a sampler is asked again after it proposed what was tried already."""
DRAWS = 100
"""How many random architectures are tried then, before the first untried one in the space's order is taken."""
INFEASIBLE = 20
"""Infeasible draws of a sampler after which the decisions are drawn uniformly."""
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


def import_optuna() -> ModuleType:
    """Return the package ``optuna``; without it raise :class:`ConfigError` that says how to install it."""
    try:
        return import_module("optuna")
    except ImportError as error:
        if (error.name or "").split(".")[0] != "optuna":
            raise ConfigError(f"Optuna cannot be imported: {one_line(error)}") from None
        raise ConfigError("Optuna is not installed; pip install optuna") from None


def readable(options: Options) -> tuple[Value, ...]:
    """Return ``options`` as Optuna's categories: as they are, but tuples as JSON text."""
    texts = tuple(json.dumps(o) if isinstance(o, tuple) else o for o in options)
    return texts if len(set(texts)) == len(texts) else tuple(json.dumps(o) for o in options)


@contextmanager
def quiet() -> Iterator[None]:
    """Hide Optuna's log below errors, and its warnings that a feature is experimental."""
    logger = logging.getLogger("optuna")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", import_module("optuna.exceptions").ExperimentalWarning)
        logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            logger.setLevel(level)


class Coding:
    """How a decision becomes one parameter of Optuna, either categorical, its categories readable, or an integer.

    CMA-ES, which knows numbers alone, has the index of the option (``ordinal``). A number an option, of which the
    greatest wins, did no better on NAS-Bench-201 and took five times as long.
    """

    def __init__(self, ordinal: bool) -> None:
        self._ordinal = ordinal
        self._known: dict[str, tuple[tuple[Value, ...], BaseDistribution]] = {}

    def suggest(self, trial: OptunaTrial, name: str, options: Options) -> int:
        """Let ``trial`` choose; return the index of an option."""
        if self._ordinal:
            return trial.suggest_int(name, 0, len(options) - 1)
        values, _ = self.encode(name, options)
        return values.index(trial.suggest_categorical(name, values))

    def encode(self, name: str, options: Options) -> tuple[tuple[Value, ...], BaseDistribution]:
        """Return the parameter's value for every option, and its distribution."""
        if name not in self._known:
            made = import_module("optuna.distributions")
            if self._ordinal:
                self._known[name] = tuple(range(len(options))), made.IntDistribution(0, len(options) - 1)
            else:
                values = readable(options)
                self._known[name] = values, made.CategoricalDistribution(values)
        return self._known[name]


def sampler_classes() -> dict[str, type[BaseSampler]]:
    """Return the samplers of Optuna that need no objects to be made, by short name: ``tpe`` for TPESampler."""
    samplers = import_optuna().samplers
    return {
        name.removesuffix("Sampler").lower(): cls
        for name, cls in vars(samplers).items()
        if isinstance(cls, type) and issubclass(cls, samplers.BaseSampler) and not inspect.isabstract(cls)
        if all(p.default is not p.empty for p in inspect.signature(cls).parameters.values())
    }


def _checked(where: str, cls: type[BaseSampler], args: Mapping[str, Value]) -> dict[str, Value]:
    """Return ``args`` and our defaults; arguments of other names, types or sizes raise :class:`ConfigError`."""
    # the constructor's arguments that take plain values, with the names of the types they take
    known: dict[str, list[str]] = {}
    for p in inspect.signature(cls).parameters.values():
        kinds = [kind for kind in str(p.annotation).replace(" ", "").split("|") if kind in _KINDS]
        if kinds and p.name not in _NOT_ARGUMENTS:
            known[p.name] = kinds
    for name, value in args.items():
        if name not in known:
            raise ConfigError(f"{where}: {unknown('argument', name, known)}")
        kinds = known[name]
        if isinstance(value, bool) != ("bool" in kinds) or not any(isinstance(value, _KINDS[kind]) for kind in kinds):
            raise ConfigError(f"{where}: {name} must be of type {' or '.join(kinds)}, found {value!r}")
        least = _LEAST.get(name, 1)
        if kinds == ["int"] and value < least:
            raise ConfigError(f"{where}: {name} must be at least {least}, found {value!r}")
    # without multivariate there are no groups
    defaults = {} if args.get("multivariate") is False else DEFAULTS.get(cls.__name__, {})
    return {**defaults, **args}


@dataclass
class _State:
    """The history as Optuna's trials, and what samplers keep between trials."""

    past: list[FrozenTrial] = field(default_factory=list)
    tried: set[Architecture] = field(default_factory=set)
    attrs: dict[str, object] = field(default_factory=dict)
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
        classes, short = sampler_classes(), member.lower().removesuffix("sampler")
        if short not in classes:
            raise ConfigError(unknown("searcher", self._name, [f"optuna:{name}" for name in classes]))
        self._class = classes[short]
        self._args = _checked(f"searcher '{self._name}'", self._class, args)
        self._parameters = inspect.signature(self._class).parameters
        self._genetic = issubclass(self._class, optuna.samplers.BaseGASampler)
        self._cma = issubclass(self._class, optuna.samplers.CmaEsSampler)
        self._sequential = issubclass(self._class, optuna.samplers.QMCSampler)
        self._coding = Coding(ordinal=self._cma)
        self._fold = Fold(_State, self._step)
        try:
            if self._cma:
                import_module("cmaes")
            self._sampler(0, 0)
        except ModuleNotFoundError as error:
            rule = f"needs the package {error.name}; pip install {error.name}"
            raise ConfigError(f"searcher '{self._name}' {rule}") from None
        except (ValueError, TypeError) as error:
            raise ConfigError(f"searcher '{self._name}': {one_line(error)}") from None

    def ask(self, history: History, rng: np.random.Generator) -> Proposal:
        """Return what the sampler suggests; raise :class:`Exhausted` when everything was tried."""
        state = self._fold(history)
        # pending trials are running ones to the sampler; the folded state must stay as it is
        tried, trials, sequence, fixed = state.tried, state.past, state.sequence, state.seed
        if history.pending:
            tried, trials, sequence = set(tried), list(trials), dict(sequence)
            for trial in history.pending:
                tried.add(trial.architecture)
                trials.append(self._frozen(trial, len(trials), {}, running=True))
                fixed = _follow(sequence, fixed, trial)
        # a sampler may repeat itself: ask it a few times, each time with a seed of its own
        found: Architecture | None = None
        with quiet():
            storage = self._storage(trials, {**state.attrs, **sequence})
            for _ in range(1 + RETRIES):
                seed = int(rng.integers(2**31 - 1))
                fixed = seed if fixed is None else fixed
                suggested = self._suggested(storage, self._sampler(fixed, seed), tried, rng)
                if suggested not in tried:
                    found = suggested
                    break
        # it has nothing new to say: anything untried, which carries no state of CMA-ES
        if found is None:
            samples = (self._space.sample(rng) for _ in range(DRAWS))
            found = next((a for a in chain(samples, self._space.enumerate()) if a not in tried), None)
            if found is None:
                raise Exhausted(f"space '{self._space.name}': every architecture was tried")
            if self._cma:
                storage.asked = None
        # what the sampler wrote down goes into the journal, for those that need it later
        attrs = {} if storage.asked is None else storage.asked.system_attrs
        info: dict[str, object] = {}
        if self._genetic or self._cma:
            info["attrs"] = _optimizer(attrs, False)
        if self._sequential:
            positions = {key: value for key, value in storage.attrs.items() if key.startswith("qmc:")}
            info |= {"seed": fixed, "sequence": positions}
        return Proposal(found, info=info)

    def _suggested(
        self, storage: HistoryStorage, sampler: BaseSampler, tried: set[Architecture], rng: np.random.Generator
    ) -> Architecture:
        study, draws = storage.study(sampler), count(1)

        def chooser() -> Chooser:
            # samplers know no constraints between decisions
            if next(draws) <= INFEASIBLE:
                return _Suggest(study.ask(), self._coding)
            storage.asked = None
            return Random(rng)

        return self._space.draw(chooser, without=tried)

    def _sampler(self, fixed: int, seed: int) -> BaseSampler:
        # a quasi-random sequence keeps one seed all its life, other samplers get one a proposal
        settings: dict[str, object] = {"seed": fixed if self._sequential else seed}
        if "independent_sampler" in self._parameters:
            settings["independent_sampler"] = import_optuna().samplers.RandomSampler(seed)
        with quiet():
            return self._class(**settings, **self._args)

    def _storage(self, trials: list[FrozenTrial], attrs: dict[str, object]) -> HistoryStorage:
        from nas.searchers.optuna.storage import HistoryStorage

        return HistoryStorage(trials, attrs)

    def _step(self, state: _State, trial: Trial) -> None:
        state.tried.add(trial.architecture)
        state.seed = _follow(state.sequence, state.seed, trial)
        attrs = dict(trial.proposal.info.get("attrs", {}))
        frozen = self._frozen(trial, len(state.past), attrs)
        # go on to the next generation where the results so far complete one, before this trial is added
        generation = _generation(attrs)
        if trial.reward is not None and self._genetic and generation is not None and generation > state.generation:
            with quiet():
                sampler = cast("BaseGASampler", self._sampler(0, trial.index))
                sampler.get_parent_population(self._storage(state.past, state.attrs).study(sampler), generation)
            state.generation = generation
        elif trial.reward is not None and self._cma:
            if state.members >= state.size or (generation is None and state.holder is not None):
                with quiet():
                    self._tell_cma(state, frozen)
            state.members += generation == state.generation
        state.past.append(frozen)

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
            # a decision turned out to be conditional: the optimizer begins again with those that all trials made
            state.generation, state.members, state.size = 0, 0, 1
        if not kept or generation is None:
            return
        frozen.system_attrs = {**frozen.system_attrs, **kept}
        state.holder, state.generation, state.size, state.members = frozen, generation, state.members, 0

    def _frozen(self, trial: Trial, number: int, attrs: dict[str, object], running: bool = False) -> FrozenTrial:
        from optuna.trial import TrialState

        from nas.searchers.optuna.storage import frozen

        params: dict[str, object] = {}
        distributions: dict[str, BaseDistribution] = {}
        for name, value in trial.architecture.decisions.items():
            try:
                options = self._space.options(name)
            except KeyError:  # a decision that this space has not come across so far
                self._space.describe(trial.architecture)
                options = self._space.options(name)
            if len(options) > 1:
                values, distributions[name] = self._coding.encode(name, options)
                params[name] = values[options.index(value)]
        # a failed trial has parameters but no value
        value = None if trial.reward is None else min(max(trial.reward, -HUGE), HUGE)
        ended = TrialState.FAIL if value is None else TrialState.COMPLETE
        return frozen(number, TrialState.RUNNING if running else ended, value, params, distributions, attrs)


@dataclass(frozen=True)
class _Suggest:
    """A chooser that lets a trial of Optuna choose."""

    trial: OptunaTrial
    coding: Coding

    def pick(self, name: str, options: Options) -> int:
        return self.coding.suggest(self.trial, name, options) if len(options) > 1 else 0


def _follow(sequence: dict[str, int], seed: int | None, trial: Trial) -> int | None:
    """Move ``sequence`` on to where ``trial`` took its point; return the seed of the first that had one."""
    info = trial.proposal.info
    for key, position in info.get("sequence", {}).items():
        sequence[key] = max(position, sequence.get(key, -1))
    return info.get("seed") if seed is None else seed


def _generation(attrs: Mapping[str, object]) -> int | None:
    return next((v for key, v in attrs.items() if key.endswith(":generation") and isinstance(v, int)), None)


def _optimizer(attrs: Mapping[str, object], wanted: bool) -> Json:
    """Return the attributes that hold the state of CMA-ES, or all others."""
    return {key: value for key, value in attrs.items() if (":optimizer:" in key) == wanted}
