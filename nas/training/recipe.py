"""The recipe: every number of a training run in one frozen object, saved with the result."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from nas.errors import ConfigError, unknown
from nas.training import schedule

if TYPE_CHECKING:
    from nas.training.augment import Augmentation

OPTIMISERS = ("sgd", "rmsprop", "adamw")
INITIALISATIONS = ("he_fan_out", "he_fan_in", "xavier", "truncated_normal", "torch")
VIEWS = ("one", "mirror", "ten-crop")


@dataclass(frozen=True)
class Recipe:
    """All numbers of a training; wrong values raise :class:`ConfigError`.

    **Optimiser.** ``sgd`` with ``momentum``, Nesterov's or not; ``rmsprop``, with ``square_average`` for the mean of
    squares and ``momentum`` after the division; ``adamw`` (arXiv:1711.05101) with betas ``momentum`` and
    ``square_average`` and a decay of its own. ``eps`` is added to the root, as torch does, not under it as TensorFlow
    does. Gradients are scaled to a norm of at most ``clip_norm``, 0 for as they are.

    **Weight decay** is for the weights of convolutions and linear layers, not for norms and biases: those are few and
    cannot overfit, and a norm's scale pulled to zero only changes its layer's learning rate (arXiv:1812.01187, section
    3.1). ``decay_norms`` and ``decay_biases`` include them, ``decay_depthwise`` False leaves out depthwise convolutions
    (arXiv:1704.04861, section 3.1).

    **Schedule.** ``warmup_epochs`` rise linearly from zero, but never take more than half of a run; then ``schedule``:
    ``cosine`` to zero (arXiv:1608.03983, without restarts), ``linear`` to zero, ``constant``, ``step`` (times
    ``decay_factor`` at the ``milestones``, else every ``decay_epochs`` epochs), ``exponential`` (the same, smooth),
    ``plateau`` (times ``decay_factor`` after ``patience`` epochs without a lower training loss), or ``one-cycle``
    (arXiv:1708.07120): up for the share ``rise`` of the run in place of a warm-up, then down to zero. Milestones and
    ``decay_epochs`` belong to a run of ``epochs``; a run of another length stretches them.

    **Regularisation.** ``label_smoothing``: arXiv:1512.00567, section 7. ``dropout`` and ``drop_path`` replace the
    rates of the network's layers of that kind (None: as the network has them; where it has none, nothing is dropped);
    ``drop_path_by_depth``: the l-th of L has ``drop_path`` * l / L (arXiv:1603.09382, equation 4); ``drop_path_ramp``:
    the rate rises linearly, epoch by epoch, from zero (arXiv:1707.07012, appendix A.3). ``aux_weight``: the weight of
    the losses of auxiliary heads, 0 leaves the heads out (arXiv:1409.4842, section 5). ``ema``: the decay of an average
    of weights and running statistics, which is then measured in place of the last ones.

    **Images.** ``crop_padding`` pixels of zeros go around an image before it is cropped at random to its size; ``flip``
    mirrors half of the images; ``cutout``: side of the square set to the mean (arXiv:1708.04552); ``mixup``: its alpha
    (arXiv:1710.09412); ``colour``: jitter of brightness, contrast and saturation; ``lighting``: deviation of
    the noise along the principal components of colour (AlexNet 2012, section 4.1); ``crop_scale``: the least and
    greatest share of the area of a random resized crop.

    **Measuring.** ``test_resize``: side to which images are scaled first, ``test_size``: side of the crop that the
    network sees (0: the images' own); ``test_views``: ``one`` (the centre), ``mirror`` (and its mirror image) or
    ``ten-crop`` (corners and centre, and their mirror images), probabilities averaged (AlexNet 2012, section 4.1).
    """

    learning_rate: float = 0.1
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    batch_size: int = 128
    epochs: int = 20
    warmup_epochs: float = 1.0
    label_smoothing: float = 0.0
    crop_padding: int = 4
    flip: bool = True
    clip_norm: float = 5.0
    optimiser: str = "sgd"
    square_average: float = 0.99
    eps: float = 1e-8
    decay_norms: bool = False
    decay_biases: bool = False
    decay_depthwise: bool = True
    schedule: str = "cosine"
    milestones: tuple[float, ...] = ()
    decay_factor: float = 0.1
    decay_epochs: float = 30.0
    patience: int = 10
    rise: float = 0.3
    dropout: float | None = None
    drop_path: float | None = None
    drop_path_by_depth: bool = False
    drop_path_ramp: bool = False
    aux_weight: float = 0.0
    ema: float = 0.0
    initialisation: str = "he_fan_out"
    init_deviation: float = 0.02
    cutout: int = 0
    mixup: float = 0.0
    colour: float = 0.0
    lighting: float = 0.0
    crop_scale: tuple[float, float] | None = None
    test_resize: int = 0
    test_size: int = 0
    test_views: str = "one"

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", _numbers("milestones", self.milestones))
        if self.crop_scale is not None:
            object.__setattr__(self, "crop_scale", _numbers("crop_scale", self.crop_scale))
        for names, least, most, open_below, open_above in _RANGES:
            for name in names.split():
                _number(name, getattr(self, name), least, most, open_below, open_above)
        for name in ("dropout", "drop_path"):
            if getattr(self, name) is not None:
                _number(name, getattr(self, name), 0, 1, open_above=True)
        for name, low in _WHOLE.items():
            _whole(name, getattr(self, name), low)
        for name in _FLAGS:
            _flag(name, getattr(self, name))
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ConfigError(f"recipe: {unknown(name, str(getattr(self, name)), known)}")
        self._check_together()

    def _check_together(self) -> None:
        if self.nesterov and self.optimiser != "sgd":
            raise ConfigError(f"recipe: nesterov is for sgd, found {self.optimiser}; set nesterov to false")
        if self.nesterov and self.momentum == 0:
            raise ConfigError("recipe: nesterov needs a momentum above 0, found 0; set nesterov to false")
        if list(self.milestones) != sorted(set(self.milestones)) or any(m <= 0 for m in self.milestones):
            raise ConfigError(f"recipe: milestones must be rising epochs above 0, found {list(self.milestones)}")
        scale = self.crop_scale
        if scale is not None and not (len(scale) == 2 and 0 < scale[0] <= scale[1] <= 1):
            raise ConfigError(f"recipe: crop_scale must be two shares, 0 < least <= greatest <= 1, found {list(scale)}")
        if scale is not None and self.crop_padding:
            raise ConfigError(
                f"recipe: crop_scale and crop_padding both crop; set crop_padding to 0, found {self.crop_padding}"
            )
        if self.test_size and self.test_resize and self.test_size > self.test_resize:
            found = f"{self.test_size} of {self.test_resize}"
            raise ConfigError(f"recipe: test_size, the crop, cannot exceed test_resize, found {found}")

    def rate(self, step: int, steps_per_epoch: int, epochs: int | None = None, drops: int = 0) -> float:
        """Return the learning rate of ``step``; see :func:`nas.training.schedule.rate`."""
        return schedule.rate(self, step, steps_per_epoch, epochs, drops)

    def for_batch(self, batch_size: int) -> Recipe:
        """Return the recipe for another batch, the learning rate in proportion (arXiv:1706.02677, section 2.1)."""
        return replace(self, batch_size=batch_size, learning_rate=self.learning_rate * batch_size / self.batch_size)

    @property
    def augmentation(self) -> Augmentation:
        """What is done to training images."""
        from nas.training.augment import Augmentation

        return Augmentation(
            crop_padding=self.crop_padding,
            flip=self.flip,
            cutout=self.cutout,
            mixup=self.mixup,
            colour=self.colour,
            lighting=self.lighting,
            crop_scale=self.crop_scale,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON data."""
        data = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in data.items()}

    @classmethod
    def from_json(cls, data: Any) -> Recipe:
        """Read a recipe; what it does not name has its default, an unknown field raises :class:`ConfigError`."""
        if not isinstance(data, Mapping):
            raise ConfigError(f"recipe: it must be an object of names and numbers, found {type(data).__name__}")
        known = [f.name for f in fields(cls)]
        for name in data:
            if name not in known:
                raise ConfigError(f"recipe: {unknown('field', str(name), known)}")
        return cls(**data)


