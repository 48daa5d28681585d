"""What a training was asked to do: every honoured flag with its value. Imports no torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerOptions:
    """Every honoured flag by its own name, with sd-scripts' defaults; what each does is in `flag_table.FLAGS`."""

    pretrained_model_name_or_path: Path
    clip_l: Path
    t5xxl: Path
    ae: Path
    tokenizer_cache_dir: Path | None
    output_dir: Path
    output_name: str | None
    dataset_config: Path
    resolution: str | None
    train_batch_size: int
    enable_bucket: bool
    min_bucket_reso: int
    max_bucket_reso: int
    bucket_reso_steps: int
    bucket_no_upscale: bool
    caption_extension: str
    prior_loss_weight: float
    cache_latents: bool
    cache_latents_to_disk: bool
    vae_batch_size: int
    cache_text_encoder_outputs: bool
    cache_text_encoder_outputs_to_disk: bool
    text_encoder_batch_size: int | None
    t5xxl_max_token_length: int | None
    apply_t5_attn_mask: bool
    alpha_mask: bool
    masked_loss: bool
    validation_split: float
    validation_seed: int | None
    validate_every_n_steps: int | None
    validate_every_n_epochs: int | None
    max_validation_steps: int | None
    shuffle_caption: bool
    caption_separator: str
    keep_tokens: int
    keep_tokens_separator: str
    secondary_separator: str | None
    enable_wildcard: bool
    caption_prefix: str | None
    caption_suffix: str | None
    caption_dropout_rate: float
    caption_dropout_every_n_epochs: int
    caption_tag_dropout_rate: float
    token_warmup_min: int
    token_warmup_step: float
    max_data_loader_n_workers: int
    network_module: str | None
    network_dim: int | None
    network_alpha: float
    network_args: tuple[str, ...]
    network_dropout: float | None
    scale_weight_norms: float | None
    network_weights: Path | None
    dim_from_weights: bool
    base_weights: tuple[Path, ...]
    base_weights_multiplier: tuple[float, ...]
    network_train_unet_only: bool
    network_train_text_encoder_only: bool
    optimizer_type: str
    optimizer_args: tuple[str, ...]
    learning_rate: float
    unet_lr: float | None
    text_encoder_lr: tuple[float, ...]
    max_grad_norm: float
    lr_scheduler: str
    lr_warmup_steps: int | float
    lr_scheduler_num_cycles: int
    lr_scheduler_power: float
    lr_decay_steps: int | float
    lr_scheduler_timescale: int | None
    lr_scheduler_min_lr_ratio: float | None
    lr_scheduler_args: tuple[str, ...]
    max_train_steps: int
    max_train_epochs: int | None
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    fp8_base: bool
    fp8_base_unet: bool
    blocks_to_swap: int | None
    mixed_precision: Literal["no", "bf16"]
    seed: int | None
    guidance_scale: float
    timestep_sampling: str
    sigmoid_scale: float
    discrete_flow_shift: float
    weighting_scheme: str
    logit_mean: float
    logit_std: float
    mode_scale: float
    model_prediction_type: str
    loss_type: str
    huber_schedule: str
    huber_c: float
    huber_scale: float
    noise_offset: float | None
    noise_offset_random_strength: bool
    adaptive_noise_scale: float | None
    multires_noise_iterations: int | None
    multires_noise_discount: float
    ip_noise_gamma: float | None
    ip_noise_gamma_random_strength: bool
    model_type: str
    save_model_as: str
    save_precision: Literal["float", "fp16", "bf16"] | None
    save_every_n_epochs: int | None
    save_every_n_steps: int | None
    save_n_epoch_ratio: int | None
    save_last_n_epochs: int | None
    save_last_n_steps: int | None
    save_state: bool
    save_state_on_train_end: bool
    save_last_n_epochs_state: int | None
    save_last_n_steps_state: int | None
    resume: Path | None
    logging_dir: Path | None
    log_with: Literal["tensorboard", "wandb", "all"] | None
    log_prefix: str | None
    log_tracker_name: str | None
    log_tracker_config: Path | None
    wandb_run_name: str | None
    training_comment: str | None
    metadata_title: str | None
    metadata_author: str | None
    metadata_description: str | None
    metadata_license: str | None
    metadata_tags: str | None
    metadata_usage_hint: str | None
    metadata_thumbnail: str | None
    metadata_merged_from: str | None
    metadata_trigger_phrase: str | None
    metadata_preprocessor: str | None
    metadata_is_negative_embedding: str | None
    no_metadata: bool
    sample_prompts: Path | None
    sample_every_n_steps: int | None
    sample_every_n_epochs: int | None
    sample_at_first: bool
    fluxgym_probe: bool
    fluxgym_on_nan: Literal["stop", "skip"]

    @property
    def cached_text(self) -> bool:
        """Whether captions are encoded once, before the training."""
        return self.cache_text_encoder_outputs or self.cache_text_encoder_outputs_to_disk

    @property
    def stores_fp8(self) -> bool:
        """Whether the transformer's blocks are held in fp8, whatever their file has."""
        return self.fp8_base or self.fp8_base_unet

    @property
    def trains_clip(self) -> bool:
        """Whether CLIP-L gets adapters; where it learns at the rate 0 it has them all the same, as in sd-scripts."""
        return not self.network_train_unet_only
