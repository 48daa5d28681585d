"""What is no FLUX.1 transformer to train on is refused by its name, from the header alone."""

import json
import struct
from pathlib import Path

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.flux1 import check_flux1
from fluxgym_tui.base.safetensors import read_header

Shapes = dict[str, tuple[int, ...]]

FLUX: Shapes = {
    "img_in.weight": (64, 64),
    "txt_in.weight": (64, 48),
    "double_blocks.0.img_attn.qkv.weight": (192, 64),
    "single_blocks.0.linear1.weight": (448, 64),
    "final_layer.linear.weight": (64, 64),
}


def write(path: Path, shapes: Shapes, *, dtype: str = "BF16", metadata: dict[str, str] | None = None) -> Path:
    """A safetensors file of zeros, sparse on disk: its header is all that is looked at."""
    bits = {"F32": 32, "BF16": 16, "F16": 16, "F8_E4M3": 8, "F8_E5M2": 8, "U8": 8, "I8": 8}[dtype]
    header: dict[str, object] = {} if metadata is None else {"__metadata__": metadata}
    offset = 0
    for name, shape in shapes.items():
        size = bits // 8
        for side in shape:
            size *= side
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(raw)) + raw)
        file.truncate(8 + len(raw) + offset)
    return path


@pytest.mark.parametrize("dtype", ["F32", "BF16", "F16", "F8_E4M3", "F8_E5M2"])
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model."])
@pytest.mark.parametrize("name", ["flux1-dev.safetensors", "flux1-dev.sft"])
def test_flux1_passes_in_every_plain_precision(tmp_path: Path, dtype: str, prefix: str, name: str) -> None:
    path = write(tmp_path / name, {prefix + key: shape for key, shape in FLUX.items()}, dtype=dtype)
    found = check_flux1(path)
    assert (found.kind, found.facts["hidden_size"], set(found.dtypes)) == ("flux", 64, {dtype})


@pytest.mark.parametrize(
    ("shapes", "says", "hint"),
    [
        ({"lora_unet_double_blocks_0_img_mlp_0.lora_down.weight": (4, 64)}, "FLUX LoRA", "--network_weights"),
        ({"transformer.transformer_blocks.0.attn.to_q.lora_A.weight": (4, 64)}, "FLUX LoRA, diffusers'", "one file"),
        ({"lora_unet_double_blocks_0_img_attn_qkv.lokr_w1": (4, 4)}, "LyCORIS", "one file"),
        ({"model.diffusion_model.input_blocks.0.0.weight": (4, 4), "conditioner.embedders.0.x": (4,)}, "SDXL", ""),
        ({"down_blocks.0.resnets.0.conv1.weight": (4, 4), "add_embedding.linear_1.weight": (4, 4)}, "SDXL", ""),
        ({"model.diffusion_model.input_blocks.0.0.weight": (4, 4)}, "Stable Diffusion checkpoint", "one file"),
        ({"model.diffusion_model.joint_blocks.0.x": (4, 4)}, "Stable Diffusion 3", "one file"),
        (FLUX | {"distilled_guidance_layer.in_proj.bias": (4,)}, "Chroma", "kohya backend"),
        (FLUX | {"double_stream_modulation_img.lin.weight": (4, 4)}, "FLUX.2", "neither backend"),
        ({"single_transformer_blocks.0.proj_mlp.bias": (4,), "x_embedder.bias": (4,)}, "diffusers' layout", "one file"),
        ({"transformer_blocks.3.attn.add_q_proj.weight": (4, 4)}, "part of a FLUX checkpoint", "one file"),
        (FLUX | {"controlnet_blocks.0.weight": (4, 4)}, "FLUX ControlNet", "one file"),
        ({"text_model.encoder.layers.0.mlp.fc1.weight": (4, 4)}, "CLIP text encoder", "one file"),
        ({"encoder.block.0.layer.0.SelfAttention.q.weight": (4, 4)}, "T5 text encoder", "one file"),
        ({"weight": (4, 4)}, "a kind not known", "one file"),
        (FLUX | {"double_blocks.0.img_attn.qkv.scale_weight": (1,)}, "fp8_scaled", "bf16 file"),
        (FLUX | {"double_blocks.0.img_attn.qkv.weight_scale": (1,)}, "fp8_scaled", "bf16 file"),
        (FLUX | {"scaled_fp8": (0,)}, "fp8_scaled", "bf16 file"),
        (FLUX | {"double_blocks.0.img_attn.qkv.comfy_quant": (9,)}, "fp8_scaled", "bf16 file"),
        (
            FLUX | {"text_encoders.clip_l.logit_scale": (1,)},
            r"a full checkpoint, with text encoders \(CLIP, T5\)",
            "own file",
        ),
        (FLUX | {"vae.decoder.conv_in.bias": (4,)}, r"a full checkpoint, with text encoders \(CLIP, T5\)", "own file"),
        (FLUX | {"img_in.weight": (64, 384)}, r"384 input channels \(Fill\)", "FLUX.1-dev"),
        (FLUX | {"img_in.weight": (64, 128)}, r"128 input channels \(Canny or Depth\)", "FLUX.1-dev"),
        (FLUX | {"img_in.weight": (64, 196)}, r"196 input channels \(Fill, Canny or Depth\)", "FLUX.1-dev"),
    ],
)
def test_other_kinds_are_refused_by_name(tmp_path: Path, shapes: Shapes, says: str, hint: str) -> None:
    path = write(tmp_path / "other.safetensors", shapes)
    with pytest.raises(FluxgymError, match=says) as caught:
        check_flux1(path)
    assert str(path) in caught.value.message
    assert caught.value.hint is not None
    assert hint in caught.value.hint


