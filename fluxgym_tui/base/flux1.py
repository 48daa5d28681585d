"""Whether files are what a FLUX.1 training needs, from their headers alone; else what they are, by name."""

import re
from pathlib import Path

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.modelfiles import ModelFile, describe, read_model_file
from fluxgym_tui.base.safetensors import Header, read_header

PREFIX = "model.diffusion_model."  # of checkpoints that were saved with the whole pipeline around them
STORED = ("F32", "F16", "BF16", "F8_E4M3", "F8_E5M2")
"""The element types that weights may be stored in."""

_ONE_FILE = "Give a FLUX.1 checkpoint in one file, as Black Forest Labs published it (flux1-dev.safetensors)."
_OTHER_HINTS = {
    "chroma": "Chroma trains with the kohya backend (--model_type chroma).",
    "flux2": "FLUX.2 is another architecture, which neither backend trains. " + _ONE_FILE,
    "flux-lora": "A LoRA goes to --network_weights, to be trained on. " + _ONE_FILE,
}
_PIPELINE_PARTS = (
    *("text_encoders.", "text_encoder.", "cond_stage_model.", "conditioner.", "clip_l.", "t5xxl."),
    *("vae.", "first_stage_model."),
)

_COMPANIONS = {
    "clip_l": ("clip", "CLIP-L text encoder (clip_l.safetensors)"),
    "t5xxl": ("t5", "T5-XXL text encoder (t5xxl_fp16.safetensors)"),
    "ae": ("autoencoder", "autoencoder in FLUX's own layout (ae.safetensors)"),
}


def check_model_file(flag: str, path: Path) -> ModelFile:
    """What the header of `path` says, where it is what sd-scripts' flag of that name takes.

    `flag` is `pretrained_model_name_or_path`, `clip_l`, `t5xxl` or `ae`. FluxgymError as `check_flux1` raises it.
    """
    if flag not in _COMPANIONS:
        return check_flux1(path)
    kind, words = _COMPANIONS[flag]
    found = read_model_file(path)
    if found.kind != kind:
        raise FluxgymError(f"--{flag} {path} is no {words}: {found.title}.", hint=f"Give {words} there.")
    if found.facts.get("fp8_scaled"):
        raise FluxgymError(
            f"--{flag} {path} holds scaled fp8 weights (fp8_scaled).",
            hint="Use the fp16 file, or the plain fp8 one (t5xxl_fp8_e4m3fn.safetensors).",
        )
    return found


def check_flux1(path: Path) -> ModelFile:
    """What the header of `path` says, where it is a FLUX.1 transformer in BFL's layout. Nothing is loaded.

    Raises:
        FluxgymError: it is something else, or cannot be trained on; the message says what it is, the hint what to do.
    """
    header = read_header(path)
    found = describe(header)
    if found.kind != "flux":
        raise FluxgymError(
            f"{path} is no FLUX checkpoint in BFL's layout: {found.title}.",
            hint=_OTHER_HINTS.get(found.kind, _ONE_FILE),
        )
    if found.facts["fp8_scaled"]:
        raise FluxgymError(
            f"{path}: this checkpoint holds scaled fp8 weights (fp8_scaled), which train to noise.",
            hint="Use the bf16 file, or a plain fp8 (e4m3fn) one.",
        )
    if inside := [name for name in header.tensors if name.startswith(_PIPELINE_PARTS)]:
        raise FluxgymError(
            f"{path}: a full checkpoint, with text encoders (CLIP, T5) or autoencoder inside ({inside[0]}).",
            hint="Give the transformer's own file, and the encoders' and autoencoder's beside it.",
        )
    _refuse_edited_inputs(path, header)
    _refuse_quantised(path, header)
    return found


def _refuse_edited_inputs(path: Path, header: Header) -> None:
    """Fill, Canny and Depth get a picture as further channels; Kontext as further tokens, so only its name tells it."""
    tensors = {name.removeprefix(PREFIX): tensor for name, tensor in header.tensors.items()}
    inputs, outputs = (tensors.get(name) for name in ("img_in.weight", "final_layer.linear.weight"))
    if inputs is not None and outputs is not None and inputs.shape[-1] != outputs.shape[0]:
        kind = {384: "Fill", 128: "Canny or Depth"}.get(inputs.shape[-1], "Fill, Canny or Depth")
        raise FluxgymError(
            f"{path}: a FLUX checkpoint that wants {inputs.shape[-1]} input channels ({kind}).",
            hint="Train on FLUX.1-dev or schnell.",
        )
    said = [path.name, *(text for key, text in header.metadata.items() if key.startswith(("modelspec.", "general.")))]
    if any(re.search("kontext", text, re.IGNORECASE) for text in said):
        raise FluxgymError(
            f"{path}: FLUX.1-Kontext edits pictures that it is given, and there are none in this training.",
            hint="Train on FLUX.1-dev: most of its LoRAs work with Kontext. Another model of that name: rename it.",
        )


def _refuse_quantised(path: Path, header: Header) -> None:
    for name, tensor in header.tensors.items():
        if name.endswith(".weight") and tensor.dtype not in STORED:
            raise FluxgymError(
                f"{path}: {name} is stored as {tensor.dtype}: this checkpoint is quantised.",
                hint="Use the bf16 file, or a plain fp8 (e4m3fn) one.",
            )
