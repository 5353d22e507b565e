"""Named recipes: how published networks were trained, and our own short ones: for ranking, and for minutes on a CPU.

Each field that its source gives has that value; what a source leaves open says so here. Batches are those of the
source: :meth:`nas.training.recipe.Recipe.for_batch` makes others. Without exceptions there every parameter decays.

``--recipe`` names one of them, or a JSON file, or holds a table. A file or a table has fields of
:class:`nas.training.recipe.Recipe`, those of the recipe ``base`` where it names one, and a ``name`` for the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from nas.core.files import is_file, is_path, read_json
from nas.core.registry import Registry
from nas.core.values import Json, Shape
from nas.errors import ConfigError
from nas.training.recipe import Recipe, current_names, default_recipe

DEFAULT = "default"
MOST_ENLARGED = 2
"""The most that the side of test images may be, in sides of the images that the network was trained on."""


@dataclass(frozen=True)
class PublishedRecipe:
    """A recipe, where it comes from, and what this engine does otherwise than its source."""

    recipe: Recipe
    source: str
    remarks: str = ""


RECIPES: Registry[PublishedRecipe] = Registry("recipe")

_PLAIN = Recipe(nesterov=False, warmup_epochs=0, clip_norm=0, decay_norms=True, decay_biases=True)
_CROPS = replace(_PLAIN, crop_padding=0, crop_scale=(0.08, 1.0), test_resize=256, test_size=224)
_SQUARES = replace(_CROPS, crop_scale=None, crop_resize=(256 / 224, 256 / 224))
"""Squares of 224 pixels of images of 256, in training as in the test."""
_NB201 = replace(_PLAIN, nesterov=True, batch_size=256, epochs=200, init="torch")

# a table: what a recipe changes stands by theme, the optimizer first, then the schedule, the network and the images
# fmt: off
RECIPES.add("alexnet-2012", PublishedRecipe(
    replace(
        _SQUARES, learning_rate=0.01, batch_size=128, epochs=90, schedule="plateau", patience=5,
        dropout=0.5, init="truncated_normal", init_std=0.01,
        crop_central=True, lighting=0.1, test_views="ten-crop",
    ),
    "Krizhevsky et al. 2012, sections 4 and 5",
    "the rate falls after a patience of ours and not by hand; all biases begin at 0",
))
RECIPES.add("resnet-2015", PublishedRecipe(
    replace(
        _SQUARES, weight_decay=1e-4, batch_size=256, epochs=120, schedule="plateau", patience=5,
        crop_resize=(256 / 224, 480 / 224), lighting=0.1, test_views="ten-crop",
    ),
    "arXiv:1512.03385, section 3.4",
    "the patience is ours",
))
RECIPES.add("mobilenet", PublishedRecipe(
    replace(
        _CROPS, optimizer="rmsprop", square_average=0.9, eps=1.0, learning_rate=0.045,
        weight_decay=4e-5, decay_norms=False, decay_biases=False, decay_depthwise=False,
        batch_size=96, epochs=300, schedule="step", decay_factor=0.98, decay_epochs=1.0,
    ),
    "arXiv:1801.04381, section 6.1; depthwise weights: arXiv:1704.04861, section 3.2",
    "96 images on each of 16 GPUs there; the source gives no epochs and no crops; eps is that of the authors' code",
))
RECIPES.add("darts-cifar", PublishedRecipe(
    replace(
        _PLAIN, learning_rate=0.025, weight_decay=3e-4, batch_size=96, epochs=600, clip_norm=5.0,
        drop_path=0.2, drop_path_by_epoch=True, aux_weight=0.4, init="torch", cutout=16,
    ),
    "arXiv:1806.09055, section 3.3 and appendix A.2",
    "build the network with aux and a drop path above 0",
))
RECIPES.add("nb201-200", PublishedRecipe(_NB201, "arXiv:2001.00326, table 1"))
RECIPES.add("nb201-12", PublishedRecipe(replace(_NB201, epochs=12), "arXiv:2001.00326, section 4, H(12)"))
RECIPES.add("imagenet-mobile", PublishedRecipe(
    replace(
        _CROPS, weight_decay=3e-5, batch_size=128, epochs=250, clip_norm=5.0,
        schedule="step", decay_factor=0.97, decay_epochs=1.0,
        label_smoothing=0.1, aux_weight=0.4, init="torch", color_jitter=0.4,
    ),
    "arXiv:1806.09055, appendix A.2; aux: arXiv:1712.00559",
    "the authors' code also changes hues",
))
RECIPES.add("efficientnet", PublishedRecipe(
    replace(
        _CROPS, optimizer="rmsprop", square_average=0.9, eps=1e-3, learning_rate=0.256,
        weight_decay=1e-5, decay_norms=False, batch_size=4096, epochs=350,
        warmup_epochs=5.0, schedule="step", decay_factor=0.97, decay_epochs=2.4,
        label_smoothing=0.1, drop_path=0.2, drop_path_by_depth=True, ema=0.9999,
    ),
    "arXiv:1905.11946, section 5.2; batch, warm-up, epochs, average: the authors' code",
    "no AutoAugment; dropout as the network has it; eps after the root",
))
RECIPES.add("proxy", PublishedRecipe(
    Recipe(
        learning_rate=0.1, batch_size=64, epochs=4, schedule="one-cycle", pct_start=0.25,
        crop_padding=0, flip=False,
    ),
    "ours: short trainings that rank networks, chosen by benchmarks/proxy_rank.py; a rise: arXiv:1708.07120",
    "batches of 256 with crops and flips rank worse in as many epochs of a small training set",
))
RECIPES.add("fashion-short", PublishedRecipe(
    Recipe(
        learning_rate=0.2, batch_size=128, epochs=5, schedule="one-cycle", pct_start=0.25,
        label_smoothing=0.1, crop_padding=0, test_views="mirror",
    ),
    "ours: Fashion-MNIST in 8 minutes on one core, see benchmarks/RESULTS.md",
))
RECIPES.add("cifar-short", PublishedRecipe(
    Recipe(
        learning_rate=0.1, batch_size=128, epochs=18, schedule="one-cycle", pct_start=0.25,
        label_smoothing=0.1, init="torch", crop_padding=2, test_views="mirror",
    ),
    "ours, after arXiv:2404.00498, section 3: CIFAR-10 in 20 minutes on two cores, see benchmarks/RESULTS.md",
    "the optimizer's numbers are our own",
))
# fmt: on


def named_recipe(name: str) -> Recipe:
    """Return the recipe registered as ``name``; an unknown name raises :class:`nas.errors.ConfigError`."""
    return RECIPES[name].recipe


def recipe_table(value: str | Mapping[str, object] | None, option: str, dataset: str) -> Json:
    """Return the recipe that ``value`` names or holds as a table of its ``name`` and every field that is set.

    None is the default of ``dataset``. What is wrong raises :class:`ConfigError` that begins with ``option``.
    """
    try:
        name, recipe = _read(value, dataset)
    except ConfigError as error:
        raise ConfigError(f"{option}{f' {value}' if isinstance(value, str) else ''}: {error}") from None
    return {"name": name, **{field: v for field, v in recipe.to_json().items() if v is not None}}


def recipe_of(table: str | Mapping[str, object] | None, dataset: str) -> Recipe:
    """Return the recipe of a table that :func:`recipe_table` made; None is the default of ``dataset``."""
    return _read(table, dataset)[1]


def check_fit(recipe: Recipe, option: str, dataset: str, shape: Shape) -> None:
    """Refuse a recipe that images of ``shape`` (C, H, W) cannot be trained or tested with."""
    side = min(shape[1:])
    try:
        recipe.augmentation.check(shape)
        if recipe.cutout > side:
            raise ConfigError(f"a cutout of {recipe.cutout} would blot out images of {shape[1]} x {shape[2]}")
        if recipe.test_size > (side if not recipe.test_resize else MOST_ENLARGED * side):
            raise ConfigError(
                f"test_size {recipe.test_size} is too large for images of {shape[1]} x {shape[2]}; set test_resize and "
                f"test_size to 0 in a recipe file"
            )
    except ConfigError as error:
        raise ConfigError(f"{option} does not fit dataset '{dataset}': {error}") from None


def _read(value: str | Mapping[str, object] | None, dataset: str) -> tuple[str, Recipe]:
    if value is None:
        return DEFAULT, default_recipe(dataset)
    # a name, or fields, which a file or a table holds
    if not isinstance(value, str):
        name, data = str(value.get("name", "of the configuration")), value
    elif is_path(value) or (value not in RECIPES and is_file(value)):
        name, data = Path(value).name, read_json(Path(value))
        if not isinstance(data, Mapping):
            return name, Recipe.from_json(data)
    else:
        return value, named_recipe(value)
    own = current_names({field: value for field, value in data.items() if field not in ("name", "base")})
    base = data.get("base")
    if base is not None and not isinstance(base, str):
        raise ConfigError(f"recipe: base must be the name of a recipe, found {base!r}")
    if base is None:
        return name, Recipe.from_json(own)
    begun = default_recipe(dataset) if base == DEFAULT else named_recipe(base)
    return name, Recipe.from_json({**begun.to_json(), **own})
