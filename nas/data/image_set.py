"""Sets of images in memory, their stratified parts, and a dataset: its files as they were found, its three splits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import numpy.typing as npt

from nas.core.text import count, printable
from nas.core.values import Json, Shape, Shortened, Task
from nas.errors import ConfigError

if TYPE_CHECKING:
    from nas.data.streaming import ImageStream

Pixels = npt.NDArray[np.uint8]
Labels = npt.NDArray[np.int64]
Moments = npt.NDArray[np.float32]
Images: TypeAlias = "ImageSet | ImageStream"

NAMED = 5
"""Classes that a sentence names at most."""
IMBALANCED = 3
"""Times as many training images of the commonest class as of the rarest are told."""
CLASS_NAME_LIMIT = 200
"""Characters of the name of a class."""
MOST_CLASS_NAMES = 25_000
"""Datasets of more classes have no names here; ImageNet-21k has 21,841."""
DEPTH_HELP = "scale them to 16 bits, or write their depth into the files (PNG: sBIT, TIFF: BitsPerSample)"


@dataclass(frozen=True, eq=False)
class Findings:
    """What the files of a split held beside its images; the parts of a split share one, to which reading adds.

    Attributes:
        damaged: the files that could not be read so far and were left out, each with the reason
        ranges: the highest value so far by kind of image whose files do not say their range, as
            :class:`nas.data.depth.Decoding` has it
        passed_over: by split, what of its folder is no image of a class, in words
        told: what else is to be told of the images, a sentence each by its topic
    """

    damaged: list[str] = field(default_factory=list)
    ranges: dict[tuple[str, int], float] = field(default_factory=dict)
    passed_over: dict[str, str] = field(default_factory=dict)
    told: dict[str, str] = field(default_factory=dict)

    def add(self, damaged: Iterable[str], ranges: Mapping[tuple[str, int], float]) -> None:
        """Take the lines on damaged files that are new, and ranges."""
        known = set(self.damaged)
        self.damaged.extend(line for line in dict.fromkeys(damaged) if line not in known)
        for kind, most in ranges.items():
            self.ranges[kind] = max(most, self.ranges.get(kind, 0.0))

    def merged(self, other: Findings) -> Findings:
        """Return what both hold; one that both share stays the same object."""
        if self is other:
            return self
        found = Findings([], {}, self.passed_over | other.passed_over, self.told | other.told)
        for part in (self, other):
            found.add(part.damaged, part.ranges)
        return found


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet(Shortened):
    """Images (N, C, H, W) of 8-bit pixels and their labels (N,); arrays of another kind raise :class:`ConfigError`.

    ``findings`` tell what else their files held.
    """

    images: Pixels
    labels: Labels
    findings: Findings = field(default_factory=Findings)

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or self.images.dtype != np.uint8:
            raise ConfigError(f"images must be uint8 (N, C, H, W), found {self.images.dtype} {self.images.shape}")
        if self.labels.shape != self.images.shape[:1] or self.labels.dtype != np.int64:
            found = f"{self.labels.dtype} {self.labels.shape}"
            raise ConfigError(f"labels must be int64 and one an image, found {found} for {len(self.images):,} images")

    def __len__(self) -> int:
        return len(self.images)

    def short(self) -> str:
        """Return the number and the shape of the images."""
        return f"ImageSet({count(len(self), 'image')} of {'x'.join(map(str, self.image_shape))})"

    @property
    def damaged(self) -> list[str]:
        """The files that could not be read so far and were left out, each with the reason."""
        return self.findings.damaged

    @property
    def image_shape(self) -> Shape:
        """The shape (C, H, W) of one image."""
        return tuple(map(int, self.images.shape[1:]))

    def take(self, indices: Labels) -> ImageSet:
        """Return the images at ``indices``, copied."""
        return ImageSet(self.images[indices], self.labels[indices], self.findings)

    def joined(self, other: ImageSet) -> ImageSet:
        """Return these images followed by those of ``other``."""
        if other.image_shape != self.image_shape:
            raise ConfigError(f"image sets of one shape can be joined, found {self.image_shape}, {other.image_shape}")
        images = np.concatenate((self.images, other.images))
        labels = np.concatenate((self.labels, other.labels))
        return ImageSet(images, labels, self.findings.merged(other.findings))

    @cached_property
    def moments(self) -> tuple[Moments, Moments]:
        """Mean and standard deviation of every channel, each (C,), in units of 0..255; a constant channel's is 1."""
        levels = np.arange(256, dtype=np.float64)
        means, stds = [], []
        for channel in range(self.images.shape[1]):
            # counted image by image, since bincount makes an int64 copy, eight times the pixels
            counts = np.zeros(256, dtype=np.int64)
            for start in range(0, len(self), 1_000):
                counts += np.bincount(self.images[start : start + 1_000, channel].ravel(), minlength=256)
            means.append(float(counts @ levels / counts.sum()))
            stds.append(float(np.sqrt(counts @ (levels - means[-1]) ** 2 / counts.sum())) or 1.0)
        return np.array(means, dtype=np.float32), np.array(stds, dtype=np.float32)


