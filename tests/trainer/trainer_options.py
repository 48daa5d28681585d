"""The flags that the trainer's tests start from."""

from pathlib import Path

from fluxgym_tui.trainer.flags import TrainerOptions, parse

ALWAYS_GIVEN = ("--cache_latents_to_disk", "--cache_text_encoder_outputs_to_disk", "--network_train_unet_only")


def options_for(
    dataset_config: Path, *more: str, models: Path = Path("models"), output_dir: Path = Path("out")
) -> TrainerOptions:
    """Options that train `dataset_config` with the tiny base in `models`, and `more` flags."""
    return parse(arguments_for(dataset_config, *more, models=models, output_dir=output_dir))


def arguments_for(
    dataset_config: Path, *more: str, models: Path = Path("models"), output_dir: Path = Path("out")
) -> list[str]:
    """The command line of `options_for`."""
    return [
        "--pretrained_model_name_or_path", str(models / "flux1-tiny.safetensors"),
        "--clip_l", str(models / "clip_l.safetensors"),
        "--t5xxl", str(models / "t5xxl.safetensors"),
        "--ae", str(models / "ae.safetensors"),
        "--tokenizer_cache_dir", str(models / "tokenizers"),
        "--dataset_config", str(dataset_config),
        "--output_dir", str(output_dir),
        *ALWAYS_GIVEN,
        *more,
    ]  # fmt: skip
