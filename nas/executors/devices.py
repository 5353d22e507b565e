"""Admission by memory: which worker a job may go to, so that what shares a device fits on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TypeAlias

Key: TypeAlias = tuple[str, str]
"""A node and the device there that several workers may share."""

SHARE = 0.9
"""The part of a device's memory that predictions may fill."""


@dataclass
class Device:
    """What runs on a device: its memory in bytes (None: unknown) and the bytes that each job there will need."""

    total: int | None
    running: dict[int, int | None] = field(default_factory=dict)
    lone: bool = False


class Devices:
    """The devices of a pool of workers.

    ``scale`` corrects the predictions: it grows when a job needed more than was predicted, and never shrinks.
    """

    MOST = 4.0

    def __init__(self) -> None:
        self._devices: dict[Key, Device] = {}
        self.scale = 1.0

    def add(self, key: Key, total: int | None) -> None:
        """Make a device known."""
        self._devices.setdefault(key, Device(total))

    def admits(self, key: Key, need: int | None, alone: bool) -> bool:
        """Return whether a job may begin on a device; an empty one takes anything."""
        device = self._devices[key]
        if not device.running:
            return True
        if alone or device.lone:
            return False
        if need is None or device.total is None:
            return True
        used = sum(bytes_ or 0 for bytes_ in device.running.values())
        return (used + need) * self.scale <= SHARE * device.total

    def emptiest(self, keys: Iterable[Key]) -> Key:
        """Return the device on which least runs: where a job that fits nowhere waits for the others to end."""
        return min(keys, key=lambda key: (len(self._devices[key].running), key))

    def begin(self, key: Key, index: int, need: int | None, alone: bool) -> None:
        """Note that a job runs on a device."""
        device = self._devices[key]
        device.running[index], device.lone = need, alone

    def end(self, key: Key, index: int) -> None:
        """Note that a job has left its device."""
        device = self._devices[key]
        device.running.pop(index, None)
        device.lone = False

    def learn(self, need: int | None, measured: float | None) -> None:
        """Correct the predictions after a job that needed ``measured`` bytes; None: it ran out of memory."""
        grown = self.scale * 1.5 if measured is None else (measured / need if need else 1.0)
        self.scale = min(self.MOST, max(self.scale, grown))
