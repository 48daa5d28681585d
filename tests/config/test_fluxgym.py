"""Where a new spec differs from fluxgym: in what docs/fluxgym.md says, and in nothing else."""

import itertools
import re
from pathlib import Path

import pytest

from fluxgym_tui.backends.base import TrainJob
from fluxgym_tui.backends.kohya import KohyaBackend
from fluxgym_tui.config.models import ModelFiles
from fluxgym_tui.config.sd_flags import FlagValue
from fluxgym_tui.config.settings_flags import effective_flags
from fluxgym_tui.config.specfile import build_spec

DOCUMENT = (Path(__file__).parents[2] / "docs/fluxgym.md").read_text(encoding="utf-8")
SPEC = build_spec({"name": "x", "trigger": "x", "dataset": {"path": "/photos"}})

# What fluxgym passes to sd-scripts with its own defaults, without paths.
COMMON: dict[str, FlagValue] = {
    "cache_latents_to_disk": True,
    "save_model_as": "safetensors",
    "sdpa": True,
    "persistent_data_loader_workers": True,
    "max_data_loader_n_workers": 2,
    "seed": 42,
    "gradient_checkpointing": True,
    "mixed_precision": "bf16",
    "save_precision": "bf16",
    "network_module": "networks.lora_flux",
    "network_dim": 4,
    "learning_rate": 8e-4,
    "cache_text_encoder_outputs": True,
    "cache_text_encoder_outputs_to_disk": True,
    "fp8_base": True,
    "highvram": True,
    "max_train_epochs": 16,
    "save_every_n_epochs": 4,
    "timestep_sampling": "shift",
    "discrete_flow_shift": 3.1582,
    "model_prediction_type": "raw",
    "guidance_scale": 1.0,
    "loss_type": "l2",
}
ADAFACTOR: dict[str, FlagValue] = {
    "optimizer_type": "adafactor",
    "optimizer_args": ("relative_step=False", "scale_parameter=False", "warmup_init=False"),
    "lr_scheduler": "constant_with_warmup",
    "max_grad_norm": 0.0,
}
FLUXGYM: dict[str, dict[str, FlagValue]] = {
    "20G": {**COMMON, "optimizer_type": "adamw8bit"},
    "16G": {**COMMON, **ADAFACTOR},
    "12G": {**COMMON, **ADAFACTOR, "split_mode": True, "network_args": ("train_blocks=single",)},
}
# Said by us where fluxgym leaves it to sd-scripts, with the value sd-scripts would take.
SAID: dict[str, FlagValue] = {"network_alpha": 1.0, "gradient_accumulation_steps": 1}
UNET_ONLY: dict[str, FlagValue] = {"network_train_unet_only": True}


@pytest.mark.parametrize("vram", ["20G", "16G"])
def test_the_recipes_that_fluxgym_has_are_fluxgyms(vram: str) -> None:
    ours = effective_flags(SPEC, backend="kohya", vram=vram)
    assert ours == {**FLUXGYM[vram], **SAID, **UNET_ONLY}


def test_the_12_gb_recipe_swaps_blocks_in_place_of_split_mode() -> None:
    ours = effective_flags(SPEC, backend="kohya", vram="12G")
    theirs = FLUXGYM["12G"]
    gone = set(theirs) - set(ours)
    assert gone == {"split_mode", "network_args", "highvram", "optimizer_args", "lr_scheduler", "max_grad_norm"}
    changed = {name for name in theirs if name in ours and ours[name] != theirs[name]}
    assert changed == {"optimizer_type"}
    assert set(ours) - set(theirs) == {"blocks_to_swap", *SAID, *UNET_ONLY}


def test_large_cards_hold_the_base_in_bf16() -> None:
    assert "fp8_base" not in effective_flags(SPEC, backend="kohya", vram="40G")


def test_the_dataset_differs_as_the_table_says() -> None:
    dataset = SPEC.dataset
    assert (dataset.enable_bucket, dataset.bucket_no_upscale, dataset.resize) == (True, True, 0)
    assert (dataset.resolution, dataset.num_repeats, dataset.batch_size) == ((512, 512), 10, 1)
    assert SPEC.training.train_clip_l is False
    assert SPEC.training.vram == "auto"
    with_clip = build_spec({"name": "x", "dataset": {"path": "/p"}, "training": {"train_clip_l": True}})
    assert "network_train_unet_only" not in effective_flags(with_clip, backend="kohya", vram="20G")


def test_the_command_differs_as_the_table_says() -> None:
    files = ModelFiles(transformer=Path("/m"), clip_l=Path("/c"), t5xxl=Path("/t"), ae=Path("/a"))
    job = TrainJob(output_dir=Path("/o"), output_name="x", dataset_config=Path("/o/dataset.toml"), models=files)
    argv = KohyaBackend(None, threads=8).would_run(job).argv
    pairs = set(itertools.pairwise(argv))
    assert {
        ("--num_processes", "1"),
        ("--num_cpu_threads_per_process", "8"),
        ("--log_with", "tensorboard"),
        ("--logging_dir", "/o/logs"),
    } <= pairs
    assert "--config_file" in argv[: argv.index("--num_processes")]


def test_every_difference_is_a_row_of_the_document() -> None:
    rows = set(re.findall(r"^\| `?([\w.]+)", DOCUMENT, re.MULTILINE))
    assert rows >= {
        "dataset.enable_bucket",
        "dataset.bucket_no_upscale",
        "dataset.resize",
        "training.train_clip_l",
        "training.vram",
        "split_mode",
        "network_args",
        "fp8_base",
        "highvram",
        "log_with",
        "processes",
        "config_file",
        "threads",
        *SAID,
    }
