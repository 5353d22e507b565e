"""What a comparison found, as ``compare.json`` holds it: a fold of its journal, for reports and other programs.

Numbers are percent of the test split unless noted; what is not known is null. Every class here is a JSON object of the
names of its attributes.
"""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from nas.core.notebook import dataframe
from nas.core.text import count
from nas.core.values import Json, Shortened
from nas.evaluators.train import not_applied
from nas.graph import Graph
from nas.models.latency import BATCHES
from nas.report.classes import ClassAccuracy, ClassTable, class_accuracies, class_table
from nas.report.published_results import TITLES, PublishedRow, fitting, rows
from nas.report.run_view import damaged_files, data_remarks
from nas.report.statistics import Difference, Interval, Question, accuracy_interval, differences, least_p
from nas.workflows.compare.ensembles import Ensemble, ensembles
from nas.workflows.compare.recipe_effects import Effects, effects
from nas.workflows.compare.view import CompareView

if TYPE_CHECKING:
    from pandas import DataFrame

    from nas.report.plots import Plot

FORMAT = "nas/compare/1"
CLASS_COLUMNS = 4
"""Networks of a table of accuracies by class, those of the best means."""
OPTIONAL = (
    *("remarks", "damaged_images", "damaged", "input_changes", "class_names", "normalization"),
    *("trainings", "images", "curves"),
)
"""What is left out where there is nothing to say, as in the files of earlier versions."""
ROW_OPTIONAL = ("per_class", "training_seconds")
"""The same of a row."""


@dataclass(frozen=True)
class Row:
    """A candidate under a recipe."""

    name: str
    kind: str
    """See :class:`nas.workflows.compare.candidates.Candidate`."""
    params: int
    macs: int
    queries: int | None
    """What a search spent."""
    recipe: str
    scores: list[float | None]
    """One a seed; None where it is missing or failed."""
    failures: list[str]
    mean: float | None
    interval: Interval | None
    seconds: float | None
    """Mean of a training."""
    latency: dict[str, float | None]
    """Milliseconds for a batch of ``"1"`` and of ``"64"`` images."""
    not_applied: list[str]
    """What the recipe asks for and the network has no place for."""
    difference: Difference | None
    """To the first candidate under the same recipe; None for that one."""
    per_class: list[ClassAccuracy] = field(default_factory=list)
    """The lowest accuracy first; left out where nothing was counted by class."""
    training_seconds: list[float | None] = field(default_factory=list)
    """One a seed; None where it is missing or failed. Left out in files of earlier versions."""

    def to_json(self) -> Json:
        """Return what ``compare.json`` holds of the row."""
        return {name: value for name, value in asdict(self).items() if value or name not in ROW_OPTIONAL}

    @classmethod
    def from_json(cls, data: Json) -> Row:
        """Read what :meth:`to_json` wrote."""
        per_class = [ClassAccuracy.from_json(found) for found in data.get("per_class", ())]
        own = {"interval": Interval.from_json(data["interval"]), "per_class": per_class}
        return cls(**{**data, **own, **_difference(data)})


@dataclass(frozen=True)
class AgainstRandom:
    """A run against its own random search under a recipe."""

    run: str
    queries: dict[str, int | None]
    """Evaluations of the ``run`` and of its ``random`` search."""
    difference: Difference


@dataclass(frozen=True)
class LatencyMeasurement:
    """How latencies were measured."""

    device: str
    threads: int
    repeats: list[int]
    """Least and most passes of a network."""


@dataclass(frozen=True)
class NamedNumbers:
    """A recipe with all its numbers."""

    name: str
    numbers: Json


@dataclass(frozen=True)
class PublishedTable:
    """Numbers of others, trained under recipes of their own, never to be ranked with what was measured."""

    table: str
    title: str
    rows: list[PublishedRow]
    """As :func:`nas.report.published_results.rows` gives them."""


@dataclass(frozen=True)
class LossCurve:
    """The training loss of one training by epoch."""

    name: str
    """The candidate's."""
    recipe: str
    number: int
    """Of its seed."""
    points: list[list[float]]
    """(epoch, mean loss), up to 200 of them."""


