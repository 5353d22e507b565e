"""An argument parser whose errors are one line and name the nearest flag."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Collection, Sequence
from typing import Any, NoReturn, TypeAlias

from nas.errors import ConfigError, unknown

OUTPUT = ("--output", "--results-dir")
SIZE = ("--input", "--image-size")
TIME = ("--max-seconds", "--time-limit")
WORKERS = ("--workers",)
MEANT: dict[str, tuple[str, ...]] = {
    "--algorithm": ("--searcher",),
    "--amp": ("--precision",),
    "--arch": ("--start-from",),
    "--bf16": ("--precision",),
    "--budget": ("--trials", "--max-macs"),
    "--checkpoint": ("--weights",),
    "--cpus": ("--cpus-per-trial", "--threads"),
    "--data": ("--data-dir",),
    "--data-path": ("--data-dir",),
    "--dry-run": ("--forecast",),
    "--flops": ("--max-macs",),
    "--fp16": ("--precision",),
    "--gpu": ("--gpus-per-trial", "--gpus-per-worker"),
    "--gpus": ("--gpus-per-trial", "--gpus-per-worker"),
    "--input-shape": SIZE,
    "--input-size": SIZE,
    "--iterations": ("--trials",),
    "--jobs": WORKERS,
    "--learning-rate": ("--lr-factor",),
    "--lr": ("--lr-factor",),
    "--max-flops": ("--max-macs",),
    "--max-trials": ("--trials",),
    "--method": ("--searcher",),
    "--model": ("--start-from",),
    "--n-jobs": WORKERS,
    "--n-trials": ("--trials",),
    "--network": ("--start-from",),
    "--num-classes": ("--classes",),
    "--num-epochs": ("--epochs",),
    "--num-trials": ("--trials",),
    "--num-workers": WORKERS,
    "--out": OUTPUT,
    "--outdir": OUTPUT,
    "--output": OUTPUT,
    "--output-dir": OUTPUT,
    "--params": ("--max-params",),
    "--population": ("--searcher-arg",),
    "--pretrained": ("--weights",),
    "--resolution": SIZE,
    "--results": ("--results-dir",),
    "--save-dir": OUTPUT,
    "--search-space": ("--space",),
    "--seeds": ("--final-seeds", "--seed"),
    "--strategy": ("--searcher",),
    "--timeout": TIME,
    "--top-k": ("--finalists",),
}
"""Flags of other tools, and the ones that say the same here; the first that a command has is suggested."""
HINTS = {
    "--arch": "it is named without a flag",
    "--device": "trainings run on the GPU where there is one; CUDA_VISIBLE_DEVICES= in the environment hides it",
    "--model": "it is named without a flag",
    "--network": "it is named without a flag",
    "--resume": "a run that was interrupted goes on with: nas resume NAME",
}
"""What is said where no flag of a command says the same."""
RECIPE_WORDS = {"--batch": "batch_size", "--lr": "learning_rate", "--scheduler": "schedule", "--wd": "weight_decay"}
"""Flags of other tools for what is a field of a recipe here, beside the fields' own names."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line and name the nearest flag."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, "formatter_class": _Formatter, **settings})

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and exiting."""
        raise ConfigError(f"{self.prog}: {message}")

    def check_flags(self, arguments: Sequence[str]) -> None:
        """Refuse unknown flags, with the nearest known one."""
        flags = {name: action for name, action in self._option_string_actions.items() if name.startswith("--")}
        shown = [name for name, action in flags.items() if action.help != argparse.SUPPRESS]
        for argument in arguments:
            name = argument.split("=", 1)[0]
            if name == "--":
                return
            if name.startswith("--") and name not in flags:
                raise ConfigError(meant(name, shown) or unknown("flag", name, shown))


def meant(name: str, known: Collection[str]) -> str:
    """Return the message for an unknown flag that other tools have, with what says the same; nothing for others."""
    told = f"unknown flag '{name}'"
    if found := next((flag for flag in MEANT.get(name, ()) if flag in known), None):
        return f"{told}; did you mean '{found}'?"
    if "--recipe" in known:
        from nas.training.recipe import Recipe

        field = RECIPE_WORDS.get(name, name.removeprefix("--").replace("-", "_"))
        if field == "batch_size" and "--batch-size" in known:
            return f"{told}; did you mean '--batch-size'?"
        if field in Recipe.__dataclass_fields__:
            how = f"--set {field}=VALUE" if "--set" in known else "--recipe FILE.json"
            return f"{told}: '{field}' is a field of a recipe, which {how} sets (see: nas list recipes)"
    return f"{told}: {HINTS[name]}" if name in HINTS else ""


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=34, width=110)


Command: TypeAlias = Callable[[str, str, Callable[[argparse.Namespace], int]], Parser]
"""Makes the parser of a command, whose module adds the flags, from its name, its help and what carries it out."""
