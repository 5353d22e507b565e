"""A user's own images as Python objects: any dataset of (image, label), and arrays or tensors of both."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeAlias

import numpy as np
import numpy.typing as npt

from nas.core.activity import advance, doing
from nas.core.memory import require_memory
from nas.core.plugins import naming
from nas.core.registry import check_named
from nas.core.values import Task
from nas.data.decode import central
from nas.data.depth import Damaged
from nas.data.image_files import RESIDENT_BYTES
from nas.data.image_set import DatasetSource, Images, ImageSet, Labels, Pixels
from nas.data.levels import MOST_CHANNELS, Depth, array_of, levels_of, pixels_of
from nas.data.splits import DATASETS, DatasetInfo
from nas.data.streaming import ImageStream
from nas.errors import ConfigError, one_line

if TYPE_CHECKING:
    from PIL import Image

SAMPLED = 32
"""Items, spread over all, that are looked at where not all are."""
TOLD_EVERY = 1_000
"""Items after which it is told how many are read."""


class Items(Protocol):
    """What holds (image, label) by index, such as any ``torch.utils.data.Dataset`` with a length."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> tuple[object, object]: ...


Part: TypeAlias = "Items | tuple[npt.ArrayLike, npt.ArrayLike]"
"""One split: what holds (image, label), or arrays or tensors of all images and all labels."""


class Data:
    """Images of a user's own for searches, trainings and comparisons, wherever a dataset's name is taken.

    An image is a PIL image, or an array or tensor (C, H, W), (H, W, C) or (H, W) of levels 0 to 255 or 0 to 1; a label
    is an integer from 0. Images are read once into memory, so random transforms would be drawn once: augmentation is
    the recipe's. Where all of a split take more than ``resident_bytes`` they are asked for in every epoch instead, and
    seen as RGB at ``image_size``. One label an image: several labels or numbers to predict are out of scope.

    The data is known by ``name`` and a digest of its pixels and labels, so a run that goes on in another process goes
    on where the same data is made again.
    """

    def __init__(
        self,
        train: Part,
        validation: Part | None = None,
        test: Part | None = None,
        *,
        classes: Sequence[str] | None = None,
        name: str = "data",
        image_size: int | None = None,
        resident_bytes: int = RESIDENT_BYTES,
    ) -> None:
        """Read the labels, and the images where they are kept; what is wrong raises :class:`ConfigError`.

        Args:
            train: what networks are trained on
            validation: what a search measures them on; None: a part of ``train``, see ``--val-share``
            test: what finalists are measured on at the end; None: a part of ``train``, see ``--test-share``
            classes: the names of the classes in the order of the labels
            name: how reports and journals call the data
            image_size: side in pixels to which images are scaled (short side, then the centre); None: as they are
            resident_bytes: the most that the pixels of a split may take to be kept in memory
        """
        if not name or any(c.isspace() for c in name) or name in DATASETS:
            taken = "a dataset of that name is registered already" if name in DATASETS else "a name is one word"
            raise ConfigError(f"nas.Data: {taken}, found {name!r}")
        given = {"train": train, "validation": validation, "test": test}
        what = f"nas.Data '{name}'"
        parts = {
            split: _Items.of(part, f"{what}: {split}", image_size) for split, part in given.items() if part is not None
        }
        # all splits alike, since final trainings join two of them
        streamed = any(part.items is not None and part.size > resident_bytes for part in parts.values())
        self._parts: dict[str, Images] = {}
        for split, part in parts.items():
            with doing(f"reading the {split} images of '{name}'"):
                self._parts[split] = _stream(parts, split, what, image_size) if streamed else part.read(image_size)
        official = self._parts["train"]
        shapes = {split: images.image_shape for split, images in self._parts.items()}
        if len(set(shapes.values())) > 1:
            shown = ", ".join(f"{split} {shape}" for split, shape in shapes.items())
            raise ConfigError(f"nas.Data '{name}': images of all splits must have one shape, found {shown}")
        present = np.unique(official.labels)
        count = len(present) if classes is None else len(classes)
        if count < 2:
            raise ConfigError(f"{what}: at least two classes are needed, found {count}")
        if gap := sorted(set(range(count)).symmetric_difference(present.tolist())):
            rule = f"labels must be 0 to {count - 1} with every class among the training images"
            found = f"none of class {gap[0]}" if gap[0] < count else f"label {gap[0]}"
            raise ConfigError(f"{what}: {rule}, found {found}")
        self.classes = () if classes is None else tuple(map(str, classes))
        self.task = Task(name, official.image_shape, count)
        self.name = f"{name}-{self._digest()}"
        """What the data is called in a run's configuration."""
        DATASETS.replace(
            self.name, DatasetInfo("data given in Python", lambda place: self.source(), False, in_python=True)
        )

    def source(self, name: str | None = None) -> DatasetSource:
        """Return the data as the dataset ``name``, by default its own."""
        task = Task(name or self.name, self.task.input_shape, self.task.classes)

        def reader(split: str) -> Callable[[], Images] | None:
            return partial(self._parts.__getitem__, split) if split in self._parts else None

        train, test = reader("train"), reader("test")
        assert train is not None
        labels = None if test is None else lambda: self._parts["test"].labels
        validation, digest = reader("validation"), self.name.rpartition("-")[2]
        return DatasetSource(task, train, test, None, labels, None, self.classes, validation, digest)

    def __repr__(self) -> str:
        counts = ", ".join(f"{split}={len(images):,}" for split, images in self._parts.items())
        return f"nas.Data('{self.name}', {counts}, images={self.task.input_shape}, classes={self.task.classes})"

    def _digest(self) -> str:
        digest = blake2b(digest_size=4)
        for split, images in self._parts.items():
            digest.update(f"{split} {images.image_shape} {len(images)} ".encode() + images.labels.tobytes())
            if isinstance(images, ImageSet):
                digest.update(np.ascontiguousarray(images.images).data)
                continue
            # of what is not kept, images all over it
            for index in np.linspace(0, len(images) - 1, SAMPLED).astype(int).tolist():
                try:
                    digest.update(np.asarray(images.source(index)).tobytes())
                except Damaged as damage:
                    digest.update(str(damage).encode())
        digest.update(repr(self.classes).encode())
        return digest.hexdigest()


