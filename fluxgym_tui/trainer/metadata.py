"""What a LoRA file says of its training: sd-scripts' `ss_*` fields and the `modelspec.*` standard.

All values are strings and a missing one is "None", as sd-scripts writes them: viewers and galleries read these.
"""

import base64
import json
import mimetypes
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from fluxgym_tui import __version__
from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.trainer.checkpoint import model_hash
from fluxgym_tui.trainer.options import TrainerOptions

# Options that are told as they were given.
_OPTIONS = (
    "learning_rate", "unet_lr", "gradient_checkpointing", "gradient_accumulation_steps", "lr_warmup_steps",
    "lr_scheduler", "network_alpha", "mixed_precision", "seed", "training_comment",
    "max_grad_norm", "prior_loss_weight", "loss_type", "guidance_scale", "timestep_sampling", "sigmoid_scale",
    "discrete_flow_shift", "weighting_scheme", "logit_mean", "logit_std", "mode_scale", "model_prediction_type",
    "apply_t5_attn_mask", "model_type", "huber_schedule", "huber_c", "huber_scale",
    "network_dropout", "scale_weight_norms", "ip_noise_gamma", "ip_noise_gamma_random_strength", "fp8_base",
    "fp8_base_unet",
    "noise_offset", "noise_offset_random_strength", "adaptive_noise_scale", "multires_noise_iterations",
    "multires_noise_discount", "validation_seed", "validation_split",
    "max_validation_steps", "validate_every_n_epochs", "validate_every_n_steps",
    "caption_dropout_rate", "caption_dropout_every_n_epochs", "caption_tag_dropout_rate",
)  # fmt: skip

# What sd-scripts leaves of the training with --no_metadata.
_LEAST = {"v2", "base_model_version", "network_module", "network_dim", "network_alpha", "network_args"}

