"""One training step: forward, backward, clipping and the optimiser, plain or captured as one CUDA graph."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from nas.errors import one_line
from nas.graph import Graph
from nas.training.augment import Mixed, Targets
from nas.training.average import Average
from nas.training.loss import trained_outputs, training_loss
from nas.training.network import new_network
from nas.training.optimiser import make_optimiser, set_rate
from nas.training.parallel import Group, synchronise
from nas.training.recipe import Recipe
from nas.training.speed import Switches
from nas.training.start import Start

WARM_UP = 3
"""Steps on a stream of their own before capture: they allocate what later steps find allocated."""

Compute = Callable[[Tensor, Targets], Tensor]


class Trainee:
    """A network in training on ``device``, with its optimiser and average; weights come from torch's own generator.

    ``start`` puts other weights in their place and freezes layers. In a ``group`` all processes have the weights of the
    first, average their gradients and synchronise batch norms.
    ``progress`` (), from 0 to 1, is the share of the run that is over, for drop-path rates that rise.
    """

    def __init__(
        self,
        graph: Graph,
        recipe: Recipe,
        device: torch.device,
        switches: Switches,
        group: Group | None = None,
        start: Start | None = None,
    ) -> None:
        self.recipe, self.device, self.switches, self.group = recipe, device, switches, group
        self.progress = torch.zeros((), device=device)
        self.outputs = trained_outputs(graph, recipe)
        layout = torch.channels_last if switches.channels_last else torch.contiguous_format
        network = new_network(graph, recipe, self.outputs, self.progress)
        start = start or Start()
        start.put_into(network)
        self.module: nn.Module = network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        if group is not None:
            synchronise(self.module, group)
            group.broadcast(self.module.state_dict().values())
        self._forward: Callable[[Tensor], Tensor] = self.module
        if switches.compile:
            self._forward = torch.compile(self.module)
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        self.names = {id(p): name for name, p in self.module.named_parameters()}
        factors = start.factors(self.module)
        self.optimiser = make_optimiser(self.module, recipe, switches.fused, switches.capture, factors)
        self.average = Average(self.module, recipe.ema) if recipe.ema else None
        self._compute: Compute = Captured(self) if switches.capture else self.compute
        start.set_modes(self.module)

    def set_rate(self, rate: float) -> None:
        """Set the learning rate of the next steps."""
        set_rate(self.optimiser, rate)

    def step(self, images: Tensor, targets: Targets) -> Tensor:
        """Train on one batch and return its loss (), detached."""
        if not self.switches.channels_last:
            images = images.contiguous()
        loss = self._compute(images, targets)
        if self.average is not None:
            self.average.update()
        return loss

    def compute(self, images: Tensor, targets: Targets) -> Tensor:
        """Compute one step as plain operations."""
        self.optimiser.zero_grad(set_to_none=True)
        return self.forward_backward(images, targets)

    def forward_backward(self, images: Tensor, targets: Targets) -> Tensor:
        """Do the step; gradients must not be there yet."""
        # a captured graph must cast the weights anew in every replay
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.switches.bf16, cache_enabled=False):
            outputs = self._forward(images)
        loss = training_loss(outputs, targets, self.recipe)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.group is not None:
            self.group.average(self.parameters)
        if self.recipe.clip_norm and self.parameters:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_norm, foreach=True)
        self.optimiser.step()
        return loss.detach()

    def release(self) -> None:
        """Free the gradients and what was captured."""
        self._compute = self.compute
        self.optimiser.zero_grad(set_to_none=True)


class Captured:
    """Replays the step of ``trainee`` as a CUDA graph; where that cannot be captured, goes on with plain steps.

    The first :data:`WARM_UP` steps are plain ones on a side stream; each of them trains. ``problem`` tells why there is
    no graph. All batches must have one shape.
    """

    def __init__(self, trainee: Trainee) -> None:
        self._trainee, self._done = trainee, 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._inputs: list[Tensor] = []
        self._loss = torch.zeros(())
        self.problem = ""

    def __call__(self, images: Tensor, targets: Targets) -> Tensor:
        """Do one step."""
        if self.problem:
            return self._trainee.compute(images, targets)
        if self._done < WARM_UP:
            self._done += 1
            return self._beside(images, targets)
        if self._graph is None and not self._capture(images, targets):
            return self._trainee.compute(images, targets)
        for place, given in zip(self._inputs, _flat(images, targets), strict=True):
            place.copy_(given)
        assert self._graph is not None
        self._graph.replay()
        return self._loss.clone()

    def _beside(self, images: Tensor, targets: Targets) -> Tensor:
        main, side = torch.cuda.current_stream(), torch.cuda.Stream()  # type: ignore[no-untyped-call]
        side.wait_stream(main)
        with torch.cuda.stream(side):
            loss = self._trainee.compute(images, targets)
        main.wait_stream(side)
        return loss

    def _capture(self, images: Tensor, targets: Targets) -> bool:
        self._inputs = [t.clone() for t in _flat(images, targets)]
        x, *rest = self._inputs
        static = rest[0] if isinstance(targets, Tensor) else Mixed(*rest)
        self._trainee.optimiser.zero_grad(set_to_none=True)
        graph = torch.cuda.CUDAGraph()
        try:
            # other threads may call CUDA while this one captures
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self._loss = self._trainee.forward_backward(x, static)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            self.problem = one_line(error)
            return False
        self._graph = graph
        return True


def _flat(images: Tensor, targets: Targets) -> list[Tensor]:
    return [images, targets] if isinstance(targets, Tensor) else [images, *targets]