def register_dataset(name: str) -> Callable[[Callable[..., Data]], Callable[..., Data]]:
    """Return a decorator that makes what a function returns the dataset ``name`` of a plugin.

    The function takes nothing, or the folder of ``--data-dir`` as a :class:`pathlib.Path`. It is called once for each
    folder, when the dataset is first asked for.
    """
    check_named("dataset", name)

    def register(function: Callable[..., Data]) -> Callable[..., Data]:
        """Register the function and return it as it is."""
        takes_folder = bool(inspect.signature(function).parameters)
        made: dict[Path | None, DatasetSource] = {}

        def load(place: Path | None) -> DatasetSource:
            if place not in made:
                with naming(f"function {function.__name__}"):
                    data = function(place) if takes_folder else function()
                if not isinstance(data, Data):
                    rule = f"function {function.__name__} must return nas.Data, found {type(data).__name__}"
                    raise ConfigError(rule)
                made[place] = data.source(name)
            return made[place]

        text = (function.__doc__ or "of a plugin").strip().split("\n")[0].rstrip(".")
        help = "it is read by a function of a plugin that takes its folder: pass it with --data-dir"
        DATASETS.add(name, DatasetInfo(text, load, takes_folder, help=help, takes_file=True, in_python=True))
        return function

    return register


