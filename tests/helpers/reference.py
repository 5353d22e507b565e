"""A training written out by hand: one image set, plain tensors, no torch.optim, nothing of the engine but its draws."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nas.data.augment import draw
from nas.data.splits import ImageSet
from nas.graph import Add, BatchNorm, Conv, Flatten, GlobalAvgPool, Graph, GraphBuilder, Linear, Relu
from nas.graph.lowering.torch_module import build_module
from nas.training.recipe import Recipe


def every_kind() -> Graph:
    """A network with a dense and a depthwise convolution, each with a bias, a norm, and an auxiliary head."""
    b = GraphBuilder((1, 6, 6))
    x = b(Relu(), b(BatchNorm(), b(Conv(4, 3, padding=1, bias=True), b.input, name="dense"), name="norm"))
    y = b(Conv(4, 3, padding=1, groups=4, bias=True), x, name="depthwise")
    aux = b(Linear(2), b(Flatten(), b(GlobalAvgPool(), x)), name="head")
    return b.build(logits=b(Linear(2), b(Flatten(), b(GlobalAvgPool(), b(Add(), x, y))), name="fc"), aux=aux)


def decays(name: str, recipe: Recipe) -> bool:
    layer, what = name.split(".")
    if layer == "norm":
        return recipe.decay_norms
    if what == "bias":
        return recipe.decay_biases
    return layer != "depthwise" or recipe.decay_depthwise


def factor(recipe: Recipe, t: int, steps: int, losses: list[float]) -> float:
    """The learning rate of step t as a share of the greatest."""
    total = recipe.epochs * steps
    warmup = recipe.warmup_epochs * steps
    if recipe.schedule == "one-cycle":
        warmup = recipe.pct_start * total
    if t < warmup:
        return (t + 1) / warmup
    share, epoch = (t - warmup) / (total - warmup), t / steps
    if recipe.schedule == "plateau":
        stale = sum(b >= a for a, b in pairwise(losses))
        return recipe.decay_factor**stale  # for a patience of 1
    return {
        "cosine": (1 + math.cos(math.pi * share)) / 2,
        "linear": 1 - share,
        "one-cycle": 1 - share,
        "constant": 1.0,
        "step": recipe.decay_factor ** (t // round(recipe.decay_epochs * steps)),
        "milestones": recipe.decay_factor ** sum(epoch >= m for m in recipe.milestones),
        "exponential": recipe.decay_factor ** (epoch / recipe.decay_epochs),
    }["milestones" if recipe.milestones else recipe.schedule]


def smoothed(logits: Tensor, labels: Tensor, smoothing: float) -> Tensor:
    logp = logits - logits.exp().sum(1, keepdim=True).log()
    right = logp[torch.arange(len(labels)), labels]
    return -(1 - smoothing) * right - smoothing * logp.mean(1)


def update(recipe: Recipe, name: str, p: Tensor, g: Tensor, lr: float, state: dict[str, Any]) -> None:
    decay = recipe.weight_decay if decays(name, recipe) else 0.0
    mine = state.setdefault(name, {"m": None, "v": torch.zeros_like(p), "t": 0})
    mine["t"] += 1
    beta, square = recipe.momentum, recipe.square_average
    if recipe.optimizer == "sgd":
        g = g + decay * p
        m = mine["m"] = g if mine["m"] is None else beta * mine["m"] + g
        p -= lr * (g + beta * m if recipe.nesterov else m)
        return
    if recipe.optimizer == "rmsprop":
        g = g + decay * p
        v = mine["v"] = square * mine["v"] + (1 - square) * g * g
        scaled = g / (v.sqrt() + recipe.eps)
        m = mine["m"] = scaled if mine["m"] is None else beta * mine["m"] + scaled
        p -= lr * m
        return
    p *= 1 - lr * decay
    m = mine["m"] = (1 - beta) * g + beta * (torch.zeros_like(g) if mine["m"] is None else mine["m"])
    v = mine["v"] = square * mine["v"] + (1 - square) * g * g
    corrected = (v / (1 - square ** mine["t"])).sqrt() + recipe.eps
    p -= lr * m / (1 - beta ** mine["t"]) / corrected


def train_by_hand(graph: Graph, images: ImageSet, recipe: Recipe, seed: int) -> dict[str, Tensor]:
    """Return the weights after a training without crops, flips and dropout, averaged where the recipe says so."""
    weights_seed, order_seed = (int(s) for s in np.random.SeedSequence(seed).generate_state(2, np.uint64))
    outputs = ("logits", "aux") if recipe.aux_weight else ("logits",)
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(weights_seed)
        module = build_module(graph, outputs).train()
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d):
                layer.weight.data.normal_(std=math.sqrt(2 / (layer.out_channels // layer.groups * 9)))
                layer.bias.data.zero_()
    x = torch.from_numpy(images.images).float()
    x = (x - x.mean()) / x.std(correction=0)
    labels = torch.from_numpy(images.labels)
    generator, state, losses = torch.Generator().manual_seed(order_seed), {}, []
    steps, averages = len(images) // recipe.batch_size, {n: t.clone() for n, t in module.state_dict().items()}
    for epoch in range(recipe.epochs):
        draws, total = draw(len(images), recipe.augmentation, images.image_shape, generator), 0.0
        for step in range(steps):
            t = epoch * steps + step
            places = slice(step * recipe.batch_size, (step + 1) * recipe.batch_size)
            picked, y = x[draws.order[places]], labels[draws.order[places]]
            shares = torch.ones(len(y)) if draws.shares is None else draws.shares[places]
            wide = shares.view(-1, 1, 1, 1)
            found = module(wide * picked + (1 - wide) * picked.flip(0))
            loss = torch.zeros(())
            for weight, logits in zip((1.0, recipe.aux_weight), found if len(outputs) > 1 else (found,), strict=False):
                first, second = (smoothed(logits, each, recipe.label_smoothing) for each in (y, y.flip(0)))
                loss = loss + weight * (shares * first + (1 - shares) * second).mean()
            module.zero_grad()
            loss.backward()
            total += float(loss.detach())
            lr = recipe.learning_rate * factor(recipe, t, steps, losses)
            norm = math.sqrt(sum(float((p.grad**2).sum()) for p in module.parameters()))
            shrink = min(1.0, recipe.clip_norm / norm) if recipe.clip_norm else 1.0
            with torch.no_grad():
                for name, p in module.named_parameters():
                    update(recipe, name, p, shrink * p.grad, lr, state)
            decay = min(recipe.ema, (2 + t) / (11 + t))
            for name, tensor in module.state_dict().items():
                averages[name] = decay * averages[name] + (1 - decay) * tensor
        losses.append(total / steps)
    found = averages if recipe.ema else module.state_dict()
    return {name: t.clone() for name, t in found.items() if not name.endswith("tracked") and "head" not in name}
