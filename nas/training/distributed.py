"""Data-parallel training: several processes train one network, each on its share of every batch.

Every process builds the same network and draws the same epoch; of a batch of B images process r of W takes the rows
r B/W to (r+1) B/W, and gradients are averaged after the backward pass. Batch norms share their statistics
(:class:`SyncBatchNorm`), so that W processes do what one would do with the whole batch, but for rounding, for the
masks of dropout and drop path, which every process draws for itself, and for mixup, whose pairs are of one share.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from nas.errors import ConfigError

BUCKET = 25 * 2**20
"""Bytes of gradients that travel together."""
PATIENCE = timedelta(minutes=10)
"""After this long a process that does not answer counts as lost."""
STORE: Any = dist.TCPStore  # type: ignore[attr-defined]


class Group:
    """Process ``rank`` of ``world`` that train together, ``local`` of them on this machine; see :func:`joined`."""

    def __init__(self, rank: int, world: int, device: torch.device, local: int = 1) -> None:
        self.rank, self.world, self.device, self.local = rank, world, device, local

    def rows(self, batch: int) -> slice:
        """Return the rows of a batch that this process trains on; an uneven batch raises :class:`ConfigError`."""
        if batch % self.world:
            rule = f"its size must be a multiple of the {self.world} workers, found {batch}"
            raise ConfigError(f"the batch is shared by all workers: {rule}")
        each = batch // self.world
        return slice(self.rank * each, (self.rank + 1) * each)

    def part(self, count: int) -> npt.NDArray[np.int64]:
        """Return this process's indices of ``count`` images to measure: a run of them, some runs being one longer."""
        return np.arange(self.rank * count // self.world, (self.rank + 1) * count // self.world, dtype=np.int64)

    def broadcast(self, tensors: Iterable[Tensor]) -> None:
        """Give every process the tensors of the first."""
        _in_buckets(list(tensors), lambda flat: dist.broadcast(flat, 0))

    def average_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Replace gradients by their means over the processes."""

        def average(flat: Tensor) -> None:
            dist.all_reduce(flat)
            flat.div_(self.world)

        _in_buckets([p.grad for p in parameters if p.grad is not None], average)

    def sum(self, numbers: Sequence[float]) -> list[float]:
        """Return the sums of numbers over the processes: the same bits on all of them."""
        total = torch.tensor(numbers, dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return cast(list[float], total.tolist())

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensor of every process, in the order of ranks, where ``tensor`` lies."""
        own = tensor.to(self.device).contiguous()
        found = [torch.empty_like(own) for _ in range(self.world)]
        dist.all_gather(found, own)
        return [t.to(tensor.device) for t in found]


@torch.no_grad()
def _in_buckets(tensors: Sequence[Tensor], change: Callable[[Tensor], object]) -> None:
    """Let ``change`` alter tensors of one type together, in order, as flat ones of about :data:`BUCKET` bytes."""
    for dtype in dict.fromkeys(t.dtype for t in tensors):
        alike = [t for t in tensors if t.dtype == dtype]
        bucket: list[Tensor] = []
        for number, t in enumerate(alike, 1):
            bucket.append(t)
            if number == len(alike) or sum(t.numel() * t.element_size() for t in bucket) >= BUCKET:
                flat = torch.cat([t.reshape(-1) for t in bucket])
                change(flat)
                for changed, piece in zip(bucket, torch.split(flat, [t.numel() for t in bucket]), strict=True):
                    changed.copy_(piece.view(changed.shape))
                bucket = []


def open_meeting(host: str) -> tuple[object, str]:
    """Return the store by which the processes of a group find each other, and its address HOST:PORT.

    It listens on the network interface of ``host``, an address of this machine, alone, until it is no longer held.
    """
    listener = socket.create_server((host, 0))
    port = int(listener.getsockname()[1])
    store = STORE(host, port, None, True, timeout=PATIENCE, wait_for_workers=False, master_listen_fd=listener.detach())
    return store, f"{host}:{port}"


@contextmanager
def joined(rank: int, world: int, address: str, device: str, local: int = 1, host: str = "") -> Iterator[Group]:
    """Be process ``rank`` of the ``world`` that meet at ``address``, over gloo on a CPU and NCCL on CUDA.

    ``host`` is this machine's own address, whose interface is used; one process can be in one group at a time.
    """
    meeting, _, port = address.rpartition(":")
    # the network interface that has this machine's IPv4 address; where none is found the libraries choose
    with contextlib.suppress(ImportError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        import fcntl
        import struct

        for _, name in socket.if_nameindex():
            with contextlib.suppress(OSError):
                asked = struct.pack("256s", name[:15].encode())
                found = fcntl.ioctl(probe.fileno(), 0x8915, asked)  # SIOCGIFADDR
                if socket.inet_ntoa(found[20:24]) == (host or meeting):
                    os.environ.setdefault("GLOO_SOCKET_IFNAME", name)
                    os.environ.setdefault("NCCL_SOCKET_IFNAME", name)
                    break
    on = torch.device(device)
    store = STORE(meeting, int(port), None, False, timeout=PATIENCE, wait_for_workers=False)
    backend = "nccl" if on.type == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=PATIENCE)
    try:
        yield Group(rank, world, on, local)
    finally:
        with contextlib.suppress(RuntimeError):  # the others may be gone
            dist.destroy_process_group()


def sync_batch_norms(module: nn.Module, group: Group) -> None:
    """Let the batch norms of ``module`` take their statistics over the processes of ``group``."""
    for name, layer in list(module.named_modules()):
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            parent, _, last = name.rpartition(".")
            setattr(module.get_submodule(parent), last, SyncBatchNorm(layer, group))


class SyncBatchNorm(nn.Module):
    """A batch norm over the batches of all processes together, on CPU and GPU.

    It has the weights and running statistics of ``norm``, under their names. Statistics of shares of one size are
    combined exactly: the variance is the mean of variances and the variance of means (Chan et al. 1979).
    """

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d, group: Group) -> None:
        super().__init__()
        self.eps, self.momentum, self.group = norm.eps, norm.momentum, group
        self.weight, self.bias = norm.weight, norm.bias
        self.running_mean: Tensor
        self.running_var: Tensor
        self.num_batches_tracked: Tensor
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)

    def forward(self, x: Tensor) -> Tensor:
        """Normalize ``x`` (B, C, ...): in training by the statistics of all processes, else by the running ones."""
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
        if self.momentum is None:
            raise ConfigError("a batch norm without momentum cannot be synchronized")
        apply: Callable[..., tuple[Tensor, Tensor, Tensor]] = _SyncNormalize.apply
        y, mean, variance = apply(x, self.weight, self.bias, self.eps, self.group)
        with torch.no_grad():
            count = x.numel() // x.shape[1] * self.group.world
            self.num_batches_tracked.add_(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / max(1, count - 1)), self.momentum)
        return y

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"eps={self.eps}, momentum={self.momentum}, world={self.group.world}"


