"""A grid search as a reader sees it: the fold of its journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from nas.core.values import Shape
from nas.errors import ConfigError
from nas.runs.event_fields import check_fields
from nas.runs.journal import Event, read
from nas.runs.run_folder import JOURNAL
from nas.workflows.scale.compound import Factors, ScaledSize
from nas.workflows.scale.grid_search import Candidate, best_of
from nas.workflows.scale.settings import GridSettings

KIND = "scale"
"""What the first event of a grid search's journal has as its kind."""


@dataclass(frozen=True)
class GridView:
    """What the journal of the grid search in ``folder`` holds."""

    folder: Path
    settings: GridSettings
    events: Sequence[Event]

    @classmethod
    def of(cls, folder: Path, events: Sequence[Event]) -> GridView:
        """Return what ``events`` tell; a journal of anything else raises :class:`ConfigError`."""
        if events[0].get("kind") != KIND:
            raise ConfigError(f"run '{folder.name}' is no grid search")
        check_fields(events[0], "config", "network.name", "network.input", "network.classes", "candidates")
        return cls(folder, GridSettings.from_json(events[0]["config"]), events)

    @property
    def network(self) -> str:
        """The name of what is scaled."""
        return str(self.events[0]["network"]["name"])

    @property
    def input_shape(self) -> Shape:
        """The base's image, (C, H, W)."""
        return tuple(self.events[0]["network"]["input"])

    @property
    def classes(self) -> int:
        """The number of classes."""
        return int(self.events[0]["network"]["classes"])

    @property
    def status(self) -> str:
        """``finished``, ``interrupted``, ``failed``, or ``running or killed``."""
        last = self.events[-1]
        return str(last["reason"]) if last["event"] == "stopped" else "running or killed"

    @property
    def problem(self) -> str:
        """Why it failed, or why there is no family; empty where nothing is wrong."""
        return str(self.events[-1].get("message", "") or (self.family or {}).get("message", ""))

    @property
    def trained(self) -> list[Event]:
        """The events of the trainings."""
        return [event for event in self.events if event["event"] == "trained"]

    @cached_property
    def scores(self) -> Mapping[tuple[int, int], float]:
        """Accuracies in percent by the candidate's place and the seed."""
        return {(e["candidate"], e["seed"]): e["accuracy"] for e in self.trained}

    @property
    def seconds(self) -> float:
        """Seconds of all trainings of this run."""
        return float(sum(event.get("seconds", 0.0) for event in self.trained))

    @cached_property
    def candidates(self) -> list[Candidate[ScaledSize]]:
        """The candidates in the order of the grid, with the accuracies that there are."""
        found = []
        for place, data in enumerate(self.events[0]["candidates"]):
            factors = Factors(data["alpha"], data["beta"], data["gamma"])
            known = [self.scores[place, seed] for seed in range(self.settings.seeds) if (place, seed) in self.scores]
            found.append(Candidate(factors, ScaledSize.from_json(data["member"]), tuple(known)))
        return found

    @property
    def total(self) -> int:
        """The number of trainings."""
        return len(self.candidates) * self.settings.seeds

    @property
    def best(self) -> Candidate[ScaledSize] | None:
        """The candidate with the best mean accuracy among those of most seeds; None before the first."""
        most = max(len(c.accuracies) for c in self.candidates)
        return best_of([c for c in self.candidates if len(c.accuracies) == most]) if most else None

    @property
    def family(self) -> Event | None:
        """The event that ends the search."""
        return next((event for event in reversed(self.events) if event["event"] == "family"), None)

    @property
    def members(self) -> list[ScaledSize]:
        """The family of the best factors, when the search is at its end."""
        return [] if self.family is None else [ScaledSize.from_json(data) for data in self.family["members"]]


def load_grid(folder: Path) -> GridView:
    """Read the grid search in ``folder``, running or not."""
    return GridView.of(folder, read(folder / JOURNAL))
