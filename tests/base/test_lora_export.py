"""An exported LoRA adds what the LoRA adds: the same products, under diffusers' names, with no number rounded."""

import json
import struct
from array import array
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.lora_export import export_diffusers
from fluxgym_tui.base.modelfiles import read_model_file

SIZE, MLP = 12, 20
# Layer -> inputs, outputs, and the names in diffusers with their rows.
LAYERS: dict[str, tuple[int, int, dict[str, int]]] = {
    "lora_unet_double_blocks_3_img_attn_qkv": (
        SIZE, 3 * SIZE, {f"transformer.transformer_blocks.3.attn.to_{part}": SIZE for part in "qkv"}
    ),
    "lora_unet_double_blocks_3_txt_mlp_2": (
        MLP, SIZE, {"transformer.transformer_blocks.3.ff_context.net.2": SIZE}
    ),
    "lora_unet_single_blocks_11_linear1": (
        SIZE,
        3 * SIZE + MLP,
        {f"transformer.single_transformer_blocks.11.attn.to_{part}": SIZE for part in "qkv"}
        | {"transformer.single_transformer_blocks.11.proj_mlp": MLP},
    ),
    "lora_te1_text_model_encoder_layers_5_self_attn_out_proj": (
        8, 8, {"text_encoder.text_model.encoder.layers.5.self_attn.out_proj": 8}
    ),
}  # fmt: skip


