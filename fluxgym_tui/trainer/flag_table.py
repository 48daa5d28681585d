"""Every flag of sd-scripts' FLUX trainer, and what the built-in trainer makes of it. Imports no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from fluxgym_tui.trainer.network_args import HONOURED


class Status(StrEnum):
    """What becomes of a flag. Nothing is accepted and then left out of account."""

    HONOURED = "honoured"
    ALWAYS = "always so"  # a switch for what this trainer does anyway
    REFUSED = "refused"  # it means something for FLUX, and this trainer does not do it
    MEANINGLESS = "without meaning here"  # refused too: it belongs to another model or changes nothing for FLUX


FlagScalar = str | int | float | bool | Path | None
FlagResult = FlagScalar | tuple[FlagScalar, ...]


@dataclass(frozen=True, slots=True)
class Flag:
    """One flag. `read` turns an argument into its value, and is None for a switch; `many` takes any number of them."""

    name: str
    status: Status
    note: str
    read: Callable[[str], FlagScalar] | None = None
    default: FlagResult = None
    choices: tuple[str, ...] | None = None
    many: bool = False
    required: bool = False
    ours: bool = False  # not of sd-scripts


def int_or_float(text: str) -> int | float:
    """Steps, or a part of all steps: `100` and `100.0` -> 100, `0.1` and `10%` -> 0.1."""
    value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    return int(value) if value >= 1 and value.is_integer() and not text.endswith("%") else value


def resolution(text: str) -> str:
    """`text` where it is a resolution: `512`, or width and height as `768,1024`."""
    sides = [int(side) for side in text.split(",")]
    if not 1 <= len(sides) <= 2 or min(sides) < 1:
        raise ValueError(text)
    return text


def _takes(
    name: str,
    read: Callable[[str], FlagScalar],
    default: FlagResult,
    note: str,
    *,
    choices: tuple[str, ...] | None = None,
    many: bool = False,
    required: bool = False,
    ours: bool = False,
) -> Flag:
    return Flag(name, Status.HONOURED, note, read, default, choices=choices, many=many, required=required, ours=ours)


def _switch(name: str, note: str, *, required: bool = False, ours: bool = False) -> Flag:
    return Flag(name, Status.HONOURED, note, None, False, required=required, ours=ours)


_NETWORK_ARGS = ", ".join(f"`{name}`" for name in HONOURED)
_FALLBACK = "for datasets whose file does not say it"
_AS_SD = "as sd-scripts does for Stable Diffusion (its FLUX trainer takes it and leaves it out of account)"
_UNCACHED = f"needs text that is not cached; {_FALLBACK}"

_HONOURED = (
    # models and folders
    _takes("pretrained_model_name_or_path", Path, None, "FLUX.1 in BFL's layout, one file", required=True),
    _takes("clip_l", Path, None, "read only where a caption's cache or a sample prompt needs it", required=True),
    _takes("t5xxl", Path, None, "read only where a caption's cache or a sample prompt needs it", required=True),
    _takes("ae", Path, None, "read only where a picture's cache or a sample needs it", required=True),
    _takes("tokenizer_cache_dir", Path, None, "without it the tokenizers come from the Hugging Face hub"),
    _takes("output_dir", Path, None, "made where it is missing", required=True),
    _takes("output_name", str, None, "`last` where not given, as in sd-scripts"),
    # pictures
    _takes("dataset_config", Path, None, "sd-scripts' TOML", required=True),
    _takes("resolution", resolution, None, f"`W,H` or one number, {_FALLBACK}"),
    _takes("train_batch_size", int, 1, _FALLBACK),
    _switch("enable_bucket", _FALLBACK),
    _takes("min_bucket_reso", int, 256, _FALLBACK),
    _takes("max_bucket_reso", int, 1024, _FALLBACK),
    _takes("bucket_reso_steps", int, 64, f"{_FALLBACK}; multiples of 64, as sd-scripts demands for FLUX"),
    _switch("bucket_no_upscale", _FALLBACK),
    _takes("caption_extension", str, ".caption", _FALLBACK),
    _switch("alpha_mask", f"a picture's transparency weighs its loss; {_FALLBACK}"),
    _switch(
        "masked_loss",
        "the red of the pictures in a subset's `conditioning_data_dir` weighs the loss of its pictures;"
        " transparency (`alpha_mask`) does without it",
    ),
    _takes("validation_split", float, 0.0, f"this share of the pictures is kept back and measured; {_FALLBACK}"),
    _takes("validation_seed", int, None, "chooses them and draws their noise; `seed` where not given"),
    _takes("validate_every_n_steps", int, None, "besides the ends of epochs"),
    _takes("validate_every_n_epochs", int, None, "every epoch where not given"),
    _takes("max_validation_steps", int, None, "so many batches at most"),
    _switch("shuffle_caption", f"the tokens of a caption come in another order each time; {_UNCACHED}"),
    _takes("caption_separator", str, ",", f"what stands between tokens; {_FALLBACK}"),
    _takes("keep_tokens", int, 0, f"so many tokens at the beginning stay where they are; {_FALLBACK}"),
    _takes("keep_tokens_separator", str, "", f"tokens before the first and after the second stay; {_FALLBACK}"),
    _takes("secondary_separator", str, None, f"becomes `caption_separator` in the end; {_UNCACHED}"),
    _switch("enable_wildcard", f"one of `{{a|b}}`, and one line of several; {_UNCACHED}"),
    _takes("caption_prefix", str, None, f"before each caption; {_UNCACHED}"),
    _takes("caption_suffix", str, None, f"after each caption; {_UNCACHED}"),
    _takes("caption_dropout_rate", float, 0.0, f"this share of captions is left empty; {_UNCACHED}"),
    _takes("caption_dropout_every_n_epochs", int, 0, f"all captions are left empty in every nth epoch; {_UNCACHED}"),
    _takes("caption_tag_dropout_rate", float, 0.0, f"this share of tokens is left out; {_UNCACHED}"),
    _takes("token_warmup_min", int, 1, f"so many tokens at first; {_FALLBACK}"),
    _takes("token_warmup_step", float, 0, f"all tokens from this step (below 1: part of all steps) on; {_UNCACHED}"),
    _takes("prior_loss_weight", float, 1.0, "weight of regularisation pictures"),
    _switch("cache_latents", "implied by the next"),
    _switch("cache_latents_to_disk", "pictures are always trained from caches beside them", required=True),
    _takes("vae_batch_size", int, 1, "pictures of one bucket encoded at once"),
    _switch(
        "cache_text_encoder_outputs",
        "captions are encoded once, into files beside the pictures; without it both encoders stay loaded",
    ),
    _switch("cache_text_encoder_outputs_to_disk", "the same: there are no caches but on disk"),
    _takes("text_encoder_batch_size", int, None, "captions encoded at once; the batch size where not given"),
    _takes("t5xxl_max_token_length", int, None, "512, or 256 for schnell, where not given"),
    _switch("apply_t5_attn_mask", "the transformer does not look at the padding of captions"),
    _takes("max_data_loader_n_workers", int, 8, "threads that read caches ahead of the training; 0 reads in between"),
    # the LoRA
    _takes("network_module", str, None, "the one kind of LoRA there is", choices=("networks.lora_flux",)),
    _takes("network_dim", int, None, "4 where not given, as in sd-scripts"),
    _takes("network_alpha", float, 1.0, "the LoRA is scaled by alpha / dim"),
    _takes("network_args", str, None, f"`train_blocks=single` and so on: {_NETWORK_ARGS}", many=True),
    _takes("network_dropout", float, None, "this share of the values between down and up is left out of each step"),
    _takes("scale_weight_norms", float, None, "what a layer's adapter adds is kept to this norm after each step"),
    _takes("network_weights", Path, None, "go on from this LoRA's weights (ours or kohya's, not diffusers')"),
    _switch("dim_from_weights", "layers, ranks and alphas are those of `network_weights`"),
    _takes("base_weights", Path, None, "LoRA files that are merged into the base before the training", many=True),
    _takes("base_weights_multiplier", float, None, "how strongly each of them is; 1 where not given", many=True),
    _switch("network_train_unet_only", "without it CLIP-L is trained too, and stays loaded"),
    _switch("network_train_text_encoder_only", "CLIP-L alone is trained"),
    # the optimiser
    _takes(
        "optimizer_type", str, "",
        "in any case; AdamW where not given; all but AdamW and Adafactor from packages of their own:"
        " `pip install 'fluxgym-tui[optimizers]'`",
        choices=(
            "AdamW", "Adafactor", "AdamW8bit", "PagedAdamW8bit", "PagedAdamW", "PagedAdamW32bit", "Lion8bit",
            "PagedLion8bit", "Lion", "Prodigy", "AdamWScheduleFree", "RAdamScheduleFree", "SGDScheduleFree",
        ),
    ),
    _takes("optimizer_args", str, None, "`weight_decay=0.1` and so on, by the optimiser's own names", many=True),
    _takes("learning_rate", float, 2e-6, ""),
    _takes("unet_lr", float, None, "the transformer's own learning rate: beats `learning_rate`"),
    _takes(
        "text_encoder_lr", float, None, "CLIP-L's own learning rate: beats `learning_rate`; 0 keeps it still",
        many=True,
    ),
    _takes("max_grad_norm", float, 1.0, "0 = gradients are not clipped"),
    _takes(
        "lr_scheduler", str, "constant", "as transformers defines them",
        choices=("constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial",
                 "inverse_sqrt", "cosine_with_min_lr", "warmup_stable_decay", "piecewise_constant",
                 "adafactor"),
    ),
    _takes(
        "lr_scheduler_args", str, None,
        "`step_rules=1:100,0.1:200,0.01` for piecewise_constant: the rate times 1 before step 100 and so on",
        many=True,
    ),
    _takes("lr_warmup_steps", int_or_float, 0, "steps, or below 1 a part of all steps"),
    _takes(
        "lr_scheduler_num_cycles", int, 1,
        "for cosine_with_restarts; half waves of cosine_with_min_lr and warmup_stable_decay",
    ),
    _takes("lr_scheduler_power", float, 1.0, "for polynomial"),
    _takes("lr_decay_steps", int_or_float, 0, "for warmup_stable_decay: its last steps, or a part of all steps"),
    _takes("lr_scheduler_timescale", int, None, "for inverse_sqrt; the warm-up, or 10000 where there is none"),
    _takes("lr_scheduler_min_lr_ratio", float, None, "for cosine_with_min_lr, which needs it, and warmup_stable_decay"),
    # how long, how exactly
    _takes("max_train_steps", int, 1600, "optimiser steps"),
    _takes("max_train_epochs", int, None, "beats `max_train_steps`"),
    _takes("gradient_accumulation_steps", int, 1, "batches an optimiser step"),
    _switch("gradient_checkpointing", "less memory, more time"),
    _switch("fp8_base", "the matrices of the transformer's blocks are held in fp8 (e4m3fn), all else in full"),
    _switch("fp8_base_unet", "the same: T5 is held as its file has it in any case"),
    _takes(
        "blocks_to_swap", int, None,
        "so many blocks, as sd-scripts counts them (1 to 35 for FLUX.1), wait in the CPU's memory, and come to the GPU"
        " when they are used; so do T5's layers. Needs `gradient_checkpointing`; on the CPU a warning says that it has"
        " no effect",
    ),
    _takes("mixed_precision", str, "no", "bf16: the base in bf16, the LoRA's weights in fp32", choices=("no", "bf16")),
    _takes("seed", int, None, "drawn and printed where not given"),
    # noise, target, loss
    _takes("guidance_scale", float, 3.5, "given to models that embed it"),
    _takes(
        "timestep_sampling", str, "sigma", "",
        choices=("sigma", "uniform", "sigmoid", "shift", "flux_shift"),
    ),
    _takes("sigmoid_scale", float, 1.0, "for sigmoid, shift and flux_shift"),
    _takes("discrete_flow_shift", float, 3.0, "for sigma and shift"),
    _takes(
        "weighting_scheme", str, "uniform", "draws the timesteps of `sigma`, weighs the loss of `sigma_scaled`",
        choices=("sigma_sqrt", "logit_normal", "mode", "cosmap", "none", "uniform"),
    ),
    _takes("logit_mean", float, 0.0, "for logit_normal"),
    _takes("logit_std", float, 1.0, "for logit_normal"),
    _takes("mode_scale", float, 1.29, "for mode"),
    _takes("model_prediction_type", str, "sigma_scaled", "", choices=("raw", "additive", "sigma_scaled")),
    _takes("loss_type", str, "l2", "", choices=("l2", "l1", "huber", "smooth_l1")),
    _takes(
        "huber_schedule", str, "snr", "for huber and smooth_l1, which need one of these: FLUX has no `snr`",
        choices=("constant", "exponential"),
    ),
    _takes("huber_c", float, 0.1, "for huber and smooth_l1"),
    _takes("huber_scale", float, 1.0, "for huber and smooth_l1"),
    _takes("noise_offset", float, None, f"each channel's noise is moved by so much; {_AS_SD}"),
    _switch("noise_offset_random_strength", "from 0 to `noise_offset`, drawn anew for each batch"),
    _takes("adaptive_noise_scale", float, None, "so much of each channel's mean is added to `noise_offset`"),
    _takes("multires_noise_iterations", int, None, f"so many coarser layers of noise are added; {_AS_SD}"),
    _takes("multires_noise_discount", float, 0.3, "how much each coarser layer weighs of the one before"),
    _takes("ip_noise_gamma", float, None, "so much more noise goes into the input, unknown to the target"),
    _switch("ip_noise_gamma_random_strength", "from 0 to `ip_noise_gamma`, drawn anew for each batch"),
    # files
    _takes("save_model_as", str, "safetensors", "the one format there is", choices=("safetensors",)),
    _takes("save_precision", str, None, "that of training where not given", choices=("float", "fp16", "bf16")),
    _takes("save_every_n_epochs", int, None, "`NAME-000004.safetensors`; the last is always `NAME.safetensors`"),
    _takes("save_every_n_steps", int, None, "`NAME-step00000100.safetensors`"),
    _takes("save_n_epoch_ratio", int, None, "so many checkpoints of epochs: it sets `save_every_n_epochs`"),
    _takes("save_last_n_epochs", int, None, "older checkpoints of epochs are removed"),
    _takes("save_last_n_steps", int, None, "checkpoints of steps that are older than this many steps are removed"),
    _switch("save_state", "with each checkpoint, and when stopped: `NAME-000004-state`, to resume from"),
    _switch("save_state_on_train_end", "at the end: `NAME-state`"),
    _takes("save_last_n_epochs_state", int, None, "as `save_last_n_epochs`, which it is where not given"),
    _takes("save_last_n_steps_state", int, None, "as `save_last_n_steps`, which it is where not given"),
    _takes("resume", Path, None, "the folder of a state of this trainer; goes on as if never stopped, bit by bit"),
    _takes("logging_dir", Path, None, "`DIR/PREFIX+TIME/network_train/` gets TensorBoard's event file"),
    _takes(
        "log_with", str, None, "tensorboard where `logging_dir` is given; wandb from its package: `pip install wandb`",
        choices=("tensorboard", "wandb", "all"),
    ),
    _takes("log_prefix", str, None, "before the time in `logging_dir`"),
    _takes("log_tracker_name", str, None, "instead of network_train; wandb's project"),
    _takes("log_tracker_config", Path, None, "TOML whose table `wandb` goes to `wandb.init`"),
    _takes("wandb_run_name", str, None, ""),
    _takes("training_comment", str, None, "into the LoRA's metadata"),
    _takes("metadata_title", str, None, "into the LoRA's metadata; the output name where not given"),
    _takes("metadata_author", str, None, "into the LoRA's metadata"),
    _takes("metadata_description", str, None, "into the LoRA's metadata"),
    _takes("metadata_license", str, None, "into the LoRA's metadata"),
    _takes("metadata_tags", str, None, "into the LoRA's metadata"),
    _takes("metadata_usage_hint", str, None, "into the LoRA's metadata"),
    _takes("metadata_thumbnail", str, None, "into the LoRA's metadata: a picture file, or a data URL"),
    _takes("metadata_merged_from", str, None, "into the LoRA's metadata"),
    _takes("metadata_trigger_phrase", str, None, "into the LoRA's metadata"),
    _takes("metadata_preprocessor", str, None, "into the LoRA's metadata"),
    _takes("metadata_is_negative_embedding", str, None, "into the LoRA's metadata"),
    _switch("no_metadata", "of the training only what programs need to load the LoRA"),
    # samples
    _takes("sample_prompts", Path, None, "one prompt a line: `--w --h --d --s --g --l --n`"),
    _takes("sample_every_n_steps", int, None, ""),
    _takes("sample_every_n_epochs", int, None, "beats `sample_every_n_steps`"),
    _switch("sample_at_first", "before the first step"),
    _switch("fluxgym_probe", "loss at fixed noise and eight fixed sigmas before and after the training", ours=True),
    _takes(
        "fluxgym_on_nan", str, "stop",
        "where a loss or gradient is not finite: stop, or leave that step out, up to ten in a row",
        choices=("stop", "skip"), ours=True,
    ),
)  # fmt: skip

_ALWAYS = {
    "sdpa": "attention is PyTorch's own",
    "persistent_data_loader_workers": "the reading threads live as long as the training",
    "no_half_vae": "the autoencoder runs in fp32",
    "highvram": "memory of the device is not cleared between the pictures that are encoded",
    "lowram": "weights are read straight to the device",
    "console_log_simple": "the log is plain lines",
    "skip_until_initial_step": "a resumed training goes on at the step of its state",
}

_TRAINS_CACHED = "pictures are trained from caches, which forbid it"
_HALF = "the LoRA's weights learn in fp32: in half precision small steps are lost"
_NO_COMPILER = "it does without a compiler"
_ONE_DEVICE = "it trains on one device, by itself"
_HUB = "the app uploads, not the trainer"

_REFUSED = {
    "console_log_level": "everything is logged", "console_log_file": "the run keeps the log",
    "train_data_dir": "pictures come from `dataset_config`", "reg_data_dir": "pictures come from `dataset_config`",
    "in_json": "pictures come from `dataset_config`", "conditioning_data_dir": "masks come from `dataset_config`",
    "dataset_repeats": "repeats come from `dataset_config`", "dataset_class": "no code of others is loaded",
    "cache_info": "sizes come from the pictures' own headers",
    "debug_dataset": "`fluxgym-tui plan` shows what would be trained",
    "color_aug": _TRAINS_CACHED, "flip_aug": "mirrored copies among the pictures do the same",
    "face_crop_aug_range": _TRAINS_CACHED,
    "random_crop": _TRAINS_CACHED,
    "resize_interpolation": "down by area, up by Lanczos, as sd-scripts does where it is not given",
    "skip_cache_check": "every cache is checked against its picture, caption and encoder",
    "huggingface_repo_id": _HUB, "huggingface_repo_type": _HUB, "huggingface_path_in_repo": _HUB,
    "huggingface_token": _HUB, "huggingface_repo_visibility": _HUB, "save_state_to_huggingface": _HUB,
    "resume_from_huggingface": _HUB, "async_upload": _HUB,
    "initial_epoch": "a resumed training knows",
    "initial_step": "a resumed training knows",
    "mem_eff_attn": "attention is PyTorch's own (`sdpa`)", "xformers": "attention is PyTorch's own (`sdpa`)",
    "torch_compile": _NO_COMPILER, "dynamo_backend": _NO_COMPILER,
    "full_fp16": _HALF, "full_bf16": _HALF,
    "fp16_master_weights_and_gradients": _HALF,
    "ddp_timeout": _ONE_DEVICE, "ddp_gradient_as_bucket_view": _ONE_DEVICE, "ddp_static_graph": _ONE_DEVICE,
    "deepspeed": _ONE_DEVICE, "zero_stage": _ONE_DEVICE, "offload_optimizer_device": _ONE_DEVICE,
    "offload_optimizer_nvme_path": _ONE_DEVICE, "offload_param_device": _ONE_DEVICE,
    "offload_param_nvme_path": _ONE_DEVICE, "zero3_init_flag": _ONE_DEVICE, "zero3_save_16bit_model": _ONE_DEVICE,
    "wandb_api_key": "a command line is no place for a secret: `wandb login`, or the variable WANDB_API_KEY",
    "log_config": "the run's folder keeps the command",
    "config_file": "flags come from the command line", "output_config": "flags come from the command line",
    "use_8bit_adam": "give `optimizer_type`", "use_lion_optimizer": "give `optimizer_type`",
    "lr_scheduler_type": "no code of others is loaded",
    "fused_backward_pass": "a LoRA's gradients are small: there is nothing to save",
    "cpu_offload_checkpointing": "give `blocks_to_swap`: it saves more",
    "split_mode": "sd-scripts' old name for `blocks_to_swap 18`: give that",

    "disable_mmap_load_safetensors": "on the CPU the mapped file is the one copy of the weights; for a GPU it is read",
    "controlnet_model_name_or_path": "it trains LoRAs alone",
}  # fmt: skip

_SD = "of Stable Diffusion"
_MEANINGLESS = {
    "help": "it prints the flags where it stands alone",
    "v2": _SD, "v_parameterization": _SD, "clip_skip": _SD, "max_token_length": _SD,
    "vae": "FLUX's autoencoder is `ae`", "caption_extention": "an old misspelling of `caption_extension`",
    "zero_terminal_snr": _SD, "min_snr_gamma": _SD, "scale_v_pred_loss_like_noise_pred": _SD, "v_pred_like_loss": _SD,
    "debiased_estimation_loss": _SD, "weighted_captions": "sd-scripts does not apply it to FLUX",
    "min_timestep": "sd-scripts does not use it for FLUX", "max_timestep": "sd-scripts does not use it for FLUX",
    "sample_sampler": "sd-scripts does not use it for FLUX: samples are always Euler's",
}  # fmt: skip

_MODEL_TYPE = _takes("model_type", str, "flux", "Chroma needs the kohya backend", choices=("flux",))

FLAGS: dict[str, Flag] = {
    flag.name: flag
    for flag in (
        *_HONOURED,
        _MODEL_TYPE,
        *(Flag(name, Status.ALWAYS, note, None, False) for name, note in _ALWAYS.items()),
        *(Flag(name, Status.REFUSED, note) for name, note in _REFUSED.items()),
        *(Flag(name, Status.MEANINGLESS, note) for name, note in _MEANINGLESS.items()),
    )
}
"""All of sd-scripts' flags and ours, by name without dashes."""
