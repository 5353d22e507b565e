"""Trials that misbehave in every way that the storm ``mix`` knows, and what each must be recorded as."""

from __future__ import annotations

WAYS = {
    "nan": "diverged",
    "diverged": "diverged",
    "memory": "oom",
    "abort": "crashed",
    "exit": "error",
    "loop": "timeout",
    "pipe": "timeout",
    "input": "error",  # a worker has no standard input: its end is read at once
    "message": "error",
    "unpicklable": "error",
    "unreadable": "error",
    "prints": "done",
}
"""The ways, and the kind of failure that each must be; ``done`` where it must not fail."""


def way_of(index: int) -> str:
    """Return how a trial misbehaves; empty where it does not."""
    return list(WAYS)[(index // 10 * 3 + index % 10) % len(WAYS)] if index % 10 < 3 else ""


IMPATIENT = """
import sys
import nas.executors.ray.executor
from nas.cli.main import main
nas.executors.ray.executor.GRACE = 0.5
sys.exit(main())
"""
"""A program for Python's ``-c``: the command line that waits less long for workers that hang."""

MIX = '''"""An evaluator of which three trials in ten misbehave."""

import collections
import itertools
import os
import sys
import threading
import time

from nas.errors import EvaluationError
from nas.evaluators import register_evaluator

sys.path.insert(0, {benchmarks!r})
from misbehaviour import WAYS, way_of


class Unreadable(Exception):
    def __str__(self):
        raise RuntimeError("no")


def misbehave(way):
    if way == "nan":
        return float("nan")
    if way == "diverged":
        raise EvaluationError("the loss is not finite", "diverged")
    if way == "memory":
        raise MemoryError("planted")
    if way == "abort":
        os.abort()
    if way == "exit":
        sys.exit(3)
    if way == "loop":
        collections.deque(itertools.count(), maxlen=0)
    if way == "pipe":
        os.read(os.pipe()[0], 1)
    if way == "input":
        input()
    if way == "message":
        raise ValueError("x" * 10_000_000)
    if way == "unpicklable":
        raise ValueError(lambda: None, threading.Lock())
    if way == "unreadable":
        raise Unreadable("planted")
    print("y" * 10_000_000)


@register_evaluator("slow")
def slow(job):
    "Rewards the key, slowly."
    number = int(job.key[:8], 16)
    way = way_of(job.index)
    if os.environ.get("STORM_SLEEP") != "0":
        time.sleep({seconds!r})
        if way and misbehave(way) is not None:
            return float("nan")
    elif way and WAYS[way] != "done":
        raise ValueError("it would misbehave")
    return number / 0xFFFFFFFF
'''
