"""LoRA on the transformer's linears, with the names, shapes and alpha of sd-scripts' `networks.lora_flux`.

y = W x + b + up(down(x)) alpha / dim. Only the two small matrices learn; W stays as it was loaded.
r is the rank (`network_dim`).
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.flux import Flux
from fluxgym_tui.trainer.linear import Adapter, Linear

PREFIX = "lora_unet_"
DEFAULT_DIM = 4
TRAIN_BLOCKS = ("all", "double", "single")


class LoraLayer(nn.Module):
    """The adapter of one linear: `down` (r, in), `up` (out, r) and `alpha`. A fresh one adds nothing: `up` is zero."""

    alpha: Tensor

    def __init__(
        self, linear: Linear, *, network_dim: int, network_alpha: float, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        bound = 1 / math.sqrt(linear.in_features)  # kaiming_uniform with a = sqrt(5)
        down = torch.empty(network_dim, linear.in_features).uniform_(-bound, bound, generator=generator)
        # Made on the CPU, so that a seed means the same everywhere; kept in float32 whatever the base's precision.
        device = linear.weight.device
        self.down = nn.Parameter(down.to(device))
        self.up = nn.Parameter(torch.zeros(linear.out_features, network_dim, device=device))
        self.register_buffer("alpha", torch.tensor(float(network_alpha or network_dim)))

    @property
    def scale(self) -> float:
        """What the adapter's output is multiplied by: alpha / dim."""
        return float(self.alpha) / self.down.shape[0]


class LoraNetwork(nn.Module):
    """The adapters of a model, by their names in a LoRA file.

    `attach` puts them to work; the model's own parameters and state stay as they are.
    """

    def __init__(self, targets: Mapping[str, Linear], layers: Mapping[str, LoraLayer]) -> None:
        super().__init__()
        self._multiplier = 1.0
        self.layers = nn.ModuleDict(layers)
        self._targets = dict(targets)  # not a ModuleDict: the base is not part of this network

    @property
    def multiplier(self) -> float:
        """What all adapters are scaled by; 1 while training."""
        return self._multiplier

    @multiplier.setter
    def multiplier(self, value: float) -> None:
        self._multiplier = value
        self._refresh()

    def attach(self) -> "LoraNetwork":
        """Let the model's linears compute with their adapters."""
        for name, linear in self._targets.items():
            layer = self.layers[name]
            assert isinstance(layer, LoraLayer)
            linear.adapter = Adapter(down=layer.down, up=layer.up, scale=layer.scale * self.multiplier)
        return self

    def detach(self) -> None:
        """Let the model's linears compute without."""
        for linear in self._targets.values():
            linear.adapter = None

    def lora_state(self) -> dict[str, Tensor]:
        """The tensors by their names in a LoRA file, detached: `NAME.lora_down.weight`, `.lora_up.weight`, `.alpha`."""
        state = {}
        for name, layer in self.layers.items():
            assert isinstance(layer, LoraLayer)
            state[f"{name}.alpha"] = layer.alpha.detach()
            state[f"{name}.lora_down.weight"] = layer.down.detach()
            state[f"{name}.lora_up.weight"] = layer.up.detach()
        return state

    def load_lora_state(self, state: Mapping[str, Tensor], *, source: str) -> None:
        """Copy `state`, named as in a LoRA file, into the adapters.

        FluxgymError unless every key fits and every adapter is filled; `source` names the file in messages.
        """
        own = self.lora_state()
        if unknown := sorted(state.keys() - own.keys()):
            raise FluxgymError(
                f"{source}: {len(unknown)} tensors have no place in this network, the first is {unknown[0]}.",
                hint="It was made for other layers (or also for CLIP): train from a LoRA of the same kind.",
            )
        if missing := sorted(own.keys() - state.keys()):
            raise FluxgymError(
                f"{source}: {len(missing)} tensors are missing, the first is {missing[0]}.",
                hint="Train from a LoRA of the same layers, or set train_blocks to what it has.",
            )
        for key, tensor in own.items():
            if state[key].shape != tensor.shape:
                raise FluxgymError(
                    f"{source}: {key} has the shape {list(state[key].shape)}; {list(tensor.shape)} was expected.",
                    hint="Set network_dim to the LoRA's own rank.",
                )
        for key, tensor in own.items():
            tensor.copy_(state[key])  # detached tensors share their storage with the parameters
        self._refresh()

    def _refresh(self) -> None:
        """Tell the layers of a new scale, where they are at work."""
        if any(linear.adapter is not None for linear in self._targets.values()):
            self.attach()


def lora_targets(model: Flux, *, train_blocks: str = "all") -> dict[str, Linear]:
    """The linears that `networks.lora_flux` adapts, by their names in a LoRA file: all those of the blocks."""
    chosen = {"all": ("double_blocks.", "single_blocks."), "double": ("double_blocks.",), "single": ("single_blocks.",)}
    if train_blocks not in chosen:
        raise FluxgymError(
            f"network_args train_blocks={train_blocks} is unknown.", hint=f"Use one of: {', '.join(TRAIN_BLOCKS)}."
        )
    return {
        PREFIX + path.replace(".", "_"): module
        for path, module in model.named_modules()
        if isinstance(module, Linear) and path.startswith(chosen[train_blocks])
    }


def create_lora(
    model: Flux,
    *,
    network_dim: int | None = None,
    network_alpha: float | None = 1.0,
    network_args: Mapping[str, str] | None = None,
    generator: torch.Generator | None = None,
) -> LoraNetwork:
    """Fresh adapters for `model`, attached. As in sd-scripts the rank is 4 if None; an alpha of 0 or None is the rank.

    `network_args`: `train_blocks` = all | double | single; any other name is refused.
    """
    arguments = dict(network_args or {})
    train_blocks = arguments.pop("train_blocks", "all")
    if arguments:
        raise FluxgymError(
            f"network_args {', '.join(sorted(arguments))}: not honoured by the built-in trainer.",
            hint="It honours train_blocks=all|double|single. Remove the others, or use the kohya backend.",
        )
    dim = DEFAULT_DIM if network_dim is None else network_dim
    if dim < 1:
        raise FluxgymError(f"network_dim {dim} is no rank.", hint="Use 1 or more; 4 to 32 are usual.")
    targets = lora_targets(model, train_blocks=train_blocks)
    layers = {
        name: LoraLayer(linear, network_dim=dim, network_alpha=network_alpha or dim, generator=generator)
        for name, linear in targets.items()
    }
    return LoraNetwork(targets, layers).attach()


def lora_from_state(model: Flux, state: Mapping[str, Tensor], *, source: str, multiplier: float = 1.0) -> LoraNetwork:
    """Adapters of the layers and ranks that `state` (a LoRA file's tensors) has, filled from it and attached.

    Raises FluxgymError unless every key is used; `source` names the file in messages.
    """
    targets = lora_targets(model)
    names = {key.rpartition(".lora_down.")[0] for key in state if ".lora_down." in key}
    if strange := sorted(names - targets.keys()):
        raise FluxgymError(
            f"{source}: it adapts {strange[0]}, which this model does not have.",
            hint="The LoRA is for another model, or also for CLIP.",
        )
    chosen = {name: linear for name, linear in targets.items() if name in names}
    layers = {
        name: LoraLayer(
            linear, network_dim=state[f"{name}.lora_down.weight"].shape[0], network_alpha=1.0, generator=None
        )
        for name, linear in chosen.items()
    }
    network = LoraNetwork(chosen, layers)
    network.load_lora_state(state, source=source)
    network.multiplier = multiplier
    return network.attach()
