"""What a number of images can tell of an accuracy: chance level, standard error, and what one image is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nas.core.values import Json
from nas.report.statistics import chance_p


@dataclass(frozen=True)
class MeasuredOn:
    """A split that accuracies are measured on."""

    images: int
    chance: float
    """Percent right of who always names the commonest class, or guesses where the classes are equally common."""

    @classmethod
    def of(cls, counts: Json, split: str) -> MeasuredOn | None:
        """Return the ``split`` of the ``counts`` that a training noted (:attr:`nas.data.image_set.Splits.counts`).

        None where they do not tell it, as in journals of earlier versions.
        """
        found = [counts.get(name) for name in ("classes", split, f"{split}_commonest")]
        numbers = [number for number in found if isinstance(number, int) and number > 0]
        if len(numbers) < len(found):
            return None
        classes, images, commonest = numbers
        return cls(images, 100 * max(1 / classes, min(commonest, images) / images))

    @property
    def point(self) -> float:
        """What one image is worth, points."""
        return 100 / self.images

    def standard_error(self, accuracy: float) -> float:
        """Return the standard error, points, that this number of images gives an ``accuracy`` in percent."""
        return math.sqrt(max(0.0, accuracy * (100 - accuracy)) / self.images)

    def chance_p(self, accuracy: float, tries: int = 1) -> float:
        """Return how likely the best of ``tries`` guessers reaches ``accuracy``: see :func:`statistics.chance_p`."""
        return chance_p(round(accuracy * self.images / 100), self.images, self.chance / 100, tries)


def reads_text(trainings: int, reads: int) -> str:
    """Say how often the test split was read for the ``trainings`` that are recorded.

    A read is in the journal before the training whose end it is, so one that was tried again counts as two.
    """
    if reads <= trainings:
        return "tested once each"
    return (
        f"tested once each; {reads} reads of the test split are counted for {trainings} trainings, since one that "
        "failed, was interrupted or still runs may have read it"
    )
