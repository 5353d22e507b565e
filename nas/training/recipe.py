"""The recipe: every number of a training run in one frozen object, saved with the result."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING

from nas.core.options import MOST_SIDE
from nas.core.values import Json
from nas.errors import ConfigError, unknown

if TYPE_CHECKING:
    from nas.data.augment import Augmentation

OPTIMIZERS = ("sgd", "rmsprop", "adamw")
INITS = ("he_fan_out", "he_fan_in", "xavier", "truncated_normal", "torch")
SCHEDULES = ("constant", "cosine", "linear", "one-cycle", "step", "exponential", "plateau")
VIEWS = ("one", "mirror", "ten-crop")
OLD_NAMES = {
    "optimiser": "optimizer",
    "rise": "pct_start",
    "drop_path_ramp": "drop_path_by_epoch",
    "initialisation": "init",
    "init_deviation": "init_std",
    "colour": "color_jitter",
}
"""What recipes of earlier versions call their fields: read everywhere, written nowhere."""
FEW_STEPS = 5
"""Epochs of fewer steps are warned of."""
LATER = ("crop_resize", "crop_central", "class_weights", "balanced_sampling")
"""Fields that the first recipes had not: where they are off, checkpoints and digests stay as those of such recipes."""


def current_names(data: Mapping[str, object]) -> Json:
    """Return a recipe as JSON with today's names of its fields; one that has a field twice raises ConfigError."""
    found: Json = {}
    for name, value in data.items():
        new = OLD_NAMES.get(name, name)
        if new in found:
            raise ConfigError(f"recipe: {name} and {new} are one field; keep {new}")
        found[new] = value
    return found


