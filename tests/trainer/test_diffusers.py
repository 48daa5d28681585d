"""A LoRA of ours, at FLUX.1's true widths, is read whole by diffusers' own conversion of sd-scripts' format."""

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxTransformer2DModel
from diffusers.loaders.lora_pipeline import FluxLoraLoaderMixin
from torch import Tensor

from fluxgym_tui.trainer.checkpoint import open_lora, save_lora
from fluxgym_tui.trainer.flux import Flux, FluxGeometry
from fluxgym_tui.trainer.lora import LoraNetwork, create_lora

RANK, ALPHA = 6, 3.0
QUERIES_KEYS_VALUES = ("to_q", "to_k", "to_v")
ADDED = ("add_q_proj", "add_k_proj", "add_v_proj")

# Our layer -> the layers of diffusers that it becomes, in the order of its output's rows.
DOUBLE = {
    "img_mod_lin": ["norm1.linear"],
    "img_attn_qkv": [f"attn.{name}" for name in QUERIES_KEYS_VALUES],
    "img_attn_proj": ["attn.to_out.0"],
    "img_mlp_0": ["ff.net.0.proj"],
    "img_mlp_2": ["ff.net.2"],
    "txt_mod_lin": ["norm1_context.linear"],
    "txt_attn_qkv": [f"attn.{name}" for name in ADDED],
    "txt_attn_proj": ["attn.to_add_out"],
    "txt_mlp_0": ["ff_context.net.0.proj"],
    "txt_mlp_2": ["ff_context.net.2"],
}
SINGLE = {
    "linear1": [*(f"attn.{name}" for name in QUERIES_KEYS_VALUES), "proj_mlp"],
    "linear2": ["proj_out"],
    "modulation_lin": ["norm.linear"],
}
PLACES = {
    f"lora_unet_double_blocks_0_{ours}": [f"transformer_blocks.0.{name}" for name in theirs]
    for ours, theirs in DOUBLE.items()
} | {
    f"lora_unet_single_blocks_0_{ours}": [f"single_transformer_blocks.0.{name}" for name in theirs]
    for ours, theirs in SINGLE.items()
}


def random_network() -> LoraNetwork:
    """Adapters of FLUX.1's widths; the base itself, a gigabyte of it, is not needed and has no memory."""
    with torch.device("meta"):
        model = Flux(FluxGeometry(depth=1, depth_single_blocks=1))
    network = create_lora(model, network_dim=RANK, network_alpha=ALPHA)
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(1)
    state = network.lora_state()
    network.load_lora_state(
        {
            key: torch.tensor(ALPHA) if key.endswith("alpha") else torch.randn(tensor.shape, generator=generator)
            for key, tensor in state.items()
        },
        source="random",
    )
    return network


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of the file, and what diffusers makes of the file."""
    path: Path = tmp_path_factory.mktemp("lora") / "random.safetensors"
    save_lora(path, random_network(), metadata={"ss_network_module": "networks.lora_flux"}, save_precision="float")
    theirs = FluxLoraLoaderMixin.lora_state_dict(str(path))
    return open_lora(path).tensors, {key.removeprefix("transformer."): value for key, value in theirs.items()}


def test_every_key_is_used_and_has_a_place_in_diffusers_flux(
    converted: tuple[dict[str, Tensor], dict[str, Tensor]],
) -> None:
    ours, theirs = converted
    assert {key.partition(".")[0] for key in ours} == PLACES.keys()
    names = {name for places in PLACES.values() for name in places}
    assert theirs.keys() == {f"{name}.{part}.weight" for name in names for part in ("lora_A", "lora_B")}
    with torch.device("meta"):
        build: Any = FluxTransformer2DModel  # diffusers has no types
        model = build(num_layers=1, num_single_layers=1, guidance_embeds=True)
    for name in names:
        weight = model.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        down, up = theirs[f"{name}.lora_A.weight"], theirs[f"{name}.lora_B.weight"]
        assert (up.shape[0], down.shape[1]) == tuple(weight.shape), name
        assert up.shape[1] == down.shape[0]


def test_what_the_layers_add_is_the_same(converted: tuple[dict[str, Tensor], dict[str, Tensor]]) -> None:
    ours, theirs = converted
    for layer, names in PLACES.items():
        down, up = ours[f"{layer}.lora_down.weight"], ours[f"{layer}.lora_up.weight"]
        x = torch.randn(down.shape[1], generator=torch.Generator().manual_seed(2))
        added = torch.cat([theirs[f"{name}.lora_B.weight"] @ (theirs[f"{name}.lora_A.weight"] @ x) for name in names])
        torch.testing.assert_close(added, up @ (down @ x) * (ALPHA / RANK), rtol=1e-4, atol=1e-3)


def test_clip_layers_are_read_too(tmp_path: Path) -> None:
    from transformers import CLIPTextConfig, CLIPTextModel  # slow to import

    with torch.device("meta"):
        clip = CLIPTextModel(
            CLIPTextConfig(hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12)
        )
        model = Flux(FluxGeometry(depth=1, depth_single_blocks=1))
    network = create_lora(model, clip=clip, network_dim=RANK, network_alpha=ALPHA)
    network.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(1)
    filled = {
        key: torch.tensor(ALPHA) if key.endswith("alpha") else torch.randn(tensor.shape, generator=generator)
        for key, tensor in network.lora_state().items()
    }
    network.load_lora_state(filled, source="random")
    path = tmp_path / "both.safetensors"
    save_lora(path, network, metadata={"ss_network_module": "networks.lora_flux"}, save_precision="float")
    theirs = FluxLoraLoaderMixin.lora_state_dict(str(path))
    prefix = "text_encoder.text_model.encoder.layers."
    of_clip = {key for key in theirs if key.startswith("text_encoder.")}
    assert len(of_clip) == 12 * 6 * 2  # down and up of four projections of attention and two of the MLP
    assert all(key.startswith(prefix) for key in of_clip)
    ours, name = "lora_te1_text_model_encoder_layers_3_self_attn_out_proj", f"{prefix}3.self_attn.to_out_lora"
    down, up = theirs[f"{name}.down.weight"], theirs[f"{name}.up.weight"]
    x = torch.randn(768, generator=generator)
    expected = filled[f"{ours}.lora_up.weight"] @ (filled[f"{ours}.lora_down.weight"] @ x) * (ALPHA / RANK)
    torch.testing.assert_close(up @ (down @ x), expected, rtol=1e-4, atol=1e-3)
