"""LoRA on the transformer's linears and CLIP-L's, with the names, shapes and alpha of sd-scripts' `networks.lora_flux`.

y = W x + b + up(down(x)) alpha / dim. Only the two small matrices learn; W stays as it was loaded.
r is the rank (`network_dim`).
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.flux import Flux
from fluxgym_tui.trainer.linear import Adapter, Linear
from fluxgym_tui.trainer.network_args import read_network_arguments

PREFIX = "lora_unet_"
CLIP_PREFIX = "lora_te1_"
DEFAULT_DIM = 4


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
        device = linear.device
        self.down = nn.Parameter(down.to(device))
        self.up = nn.Parameter(torch.zeros(linear.out_features, network_dim, device=device))
        self.register_buffer("alpha", torch.tensor(float(network_alpha or network_dim)))

    @property
    def scale(self) -> float:
        """What the adapter's output is multiplied by: alpha / dim."""
        return float(self.alpha) / self.down.shape[0]


@dataclass(frozen=True, kw_only=True)
class DropoutShares:
    """Which shares of down(x)'s values, of the ranks of each picture, and of whole adapters are left out."""

    values: float = 0.0
    ranks: float = 0.0
    modules: float = 0.0


@dataclass(frozen=True, kw_only=True)
class SeededDropout:
    """Dropout of one adapter for one pass. What is left out follows from `seed`: checkpointing runs a pass twice.

    As in sd-scripts what stays is raised to make up for the values and ranks that do not, but not for whole adapters.
    """

    shares: DropoutShares
    seed: int

    def __call__(self, hidden: Tensor) -> Tensor | None:
        """`hidden` (B, r) or (B, T, r) with parts left out; None where the whole adapter is."""
        generator = torch.Generator().manual_seed(self.seed)  # of the CPU: a seed means the same everywhere
        if float(torch.rand(1, generator=generator)) < self.shares.modules:
            return None
        over_tokens = (1,) * (hidden.dim() - 2)
        for share, shape in (
            (self.shares.values, hidden.shape),
            (self.shares.ranks, (hidden.shape[0], *over_tokens, hidden.shape[-1])),
        ):
            if share:
                kept = (torch.rand(shape, generator=generator) >= share).to(hidden.device, hidden.dtype)
                hidden = hidden * kept / (1 - share)
        return hidden


@dataclass(frozen=True, kw_only=True)
class ParameterGroup:
    """Weights that learn at one rate; `name` is sd-scripts' own for it, as its trackers show it."""

    name: str
    parameters: list[nn.Parameter]
    learning_rate: float


