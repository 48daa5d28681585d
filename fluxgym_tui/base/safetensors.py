"""What a safetensors file says of itself: its header, read and checked without loading a tensor."""

import json
import math
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fluxgym_tui.base.errors import FluxgymError

# Bits of one element, by the names the format uses.
DTYPE_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I16": 16, "U16": 16, "F16": 16, "BF16": 16,
    "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "C64": 64,
}  # fmt: skip
_MAX_HEADER_BYTES = 100_000_000  # the limit of the format's reference implementation
# How other files begin that are found under a model's name, and what to do about each.
_OTHERS: tuple[tuple[bytes, str, str], ...] = (
    (b"GGUF", "a GGUF file", "GGUF holds a quantised model: take the bf16 or fp8 .safetensors of it."),
    (b"PK\x03\x04", "a pickle of PyTorch (.ckpt, .pt) or an archive", "Take the .safetensors file of the model."),
    (b"version ", "a Git LFS pointer, not the file itself", "Fetch it with `git lfs pull`, or download it again."),
    (
        b"<",
        "a web page",
        "The download was answered with a page: log in where the model asks for it, and fetch it again.",
    ),
)


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One tensor as the header lists it; `start` and `end` are byte offsets in the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a safetensors file: its string metadata and its tensors by name, in file order."""

    metadata: dict[str, str]
    tensors: dict[str, TensorInfo]
    file_bytes: int


def read_header(path: Path) -> Header:
    """Read and check the header of `path`.

    Raises:
        FluxgymError: the file is missing, truncated, or not safetensors; the message says which and where.
    """
    path = Path(path)
    if path.is_dir():
        raise _is_folder(path)
    try:
        with path.open("rb") as file:
            file_bytes = os.fstat(file.fileno()).st_size
            head = file.read(8)
            length = struct.unpack("<Q", head)[0] if len(head) == 8 else 0
            if not 2 <= length <= _MAX_HEADER_BYTES:
                raise _not_safetensors(path, head)
            raw = file.read(length)
    except OSError as error:
        raise FluxgymError(
            f"cannot read {path}: {error.strerror}", hint="Check the path and its permissions."
        ) from error
    if len(raw) < length:
        raise _truncated(path, 8 + length, file_bytes)
    try:
        data = json.loads(raw)
    except ValueError as error:
        raise FluxgymError(
            f"{path} is not a safetensors file: its header is no JSON", hint="Download it again."
        ) from error
    if not isinstance(data, dict):
        raise FluxgymError(f"{path} is not a safetensors file: its header is no object", hint="Download it again.")
    metadata = data.pop("__metadata__", None) or {}
    tensors = {name: _tensor(path, name, entry, base=8 + length) for name, entry in data.items()}
    end = max((tensor.end for tensor in tensors.values()), default=8 + length)
    if file_bytes < end:
        raise _truncated(path, end, file_bytes)
    return Header(metadata={str(k): str(v) for k, v in metadata.items()}, tensors=tensors, file_bytes=file_bytes)


def _tensor(path: Path, name: str, entry: Any, *, base: int) -> TensorInfo:
    try:
        dtype, shape, (start, end) = (
            str(entry["dtype"]),
            tuple(int(side) for side in entry["shape"]),
            entry["data_offsets"],
        )
        fits = 0 <= start <= end and all(side >= 0 for side in shape)
        if dtype in DTYPE_BITS:
            fits = fits and (end - start) * 8 == math.prod(shape) * DTYPE_BITS[dtype]
    except (KeyError, TypeError, ValueError):
        fits = False
    if not fits:
        raise FluxgymError(
            f"{path}: the header entry of tensor {name!r} makes no sense", hint="Download the file again."
        )
    return TensorInfo(dtype=dtype, shape=shape, start=base + start, end=base + end)


def _is_folder(path: Path) -> FluxgymError:
    if (path / "model_index.json").is_file() or (path / "config.json").is_file():
        return FluxgymError(
            f"{path} is a folder in diffusers' layout; one file is wanted.",
            hint="Take the model in one file, in its makers' layout, such as flux1-dev.safetensors.",
        )
    return FluxgymError(f"{path} is a folder; one file is wanted.", hint="Give the .safetensors file in it.")


def _not_safetensors(path: Path, head: bytes) -> FluxgymError:
    for begins, what, hint in _OTHERS:
        if head.startswith(begins):
            return FluxgymError(f"{path} is not a safetensors file: it is {what}", hint=hint)
    return FluxgymError(
        f"{path} is not a safetensors file: it does not begin with a header length", hint="Download it again."
    )


def _truncated(path: Path, expected: int, found: int) -> FluxgymError:
    return FluxgymError(
        f"{path} is incomplete: {found:,} of at least {expected:,} bytes are there",
        hint="The download or copy broke off. Delete the file and fetch it again.",
    )
