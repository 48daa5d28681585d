"""What sd-scripts would stop at is found before it starts, and named with its mend."""

from pathlib import Path

import pytest

from fluxgym_tui.backends.base import TrainJob
from fluxgym_tui.backends.kohya import KohyaBackend
from fluxgym_tui.backends.kohya.checkout import Checkout
from fluxgym_tui.backends.kohya.refused import most_swapped
from fluxgym_tui.config.models import ModelFiles, load_models
from fluxgym_tui.config.sd_flags import FlagValue
from tests.backends.kohya.fake_checkout import write_checkout
from tests.backends.kohya.fake_models import write_flux, write_model, write_models


@pytest.fixture
def models(tmp_path: Path) -> ModelFiles:
    """Files of the right kinds."""
    return write_models(tmp_path)


def found(
    models: ModelFiles, flags: dict[str, FlagValue] | None = None, *, extra_args: tuple[str, ...] = ()
) -> list[tuple[str, str]]:
    """Code and title of each finding."""
    folder = models.ae.parent
    root = folder / "sd-scripts"
    if not root.exists():
        write_checkout(root)
    job = TrainJob(
        output_dir=folder,
        output_name="x",
        dataset_config=folder / "dataset.toml",
        models=models,
        flags=flags or {},
        extra_args=extra_args,
    )
    findings = KohyaBackend(Checkout(root)).check(job)
    assert all(finding.fix for finding in findings if finding.code != "model_missing")
    return [(finding.code, finding.title) for finding in findings]


def test_nothing_speaks_against_files_of_the_right_kinds(models: ModelFiles) -> None:
    assert found(models) == []


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"blocks_to_swap": 8, "cpu_offload_checkpointing": True}, "--cpu_offload_checkpointing exclude"),
        ({"model_type": "chroma"}, "Chroma needs --apply_t5_attn_mask"),
        ({"fp8_base": True}, "--fp8_base needs --mixed_precision"),
        ({"fp8_base": True, "mixed_precision": "no"}, "--fp8_base needs --mixed_precision"),
        ({"full_bf16": True, "mixed_precision": "fp16"}, "--full_bf16 needs"),
        ({"full_fp16": True, "mixed_precision": "bf16"}, "--full_fp16 needs"),
        ({"use_8bit_adam": True, "optimizer_type": "adamw"}, "--use_8bit_adam"),
        ({"fused_backward_pass": True, "optimizer_type": "adamw8bit"}, "adafactor alone"),
        (
            {"fused_backward_pass": True, "optimizer_type": "adafactor", "gradient_accumulation_steps": 2},
            "cannot accumulate",
        ),
        ({"optimizer_args": ("betas=0.9,0.99", "eps")}, "NAME=VALUE"),
        ({"lr_warmup_steps": 10}, "constant takes no --lr_warmup_steps"),
        ({"lr_scheduler": "constant", "lr_warmup_steps": 0.1}, "constant takes no --lr_warmup_steps"),
        ({"lr_scheduler": "adafactor:1e-4", "optimizer_type": "adamw"}, "goes with --optimizer_type adafactor"),
        ({"adaptive_noise_scale": 0.1}, "needs --noise_offset"),
        ({"scale_v_pred_loss_like_noise_pred": True}, "needs --v_parameterization"),
        ({"v_pred_like_loss": 1.0, "v_parameterization": True}, "exclude each other"),
        ({"cache_text_encoder_outputs": True, "caption_dropout_rate": 0.1}, "--caption_dropout_rate cannot"),
        ({"cache_text_encoder_outputs_to_disk": True, "token_warmup_step": 2.0}, "--token_warmup_step cannot"),
        ({"cache_text_encoder_outputs": True, "network_args": ("train_t5xxl=True",)}, "T5-XXL cannot be trained"),
        ({"cache_latents_to_disk": True, "random_crop": True}, "--random_crop cannot"),
        ({"network_weights": "/no/lora.safetensors"}, "there is no /no/lora.safetensors"),
        ({"resume": "/no/state"}, "there is no /no/state"),
        ({"split_mode": True}, "--blocks_to_swap 18"),
        ({"netwrk_dim": 4}, "--netwrk_dim: sd-scripts has no such option"),
        ({"brand_new": "many"}, "does not take many"),
    ],
)
def test_options_that_cannot_be_together_are_refused(
    models: ModelFiles, flags: dict[str, FlagValue], words: str
) -> None:
    if flags.get("model_type") == "chroma":  # then the file is of another kind, too
        assert words in [title for _, title in found(models, flags)]
        return
    ((_, title),) = found(models, flags)
    assert words in title


