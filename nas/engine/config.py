"""The configuration of a search: composed of what each room needs to know, one flat list of names for its users.

:class:`RunOptions` is what a user has set; :func:`nas.engine.assemble.with_defaults` makes a :class:`RunConfig` of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self

from nas.core.files import real_path
from nas.core.options import MOST_DEPTH, MOST_SEEDS, Config, by_name, option, settings_of
from nas.core.values import Budget, Json
from nas.data.config import DataConfig
from nas.errors import ConfigError
from nas.executors.config import RAY, ExecutorConfig
from nas.runs.trust import relocated
from nas.tables.config import TableConfig
from nas.training.config import NamedRecipe, TrainConfig, recipe_option

EPOCHS = {"epochs": 3, "final_epochs": 10}
"""What is trained for where no recipe says it."""
PLACES: tuple[str, ...] = ("executor", "ray_address", "workers", "cpus_per_trial", "gpus_per_trial")
PLACES += ("data_dir", "table", "plugins", "track")
"""Where a run finds its workers and files, and who is told of it: a resumed run may have others."""
CHANGEABLE = (*PLACES, "trials")
"""What a resumed search may have otherwise: a larger budget too."""
PYTHON = "python"
"""The evaluator of a run whose evaluator is a Python object."""
NONE = "none"
"""No scheduler, no baseline, no scores."""
AUTO_SCORES = "auto"
"""The zero-cost scores that are computed where none are named."""


def _separated(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the names in ``texts``, of which each may hold several with commas between them, each once."""
    names = (name.strip() for text in texts for name in text.split(","))
    return tuple(dict.fromkeys(filter(None, names)))


def tracker_names(texts: Sequence[str]) -> tuple[str, ...]:
    """Return the trackers in ``texts``; none of ``none``, which stands alone."""
    names = _separated(texts)
    if NONE in names and len(names) > 1:
        raise ConfigError(f"--track is names of trackers or none, found {','.join(names)}")
    return () if names == (NONE,) else names


def track_option() -> Any:
    """Return the field of the trackers that are told of a run."""
    text = "trackers that show the run, such as tensorboard=DIR, mlflow=URI or wandb=PROJECT (see: list trackers, "
    return option(tuple, text + "docs/trackers.md); none: none", metavar="NAME[=PLACE],...")


def _arguments(of: str, example: str) -> Any:
    text = f"argument of the {of}, e.g. {example}"
    return option(dict, text, name=f"{of}_args", metavar="K=V", flag=f"--{of}-arg")


@dataclass(frozen=True)
class SpaceConfig(Config):
    """What is searched, and the size at which its architectures are built."""

    name: str = option(
        "macro",
        "search space (see: list spaces); unnamed a short search of networks of one size: 15 trials of 2 epochs under "
        "halving, 2 finalists (see: docs/budgets.md)",
        name="space",
    )
    args: dict[str, Any] = _arguments("space", "nodes=5")
    width: int | None = option(None, "channels of the first stage, or what the space counts; default its own", least=1)
    depth: int | None = option(None, "cells a stage; default the space's own", least=1, most=MOST_DEPTH)


@dataclass(frozen=True)
class SearcherConfig(Config):
    """How architectures are proposed."""

    name: str = option("auto", "searcher (see: list searchers); auto: the best measured", name="searcher")
    args: dict[str, Any] = _arguments("searcher", "population=50")
    start_from: tuple[str, ...] = option(
        tuple,
        "network of the space stages, genotype, architecture file, or trials of a run (RUN:12, RUN:front), to begin "
        "with; may be repeated; default what the space names (see: list spaces), none: none",
        metavar="NAME|FILE|RUN[:TRIAL]",
    )
    zero_cost: tuple[str, ...] = option(
        tuple,
        "zero-cost scores (see: list scores) to record with every trial and to let the searcher see; auto: the usual "
        "ones; default none",
        metavar="NAME,...",
    )

    learn_from: tuple[str, ...] = option(
        tuple,
        "earlier searches of this space, by name or folder: the predictor learns how far what they found holds here",
        metavar="RUN,...",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "learn_from", _separated(self.learn_from))
        names = _separated(self.zero_cost)
        if len(names) > 1 and {NONE, AUTO_SCORES} & set(names):
            raise ConfigError(f"--zero-cost is names of scores, auto or none, found {','.join(names)}")
        # none, as journals of earlier versions have it, which know no scores
        object.__setattr__(self, "zero_cost", () if names == (NONE,) else names)


@dataclass(frozen=True)
class SchedulerConfig(Config):
    """How epochs are spread over trials."""

    name: str = option(
        NONE,
        "spread epochs over trials (see: list schedulers; when it pays: docs/schedulers.md); none: all for --epochs",
        name="scheduler",
    )
    args: dict[str, Any] = _arguments("scheduler", "eta=3 or rungs=12,200")