def lora(
    path: Path, *, ranks: tuple[int, ...] = (4, 4, 4, 4), alpha: float | None = 1.0, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """A LoRA of `LAYERS` with random numbers; its tensors as stored."""
    generator = torch.Generator().manual_seed(1)
    tensors = {}
    for (name, (inside, outside, _)), rank in zip(LAYERS.items(), ranks, strict=True):
        tensors[f"{name}.lora_down.weight"] = torch.randn(rank, inside, generator=generator).to(dtype)
        tensors[f"{name}.lora_up.weight"] = torch.randn(outside, rank, generator=generator).to(dtype)
        if alpha is not None:
            tensors[f"{name}.alpha"] = torch.tensor(alpha).to(dtype)
    save_file(tensors, path, metadata={"ss_steps": "12", "sshs_model_hash": "x", "modelspec.title": "cat"})
    return tensors


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("alpha", "exact"), [(1.0, True), (4.0, True), (8.0, True), (None, True), (3.0, False)])
@pytest.mark.parametrize("ranks", [(4, 4, 4, 4), (4, 2, 1, 4)])
def test_every_layer_adds_what_it_added(
    tmp_path: Path, dtype: torch.dtype, alpha: float | None, exact: bool, ranks: tuple[int, ...]
) -> None:
    source = lora(tmp_path / "ours.safetensors", ranks=ranks, alpha=alpha, dtype=dtype)
    done = export_diffusers(tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors")
    found = load_file(done.path)
    names = {name for _, _, targets in LAYERS.values() for name in targets}
    assert found.keys() == {f"{name}.lora_{part}.weight" for name in names for part in "AB"}
    assert (done.layers, done.rank) == (len(names), 4)
    # scales of the small ranks are powers of two as well, where alpha is
    assert {tensor.dtype for tensor in found.values()} == {dtype if exact else torch.float32}
    for (layer, (inside, _, targets)), rank in zip(LAYERS.items(), ranks, strict=True):
        x = torch.randn(inside, generator=torch.Generator().manual_seed(2)).double()
        down, up = (source[f"{layer}.lora_{part}.weight"].double() for part in ("down", "up"))
        expected = up @ (down @ x) * (1.0 if alpha is None else alpha / rank)
        parts = []
        for name, rows in targets.items():
            a, b = found[f"{name}.lora_A.weight"].double(), found[f"{name}.lora_B.weight"].double()
            assert (a.shape, b.shape) == ((4, inside), (rows, 4))
            parts.append(b @ (a @ x))
        torch.testing.assert_close(
            torch.cat(parts), expected, rtol=1e-12 if exact else 1e-6, atol=1e-12 if exact else 1e-5
        )


def test_what_the_training_said_stays_and_hashes_go(tmp_path: Path) -> None:
    lora(tmp_path / "ours.safetensors")
    path = export_diffusers(tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors").path
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"ss_steps": "12", "modelspec.title": "cat", "format": "pt"}
    assert read_model_file(path).kind == "flux-lora-diffusers"
    raw = path.read_bytes()
    assert struct.unpack("<Q", raw[:8])[0] % 8 == 0


def test_sixteen_bits_overflow_to_infinity_as_they_would(tmp_path: Path) -> None:
    name = "lora_unet_double_blocks_0_img_mlp_2"
    values = torch.tensor([[60000.0], [-60000.0], [2.0]], dtype=torch.float16)
    tensors = {
        f"{name}.lora_down.weight": torch.ones(1, 3, dtype=torch.float16),
        f"{name}.lora_up.weight": values,
        f"{name}.alpha": torch.tensor(2.0, dtype=torch.float16),
    }
    save_file(tensors, tmp_path / "a.safetensors")
    found = load_file(export_diffusers(tmp_path / "a.safetensors", tmp_path / "b.safetensors").path)
    assert found["transformer.transformer_blocks.0.ff.net.2.lora_B.weight"].flatten().tolist() == [
        float("inf"), float("-inf"), 4.0
    ]  # fmt: skip


def refuse(tmp_path: Path, tensors: dict[str, Tensor], says: str) -> None:
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(FluxgymError, match=says):
        export_diffusers(tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert not (tmp_path / "b.safetensors").exists()


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    good = lora(tmp_path / "ours.safetensors")
    qkv = "lora_unet_double_blocks_3_img_attn_qkv"
    exported = export_diffusers(tmp_path / "ours.safetensors", tmp_path / "theirs.safetensors").path
    refuse(tmp_path, load_file(exported), "diffusers' layout already")
    refuse(tmp_path, {"lora_unet_input_blocks_1.lora_down.weight": torch.ones(1, 1)}, "Stable Diffusion")
    t5 = {f"lora_te3_encoder_block_0.{part}.weight": torch.ones(1, 1) for part in ("lora_down", "lora_up")}
    refuse(tmp_path, good | t5, "no place for lora_te3_encoder_block_0")
    strange = {f"lora_unet_double_blocks_0_x.{part}.weight": torch.ones(1, 1) for part in ("lora_down", "lora_up")}
    refuse(tmp_path, good | strange, "no place for lora_unet_double_blocks_0_x")
    refuse(tmp_path, good | {f"{qkv}.dora_scale": torch.ones(1)}, "dora_scale is not known")
    refuse(tmp_path, {k: v for k, v in good.items() if k != f"{qkv}.lora_up.weight"}, "not both of its matrices")
    refuse(tmp_path, good | {f"{qkv}.lora_up.weight": torch.ones(36, 5)}, "do not fit together")
    refuse(tmp_path, good | {f"{qkv}.lora_up.weight": torch.ones(37, 4)}, "37 rows, which are not queries")
    refuse(tmp_path, good | {f"{qkv}.lora_up.weight": torch.ones(36, 4, dtype=torch.float64)}, "stored as F64")


def test_names_beyond_ascii_come_through(tmp_path: Path) -> None:
    name = "lora_unet_double_blocks_0_img_mlp_2"
    header = {
        "__metadata__": {"ss_output_name": "caf\u00e9"},
        f"{name}.lora_down.weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [0, 4]},
        f"{name}.lora_up.weight": {"dtype": "F32", "shape": [1, 1], "data_offsets": [4, 8]},
    }
    raw = json.dumps(header, ensure_ascii=False).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(raw)) + raw + array("f", [2.0, 3.0]).tobytes())
    path = export_diffusers(tmp_path / "a.safetensors", tmp_path / "b.safetensors").path
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["ss_output_name"] == "caf\u00e9"