@dataclass(frozen=True, repr=False)
class Comparison(Shortened):
    """The whole of ``compare.json``."""

    format: str
    name: str
    status: str
    dataset: str
    epochs: int
    seeds: int
    """How many there are."""
    seed: int
    """What they are derived from."""
    threads: int
    """Of a training."""
    settings: Json
    """All of them."""
    test_reads: int
    environment: Json
    trained_on: list[str]
    """Devices."""
    least_p: float
    """The least p-value of tests of signs and ranks with as many seeds."""
    recipes: list[NamedNumbers]
    rows: list[Row]
    """For each recipe all candidates, best mean first."""
    latency: LatencyMeasurement | None
    against_random: list[AgainstRandom]
    effects: Effects | None
    """With several recipes only."""
    ensembles: list[Ensemble]
    published: list[PublishedTable]
    remarks: list[str] = field(default_factory=list)
    """What a reader of the scores must know of the images, a sentence each."""
    damaged_images: int = 0
    """How many image files could not be read."""
    damaged: list[str] = field(default_factory=list)
    """The first of them with reasons."""
    input_changes: list[str] = field(default_factory=list)
    """A sentence for each time that it went on with another plugin, data or versions."""
    class_names: list[str] = field(default_factory=list)
    """By label."""
    normalization: Json | None = None
    """``mean`` and ``std`` by channel of pixels of 0 to 1, as the trainings normalize them."""
    trainings: int = 0
    """How many there were, of which equal candidates share one; 0 in files of earlier versions."""
    images: Json = field(default_factory=dict)
    """How many images the splits have: :attr:`nas.data.image_set.Splits.counts`."""
    curves: list[LossCurve] = field(default_factory=list)

    def to_json(self) -> Json:
        """Return what ``compare.json`` holds."""
        found = {**asdict(self), "rows": [row.to_json() for row in self.rows]}
        found |= {"ensembles": [ensemble.to_json() for ensemble in self.ensembles]}
        return {name: value for name, value in found.items() if value or name not in OPTIONAL}

    @classmethod
    def from_json(cls, data: Json) -> Comparison:
        """Read what :meth:`to_json` wrote."""
        latency = data["latency"]
        read = {
            "recipes": [NamedNumbers(**found) for found in data["recipes"]],
            "rows": [Row.from_json(found) for found in data["rows"]],
            "latency": None if latency is None else LatencyMeasurement(**latency),
            "against_random": [AgainstRandom(**{**found, **_difference(found)}) for found in data["against_random"]],
            "effects": Effects.from_json(data["effects"]),
            "ensembles": [Ensemble.from_json(found) for found in data["ensembles"]],
            "published": [PublishedTable(**found) for found in data["published"]],
            "curves": [LossCurve(**found) for found in data.get("curves", ())],
        }
        return cls(**{**data, **read})

    def rows_of(self, recipe: str) -> list[Row]:
        """Return the rows under ``recipe``."""
        return [row for row in self.rows if row.recipe == recipe]

    def class_table(self, recipe: str) -> ClassTable | None:
        """Return how the best networks under ``recipe`` did by class; None where that was not counted."""
        best = self.rows_of(recipe)[:CLASS_COLUMNS]
        return class_table({f"{row.name}, %": row.per_class for row in best}, self.seeds, "compare.json")

    def to_dataframe(self) -> DataFrame:
        """Return a row a training: model, recipe, seed, accuracy, seconds, costs; needs pandas."""
        from nas.workflows.compare.notebook import training_rows

        return dataframe(training_rows(self), "to_dataframe()")

    def plot(self, against: str | None = None, recipe: str | None = None) -> Plot:
        """Return a picture of the accuracies with their intervals.

        ``against`` is ``params``, ``macs`` or ``latency``, ``recipe`` one of the comparison's, by default the first.
        """
        from nas.workflows.compare.notebook import comparison_plot

        return comparison_plot(self, against, recipe)

    def short(self) -> str:
        """Return how much was compared on what, and the best mean."""
        networks = count(len({row.name for row in self.rows}), "network")
        best = max((row for row in self.rows if row.mean is not None), key=lambda row: row.mean or 0.0, default=None)
        told = f", best {best.name} {best.mean:.2f} %" if best is not None else ""
        return (
            f"Comparison({self.name}, {networks} x {count(self.seeds, 'seed')} on {self.dataset}{told}, {self.status})"
        )

    def _repr_html_(self) -> str:
        """Return tables, sentences and a picture, for a notebook."""
        from nas.workflows.compare.notebook import comparison_fragment

        return comparison_fragment(self)

    @property
    def differences(self) -> list[Difference]:
        """The differences of all rows to the first candidate."""
        return [row.difference for row in self.rows if row.difference is not None]


def _difference(data: Json) -> dict[str, Difference | None]:
    found = data["difference"]
    return {"difference": None if found is None else Difference.from_json(found)}


