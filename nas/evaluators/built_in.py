"""Registers the evaluators that come with the toolkit; each is imported when it is first used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.errors import ConfigError
from nas.evaluators.base import EVALUATORS, EvaluatorInfo
from nas.types import Evaluator


def _train(settings: Mapping[str, Any]) -> Evaluator:
    from nas.evaluators.train import TrainEvaluator

    return TrainEvaluator()


def _table(settings: Mapping[str, Any]) -> Evaluator:
    from nas.evaluators.table import TableEvaluator
    from nas.table import load_table

    if not settings.get("table") or not settings.get("reward"):
        raise ConfigError("evaluator 'table' needs --table FILE and --reward COLUMN")
    evaluator: Evaluator = TableEvaluator(
        load_table(Path(settings["table"])), settings["reward"], settings.get("dataset"), settings.get("metrics", ())
    )
    return evaluator


EVALUATORS.add("train", EvaluatorInfo(_train, "Trains the network and returns its validation accuracy in percent."))
EVALUATORS.add("table", EvaluatorInfo(_table, "Looks the reward up in a published benchmark's table file."))