@dataclass(frozen=True, eq=False)
class _Items:
    """One split as it was given, checked by its first image.

    Attributes:
        what: names it in errors
        count: its images
        shape: (C, H, W) of the first
        items: what holds (image, label); None: all are in memory already
        ready: all of them, where ``items`` is None
    """

    what: str
    count: int
    shape: tuple[int, ...]
    items: Items | None = None
    ready: ImageSet | None = None

    @classmethod
    def of(cls, part: Part, what: str, size: int | None) -> Self:
        """Look at a split; what is none raises :class:`ConfigError`."""
        if isinstance(part, tuple | list) and len(part) == 2 and not _holds_items(part):
            ready = _arrays(part[0], part[1], what, size)
            return cls(what, len(ready), ready.image_shape, None, ready)
        if not (hasattr(part, "__len__") and hasattr(part, "__getitem__")):
            rule = "must hold (image, label) by index and have a length, or be a pair of arrays (images, labels)"
            raise ConfigError(f"{what} {rule}, found {type(part).__name__}")
        items: Items = part  # type: ignore[assignment]
        if not len(items):
            raise ConfigError(f"{what} holds no image")
        first = pixels_of(_item(items, 0, what)[0], f"{what}, item 0", Depth())
        return cls(what, len(items), (first if size is None else _scaled(first, size)).shape, items)

    @property
    def size(self) -> int:
        """Bytes of the pixels of all images."""
        return self.count * math.prod(self.shape)

    def read(self, size: int | None) -> ImageSet:
        """Read all images into memory."""
        if self.ready is not None:
            return self.ready
        assert self.items is not None
        require_memory(2 * self.size, f"{self.what}: {self.count:,} images {self.shape}")
        images, labels = np.empty((self.count, *self.shape), np.uint8), np.empty(self.count, np.int64)
        depth = Depth()
        for index in range(self.count):
            image, label = _item(self.items, index, self.what)
            pixels = pixels_of(image, f"{self.what}, item {index:,}", depth)
            pixels = pixels if size is None else _scaled(pixels, size)
            if pixels.shape != self.shape:
                rule = f"images must have one shape, found {pixels.shape} at item {index:,} after {self.shape}"
                raise ConfigError(f"{self.what}: {rule}; image_size=N scales them to one")
            images[index], labels[index] = pixels, _label(label, f"{self.what}, item {index:,}")
            if index % TOLD_EVERY == TOLD_EVERY - 1:
                advance(f"reading images, {index + 1:,} of {self.count:,}", index + 1, self.count)
        depth.check(self.what)
        return ImageSet(images, labels)

    def labels(self) -> Labels:
        """Return the labels of all images."""
        if self.ready is not None:
            return self.ready.labels
        assert self.items is not None
        return np.fromiter(_labels(self.items, self.what), np.int64, self.count)

    def picture(self, index: int) -> Image.Image:
        """Return an image as pillow has it; one that cannot be read raises :class:`Damaged`."""
        from PIL import Image

        try:
            if self.ready is not None:
                pixels = self.ready.images[index]
            else:
                assert self.items is not None
                pixels = pixels_of(_item(self.items, index, self.what)[0], f"item {index:,}", Depth())
        except ConfigError as error:
            raise Damaged(one_line(error)) from None
        if len(pixels) not in (1, 3):
            raise Damaged(f"images that are not kept in memory are grey or in colour, found {len(pixels)} channels")
        return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def _stream(parts: Mapping[str, _Items], split: str, what: str, size: int | None) -> ImageStream:
    """Return a split whose images are asked for in every epoch; one reader knows those of all ``parts``."""
    part = parts[split]
    names = np.array([f"{split}/{index}".encode() for index in range(part.count)], dtype=np.bytes_)
    side = size or min(parts["train"].shape[1:])
    return ImageStream(Path(what), names, part.labels(), side, item=partial(_picture, parts))


def _picture(parts: Mapping[str, _Items], name: str) -> Image.Image:
    split, _, index = name.partition("/")
    return parts[split].picture(int(index))


def _holds_items(pair: Sequence[object]) -> bool:
    """Return whether a sequence of two holds items, (image, label) each, and not all images and all labels."""
    return all(isinstance(one, tuple | list) and len(one) == 2 and np.ndim(one[1]) == 0 for one in pair)


