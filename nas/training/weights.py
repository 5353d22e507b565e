"""Weights on disk: safetensors files, written whole or not at all."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from nas.errors import ConfigError, unknown
from nas.files import write_atomic


def weights_of(module: nn.Module) -> bytes:
    """Return the parameters and buffers of ``module`` as a safetensors file."""
    # imported where it is needed: training itself runs without it
    from safetensors.torch import save

    return save({name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()})


def save_weights(module: nn.Module, path: Path) -> None:
    """Write the parameters and buffers of ``module`` to ``path``; a failure raises :class:`ConfigError`."""
    write_atomic(path, weights_of(module))


def load_weights(module: nn.Module, path: Path) -> None:
    """Read into ``module`` what :func:`save_weights` wrote for one of the same layers.

    A missing or damaged file, a tensor of another shape, one too many or too few raises :class:`ConfigError` and leaves
    the module as it was.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        found = load(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"weights '{path}' cannot be read: {error.strerror or error}") from None
    except SafetensorError as error:
        raise ConfigError(f"weights '{path}' are no safetensors file: {error}") from None
    wanted = module.state_dict()
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
