"""Checkpoints: all that a training needs to go on as if it had never stopped, in a folder of two files.

``checkpoint.json`` holds the numbers and names the safetensors file that belongs to it, with its digest; that file is
written first and under a new name each time, so a power failure leaves the earlier checkpoint as it was.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nas.errors import ConfigError
from nas.files import read_json, sync_folder, write_atomic, write_json
from nas.training.optimiser import optimiser_state, restore_optimiser
from nas.training.step import Trainee

FORMAT = "nas/checkpoint/1"
NUMBERS = "checkpoint.json"
PARTS = ("weights", "optimiser", "average", "random")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training after ``epoch`` epochs and ``step`` steps of the next: numbers, and tensors of :data:`PARTS` by name.

    ``identity`` is what must be equal for the training to go on: network, recipe without its epochs, and data. Of the
    random states ``order`` is that of the beginning of the epoch; ``cpu``, ``cuda`` and ``loss``, the sum of the
    epoch's losses so far, are of the first process of a group, ``cpu.1`` and so on of the others. ``seconds`` were
    spent on the epoch that ``step`` is of.
    """

    epoch: int
    history: tuple[float, ...]
    identity: Mapping[str, Any]
    switches: Mapping[str, bool]
    average_steps: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    step: int = 0
    seconds: float = 0.0

    def loss(self, rank: int = 0, world: int = 1) -> Tensor:
        """Return the sum () of the losses of the epoch's steps that process ``rank`` of ``world`` has done.

        Where the group had another number of processes, it is their mean for each.
        """
        random = self.tensors["random"]
        found = [t for name, t in random.items() if name.partition(".")[0] == "loss"]
        if found and len(found) != world:
            return torch.stack(found).mean()
        return random.get(_of("loss", rank), torch.zeros(()))


@dataclass(frozen=True, eq=False)
class Position:
    """Where a training is: its epochs' losses, the order's state when this one began, the steps done and their loss."""

    history: tuple[float, ...]
    order: Tensor
    step: int = 0
    loss: Tensor | None = None


def _of(name: str, rank: int) -> str:
    return f"{name}.{rank}" if rank else name


def take(trainee: Trainee, place: Position, identity: Mapping[str, Any]) -> Checkpoint:
    """Return the state of ``trainee`` at ``place``; all processes of a group take it together."""
    own = {"cpu": torch.get_rng_state()}
    if trainee.device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(trainee.device)
    if place.loss is not None:
        own["loss"] = place.loss.detach().clone()
    group = trainee.group
    random = {"order": place.order}
    for name, t in own.items():
        for rank, found in enumerate([t] if group is None else group.gather(t)):
            random[_of(name, rank)] = found
    average = trainee.average
    tensors = {
        "weights": trainee.module.state_dict(),
        "optimiser": optimiser_state(trainee.optimiser, trainee.names),
        "average": {} if average is None else average.state(),
        "random": random,
    }
    steps = 0 if average is None else average.steps
    history = place.history
    return Checkpoint(len(history), history, identity, trainee.switches.to_json(), steps, tensors, place.step)


def restore(checkpoint: Checkpoint, trainee: Trainee, generator: torch.Generator) -> None:
    """Put ``checkpoint`` into a trainee of the same graph and recipe; other tensors raise :class:`ConfigError`."""
    tensors = checkpoint.tensors
    own = trainee.module.state_dict()
    wanted = {name: t.shape for name, t in own.items()}
    if {name: t.shape for name, t in tensors["weights"].items()} != wanted:
        raise ConfigError("the checkpoint is of another network")
    try:
        with torch.no_grad():
            for name, t in own.items():
                t.copy_(tensors["weights"][name])
        restore_optimiser(trainee.optimiser, trainee.names, dict(tensors["optimiser"]))
        if trainee.average is not None:
            trainee.average.restore(tensors["average"], checkpoint.average_steps)
        random = tensors["random"]
        generator.set_state(random["order"])
        rank = 0 if trainee.group is None else trainee.group.rank
        if not rank or _of("cpu", rank) in random:  # the group may have grown since
            torch.set_rng_state(random[_of("cpu", rank)])
        if trainee.device.type == "cuda" and _of("cuda", rank) in random:
            torch.cuda.set_rng_state(random[_of("cuda", rank)], trainee.device)
    except (KeyError, RuntimeError, TypeError) as error:
        raise ConfigError(f"the checkpoint does not fit: {error}") from None


