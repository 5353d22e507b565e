"""Checkpoints: all that a training needs to go on as if it had never stopped, in a folder of two files.

``checkpoint.json`` holds the numbers and names the safetensors file that belongs to it, with its digest; that file is
written first and under a new name each time, so a power failure leaves the earlier checkpoint as it was.
"""

from __future__ import annotations

import contextlib
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
    """A training after ``epoch`` epochs: the numbers, and the tensors of each of :data:`PARTS` by name.

    ``identity`` is what must be equal for the training to go on: network, recipe without its epochs, and data.
    """

    epoch: int
    history: tuple[float, ...]
    identity: Mapping[str, Any]
    switches: Mapping[str, bool]
    average_steps: int
    tensors: Mapping[str, Mapping[str, Tensor]]


def take(
    trainee: Trainee,
    generator: torch.Generator,
    history: tuple[float, ...],
    identity: Mapping[str, Any],
) -> Checkpoint:
    """Return the state of ``trainee`` after the epochs of ``history``."""
    random = {"order": generator.get_state(), "cpu": torch.get_rng_state()}
    if trainee.device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state(trainee.device)
    average = trainee.average
    tensors = {
        "weights": trainee.module.state_dict(),
        "optimiser": optimiser_state(trainee.optimiser, trainee.names),
        "average": {} if average is None else average.state(),
        "random": random,
    }
    steps = 0 if average is None else average.steps
    return Checkpoint(len(history), history, identity, trainee.switches.to_json(), steps, tensors)


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
        generator.set_state(tensors["random"]["order"])
        torch.set_rng_state(tensors["random"]["cpu"])
        if trainee.device.type == "cuda" and "cuda" in tensors["random"]:
            torch.cuda.set_rng_state(tensors["random"]["cuda"], trainee.device)
    except (KeyError, RuntimeError, TypeError) as error:
        raise ConfigError(f"the checkpoint does not fit: {error}") from None


def save(checkpoint: Checkpoint, folder: Path) -> None:
    """Write ``checkpoint`` to ``folder``, which is made; a failure raises :class:`ConfigError`, the old one stays."""
    from safetensors.torch import save as pack

    flat = {
        f"{part}:{name}": t.detach().cpu().contiguous().clone()
        for part in PARTS
        for name, t in checkpoint.tensors[part].items()
    }
    content = pack(flat)
    digest = blake2b(content, digest_size=16).hexdigest()
    name = f"state-{checkpoint.epoch}-{digest[:8]}.safetensors"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomic(folder / name, content)
        sync_folder(folder)
        numbers = {
            "format": FORMAT,
            "epoch": checkpoint.epoch,
            "history": list(checkpoint.history),
            "identity": dict(checkpoint.identity),
            "switches": dict(checkpoint.switches),
            "average_steps": checkpoint.average_steps,
            "tensors": name,
            "digest": digest,
        }
        write_json(folder / NUMBERS, numbers)
        sync_folder(folder)
    except OSError as error:
        raise ConfigError(f"cannot write checkpoint '{folder}': {error.strerror or error}") from None
    for old in folder.glob("state-*.safetensors"):
        if old.name != name:
            with contextlib.suppress(OSError):
                old.unlink()


def load(folder: Path) -> Checkpoint:
    """Read what :func:`save` wrote; anything missing, damaged or of another format raises :class:`ConfigError`."""
    from safetensors import SafetensorError
    from safetensors.torch import load as unpack

    data = read_json(folder / NUMBERS)
    try:
        if data["format"] != FORMAT:
            raise ConfigError(f"checkpoint '{folder}': format must be '{FORMAT}', found {data['format']!r}")
        path = folder / Path(str(data["tensors"])).name
        content = path.read_bytes()
        if blake2b(content, digest_size=16).hexdigest() != data["digest"]:
            raise ConfigError(f"checkpoint '{folder}' is damaged: '{path.name}' is not what was written")
        tensors: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
        for name, t in unpack(content).items():
            part, _, rest = name.partition(":")
            tensors[part][rest] = t
        history = tuple(float(loss) for loss in data["history"])
        if data["epoch"] != len(history):
            raise ConfigError(f"checkpoint '{folder}' is damaged: {len(history)} losses of {data['epoch']} epochs")
        steps = int(data["average_steps"])
        return Checkpoint(data["epoch"], history, data["identity"], data["switches"], steps, tensors)
    except (KeyError, TypeError, ValueError, SafetensorError, OSError) as error:
        raise ConfigError(f"checkpoint '{folder}' is damaged: {type(error).__name__}") from None