@dataclass(frozen=True)
class Recipe:
    """All numbers of a training; wrong values raise :class:`ConfigError`.

    Weight decay is for the weights of convolutions and linear layers, not for norms and biases: those are few and
    cannot overfit, and a norm's scale pulled to zero only changes its layer's learning rate (arXiv:1812.01187, section
    3.1). Milestones and ``decay_epochs`` belong to a run of ``epochs``; a run of another length stretches them.

    Attributes:
        learning_rate: the highest of the run
        momentum: of ``sgd``; of ``rmsprop`` after the division; the first beta of ``adamw``
        nesterov: for ``sgd`` alone
        weight_decay: see above; ``adamw`` decays apart from the gradient (arXiv:1711.05101)
        batch_size: images
        epochs: of the whole run
        warmup_epochs: in which the rate rises linearly from zero, never more than half of a run
        label_smoothing: arXiv:1512.00567, section 7
        crop_padding: pixels of zeros around an image before it is cropped at random to its size
        flip: whether half of the images are mirrored
        clip_norm: the most that the norm of all gradients may be; 0: they are not clipped
        optimizer: ``sgd``, ``rmsprop`` or ``adamw``
        square_average: decay of the mean of squares; the second beta of ``adamw``
        eps: added to the root, as torch does, not under it as TensorFlow does
        decay_norms: whether norms decay too
        decay_biases: whether biases decay too
        decay_depthwise: False leaves out depthwise convolutions (arXiv:1704.04861, section 3.1)
        schedule: after the warm-up: ``cosine`` to zero (arXiv:1608.03983, without restarts), ``linear`` to zero,
            ``constant``, ``step`` (times ``decay_factor`` at the ``milestones``, else every ``decay_epochs``),
            ``exponential`` (the same, smooth), ``plateau`` (times ``decay_factor`` after ``patience`` epochs without a
            lower validation error, which is measured after every epoch; where the validation images are trained on,
            without a lower training loss), ``one-cycle`` (arXiv:1708.07120: up in place of a warm-up, then to zero)
        milestones: epochs
        decay_factor: see ``schedule``
        decay_epochs: see ``schedule``
        patience: epochs, see ``schedule``
        pct_start: the share of a ``one-cycle`` run in which the rate goes up, 0 to 1
        dropout: replaces the rate of the network's layers of that kind; None: as the network has them
        drop_path: the same for dropped paths
        drop_path_by_depth: the l-th of L layers has ``drop_path`` * l / L (arXiv:1603.09382, equation 4)
        drop_path_by_epoch: the rate grows linearly, epoch by epoch, from zero (arXiv:1707.07012, appendix A.3)
        aux_weight: of the losses of auxiliary heads; 0 leaves the heads out (arXiv:1409.4842, section 5)
        ema: decay of an average of weights and running statistics, which is measured in place of the last ones
        init: see :func:`nas.training.train_step.init_weights`
        init_std: standard deviation of ``truncated_normal`` weights
        cutout: side in pixels of the square set to the mean (arXiv:1708.04552)
        mixup: its alpha (arXiv:1710.09412)
        color_jitter: of brightness, contrast and saturation, 0 to 1
        lighting: standard deviation of the noise along the principal components of RGB (AlexNet 2012, section 4.1)
        crop_scale: the least and greatest share of the area of a random resized crop, of aspect 3/4 to 4/3
        crop_resize: squares are cropped instead: the short side is first scaled to between these multiples of theirs
        crop_central: whether such squares are cut from the image's central square alone (AlexNet 2012, section 4.1)
        class_weights: whether an image's loss is weighted by the inverse of the number of training images of its class,
            so that every class weighs the same in an epoch; the mean of the weights is 1
        balanced_sampling: whether an epoch shows as many images of every class: all of the rarer ones several times,
            some of the commoner ones not at all
        test_resize: side in pixels to which images are scaled before they are measured, 0: as they are
        test_size: side in pixels of the crop that the network sees then, 0: the images' own
        test_views: ``one`` (the centre), ``mirror`` (and its mirror image) or ``ten-crop`` (corners and centre, and
            their mirror images), probabilities averaged (AlexNet 2012, section 4.1)
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
    optimizer: str = "sgd"
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
    pct_start: float = 0.3
    dropout: float | None = None
    drop_path: float | None = None
    drop_path_by_depth: bool = False
    drop_path_by_epoch: bool = False
    aux_weight: float = 0.0
    ema: float = 0.0
    init: str = "he_fan_out"
    init_std: float = 0.02
    cutout: int = 0
    mixup: float = 0.0
    color_jitter: float = 0.0
    lighting: float = 0.0
    crop_scale: tuple[float, float] | None = None
    test_resize: int = 0
    test_size: int = 0
    test_views: str = "one"
    crop_resize: tuple[float, float] | None = None
    crop_central: bool = False
    class_weights: bool = False
    balanced_sampling: bool = False

    def __post_init__(self) -> None:
        for name in ("milestones", "crop_scale", "crop_resize"):
            numbers = getattr(self, name)
            if numbers is None and name != "milestones":
                continue
            if not isinstance(numbers, list | tuple):
                raise ConfigError(f"recipe: {name} must be a list of numbers, found {numbers!r}")
            for number in numbers:
                _check_number(name, number, 0, math.inf)
            object.__setattr__(self, name, tuple(numbers))
        for names, least, most, open_below, open_above in _RANGES:
            for name in names.split():
                if getattr(self, name) is not None or name not in ("dropout", "drop_path"):
                    _check_number(name, getattr(self, name), least, most, open_below, open_above)
        for name, least in _WHOLE.items():
            value = getattr(self, name)
            if type(value) is not int or value < least:
                raise ConfigError(f"recipe: {name} must be an integer of at least {least}, found {value!r}")
            most = MOST_SIDE if name in _SIDES else 2**63 - 1
            if value > most:
                raise ConfigError(f"recipe: {name} must be at most {most:,}")
        for name in (field.name for field in fields(self) if field.type == "bool"):
            if type(value := getattr(self, name)) is not bool:
                raise ConfigError(f"recipe: {name} must be true or false, found {value!r}")
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise ConfigError(f"recipe: {unknown(name, str(getattr(self, name)), known)}")
        # what does not go together
        if self.nesterov and self.optimizer != "sgd":
            raise ConfigError(f"recipe: nesterov is for sgd, found {self.optimizer}; set nesterov to false")
        if self.nesterov and self.momentum == 0:
            raise ConfigError("recipe: nesterov needs a momentum above 0, found 0; set nesterov to false")
        if list(self.milestones) != sorted(set(self.milestones)) or any(m <= 0 for m in self.milestones):
            raise ConfigError(f"recipe: milestones must be rising epochs above 0, found {list(self.milestones)}")
        scale = self.crop_scale
        if scale is not None and not (len(scale) == 2 and 0 < scale[0] <= scale[1] <= 1):
            raise ConfigError(f"recipe: crop_scale must be two shares, 0 < least <= greatest <= 1, found {list(scale)}")
        resize = self.crop_resize
        if resize is not None and not (len(resize) == 2 and 1 <= resize[0] <= resize[1]):
            rule = "two multiples of a crop's side, 1 <= least <= greatest"
            raise ConfigError(f"recipe: crop_resize must be {rule}, found {list(resize)}")
        if resize is not None and scale is not None:
            raise ConfigError("recipe: crop_resize and crop_scale both crop; set one of them to null")
        if self.class_weights and self.balanced_sampling:
            raise ConfigError(
                "recipe: class_weights and balanced_sampling both balance classes; set one of them to false"
            )
        if self.crop_central and resize is None:
            raise ConfigError("recipe: crop_central is for squares; set crop_resize, or crop_central to false")
        if self.crop_padding and (scale or resize):
            rule = f"set crop_padding to 0, found {self.crop_padding}"
            raise ConfigError(f"recipe: {'crop_scale' if scale else 'crop_resize'} and crop_padding both crop; {rule}")
        if self.test_size and self.test_resize and self.test_size > self.test_resize:
            found = f"{self.test_size} of {self.test_resize}"
            raise ConfigError(f"recipe: test_size, the crop, cannot exceed test_resize, found {found}")

    def for_batch(self, batch_size: int) -> Recipe:
        """Return the recipe for another batch, the learning rate in proportion (arXiv:1706.02677, section 2.1)."""
        return replace(self, batch_size=batch_size, learning_rate=self.learning_rate * batch_size / self.batch_size)

    def batch_warning(self, images: int, remedy: str) -> str:
        """Return what to know where batches are so large for ``images`` that an epoch has few steps, else nothing.

        ``remedy`` says how a user sets the size of batches, with ``{batch}`` for the number.
        """
        steps, batch = images // self.batch_size, self.batch_size
        if steps >= FEW_STEPS:
            return ""
        # the greatest power of two that leaves twice the steps that are few
        smaller = 2 ** max(0, (images // (2 * FEW_STEPS)).bit_length() - 1)
        told = (
            f"batches of {batch:,} are larger than the {images:,} training images: an epoch is one step on all of them"
        )
        if steps:
            rest = images % batch
            left = f", and {rest:,} drawn at random are left out of each" if rest else ""
            steps_told = f"{steps} step{'' if steps == 1 else 's'}"
            told = f"batches of {batch:,} give {steps_told} an epoch on {images:,} training images{left}"
        return f"{told}; smaller ones train better: {remedy.format(batch=smaller)}"

    @property
    def augmentation(self) -> Augmentation:
        """What is done to training images."""
        from nas.data.augment import Augmentation

        return Augmentation(**{field.name: getattr(self, field.name) for field in fields(Augmentation)})

    def to_json(self) -> Json:
        """Return the recipe as JSON data."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    def identity(self) -> Json:
        """Return what tells trainings apart but for their epochs; fields of :data:`LATER` only where they are set."""
        told = {name: value for name, value in self.to_json().items() if value or name not in LATER}
        return {name: value for name, value in told.items() if name != "epochs"}

    def fingerprint(self) -> Json:
        """Return :meth:`identity` under the names of the first version."""
        # digests that earlier versions made stay equal that way
        first = {new: old for old, new in OLD_NAMES.items()}
        return {first.get(name, name): value for name, value in self.identity().items()}

    @classmethod
    def from_json(cls, data: object) -> Recipe:
        """Read a recipe, also with earlier names (:data:`OLD_NAMES`); unknown fields raise :class:`ConfigError`."""
        if not isinstance(data, Mapping):
            raise ConfigError(f"recipe: it must be an object of names and numbers, found {type(data).__name__}")
        found, known = current_names(data), [f.name for f in fields(cls)]
        for name in found:
            if name not in known:
                raise ConfigError(f"recipe: {unknown('field', str(name), known)}")
        return cls(**found)


