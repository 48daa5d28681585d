"""Files that look like FLUX.1's models by their headers; of the numbers they have nothing but holes."""

import json
import math
from pathlib import Path

from fluxgym_tui.config.models import ModelFiles

_FLUX = {"double_blocks.{}.img_attn.qkv.weight": [9216, 3072], "single_blocks.{}.linear1.weight": [21504, 3072]}
_CLIP_L = {"text_model.encoder.layers.0.layer_norm1.weight": [8]}
_T5 = {"encoder.block.0.layer.0.SelfAttention.q.weight": [8, 8]}
_AE = {"encoder.down.0.block.0.conv1.weight": [8], "decoder.conv_in.weight": [8]}
_BYTES = {"BF16": 2, "F32": 4}


def write_model(path: Path, tensors: dict[str, list[int]], *, dtype: str = "BF16") -> Path:
    """A file of these tensors."""
    entries: dict[str, dict[str, object]] = {}
    at = 0
    for name, shape in tensors.items():
        end = at + math.prod(shape) * _BYTES.get(dtype, 1)
        entries[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, end]}
        at = end
    header = json.dumps(entries).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(len(header).to_bytes(8, "little") + header)
        file.truncate(8 + len(header) + at)  # a sparse file: its size is right, and takes no room
    return path


def write_flux(path: Path, *, double: int = 19, single: int = 38, dtype: str = "BF16", and_: str | None = None) -> Path:
    """A file with the tensors that give FLUX away, and one more."""
    tensors = {"img_in.weight": [3072, 64]}
    if and_ is not None:
        tensors[and_] = [2]
    for key, number in zip(_FLUX, (double, single), strict=True):
        tensors |= {key.format(index): _FLUX[key] for index in range(number)}
    return write_model(path, tensors, dtype=dtype)


def write_models(folder: Path) -> ModelFiles:
    """The files of FLUX.1-dev, where fluxgym has them, and empty tokenizers."""
    for file in ("openai_clip-vit-large-patch14/vocab.json", "google_t5-v1_1-xxl/spiece.model"):
        path = folder / "tokenizers" / file
        path.parent.mkdir(parents=True)
        path.touch()
    return ModelFiles(
        transformer=write_flux(folder / "unet/flux1-dev.sft"),
        clip_l=write_model(folder / "clip/clip_l.safetensors", _CLIP_L),
        t5xxl=write_model(folder / "clip/t5xxl_fp16.safetensors", _T5),
        ae=write_model(folder / "vae/ae.sft", _AE),
    )
