"""The tiny base as diffusers' own FluxPipeline: the same weights under diffusers' names."""

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from safetensors.torch import load_file
from torch import Tensor

from fluxgym_tui.trainer.autoencoder import SCALE_FACTOR, SHIFT_FACTOR, Autoencoder
from fluxgym_tui.trainer.blocks import FluxGeometry
from fluxgym_tui.trainer.flux import Flux
from fluxgym_tui.trainer.text import TextEncoders

# diffusers ships no types.
_transformer: Any = FluxTransformer2DModel
_autoencoder: Any = AutoencoderKL
_pipeline: Any = FluxPipeline
_scheduler: Any = FlowMatchEulerDiscreteScheduler
_rename: Any = convert_ldm_vae_checkpoint


def pipeline(model: Flux, *, ae: Path, autoencoder: Autoencoder, encoders: TextEncoders) -> Any:
    """A FluxPipeline that holds what these models hold; `ae` is the file that `autoencoder` was loaded from."""
    built = _pipeline(
        transformer=_converted_transformer(model),
        vae=_converted_autoencoder(ae, autoencoder),
        text_encoder=encoders.clip,
        tokenizer=encoders.clip_tokenizer,
        text_encoder_2=encoders.t5,
        tokenizer_2=encoders.t5_tokenizer,
        scheduler=_scheduler(
            use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15, base_image_seq_len=256, max_image_seq_len=4096
        ),
    )
    built.set_progress_bar_config(disable=True)
    return built


def empty_transformer(geometry: FluxGeometry) -> Any:
    """A transformer of diffusers of that geometry."""
    assert geometry.mlp_size == 4 * geometry.hidden_size, "diffusers knows no other"
    return _transformer(
        num_layers=geometry.depth,
        num_single_layers=geometry.depth_single_blocks,
        attention_head_dim=geometry.head_dim,
        num_attention_heads=geometry.num_heads,
        joint_attention_dim=geometry.context_in_dim,
        pooled_projection_dim=geometry.vec_in_dim,
        guidance_embeds=geometry.guidance_embed,
        axes_dims_rope=geometry.axes_dim,
    )


_OUTSIDE = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "final_layer.linear": "proj_out",
}
_DOUBLE = {
    "img_mod.lin": ["norm1.linear"],
    "txt_mod.lin": ["norm1_context.linear"],
    "img_attn.qkv": ["attn.to_q", "attn.to_k", "attn.to_v"],
    "txt_attn.qkv": ["attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"],
    "img_attn.proj": ["attn.to_out.0"],
    "txt_attn.proj": ["attn.to_add_out"],
    "img_attn.norm.query_norm": ["attn.norm_q"],
    "img_attn.norm.key_norm": ["attn.norm_k"],
    "txt_attn.norm.query_norm": ["attn.norm_added_q"],
    "txt_attn.norm.key_norm": ["attn.norm_added_k"],
    "img_mlp.0": ["ff.net.0.proj"],
    "img_mlp.2": ["ff.net.2"],
    "txt_mlp.0": ["ff_context.net.0.proj"],
    "txt_mlp.2": ["ff_context.net.2"],
}
_SINGLE = {
    "linear1": ["attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"],
    "linear2": ["proj_out"],
    "modulation.lin": ["norm.linear"],
    "norm.query_norm": ["attn.norm_q"],
    "norm.key_norm": ["attn.norm_k"],
}


def _converted_transformer(model: Flux) -> Any:
    weights: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        layer, _, kind = name.rpartition(".")
        kind = "weight" if kind == "scale" else kind
        if layer == "final_layer.adaLN_modulation.1":
            shift, scale = tensor.chunk(2)
            weights[f"norm_out.linear.{kind}"] = torch.cat((scale, shift))
        elif layer in _OUTSIDE:
            weights[f"{_OUTSIDE[layer]}.{kind}"] = tensor
        else:
            blocks, number, inner = layer.split(".", 2)
            single = blocks == "single_blocks"
            names = (_SINGLE if single else _DOUBLE)[inner]
            size = model.geometry.hidden_size
            rows = [size, size, size, len(tensor) - 3 * size][: len(names)] if len(names) > 1 else [len(tensor)]
            for part, its_rows in zip(names, tensor.split(rows), strict=True):
                weights[f"{'single_' if single else ''}transformer_blocks.{number}.{part}.{kind}"] = its_rows
    converted = empty_transformer(model.geometry)
    converted.load_state_dict(weights)
    return converted.eval()


def _converted_autoencoder(path: Path, autoencoder: Autoencoder) -> Any:
    geometry = autoencoder.geometry
    levels = len(geometry.level_channels)
    build = {
        "in_channels": geometry.image_channels,
        "out_channels": geometry.image_channels,
        "down_block_types": ("DownEncoderBlock2D",) * levels,
        "up_block_types": ("UpDecoderBlock2D",) * levels,
        "block_out_channels": geometry.level_channels,
        "layers_per_block": geometry.num_res_blocks,
        "latent_channels": geometry.z_channels,
        "norm_num_groups": geometry.norm_groups,
        "scaling_factor": SCALE_FACTOR,
        "shift_factor": SHIFT_FACTOR,
        "use_quant_conv": False,
        "use_post_quant_conv": False,
    }
    converted = _autoencoder(**build)
    weights = {name: tensor.float() for name, tensor in load_file(path).items()}
    converted.load_state_dict(_rename(weights, build))
    return converted.eval()