class LoraNetwork(nn.Module):
    """The adapters of a model, by their names in a LoRA file.

    `attach` puts them to work; the model's own parameters and state stay as they are.
    """

    def __init__(
        self,
        targets: Mapping[str, Linear],
        layers: Mapping[str, LoraLayer],
        *,
        dropout: DropoutShares | None = None,
        loraplus_ratio: float | None = None,
        loraplus_text_encoder_ratio: float | None = None,
    ) -> None:
        super().__init__()
        self._multiplier = 1.0
        self._dropout = dropout or DropoutShares()
        self._loraplus_ratios = {PREFIX: loraplus_ratio, CLIP_PREFIX: loraplus_text_encoder_ratio}
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

    def attach(self, *, dropout_seed: int | None = None) -> "LoraNetwork":
        """Let the model's linears compute with their adapters; with a seed, with dropout."""
        for index, (name, linear) in enumerate(self._targets.items()):
            layer = self.layers[name]
            assert isinstance(layer, LoraLayer)
            dropout = None
            if dropout_seed is not None:
                dropout = SeededDropout(shares=self._dropout, seed=dropout_seed + index)
            scale = layer.scale * self.multiplier
            linear.adapter = Adapter(down=layer.down, up=layer.up, scale=scale, dropout=dropout)
        return self

    @contextmanager
    def dropping(self, generator: torch.Generator) -> Iterator[None]:
        """Within it, forward and backward, parts are left out as `generator` has it.

        Without dropout nothing is drawn.
        """
        if self._dropout == DropoutShares():
            yield
            return
        seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
        self.attach(dropout_seed=seed)
        try:
            yield
        finally:
            self.attach()

    def parameter_groups(self, *, learning_rate: float, text_encoder_lr: float | None = None) -> list[ParameterGroup]:
        """The weights in groups, CLIP-L's first: all of one rate, or with LoRA+ every `down`, then every `up`.

        `text_encoder_lr` is CLIP-L's rate, where it differs. What has the rate 0 is in no group, as in sd-scripts.
        """
        rates = {CLIP_PREFIX: learning_rate if text_encoder_lr is None else text_encoder_lr, PREFIX: learning_rate}
        groups = []
        for prefix, rate in rates.items():
            layers = [layer for name, layer in self.layers.items() if name.startswith(prefix)]
            adapters = [layer for layer in layers if isinstance(layer, LoraLayer)]
            name, ratio = "unet" if prefix == PREFIX else "textencoder 1 ", self._loraplus_ratios[prefix]
            if ratio is None:
                together = [parameter for adapter in adapters for parameter in (adapter.down, adapter.up)]
                groups.append(ParameterGroup(name=name, parameters=together, learning_rate=rate))
                continue
            downs, ups = [adapter.down for adapter in adapters], [adapter.up for adapter in adapters]
            groups.append(ParameterGroup(name=name, parameters=downs, learning_rate=rate))
            groups.append(ParameterGroup(name=f"{name} plus", parameters=ups, learning_rate=rate * ratio))
        return [group for group in groups if group.parameters and group.learning_rate]

    def pairs(self) -> Iterator[tuple[Linear, "LoraLayer"]]:
        """Each linear with its adapter."""
        for name, linear in self._targets.items():
            layer = self.layers[name]
            assert isinstance(layer, LoraLayer)
            yield linear, layer

    def detach(self) -> None:
        """Let the model's linears compute without."""
        for linear in self._targets.values():
            linear.adapter = None

    @torch.no_grad()
    def limit_norms(self, max_norm: float) -> tuple[int, float, float]:
        """Shrink `down` and `up` alike where the norm of what they add, |up down| alpha / dim, is above `max_norm`.

        How many were shrunk, and the mean and the largest norm after it.
        """
        found, shrunk = [], 0
        for layer in self.layers.values():
            assert isinstance(layer, LoraLayer)
            # |up down|^2 = sum of (up' up) * (down down'): two r x r matrices instead of one as large as the base's.
            products = (layer.up.t() @ layer.up).double() * (layer.down @ layer.down.t()).double()
            norm = products.sum().clamp(min=0).sqrt() * layer.scale
            shrink = (max_norm / norm.clamp(min=max_norm)).sqrt().float()
            layer.up.mul_(shrink)
            layer.down.mul_(shrink)
            shrunk += int(norm > max_norm)
            found.append(min(float(norm), max_norm))
        return shrunk, math.fsum(found) / len(found), max(found)

    @torch.no_grad()
    def average_gradient_norm(self) -> float | None:
        """The mean length of the rows of up d(down) + d(up) down, times alpha / dim, over all layers that learn.

        It is how sd-scripts estimates what a step changes; None before there are gradients.
        """
        means = []
        for layer in self.layers.values():
            assert isinstance(layer, LoraLayer)
            if layer.up.grad is None or layer.down.grad is None:
                continue
            # Row i of the sum is [up_i, d(up)_i] [d(down); down]: its length needs only the 2r x 2r Gram matrix.
            left = torch.cat([layer.up, layer.up.grad], dim=1).double()
            right = torch.cat([layer.down.grad, layer.down]).double()
            squares = ((left @ (right @ right.t())) * left).sum(dim=1)
            means.append(float(squares.clamp(min=0).sqrt().mean()) * layer.scale)
        return math.fsum(means) / len(means) if means else None

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
                hint=_unknown_hint(unknown[0]),
            )
        if missing := sorted(own.keys() - state.keys()):
            raise FluxgymError(
                f"{source}: {len(missing)} tensors are missing, the first is {missing[0]}.",
                hint="It does not adapt CLIP-L: add --network_train_unet_only."
                if missing[0].startswith(CLIP_PREFIX)
                else "Train from a LoRA of the same layers, or set train_blocks to what it has.",
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


def lora_targets(model: Flux) -> dict[str, Linear]:
    """The linears that `networks.lora_flux` adapts, by their names in a LoRA file: all those of the blocks."""
    return {
        PREFIX + path.replace(".", "_"): module
        for path, module in model.named_modules()
        if isinstance(module, Linear) and path.startswith(("double_blocks.", "single_blocks."))
    }


def clip_targets(clip: nn.Module) -> dict[str, Linear]:
    """The linears of a CLIP text model that `networks.lora_flux` adapts, by their names in a LoRA file: all in layers.

    Plain ones are replaced, in `clip` itself, by such as take an adapter; what they compute and hold stays the same.
    """
    targets = {}
    for path, module in list(clip.named_modules()):
        # transformers 5 dropped the outer `text_model.`, which the names in files keep
        inner = path.removeprefix("text_model.")
        if isinstance(module, nn.Linear) and inner.startswith("encoder.layers."):
            parent, _, name = path.rpartition(".")
            adaptable = module if isinstance(module, Linear) else _adaptable(module)
            setattr(clip.get_submodule(parent), name, adaptable)
            targets[f"{CLIP_PREFIX}text_model_{inner.replace('.', '_')}"] = adaptable
    return targets


def _adaptable(linear: nn.Linear) -> Linear:
    """A layer of ours with the weights of `linear`, which it shares."""
    with torch.device("meta"):
        ours = Linear(linear.in_features, linear.out_features, bias=linear.bias is not None)
    ours.weight, ours.bias = linear.weight, linear.bias
    return ours


def create_lora(
    model: Flux,
    *,
    clip: nn.Module | None = None,
    train_unet: bool = True,
    network_dim: int | None = None,
    network_alpha: float | None = 1.0,
    network_args: Mapping[str, str] | None = None,
    network_dropout: float | None = None,
    generator: torch.Generator | None = None,
) -> LoraNetwork:
    """Fresh adapters for `model`, and for `clip` where given; attached.

    As in sd-scripts the rank is 4 if None; an alpha of 0 or None is the rank. Without `train_unet` only `clip` has any.
    `network_args`: those of `network_args.HONOURED`, which choose among the transformer's layers only.
    FluxgymError on others, and where no layer is left to adapt.
    """
    arguments = read_network_arguments(network_args or {})
    arguments.check_blocks(double=model.geometry.depth, single=model.geometry.depth_single_blocks)
    dim = DEFAULT_DIM if network_dim is None else network_dim
    if dim < 1:
        raise FluxgymError(f"network_dim {dim} is no rank.", hint="Use 1 or more; 4 to 32 are usual.")
    targets = lora_targets(model) if train_unet else {}
    ranks = {name: rank for name in targets if (rank := arguments.rank(name, default=dim))}
    if clip is not None:
        of_clip = clip_targets(clip)
        targets |= of_clip
        ranks |= dict.fromkeys(of_clip, dim)
    if not ranks:
        raise FluxgymError("network_args leave no layer to train.", hint="Choose blocks, and ranks above 0.")
    layers = {
        name: LoraLayer(targets[name], network_dim=rank, network_alpha=network_alpha or rank, generator=generator)
        for name, rank in ranks.items()
    }
    dropout = DropoutShares(
        values=network_dropout or 0.0, ranks=arguments.rank_dropout, modules=arguments.module_dropout
    )
    return LoraNetwork(
        {name: targets[name] for name in ranks},
        layers,
        dropout=dropout,
        loraplus_ratio=arguments.loraplus_ratio,
        loraplus_text_encoder_ratio=arguments.loraplus_text_encoder_ratio,
    ).attach()


def lora_from_state(
    model: Flux,
    state: Mapping[str, Tensor],
    *,
    source: str,
    multiplier: float = 1.0,
    clip: nn.Module | None = None,
) -> LoraNetwork:
    """Adapters of the layers and ranks that `state` (a LoRA file's tensors) has, filled from it and attached.

    Raises FluxgymError unless every key is used; `source` names the file in messages.
    """
    targets = lora_targets(model) | ({} if clip is None else clip_targets(clip))
    names = {key.rpartition(".lora_down.")[0] for key in state if ".lora_down." in key}
    if strange := sorted(names - targets.keys()):
        raise FluxgymError(
            f"{source}: it adapts {strange[0]}, which is not trained here.", hint=_unknown_hint(strange[0])
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


def _unknown_hint(key: str) -> str:
    if key.startswith(CLIP_PREFIX):
        return "It also adapts CLIP-L: train that too, by leaving out --network_train_unet_only."
    return "It was made for other layers or another model: train from a LoRA of the same kind."
