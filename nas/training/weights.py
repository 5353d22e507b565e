"""Weights on disk: safetensors files, written whole or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nas.core.files import write_atomic
from nas.errors import ConfigError, unknown
from nas.training.weight_files import read_weights

if TYPE_CHECKING:
    from torch import Tensor, nn


def weights_of(module: nn.Module) -> bytes:
    """Return the parameters and buffers of ``module`` as a safetensors file."""
    # imported where it is needed: training itself runs without it
    from safetensors.torch import save

    return save({name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()})


def save_weights(module: nn.Module, path: Path) -> None:
    """Write the parameters and buffers of ``module`` to ``path``; a failure raises :class:`ConfigError`."""
    write_atomic(path, weights_of(module))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a file of weights, see :func:`nas.training.weight_files.read_weights`."""
    return dict(read_weights(path).tensors)


def load_weights(module: nn.Module, path: Path) -> None:
    """Read into ``module`` what :func:`save_weights` wrote for one of the same layers.

    Any other file or tensor raises :class:`ConfigError` and leaves the module as it was.
    """
    found, wanted = read_tensors(path), module.state_dict()
    for name, tensor in wanted.items():
        if name not in found:
            raise ConfigError(f"weights '{path}': {unknown('tensor', name, found)}")
        if found[name].shape != tensor.shape:
            shapes = f"{tuple(tensor.shape)}, found {tuple(found[name].shape)}"
            raise ConfigError(f"weights '{path}': tensor '{name}' must be {shapes}")
    extra = sorted(found.keys() - wanted.keys())
    if extra:
        raise ConfigError(f"weights '{path}': tensor '{extra[0]}' is none of the network's")
    module.load_state_dict(found)
