"""The kohya_ss GUI's saved settings (JSON): what its LoRA tab would have told sd-scripts for FLUX."""

from collections.abc import Mapping
from typing import Any

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.prompts import prompt_lines
from fluxgym_tui.config.importers.draft import Draft
from fluxgym_tui.config.importers.option_words import options_of
from fluxgym_tui.config.importers.sd_toml import OWN_TABLE, take_own
from fluxgym_tui.config.kohya_gui_fields import HUBER, NETWORK_ARGS, NEUTRAL, RENAMED, WITHOUT_EFFECT, is_off
from fluxgym_tui.config.sd_flags import FLAG_KINDS, FlagValue, read_flag

# Fields whose option depends on other fields; read by name below.
_READ_APART = {
    *("LoRA_type", "flux1_checkbox", "xformers", "epoch", "max_train_epochs", "max_train_steps", "lr_warmup"),
    *("lr_warmup_steps", "learning_rate", "unet_lr", "text_encoder_lr", "t5xxl_lr", "sample_prompts", "train_blocks"),
    *("additional_parameters", "max_data_loader_n_workers", "noise_offset_type", "dynamo_backend", OWN_TABLE),
}
# Of accelerate: how many processes on which cards. A run here is one process.
_OF_ACCELERATE = ("multi_gpu", "gpu_ids", "extra_accelerate_launch_args", "main_process_port")
# Fields of other kinds of LoRA or model, and of the GUI itself: nothing of them reaches a FLUX training.
_PREFIXES_OF_OTHERS = ("sd3_", "hunyuan_", "anima_", "lumina_", "sdxl", "LyCORIS", "conv_", "block_", "dynamo_")
_OF_OTHERS = {
    *("bypass_mode", "clip_g", "clip_g_dropout_rate", "constrain", "decompose_both", "dora_wd", "down_lr_weight"),
    *(
        "enable_all_linear",
        "factor",
        "lowvram",
        "mem_eff_save",
        "mid_lr_weight",
        "model_list",
        "num_cpu_threads_per_process",
    ),
    *("num_machines", "num_processes", "pos_emb_random_crop_rate", "rank_dropout_scale", "rescaled", "save_as_bool"),
    *("save_clip", "save_t5xxl", "show_timesteps", "show_timesteps_resolution", "stop_text_encoder_training"),
    *("t5xxl_device", "t5xxl_dtype", "train_inpainting", "train_norm", "train_on_input", "unit", "up_lr_weight"),
    *("use_cp", "use_scalar", "use_tucker", "ggpo_sigma", "ggpo_beta", "logit_mean", "logit_std", "mode_scale"),
    *("weighting_scheme", "network_args"),
}


def is_kohya_gui(data: Mapping[str, Any]) -> bool:
    """Whether `data` are settings of the GUI's."""
    return "LoRA_type" in data or "flux1_checkbox" in data


def read_kohya_gui(data: Mapping[str, Any], draft: Draft) -> None:
    """Fill `draft` with what the GUI would have passed on of `data`: it drops every field that is 0, empty or off.

    Raises:
        FluxgymError: the settings are not for a FLUX LoRA.
        ValueError: a field has a value of another kind; the message begins with its name.
    """
    kind = str(data.get("LoRA_type", "Flux1"))
    if data.get("flux1_checkbox") is False or kind != "Flux1":
        raise FluxgymError(
            f"{draft.origin} trains no FLUX LoRA: its LoRA type is {kind}"
            + (", and its box for FLUX.1 is not checked" if kind == "Flux1" else ""),
            hint="Only the type Flux1 can be imported: this program trains FLUX LoRAs in kohya's format.",
        )
    with_huber = data.get("loss_type") in ("huber", "smooth_l1")
    without_effect = WITHOUT_EFFECT if with_huber else {**WITHOUT_EFFECT, **HUBER}
    neutral = {**NEUTRAL, **HUBER, **WITHOUT_EFFECT}
    unused = []
    for key, value in data.items():
        name = RENAMED.get(key, key)
        if is_off(value) or key in _READ_APART or key in NETWORK_ARGS or value == neutral.get(key):
            continue
        if key in without_effect:
            unused.append(key)
        elif key in _OF_ACCELERATE:
            draft.warn("accelerate", f"{key} = {value} is left out: a run is one process on one card")
        elif name in FLAG_KINDS and key not in _OF_OTHERS:
            draft.options[name] = _option(key, name, value)
        elif key not in _OF_OTHERS and not key.startswith(_PREFIXES_OF_OTHERS):
            draft.warn(
                "unknown_field", f"{key} = {value!r} is left out: the GUI's FLUX settings have no such field here"
            )
    if unused:
        draft.tell("no_effect", f"left out, as sd-scripts does not use them for FLUX: {', '.join(sorted(unused))}")
    if str(data.get("model_type")).lower() == "chroma":  # the GUI says so itself: Chroma trains with nothing else
        draft.options["apply_t5_attn_mask"] = True
        if is_off(data.get("guidance_scale")):
            draft.options["guidance_scale"] = 0.0
    _attention(data, draft)
    _length(data, draft)
    _rates(data, draft)
    _network(data, draft)
    workers = data.get("max_data_loader_n_workers")
    draft.options["max_data_loader_n_workers"] = (
        0 if is_off(workers) else _option("workers", "max_data_loader_n_workers", workers)
    )
    draft.samples["prompts"] = prompt_lines(str(data.get("sample_prompts") or ""))
    # The GUI takes quotes out and splits at spaces; what stands here beats the fields.
    options, draft.extra_args, problems = options_of(
        str(data.get("additional_parameters") or "").replace('"', "").split()
    )
    draft.options |= options
    for problem in problems:
        draft.warn("not_read", f"additional_parameters: {problem}; left out")
    draft.find_pictures()
    take_own(data.get(OWN_TABLE), draft)


