"""No flag is taken and then left out of account: each one that is honoured changes something, shown here or elsewhere.

A flag changes what is settled before the training, or what a short training leaves behind, or it has tests of its own.
"""

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch.utils.checkpoint import checkpoint

from fluxgym_tui.trainer import cache
from fluxgym_tui.trainer.flag_table import FLAGS, Status
from fluxgym_tui.trainer.flags import parse
from fluxgym_tui.trainer.options import TrainerOptions
from fluxgym_tui.trainer.setup import settle
from tests.trainer.trainer_options import QUICK, arguments_for, drawn_dataset, train_here

# Flags to add, and those that have to be there before: without them the flag would mean nothing.
DECIDES: dict[str, tuple[str, str]] = {
    "resolution": ("--resolution 96", ""),
    "train_batch_size": ("--train_batch_size 2", ""),
    "enable_bucket": ("--enable_bucket", "--resolution 512"),
    "min_bucket_reso": ("--min_bucket_reso 448", "--enable_bucket --resolution 512"),
    "max_bucket_reso": ("--max_bucket_reso 576", "--enable_bucket --resolution 512"),
    "bucket_reso_steps": ("--bucket_reso_steps 128", "--enable_bucket --resolution 512"),
    "bucket_no_upscale": ("--bucket_no_upscale", "--enable_bucket --resolution 512"),
    "caption_extension": ("--caption_extension .text", ""),
    "prior_loss_weight": ("--prior_loss_weight 0.5", ""),
    "validation_split": ("--validation_split 0.5", ""),
    "validation_seed": ("--validation_seed 5", "--validation_split 0.5"),
    "t5xxl_max_token_length": ("--t5xxl_max_token_length 24", ""),
    "apply_t5_attn_mask": ("--apply_t5_attn_mask", ""),
    "network_args": ("--network_args train_blocks=single", ""),
    "max_train_steps": ("--max_train_steps 7", ""),
    "max_train_epochs": ("--max_train_epochs 7", ""),
    "gradient_accumulation_steps": ("--gradient_accumulation_steps 2", ""),
    "mixed_precision": ("--mixed_precision bf16", ""),
    "seed": ("--seed 2", ""),
    "guidance_scale": ("--guidance_scale 1", ""),
    "timestep_sampling": ("--timestep_sampling sigmoid", ""),
    "sigmoid_scale": ("--sigmoid_scale 2", ""),
    "discrete_flow_shift": ("--discrete_flow_shift 2", ""),
    "weighting_scheme": ("--weighting_scheme cosmap", ""),
    "logit_mean": ("--logit_mean 1", ""),
    "logit_std": ("--logit_std 2", ""),
    "mode_scale": ("--mode_scale 2", ""),
    "model_prediction_type": ("--model_prediction_type additive", ""),
    "noise_offset": ("--noise_offset 0.1", ""),
    "noise_offset_random_strength": ("--noise_offset_random_strength", "--noise_offset 0.1"),
    "adaptive_noise_scale": ("--adaptive_noise_scale 0.1", "--noise_offset 0.1"),
    "multires_noise_iterations": ("--multires_noise_iterations 4", ""),
    "multires_noise_discount": ("--multires_noise_discount 0.5", "--multires_noise_iterations 4"),
    "save_every_n_epochs": ("--save_every_n_epochs 2", "--max_train_epochs 5"),
    "save_every_n_steps": ("--save_every_n_steps 2", ""),
    "save_n_epoch_ratio": ("--save_n_epoch_ratio 2", "--max_train_epochs 5"),
    "output_name": ("--output_name cat", ""),
    "sample_every_n_steps": ("--sample_every_n_steps 2", "--sample_prompts {prompts}"),
    "sample_every_n_epochs": ("--sample_every_n_epochs 2", "--sample_prompts {prompts} --max_train_epochs 5"),
    "sample_at_first": ("--sample_at_first", "--sample_prompts {prompts}"),
    "sample_prompts": ("--sample_prompts {prompts}", "--sample_at_first"),
}
CHANGES: dict[str, tuple[str, str]] = {
    "network_dim": ("--network_dim 3", ""),
    "network_alpha": ("--network_alpha 2", ""),
    "optimizer_type": ("--optimizer_type Lion", ""),
    "optimizer_args": ("--optimizer_args weight_decay=0.9", ""),
    "learning_rate": ("--learning_rate 1e-3", ""),
    "unet_lr": ("--unet_lr 1e-3", ""),
    "max_grad_norm": ("--max_grad_norm 1e-9", ""),
    "lr_scheduler": ("--lr_scheduler linear", ""),
    "lr_scheduler_args": (
        "--lr_scheduler_args step_rules=1:1,0.5",
        "--lr_scheduler piecewise_constant --lr_scheduler_args step_rules=1:1,0.1",
    ),
    "lr_warmup_steps": ("--lr_warmup_steps 1", "--lr_scheduler cosine"),
    "lr_scheduler_num_cycles": ("--lr_scheduler_num_cycles 2", "--lr_scheduler cosine_with_restarts"),
    "lr_scheduler_power": ("--lr_scheduler_power 2", "--lr_scheduler polynomial"),
    "lr_decay_steps": ("--lr_decay_steps 2", "--lr_scheduler warmup_stable_decay"),
    "lr_scheduler_timescale": ("--lr_scheduler_timescale 3", "--lr_scheduler inverse_sqrt"),
    "lr_scheduler_min_lr_ratio": (
        "--lr_scheduler_min_lr_ratio 0.5",
        "--lr_scheduler cosine_with_min_lr --lr_scheduler_min_lr_ratio 0.1",
    ),
    "save_precision": ("--save_precision bf16", ""),
    "training_comment": ("--training_comment hello", ""),
    "metadata_title": ("--metadata_title x", ""),
    "metadata_author": ("--metadata_author x", ""),
    "metadata_description": ("--metadata_description x", ""),
    "metadata_license": ("--metadata_license x", ""),
    "metadata_tags": ("--metadata_tags x", ""),
    "metadata_usage_hint": ("--metadata_usage_hint x", ""),
    "metadata_thumbnail": ("--metadata_thumbnail {picture}", ""),
    "metadata_merged_from": ("--metadata_merged_from x", ""),
    "metadata_trigger_phrase": ("--metadata_trigger_phrase x", ""),
    "metadata_preprocessor": ("--metadata_preprocessor x", ""),
    "metadata_is_negative_embedding": ("--metadata_is_negative_embedding true", ""),
    "no_metadata": ("--no_metadata", ""),
    "save_last_n_steps_state": (
        "--save_last_n_steps_state 1",
        "--save_every_n_steps 1 --save_state",
    ),
}
TESTED_IN = {
    "test_live_text": (
        "shuffle_caption", "caption_separator", "keep_tokens", "keep_tokens_separator", "secondary_separator",
        "enable_wildcard", "caption_prefix", "caption_suffix", "caption_dropout_rate", "token_warmup_min",
        "caption_dropout_every_n_epochs", "caption_tag_dropout_rate", "token_warmup_step",
        "cache_text_encoder_outputs_to_disk",
    ),
    "test_masks": ("alpha_mask", "masked_loss"),
    "test_validation": ("validate_every_n_steps", "validate_every_n_epochs", "max_validation_steps"),
    "test_cache": ("vae_batch_size",),
    "test_settings": (
        "loss_type", "huber_schedule", "huber_c", "huber_scale", "network_dropout", "scale_weight_norms",
        "ip_noise_gamma",
    ),
    "test_base_weights": ("network_weights", "dim_from_weights", "base_weights", "base_weights_multiplier"),
    "test_clip_lora": ("network_train_unet_only", "network_train_text_encoder_only", "text_encoder_lr"),
    "test_memory_flags": ("fp8_base", "fp8_base_unet", "blocks_to_swap"),
    "test_trackers": (
        "logging_dir", "log_with", "log_prefix", "log_tracker_name", "log_tracker_config", "wandb_run_name",
    ),
    "test_state": ("save_state", "save_state_on_train_end", "save_last_n_epochs_state", "resume",
                   "ip_noise_gamma_random_strength"),
    "test_loop": ("save_last_n_epochs", "save_last_n_steps", "fluxgym_probe", "max_data_loader_n_workers"),
    "test_failures": ("fluxgym_on_nan",),
    "test_each_flag": ("text_encoder_batch_size", "gradient_checkpointing", "cache_text_encoder_outputs"),
}  # fmt: skip
# Where the models, the dataset and the output are: nothing is trained without, and wrong ones are refused in test_loop.
PLACES = {
    "pretrained_model_name_or_path", "clip_l", "t5xxl", "ae", "tokenizer_cache_dir", "dataset_config", "output_dir",
}  # fmt: skip
# These say what is so anyway: the only choice there is, or what the trainer demands.
SO_ANYWAY = {"cache_latents", "cache_latents_to_disk", "network_module", "save_model_as", "model_type"}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pictures, regularisation pictures and a second kind of caption; their sizes are left to the flags."""
    toml = drawn_dataset(tmp_path_factory.mktemp("data"), pictures=2)
    photos, regular = toml.parent / "photos", toml.parent / "regular"
    regular.mkdir()
    (regular / "r.png").write_bytes((photos / "0.png").read_bytes())
    with Image.open(photos / "1.png") as square:
        square.resize((160, 64)).save(photos / "1.png")  # wide, so that buckets differ
    for number in range(2):
        (photos / f"{number}.text").write_text("another caption", encoding="utf-8")
    (toml.parent / "prompts.txt").write_text("a cat --w 64 --h 64 --s 1\n", encoding="utf-8")
    toml.write_text(
        f"[[datasets]]\n[[datasets.subsets]]\nimage_dir = '{photos}'\n"
        f"[[datasets.subsets]]\nimage_dir = '{regular}'\nis_reg = true\n",
        encoding="utf-8",
    )
    return toml


def options_with(dataset: Path, folder: Path, *flags: str) -> TrainerOptions:
    """The options of a short training with `flags`, which beat the usual ones."""
    words = " ".join(flags).format(prompts=dataset.parent / "prompts.txt", picture=dataset.parent / "photos" / "0.png")
    given: dict[str, list[str]] = {}
    usual = "--resolution 64 --caption_extension .txt --max_train_steps 3"
    for word in [*arguments_for(dataset, *QUICK, output_dir=folder), *usual.split(), *words.split()]:
        if word.startswith("--"):
            given[name := word] = []
        else:
            given[name].append(word)
    return parse([word for name, values in given.items() for word in (name, *values)])


def settled(options: TrainerOptions) -> dict[str, Any]:
    setup = settle(options)
    return {
        field.name: getattr(setup, field.name) for field in dataclasses.fields(setup) if field.name != "options"
    } | {"batches": setup.data.batches(epoch=1)}


@pytest.mark.parametrize("name", DECIDES)
def test_a_flag_decides_something(name: str, dataset: Path, tmp_path: Path) -> None:
    added, before = DECIDES[name]
    with_it, without = (settled(options_with(dataset, tmp_path, before, more)) for more in (added, ""))
    changed = [part for part in with_it if with_it[part] != without[part]]
    assert changed


def left_behind(dataset: Path, folder: Path, *flags: str) -> dict[str, Any]:
    """All that a training leaves, but for when it was: weights, metadata, names, facts."""
    events = train_here(options_with(dataset, folder, *flags), folder)
    path = folder / "last.safetensors"
    with safe_open(path, framework="pt") as file:
        metadata = dict(file.metadata())
    timely = ("ss_training_started_at", "ss_training_finished_at", "modelspec.date", "sshs_model_hash",
              "sshs_legacy_hash")  # fmt: skip
    return {
        "weights": {key: (tensor.dtype, tensor.tolist()) for key, tensor in load_file(path).items()},
        "metadata": {key: value for key, value in metadata.items() if key not in timely},
        "files": sorted(path.name for path in folder.rglob("*")),
        "steps": [(event["loss"], event["lr"]) for event in events if event["kind"] == "step"],
    }


@pytest.fixture(scope="module")
def trained(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What trainings without the flag in question left, by the flags that they had."""
    folder = tmp_path_factory.mktemp("trained")
    before = dict.fromkeys(before for _, before in CHANGES.values())
    return {flags: left_behind(dataset, folder / f"{n}", flags) for n, flags in enumerate(before)}