class _SyncNormalize(torch.autograd.Function):
    """Batch normalization with statistics and their gradients over all processes (arXiv:1502.03167, section 3)."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, group: Group
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return x (B, C, ...) normalized, with the mean and the biased variance (C,) over all processes."""
        own = torch.stack(torch.batch_norm_update_stats(x, None, None, 0.0)).float()
        every = torch.stack(group.gather(own))
        means, variances = every[:, 0], every[:, 1]
        mean = means.mean(0)
        variance = variances.mean(0) + (means - mean).square().mean(0)
        y = F.batch_norm(x, mean, variance, weight, bias, False, 0.0, eps)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.eps, ctx.group = eps, group
        ctx.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of x over all processes; those of weight and bias are averaged with all others."""
        x, weight, mean, variance = ctx.saved_tensors
        group: Group = ctx.group
        scale = torch.ones_like(mean) if weight is None else weight
        # as with fixed statistics first; sums are those of dy times the normalized x, and of dy
        dx, dw, db = torch.ops.aten.native_batch_norm_backward(
            grads[0], x, scale, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.stack((dw, db)).float()
        dist.all_reduce(sums)
        sums /= x.numel() // x.shape[1] * group.world
        inverse = (variance + ctx.eps).rsqrt()
        shape = (1, -1) + (1,) * (x.dim() - 2)
        slope = -scale * inverse.square() * sums[0]
        shift = -scale * inverse * sums[1] - slope * mean
        dx = dx + (x * slope.view(shape) + shift.view(shape)).to(dx.dtype)
        return dx, *((None, None) if weight is None else (dw, db)), None, None