_RANGES = (
    # names, least, most, whether the least and the most are left out
    ("learning_rate eps init_deviation decay_epochs", 0, math.inf, True, False),
    ("weight_decay warmup_epochs clip_norm aux_weight mixup lighting", 0, math.inf, False, False),
    ("momentum square_average label_smoothing ema", 0, 1, False, True),
    ("decay_factor", 0, 1, True, False),
    ("rise", 0, 1, False, True),
    ("colour", 0, 1, False, False),
)
_WHOLE = {
    "batch_size": 2,
    "epochs": 1,
    "crop_padding": 0,
    "patience": 1,
    "cutout": 0,
    "test_resize": 0,
    "test_size": 0,
}
_FLAGS = (
    "nesterov",
    "flip",
    "decay_norms",
    "decay_biases",
    "decay_depthwise",
    "drop_path_by_depth",
    "drop_path_ramp",
)
_CHOICES: dict[str, Sequence[str]] = {
    "optimiser": OPTIMISERS,
    "schedule": tuple(schedule.DECAYS),
    "initialisation": INITIALISATIONS,
    "test_views": VIEWS,
}


def _number(
    name: str, value: Any, least: float, most: float, open_below: bool = False, open_above: bool = False
) -> None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
    if number and least <= value <= most and not (open_below and value == least) and not (open_above and value == most):
        return
    low = f"above {least:g}" if open_below else f"of at least {least:g}"
    high = "" if most == math.inf else f" and {'below' if open_above else 'at most'} {most:g}"
    raise ConfigError(f"recipe: {name} must be a finite number {low}{high}, found {value!r}")


def _numbers(name: str, value: Any) -> tuple[float, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigError(f"recipe: {name} must be a list of numbers, found {value!r}")
    for each in value:
        _number(name, each, 0, math.inf)
    return tuple(value)


def _whole(name: str, value: Any, least: int) -> None:
    if type(value) is not int or value < least:
        raise ConfigError(f"recipe: {name} must be a whole number of at least {least}, found {value!r}")


def _flag(name: str, value: Any) -> None:
    if type(value) is not bool:
        raise ConfigError(f"recipe: {name} must be true or false, found {value!r}")


_DEFAULTS = {
    # measured over 24 small cells: the worst reaches 95.8 %; in batches of 64 93.8 %, with crops of one pixel too 75 %
    "digits": Recipe(batch_size=32, epochs=5, crop_padding=0, flip=False),
    # measured over 3 epochs of an nb201 cell of width 8: 90.1 %; with flips 88.3 %, with crops of 2 pixels too 86.4 %
    "fashion-mnist": Recipe(crop_padding=0, flip=False),
}


def default_recipe(dataset_name: str) -> Recipe:
    """Return the recipe for a dataset: its own where it has one, else CIFAR's usual (arXiv:1512.03385, section 4.2)."""
    return _DEFAULTS.get(dataset_name, Recipe())
