"""The training loop: a network with its first weights, what happens to one batch, and the epochs around it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, fx, nn

from nas.core.activity import advance
from nas.data.augment import Mixed, Targets, balanced_order, batch, draw, tensor
from nas.data.image_set import ImageSet, Labels
from nas.data.splits import Images
from nas.data.streaming import StreamedBatches
from nas.errors import ConfigError, EvaluationError
from nas.graph import Graph
from nas.graph.lowering.torch_module import build_module
from nas.training.device import BackendOptions
from nas.training.distributed import Group, sync_batch_norms
from nas.training.evaluation import refuse_nan
from nas.training.initial_weights import Start
from nas.training.optimizer import WEIGHTED, WeightAverage, learning_rate, make_optimizer, plateau_drops
from nas.training.recipe import Recipe

CHECK_EVERY, CHECK_EVERY_ON_CUDA = 8, 64
"""Steps between checks of the loss: on a GPU each check waits for the device."""
RUNAWAY = 20.0
"""An epoch's mean loss this many times the first epoch's, and above this many nats, has diverged."""

OnEpoch = Callable[[int, float], None]


class InMemoryBatches:
    """An image set whose pixels lie on the device as uint8; see :func:`nas.data.augment.batch`."""

    def __init__(self, images: ImageSet, recipe: Recipe, device: torch.device, group: Group | None = None) -> None:
        arrays = images.images, images.labels, *images.moments
        pixels, self.labels, self.mean, self.std = (tensor(a).to(device) for a in arrays)
        self.images = pixels.contiguous(memory_format=torch.channels_last)
        self.shape, self.augmentation = images.image_shape, recipe.augmentation
        self.balanced = recipe.balanced_sampling
        self.batch_size = min(recipe.batch_size, len(images))
        self.steps = len(images) // self.batch_size
        self.rows = slice(0, self.batch_size) if group is None else group.rows(self.batch_size)

    def epoch(self, generator: torch.Generator, first: int = 0) -> Iterator[tuple[Tensor, Targets]]:
        """Yield the batches of an epoch whose random numbers come from ``generator``, from batch ``first`` on."""
        draws = draw(len(self.labels), self.augmentation, self.shape, generator, self.labels.device)
        if self.balanced:
            draws = replace(draws, order=balanced_order(self.labels, generator).to(self.labels.device))
        for step in range(first, self.steps):
            start = step * self.batch_size
            span = slice(start + self.rows.start, start + self.rows.stop)
            yield batch(self.images, self.labels, draws, span, self.augmentation, self.mean, self.std)


BatchSource = InMemoryBatches | StreamedBatches
"""Gives the ``steps`` batches of an epoch, without the last where it is smaller than the others.

They are images (B, C, H, W) as float32 in channels_last order, and their targets. An epoch is drawn whole from one
generator: in a group every process draws the same and gets its own rows of each batch.
"""


def batches_of(images: Images, recipe: Recipe, device: torch.device, group: Group | None = None) -> BatchSource:
    """Return the batches of ``images`` under ``recipe``, or in a ``group`` this process's share of them."""
    if isinstance(images, ImageSet):
        return InMemoryBatches(images, recipe, device, group)
    rows, local = (None, 1) if group is None else (group.rows(min(recipe.batch_size, len(images))), group.local)
    return StreamedBatches(
        images, recipe.augmentation, recipe.batch_size, device, rows, local, recipe.balanced_sampling
    )


def class_weights(labels: Labels, classes: int, recipe: Recipe, device: torch.device) -> Tensor | None:
    """Return the weights (K,) of the losses of images by their class, of mean 1 over ``labels`` (N,); None: no weights.

    A class without an image has no weight.
    """
    if not recipe.class_weights:
        return None
    counts = torch.bincount(torch.from_numpy(labels), minlength=classes).double()
    there = counts > 0
    weights = torch.where(there, len(labels) / (there.sum() * counts.clamp(min=1)), 0.0)
    return weights.float().to(device)


class ScheduledDrop(nn.Module):
    """Dropout whose rate is ``rate`` times ``progress`` (), a tensor, so that a captured step sees it change."""

    def __init__(self, rate: float, progress: Tensor) -> None:
        super().__init__()
        self.rate, self.progress = rate, progress

    def forward(self, x: Tensor) -> Tensor:
        """Zero numbers of ``x`` at random and scale the rest, in training alone."""
        if not self.training:
            return x
        keep = 1 - self.rate * self.progress
        return x * (torch.rand_like(x) < keep) / keep

    def extra_repr(self) -> str:
        """Show the rate."""
        return f"rate={self.rate}"