# What this trainer never does, in the words of one that could.
_NEVER: dict[str, object] = {
    "full_fp16": False, "v2": False,
    "base_model_version": "flux1", "clip_skip": None, "max_token_length": None, "lowram": False,
    "zero_terminal_snr": False, "face_crop_aug_range": None, "min_snr_gamma": None,
    "debiased_estimation": False,
    "resize_interpolation": None,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class SubsetFacts:
    """One folder of a dataset, as far as a LoRA file tells of it; `captions` has one entry a picture."""

    image_dir: Path
    captions: Sequence[str]
    num_repeats: int
    class_tokens: str | None = None
    keep_tokens: int = 0
    is_reg: bool = False

    def tags(self) -> dict[str, int]:
        """How many pictures have each comma-separated part of a caption, in small letters."""
        parts = (part.strip().lower() for caption in self.captions for part in caption.split(","))
        return dict(Counter(part for part in parts if part))


@dataclass(frozen=True, kw_only=True)
class DatasetFacts:
    """One dataset: `buckets` counts pictures times repeats in each (width, height), where bucketing is on."""

    resolution: tuple[int, int]
    batch_size: int
    enable_bucket: bool
    min_bucket_reso: int
    max_bucket_reso: int
    buckets: Mapping[tuple[int, int], int]
    subsets: Sequence[SubsetFacts]

    def count(self, *, is_reg: bool) -> int:
        """Pictures times repeats."""
        return sum(len(subset.captions) * subset.num_repeats for subset in self.subsets if subset.is_reg == is_reg)


@dataclass(frozen=True, kw_only=True)
class TrainingFacts:
    """What the options do not say: when it began (Unix seconds), how much is trained, from what."""

    session_id: int
    started_at: float
    batches_per_epoch: int
    epochs: int
    total_steps: int
    network_dim: int | None
    network_args: Mapping[str, str]
    optimizer: Optimizer
    guidance_embed: bool
    validation_images: int
    datasets: Sequence[DatasetFacts]


def training_metadata(options: TrainerOptions, facts: TrainingFacts) -> dict[str, str]:
    """The fields that stay the same in every checkpoint of one training."""
    kind = type(facts.optimizer)
    arguments = f"({','.join(options.optimizer_args)})" if options.optimizer_args else ""
    regular = [subset for dataset in facts.datasets for subset in dataset.subsets if not subset.is_reg]
    values: dict[str, object] = dict(_NEVER) | {name: getattr(options, name) for name in _OPTIONS}
    values |= {
        "session_id": facts.session_id,
        "cache_latents": True,
        "network_module": options.network_module or "networks.lora_flux",
        "text_encoder_lr": list(options.text_encoder_lr) or None,
        "training_started_at": facts.started_at,
        "output_name": options.output_name,
        "num_train_images": sum(dataset.count(is_reg=False) for dataset in facts.datasets),
        "num_validation_images": facts.validation_images,
        "num_reg_images": sum(dataset.count(is_reg=True) for dataset in facts.datasets),
        "num_batches_per_epoch": facts.batches_per_epoch,
        "num_epochs": facts.epochs,
        "max_train_steps": facts.total_steps,
        "network_dim": facts.network_dim,
        "optimizer": f"{kind.__module__}.{kind.__qualname__}{arguments}",
        "datasets": json.dumps([_dataset(dataset) for dataset in facts.datasets]),
        "tag_frequency": json.dumps({subset.image_dir.name: subset.tags() for subset in regular}),
        "dataset_dirs": json.dumps({subset.image_dir.name: _folder(subset) for subset in regular}),
        "sd_model_name": options.pretrained_model_name_or_path.name,
        "sd_model_hash": model_hash(options.pretrained_model_name_or_path),
    }
    if facts.network_args:
        values["network_args"] = json.dumps(dict(facts.network_args))
    if options.no_metadata:
        values = {name: value for name, value in values.items() if name in _LEAST}
    told = {f"ss_{name}": str(value) for name, value in values.items()} | _modelspec(options, facts)
    # File names may hold bytes that are no UTF-8; a safetensors header must not.
    return {name: value.encode("utf-8", "replace").decode("utf-8") for name, value in told.items()}


def checkpoint_metadata(
    training: Mapping[str, str], *, step: int, epoch: int, now: float | None = None
) -> dict[str, str]:
    """The fields of one checkpoint: `training`'s, and how far it has come. `now` is in Unix seconds."""
    moment = time.time() if now is None else now
    date = datetime.fromtimestamp(int(moment)).isoformat()  # noqa: DTZ006 - local, as sd-scripts has it
    told = dict(training) | {"modelspec.date": date}
    if "ss_training_started_at" not in training:  # no_metadata
        return told
    return told | {"ss_training_finished_at": str(moment), "ss_steps": str(step), "ss_epoch": str(epoch)}


def _modelspec(options: TrainerOptions, facts: TrainingFacts) -> dict[str, str]:
    width, height = facts.datasets[0].resolution if facts.datasets else (1024, 1024)
    told = {
        "sai_model_spec": "1.0.1",
        "architecture": f"flux-1-{'dev' if facts.guidance_embed else 'schnell'}/lora",
        "implementation": "https://github.com/black-forest-labs/flux",
        "implementation_version": f"fluxgym-tui/{__version__}",
        "title": options.metadata_title or options.output_name or "LoRA",
        "resolution": f"{width}x{height}",
        "author": options.metadata_author,
        "description": options.metadata_description,
        "license": options.metadata_license,
        "tags": options.metadata_tags,
        "usage_hint": options.metadata_usage_hint,
        "thumbnail": thumbnail_url(options.metadata_thumbnail),
        "merged_from": options.metadata_merged_from,
        "trigger_phrase": options.metadata_trigger_phrase,
        "preprocessor": options.metadata_preprocessor,
        "is_negative_embedding": options.metadata_is_negative_embedding,
    }
    return {f"modelspec.{name}": value for name, value in told.items() if value is not None}


def thumbnail_url(given: str | None) -> str | None:
    """A data URL of the picture file `given`, or `given` itself where it is one. FluxgymError where it is neither."""
    if given is None or given.startswith("data:"):
        return given
    path = Path(given)
    kind, _ = mimetypes.guess_type(path.name)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise FluxgymError(
            f"--metadata_thumbnail {path} cannot be read: {error.strerror}", hint="Give a picture file, or a data URL."
        ) from error
    if kind is None or not kind.startswith("image/"):
        raise FluxgymError(
            f"--metadata_thumbnail {path} is no picture by its name.", hint="Give a .png, .jpg or .webp."
        )
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def _folder(subset: SubsetFacts) -> dict[str, int]:
    return {"n_repeats": subset.num_repeats, "img_count": len(subset.captions)}


def _dataset(dataset: DatasetFacts) -> dict[str, Any]:
    bucketed = dataset.enable_bucket
    buckets = {str(i): {"resolution": size, "count": n} for i, (size, n) in enumerate(sorted(dataset.buckets.items()))}
    return {
        "is_dreambooth": True,
        "batch_size_per_device": dataset.batch_size,
        "num_train_images": dataset.count(is_reg=False),
        "num_reg_images": dataset.count(is_reg=True),
        "resolution": dataset.resolution,
        "enable_bucket": bucketed,
        "min_bucket_reso": dataset.min_bucket_reso if bucketed else None,
        "max_bucket_reso": dataset.max_bucket_reso if bucketed else None,
        "tag_frequency": {subset.image_dir.name: subset.tags() for subset in dataset.subsets if not subset.is_reg},
        "bucket_info": {"buckets": buckets} if bucketed else None,
        "subsets": [
            {
                "img_count": len(subset.captions),
                "num_repeats": subset.num_repeats,
                "color_aug": False,
                "flip_aug": False,
                "random_crop": False,
                "shuffle_caption": False,
                "keep_tokens": subset.keep_tokens,
                "image_dir": subset.image_dir.name,
                "class_tokens": subset.class_tokens,
                "is_reg": subset.is_reg,
            }
            for subset in dataset.subsets
        ],
    }
