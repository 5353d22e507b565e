"""How weights are updated: the learning rate of every step, torch's own optimizer, and an average of the weights.

Learning rates are pure functions of the recipe, the step and what was measured so far, so resuming needs no state.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from nas.training.recipe import Recipe

WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
LEAST_IMPROVEMENT = 1e-4
"""The share by which an epoch's loss must be below the best so far to count as progress (torch's own default)."""


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int, epochs: int | None = None, drops: int = 0) -> float:
    """Return the learning rate of ``step`` (from 0) in a run of ``epochs`` (the recipe's by default).

    It is the whole ``learning_rate`` at the last step of the warm-up; schedules that fall to zero would be there at the
    step after the last. ``drops`` is what :func:`plateau_drops` finds; other schedules ignore it.
    """
    length = recipe.epochs if epochs is None else epochs
    total = steps_per_epoch * length
    # the warm-up never takes more than half of a run, but for the rising part of a one-cycle run
    if recipe.schedule == "one-cycle":
        warmup = min(round(recipe.pct_start * total), total - 1)
    else:
        warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total // 2)
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    # milestones belong to a run of the recipe's epochs; a run of another length stretches them
    share = (step - warmup) / (total - warmup)
    epoch = step / steps_per_epoch * recipe.epochs / length
    match recipe.schedule:
        case "cosine":
            factor = 0.5 * (1 + math.cos(math.pi * share))
        case "linear" | "one-cycle":
            factor = 1 - share
        case "step":
            # a multiple of the interval may come out a hair below itself in floating point
            passed = [m for m in recipe.milestones if m <= epoch + 1e-9]
            intervals = math.floor((epoch + 1e-9) / recipe.decay_epochs)
            factor = recipe.decay_factor ** (len(passed) if recipe.milestones else intervals)
        case "exponential":
            factor = math.pow(recipe.decay_factor, epoch / recipe.decay_epochs)
        case "plateau":
            factor = recipe.decay_factor**drops
        case _:
            factor = 1.0
    return recipe.learning_rate * factor


def plateau_drops(losses: Sequence[float], patience: int) -> int:
    """Return how often the rate has dropped after epochs of these ``losses``, or errors.

    It drops when ``patience`` epochs in a row have brought none below the best; then the count begins again.
    """
    best, waited, drops = math.inf, 0, 0
    for loss in losses:
        if loss < best * (1 - LEAST_IMPROVEMENT):
            best, waited = loss, 0
        else:
            waited += 1
        if waited >= patience:
            waited, drops = 0, drops + 1
    return drops


def parameter_groups(
    module: nn.Module, recipe: Recipe, factors: Mapping[int, float] | None = None
) -> list[dict[str, object]]:
    """Return the optimizer's two groups: what decays, and what does not (see :class:`nas.training.recipe.Recipe`).

    Frozen parameters are in neither. ``factors`` of the learning rate, by ``id``, make two groups for each factor.
    """
    decays = {}
    for layer in module.modules():
        depthwise = isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1
        for name, p in layer.named_parameters(recurse=False):
            if not isinstance(layer, WEIGHTED):
                decays[id(p)] = recipe.decay_norms
            elif name != "weight":
                decays[id(p)] = recipe.decay_biases
            else:
                decays[id(p)] = recipe.decay_depthwise or not depthwise
    parameters = [p for p in module.parameters() if p.requires_grad]
    factor = {id(p): (factors or {}).get(id(p), 1.0) for p in parameters}
    return [
        {"params": [p for p in parameters if decays[id(p)] == decay and factor[id(p)] == f], **numbers, "factor": f}
        for f in sorted(set(factor.values()) or {1.0})
        for decay, numbers in ((True, {"weight_decay": recipe.weight_decay}), (False, {"weight_decay": 0.0}))
    ]


def make_optimizer(
    module: nn.Module, recipe: Recipe, fused: bool, capture: bool, factors: Mapping[int, float] | None = None
) -> torch.optim.Optimizer:
    """Return the optimizer of ``recipe`` over the parameters of ``module``.

    ``fused`` takes one kernel for all parameters where torch has it (RMSProp uses the multi-tensor one). With
    ``capture`` learning rates are tensors, which a captured step reads. ``factors``: see :func:`parameter_groups`.
    """
    groups = parameter_groups(module, recipe, factors)
    rate: float | Tensor = recipe.learning_rate
    if capture:
        device = next((p.device for p in module.parameters()), torch.device("cpu"))
        rate = torch.tensor(recipe.learning_rate, device=device)
        for group in groups:
            group["lr"] = rate.clone()
    if recipe.optimizer == "rmsprop":
        return torch.optim.RMSprop(
            groups, rate, recipe.square_average, recipe.eps, momentum=recipe.momentum, foreach=True, capturable=capture
        )
    kernel = {"fused": True} if fused else {"foreach": True}
    if recipe.optimizer == "adamw":
        betas = recipe.momentum, recipe.square_average
        return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=recipe.eps, capturable=capture, **kernel)
    return torch.optim.SGD(groups, lr=rate, momentum=recipe.momentum, nesterov=recipe.nesterov, **kernel)


class WeightAverage:
    """An exponential moving average of parameters and floating-point buffers of ``module``.

    average = d average + (1 - d) value after the n-th step, with d = min(``decay``, (1 + n) / (10 + n)), so that first
    weights do not stay in short runs (TensorFlow's ExponentialMovingAverage, as arXiv:1905.11946 uses it).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        live = {name: t for name, t in module.state_dict().items() if t.is_floating_point()}
        self._names, self._live = list(live), list(live.values())
        self._mean = [t.clone() for t in self._live]

    @torch.no_grad()
    def update(self) -> None:
        """Count one more step."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        torch._foreach_lerp_(self._mean, self._live, 1 - decay)

    def state(self) -> dict[str, Tensor]:
        """Return the averages by name."""
        return dict(zip(self._names, self._mean, strict=True))

    def restore(self, state: Mapping[str, Tensor], steps: int) -> None:
        """Put back the averages that :meth:`state` returned after ``steps``."""
        self.steps = steps
        for name, mean in zip(self._names, self._mean, strict=True):
            mean.copy_(state[name])
