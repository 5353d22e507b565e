"""What a comparison found, as ``compare.json``: a fold of its journal, for the report and for other programs.

Numbers are percent of the test split unless said; what is not known is null. An *interval* is ``{low, high, level}``.
A *difference* is ``{first, second, recipe, pairs, mean, interval, p, p_holm, p_wilcoxon, p_permutation, least_p,
verdict}``: scores of ``first`` less those of ``second``, paired by seed (see :class:`nas.after.statistics.Paired`);
``p_holm`` is ``p`` corrected for all differences in the file; ``verdict`` is ``higher`` or ``lower`` where ``p_holm``
is at most 0.05, ``no difference found``, or ``one seed``.

- ``format`` (``nas/compare/1``), ``name``, ``status``, ``dataset``, ``epochs``, ``seeds``, ``seed``, ``threads``,
  ``settings`` (all of them), ``test_reads``, ``environment``, ``trained_on`` (devices), ``least_p``
- ``recipes``: ``{name, numbers}``
- ``rows``, one for each recipe and candidate, best mean first within a recipe: ``name``, ``kind``, ``recipe``,
  ``scores`` (null where a seed is missing or failed), ``failures``, ``mean``, ``interval``, ``params``, ``macs``,
  ``seconds`` (mean of a training), ``latency`` (``{"1": milliseconds, "64": milliseconds}`` for a batch), ``queries``
  (what a search spent), ``not_applied`` (what a recipe asks for and the network has no place for), ``difference`` (to
  the first candidate under the same recipe; null for that one)
- ``latency``: how latencies were measured: ``{device, threads, repeats}``
- ``against_random``: ``{run, queries, difference}`` for every run with its random search, under every recipe
- ``effects``, with several recipes only: see :func:`nas.after.compare_effects.effects`
- ``ensembles``: see :func:`nas.after.compare_ensembles.ensembles`
- ``published``: ``{table, title, rows}``, rows as :func:`nas.report.reference.rows` gives them: numbers of others,
  trained under recipes of their own, never to be ranked with ``rows``
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nas.after.compare_effects import effects
from nas.after.compare_ensembles import ensembles
from nas.after.compare_ledger import KIND, CompareLedger, fold
from nas.after.compare_settings import CompareSettings
from nas.after.latency import BATCHES
from nas.after.statistics import LEVEL, Interval, Paired, holm, least_p, mean_interval, paired
from nas.errors import ConfigError
from nas.evaluators.notes import not_applied
from nas.files import read_json
from nas.graph import Graph
from nas.report.reference import TITLES, fitting, rows
from nas.run.journal import Event, read

FORMAT = "nas/compare/1"


@dataclass(frozen=True)
class CompareView:
    """A comparison as a reader sees it; ``candidates`` are as in the journal's first event.

    Images are of ``input_shape`` (C, H, W) and of so many ``classes``.
    """

    folder: Path
    settings: CompareSettings
    candidates: Sequence[Mapping[str, Any]]
    input_shape: tuple[int, ...]
    classes: int
    ledger: CompareLedger
    environment: Mapping[str, Any]

    @property
    def names(self) -> list[str]:
        """The candidates' names."""
        return [str(candidate["name"]) for candidate in self.candidates]


def load_comparison(folder: Path) -> CompareView:
    """Read the comparison in ``folder``, running or not."""
    return comparison_view(folder, read(folder / "journal.jsonl"))


def comparison_view(folder: Path, events: Sequence[Event]) -> CompareView:
    """Return what ``events`` tell; a journal of anything else raises :class:`ConfigError`."""
    if events[0].get("kind") != KIND:
        raise ConfigError(f"run '{folder.name}' is no comparison")
    path = folder / "environment.json"
    found = read_json(path) if path.is_file() else {}
    header, settings = events[0], CompareSettings.from_json(events[0]["config"])
    shape = tuple(header["input_shape"])
    return CompareView(folder, settings, header["candidates"], shape, header["classes"], fold(events), found)


def result(view: CompareView) -> dict[str, Any]:
    """Return the comparison as JSON data: see above."""
    settings, ledger = view.settings, view.ledger
    differences = _differences(view)
    on = sorted({f["notes"]["trained_on"]["device"] for f in ledger.finals if "trained_on" in f.get("notes", {})})
    return {
        "format": FORMAT,
        "name": view.folder.name,
        "status": ledger.status,
        "dataset": settings.dataset,
        "epochs": settings.epochs,
        "seeds": settings.seeds,
        "seed": settings.config.seed,
        "threads": settings.config.threads,
        "settings": settings.to_json(),
        "test_reads": ledger.test_reads,
        "environment": dict(view.environment),
        "trained_on": on,
        "least_p": least_p(settings.seeds),
        "recipes": [{"name": str(recipe["name"]), "numbers": dict(recipe)} for recipe in settings.recipes],
        "rows": [
            row
            for recipe in settings.recipe_names
            for row in sorted(_rows(view, recipe, differences), key=lambda r: -(r["mean"] or 0))
        ],
        "latency": _how_measured(ledger),
        "against_random": _against_random(view, differences),
        "effects": effects(view.names, settings.recipe_names, _scores(view)),
        "ensembles": ensembles(view),
        "published": [
            {"table": name, "title": TITLES[name], "rows": rows(name)}
            for name in fitting(settings.dataset, view.input_shape, view.classes)
        ],
    }


