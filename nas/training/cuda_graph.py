"""A training step that is captured once as a CUDA graph and then replayed: small networks are bound by launches."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nas.data.augment import Mixed, Targets
from nas.errors import one_line

if TYPE_CHECKING:
    from nas.training.train_step import TrainStep

WARM_UP = 3
"""Steps on a stream of their own before capture: they allocate what later steps find allocated."""


class CapturedStep:
    """Replays a training step as a CUDA graph; where that cannot be captured, goes on with plain steps.

    The first :data:`WARM_UP` steps are plain ones on a side stream. ``problem`` tells why there is no graph. All
    batches must have one shape.
    """

    def __init__(self, train_step: TrainStep) -> None:
        self._train_step, self._done = train_step, 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._loss = torch.zeros(())
        self.problem = ""

    def __call__(self, images: Tensor, targets: Targets) -> Tensor:
        """Do one step."""
        if self.problem:
            return self._train_step.compute(images, targets)
        if self._done < WARM_UP:
            self._done += 1
            return self._beside(images, targets)
        if self._graph is None and not self._capture(images, targets):
            return self._train_step.compute(images, targets)
        for static, given in zip(self._inputs, _flat(images, targets), strict=True):
            static.copy_(given)
        assert self._graph is not None
        self._graph.replay()
        return self._loss.clone()

    def _beside(self, images: Tensor, targets: Targets) -> Tensor:
        main, side = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(main)
        with torch.cuda.stream(side):
            loss = self._train_step.compute(images, targets)
        main.wait_stream(side)
        return loss

    def _capture(self, images: Tensor, targets: Targets) -> bool:
        self._inputs = [t.clone() for t in _flat(images, targets)]
        x, *rest = self._inputs
        static = rest[0] if isinstance(targets, Tensor) else Mixed(*rest)
        self._train_step.optimizer.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        try:
            # other threads may call CUDA while this one captures
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._loss = self._train_step.forward_backward(x, static)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.problem = one_line(error)
            return False
        self._graph = graph
        return True


def _flat(images: Tensor, targets: Targets) -> list[Tensor]:
    return [images, targets] if isinstance(targets, Tensor) else [images, *targets]
