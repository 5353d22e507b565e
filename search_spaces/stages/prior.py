"""The prior of sampling in ``stages``: what a sensible person would draw.

A prior is a chooser (see :mod:`nas.space.choices`): the space keeps every option open, and only this policy of drawing
prefers some. So replay, mutation and crossover reach networks that are never sampled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from nas.core.values import Value
from nas.space.choices import Options
from search_spaces.stages.plan import WIDTHS

_SHARED = ("block", "variant", "se", "activation", "norm", "expansion", "groups")
"""Fields in which all stages are like the first."""
_STEM: dict[str, tuple[Value, ...]] = {
    "kind": ("conv_act",),
    "width": (16, 24, 32, 48, 64),
    "kernel": (3,),
    "stride": (1, 2),
    "padding": ("same",),
    "pool": ("none",),
    "activation": ("relu", "relu6", "swish"),
    "norm": ("batch",),
}
_STAGE: dict[str, tuple[Value, ...]] = {
    "repeats": (1, 2, 3, 4),
    "kernel": (3, 5, 7),
    "stride": (2,),
    "pool": ("max",),
    "groups": (1, 4, 8),
    "se": (0.0, 0.0625, 0.25),
    "variant": ("original", "full_preactivation"),
    "shortcut": ("project",),
    "stride_in": ("3x3",),
    "bypass": ("simple",),
    "norm": ("batch",),
}
_OTHER: dict[str, tuple[Value, ...]] = {
    "stages": (3, 4, 5),
    "head.dropout": (0.0, 0.2),
    "scale_width": (1.0,),
    "scale_depth": (1.0,),
    "drop_path": (0.0, 0.1, 0.2),
}
_GROWTHS = (8, 12, 16, 24, 32)
_EXPANSIONS: dict[str, tuple[float, ...]] = {
    "bottleneck": (0.25, 0.5),
    "dense": (4.0,),
    "fire": (0.125, 0.25),
    "inverted": (1.0, 3.0, 4.0, 6.0),
}
_NARROWEST, _WIDEST = 16, 512


class Prior:
    """Draws uniformly among what is sensible after the choices made so far; decisions that are ``kept`` stay.

    One family of blocks with one style, widths that never fall and at most double, batch norm, three to five stages
    that halve the resolution where their family does, and the head that belongs to the family. ``drew`` tells whether
    anything was drawn, so that another attempt may end differently.
    """

    def __init__(self, rng: np.random.Generator, kept: Mapping[str, Value] | None = None) -> None:
        self._integers = rng.integers
        self._kept = kept or {}
        self._made: dict[str, Value] = {}
        self.drew = False

    def pick(self, name: str, options: Options) -> int:
        """Return the index of the kept option, else of a sensible one, else of any."""
        if name in self._kept:
            choice = options.index(self._kept[name])
        else:
            self.drew = True
            wanted = sensible(name, self._made)
            indices = [i for i, option in enumerate(options) if wanted is None or option in wanted]
            indices = indices or list(range(len(options)))
            choice = indices[int(self._integers(len(indices)))] if len(indices) > 1 else indices[0]
        self._made[name] = options[choice]
        return choice


def sensible(name: str, made: Mapping[str, Any]) -> tuple[Value, ...] | None:
    """Return the options of decision ``name`` that suit the decisions ``made`` before it, None for all."""
    part, _, field = name.partition(".")
    if part == "stem":
        return _STEM[field]
    if name == "head.kind":
        preactivated = made.get("stage1.variant") == "full_preactivation"
        if preactivated or made["stage1.block"] == "dense":
            return ("norm_pool_fc",)
        return ("conv_classes",) if made["stage1.block"] == "fire" else ("pool_fc", "conv_pool_fc")
    if not part.startswith("stage") or not field:
        return _OTHER.get(name)

    # a stage is like the first one, and the activation is that of the stem
    i, block, first = int(part[5:]), str(made.get(f"{part}.block")), made.get(f"stage1.{field}")
    if i > 1 and field in _SHARED and first is not None:
        return (first,)
    if field == "activation" and "stem.activation" in made:
        return (made["stem.activation"],)
    # widths never fall and at most double, growths of dense blocks stay
    if field == "width" and block == "dense":
        return (made["stage1.width"],) if i > 1 and made["stage1.block"] == "dense" else _GROWTHS
    if field == "width":
        before = int(made.get("stem.width", _NARROWEST) if i == 1 else made[f"stage{i - 1}.width"])
        return tuple(width for width in WIDTHS if before <= width <= max(before, min(2 * before, _WIDEST)))
    # the resolution halves where the family does it
    if field == "down":
        own = "transition" if block == "dense" else "pool_before" if block in ("conv", "fire") else "first"
        return ("none",) if i == 1 else ("none", own)
    return _EXPANSIONS[block] if field == "expansion" else _STAGE.get(field)
