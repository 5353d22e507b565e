"""Tests of data."""

from __future__ import annotations

from training_fixtures import _one_thread, register

__all__ = ["_one_thread", "register"]