@dataclass(frozen=True)
class Constraints(Config):
    """What a network may cost; one over a limit is refused before it is evaluated, and costs no trial."""

    params: int | None = option(None, "refuse networks of more parameters", name="max_params", least=1)
    macs: int | None = option(None, "refuse networks of more multiply-accumulates an image", name="max_macs", least=1)
    seconds: float | None = option(
        None,
        "refuse networks that would train for more seconds in --epochs, as a few measured steps of each predict",
        name="max_trial_seconds",
        least=0.001,
        metavar="SECONDS",
    )


@dataclass(frozen=True)
class BudgetConfig(Config):
    """The size of every network: widened until it is just below, so that a search compares shapes and not sizes."""

    macs: int | None = option(
        None, "widen every network to just below N multiply-accumulates an image", name="budget_macs", least=1
    )
    params: int | None = option(None, "widen every network to just below N parameters", name="budget_params", least=1)

    @property
    def size(self) -> Budget:
        """The budget as a value."""
        return Budget(self.macs, self.params)


@dataclass(frozen=True)
class FinalistsConfig(Config):
    """A second stage: the best few trials trained for longer with another seed, before one of them is the winner."""

    count: int = option(
        0,
        "train the N best again, longer and with another seed; the best of those wins; 0: none",
        name="finalists",
        least=0,
    )
    epochs: int | None = option(None, "epochs of a finalist; default twice --epochs", name="finalist_epochs", least=1)