@pytest.mark.parametrize(
    "flags",
    [
        {"brand_new": 1},  # a newer checkout has it
        {"lr_scheduler": "constant_with_warmup", "lr_warmup_steps": 10},
        {"fused_backward_pass": True, "optimizer_type": "Adafactor", "gradient_accumulation_steps": 1},
        {"optimizer_args": ("weight_decay=0.1",)},
        {"fp8_base": True, "mixed_precision": "bf16", "blocks_to_swap": 35},
        {"caption_dropout_rate": 0.1},
    ],
)
def test_what_sd_scripts_takes_is_taken(models: ModelFiles, flags: dict[str, FlagValue]) -> None:
    assert found(models, flags) == []


def test_extra_arguments_count_as_well(models: ModelFiles) -> None:
    flags: dict[str, FlagValue] = {"blocks_to_swap": 8}
    ((code, _),) = found(models, flags, extra_args=("--cpu_offload_checkpointing",))
    assert code == "flags_exclude"


def test_more_blocks_than_there_are_cannot_be_swapped(models: ModelFiles, tmp_path: Path) -> None:
    assert (most_swapped(19, 38), most_swapped(8, 38)) == (35, 13)
    assert load_models()["flex1-alpha"].most_swapped == 13  # so that its recipes ask for no more
    flex = ModelFiles(
        transformer=write_flux(tmp_path / "flex.safetensors", double=8),
        clip_l=models.clip_l,
        t5xxl=models.t5xxl,
        ae=models.ae,
    )
    assert found(flex, {"blocks_to_swap": 13}) == []
    ((code, title),) = found(flex, {"blocks_to_swap": 16})
    assert code == "too_many_blocks"
    assert "8 double and 38 single blocks at most 13" in title
    assert found(models, {"blocks_to_swap": 36})[0][0] == "too_many_blocks"


class TestFiles:
    """Model files by their headers."""

    def with_transformer(self, models: ModelFiles, path: Path) -> ModelFiles:
        return ModelFiles(transformer=path, clip_l=models.clip_l, t5xxl=models.t5xxl, ae=models.ae)

    def test_one_that_is_missing(self, models: ModelFiles, tmp_path: Path) -> None:
        gone = self.with_transformer(models, tmp_path / "gone.safetensors")
        assert found(gone) == [("model_missing", "There is no gone.safetensors")]

    def test_one_of_another_kind(self, models: ModelFiles, tmp_path: Path) -> None:
        lora = {"lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": [4, 8]}
        ((code, title),) = found(self.with_transformer(models, write_model(tmp_path / "l.safetensors", lora)))
        assert (code, "FLUX LoRA" in title) == ("model_of_other_kind", True)
        swapped = ModelFiles(transformer=models.transformer, clip_l=models.t5xxl, t5xxl=models.t5xxl, ae=models.ae)
        assert found(swapped) == [("model_of_other_kind", "this is a T5 text encoder")]

    def test_chroma_and_flux_are_not_one(self, models: ModelFiles, tmp_path: Path) -> None:
        chroma = write_flux(tmp_path / "c.safetensors", and_="distilled_guidance_layer.in_proj.weight")
        ((code, title),) = found(self.with_transformer(models, chroma))
        assert (code, "Chroma" in title) == ("model_of_other_kind", True)
        flags: dict[str, FlagValue] = {"model_type": "chroma", "apply_t5_attn_mask": True}
        assert found(self.with_transformer(models, chroma), flags) == []

    def test_scaled_fp8_trains_to_noise(self, models: ModelFiles, tmp_path: Path) -> None:
        scaled = write_flux(tmp_path / "s.safetensors", dtype="F8_E4M3", and_="scaled_fp8")
        ((code, title),) = found(self.with_transformer(models, scaled))
        assert (code, "fp8_scaled" in title) == ("model_of_other_kind", True)
        plain = write_flux(tmp_path / "p.safetensors", dtype="F8_E4M3")
        assert found(self.with_transformer(models, plain)) == []

    def test_fp8_of_the_other_kind_is_not_trained_on(self, models: ModelFiles, tmp_path: Path) -> None:
        other = write_flux(tmp_path / "e5m2.safetensors", dtype="F8_E5M2")
        flags: dict[str, FlagValue] = {"fp8_base": True, "mixed_precision": "bf16"}
        ((code, title),) = found(self.with_transformer(models, other), flags)
        assert (code, "e5m2" in title) == ("model_of_other_kind", True)

    def test_one_of_another_size(self, models: ModelFiles, tmp_path: Path) -> None:
        tiny = write_model(tmp_path / "tiny.safetensors", {"img_in.weight": [160, 64]})
        ((code, title),) = found(self.with_transformer(models, tiny))
        assert (code, "160 wide" in title) == ("model_of_other_size", True)
