"""Files whose headers say what real model files' do, with as good as no weights in them."""

import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

_KEYS: Mapping[str, Mapping[str, Sequence[int]]] = {
    "flux": {
        "img_in.weight": (3072, 64),
        "txt_in.weight": (3072, 4096),
        "double_blocks.0.img_attn.qkv.weight": (1, 1),
    },
    "fill": {"img_in.weight": (3072, 384), "double_blocks.0.img_attn.qkv.weight": (1, 1)},
    "flux2": {
        "img_in.weight": (6144, 128),
        "double_blocks.0.img_attn.qkv.weight": (1, 1),
        "double_stream_modulation_img.lin.weight": (1, 1),
    },
    "scaled": {
        "img_in.weight": (3072, 64),
        "double_blocks.0.img_attn.qkv.weight": (1, 1),
        "scaled_fp8": (2,),
    },
    "chroma": {
        "img_in.weight": (3072, 64),
        "double_blocks.0.img_attn.qkv.weight": (1, 1),
        "distilled_guidance_layer.in_proj.weight": (1, 1),
    },
    "clip": {"text_model.encoder.layers.0.mlp.fc1.weight": (1, 1)},
    "t5": {"encoder.block.0.layer.0.SelfAttention.q.weight": (1, 1)},
    "ae": {"encoder.down.0.block.0.conv1.weight": (1, 1), "decoder.conv_in.weight": (1, 1)},
}


def model_bytes(kind: str) -> bytes:
    """A safetensors file of that kind (a key of the table above), its weights of one byte each."""
    header: dict[str, object] = {}
    offset = 0
    for name, shape in _KEYS[kind].items():
        size = 1
        for side in shape:
            size *= side
        header[name] = {"dtype": "U8", "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(offset)


def put_model(path: Path, kind: str) -> Path:
    """Write such a file, its weights a hole that takes no room."""
    data = model_bytes(kind)
    head = data.rstrip(b"\0")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(head)
        file.truncate(len(data))
    return path
