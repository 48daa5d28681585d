"""LoRA files that become part of the base before the training: `--base_weights`."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from fluxgym_tui.trainer.checkpoint import open_lora
from fluxgym_tui.trainer.flux import Flux
from fluxgym_tui.trainer.linear import Linear
from fluxgym_tui.trainer.lora import CLIP_PREFIX, LoraLayer, lora_from_state
from fluxgym_tui.trainer.report import Reporter


def merge_base_weights(
    model: Flux, paths: Sequence[Path], *, multipliers: Sequence[float], clip: nn.Module | None, report: Reporter
) -> None:
    """Add what the LoRA files add to the weights of `model`, and of `clip` where it stays loaded.

    Multipliers that lack are 1. Where captions are cached CLIP-L has spoken before, as in sd-scripts: that a file also
    adapts it is then told. FluxgymError where a file is none of this model.
    """
    for number, path in enumerate(paths):
        multiplier = multipliers[number] if number < len(multipliers) else 1.0
        state = open_lora(path).tensors
        if clip is None and any(key.startswith(CLIP_PREFIX) for key in state):
            report.warning(
                "base_weights_clip",
                f"{path.name} also adapts CLIP-L, and that part is not used: captions come from caches.",
                fix="Leave out --cache_text_encoder_outputs_to_disk to use it.",
            )
            state = {key: tensor for key, tensor in state.items() if not key.startswith(CLIP_PREFIX)}
        _merge(model, state, source=path, multiplier=multiplier, clip=clip)
        report.say(f"merged {path} (times {multiplier:g})")


@torch.no_grad()
def _merge(model: Flux, state: dict[str, Tensor], *, source: Path, multiplier: float, clip: nn.Module | None) -> None:
    network = lora_from_state(model, state, source=str(source), clip=clip)
    for linear, layer in network.pairs():
        _add(linear, layer, multiplier)
    network.detach()


def _add(linear: Linear, layer: LoraLayer, multiplier: float) -> None:
    """weight + multiplier alpha / dim up down, in the weight's own precision and place."""
    weight = linear.weight
    change = (layer.up @ layer.down) * (multiplier * layer.scale)
    merged = (weight.float() + change.to(weight.device)).to(weight.dtype)
    # A new tensor: the old one may be the file itself, mapped.
    linear.weight = nn.Parameter(merged.pin_memory() if weight.is_pinned() else merged, requires_grad=False)