@dataclass(frozen=True)
class Normalization:
    """How pixels become what a network takes: ``(x - mean) / std`` by channel, x being a level of 0 to 1.

    Raises :class:`ConfigError` unless there is a mean of 0 to 1 and a deviation above 0 for every channel.

    Attributes:
        mean: (C,)
        std: (C,), the standard deviations
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        pairs = [n for pair in zip(self.mean, self.std, strict=False) for n in pair if type(n) in (int, float)]
        fits = all(0 <= mean <= 1 and 0 < std <= 1 for mean, std in zip(pairs[::2], pairs[1::2], strict=False))
        if not (fits and pairs and len(pairs) == 2 * len(self.mean) == 2 * len(self.std)):
            raise ConfigError("normalization must have a mean of 0 to 1 and a deviation above 0, at most 1, by channel")

    @classmethod
    def of(cls, images: Images) -> Normalization:
        """Return how the pixels of networks that are trained on ``images`` are normalized."""
        mean, std = ([float(f"{level / 255:.9g}") for level in each.tolist()] for each in images.moments)
        return cls(tuple(mean), tuple(std))

    def to_json(self) -> Json:
        """Return both as JSON data."""
        return {"mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, data: Mapping[str, object]) -> Normalization:
        """Read what :meth:`to_json` wrote; anything else raises :class:`ConfigError`."""
        mean, std = (found if isinstance(found := data.get(name), list) else [] for name in ("mean", "std"))
        return cls(tuple(mean), tuple(std))


def stratified(labels: Labels, count: int, seed: int) -> tuple[Labels, Labels]:
    """Return the indices of ``count`` random examples and of all others, both in order.

    Every class gives its share of ``count``; the largest remainders are rounded up. The same seed gives the same parts
    for good: numpy keeps the streams of its bit generators across versions, but no permutations (NEP 19).
    """
    classes, sizes = np.unique(labels, return_counts=True)
    shares, remainders = np.divmod(sizes.astype(np.int64) * count, len(labels))
    shares[np.argsort(-remainders, kind="stable")[: count - shares.sum()]] += 1
    order = np.argsort(np.random.PCG64(seed).random_raw(len(labels)), kind="stable")
    picks = [order[labels[order] == c][:n] for c, n in zip(classes, shares, strict=True)]
    mask = np.zeros(len(labels), dtype=bool)
    mask[np.concatenate(picks)] = True
    return np.flatnonzero(mask).astype(np.int64), np.flatnonzero(~mask).astype(np.int64)


@dataclass(frozen=True, eq=False, repr=False)
class Splits(Shortened):
    """The three splits of a dataset. A search sees ``train`` and ``validation``; ``test`` is read on first access.

    Attributes:
        name: the dataset's
        train: what networks are trained on
        validation: what a search measures them on
        read_test: reads the official test split
        classes: their number
        class_names: their names in the order of the labels; empty where the dataset has none
        test_images: the number of labels of the test split; None where they are not known before it is read
        drawn_test: whether the dataset has no official test split and it is a part of the training images
    """

    name: str
    train: Images
    validation: Images
    read_test: Callable[[], Images]
    classes: int
    class_names: tuple[str, ...] = ()
    test_images: int | None = None
    drawn_test: bool = False

    @cached_property
    def test(self) -> Images:
        """The official test split, for finalists only; wrong pixels or labels raise :class:`ConfigError`."""
        return checked(self.read_test(), f"test split of dataset '{self.name}'", self.task)

    @property
    def damaged(self) -> tuple[str, ...]:
        """The files that could not be read so far and were left out, each with the reason."""
        return tuple(self._findings.damaged)

    @property
    def counts(self) -> dict[str, int]:
        """The number of classes, of the images of each split, and of those of its commonest class.

        The test split is not read for it: it is among them once it was.
        """
        found = {"classes": self.classes}
        for name in ("train", "validation", "test"):
            part = self.__dict__.get(name)
            if part is not None:
                found |= {name: len(part), f"{name}_commonest": int(np.bincount(part.labels).max())}
        return found

    @property
    def remarks(self) -> dict[str, str]:
        """What a reader of scores must know of the images read so far, a sentence each by its topic."""
        found = self._findings
        remarks = {**{f"passed over, {split}": text for split, text in found.passed_over.items()}, **found.told}
        for (kind, white), most in found.ranges.items():
            if kind == "floating-point" or most <= white // 2:
                told = f"{kind} images with values up to {most:,.6g} were read as 0 to {white:,}"
                dark = "" if most > white / 2 else f", so they are dark; {DEPTH_HELP}"
                remarks[f"values, {kind}, {white}"] = told + dark
        for name in ("validation", "test"):
            part = self.__dict__.get(name)
            missing = [] if part is None else np.setdiff1d(np.arange(self.classes), part.labels).tolist()
            if missing:
                names = ", ".join(map(self._named, missing[:NAMED]))
                more = f" and {len(missing) - NAMED:,} more" if len(missing) > NAMED else ""
                told = f"{len(missing):,} of {self.classes:,} classes have no {name} image and are not measured"
                remarks[f"classes, {name}"] = f"{told}: {names}{more}"
        if self.drawn_test:
            drawn = f"{self.test_images or 0:,} of its images, drawn of each class in proportion"
            remarks["test split"] = (
                f"the dataset has no test split: {drawn} and the same for every seed, are kept for it"
            )
        counts = np.bincount(self.train.labels, minlength=self.classes)
        if counts.max() >= IMBALANCED * counts.min():
            many, few = (f"{counts[i]:,} of {self._named(int(i))}" for i in (counts.argmax(), counts.argmin()))
            remarks["balance"] = (
                f"the classes are not balanced: {many}, {few} among the training images; the recipe's class_weights or"
                " balanced_sampling let each count alike"
            )
        return remarks

    def _named(self, label: int) -> str:
        return self.class_names[label] if self.class_names else str(label)

    @property
    def _findings(self) -> Findings:
        test = self.__dict__.get("test")  # not read for this
        found = self.train.findings.merged(self.validation.findings)
        return found if test is None else found.merged(test.findings)

    def short(self) -> str:
        """Return the number of images of each split, their shape and the number of classes; the test is not read."""
        test = self.test_images if "test" not in self.__dict__ else len(self.test)
        sizes = {"train": len(self.train), "validation": len(self.validation), "test": test}
        parts = [self.name, *(f"{name} {size:,}" for name, size in sizes.items() if size is not None)]
        shape = "x".join(map(str, self.train.image_shape))
        return f"Splits({', '.join([*parts, f'images of {shape}', f'{self.classes:,} classes'])})"

    @property
    def task(self) -> Task:
        """What a network must do for this dataset."""
        return Task(self.name, self.train.image_shape, self.classes)


@dataclass(frozen=True)
class DatasetSource:
    """A dataset whose files were found and have the right sizes, none read yet.

    The names of classes become printable here, cut to :data:`CLASS_NAME_LIMIT` characters; another number of them than
    one a class raises :class:`ConfigError`.

    Attributes:
        task: what networks for it must do
        train: reads the official training split
        test: reads the official test split; None where there is none, and a share of the training split takes its place
        validation: the usual number of validation images, None: a tenth of the training split
        test_labels: reads the labels of the test split alone, int64 (N,), which are checked before anything is trained
        files: yields the files that are read, as names and paths; a name stays the same wherever the files lie
        class_names: one a class in the order of the labels, or none
        official_validation: reads the official validation split; None where there is none, and it is drawn
        digest: of the images, of a dataset without files; "" where what it is named by says which images they are
    """

    task: Task
    train: Callable[[], Images]
    test: Callable[[], Images] | None
    validation: int | None = None
    test_labels: Callable[[], Labels] | None = None
    files: Callable[[], Iterable[tuple[str, str]]] | None = None
    class_names: tuple[str, ...] = ()
    official_validation: Callable[[], Images] | None = None
    digest: str = ""

    def __post_init__(self) -> None:
        if self.class_names and len(self.class_names) != self.task.classes:
            rule = f"one for each of {self.task.classes:,} classes"
            raise ConfigError(f"the names of classes must be {rule}, found {len(self.class_names):,}")
        names = self.class_names if len(self.class_names) <= MOST_CLASS_NAMES else ()
        object.__setattr__(self, "class_names", tuple(printable(str(name), CLASS_NAME_LIMIT) for name in names))


def checked(images: Images, what: str, task: Task) -> Images:
    """Return ``images`` where they have the shape and the labels of ``task``; others raise :class:`ConfigError`."""
    if images.image_shape != task.input_shape:
        raise ConfigError(f"{what}: images must be {task.input_shape}, found {images.image_shape}")
    check_labels(images.labels, what, task)
    return images


def check_labels(labels: Labels, what: str, task: Task, advice: str = "get the files again") -> None:
    """Refuse labels that are none of the classes of ``task``, which are those of the training split."""
    wrong = np.flatnonzero((labels < 0) | (labels >= task.classes))
    if len(wrong):
        found = f"{labels[wrong[0]]} at image {wrong[0]:,}"
        raise ConfigError(f"{what}: labels must be from 0 to {task.classes - 1}, found {found}; {advice}")