@pytest.mark.parametrize("name", CHANGES)
def test_a_flag_changes_what_is_left(
    name: str, dataset: Path, trained: dict[str, dict[str, Any]], tmp_path: Path
) -> None:
    added, before = CHANGES[name]
    without, with_it = trained[before], left_behind(dataset, tmp_path / "out", before, added)
    changed = {part for part in with_it if with_it[part] != without[part]}
    told = name.startswith(("metadata_", "training_", "no_metadata"))
    only = {"metadata"} if told else {"files"} if name.endswith("_state") else {"weights"}
    assert only <= changed


def test_a_flag_of_speed_reaches_what_it_is_for(dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--text_encoder_batch_size`, `--gradient_checkpointing` and `--cache_text_encoder_outputs` alone."""
    seen: dict[str, Any] = {}
    make_texts = cache.make_texts

    def watched_texts(*args: Any, **named: Any) -> None:
        seen["batch"] = named["batch_size"]
        make_texts(*args, **named)

    def watched_blocks(*args: Any, **named: Any) -> Any:
        seen["checkpointing"] = True
        return checkpoint(*args, **named)

    monkeypatch.setattr("fluxgym_tui.trainer.encode.cache.make_texts", watched_texts)
    monkeypatch.setattr("fluxgym_tui.trainer.flux.checkpoint", watched_blocks)
    for caption in (dataset.parent / "photos").glob("*_flux_te.npz*"):
        caption.unlink()
    flags = ("--text_encoder_batch_size 3", "--gradient_checkpointing", "--cache_text_encoder_outputs")
    options = options_with(dataset, tmp_path / "out", *flags)
    train_here(dataclasses.replace(options, cache_text_encoder_outputs_to_disk=False), tmp_path / "out")
    assert seen == {"batch": 3, "checkpointing": True}
    assert list((dataset.parent / "photos").glob("*_flux_te.npz"))


def test_every_flag_is_among_them() -> None:
    elsewhere = [name for names in TESTED_IN.values() for name in names]
    known = [*DECIDES, *CHANGES, *elsewhere, *PLACES, *SO_ANYWAY]
    honoured = {flag.name for flag in FLAGS.values() if flag.status is Status.HONOURED}
    assert sorted(known) == sorted(honoured)
    for module, names in TESTED_IN.items():
        text = (Path(__file__).parent / f"{module}.py").read_text(encoding="utf-8")
        missing = [name for name in names if not re.search(rf"--{name}\b", text)]
        assert missing == [], module
    assert all(FLAGS[name].required or FLAGS[name].choices or name.startswith("cache_") for name in SO_ANYWAY)