@dataclass(frozen=True)
class ComparisonConfig(Config):
    """What a search ends with: its winner against random search and a handcrafted network, trained alike."""

    baseline: str = option(
        NONE,
        "random: an equally long random search to compare with; none: no comparison; default random for trainings and "
        "tables",
    )
    against: tuple[str, ...] = option(
        tuple,
        "handcrafted networks to compare with: with a budget families (resnet, vgg, wide_resnet, "
        "mobilenet_v2, efficientnet_b0; default all) whose best is chosen on validation with as many trials as the "
        "search had; any other network by name, each at about the winner's MACs; none: none; default without a budget "
        "a ResNet",
        metavar="NAME,...",
    )
    seeds: int = option(
        3, "seeds of the final trainings; 0: no final comparison", name="final_seeds", least=0, most=MOST_SEEDS
    )
    epochs: int = option(
        10,
        "epochs of the final trainings; default those of --final-recipe or --recipe, else 10",
        name="final_epochs",
        least=1,
    )
    recipe: NamedRecipe | None = recipe_option(
        "how the final comparison is trained; default as trials are", name="final_recipe"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.baseline not in ("random", NONE):
            raise ConfigError(f"--baseline must be random or none, found '{self.baseline}'")
        # each is given by itself, or several with commas between them
        object.__setattr__(self, "against", _separated(self.against))
        if NONE in self.against and len(self.against) > 1:
            raise ConfigError(f"--against is names of networks or none, found {','.join(self.against)}")


@dataclass(frozen=True)
class RunConfig(Config):
    """Everything that defines a run; saved as ``config.toml`` and in the journal's first event."""

    space: SpaceConfig = field(default_factory=SpaceConfig)
    searcher: SearcherConfig = field(default_factory=SearcherConfig)
    scheduler: SchedulerConfig = field(default_factory=SchedulerConfig)
    evaluator: str = option(
        "train", "evaluator (see: list evaluators); default table when --table is given, else train"
    )
    data: DataConfig = field(default_factory=DataConfig)
    table: TableConfig = field(default_factory=TableConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    trials: int = option(
        16, "evaluations to spend, promotions among them; reused and refused proposals are free", least=1
    )
    max_seconds: int | None = option(
        None, "ask for no more after N seconds of evaluation; a table's simulated ones count", least=1
    )
    constraints: Constraints = field(default_factory=Constraints)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    finalists: FinalistsConfig = field(default_factory=FinalistsConfig)
    lag: int = option(
        1,
        "proposal i sees results up to i - LAG, so that a seed gives one search on any number of up to LAG workers; 0: "
        "whatever has arrived; default 1, on Ray twice the workers",
        least=0,
    )
    seed: int = option(0, "seed of the search", least=0)
    executor: ExecutorConfig = field(default_factory=ExecutorConfig)
    comparison: ComparisonConfig = field(default_factory=ComparisonConfig)
    plugins: tuple[str, ...] = option(
        tuple, "Python file with things of your own; may be given again", metavar="FILE.py", flag="--plugin"
    )
    track: tuple[str, ...] = track_option()

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "track", tracker_names(self.track))
        if self.budget.size:
            name = flag("budget_params" if self.budget.macs is None else "budget_macs")
            if self.space.width is not None:
                raise ConfigError(f"--width and {name} exclude each other: a budget chooses the width of every network")
            if self.evaluator == "table":
                raise ConfigError(f"{name} goes with evaluators of networks; 'table' looks up those of its table")

    @property
    def finalist_epochs(self) -> int:
        """What a finalist is trained for."""
        return self.finalists.epochs or 2 * self.train.epochs

    def changed(self, **settings: Any) -> Self:
        """Return the configuration with other ``settings``, by their names in files; None is a setting's default."""
        return type(self).from_json({**self.to_json(), **settings})

    def elsewhere(self, changes: Mapping[str, Any]) -> Self:
        """Return the configuration with ``changes`` of :data:`CHANGEABLE`, as ``nas resume`` names them."""
        for name in changes:
            if name not in CHANGEABLE:
                allowed = ", ".join(map(flag, CHANGEABLE))
                raise ConfigError(f"a run cannot be resumed with another {flag(name)}; allowed: {allowed}")
        executor = self.executor
        if changes.get("executor", executor.name) != RAY:  # what is left of a cluster does not hinder
            executor = replace(executor, name="inline", ray_address=None, workers=None, gpus_per_trial=None)
        elif "executor" in changes:  # a Ray of its own, where no address is given
            executor = replace(executor, ray_address=None)
        paths = {name: real_path(changes[name]) for name in ("data_dir", "table") if changes.get(name)}
        plugins = {"plugins": relocated(self.plugins, changes["plugins"])} if changes.get("plugins") else {}
        data = {**replace(self, executor=executor).to_json(), **changes, **paths, **plugins}
        return type(self).from_json(data, "resume")


class RunOptions:
    """The settings of a :class:`RunConfig` that a user has given; wrong names and types raise :class:`ConfigError`."""

    def __init__(self, **given: object) -> None:
        named = by_name(RunConfig, given, "config")
        self.given = {name: value for name, value in named.items() if value is not None}
        for setting in settings_of(RunConfig):
            if setting.name in self.given:
                setting.check(self.given[setting.name])

    @classmethod
    def from_json(cls, data: Mapping[str, object], where: str = "config") -> Self:
        """Read settings as plain data; errors begin with ``where``."""
        named = by_name(RunConfig, data, where)
        try:
            return cls(**named)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None

    def get(self, name: str, default: Any = None) -> Any:
        """Return what the user has set, else ``default``."""
        return self.given.get(name, default)

    def to_json(self) -> Json:
        """Return the settings as plain data."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in self.given.items()}


def config_of(header: Mapping[str, Any], name: str, events: Sequence[Mapping[str, Any]] = ()) -> RunConfig:
    """Return the configuration in a journal's first event, with the budget that later ``events`` give the search."""
    if header.get("kind"):
        raise ConfigError(f"run '{name}' is no search, it was made by nas {header['kind']}; see nas report {name}")
    if "config" in header:  # journals of earlier versions may leave out what had a default
        config = RunConfig.from_json(
            {**EPOCHS, "lag": 1, "space": "nasnet", **header["config"]}, f"journal of '{name}'"
        )
    else:
        config = _of_study(header.get("study"), name)
    trials = [event["trials"] for event in events if event["event"] == "budget"]
    if "config" not in header and events:  # an earlier version's, which holds no budget: what was evaluated
        counts = Counter(event["event"] for event in events)
        trials = [max(1, counts["asked"] - counts["reused"] - counts["refused"])]
    return config.changed(trials=trials[-1]) if trials else config


def objects_of(header: Mapping[str, Any]) -> dict[str, str]:
    """Return what the Python objects of a run are called, by their role, from a journal's first event."""
    if "study" in header and "objects" not in header:
        return {"evaluator": "a function"}
    return dict(header.get("objects", {}))


def _of_study(study: Any, name: str) -> RunConfig:
    """Return the configuration of a search that an earlier version's ``nas.search`` made with a user's function."""
    if not isinstance(study, Mapping):
        raise ConfigError(f"run '{name}': its journal begins with no configuration")
    loop = study["settings"]
    scheduler, scheduler_args = study.get("scheduler") or (NONE, {})
    width, depth = study["size"]
    data = {
        "space": study["space"],
        "space_args": study["args"],
        "width": width,
        "depth": depth,
        "searcher": study["searcher"],
        "searcher_args": study["searcher_args"],
        "scheduler": scheduler,
        "scheduler_args": scheduler_args,
        "evaluator": PYTHON,
        "epochs": loop["epochs"],
        "seed": loop["seed"],
        "max_params": loop.get("max_params"),
        "max_macs": loop.get("max_macs"),
        "lag": study.get("lag", 1) or 0,
        "baseline": NONE,
        "final_seeds": 0,
    }
    return RunConfig.from_json(data, f"journal of '{name}'")


def search_name(config: RunConfig) -> str:
    """Return what a search is called: its searcher, and its scheduler where it has one."""
    under = "" if config.scheduler.name == NONE else f" under {config.scheduler.name}"
    return f"{config.searcher.name} search{under}"


def flag(name: str) -> str:
    """Return the command line's flag for setting ``name``: ``--space-arg`` for ``space_args``."""
    found = next((s.flag for s in settings_of(RunConfig) if s.name == name), None)
    return found or "--" + name.replace("_", "-")