def _option(key: str, name: str, value: Any) -> FlagValue:
    kind = FLAG_KINDS[name]
    try:
        if kind in ("texts", "numbers") and isinstance(value, str):
            return read_flag(name, tuple(value.replace('"', "").split()))
        if kind == "switch":
            return read_flag(name, bool(value))
        return read_flag(name, str(value) if kind == "text" else value)
    except ValueError as error:
        raise ValueError(f"{key} {error}") from error


def _attention(data: Mapping[str, Any], draft: Draft) -> None:
    word = data.get("xformers")
    if word in ("sdpa", "xformers"):
        draft.options[str(word)] = True


def _length(data: Mapping[str, Any], draft: Draft) -> None:
    for name in ("max_train_epochs", "max_train_steps"):
        if not is_off(data.get(name)):
            draft.options[name] = _option(name, name, data[name])
    if not is_off(data.get("epoch")) and not draft.options.keys() & {"max_train_epochs", "max_train_steps"}:
        draft.options["max_train_epochs"] = _option("epoch", "max_train_epochs", data["epoch"])
        if data.get("dataset_config"):
            draft.tell(
                "epoch",
                f"epoch = {data['epoch']} is taken as max_train_epochs; with a dataset.toml the GUI itself trains "
                "sd-scripts' 1600 steps in its place",
            )
    steps, percent = data.get("lr_warmup_steps"), data.get("lr_warmup")
    if not is_off(steps):
        draft.options["lr_warmup_steps"] = _option("lr_warmup_steps", "lr_warmup_steps", steps)
    elif not is_off(percent):
        share = _option("lr_warmup", "learning_rate", percent)
        draft.options["lr_warmup_steps"] = float(share) / 100 if isinstance(share, float) else 0


def _rates(data: Mapping[str, Any], draft: Draft) -> None:
    """Which parts train follows from which rates are set."""
    rates = {name: _rate(data, name) for name in ("learning_rate", "unet_lr", "text_encoder_lr", "t5xxl_lr")}
    main, unet, clip, t5 = rates.values()
    if main:
        draft.options["learning_rate"] = main
    if unet and (unet != main or clip):
        draft.options["unet_lr"] = unet
    if clip:
        draft.options["text_encoder_lr"] = (clip, t5 or clip)
    if unet and not clip:
        draft.options["network_train_unet_only"] = True
    if clip and not unet:
        draft.options["network_train_text_encoder_only"] = True


def _rate(data: Mapping[str, Any], name: str) -> float:
    value = data.get(name)
    return 0.0 if is_off(value) else float(str(_option(name, "learning_rate", value)))


def _network(data: Mapping[str, Any], draft: Draft) -> None:
    arguments = [f"{name}={data[name]}" for name in NETWORK_ARGS if not is_off(data.get(name))]
    if data.get("train_lora_ggpo"):
        arguments += [f"{name}={data[name]}" for name in ("ggpo_sigma", "ggpo_beta") if not is_off(data.get(name))]
    blocks = str(data.get("train_blocks") or "all")
    if data.get("split_mode"):
        blocks = "single"
    elif blocks != "all":
        draft.tell(
            "train_blocks", f"train_blocks = {blocks} is taken; the GUI of today passes it on with split_mode alone"
        )
    if blocks != "all":
        arguments.insert(0, f"train_blocks={blocks}")
    draft.options["network_module"] = "networks.lora_flux"
    if arguments:
        draft.options["network_args"] = tuple(arguments)
