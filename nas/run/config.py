"""The configuration of a run: one frozen object, from a TOML file and the command line, checked field by field."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from nas.errors import ConfigError, unknown
from nas.files import read_text
from nas.types import freeze

EPOCHS = {"epochs": 3, "final_epochs": 10}
"""What is trained for where no recipe says it."""
CHANGEABLE = ("executor", "ray_address", "workers", "cpus_per_trial", "gpus_per_trial", "data_dir", "table")
"""Where a run finds its workers and files: a resumed run may have others."""


def _option(default: Any, text: str, least: int | None = None, meta: str = "") -> Any:
    metadata = {"help": text, "least": least, "meta": meta}
    if isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    return field(default=default, metadata=metadata)


def _args(text: str, meta: str) -> Any:
    return _option(dict, text, meta=meta)


@dataclass(frozen=True)
class RunConfig:
    """Everything that defines a run; saved as ``config.toml`` and in the journal's first event."""

    space: str = _option("nasnet", "search space (see: list spaces); unnamed with nodes=3 at width 8, depth 1")
    space_args: dict[str, Any] = _args("argument of the space, e.g. nodes=5", meta="K=V")
    searcher: str = _option("auto", "searcher (see: list searchers); auto: the best measured")
    searcher_args: dict[str, Any] = _args("argument of the searcher, e.g. population=50", meta="K=V")
    scheduler: str = _option("none", "spread epochs over trials (see: list schedulers); none: all train for --epochs")
    scheduler_args: dict[str, Any] = _args("argument of the scheduler, e.g. eta=3 or rungs=12,200", meta="K=V")
    evaluator: str | None = _option(None, "evaluator (see: list evaluators); table when --table is given, else train")
    dataset: str | None = _option(None, "dataset (see: list datasets), or the table's; default digits")
    data_dir: str | None = _option(None, "folder (or .npz file) of the dataset", meta="DIR")
    image_size: int | None = _option(None, "side of the images of the dataset 'folder', pixels; default 224", 1)
    train_images: int | None = _option(None, "train on so many images only, for reduced searches; default all", 1)
    validation_images: int | None = _option(None, "validate on so many images; default the dataset's own number", 1)
    table: str | None = _option(None, "table file of a published benchmark", meta="FILE")
    reward: str | None = _option(
        None, "column of the table to maximise; {epochs} in it stands for a trial's epochs", meta="COLUMN"
    )
    metrics: tuple[str, ...] = _option(
        tuple, "column of the table to record with every trial, such as a latency; may be repeated", meta="COLUMN"
    )
    scores: tuple[str, ...] = _option(
        tuple,
        "column of the table known before evaluation, such as a zero-cost score; may be repeated",
        meta="COLUMN",
    )
    objective: str | None = _option(
        None, "column of the table to report for the best; the reward's by default", meta="COLUMN"
    )
    recipe: str | dict[str, Any] | None = _option(
        None,
        "how trials are trained: a name (see: list recipes) or a JSON file of a recipe's fields, on a named 'base' if "
        "it gives one; default the dataset's own",
        meta="NAME|FILE.json",
    )
    final_recipe: str | dict[str, Any] | None = _option(
        None, "how the final comparison is trained; default as trials are", meta="NAME|FILE.json"
    )
    trials: int = _option(16, "evaluations to spend, promotions among them; reused and refused proposals are free", 1)
    max_seconds: int | None = _option(
        None, "ask for no more after so many seconds of evaluation; a table's simulated ones count", 1
    )
    epochs: int = _option(  # None until the configuration is completed
        None, "training epochs of a trial, the most where a scheduler spreads them; default --recipe's own, else 3", 1
    )
    time_limit: int | None = _option(
        None, "seconds after which a trial fails, on Ray also one that hangs; default no limit", 1
    )
    width: int | None = _option(None, "channels of the first stage; default the space's own", 1)
    depth: int | None = _option(None, "cells a stage; default the space's own", 1)
    max_params: int | None = _option(None, "refuse networks of more parameters", 1)
    max_macs: int | None = _option(None, "refuse networks of more multiply-accumulates an image", 1)
    lag: int = _option(  # None until the configuration is completed
        None,
        "proposal i sees results up to i - LAG, so that a seed gives one search on any number of up to LAG workers; 0: "
        "whatever has arrived; default 1, on Ray twice the workers",
        0,
    )
    seed: int = _option(0, "seed of the search", 0)
    executor: str = _option("inline", "where trials run: inline (in this process) or ray (on one machine or a cluster)")
    ray_address: str | None = _option(
        None, "Ray cluster to run on (auto for this machine's); default a Ray of the search's own", meta="HOST:PORT"
    )
    workers: int | None = _option(None, "trials at a time on Ray; default as many as fit, more as nodes join", 1)
    cpus_per_trial: int = _option(1, "CPUs of a worker on Ray", 1)
    gpus_per_trial: float | None = _option(
        None, "GPUs of a worker on Ray, such as 0.25; default 1 for trainings where there are any", 0, meta="X"
    )
    threads: int | None = _option(
        None, "torch threads of a trial; default 1 for digits, else all cores, on Ray --cpus-per-trial", 1
    )
    baseline: str | None = _option(None, "random: an equally long random search to compare with; none: no comparison")
    final_seeds: int = _option(3, "seeds of the final trainings; 0: no final comparison", 0)
    final_epochs: int = _option(
        None, "epochs of the final trainings; default those of --final-recipe or --recipe, else 10", 1
    )
    start_from: tuple[str, ...] = _option(
        tuple,
        "network of the space stages, genotype, or architecture file, to begin with; may be repeated",
        meta="NAME|FILE",
    )
    plugins: tuple[str, ...] = _option(
        tuple, "Python file with a space, searcher or evaluator of your own", meta="FILE.py"
    )

    def __post_init__(self) -> None:
        for f in fields(self):
            _check(f, getattr(self, f.name))

    def to_json(self) -> dict[str, Any]:
        """Return the configuration as plain data, without what is unset."""
        data = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items()}
        return {name: value for name, value in data.items() if value not in (None, {}, [])}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "config") -> RunConfig:
        """Build a configuration from plain data; unknown names and wrong types raise :class:`ConfigError`."""
        known = {f.name for f in fields(cls)}
        for name in data:
            if name not in known:
                raise ConfigError(f"{where}: {unknown('setting', name, known)}")
        try:
            return cls(**{name: _frozen(value) for name, value in data.items()})
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from None


