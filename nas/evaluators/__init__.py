"""Evaluators: from a job to metrics."""

from nas.evaluators.base import EVALUATORS, EvaluatorInfo, register_evaluator

__all__ = ["EVALUATORS", "EvaluatorInfo", "register_evaluator"]
