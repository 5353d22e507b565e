"""What a training begins with besides random weights: tensors of an earlier one, and layers that keep theirs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import torch
from torch import Tensor, nn

from nas.errors import ConfigError, unknown


@dataclass(frozen=True, eq=False)
class Start:
    """Weights to begin with, and layers that keep theirs.

    Attributes:
        initial: tensors by name, those not of the network's state raise :class:`ConfigError`; the rest is drawn
        frozen: dotted names of layers that, with those below, get no gradient and no decay and stay in eval mode
        factor: of the recipe's learning rate, for parameters that ``initial`` has; new ones have the recipe's
    """

    initial: Mapping[str, Tensor] = field(default_factory=dict)
    frozen: Sequence[str] = ()
    factor: float = 1.0

    def put_into(self, module: nn.Module) -> None:
        """Copy the weights into ``module``, and let the frozen parameters have no gradient."""
        state = module.state_dict()
        with torch.no_grad():
            for name, tensor in self.initial.items():
                if name not in state:
                    raise ConfigError(f"initial weights: {unknown('tensor', name, state)}")
                if state[name].shape != tensor.shape:
                    shapes = f"{tuple(state[name].shape)}, found {tuple(tensor.shape)}"
                    raise ConfigError(f"initial weights: tensor '{name}' must be {shapes}")
                state[name].copy_(tensor)
        for layer in self.frozen_layers(module):
            layer.requires_grad_(False)

    def frozen_layers(self, module: nn.Module) -> Iterator[nn.Module]:
        """Yield the frozen layers; a name of none raises :class:`ConfigError`."""
        layers = dict(module.named_modules())
        for name in self.frozen:
            if not name or name not in layers:
                raise ConfigError(f"--freeze: {unknown('layer', name, [n for n in layers if n])}")
            yield layers[name]

    def set_modes(self, module: nn.Module) -> None:
        """Put ``module`` into training mode, and what is frozen into eval mode."""
        module.train()
        for layer in self.frozen_layers(module):
            layer.eval()

    def factors(self, module: nn.Module) -> dict[int, float]:
        """Return what the rate of parameters is multiplied by, by their ``id``; the others' is the recipe's."""
        return {id(p): self.factor for name, p in module.named_parameters() if name in self.initial}

    @property
    def identity(self) -> list[object]:
        """What tells this start from others, as JSON data."""
        digest = blake2b(digest_size=16)
        for name in sorted(self.initial):
            digest.update(name.encode())
            tensor = self.initial[name].detach().cpu().contiguous()
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
        return [digest.hexdigest(), self.factor, *sorted(self.frozen)]
