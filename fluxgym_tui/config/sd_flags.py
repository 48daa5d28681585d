"""The options of sd-scripts' flux_train_network.py by name: what kind of value each takes, and its choices."""

from fluxgym_tui.config import values

# Taken from the parser of sd-scripts 48d368fa; a test compares them with the recorded parser. Every option is written
# as two dashes and its name.
_NAMES = {
    "switch": """
        alpha_mask apply_t5_attn_mask async_upload bucket_no_upscale cache_info cache_latents
        cache_latents_to_disk cache_text_encoder_outputs cache_text_encoder_outputs_to_disk color_aug
        console_log_simple cpu_offload_checkpointing ddp_gradient_as_bucket_view ddp_static_graph
        debiased_estimation_loss debug_dataset deepspeed dim_from_weights disable_mmap_load_safetensors
        enable_bucket enable_wildcard flip_aug fp16_master_weights_and_gradients fp8_base fp8_base_unet
        full_bf16 full_fp16 fused_backward_pass gradient_checkpointing highvram
        ip_noise_gamma_random_strength log_config lowram masked_loss mem_eff_attn
        network_train_text_encoder_only network_train_unet_only no_half_vae no_metadata
        noise_offset_random_strength output_config persistent_data_loader_workers random_crop
        resume_from_huggingface sample_at_first save_state save_state_on_train_end
        save_state_to_huggingface scale_v_pred_loss_like_noise_pred sdpa shuffle_caption skip_cache_check
        skip_until_initial_step split_mode torch_compile use_8bit_adam use_lion_optimizer v2
        v_parameterization weighted_captions xformers zero3_init_flag zero3_save_16bit_model
        zero_terminal_snr
    """,
    "whole": """
        blocks_to_swap bucket_reso_steps caption_dropout_every_n_epochs clip_skip dataset_repeats
        ddp_timeout gradient_accumulation_steps initial_epoch initial_step keep_tokens
        lr_scheduler_num_cycles lr_scheduler_timescale max_bucket_reso max_data_loader_n_workers
        max_timestep max_token_length max_train_epochs max_train_steps max_validation_steps
        min_bucket_reso min_timestep multires_noise_iterations network_dim sample_every_n_epochs
        sample_every_n_steps save_every_n_epochs save_every_n_steps save_last_n_epochs
        save_last_n_epochs_state save_last_n_steps save_last_n_steps_state save_n_epoch_ratio seed
        t5xxl_max_token_length text_encoder_batch_size token_warmup_min train_batch_size vae_batch_size
        validate_every_n_epochs validate_every_n_steps validation_seed zero_stage
    """,
    "number": """
        adaptive_noise_scale caption_dropout_rate caption_tag_dropout_rate discrete_flow_shift
        guidance_scale huber_c huber_scale ip_noise_gamma learning_rate logit_mean logit_std
        lr_scheduler_min_lr_ratio lr_scheduler_power max_grad_norm min_snr_gamma mode_scale
        multires_noise_discount network_alpha network_dropout noise_offset prior_loss_weight
        scale_weight_norms sigmoid_scale token_warmup_step unet_lr v_pred_like_loss validation_split
    """,
    "whole_or_number": """
        lr_decay_steps lr_warmup_steps
    """,
    "text": """
        ae caption_extension caption_extention caption_prefix caption_separator caption_suffix clip_l
        conditioning_data_dir config_file console_log_file console_log_level
        controlnet_model_name_or_path dataset_class dataset_config dynamo_backend face_crop_aug_range
        huber_schedule huggingface_path_in_repo huggingface_repo_id huggingface_repo_type
        huggingface_repo_visibility huggingface_token in_json keep_tokens_separator log_prefix
        log_tracker_config log_tracker_name log_with logging_dir loss_type lr_scheduler lr_scheduler_type
        metadata_author metadata_description metadata_is_negative_embedding metadata_license
        metadata_merged_from metadata_preprocessor metadata_tags metadata_thumbnail metadata_title
        metadata_trigger_phrase metadata_usage_hint mixed_precision model_prediction_type model_type
        network_module network_weights offload_optimizer_device offload_optimizer_nvme_path
        offload_param_device offload_param_nvme_path optimizer_type output_dir output_name
        pretrained_model_name_or_path reg_data_dir resize_interpolation resolution resume sample_prompts
        sample_sampler save_model_as save_precision secondary_separator t5xxl timestep_sampling
        tokenizer_cache_dir train_data_dir training_comment vae wandb_api_key wandb_run_name
        weighting_scheme
    """,
    "texts": """
        base_weights lr_scheduler_args network_args optimizer_args
    """,
    "numbers": """
        base_weights_multiplier text_encoder_lr
    """,
}
FLAG_KINDS: dict[str, str] = {name: kind for kind, names in _NAMES.items() for name in names.split()}