def _scores(view: CompareView) -> list[list[dict[int, float]]]:
    """Return scores by seed for every candidate and recipe."""
    names = view.settings.recipe_names
    return [[view.ledger.scores(index, recipe) for recipe in names] for index in range(len(view.candidates))]


Differences = dict[tuple[str, int, int], dict[str, Any]]


def _differences(view: CompareView) -> Differences:
    """Return every difference that the result has, by recipe and both candidates; Holm's correction covers them all."""
    wanted = [(index, 0) for index in range(1, len(view.candidates))]
    wanted += [pair for pair in _random_pairs(view) if pair not in wanted and (pair[1], pair[0]) not in wanted]
    found: Differences = {}
    for recipe in view.settings.recipe_names:
        for first, second in wanted:
            compared = pair_up(view.ledger.scores(first, recipe), view.ledger.scores(second, recipe))
            if compared is not None:
                names = {"first": view.names[first], "second": view.names[second], "recipe": recipe}
                found[recipe, first, second] = {**names, **asdict(compared)}
    tested = [d for d in found.values() if d["p"] is not None]
    for difference, corrected in zip(tested, holm([d["p"] for d in tested]), strict=True):
        difference["p_holm"] = corrected
    for difference in found.values():
        difference.setdefault("p_holm", None)
        difference["verdict"] = verdict(difference["mean"], difference["p_holm"])
    return found


def pair_up(first: Mapping[int, float], second: Mapping[int, float]) -> Paired | None:
    """Compare the scores of the seeds that both have; None where there is none."""
    seeds = sorted(first.keys() & second.keys())
    return paired([first[s] for s in seeds], [second[s] for s in seeds]) if seeds else None


def verdict(mean: float, p: float | None) -> str:
    """Say what a difference is worth."""
    if p is None:
        return "one seed"
    return "no difference found" if p > 1 - LEVEL + 1e-12 else "higher" if mean > 0 else "lower"


def _rows(view: CompareView, recipe: str, differences: Differences) -> list[dict[str, Any]]:
    found = []
    place = view.settings.recipe_names.index(recipe)
    numbers = view.settings.actual_recipes[place]
    for index, candidate in enumerate(view.candidates):
        finals, scores = view.ledger.of(index, recipe), view.ledger.scores(index, recipe)
        taken = [f["seconds"] for f in finals.values() if f["score"] is not None]
        latency = {
            str(batch): view.ledger.latencies.get((str(index), batch), {}).get("milliseconds") for batch in BATCHES
        }
        row = {name: candidate[name] for name in ("name", "kind", "params", "macs", "queries")}
        row |= {
            "recipe": recipe,
            "scores": [scores.get(number) for number in range(view.settings.seeds)],
            "failures": [f["failure"] for f in finals.values() if f["score"] is None],
            "mean": statistics.fmean(scores.values()) if scores else None,
            "interval": _interval(mean_interval(list(scores.values()))),
            "seconds": statistics.fmean(taken) if taken else None,
            "latency": latency,
            "not_applied": not_applied(numbers, Graph.from_json(candidate["trained"][place] or candidate["graph"])),
            "difference": differences.get((recipe, index, 0)),
        }
        found.append(row)
    return found


def _interval(found: Interval | None) -> dict[str, float] | None:
    return None if found is None else asdict(found)


def _how_measured(ledger: CompareLedger) -> dict[str, Any] | None:
    events = list(ledger.latencies.values())
    if not events:
        return None
    repeats = [event["repeats"] for event in events if event["repeats"]] or [0]
    devices = sorted({event["device"] for event in events})
    return {"device": ", ".join(devices), "threads": events[0]["threads"], "repeats": [min(repeats), max(repeats)]}


def _random_pairs(view: CompareView) -> list[tuple[int, int]]:
    """Return (run, its random search) by their numbers."""
    runs = {c["name"]: i for i, c in enumerate(view.candidates) if c["kind"] == "run"}
    return [(runs[c["of"]], i) for i, c in enumerate(view.candidates) if c["kind"] == "random"]


def _against_random(view: CompareView, differences: Differences) -> list[dict[str, Any]]:
    found = []
    for recipe in view.settings.recipe_names:
        for run, random in _random_pairs(view):
            difference = differences.get((recipe, run, random))
            if difference is None and (other := differences.get((recipe, random, run))) is not None:
                difference = turned(other)
            if difference is not None:
                queries = {"run": view.candidates[run]["queries"], "random": view.candidates[random]["queries"]}
                found.append({"run": view.names[run], "queries": queries, "difference": difference})
    return found


def turned(difference: Mapping[str, Any]) -> dict[str, Any]:
    """Return a difference the other way round."""
    interval = difference["interval"]
    if interval is not None:
        interval = {**interval, "low": -interval["high"], "high": -interval["low"]}
    names = {"first": difference["second"], "second": difference["first"]}
    swapped = {"higher": "lower", "lower": "higher"}.get(difference["verdict"], difference["verdict"])
    return {**difference, **names, "mean": -difference["mean"], "interval": interval, "verdict": swapped}