def result(view: CompareView) -> Comparison:
    """Return what the journal of a comparison tells."""
    settings, ledger = view.settings, view.ledger
    found = _differences(view)
    noted = [(final, final["notes"]) for final in ledger.finals if "notes" in final]
    notes = [note for _, note in noted]
    images = {name: number for note in notes for name, number in note.get("images", {}).items()}
    damaged = damaged_files(notes)
    devices = {note["trained_on"]["device"] for note in notes if "trained_on" in note}
    scores = [[ledger.scores(i, recipe) for recipe in settings.recipe_names] for i in range(len(view.candidates))]
    latency, measured = None, list(ledger.latencies.values())
    if measured:
        repeats = [event["repeats"] for event in measured if event["repeats"]] or [0]
        where = ", ".join(sorted({event["device"] for event in measured}))
        latency = LatencyMeasurement(where, measured[0]["threads"], [min(repeats), max(repeats)])
    return Comparison(
        format=FORMAT,
        name=view.folder.name,
        status=ledger.status,
        dataset=settings.dataset,
        epochs=settings.epochs,
        seeds=settings.seeds,
        seed=settings.seed,
        threads=settings.threads or 1,
        settings=settings.to_json(),
        test_reads=ledger.test_reads,
        environment=dict(view.environment),
        trained_on=sorted(devices),
        least_p=least_p(settings.seeds),
        recipes=[NamedNumbers(recipe.name, recipe.to_json()) for recipe in settings.recipes],
        rows=[row for recipe in settings.recipe_names for row in _rows(view, recipe, found, images.get("test"))],
        latency=latency,
        against_random=_against_random(view, found),
        effects=effects(view.candidate_names, settings.recipe_names, scores),
        ensembles=ensembles(view),
        published=[
            PublishedTable(name, TITLES[name], rows(name))
            for name in fitting(settings.dataset, view.input_shape, view.classes)
        ],
        remarks=data_remarks(notes),
        damaged_images=damaged[0],
        damaged=damaged[1],
        input_changes=list(view.input_changes),
        class_names=list(view.class_names),
        normalization=next((note["normalization"] for note in notes if "normalization" in note), None),
        trainings=len({(final["key"], final["number"], final["recipe"]) for final in ledger.finals}),
        images=images,
        curves=[
            LossCurve(view.candidate_names[int(final["role"])], final["recipe"], final["number"], note["curve"])
            for final, note in noted
            if "curve" in note
        ],
    )


Differences = dict[tuple[str, int, int], Difference]
"""By recipe and the numbers of both candidates."""


def _differences(view: CompareView) -> Differences:
    """Return every difference that the result has; Holm's correction covers them all."""
    pairs = [(index, 0) for index in range(1, len(view.candidates))]
    # the first candidate may be a run or its random search: that pair is there already, perhaps the other way round
    pairs += [pair for pair in _random_pairs(view) if pair not in pairs and (pair[1], pair[0]) not in pairs]
    wanted = [(recipe, first, second) for recipe in view.settings.recipe_names for first, second in pairs]
    names, own = view.candidate_names, view.ledger.scores
    questions = [Question(names[a], names[b], (own(a, recipe), own(b, recipe)), recipe) for recipe, a, b in wanted]
    found = zip(wanted, differences(questions), strict=True)
    return {which: difference for which, difference in found if difference is not None}


def _rows(view: CompareView, recipe: str, differences: Differences, images: int | None) -> list[Row]:
    found = []
    place = view.settings.recipe_names.index(recipe)
    numbers = view.settings.actual_recipes[place]
    for index, candidate in enumerate(view.candidates):
        finals, scores = view.ledger.of(index, recipe), view.ledger.scores(index, recipe)
        taken = [f["seconds"] for f in finals.values() if f["score"] is not None]
        measured = {batch: view.ledger.latencies.get((str(index), batch), {}) for batch in BATCHES}
        network = Graph.from_json(candidate["trained"][place] or candidate["graph"])
        row = Row(
            name=candidate["name"],
            kind=candidate["kind"],
            params=candidate["params"],
            macs=candidate["macs"],
            queries=candidate["queries"],
            recipe=recipe,
            scores=[scores.get(number) for number in range(view.settings.seeds)],
            failures=[f["failure"] for f in finals.values() if f["score"] is None],
            mean=statistics.fmean(scores.values()) if scores else None,
            interval=accuracy_interval(list(scores.values()), images),
            seconds=statistics.fmean(taken) if taken else None,
            latency={str(batch): event.get("milliseconds") for batch, event in measured.items()},
            not_applied=not_applied(numbers, network),
            difference=differences.get((recipe, index, 0)),
            per_class=class_accuracies(finals.values(), view.class_names),
            training_seconds=[finals[n]["seconds"] if n in scores else None for n in range(view.settings.seeds)],
        )
        found.append(row)
    return sorted(found, key=lambda row: -(row.mean or 0))


def _random_pairs(view: CompareView) -> list[tuple[int, int]]:
    """Return (run, its random search) by their numbers."""
    runs = {c["name"]: i for i, c in enumerate(view.candidates) if c["kind"] == "run"}
    return [(runs[c["of"]], i) for i, c in enumerate(view.candidates) if c["kind"] == "random"]


def _against_random(view: CompareView, differences: Differences) -> list[AgainstRandom]:
    found = []
    for recipe in view.settings.recipe_names:
        for run, random in _random_pairs(view):
            difference = differences.get((recipe, run, random))
            if difference is None and (other := differences.get((recipe, random, run))) is not None:
                difference = other.turned()
            if difference is not None:
                queries = {"run": view.candidates[run]["queries"], "random": view.candidates[random]["queries"]}
                found.append(AgainstRandom(view.candidate_names[run], queries, difference))
    return found
