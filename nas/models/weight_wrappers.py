"""What training tools wrap around the names of a network's layers, and what they write beside its weights.

``DataParallel`` puts ``module.`` before every name, ``torch.compile`` ``_orig_mod.``, Lightning the name of an
attribute such as ``model.``; checkpoints hold weights under ``state_dict``, their moving average under
``state_dict_ema``.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

INSIDE = re.compile(
    r"(?:^|(?<=\.))_(?:orig_mod|fsdp_wrapped_module|fpw_module|checkpoint_wrapped_module|forward_module)\."
)
"""Parts that wrappers put anywhere into a name: torch.compile, FSDP, checkpointed activations, DeepSpeed."""
BESIDE = re.compile(
    r"optim\w*|\w*_optimizer|\w*scheduler\w*|\w*scaler|amp|criterion|loss\w*|\w*metrics?|(train|val|valid|test)_\w+|epoch"
    r"|\w*step|n_averaged|num_updates|decay|callbacks|loops|hyper_parameters|rng\w*|\w*rng_state\w*",
    re.IGNORECASE,
)
"""First parts of names of what is no weight of a network, where the network has no such layer."""
AVERAGE = re.compile(r"(?:^|[._])(ema|shadow|swa|averaged?)(?:$|[._\d])", re.IGNORECASE)
USUAL = "", "state_dict", "model_state_dict", "model_state", "model", "module", "net", "network", "weights", "params"
"""Parts that names of weights usually begin with, the likeliest first."""
DEEPEST = 5


@dataclass(frozen=True, eq=False)
class Unwrapped:
    """Tensors whose names lay below ``prefix``, without it, and the first parts of the other names."""

    prefix: str
    tensors: Mapping[str, Tensor]
    passed_over: tuple[str, ...]

    @property
    def rank(self) -> tuple[bool, list[int]]:
        """What orders readings of one file, the likeliest first: a moving average, then what is less unusual.

        Those of equal rank are equally likely.
        """
        parts = self.prefix.split(".") if self.prefix else []
        places = [USUAL.index(part) if part in USUAL else len(USUAL) for part in parts]
        return AVERAGE.search(self.prefix) is None, places


def readings(tensors: Mapping[str, Tensor], wanted: Collection[str], layers: int) -> list[Unwrapped]:
    """Return the ways to read a file's ``tensors`` as those of a network of ``layers`` layers, the likeliest first.

    ``wanted`` are the names of the network's layers: readings that have most of them come before all others. What
    lies below a prefix must have at least half as many layers; the names as they are come among the others.
    """
    plain = {INSIDE.sub("", name): tensor for name, tensor in tensors.items()}
    if len(plain) < len(tensors):  # names that differ by a wrapper alone
        plain = dict(tensors)
    tops = {layer.split(".")[0] for layer in wanted}
    beside = {top for name in plain if (top := name.split(".")[0]) not in tops and BESIDE.fullmatch(top)}
    kept = {name: tensor for name, tensor in plain.items() if name.split(".")[0] not in beside} or plain
    counts: Counter[str] = Counter()
    for layer in {name.rpartition(".")[0] for name in kept}:
        parts = layer.split(".")
        counts.update(".".join(parts[:depth]) for depth in range(1, min(len(parts), DEEPEST + 1)))
    prefixes = [prefix for prefix, number in counts.items() if 2 * number >= layers]
    found = []
    for prefix in ["", *prefixes]:
        start = f"{prefix}." if prefix else ""
        own = {name.removeprefix(start): tensor for name, tensor in kept.items() if name.startswith(start)}
        others = [_apart(name, prefix) for name in plain if name not in kept or not name.startswith(start)]
        found.append(Unwrapped(prefix, own, tuple(dict.fromkeys(others))))
    return sorted(found, key=lambda one: (not mostly(wanted, one.tensors), *one.rank))


def _apart(name: str, prefix: str) -> str:
    """Return as much of a dotted name as tells it from those below ``prefix``."""
    parts, other = name.split("."), prefix.split(".")
    shared = next((i for i, part in enumerate(other) if parts[i : i + 1] != [part]), len(other))
    return ".".join(parts[: shared + 1])


def mostly(wanted: Collection[str], tensors: Collection[str]) -> bool:
    """Return whether at least half of the layers that ``tensors`` belong to are among ``wanted``."""
    given = {name.rpartition(".")[0] for name in tensors}
    return 2 * sum(layer in wanted for layer in given) >= len(given)
