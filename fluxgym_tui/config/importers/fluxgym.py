"""fluxgym's saved settings, and those of its fork with buckets: `configs/*.json`, `training_config.json`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fluxgym_tui.base.prompts import prompt_lines
from fluxgym_tui.config.importers.draft import Draft
from fluxgym_tui.config.importers.option_words import option_value, options_of, split_words
from fluxgym_tui.config.sd_flags import FLAG_KINDS, FlagValue
from fluxgym_tui.config.spec import output_name
from fluxgym_tui.config.values import read_number, read_whole, shown

# What fluxgym says to sd-scripts whatever its fields hold.
_COMMON: dict[str, FlagValue] = {
    "network_module": "networks.lora_flux",
    "save_model_as": "safetensors",
    "sdpa": True,
    "cache_latents_to_disk": True,
    "cache_text_encoder_outputs": True,
    "cache_text_encoder_outputs_to_disk": True,
    "persistent_data_loader_workers": True,
    "gradient_checkpointing": True,
    "mixed_precision": "bf16",
    "save_precision": "bf16",
    "fp8_base": True,
    "highvram": True,
    "discrete_flow_shift": 3.1582,
    "model_prediction_type": "raw",
    "loss_type": "l2",
}
_ADAFACTOR: dict[str, FlagValue] = {
    "optimizer_type": "adafactor",
    "optimizer_args": ("relative_step=False", "scale_parameter=False", "warmup_init=False"),
    "lr_scheduler": "constant_with_warmup",
    "max_grad_norm": 0.0,
}
_BY_VRAM: dict[str, dict[str, FlagValue]] = {
    "20G": {"optimizer_type": "adamw8bit"},
    "16G": _ADAFACTOR,
    "12G": {**_ADAFACTOR, "split_mode": True, "network_args": ("train_blocks=single",)},
}
# Its fields that are options of the same kind, with its own starting values.
_FIELDS: dict[str, tuple[str, FlagValue]] = {
    "seed": ("seed", 42),
    "workers": ("max_data_loader_n_workers", 2),
    "learning_rate": ("learning_rate", 8e-4),
    "network_dim": ("network_dim", 4),
    "max_train_epochs": ("max_train_epochs", 16),
    "save_every_n_epochs": ("save_every_n_epochs", 4),
    "timestep_sampling": ("timestep_sampling", "shift"),
    "guidance_scale": ("guidance_scale", 1.0),
}
_OWN = {
    *("lora_name", "concept_sentence", "base_model", "resolution", "resolutionX", "resolutionY", "resize", "vram"),
    *("num_repeats", "sample_prompts", "sample_every_n_steps", "advanced_parameters", "custom_params", *_FIELDS),
}
# Its dataset.toml says these, and what a dataset.toml says beats the same option of the command line.
_BEATEN = {
    *("resolution", "train_batch_size", "dataset_repeats", "caption_extension", "caption_extention"),
    *("shuffle_caption", "keep_tokens", "train_data_dir", "reg_data_dir"),
}
_LARGE_PIXELS = 900 * 900  # above it the recipe for 16 GB swaps blocks, which fluxgym never does


def is_fluxgym(data: Mapping[str, Any]) -> bool:
    """Whether `data` are settings of fluxgym's."""
    return "advanced_parameters" in data or "lora_name" in data or "concept_sentence" in data


def read_fluxgym(data: Mapping[str, Any], draft: Draft, *, root: Path) -> None:
    """Fill `draft` with the settings `data`; `root` is the fluxgym folder, whose datasets/NAME holds the pictures.

    Empty, false and null mean "not set", as in fluxgym's own form.

    Raises:
        ValueError: a field has no value of its kind; the message begins with its name.
    """
    name = str(data.get("lora_name") or "").strip()
    draft.name = name or draft.origin.stem
    draft.trigger = str(data.get("concept_sentence") or "").strip() or None
    draft.base_model = str(data.get("base_model") or "flux-dev")
    width = _whole(data, "resolutionX", "resolution", default=512)
    height = _whole(data, "resolutionY", default=0) or width
    draft.dataset = {
        "path": root / "datasets" / output_name(draft.name),
        "resolution": [width, height],
        "resize": _whole(data, "resize", default=0 if "resize" in data else width),
        "downscale_only": False,
        "num_repeats": _whole(data, "num_repeats", default=10),
        "batch_size": 1,
    }
    draft.samples = {
        "prompts": prompt_lines(str(data.get("sample_prompts") or "")),
        "every_n_steps": _whole(data, "sample_every_n_steps", default=0),
    }
    options: dict[str, FlagValue] = {**_COMMON}
    for field, (option, default) in _FIELDS.items():
        options[option] = default if _unset(data.get(field)) else _option(field, option, data[field])
    vram = str(data.get("vram") or "20G")
    if vram not in _BY_VRAM:
        draft.tell("vram", f"vram {vram} is none of fluxgym's 20G, 16G and 12G: its 20G is taken, as fluxgym would")
        vram = "20G"
    options |= _BY_VRAM[vram]
    draft.vram = "20G" if vram == "16G" and width * height > _LARGE_PIXELS else vram
    draft.options = options | _further(data, draft) | _advanced(data, draft) | _custom(data, draft)
    if not draft.options.get("network_train_unet_only"):
        draft.tell(
            "clip_l",
            "train_clip_l: true, as fluxgym's command trains CLIP-L too",
            "Set training.train_clip_l: false to train the transformer alone.",
        )


