"""Named recipes: how published networks were trained, and our own short ones: for ranking, and for minutes on a CPU.

Each field that its source gives has that value; what a source leaves open says so here. Batches are those of the source
whatever hardware it had: :meth:`nas.training.recipe.Recipe.for_batch` brings a recipe to another. Sources that do not
speak of exceptions let every parameter decay.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nas.registry import Registry
from nas.training.recipe import Recipe


@dataclass(frozen=True)
class NamedRecipe:
    """A recipe, where it comes from, and what this engine does otherwise than its source."""

    recipe: Recipe
    source: str
    remarks: str = ""


RECIPES: Registry[NamedRecipe] = Registry("recipe")

_PLAIN = Recipe(
    nesterov=False,
    warmup_epochs=0,
    clip_norm=0,
    decay_norms=True,
    decay_biases=True,
)
_CROPS = replace(_PLAIN, crop_padding=0, crop_scale=(0.08, 1.0), test_resize=256, test_size=224)

RECIPES.add(
    "alexnet-2012",
    NamedRecipe(
        replace(
            _CROPS,
            learning_rate=0.01,
            batch_size=128,
            epochs=90,
            schedule="plateau",
            patience=5,
            dropout=0.5,
            initialisation="truncated_normal",
            init_deviation=0.01,
            crop_scale=(0.765, 0.766),
            lighting=0.1,
            test_views="ten-crop",
        ),
        "Krizhevsky et al. 2012, sections 4 and 5",
        "the rate falls with the training loss and not by hand; all biases begin at 0",
    ),
)
RECIPES.add(
    "resnet-2015",
    NamedRecipe(
        replace(
            _CROPS,
            batch_size=256,
            epochs=120,
            weight_decay=1e-4,
            schedule="plateau",
            patience=5,
            lighting=0.1,
            test_views="ten-crop",
        ),
        "arXiv:1512.03385, section 3.4",
        "random resized crops in place of scales from 256 to 480; the patience is ours",
    ),
)
RECIPES.add(
    "mobilenet",
    NamedRecipe(
        replace(
            _CROPS,
            optimiser="rmsprop",
            square_average=0.9,
            eps=1.0,
            learning_rate=0.045,
            weight_decay=4e-5,
            decay_norms=False,
            decay_biases=False,
            decay_depthwise=False,
            batch_size=96,
            epochs=300,
            schedule="step",
            decay_factor=0.98,
            decay_epochs=1.0,
        ),
        "arXiv:1801.04381, section 6.1; depthwise weights: arXiv:1704.04861, section 3.2",
        "96 images on each of 16 GPUs there; the source gives no epochs; eps is that of the authors' code",
    ),
)
RECIPES.add(
    "darts-cifar",
    NamedRecipe(
        replace(
            _PLAIN,
            learning_rate=0.025,
            weight_decay=3e-4,
            batch_size=96,
            epochs=600,
            clip_norm=5.0,
            cutout=16,
            drop_path=0.2,
            drop_path_ramp=True,
            aux_weight=0.4,
            initialisation="torch",
        ),
        "arXiv:1806.09055, section 3.3 and appendix A.2",
        "build the network with aux and a drop path above 0",
    ),
)
_NB201 = replace(_PLAIN, nesterov=True, batch_size=256, epochs=200, initialisation="torch")
for _name, _epochs, _table in (("nb201-200", 200, "table 1"), ("nb201-12", 12, "section 4, H(12)")):
    RECIPES.add(_name, NamedRecipe(replace(_NB201, epochs=_epochs), f"arXiv:2001.00326, {_table}"))
RECIPES.add(
    "imagenet-mobile",
    NamedRecipe(
        replace(
            _CROPS,
            weight_decay=3e-5,
            batch_size=128,
            epochs=250,
            schedule="step",
            decay_factor=0.97,
            decay_epochs=1.0,
            clip_norm=5.0,
            label_smoothing=0.1,
            aux_weight=0.4,
            colour=0.4,
            initialisation="torch",
        ),
        "arXiv:1806.09055, appendix A.2; aux: arXiv:1712.00559",
        "the authors' code also changes hues",
    ),
)
RECIPES.add(
    "efficientnet",
    NamedRecipe(
        replace(
            _CROPS,
            optimiser="rmsprop",
            square_average=0.9,
            eps=1e-3,
            learning_rate=0.256,
            weight_decay=1e-5,
            decay_norms=False,
            batch_size=4096,
            epochs=350,
            warmup_epochs=5.0,
            schedule="step",
            decay_factor=0.97,
            decay_epochs=2.4,
            label_smoothing=0.1,
            drop_path=0.2,
            drop_path_by_depth=True,
            ema=0.9999,
        ),
        "arXiv:1905.11946, section 5.2; batch, warm-up, epochs, average: the authors' code",
        "no AutoAugment; dropout as the network has it; eps after the root",
    ),
)
RECIPES.add(
    "proxy",
    NamedRecipe(
        Recipe(
            learning_rate=0.1,
            batch_size=64,
            epochs=4,
            schedule="one-cycle",
            rise=0.25,
            crop_padding=0,
            flip=False,
        ),
        "ours: short trainings that rank networks, chosen by benchmarks/proxy_rank.py; a rise: arXiv:1708.07120",
        "batches of 256 with crops and flips rank worse in as many epochs of a small training set",
    ),
)
RECIPES.add(
    "fashion-short",
    NamedRecipe(
        Recipe(
            learning_rate=0.2,
            batch_size=128,
            epochs=5,
            schedule="one-cycle",
            rise=0.25,
            label_smoothing=0.1,
            crop_padding=0,
            test_views="mirror",
        ),
        "ours: Fashion-MNIST in 8 minutes on one core, see benchmarks/RESULTS.md",
    ),
)
RECIPES.add(
    "cifar-short",
    NamedRecipe(
        Recipe(
            learning_rate=0.1,
            batch_size=128,
            epochs=18,
            schedule="one-cycle",
            rise=0.25,
            label_smoothing=0.1,
            crop_padding=2,
            initialisation="torch",
            test_views="mirror",
        ),
        "ours, after arXiv:2404.00498, section 3: CIFAR-10 in 20 minutes on two cores, see benchmarks/RESULTS.md",
        "the optimiser's numbers are our own",
    ),
)


def named_recipe(name: str) -> Recipe:
    """Return the recipe registered as ``name``; an unknown name raises :class:`nas.errors.ConfigError`."""
    return RECIPES[name].recipe
