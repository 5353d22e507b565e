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
from zlib import crc32

import torch
from torch import Tensor

from nas.core.files import read_bytes, read_json, sync_folder, write_atomic, write_json
from nas.core.values import Json
from nas.data.splits import Images
from nas.errors import ConfigError
from nas.graph import Graph
from nas.training.device import BackendOptions
from nas.training.distributed import Group
from nas.training.initial_weights import Start
from nas.training.recipe import Recipe, current_names
from nas.training.train_step import Position, TrainStep

FORMAT = "nas/checkpoint/1"
NUMBERS = "checkpoint.json"
PARTS = ("weights", "optimizer", "average", "random")
OLD_PARTS = {"optimiser": "optimizer"}
"""What checkpoints of earlier versions call a part."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A training after ``epoch`` epochs and ``step`` steps of the next.

    Attributes:
        epoch: epochs that are done
        history: their mean training losses
        identity: what must be equal for the training to go on, see :func:`identity_of`
        backend: its options by name
        average_steps: steps that the average of the weights has seen
        tensors: by part (:data:`PARTS`) and name. Of the random states ``order`` is that of the beginning of the epoch;
            ``cpu``, ``cuda`` and ``loss``, the sum of the epoch's losses so far, are of the first process of a group,
            ``cpu.1`` and so on of the others
        step: steps of the next epoch that are done
        seconds: spent on the epoch that ``step`` is of
        errors: the epochs' validation errors in percent, where the schedule follows them
    """

    epoch: int
    history: tuple[float, ...]
    identity: Json
    backend: Mapping[str, bool]
    average_steps: int
    tensors: Mapping[str, Mapping[str, Tensor]]
    step: int = 0
    seconds: float = 0.0
    errors: tuple[float, ...] = ()

    def loss(self, rank: int = 0, world: int = 1) -> Tensor:
        """Return the sum () of the losses of the epoch's steps on process ``rank``; for another ``world`` the mean."""
        random = self.tensors["random"]
        found = [t for name, t in random.items() if name.partition(".")[0] == "loss"]
        if found and len(found) != world:
            return torch.stack(found).mean()
        return random.get(_of("loss", rank), torch.zeros(()))


def identity_of(graph: Graph, recipe: Recipe, images: Images, dataset: str, initial: Start | None = None) -> Json:
    """Return what must be equal for a training to go on: all but the number of epochs, the seed and the device."""
    return {
        "network": digest_of(json.dumps(graph.to_json(), sort_keys=True).encode()),
        "recipe": recipe.identity(),
        "data": [dataset, len(images), *images.image_shape, crc32(images.labels.tobytes())],
        **({} if initial is None else {"start": initial.identity}),
    }


def usable(given: str | Path | Checkpoint, identity: Json, epochs: int, group: Group | None) -> Checkpoint | None:
    """Return the checkpoint, or that in a folder, where a training of ``epochs`` can go on from it, else None."""
    if group is not None:
        group.sum([0.0])  # the first process may be writing it
    found = None
    with contextlib.suppress(ConfigError):
        found = given if isinstance(given, Checkpoint) else load(Path(given))
    fits = found is not None and found.identity == identity and found.epoch + (found.step > 0) <= epochs
    if group is not None:
        fits = group.sum([float(fits)]) == [group.world]
    return found if fits else None


def digest_of(content: bytes) -> str:
    """Return what tells contents apart: 128 bits in hexadecimal digits."""
    return blake2b(content, digest_size=16).hexdigest()


def _of(name: str, rank: int) -> str:
    return f"{name}.{rank}" if rank else name


def take(train_step: TrainStep, position: Position, identity: Json) -> Checkpoint:
    """Return the state of a training at ``position``; all processes of a group take it together."""
    own = {"cpu": torch.get_rng_state()}
    if train_step.device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(train_step.device)
    if position.loss is not None:
        own["loss"] = position.loss.detach().clone()
    group = train_step.group
    random = {"order": position.order}
    for name, t in own.items():
        for rank, found in enumerate([t] if group is None else group.gather(t)):
            random[_of(name, rank)] = found
    # the optimizer's state, as tensors named PARAMETER/WHAT
    optimizer = train_step.optimizer
    moments = {
        f"{train_step.names[id(p)]}/{what}": torch.as_tensor(value)
        for part in optimizer.param_groups
        for p in part["params"]
        for what, value in optimizer.state.get(p, {}).items()
        if value is not None
    }
    ema, weights = train_step.ema, train_step.module.state_dict()
    average = {} if ema is None else ema.state()
    tensors = {"weights": weights, "optimizer": moments, "average": average, "random": random}
    history, steps = position.history, 0 if ema is None else ema.steps
    backend, step, errors = train_step.backend.to_json(), position.step, position.errors
    return Checkpoint(len(history), history, identity, backend, steps, tensors, step, errors=errors)