def new_network(graph: Graph, recipe: Recipe, outputs: Sequence[str], progress: Tensor) -> fx.GraphModule:
    """Return ``graph`` as a module on the CPU with the recipe's initial weights and dropout.

    ``progress`` (), from 0 to 1, scales the rates of drop path where the recipe lets them grow by epoch.
    """
    module, nodes = build_module(graph, outputs), graph.pruned(outputs).nodes
    init_weights(module, recipe)
    # dropped paths: of the recipe's rate or the network's own, growing with the depth, the epochs, or neither
    paths = [node for node in nodes if node.op.kind == "drop_path"]
    for depth, node in enumerate(paths, 1):
        rate: float = node.op.rate if recipe.drop_path is None else recipe.drop_path  # type: ignore[attr-defined]
        if recipe.drop_path_by_depth:
            rate = rate * depth / len(paths)
        if recipe.drop_path_by_epoch:
            parent, _, last = node.name.rpartition(".")
            setattr(module.get_submodule(parent), last, ScheduledDrop(rate, progress))
        else:
            cast(nn.Dropout, module.get_submodule(node.name)).p = rate
    # dropout has one rate everywhere
    for node in nodes:
        if node.op.kind == "dropout" and recipe.dropout is not None:
            cast(nn.Dropout, module.get_submodule(node.name)).p = recipe.dropout
    return module


def init_weights(module: nn.Module, recipe: Recipe | None = None) -> None:
    """Draw the weights as ``recipe.init`` says, by default ``he_fan_out``.

    ``he_fan_out``: convolutions as He et al. draw them (arXiv:1502.01852, section 2.2), of variance 2 / fan-out, where
    a grouped convolution's fan-out counts its group's channels alone; linear layers keep torch's own distribution.
    ``he_fan_in``: convolutions and linear layers, variance 2 / fan-in. ``xavier``: uniform with variance
    2 / (fan-in + fan-out) (Glorot and Bengio 2010). ``truncated_normal``: standard deviation ``recipe.init_std``, cut
    at two of them. ``torch``: as torch draws them. Biases are zero where weights are drawn here.
    """
    how, std = ("he_fan_out", 0.0) if recipe is None else (recipe.init, recipe.init_std)
    layers = WEIGHTED[:2] if how == "he_fan_out" else WEIGHTED
    for layer in module.modules():
        if how == "torch" or not isinstance(layer, layers):
            continue
        if how == "xavier":
            nn.init.xavier_uniform_(layer.weight)
        elif how == "truncated_normal":
            nn.init.trunc_normal_(layer.weight, std=std, a=-2 * std, b=2 * std)
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=math.sqrt(2 / layer.in_features))
        else:
            channels = layer.in_channels if how == "he_fan_in" else layer.out_channels
            fan = channels // layer.groups * math.prod(layer.kernel_size)
            nn.init.normal_(layer.weight, std=math.sqrt(2 / fan))
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def training_loss(
    outputs: Tensor | Sequence[Tensor], targets: Targets, recipe: Recipe, weights: Tensor | None = None
) -> Tensor:
    """Return the loss of ``outputs``, the logits (B, K) first, then auxiliary heads at ``recipe.aux_weight`` each.

    It is the smoothed cross entropy; of mixed labels each image's is shared by its two labels. ``weights`` (K,) are
    those of an image's loss by its label.
    """
    smoothing, losses = recipe.label_smoothing, []
    for logits in (outputs,) if isinstance(outputs, Tensor) else outputs:
        logits = logits.float()
        if isinstance(targets, Mixed):
            first = F.cross_entropy(logits, targets.first, label_smoothing=smoothing, reduction="none")
            second = F.cross_entropy(logits, targets.second, label_smoothing=smoothing, reduction="none")
            if weights is not None:
                first, second = first * weights[targets.first], second * weights[targets.second]
            losses.append((targets.shares * first + (1 - targets.shares) * second).mean())
        elif weights is None:
            losses.append(F.cross_entropy(logits, targets, label_smoothing=smoothing))
        else:
            each = F.cross_entropy(logits, targets, label_smoothing=smoothing, reduction="none")
            losses.append((each * weights[targets]).mean())
    total = losses[0]
    for loss in losses[1:]:
        total = total + recipe.aux_weight * loss
    return total


@dataclass(frozen=True, eq=False)
class Position:
    """Where a training is.

    Attributes:
        history: the mean losses of the epochs that are done
        order: the state of the order's generator when this epoch began
        step: the steps of this epoch that are done
        loss: () the sum of their losses
        errors: the validation errors of the epochs that are done, in percent, where the schedule follows them
    """

    history: tuple[float, ...]
    order: Tensor
    step: int = 0
    loss: Tensor | None = None
    errors: tuple[float, ...] = ()