def _further(data: Mapping[str, Any], draft: Draft) -> dict[str, FlagValue]:
    """Fields of other forks: options where sd-scripts has one of that name."""
    options: dict[str, FlagValue] = {}
    for key, value in data.items():
        if key in _OWN or _unset(value):
            continue
        if key in ("batch_size", "train_batch_size"):
            draft.dataset["batch_size"] = _whole(data, key, default=1)
        elif key in FLAG_KINDS and key not in _BEATEN:
            options |= _advanced_option(key, key, value, draft)
            draft.tell("further_field", f"{key} is no field of fluxgym's, and is taken as sd-scripts' option")
        else:
            draft.warn("unknown_field", f"{key} = {value!r} is left out: no field of fluxgym's")
    return options


def _advanced(data: Mapping[str, Any], draft: Draft) -> dict[str, FlagValue]:
    """The options of `advanced_parameters`: those that its form would have put on the command line."""
    options: dict[str, FlagValue] = {}
    advanced = data.get("advanced_parameters") or {}
    if not isinstance(advanced, dict):
        raise ValueError(f"advanced_parameters must be options with values, not {shown(advanced)}")
    for key, value in advanced.items():
        if _unset(value):
            continue
        name = str(key).lstrip("-").replace("-", "_")
        if name in _BEATEN:
            draft.tell("no_effect", f"{key} {value} is left out: fluxgym's dataset.toml said otherwise and won")
        elif name not in FLAG_KINDS:
            draft.extra_args += [f"--{name}", *([] if value is True else split_words(str(value)))]
        else:
            options |= _advanced_option(key, name, value, draft)
    return options


def _advanced_option(key: str, name: str, value: Any, draft: Draft) -> dict[str, FlagValue]:
    """The option `name` from the field `key`; empty where a field that needs a value was only switched on."""
    if value is True and FLAG_KINDS[name] != "switch":
        draft.warn("no_value", f"{key} is left out: it was on, and it needs a value")
        return {}
    if value is True:
        return {name: True}
    words = split_words(str(value)) if FLAG_KINDS[name] in ("texts", "numbers") else [str(value)]
    return {name: _option(key, name, words)}


def _custom(data: Mapping[str, Any], draft: Draft) -> dict[str, FlagValue]:
    """The options of `custom_params`, lines of a command line; a name without dashes counts as well."""
    written = data.get("custom_params") or ""
    if isinstance(written, dict):
        lines = [key if value is True else f"{key} {value}" for key, value in written.items() if not _unset(value)]
    else:
        lines = written if isinstance(written, list) else str(written).splitlines()
    words: list[str] = []
    for line in lines:
        parts = split_words(str(line))
        if parts and not parts[0].startswith("-") and parts[0].partition("=")[0] in FLAG_KINDS:
            parts[0] = f"--{parts[0]}"
        words += parts
    options, others, problems = options_of(words)
    draft.extra_args += others
    for problem in problems:
        draft.warn("not_read", f"custom_params: {problem}; left out")
    for name in [name for name in options if name in _BEATEN]:
        draft.tell(
            "no_effect", f"--{name} {options.pop(name)} is left out: fluxgym's dataset.toml said otherwise and won"
        )
    return options


def _unset(value: Any) -> bool:
    return value is None or value is False or value == ""


def _whole(data: Mapping[str, Any], *names: str, default: int) -> int:
    for name in names:
        if not _unset(data.get(name)):
            try:
                return read_whole(data[name])
            except ValueError as error:
                raise ValueError(f"{name} {error}") from error
    return default


def _option(field: str, option: str, value: Any) -> FlagValue:
    try:
        if isinstance(value, list):
            return option_value(option, value)
        if FLAG_KINDS[option] == "number":
            return read_number(value)
        return option_value(option, [str(read_whole(value)) if FLAG_KINDS[option] == "whole" else str(value)])
    except ValueError as error:
        raise ValueError(f"{field} {error}") from error