def pack(checkpoint: Checkpoint) -> tuple[bytes, bytes]:
    """Return ``checkpoint`` as its two files hold it: numbers, and tensors."""
    from safetensors.torch import save as packed

    flat = {
        f"{part}:{name}": t.detach().cpu().contiguous().clone()
        for part in PARTS
        for name, t in checkpoint.tensors[part].items()
    }
    content = packed(flat)
    digest = blake2b(content, digest_size=16).hexdigest()
    numbers = {
        "format": FORMAT,
        "epoch": checkpoint.epoch,
        "step": checkpoint.step,
        "seconds": checkpoint.seconds,
        "history": list(checkpoint.history),
        "identity": dict(checkpoint.identity),
        "switches": dict(checkpoint.switches),
        "average_steps": checkpoint.average_steps,
        "tensors": f"state-{checkpoint.epoch}-{digest[:8]}.safetensors",
        "digest": digest,
    }
    return json.dumps(numbers).encode(), content


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Write ``checkpoint`` to ``folder``, which is made; a failure raises :class:`ConfigError`, the old one stays."""
    write(*pack(checkpoint), folder)


def write(numbers: bytes, content: bytes, folder: Path) -> None:
    """Write what :func:`pack` returned to ``folder``, as :func:`save` does."""
    data = json.loads(numbers)
    name = str(data["tensors"])
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / name, content)
        sync_folder(folder)
        write_json(folder / NUMBERS, data)
        sync_folder(folder)
    except OSError as error:
        raise ConfigError(f"cannot write checkpoint '{folder}': {error.strerror or error}") from None
    for old in folder.glob("state-*.safetensors"):
        if old.name != name:
            with contextlib.suppress(OSError):
                old.unlink()


def load(folder: Path) -> Checkpoint:
    """Read what :func:`save` wrote; anything missing, damaged or of another format raises :class:`ConfigError`."""
    return unpack(*read(folder), str(folder))


def read(folder: Path) -> tuple[bytes, bytes]:
    """Return the contents of the two files in ``folder``, unchecked; a missing one raises :class:`ConfigError`."""
    data = read_json(folder / NUMBERS)
    try:
        return json.dumps(data).encode(), (folder / Path(str(data["tensors"])).name).read_bytes()
    except (KeyError, TypeError, OSError) as error:
        raise ConfigError(f"checkpoint '{folder}' is damaged: {type(error).__name__}") from None


def unpack(numbers: bytes, content: bytes, folder: str = "") -> Checkpoint:
    """Return the checkpoint of its two files, which lie in ``folder``; raises :class:`ConfigError` as :func:`load`."""
    from safetensors import SafetensorError
    from safetensors.torch import load as unpacked

    try:
        data = json.loads(numbers)
        if data["format"] != FORMAT:
            raise ConfigError(f"checkpoint '{folder}': format must be '{FORMAT}', found {data['format']!r}")
        if blake2b(content, digest_size=16).hexdigest() != data["digest"]:
            raise ConfigError(f"checkpoint '{folder}' is damaged: '{data['tensors']}' is not what was written")
        tensors: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
        for name, t in unpacked(content).items():
            part, _, rest = name.partition(":")
            tensors[part][rest] = t
        history = tuple(float(loss) for loss in data["history"])
        if data["epoch"] != len(history):
            raise ConfigError(f"checkpoint '{folder}' is damaged: {len(history)} losses of {data['epoch']} epochs")
        steps = int(data["average_steps"])
        place = int(data.get("step", 0)), float(data.get("seconds", 0.0))
        return Checkpoint(data["epoch"], history, data["identity"], data["switches"], steps, tensors, *place)
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise ConfigError(f"checkpoint '{folder}' is damaged: {type(error).__name__}") from None
