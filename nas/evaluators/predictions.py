"""What a network makes of every image of a split: kept beside its score, for ensembles that need no further read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from nas.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

Probabilities = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


class Predictions:
    """Collects what :func:`nas.training.evaluation.measure` gives to its ``keep``."""

    def __init__(self) -> None:
        self._probabilities: list[Probabilities] = []
        self._labels: list[Labels] = []

    def __call__(self, log_probabilities: Tensor, labels: Tensor) -> None:
        """Take a batch: (B, classes) and (B,)."""
        self._probabilities.append(log_probabilities.exp().cpu().numpy())
        self._labels.append(labels.cpu().numpy())

    def to_bytes(self) -> bytes:
        """Return a safetensors file of ``probabilities`` float32 (N, classes) and ``labels`` int64 (N,)."""
        from safetensors.numpy import save

        return save(
            {
                "probabilities": np.concatenate(self._probabilities).astype(np.float32),
                "labels": np.concatenate(self._labels).astype(np.int64),
            }
        )


def read_predictions(data: bytes, where: str) -> tuple[Probabilities, Labels]:
    """Return what :meth:`Predictions.to_bytes` wrote; anything else is a :class:`ConfigError` naming ``where``."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        found = load(data)
        return found["probabilities"], found["labels"]
    except (SafetensorError, KeyError) as error:
        raise ConfigError(f"predictions '{where}' cannot be read: {error}") from None
