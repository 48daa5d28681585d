"""Writes a spec as YAML: every key with its value, and for a new one a comment that says what it does."""

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from fluxgym_tui.config.yaml_text import write_scalar

# What each key does, for the commented file of `new`; the part after a dot is the key in its group.
COMMENTS: dict[str, str] = {
    "schema": "the form of this file",
    "name": "names the run, its folder and its files",
    "trigger": "caption of pictures that have none; use it in prompts",
    "base_model": "`fluxgym-tui models` lists what there is",
    "backend": "auto | kohya | builtin",
    "dataset.path": "pictures, with captions beside them as .txt",
    "dataset.resolution": "[width, height], or one number: the area counts",
    "dataset.resize": "shortest side in pixels of copies; 0 = no copies",
    "dataset.downscale_only": "resize never enlarges",
    "dataset.enable_bucket": "keep shapes; false crops all to the resolution",
    "dataset.bucket_no_upscale": "never enlarge a small picture",
    "dataset.min_bucket_reso": "shortest side, where upscaling is allowed",
    "dataset.max_bucket_reso": "longest side, where upscaling is allowed",
    "dataset.bucket_reso_steps": "multiples of 64: FLUX trains no others",
    "dataset.num_repeats": "how often each picture counts in an epoch",
    "dataset.batch_size": "pictures a step; more need more memory",
    "dataset.subsets": "more folders: [{path: DIR, num_repeats: 5}]",
    "training.vram": "auto | cpu | 8G 10G 12G 16G 20G 24G 40G 48G 80G",
    "training.train_clip_l": "train the CLIP-L text encoder too",
    "training.learning_rate": "higher learns faster and breaks sooner",
    "training.network_dim": "rank of the LoRA: its size and what it can hold",
    "training.network_alpha": "the LoRA's strength is alpha / dim",
    "training.max_train_epochs": "rounds through all pictures and repeats",
    "training.max_train_steps": "the length in steps, in place of epochs",
    "training.save_every_n_epochs": "a LoRA file each so many; null = only at the end",
    "training.save_every_n_steps": "a LoRA file each so many steps",
    "training.seed": "the same seed and settings give the same run",
    "training.gradient_accumulation_steps": "batches added up before a step",
    "training.guidance_scale": "what the model is told while it learns; 1.0 for FLUX.1-dev",
    "training.timestep_sampling": "sigma | uniform | sigmoid | shift | flux_shift",
    "training.discrete_flow_shift": "how far `shift` leans to noise",
    "training.model_prediction_type": "raw | additive | sigma_scaled",
    "training.loss_type": "l2 | l1 | huber | smooth_l1",
    "training.max_data_loader_n_workers": "processes that load pictures",
    "samples.prompts": 'a list, as ["T riding a bike --d 42 --w 768 --h 1024"]',
    "samples.every_n_steps": "each so many steps; 0 = none",
    "samples.every_n_epochs": "the same in epochs; set one of the two",
    "samples.at_first": "also before the first step",
    "flags": "other options of sd-scripts: {lr_scheduler: cosine}",
    "extra_args": "passed on as they are, last",
    "after.publish": "upload to Hugging Face",
    "after.notify": "names of channels in settings.yaml",
    "after.command": "a shell command to run at the end",
}
GROUPS = ("dataset", "training", "samples", "after")
_HEADS = {
    "dataset": "The pictures and how they are fitted.",
    "training": "sd-scripts' own names. guidance_scale and timestep_sampling are the base model's unless said.",
    "samples": "Pictures made while training: none until there are prompts and an interval.",
    "after": "When the run has ended well.",
}
_COMMENT_COLUMN = 34


def write_spec(data: Mapping[str, Any], *, comments: bool) -> str:
    """The YAML of `data`, a spec's keys in nested dicts, in their order; UTF-8, one key a line."""
    lines: list[str] = []
    for key, value in data.items():
        if key in GROUPS:
            if comments:
                lines += ["", f"# {_HEADS[key]}"]
            lines.append(f"{key}:")
            for name, item in value.items():
                lines += _entry(f"{key}.{name}", name, item, "  ", comments)
        else:
            if comments and key == "flags":
                lines.append("")
            lines += _entry(key, key, value, "", comments)
    return "\n".join(lines) + "\n"


def _entry(route: str, name: str, value: Any, indent: str, comments: bool) -> list[str]:
    """The lines of one key; its comment stands beside a short value and above a long or nested one."""
    comment = COMMENTS.get(route) if comments else None
    if isinstance(value, Mapping) and value:
        body = [
            f"{indent}{name}:",
            *(f"{indent}  {write_scalar(str(key))}: {inline(item)}" for key, item in value.items()),
        ]
    elif isinstance(value, list) and value and (isinstance(value[0], Mapping) or len(value) > 2 or _long(value)):
        body = [f"{indent}{name}:", *(f"{indent}  - {inline(item)}" for item in value)]
    else:
        shown = _rate(value) if comments and route == "training.learning_rate" else inline(value)
        body = [f"{indent}{name}: {shown}"]
    if comment is None:
        return body
    if len(body) == 1 and len(body[0]) < _COMMENT_COLUMN:
        return [f"{body[0]:<{_COMMENT_COLUMN}}# {comment}"]
    return [f"{indent}# {comment}", *body]


def _rate(value: float) -> str:
    """A learning rate as people write it, `8e-4`, where that is shorter."""
    return min(inline(value), f"{Decimal(repr(value)):e}", key=len)


def _long(value: list[Any]) -> bool:
    return any(isinstance(item, str) and len(item) > 12 for item in value)


def inline(value: Any) -> str:
    """`value` as YAML on one line: a scalar, or a list or group in brackets."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{write_scalar(str(key))}: {inline(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(inline(item) for item in value) + "]"
    return write_scalar(str(value) if isinstance(value, Path) else value)
