"""Tests of trackers."""

from __future__ import annotations

import signal

import pytest


@pytest.fixture
def ctrl_c():
    """Ctrl-C is a KeyboardInterrupt, which shells let what they run in the background ignore."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
