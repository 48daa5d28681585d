"""The estimate of a GPU's memory counts what there is, and the recipes fit the cards they are named after."""

import math

import pytest
import torch
from torch import Tensor, nn

from fluxgym_tui.config.presets import preset_flags
from fluxgym_tui.trainer.blocks import FluxGeometry, rotary
from fluxgym_tui.trainer.flux import Flux
from fluxgym_tui.trainer.lora import create_lora, lora_targets
from fluxgym_tui.trainer.memory import GIB, KEPT_IN_BLOCK, FluxSizes, estimate_memory

pytestmark = pytest.mark.usefixtures("one_thread")


def test_weights_and_adapters_are_those_of_flux1() -> None:
    with torch.device("meta"):
        model = Flux(FluxGeometry())
    sizes = FluxSizes()
    matrices = {name: p.numel() for name, p in model.named_parameters() if p.ndim == 2}
    double = [number for name, number in matrices.items() if name.startswith("double_blocks.")]
    single = [number for name, number in matrices.items() if name.startswith("single_blocks.")]
    assert sum(double) == sizes.depth * sizes.double_block()
    assert sum(single) == sizes.depth_single_blocks * sizes.single_block()
    assert sum(matrices.values()) - sum(double) - sum(single) == sizes.outside()
    adapted = sum(linear.in_features + linear.out_features for linear in lora_targets(model).values())
    assert sizes.lora(16) == 16 * adapted
    everything = sum(parameter.numel() for parameter in model.parameters())
    assert estimate_memory(512 * 512).weights == pytest.approx(2 * everything, rel=1e-3)


@pytest.mark.parametrize("kind", ["double", "single"])
def test_a_block_keeps_no_more_than_is_said(kind: str) -> None:
    geometry = FluxGeometry(hidden_size=256, mlp_size=1024, depth=1, depth_single_blocks=1, axes_dim=(16, 24, 24))
    model = Flux(geometry).to(torch.bfloat16).requires_grad_(False)
    network = create_lora(model, network_dim=2)
    weights: list[nn.Parameter] = [*model.parameters(), *network.parameters()]
    counted = {parameter.untyped_storage().data_ptr() for parameter in weights}
    text, image = (torch.zeros(1, tokens, 256, dtype=torch.bfloat16, requires_grad=True) for tokens in (100, 300))
    vec = torch.zeros(1, 256, dtype=torch.bfloat16, requires_grad=True)
    rope = rotary(torch.zeros(1, 400, 3), geometry.axes_dim)
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in counted:
            kept[storage.data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        if kind == "double":
            result = model.double_blocks[0](image, text, vec, rope, None)
        else:
            result = model.single_blocks[0](torch.cat((text, image), dim=1), vec, rope, None)
    numbers = sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) / 2
    assert 0.7 * KEPT_IN_BLOCK < numbers / (400 * 256) < KEPT_IN_BLOCK
    del result


CARDS = ["80G", "48G", "40G", "24G", "20G", "16G", "12G", "10G", "8G"]


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("side_px", [512, 768, 1024])
def test_a_recipe_fits_its_card(card: str, side_px: int) -> None:
    recipe = preset_flags(card, backend="builtin", pixels=side_px**2)
    blocks_to_swap = recipe.get("blocks_to_swap", 0)
    assert isinstance(blocks_to_swap, int)
    dim = 4 if (card, side_px) == ("8G", 1024) else 16
    found = estimate_memory(
        side_px**2, fp8_base=bool(recipe.get("fp8_base")), blocks_to_swap=blocks_to_swap, network_dim=dim
    )
    assert found.total < 0.94 * int(card.removesuffix("G")) * GIB


def test_more_of_anything_takes_more() -> None:
    base = estimate_memory(512 * 512, fp8_base=True, blocks_to_swap=10).total
    assert estimate_memory(512 * 512, fp8_base=True, blocks_to_swap=9).total > base
    assert estimate_memory(512 * 512, fp8_base=False, blocks_to_swap=10).total > base
    assert estimate_memory(1024 * 512, fp8_base=True, blocks_to_swap=10).total > base
    assert estimate_memory(512 * 512, fp8_base=True, blocks_to_swap=10, network_dim=32).total > base
    assert estimate_memory(512 * 512, fp8_base=True, blocks_to_swap=10, batch_size=2).total > base
    flex = estimate_memory(512 * 512, sizes=FluxSizes(depth=8))
    assert math.isclose(flex.weights, 16.3e9, rel_tol=0.01), "the size of Flex.1-alpha's file"
