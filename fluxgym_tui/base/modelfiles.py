"""What a safetensors file is, judged from its header alone: a LoRA, a FLUX checkpoint, an encoder, something else."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fluxgym_tui.base.safetensors import Header, TensorInfo, read_header

_PREFIX = "model.diffusion_model."  # of checkpoints that were saved with the whole pipeline around them

# What stands beside the weights of a scaled fp8 file, as ComfyUI's tools write it.
_FP8_SCALES = (
    *("scaled_fp8", "scale_weight", "weight_scale", "weight_scale_inv", "scale_input", "input_scale", "comfy_quant"),
)

# Kind, what people call it, and key patterns of which the file must have every one; the first that fits wins.
_KINDS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("flux-lora", "FLUX LoRA, kohya's layout", (r"lora_unet_(double|single)_blocks_\d+_.*\.lora_down\.weight$",)),
    (
        "flux-lora-diffusers",
        "FLUX LoRA, diffusers' layout",
        (r"transformer\.(single_)?transformer_blocks\..*lora_A\.",),
    ),
    ("lycoris", "LyCORIS network (LoKr, LoHa)", (r"\.(lokr_w[12]|hada_w[12])(_[ab])?$",)),
    ("sd-lora", "LoRA of Stable Diffusion, not FLUX", (r"lora_unet_(input|output|down|up|mid)_?blocks?_",)),
    ("flux-lora", "LoRA of CLIP-L alone, kohya's layout", (r"^lora_te1_text_model_.*\.lora_down\.weight$",)),
    ("lora", "LoRA of another model", (r"\.lora_(down|up|A|B)\.",)),
    ("flux-controlnet", "FLUX ControlNet", (r"^controlnet_(blocks|single_blocks|x_embedder)\b",)),
    ("chroma", "Chroma checkpoint, BFL's layout", (r"^distilled_guidance_layer\.", r"^double_blocks\.\d+\.")),
    (
        "flux2",
        "FLUX.2 checkpoint, BFL's layout",
        (r"^double_stream_modulation_img\.", r"^double_blocks\.\d+\."),
    ),
    ("flux", "FLUX checkpoint, BFL's layout", (r"^double_blocks\.\d+\.img_attn\.qkv\.weight$", r"^img_in\.weight$")),
    (
        "flux-diffusers",
        "FLUX checkpoint, diffusers' layout",
        (r"^single_transformer_blocks\.\d+\.proj_mlp", r"^x_embedder"),
    ),
    (
        "flux-diffusers",
        "part of a FLUX checkpoint in diffusers' layout",
        (r"^(single_transformer_blocks\.\d+\.|transformer_blocks\.\d+\.attn\.add_q_proj)",),
    ),
    ("sd3", "Stable Diffusion 3 checkpoint", (r"^joint_blocks\.\d+\.",)),
    ("sd", "SDXL checkpoint", (r"^(input_blocks|down_blocks)\.\d+\.", r"^(label_emb|conditioner|add_embedding)\.")),
    ("sd", "Stable Diffusion checkpoint", (r"^(input_blocks|down_blocks)\.\d+\.",)),
    ("autoencoder", "FLUX autoencoder", (r"^encoder\.down\.0\.block\.0\.", r"^decoder\.conv_in\.weight$")),
    ("clip", "CLIP text encoder", (r"^text_model\.encoder\.layers\.0\.",)),
    ("t5", "T5 text encoder", (r"^encoder\.block\.0\.layer\.0\.SelfAttention\.",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """What a file's header says. `dtypes` counts parameters by element type; `facts` depend on the kind.

    `kind` is `flux-lora`, `flux-lora-diffusers`, `lycoris`, `sd-lora`, `lora`, `flux-controlnet`, `chroma`,
    `flux2`, `flux`, `flux-diffusers`, `sd3`, `sd`, `autoencoder`, `clip`, `t5` or `unknown`.
    """

    kind: str
    title: str
    tensors: int
    parameters: int
    dtypes: dict[str, int]
    file_bytes: int
    facts: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)


def read_model_file(path: Path) -> ModelFile:
    """Read the header of `path` and say what the file is. FluxgymError as `read_header` raises it."""
    return describe(read_header(path))


def describe(header: Header) -> ModelFile:
    """What the file with this header is."""
    tensors = {name.removeprefix(_PREFIX): tensor for name, tensor in header.tensors.items()}
    kind, title = _kind(tensors)
    dtypes: Counter[str] = Counter()
    for tensor in tensors.values():
        dtypes[tensor.dtype] += math.prod(tensor.shape)
    facts: dict[str, Any] = {}
    if kind.endswith(("lora", "lora-diffusers")):
        facts = _lora_facts(tensors, header.metadata)
    elif kind in ("flux", "chroma"):
        facts = _flux_facts(tensors)
    elif kind in ("t5", "clip"):
        facts = {"fp8_scaled": any(name.endswith(_FP8_SCALES) for name in tensors)}
    return ModelFile(
        kind=kind,
        title=title,
        tensors=len(tensors),
        parameters=sum(dtypes.values()),
        dtypes=dict(dtypes.most_common()),
        file_bytes=header.file_bytes,
        facts=facts,
        metadata=header.metadata,
    )


def _kind(tensors: Mapping[str, TensorInfo]) -> tuple[str, str]:
    names = list(tensors)
    for kind, title, patterns in _KINDS:
        if all(_any_matches(pattern, names) for pattern in patterns):
            return kind, title
    return "unknown", "safetensors file of a kind not known here"


def _any_matches(pattern: str, names: Iterable[str]) -> bool:
    find = re.compile(pattern).search
    return any(find(name) for name in names)


def _lora_facts(tensors: Mapping[str, TensorInfo], metadata: Mapping[str, str]) -> dict[str, Any]:
    """Ranks and trained modules from the tensors; what the training was from kohya's `ss_*` fields."""
    ranks: Counter[int] = Counter()
    modules: Counter[str] = Counter()
    for name, tensor in tensors.items():
        if name.endswith((".lora_down.weight", ".lora_A.weight")) and tensor.shape:
            ranks[tensor.shape[0]] += 1
            modules[_part(name)] += 1
    facts: dict[str, Any] = {
        "network_dim": [rank for rank, _ in ranks.most_common()],
        "network_alpha": _said(metadata, "ss_network_alpha"),
        "modules": dict(sorted(modules.items())),
        "base_model": _said(metadata, "ss_sd_model_name"),
        "output_name": _said(metadata, "ss_output_name"),
        "steps": _whole(metadata, "ss_steps"),
        "epoch": _whole(metadata, "ss_epoch"),
        "epochs": _whole(metadata, "ss_num_epochs"),
        "learning_rate": _said(metadata, "ss_learning_rate"),
        "optimizer": _said(metadata, "ss_optimizer"),
        "train_images": _whole(metadata, "ss_num_train_images"),
        "trained_words": _most_used_words(metadata),
    }
    return {key: value for key, value in facts.items() if value not in (None, [], {})}


