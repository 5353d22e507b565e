"""Tests of networks and of the spaces that come with the toolkit."""

from __future__ import annotations

from one_thread import _one_thread

__all__ = ["_one_thread"]
