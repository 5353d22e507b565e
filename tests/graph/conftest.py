"""Tests of the graph language."""

from __future__ import annotations

from one_thread import _one_thread

__all__ = ["_one_thread"]