def _part(name: str) -> str:
    """The part of the model that a LoRA module belongs to."""
    if name.startswith(("lora_te1_", "lora_te_", "text_encoder.")):
        return "clip_l"
    if name.startswith(("lora_te2_", "lora_te3_")):
        return "t5xxl"
    for part, theirs in (("double_blocks", "transformer_blocks"), ("single_blocks", "single_transformer_blocks")):
        if name.startswith((f"lora_unet_{part}_", f"transformer.{theirs}.")):
            return part
    return "other"


def _most_used_words(metadata: Mapping[str, str]) -> list[str]:
    """The most frequent captions' parts of kohya's `ss_tag_frequency`, at most five."""
    try:
        folders = json.loads(metadata.get("ss_tag_frequency", "{}"))
        counts: Counter[str] = Counter()
        for tags in folders.values():
            counts.update({str(tag): int(number) for tag, number in tags.items()})
    except (ValueError, TypeError, AttributeError):
        return []  # written by another program in another form: not a fact we can tell
    return [tag for tag, _ in counts.most_common(5)]


def _flux_facts(tensors: Mapping[str, TensorInfo]) -> dict[str, Any]:
    """The geometry, from the tensors' own shapes."""

    def depth(blocks: str) -> int:
        numbers = [int(name.split(".")[1]) for name in tensors if re.match(rf"{blocks}\.\d+\.", name)]
        return 1 + max(numbers, default=-1)

    def shape(name: str) -> tuple[int, ...]:
        return tensors[name].shape if name in tensors else ()

    img_in, txt_in, vector_in = shape("img_in.weight"), shape("txt_in.weight"), shape("vector_in.in_layer.weight")
    facts: dict[str, Any] = {
        "double_blocks": depth("double_blocks"),
        "single_blocks": depth("single_blocks"),
        "hidden_size": img_in[0] if img_in else None,
        "context_size": txt_in[1] if len(txt_in) == 2 else None,
        "vector_size": vector_in[1] if len(vector_in) == 2 else None,
        "guidance": any(name.startswith("guidance_in.") for name in tensors),
        "fp8_scaled": any(name.endswith(_FP8_SCALES) for name in tensors),
    }
    return {key: value for key, value in facts.items() if value is not None}


def _said(metadata: Mapping[str, str], key: str) -> str | None:
    value = metadata.get(key)
    return None if value in (None, "", "None") else value


def _whole(metadata: Mapping[str, str], key: str) -> int | None:
    value = metadata.get(key, "")
    return int(value) if value.isdecimal() else None