@dataclass(frozen=True)
class Callbacks:
    """What others do while a training runs; in a group every process has them.

    Attributes:
        on_epoch: called as ``on_epoch(epoch, loss)`` after every epoch, from 1, when the state was saved
        before_save: the same before the state is saved
        save: keeps the state, within epochs too
        save_every: seconds after which the state is saved again, or a few steps later
        stop: when it returns true, the state is saved within a few steps, and the training ends
        validation_error: returns that after an epoch, in percent; what the schedule follows in place of the loss
    """

    on_epoch: OnEpoch | None = None
    before_save: OnEpoch | None = None
    save: Callable[[Position], object] | None = None
    save_every: float = math.inf
    stop: Callable[[], bool] = bool
    validation_error: Callable[[int], float] | None = None


class TrainStep:
    """A network in training on ``device``, with its optimizer and average; weights come from torch's own generator.

    ``initial`` puts other weights in their place and freezes layers. In a ``group`` all processes have the weights of
    the first, average their gradients and share the statistics of batch norms.
    ``progress`` (), from 0 to 1, is the share of the run that is over, for drop-path rates that grow with it.
    ``weights`` (K,) are those of an image's loss by its class.
    """

    def __init__(
        self,
        graph: Graph,
        recipe: Recipe,
        device: torch.device,
        backend: BackendOptions,
        group: Group | None = None,
        initial: Start | None = None,
        weights: Tensor | None = None,
    ) -> None:
        self.weights = weights
        self.recipe, self.device, self.backend, self.group = recipe, device, backend, group
        self.progress = torch.zeros((), device=device)
        heads = [name for name, _ in graph.outputs if name.startswith("aux")] if recipe.aux_weight else []
        self.outputs = ("logits", *heads)
        # the network, first on the CPU, where its weights are drawn
        network = new_network(graph, recipe, self.outputs, self.progress)
        if initial is not None:
            initial.put_into(network)
        layout = torch.channels_last if backend.channels_last else torch.contiguous_format
        self.module: nn.Module = network.to(device=device, memory_format=layout)  # type: ignore[call-overload]
        if group is not None:
            sync_batch_norms(self.module, group)
            group.broadcast(self.module.state_dict().values())
        self._forward: Callable[[Tensor], Tensor] = torch.compile(self.module) if backend.compile else self.module
        # what is trained, and how
        self.parameters = [p for p in self.module.parameters() if p.requires_grad]
        if not self.parameters:
            raise ConfigError("every parameter is frozen: nothing is left to train")
        self.names = {id(p): name for name, p in self.module.named_parameters()}
        factors = None if initial is None else initial.factors(self.module)
        self.optimizer = make_optimizer(self.module, recipe, backend.fused, backend.capture, factors)
        self.ema = WeightAverage(self.module, recipe.ema) if recipe.ema else None
        self.module.train()
        if initial is not None:
            initial.set_modes(self.module)
        self._compute: Callable[[Tensor, Targets], Tensor] = self.compute
        if backend.capture:
            from nas.training.cuda_graph import CapturedStep

            self._compute = CapturedStep(self)

    def set_rate(self, rate: float) -> None:
        """Give every group of parameters ``rate`` times its factor; a tensor keeps its place in memory."""
        for group in self.optimizer.param_groups:
            own = rate * group["factor"]
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(own)
            else:
                group["lr"] = own

    def release(self) -> None:
        """Free the gradients and what was captured."""
        self._compute = self.compute
        self.optimizer.zero_grad(set_to_none=True)

    def step(self, images: Tensor, targets: Targets) -> Tensor:
        """Train on one batch and return its loss (), detached."""
        if not self.backend.channels_last:
            # contiguous() would leave grey images as they are: of one channel they have both orders, and torch follows
            # their strides through the whole network
            images = images.clone(memory_format=torch.contiguous_format)
        loss = self._compute(images, targets)
        if self.ema is not None:
            self.ema.update()
        return loss

    def compute(self, images: Tensor, targets: Targets) -> Tensor:
        """Compute one step as plain operations."""
        self.optimizer.zero_grad(set_to_none=True)
        return self.forward_backward(images, targets)

    def forward_backward(self, images: Tensor, targets: Targets) -> Tensor:
        """Do the step; gradients must not be there yet."""
        # forward; a captured graph must cast the weights again in every replay
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.backend.bf16, cache_enabled=False):
            outputs = self._forward(images)
        # loss and backward
        loss = training_loss(outputs, targets, self.recipe, self.weights)
        loss.backward()  # type: ignore[no-untyped-call]
        if self.group is not None:
            self.group.average_gradients(self.parameters)
        # clipping, and the optimizer's step
        if self.recipe.clip_norm:
            nn.utils.clip_grad_norm_(self.parameters, self.recipe.clip_norm, foreach=True)
        self.optimizer.step()
        return loss.detach()


