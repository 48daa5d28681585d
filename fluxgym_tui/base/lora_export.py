"""A FLUX LoRA of kohya's layout under the names that diffusers and PEFT use. Any model's sizes; the numbers stay.

In PEFT a layer adds lora_B(lora_A(x)), so alpha / dim is multiplied into lora_B. Where BFL's layout has one linear for
queries, keys and values (and for a single block's MLP), diffusers has several: they share lora_A, and each has its rows
of lora_B. PEFT has one scale for all, so layers of a smaller rank are filled up with zeros.
"""

import json
import math
import re
import struct
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import write_atomic
from fluxgym_tui.base.modelfiles import describe
from fluxgym_tui.base.safetensors import DTYPE_BITS, Header, TensorInfo, read_header

_DOUBLE = {
    "img_mod_lin": ("norm1.linear",),
    "img_attn_qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "img_attn_proj": ("attn.to_out.0",),
    "img_mlp_0": ("ff.net.0.proj",),
    "img_mlp_2": ("ff.net.2",),
    "txt_mod_lin": ("norm1_context.linear",),
    "txt_attn_qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "txt_attn_proj": ("attn.to_add_out",),
    "txt_mlp_0": ("ff_context.net.0.proj",),
    "txt_mlp_2": ("ff_context.net.2",),
}
_SINGLE = {
    "linear1": ("attn.to_q", "attn.to_k", "attn.to_v", "proj_mlp"),
    "linear2": ("proj_out",),
    "modulation_lin": ("norm.linear",),
}
_CLIP = re.compile(r"lora_te1_text_model_encoder_layers_(\d+)_(self_attn|mlp)_(q_proj|k_proj|v_proj|out_proj|fc1|fc2)")
_BLOCK = re.compile(r"lora_unet_(double|single)_blocks_(\d+)_(\w+)")
_PARTS = ("lora_down.weight", "lora_up.weight", "alpha")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedLora:
    """What was written: layers by diffusers' count, their common rank, what their numbers are stored as."""

    path: Path
    layers: int
    rank: int
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One layer of the file: where its matrices are, and what it becomes."""

    name: str
    down: TensorInfo
    up: TensorInfo
    alpha: float
    targets: tuple[tuple[str, int], ...]  # name and rows of each, in the order of the rows

    @property
    def scale(self) -> float:
        return self.alpha / self.down.shape[0]


def export_diffusers(source: Path, destination: Path) -> ExportedLora:
    """Write the LoRA `source` to `destination` as diffusers' `load_lora_weights` takes it.

    The numbers are stored as they were, or in F32 where a scale that is no power of two would round them.

    Raises:
        FluxgymError: `source` is no whole FLUX LoRA in kohya's layout, or has layers that diffusers has no place for.
        OSError: `destination` cannot be written; what was there is as before.
    """
    header = read_header(source)
    _check_kind(source, header)
    try:
        data = memoryview(source.read_bytes())
    except OSError as error:
        raise FluxgymError(f"cannot read {source}: {error.strerror}", hint="Check its permissions.") from error
    layers = list(_layers(source, header, data))
    rank = max(layer.down.shape[0] for layer in layers)
    stored = {tensor.dtype for layer in layers for tensor in (layer.down, layer.up)}
    exact = len(stored) == 1 and all(math.frexp(abs(layer.scale))[0] == 0.5 for layer in layers)
    dtype = stored.pop() if exact else "F32"
    tensors: dict[str, tuple[tuple[int, int], bytes]] = {}
    for layer in layers:
        down = _widen(_numbers(data, layer.down, scale=1.0, dtype=dtype), layer.down.shape[0], rank, rows=1)
        rows = layer.up.shape[0]
        up = _widen(_numbers(data, layer.up, scale=layer.scale, dtype=dtype), layer.up.shape[1], rank, rows=rows)
        row_bytes, start = len(up) // rows, 0
        for name, count in layer.targets:
            tensors[f"{name}.lora_A.weight"] = ((rank, layer.down.shape[1]), down)
            tensors[f"{name}.lora_B.weight"] = ((count, rank), up[start * row_bytes : (start + count) * row_bytes])
            start += count
    kept = {key: value for key, value in header.metadata.items() if not key.startswith(("sshs_", "modelspec.hash"))}
    write_atomic(destination, _safetensors(tensors, dtype=dtype, metadata=kept | {"format": "pt"}), durable=True)
    return ExportedLora(path=destination, layers=len(tensors) // 2, rank=rank, dtype=dtype)


def _check_kind(source: Path, header: Header) -> None:
    found = describe(header)
    if found.kind == "flux-lora-diffusers":
        raise FluxgymError(f"{source} is in diffusers' layout already.", hint="Use it as it is.")
    if found.kind != "flux-lora":
        raise FluxgymError(
            f"{source} is no FLUX LoRA in kohya's layout: {found.title}.",
            hint="Give the .safetensors that a training left in outputs/<name>/.",
        )


def _layers(source: Path, header: Header, data: memoryview) -> Iterator[_Layer]:
    """Every layer of the file, checked, with what it becomes."""
    tensors = header.tensors
    for name in dict.fromkeys(key.partition(".")[0] for key in tensors):
        down, up, alpha = (tensors.get(f"{name}.{part}") for part in _PARTS)
        if down is None or up is None:
            raise _broken(source, f"{name} has not both of its matrices")
        if unknown := [key for key in tensors if key.startswith(f"{name}.") and key.partition(".")[2] not in _PARTS]:
            raise _broken(source, f"{unknown[0]} is not known")
        if len(down.shape) != 2 or len(up.shape) != 2 or down.shape[0] != up.shape[1] or not down.shape[0]:
            raise _broken(source, f"the shapes {list(down.shape)} and {list(up.shape)} of {name} do not fit together")
        for tensor in (down, up, *([alpha] if alpha else [])):
            if tensor.dtype not in ("F32", "F16", "BF16"):
                raise _broken(source, f"{name} is stored as {tensor.dtype}")
        value = float(down.shape[0])  # without alpha nothing is scaled
        if alpha is not None:
            value = struct.unpack("<f", _numbers(data, alpha, scale=1.0, dtype="F32")[:4])[0]
        yield _Layer(name=name, down=down, up=up, alpha=value, targets=_targets(source, name, down, up))


def _targets(source: Path, name: str, down: TensorInfo, up: TensorInfo) -> tuple[tuple[str, int], ...]:
    """What the layer `name` is called in diffusers, in one or several parts, each with its number of rows."""
    rows = up.shape[0]
    if clip := _CLIP.fullmatch(name):
        number, part, linear = clip.groups()
        return ((f"text_encoder.text_model.encoder.layers.{number}.{part}.{linear}", rows),)
    block = _BLOCK.fullmatch(name)
    names = (_DOUBLE if block[1] == "double" else _SINGLE).get(block[3]) if block else None
    if block is None or names is None:
        raise FluxgymError(
            f"{source}: diffusers has no place for {name}.",
            hint="It reads LoRAs of the blocks and of CLIP-L; T5 and other layers stay with kohya's layout.",
        )
    first = rows // 3 if len(names) == 3 else down.shape[1]  # queries, keys and values are as wide as the stream
    counts = [rows] if len(names) == 1 else [first, first, first, rows - 3 * first][: len(names)]
    if sum(counts) != rows or min(counts) < 1:
        raise _broken(source, f"{name} has {rows} rows, which are not queries, keys and values")
    where = "transformer_blocks" if block[1] == "double" else "single_transformer_blocks"
    return tuple((f"transformer.{where}.{block[2]}.{part}", count) for part, count in zip(names, counts, strict=True))


def _numbers(data: memoryview, tensor: TensorInfo, *, scale: float, dtype: str) -> bytes:
    """The numbers of `tensor` times `scale`, stored as `dtype`: its own or F32."""
    raw = data[tensor.start : tensor.end]
    if scale == 1.0 and dtype == tensor.dtype:
        return bytes(raw)
    if tensor.dtype == "F32":
        return array("f", [value * scale for value in raw.cast("f")]).tobytes()
    if dtype == "F32":
        return array("f", map(_scaled(tensor.dtype, scale).__getitem__, raw.cast("H"))).tobytes()
    return array("H", map(_scaled_bits(dtype, scale).__getitem__, raw.cast("H"))).tobytes()


@lru_cache(maxsize=16)
def _scaled(dtype: str, scale: float) -> list[float]:
    """Every one of the 65536 numbers of 16 bits, times `scale`."""
    return [_unpacked(bits, dtype) * scale for bits in range(1 << 16)]


@lru_cache(maxsize=16)
def _scaled_bits(dtype: str, scale: float) -> list[int]:
    """The same as bits of the same precision."""
    return [_packed(value, dtype) for value in _scaled(dtype, scale)]


def _unpacked(bits: int, dtype: str) -> float:
    if dtype == "BF16":
        return float(struct.unpack("<f", struct.pack("<I", bits << 16))[0])
    return float(struct.unpack("<e", struct.pack("<H", bits))[0])


def _packed(value: float, dtype: str) -> int:
    """The bits of `value`, which is a number of that precision but for the very smallest and largest."""
    try:
        if dtype == "BF16":
            return int(struct.unpack("<I", struct.pack("<f", value))[0] >> 16)
        return int(struct.unpack("<H", struct.pack("<e", value))[0])
    except OverflowError:
        infinity = 0x7F80 if dtype == "BF16" else 0x7C00
        return infinity | (0x8000 if value < 0 else 0)


def _widen(raw: bytes, columns: int, wanted: int, *, rows: int) -> bytes:
    """`raw`, `rows` rows of `columns` equal parts, with zeros after each row up to `wanted` parts."""
    if columns == wanted:
        return raw
    part = len(raw) // (rows * columns)
    zeros = bytes(part * (wanted - columns))
    size = part * columns
    return b"".join(raw[at : at + size] + zeros for at in range(0, len(raw), size))


def _safetensors(
    tensors: Mapping[str, tuple[tuple[int, int], bytes]], *, dtype: str, metadata: Mapping[str, str]
) -> bytes:
    """A whole safetensors file."""
    header: dict[str, object] = {"__metadata__": dict(metadata)}
    offset = 0
    for name, (shape, raw) in tensors.items():
        assert len(raw) * 8 == math.prod(shape) * DTYPE_BITS[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + len(raw)]}
        offset += len(raw)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of 8, as the format asks
    return b"".join((struct.pack("<Q", len(text)), text, *(raw for _, raw in tensors.values())))


def _broken(source: Path, what: str) -> FluxgymError:
    return FluxgymError(
        f"{source} is not a whole LoRA in kohya's format: {what}.",
        hint="Export another checkpoint of the training.",
        code=ExitCode.FAILED,
    )
