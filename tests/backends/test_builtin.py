"""The built-in backend: the command it makes, and what it refuses before anything starts."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from fluxgym_tui.backends.base import TrainJob
from fluxgym_tui.backends.builtin import BuiltinBackend
from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.models import ModelFiles
from fluxgym_tui.config.resources import bundled
from fluxgym_tui.config.sd_flags import FlagValue
from fluxgym_tui.trainer import flags as trainer_flags

EMPTY_SAFETENSORS = b"\x02\0\0\0\0\0\0\0{}"

FLUXGYM_16G: dict[str, FlagValue] = {
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
    "optimizer_type": "adamw",
    "learning_rate": 8e-4,
    "cache_text_encoder_outputs": True,
    "cache_text_encoder_outputs_to_disk": True,
    "network_train_unet_only": True,
    "highvram": True,
    "max_train_epochs": 16,
    "save_every_n_epochs": 4,
    "timestep_sampling": "shift",
    "discrete_flow_shift": 3.1582,
    "model_prediction_type": "raw",
    "guidance_scale": 1.0,
    "loss_type": "l2",
}


def job(folder: Path, flags: dict[str, FlagValue], *, extra_args: tuple[str, ...] = ()) -> TrainJob:
    models = ModelFiles(
        transformer=folder / "flux.safetensors",
        clip_l=folder / "clip_l.safetensors",
        t5xxl=folder / "t5.safetensors",
        ae=folder / "ae.safetensors",
        tokenizer_cache_dir=None,
    )
    for name in ("flux", "clip_l", "t5", "ae"):
        (folder / f"{name}.safetensors").write_bytes(EMPTY_SAFETENSORS)
    return TrainJob(
        output_dir=folder,
        output_name="cat",
        dataset_config=folder / "dataset.toml",
        models=models,
        flags=flags,
        extra_args=extra_args,
    )


def test_the_command_is_what_the_trainer_reads(tmp_path: Path) -> None:
    backend = BuiltinBackend()
    wanted = job(tmp_path, FLUXGYM_16G, extra_args=("--max_grad_norm", "0"))
    assert backend.check(wanted) == []
    command = backend.command(wanted)
    assert command.argv[:4] == (sys.executable, "-P", "-m", "fluxgym_tui.trainer")
    assert command.log_format == "builtin"
    options = trainer_flags.parse(command.argv[4:])
    assert (options.network_dim, options.optimizer_type, options.max_grad_norm) == (4, "AdamW", 0.0)
    assert options.pretrained_model_name_or_path == tmp_path / "flux.safetensors"
    assert options.mixed_precision == "bf16"


def test_the_threads_given_are_those_that_compute(tmp_path: Path) -> None:
    wanted = job(tmp_path, FLUXGYM_16G)
    assert BuiltinBackend(threads=3).command(wanted).env["OMP_NUM_THREADS"] == "3"
    assert "OMP_NUM_THREADS" not in BuiltinBackend().command(wanted).env


def test_the_tiny_base_computes_on_one_thread(tmp_path: Path) -> None:
    wanted = job(tmp_path, FLUXGYM_16G)
    shutil.copy(bundled("examples/tiny-flux") / "flux1-tiny.safetensors", wanted.models.transformer)
    assert BuiltinBackend(threads=3).command(wanted).env["OMP_NUM_THREADS"] == "1"


def test_a_flag_that_is_not_honoured_is_named(tmp_path: Path) -> None:
    wanted = job(tmp_path, FLUXGYM_16G | {"split_mode": True, "learning_rat": 1e-4})
    backend = BuiltinBackend()
    titles = [finding.title for finding in backend.check(wanted)]
    assert len(titles) == 2
    assert titles[0].startswith("--split_mode")
    assert "--learning_rate?" in (backend.check(wanted)[1].fix or "")
    with pytest.raises(FluxgymError, match="split_mode"):
        backend.command(wanted)


def test_a_missing_model_file_is_named(tmp_path: Path) -> None:
    wanted = job(tmp_path, FLUXGYM_16G)
    wanted.models.ae.unlink()
    assert [(finding.code, finding.path) for finding in BuiltinBackend().check(wanted)] == [
        ("model_missing", str(tmp_path / "ae.safetensors"))
    ]


def test_a_model_without_clip_is_not_for_this_trainer(tmp_path: Path) -> None:
    wanted = job(tmp_path, FLUXGYM_16G)
    chroma = replace(wanted, models=replace(wanted.models, clip_l=None))
    assert [finding.title.split(":")[0] for finding in BuiltinBackend().check(chroma)] == ["--clip_l"]


def test_the_backend_imports_no_torch() -> None:
    code = (
        "import sys, fluxgym_tui.backends.builtin as b; b.BuiltinBackend().available(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
