"""LoRA files: written as sd-scripts writes them, opened and checked before anybody is told that they are there."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import write_atomic
from fluxgym_tui.trainer.lora import LoraNetwork

PRECISIONS = {"float": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
PARTS = ("alpha", "lora_down.weight", "lora_up.weight")


@dataclass(frozen=True, kw_only=True)
class LoraFile:
    """A LoRA that was opened and found whole: its tensors by name, its metadata, and the rank of each layer."""

    path: Path
    tensors: dict[str, Tensor]
    metadata: dict[str, str]
    ranks: dict[str, int]


def save_lora(
    path: Path, network: LoraNetwork, *, metadata: Mapping[str, str], save_precision: str | None = None
) -> LoraFile:
    """Write `network` to `path` atomically, open it again and check it.

    `save_precision` is float, fp16 or bf16; None keeps the adapters' own float32. The hashes that sd-webui looks for
    are added to `metadata`. FluxgymError where a tensor is not finite (then nothing is written), and where the file
    cannot be written.
    """
    dtype = None if save_precision is None else PRECISIONS[save_precision]
    tensors = {
        key: tensor.to("cpu", dtype or tensor.dtype).contiguous() for key, tensor in network.lora_state().items()
    }
    _check_finite(tensors, path=path)
    # Only the training's own metadata counts for the hash: users may edit the rest.
    own = {key: value for key, value in metadata.items() if key.startswith("ss_")}
    content = save(tensors, metadata=dict(metadata) | webui_hashes(save(tensors, metadata=own)))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content, durable=True)
    except OSError as error:
        raise FluxgymError(
            f"{path}: the LoRA cannot be written: {error.strerror}",
            hint="Make room or make the folder writable, then resume.",
            code=ExitCode.FAILED,
        ) from error
    return open_lora(path)


def open_lora(path: Path) -> LoraFile:
    """Open a LoRA and check it: every layer has its three tensors, shapes that fit, and only finite numbers in them.

    FluxgymError, with the file and tensor named, where that is not so. Layers of CLIP (`lora_te1_...`) count as well.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = dict(file.metadata() or {})
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - not a mapping
    except (OSError, SafetensorError) as error:
        raise FluxgymError(
            f"{path}: the LoRA cannot be opened: {error}", hint="Use an earlier checkpoint.", code=ExitCode.FAILED
        ) from error
    ranks = {}
    for layer in sorted({key.partition(".")[0] for key in tensors}):
        parts = {part: tensors.get(f"{layer}.{part}") for part in PARTS}
        down, up = parts["lora_down.weight"], parts["lora_up.weight"]
        if down is None or up is None or parts["alpha"] is None:
            lacking = next(part for part, tensor in parts.items() if tensor is None)
            raise _broken(path, f"{layer}.{lacking} is missing")
        if down.ndim < 2 or up.ndim < 2 or down.shape[0] != up.shape[1]:
            raise _broken(path, f"the shapes {list(down.shape)} and {list(up.shape)} of {layer} do not fit together")
        ranks[layer] = down.shape[0]
    if unknown := sorted(tensors.keys() - {f"{layer}.{part}" for layer in ranks for part in PARTS}):
        raise _broken(path, f"{unknown[0]} is no part of a LoRA")
    if not ranks:
        raise _broken(path, "there are no layers in it")
    _check_finite(tensors, path=path)
    return LoraFile(path=path, tensors=tensors, metadata=metadata, ranks=ranks)


def webui_hashes(content: bytes) -> dict[str, str]:
    """The hashes by which sd-webui knows a network: of all bytes after the header, and of 64 KiB at 1 MiB."""
    data = 8 + int.from_bytes(content[:8], "little")
    return {
        "sshs_model_hash": hashlib.sha256(memoryview(content)[data:]).hexdigest(),
        "sshs_legacy_hash": hashlib.sha256(content[0x100000:0x110000]).hexdigest()[:8],
    }


def model_hash(path: Path) -> str:
    """sd-webui's short name of a checkpoint: eight hex digits of 64 KiB at 1 MiB."""
    with path.open("rb") as file:
        file.seek(0x100000)
        return hashlib.sha256(file.read(0x10000)).hexdigest()[:8]


def _check_finite(tensors: Mapping[str, Tensor], *, path: Path) -> None:
    broken = [key for key, tensor in tensors.items() if not bool(torch.isfinite(tensor).all())]
    if broken:
        raise FluxgymError(
            f"{path}: {len(broken)} of {len(tensors)} tensors hold NaN or infinity, the first is {broken[0]}.",
            hint="Train again with a lower learning rate, from an earlier checkpoint.",
            code=ExitCode.FAILED,
        )


def _broken(path: Path, what: str) -> FluxgymError:
    return FluxgymError(
        f"{path} is not a whole LoRA in sd-scripts' format: {what}.",
        hint="Use an earlier checkpoint.",
        code=ExitCode.FAILED,
    )
