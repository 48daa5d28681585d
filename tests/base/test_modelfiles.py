"""What a safetensors file is, judged from its header."""

import json

import pytest

from fluxgym_tui.base.modelfiles import describe
from fluxgym_tui.base.safetensors import Header, TensorInfo


def _header(shapes: dict[str, tuple[int, ...]], metadata: dict[str, str] | None = None) -> Header:
    tensors = {name: TensorInfo(dtype="BF16", shape=shape, start=0, end=0) for name, shape in shapes.items()}
    return Header(metadata=metadata or {}, tensors=tensors, file_bytes=1000)


def test_a_lora_tells_ranks_modules_and_what_it_was_trained_on() -> None:
    shapes = {
        "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": (4, 64),
        "lora_unet_double_blocks_0_img_attn_qkv.lora_up.weight": (192, 4),
        "lora_unet_double_blocks_0_img_attn_qkv.alpha": (),
        "lora_unet_single_blocks_1_linear1.lora_down.weight": (4, 64),
        "lora_unet_single_blocks_1_linear2.lora_down.weight": (8, 64),
        "lora_te1_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": (4, 32),
    }
    tags = {"photos": {"a cat": 3, "hrld": 9}, "more": {"a cat": 1}}
    metadata = {
        "ss_network_alpha": "2.0",
        "ss_steps": "120",
        "ss_learning_rate": "None",
        "ss_tag_frequency": json.dumps(tags),
    }
    model = describe(_header(shapes, metadata))
    assert model.kind == "flux-lora"
    assert model.parameters == 4 * 64 + 192 * 4 + 1 + 4 * 64 + 8 * 64 + 4 * 32
    assert model.facts == {
        "network_dim": [4, 8],
        "network_alpha": "2.0",
        "modules": {"clip_l": 1, "double_blocks": 1, "single_blocks": 2},
        "steps": 120,
        "trained_words": ["hrld", "a cat"],
    }


def test_a_lora_of_diffusers_tells_the_same() -> None:
    shapes: dict[str, tuple[int, ...]] = {
        "transformer.transformer_blocks.0.attn.to_q.lora_A.weight": (4, 64),
        "transformer.transformer_blocks.0.attn.to_q.lora_B.weight": (64, 4),
        "transformer.single_transformer_blocks.0.proj_out.lora_A.weight": (4, 64),
        "text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_A.weight": (4, 32),
    }
    model = describe(_header(shapes, {"ss_steps": "12"}))
    assert model.kind == "flux-lora-diffusers"
    modules = {"clip_l": 1, "double_blocks": 1, "single_blocks": 1}
    assert model.facts == {"network_dim": [4], "modules": modules, "steps": 12}


@pytest.mark.parametrize("frequency", ["[]", "{", '{"photos": 3}', '{"photos": {"cat": "many"}}'])
def test_a_tag_frequency_of_another_form_is_no_fact(frequency: str) -> None:
    shapes: dict[str, tuple[int, ...]] = {"lora_unet_single_blocks_0_linear1.lora_down.weight": (4, 64)}
    model = describe(_header(shapes, {"ss_tag_frequency": frequency}))
    assert "trained_words" not in model.facts


@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
def test_a_flux_checkpoint_tells_its_geometry_under_either_prefix(prefix: str) -> None:
    shapes: dict[str, tuple[int, ...]] = {
        "img_in.weight": (3072, 64),
        "txt_in.weight": (3072, 4096),
        "vector_in.in_layer.weight": (3072, 768),
        "guidance_in.in_layer.weight": (3072, 256),
        "double_blocks.18.img_attn.qkv.weight": (9216, 3072),
        "single_blocks.37.linear1.weight": (21504, 3072),
    }
    model = describe(_header({prefix + name: shape for name, shape in shapes.items()}))
    assert model.kind == "flux"
    assert model.facts == {
        "double_blocks": 19,
        "single_blocks": 38,
        "hidden_size": 3072,
        "context_size": 4096,
        "vector_size": 768,
        "guidance": True,
        "fp8_scaled": False,
    }


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight"], "flux-lora-diffusers"),
        (["lora_unet_input_blocks_4_1_proj_in.lora_down.weight"], "sd-lora"),
        (["lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight"], "sd-lora"),
        (["blocks.0.attn.lora_down.weight"], "lora"),
        (["double_blocks.0.img_attn.qkv.weight", "distilled_guidance_layer.norms.0.scale"], "chroma"),
        (["x_embedder.weight", "single_transformer_blocks.0.proj_mlp.weight"], "flux-diffusers"),
        (["model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight"], "sd3"),
        (["model.diffusion_model.input_blocks.0.0.weight", "first_stage_model.encoder.conv_in.weight"], "sd"),
        (["encoder.down.0.block.0.conv1.weight", "decoder.conv_in.weight"], "autoencoder"),
        (["text_model.encoder.layers.0.mlp.fc1.weight"], "clip"),
        (["encoder.block.0.layer.0.SelfAttention.q.weight"], "t5"),
        (["weight"], "unknown"),
        ([], "unknown"),
    ],
)
def test_kinds_are_told_apart(names: list[str], kind: str) -> None:
    assert describe(_header(dict.fromkeys(names, (2, 2)))).kind == kind


def test_scaled_fp8_is_told() -> None:
    names = ["img_in.weight", "double_blocks.0.img_attn.qkv.weight", "double_blocks.0.img_attn.qkv.scale_weight"]
    assert describe(_header(dict.fromkeys(names, (2, 2)))).facts["fp8_scaled"] is True