def config_of(header: Mapping[str, Any], name: str) -> RunConfig:
    """Return the configuration in a journal's first event."""
    if header.get("kind"):
        raise ConfigError(f"run '{name}' is no search, it was made by nas {header['kind']}; see nas report {name}")
    if "config" not in header:
        raise ConfigError(f"run '{name}' was made by nas.search(); call it again with this name to go on")
    # journals of earlier versions may leave out what had a default
    return RunConfig.from_json({**EPOCHS, "lag": 1, **header["config"]}, f"journal of '{name}'")


def search_name(config: RunConfig) -> str:
    """Return what a search is called: its searcher, and its scheduler where it has one."""
    under = "" if config.scheduler == "none" else f" under {config.scheduler}"
    return f"{config.searcher} search{under}"


def load_toml(path: Path) -> dict[str, Any]:
    """Return the settings of a TOML file as plain data."""
    try:
        return tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"config '{path}' is not TOML: {error}") from None
    except RecursionError:
        raise ConfigError(f"config '{path}' is not usable TOML: nested too deeply") from None


def flag(name: str) -> str:
    """Return the command line's flag for setting ``name``: ``--space-arg`` for ``space_args``, ``--plugin`` for all."""
    return "--" + name.replace("_", "-").removesuffix("s" if name in _REPEATED else "")


_RECIPES = ("recipe", "final_recipe")
_REPEATED = ("space_args", "searcher_args", "scheduler_args", "metrics", "scores", "plugins")


def expected(f: Field[Any]) -> type:
    """Return the type of a setting's value where it is set."""
    if f.default_factory is not MISSING:
        return type(f.default_factory())
    return next((kind for kind in (float, int) if kind.__name__ in str(f.type)), str)


def _check(f: Field[Any], value: Any) -> None:
    kind, least = expected(f), f.metadata["least"]
    if value is None and f.default is None:
        return
    fits = type(value) is kind or (kind is float and type(value) is int)
    if not fits and not (f.name in _RECIPES and isinstance(value, dict)):
        names = {
            int: "a whole number",
            float: "a number",
            str: "text or a table" if f.name in _RECIPES else "text",
            dict: "a table of names and values",
            tuple: "a list of files",
        }
        raise ConfigError(f"{flag(f.name)} must be {names[kind]}, found {value!r}")
    if least is not None and value < least:
        raise ConfigError(f"{flag(f.name)} must be at least {least}, found {value}")
    if isinstance(value, tuple) and not all(isinstance(v, str) for v in value):
        raise ConfigError(f"{flag(f.name)} must be a list of files, found {value!r}")
    if isinstance(value, dict):
        for name, v in value.items():
            if not _is_plain(v):
                rule = "text, a finite number, true or false, or a list of them"
                raise ConfigError(f"{flag(f.name)} {name} must be {rule}, found {v!r}")


def _frozen(value: Any) -> Any:
    return {name: freeze(v) for name, v in value.items()} if isinstance(value, dict) else freeze(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, tuple):
        return all(_is_plain(v) for v in value)
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