def restore(checkpoint: Checkpoint, train_step: TrainStep, generator: torch.Generator) -> Position:
    """Put ``checkpoint`` into a training of the same graph and recipe, and return where it is; raises ConfigError."""
    tensors, group = checkpoint.tensors, train_step.group
    own = train_step.module.state_dict()
    if {name: t.shape for name, t in tensors["weights"].items()} != {name: t.shape for name, t in own.items()}:
        raise ConfigError("the checkpoint is of another network")
    try:
        with torch.no_grad():
            for name, t in own.items():
                t.copy_(tensors["weights"][name])
        # the optimizer's state; shapes are checked here, since the kernels check none
        for part in train_step.optimizer.param_groups:
            on_device = part.get("fused") or part.get("capturable")
            for p in part["params"]:
                prefix = f"{train_step.names[id(p)]}/"
                for name, value in tensors["optimizer"].items():
                    if not name.startswith(prefix):
                        continue
                    if value.dim() and value.shape != p.shape:
                        shapes = f"{tuple(p.shape)}, found {tuple(value.shape)}"
                        raise ConfigError(f"the optimizer's state of a parameter must be {shapes}")
                    if value.dim():
                        # the kernels walk memory, so moments must lie as the parameter does
                        value = torch.empty_like(p).copy_(value)
                    else:
                        value = value.to(p.device) if on_device else value.clone()
                    train_step.optimizer.state[p][name.removeprefix(prefix)] = value
        # averages and random states
        if train_step.ema is not None:
            train_step.ema.restore(tensors["average"], checkpoint.average_steps)
        random = tensors["random"]
        generator.set_state(random["order"])
        rank, world = (0, 1) if group is None else (group.rank, group.world)
        if not rank or _of("cpu", rank) in random:  # the group may have grown since
            torch.set_rng_state(random[_of("cpu", rank)])
        if train_step.device.type == "cuda" and _of("cuda", rank) in random:
            torch.cuda.set_rng_state(random[_of("cuda", rank)], train_step.device)
    except (KeyError, RuntimeError, TypeError) as error:
        raise ConfigError(f"the checkpoint does not fit: {error}") from None
    loss = checkpoint.loss(rank, world)
    return Position(checkpoint.history, generator.get_state(), checkpoint.step, loss, checkpoint.errors)


def pack(checkpoint: Checkpoint) -> tuple[bytes, bytes]:
    """Return ``checkpoint`` as its two files hold it: numbers, and tensors."""
    from safetensors.torch import save as packed

    flat = {
        f"{part}:{name}": t.detach().cpu().contiguous().clone()
        for part in PARTS
        for name, t in checkpoint.tensors[part].items()
    }
    content = packed(flat)
    digest = digest_of(content)
    numbers = {
        "format": FORMAT,
        "epoch": checkpoint.epoch,
        "step": checkpoint.step,
        "seconds": checkpoint.seconds,
        "history": list(checkpoint.history),
        "errors": list(checkpoint.errors),
        "identity": dict(checkpoint.identity),
        "switches": dict(checkpoint.backend),
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
        return json.dumps(data).encode(), read_bytes(folder / Path(str(data["tensors"])).name)
    except (KeyError, TypeError, ConfigError) as error:
        raise ConfigError(f"checkpoint '{folder}' is damaged: {type(error).__name__}") from None


def unpack(numbers: bytes, content: bytes, folder: str = "") -> Checkpoint:
    """Return the checkpoint of its two files, which lie in ``folder``; raises :class:`ConfigError` as :func:`load`."""
    from safetensors import SafetensorError
    from safetensors.torch import load as unpacked

    try:
        data = json.loads(numbers)
        if data["format"] != FORMAT:
            raise ConfigError(f"checkpoint '{folder}': format must be '{FORMAT}', found {data['format']!r}")
        if digest_of(content) != data["digest"]:
            raise ConfigError(f"checkpoint '{folder}' is damaged: '{data['tensors']}' is not what was written")
        tensors: dict[str, dict[str, Tensor]] = {part: {} for part in PARTS}
        for name, t in unpacked(content).items():
            part, _, rest = name.partition(":")
            tensors[OLD_PARTS.get(part, part)][rest] = t
        history = tuple(float(loss) for loss in data["history"])
        errors = tuple(float(error) for error in data.get("errors", ()))
        if data["epoch"] != len(history) or len(errors) not in (0, len(history)):
            raise ConfigError(f"checkpoint '{folder}' is damaged: {len(history)} losses of {data['epoch']} epochs")
        identity = {**data["identity"], "recipe": current_names(data["identity"]["recipe"])}
        backend, averaged = BackendOptions.from_json(data["switches"]).to_json(), int(data["average_steps"])
        step, seconds = int(data.get("step", 0)), float(data.get("seconds", 0.0))
        return Checkpoint(data["epoch"], history, identity, backend, averaged, tensors, step, seconds, errors)
    except (AttributeError, KeyError, TypeError, ValueError, SafetensorError) as error:
        raise ConfigError(f"checkpoint '{folder}' is damaged: {type(error).__name__}") from None