class EpochLoop:
    """Trains from ``position`` to ``epochs``, in ``steps``; after ``time_limit`` seconds it fails with ``timeout``."""

    def __init__(
        self,
        train_step: TrainStep,
        source: BatchSource,
        epochs: int,
        generator: torch.Generator,
        position: Position,
        time_limit: float | None = None,
        callbacks: Callbacks | None = None,
    ) -> None:
        self.train_step, self.source, self.epochs, self.generator = train_step, source, epochs, generator
        self.history, self.errors, self.steps = position.history, position.errors, 0
        self.limit, self.callbacks = time_limit, callbacks or Callbacks()
        # a checkpoint of an earlier version has no errors: its training goes on by its losses, as it began
        self._error_of = self.callbacks.validation_error if len(self.errors) == len(self.history) else None
        self._deadline = math.inf if time_limit is None else time.monotonic() + time_limit
        self._check_every = CHECK_EVERY_ON_CUDA if train_step.device.type == "cuda" else CHECK_EVERY
        self._position, self._saved = position, time.monotonic()

    def run(self) -> bool:
        """Train to the end and save the state; False when it was stopped before."""
        train_step, recipe = self.train_step, self.train_step.recipe
        steps, callbacks = self.source.steps, self.callbacks
        while len(self.history) < self.epochs:
            # what one epoch has: its part of the schedule, and the steps that an earlier process did of it
            epoch, begun = len(self.history), self._position
            followed = self.history if self._error_of is None else self.errors
            drops = plateau_drops(followed, recipe.patience) if recipe.schedule == "plateau" else 0
            train_step.progress.fill_(epoch / self.epochs)
            total = torch.zeros((), device=train_step.device)
            if begun.loss is not None:
                total += begun.loss.to(train_step.device)

            # its steps: schedule, then forward, loss, backward, clipping, optimizer and average
            for step, (images, targets) in enumerate(self.source.epoch(self.generator, begun.step), begun.step):
                train_step.set_rate(learning_rate(recipe, epoch * steps + step, steps, self.epochs, drops))
                total += train_step.step(images, targets)
                self.steps += 1
                done = epoch * steps + step + 1
                advance(f"epoch {epoch + 1} of {self.epochs}, step {step + 1} of {steps}", done, self.epochs * steps)
                if step == steps - 1:
                    break
                # now and then: is the loss sound, is time left, is a checkpoint due?
                if step % self._check_every == 0:
                    _, save, stop = self._synced(total, epoch)
                    if save or stop:
                        self._save(Position(self.history, begun.order, step + 1, total, self.errors))
                    if stop:
                        return False
            else:
                raise EvaluationError(f"epoch {epoch + 1} ended before its last batch")

            # its end: history, checks, checkpoint
            summed, save, stop = self._synced(total, epoch)
            loss = summed / steps
            self.history = (*self.history, loss)
            if loss > RUNAWAY and loss > RUNAWAY * self.history[0]:
                what = f"the training loss rose from {self.history[0]:.3g} to {loss:.3g} by epoch {epoch + 1}"
                raise EvaluationError(f"{what}: training diverged; a lower learning rate may help", "diverged")
            if self._error_of is not None:
                self.errors = (*self.errors, self._error_of(epoch + 1))
            self._position = Position(self.history, self.generator.get_state(), errors=self.errors)
            if callbacks.before_save is not None:
                callbacks.before_save(epoch + 1, loss)
            unfinished = epoch + 1 < self.epochs
            if unfinished and (save or stop):
                self._save(self._position)
            if callbacks.on_epoch is not None:
                callbacks.on_epoch(epoch + 1, loss)
            if unfinished and stop:
                return False
        self._save(self._position)
        return True

    def _synced(self, total: Tensor, epoch: int) -> tuple[float, bool, bool]:
        """Return the epoch's loss so far, whether to save, and to stop: the same in all processes; or raise."""
        group, callbacks, now = self.train_step.group, self.callbacks, time.monotonic()
        loss, late, stop = float(total), float(now > self._deadline), float(callbacks.stop())
        save = float(callbacks.save is not None and now - self._saved >= callbacks.save_every)
        if group is not None:
            # all must do the same, so the first one's clock decides
            loss, late, stop, save = group.sum([loss / group.world, late, stop, save * (group.rank == 0)])
        refuse_nan(loss, f"the training loss of epoch {epoch + 1}")
        if late:
            raise EvaluationError(f"the training took more than {self.limit:g} s, in epoch {epoch + 1}", "timeout")
        return loss, save > 0, stop > 0

    def _save(self, position: Position) -> None:
        if self.callbacks.save is not None:
            self.callbacks.save(position)
        self._saved = time.monotonic()