def test_kontext_is_told_by_its_name_or_its_makers(tmp_path: Path) -> None:
    named = write(tmp_path / "flux1-Kontext-dev.safetensors", FLUX)
    with pytest.raises(FluxgymError, match="Kontext edits"):
        check_flux1(named)
    said = write(tmp_path / "a.safetensors", FLUX, metadata={"modelspec.title": "FLUX.1 Kontext [dev]"})
    with pytest.raises(FluxgymError, match="Kontext edits"):
        check_flux1(said)
    folder = tmp_path / "kontext"
    folder.mkdir()
    assert check_flux1(write(folder / "flux1-dev.safetensors", FLUX)).kind == "flux", "the folder says nothing"


@pytest.mark.parametrize("dtype", ["U8", "I8"])
def test_quantised_weights_are_refused(tmp_path: Path, dtype: str) -> None:
    path = write(tmp_path / "flux1-dev-nf4.safetensors", FLUX, dtype=dtype)
    with pytest.raises(FluxgymError, match=rf"stored as {dtype}: this checkpoint is quantised"):
        check_flux1(path)


def test_a_truncated_file_is_told(tmp_path: Path) -> None:
    path = write(tmp_path / "flux1-dev.safetensors", FLUX)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 1)
    with pytest.raises(FluxgymError, match="incomplete"):
        check_flux1(path)


@pytest.mark.parametrize(
    ("begins", "says"),
    [
        (b"GGUF\x03\0\0\0", "GGUF"),
        (b"PK\x03\x04\x14\0\0\0", "pickle of PyTorch"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"<!DOCTYPE html>", "web page"),
    ],
)
def test_files_of_other_formats_are_named(tmp_path: Path, begins: bytes, says: str) -> None:
    path = tmp_path / "flux1-dev.safetensors"
    path.write_bytes(begins + b"\0" * 100)
    with pytest.raises(FluxgymError, match=says):
        read_header(path)


@pytest.mark.parametrize(("inside", "says"), [("model_index.json", "diffusers' layout"), ("x.txt", "is a folder")])
def test_a_folder_is_no_file(tmp_path: Path, inside: str, says: str) -> None:
    (tmp_path / inside).write_bytes(b"{}")
    with pytest.raises(FluxgymError, match=says):
        check_flux1(tmp_path)