CHOICES: dict[str, tuple[str, ...]] = {
    "console_log_level": ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
    "dynamo_backend": (
        "eager",
        "aot_eager",
        "inductor",
        "aot_ts_nvfuser",
        "nvprims_nvfuser",
        "cudagraphs",
        "ofi",
        "fx2trt",
        "onnxrt",
        "tensort",
        "ipex",
        "tvm",
    ),
    "huber_schedule": ("constant", "exponential", "snr"),
    "log_with": ("tensorboard", "wandb", "all"),
    "loss_type": ("l1", "l2", "huber", "smooth_l1"),
    "max_token_length": ("150", "225"),
    "mixed_precision": ("no", "fp16", "bf16"),
    "model_prediction_type": ("raw", "additive", "sigma_scaled"),
    "model_type": ("flux", "chroma"),
    "offload_optimizer_device": ("cpu", "nvme"),
    "offload_param_device": ("cpu", "nvme"),
    "resize_interpolation": ("lanczos", "nearest", "bilinear", "linear", "bicubic", "cubic", "area"),
    "sample_sampler": (
        "ddim",
        "pndm",
        "lms",
        "euler",
        "euler_a",
        "heun",
        "dpm_2",
        "dpm_2_a",
        "dpmsolver",
        "dpmsolver++",
        "dpmsingle",
        "k_lms",
        "k_euler",
        "k_euler_a",
        "k_dpm_2",
        "k_dpm_2_a",
    ),
    "save_model_as": ("ckpt", "pt", "safetensors"),
    "save_precision": ("float", "fp16", "bf16"),
    "timestep_sampling": ("sigma", "uniform", "sigmoid", "shift", "flux_shift"),
    "weighting_scheme": ("sigma_sqrt", "logit_normal", "mode", "cosmap", "none", "uniform"),
    "zero_stage": ("0", "1", "2", "3"),
}

FlagValue = bool | int | float | str | tuple[str, ...] | tuple[float, ...]

_READERS = {
    "switch": values.read_switch,
    "whole": values.read_whole,
    "number": values.read_number,
    "whole_or_number": values.read_whole_or_number,
    "text": values.read_text,
    "texts": values.read_texts,
}


def read_flag(name: str, value: object) -> FlagValue:
    """`value` as the option `name` takes it: a plain YAML word, a text or a Python value becomes its type.

    An option that sd-scripts does not know is read by YAML's own rules; the backend says whether anybody takes it.

    Raises:
        ValueError: the value has another kind, or is none of the option's choices.
    """
    kind = FLAG_KINDS.get(name)
    if kind is None:
        return values.read_any(value)
    if kind == "numbers":
        items = value if isinstance(value, (list, tuple)) else (value,)
        return tuple(values.read_number(item) for item in items)
    read: FlagValue = _READERS[kind](value)
    choices = CHOICES.get(name)
    if choices is not None and str(read) not in choices:
        raise ValueError(f"must be one of {', '.join(choices)}, not {values.shown(value)}")
    return read
