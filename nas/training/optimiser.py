"""Optimisers: which parameters decay, and torch's own optimiser with the recipe's numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from nas.errors import ConfigError
from nas.training.recipe import Recipe

WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def parameter_groups(
    module: nn.Module, recipe: Recipe, factors: Mapping[int, float] | None = None
) -> list[dict[str, Any]]:
    """Return the optimiser's two groups: what decays, and what does not (see :class:`nas.training.recipe.Recipe`).

    Parameters without gradients, which are frozen, are in neither. Where some have ``factors`` for the learning rate,
    by their ``id``, there are two groups for each factor, which they carry.
    """
    decays = {id(p): _decays(layer, name, recipe) for layer in module.modules() for name, p in _own(layer)}
    parameters = [p for p in module.parameters() if p.requires_grad]
    factor = {id(p): (factors or {}).get(id(p), 1.0) for p in parameters}
    return [
        {"params": [p for p in parameters if decays[id(p)] == decay and factor[id(p)] == f], **numbers, "factor": f}
        for f in sorted(set(factor.values()) or {1.0})
        for decay, numbers in ((True, {"weight_decay": recipe.weight_decay}), (False, {"weight_decay": 0.0}))
    ]


def _own(layer: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return list(layer.named_parameters(recurse=False))


def _decays(layer: nn.Module, name: str, recipe: Recipe) -> bool:
    if not isinstance(layer, WEIGHTED):
        return recipe.decay_norms
    if name != "weight":
        return recipe.decay_biases
    depthwise = isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1
    return recipe.decay_depthwise or not depthwise


def make_optimiser(
    module: nn.Module, recipe: Recipe, fused: bool, capture: bool, factors: Mapping[int, float] | None = None
) -> torch.optim.Optimizer:
    """Return the optimiser of ``recipe`` over the parameters of ``module``.

    ``fused`` takes one kernel for all parameters where torch has it (RMSProp has none and uses the multi-tensor one).
    With ``capture`` learning rates are tensors, which a captured step reads anew every time. ``factors``: see
    :func:`parameter_groups`.
    """
    groups = parameter_groups(module, recipe, factors)
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    rate: Any = torch.tensor(recipe.learning_rate, device=device) if capture else recipe.learning_rate
    if capture:
        for group in groups:
            group["lr"] = rate.clone()
    if recipe.optimiser == "rmsprop":
        return torch.optim.RMSprop(
            groups,
            lr=rate,
            alpha=recipe.square_average,
            eps=recipe.eps,
            momentum=recipe.momentum,
            foreach=True,
            capturable=capture,
        )
    kernel = {"fused": True} if fused else {"foreach": True}
    if recipe.optimiser == "adamw":
        betas = recipe.momentum, recipe.square_average
        return torch.optim.AdamW(groups, lr=rate, betas=betas, eps=recipe.eps, capturable=capture, **kernel)
    return torch.optim.SGD(groups, lr=rate, momentum=recipe.momentum, nesterov=recipe.nesterov, **kernel)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group ``rate`` times its factor; a rate that is a tensor keeps its place in memory."""
    for group in optimiser.param_groups:
        own = rate * group["factor"]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(own)
        else:
            group["lr"] = own


def optimiser_state(optimiser: torch.optim.Optimizer, names: dict[int, str]) -> dict[str, Tensor]:
    """Return the state as tensors named ``PARAMETER/WHAT``; ``names`` are parameters' names by ``id``."""
    found = {}
    for group in optimiser.param_groups:
        for p in group["params"]:
            for what, value in optimiser.state.get(p, {}).items():
                if value is not None:
                    found[f"{names[id(p)]}/{what}"] = torch.as_tensor(value)
    return found


def restore_optimiser(optimiser: torch.optim.Optimizer, names: dict[int, str], state: dict[str, Tensor]) -> None:
    """Put back what :func:`optimiser_state` returned, in the memory layout of the parameters.

    A tensor that is neither a number nor of its parameter's shape raises :class:`ConfigError`: the kernels check none.
    """
    for group in optimiser.param_groups:
        for p in group["params"]:
            prefix = f"{names[id(p)]}/"
            mine = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
            if mine:
                optimiser.state[p] = {what: _like(p, value, group) for what, value in mine.items()}


def _like(p: Tensor, value: Tensor, group: dict[str, Any]) -> Tensor:
    if value.dim():
        if value.shape != p.shape:
            shapes = f"{tuple(p.shape)}, found {tuple(value.shape)}"
            raise ConfigError(f"the optimiser's state of a parameter must be {shapes}")
        # the kernels walk memory, so moments must lie as the parameter does
        return torch.empty_like(p).copy_(value)
    on_device = group.get("fused") or group.get("capturable")
    return value.to(p.device) if on_device else value.clone()