_RANGES = (
    # names, least, most, whether the least and the most are left out
    ("learning_rate eps init_std decay_epochs", 0, math.inf, True, False),
    ("weight_decay warmup_epochs clip_norm aux_weight mixup lighting", 0, math.inf, False, False),
    ("momentum square_average label_smoothing ema pct_start dropout drop_path", 0, 1, False, True),
    ("decay_factor", 0, 1, True, False),
    ("color_jitter", 0, 1, False, False),
)
_SIDES = ("crop_padding", "cutout", "test_resize", "test_size")
_WHOLE = {"batch_size": 2, "epochs": 1, "crop_padding": 0, "patience": 1, "cutout": 0, "test_resize": 0, "test_size": 0}
_CHOICES = {"optimizer": OPTIMIZERS, "schedule": SCHEDULES, "init": INITS, "test_views": VIEWS}


def _check_number(
    name: str, value: object, least: float, most: float, open_below: bool = False, open_above: bool = False
) -> None:
    if (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and abs(value) <= sys.float_info.max
        and (least < value if open_below else least <= value)
        and (value < most if open_above else value <= most)
    ):
        return
    low = f"above {least:g}" if open_below else f"of at least {least:g}"
    high = "" if most == math.inf else f" and {'below' if open_above else 'at most'} {most:g}"
    raise ConfigError(f"recipe: {name} must be a finite number {low}{high}, found {value!r}")


_DEFAULTS = {
    # measured over 24 small cells: the worst reaches 95.8 %; in batches of 64 93.8 %, with crops of one pixel too 75 %
    "digits": Recipe(batch_size=32, epochs=5, crop_padding=0, flip=False),
    # measured over 3 epochs of a ResNet of 0.9 M MACs, validation: 84.8 %; with flips 83.7 %, with crops of 2 pixels
    # 80.4 %; in batches of 128 83.4 %, in batches of 32 85.4 %, for 35 % more CPU seconds
    "fashion-mini": Recipe(batch_size=64, crop_padding=0, flip=False),
    # measured over 3 epochs of an nb201 cell of width 8: 90.1 %; with flips 88.3 %, with crops of 2 pixels too 86.4 %
    "fashion-mnist": Recipe(crop_padding=0, flip=False),
    # a digit or letter in the mirror is none
    **{name: Recipe(crop_padding=2, flip=False) for name in ("mnist", "kmnist", "svhn")},
}


def default_recipe(dataset_name: str) -> Recipe:
    """Return the recipe for a dataset: its own where it has one, else CIFAR's usual (arXiv:1512.03385, section 4.2)."""
    return _DEFAULTS.get(dataset_name, Recipe())
