"""Evaluators: from a job to metrics."""

from nas.evaluators.registry import EVALUATORS, EvaluatorInfo, register_evaluator

__all__ = ["EVALUATORS", "EvaluatorInfo", "register_evaluator"]