def _arrays(images: npt.ArrayLike, labels: npt.ArrayLike, what: str, size: int | None) -> ImageSet:
    """Return arrays or tensors (N, C, H, W), (N, H, W, C) or (N, H, W) and integers (N,) as a set of images."""
    pixels, numbers = array_of(images), array_of(labels)
    if pixels.ndim not in (3, 4) or not pixels.size:
        rule = "images must be (N, C, H, W), (N, H, W, C) or (N, H, W)"
        raise ConfigError(f"{what}: {rule}, found {pixels.shape}")
    if numbers.shape == (len(pixels), 1):
        numbers = numbers[:, 0]
    if numbers.shape != pixels.shape[:1] or numbers.dtype.kind not in "iu":
        rule = f"labels must be integers ({len(pixels):,},), one class an image"
        raise ConfigError(f"{what}: {rule}, found {numbers.dtype} {numbers.shape}")
    if numbers.min() < 0:
        raise ConfigError(f"{what}: labels must be at least 0, found {numbers.min()}")
    if pixels.ndim == 3:
        pixels = pixels[:, None]
    elif pixels.shape[1] > MOST_CHANNELS:
        if pixels.shape[3] > MOST_CHANNELS:
            raise ConfigError(f"{what}: images must have at most {MOST_CHANNELS} channels, found {pixels.shape}")
        pixels = pixels.transpose(0, 3, 1, 2)
    depth = Depth()
    levels = np.ascontiguousarray(levels_of(pixels, what, depth))
    depth.check(what)
    if size is not None:
        levels = np.stack([_scaled(one, size) for one in levels])
    return ImageSet(levels, numbers.astype(np.int64))


def _item(items: Items, index: int, what: str) -> tuple[object, object]:
    """Return (image, label) of an item; what a stranger's code raises, and items of another kind, is ConfigError."""
    with naming(f"{what}, item {index:,}"):
        item = items[index]
    if not isinstance(item, tuple | list) or len(item) != 2:
        found = f"{type(item).__name__} of {len(item)}" if isinstance(item, tuple | list) else type(item).__name__
        raise ConfigError(f"{what}, item {index:,}: an item must be (image, label), found {found}")
    return item[0], item[1]


def _label(label: object, what: str) -> int:
    array = array_of(label)
    if array.size != 1 or array.dtype.kind not in "iu" or int(array.reshape(-1)[0]) < 0:
        shown = repr(label) if array.size == 1 else f"{type(label).__name__} {array.shape}"
        raise ConfigError(f"{what}: a label must be one integer of at least 0, found {shown}")
    return int(array.reshape(-1)[0])


def _labels(items: Items, what: str) -> Iterator[int]:
    """Yield the labels, of ``targets`` or ``labels`` as torchvision's datasets have them, else item by item."""
    count = len(items)
    known: Any = next((own for name in ("targets", "labels") if (own := getattr(items, name, None)) is not None), None)
    if known is not None and (not hasattr(known, "__len__") or len(known) != count):
        known = None
    # they may be other labels than those of the items, which a transform changes
    for index in np.linspace(0, count - 1, SAMPLED).astype(int).tolist() if known is not None else ():
        with suppress(ConfigError):  # an item that cannot be read is left out later
            if not np.array_equal(array_of(known[index]).reshape(-1), [_label(_item(items, index, what)[1], what)]):
                known = None
                break
    for index in range(count):
        yield _label(_item(items, index, what)[1] if known is None else known[index], f"{what}, item {index:,}")


def _scaled(pixels: Pixels, size: int) -> Pixels:
    """Return an image (C, H, W) scaled so that its short side is ``size``, its centre."""
    from PIL import Image

    scaled = []
    for channel in pixels:
        picture = Image.fromarray(np.ascontiguousarray(channel))
        scaled.append(central(picture, size, size)[..., 0])
    return np.stack(scaled)
