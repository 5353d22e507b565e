"""An exponential moving average of weights and running statistics."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Average:
    """Follows parameters and floating-point buffers of ``module``: average = d average + (1 - d) value after each step.

    d is the least of ``decay`` and (1 + n) / (10 + n) at the n-th step, so that a short run is not an average of its
    first weights (TensorFlow's ExponentialMovingAverage, as arXiv:1905.11946 uses it).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.decay, self.steps = decay, 0
        self._names = [name for name, t in module.state_dict().items() if t.is_floating_point()]
        state = module.state_dict()
        self._live = [state[name] for name in self._names]
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
