"""The kohya_ss GUI's settings and sd-scripts' config files as specs: what their trainer would have been told."""

import json
from pathlib import Path
from typing import Any

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.findings import Severity
from fluxgym_tui.config.importers import Imported, import_spec
from fluxgym_tui.config.resources import bundled
from fluxgym_tui.config.settings_flags import effective_flags

DATA = Path(__file__).parents[2] / "data" / "importers"


def gui(root: Path, **fields: Any) -> Imported:
    """The recorded settings with `fields` changed, imported."""
    data = json.loads((DATA / "kohya_gui.json").read_text(encoding="utf-8"))
    for folder in ("img/12_hrld man", "img/3_more", "img/log", "reg/1_man"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    data |= {"train_data_dir": str(root / "img"), **fields}
    path = root / "gui.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return import_spec(path, workspace=root)


def config(root: Path, text: str) -> Imported:
    path = root / "there.toml"
    path.write_text(text, encoding="utf-8")
    return import_spec(path, workspace=root)


def flags(found: Imported) -> dict[str, Any]:
    return dict(effective_flags(found.spec, backend="kohya", vram=found.spec.training.vram))


def warned(found: Imported) -> list[str]:
    return [note.title for note in found.notes if note.severity is Severity.WARNING]


def test_every_field_of_the_gui(tmp_path: Path) -> None:
    found = gui(tmp_path)
    spec = found.spec
    assert (found.kind, spec.name, spec.base_model, spec.trigger) == (
        "kohya-gui",
        "Hrld.v1",
        "flux-dev-official",
        "hrld man",
    )
    dataset = spec.dataset
    assert (dataset.path, dataset.num_repeats) == (tmp_path / "img" / "12_hrld man", 12)
    assert [(subset.path.name, subset.num_repeats, subset.trigger) for subset in dataset.subsets] == [
        ("3_more", 3, "more")
    ]
    assert (dataset.resolution, dataset.batch_size, dataset.max_bucket_reso) == ((768, 1024), 2, 2048)
    assert (dataset.enable_bucket, dataset.bucket_no_upscale) == (True, True)
    assert spec.samples.prompts == ("hrld man --w 832 --h 1216", "hrld man in rain")
    assert spec.extra_args == ("--new_in_fork", "3")
    assert flags(found) == {
        "network_module": "networks.lora_flux",
        "save_model_as": "safetensors",
        "sdpa": True,
        "cache_latents": True,
        "cache_latents_to_disk": True,
        "cache_text_encoder_outputs": True,
        "cache_text_encoder_outputs_to_disk": True,
        "max_data_loader_n_workers": 0,
        "apply_t5_attn_mask": True,
        "t5xxl_max_token_length": 512,
        "mixed_precision": "bf16",
        "save_precision": "bf16",
        "full_bf16": True,
        "fp8_base": True,
        "highvram": True,
        "gradient_checkpointing": True,
        "gradient_accumulation_steps": 2,
        "learning_rate": 3e-4,
        "optimizer_type": "AdamW8bit",
        "optimizer_args": ("weight_decay=0.1", "betas=0.9,0.99"),
        "lr_scheduler": "cosine",
        "lr_warmup_steps": 0.1,
        "network_dim": 16,
        "network_alpha": 16.0,
        "network_args": ("img_attn_dim=16",),
        "network_train_unet_only": True,
        "max_train_epochs": 10,
        "save_every_n_epochs": 1,
        "sample_every_n_steps": 50,
        "seed": 42,
        "guidance_scale": 1.0,
        "timestep_sampling": "sigmoid",
        "sigmoid_scale": 1.5,
        "training_comment": "by",
        "discrete_flow_shift": 3.1582,
        "model_prediction_type": "raw",
        "loss_type": "l2",
    }  # fmt: skip


def test_what_the_gui_says_and_a_spec_cannot_is_said(tmp_path: Path) -> None:
    found = gui(tmp_path)
    assert warned(found) == [
        "gpu_ids = 1 is left out: a run is one process on one card",
        "of_a_later_gui = 'yes' is left out: the GUI's FLUX settings have no such field here",
        "additional_parameters: hand belongs to no option; left out",
        "huggingface_token is left out: a spec is not secret",
    ]
    assert "hf_secret" not in repr(found)
    told = {note.code: note.title for note in found.notes if note.severity is Severity.ADVICE}
    assert told["no_effect"].endswith("FLUX: min_snr_gamma, multires_noise_iterations, noise_offset")
    assert set(told) == {"no_effect", "settled_by_run", "seed"}


def test_which_parts_train_follows_from_the_rates(tmp_path: Path) -> None:
    both = gui(tmp_path, unet_lr=0, text_encoder_lr=0)
    assert both.spec.training.train_clip_l is True
    clip = gui(tmp_path, unet_lr=1e-4, text_encoder_lr=5e-5)
    assert clip.spec.training.train_clip_l is True
    assert (flags(clip)["unet_lr"], flags(clip)["text_encoder_lr"]) == (1e-4, (5e-5, 5e-5))
    assert flags(gui(tmp_path, unet_lr=0, text_encoder_lr=5e-5))["network_train_text_encoder_only"] is True
    assert flags(gui(tmp_path, unet_lr=1e-4))["unet_lr"] == 1e-4


def test_single_blocks_of_the_gui(tmp_path: Path) -> None:
    found = gui(tmp_path, split_mode=True, img_attn_dim="")
    assert flags(found)["network_args"] == ("train_blocks=single",)
    assert flags(found)["blocks_to_swap"] == 18
    assert found.spec.training.vram == "12G"
    alone = gui(tmp_path, train_blocks="single", img_attn_dim="")
    assert flags(alone)["network_args"] == ("train_blocks=single",)
    assert "train_blocks" in [note.code for note in alone.notes]


def test_the_length_of_the_gui(tmp_path: Path) -> None:
    assert gui(tmp_path, max_train_steps=500).spec.training.max_train_steps == 500
    assert gui(tmp_path, max_train_epochs=3, max_train_steps=500).spec.training.max_train_epochs == 3
    assert flags(gui(tmp_path, lr_warmup_steps=40))["lr_warmup_steps"] == 40


def test_settings_that_the_fork_of_fluxgym_exported(tmp_path: Path) -> None:
    # Its dataset.toml is written when a training starts; before that the GUI would find none.
    found = gui(tmp_path, dataset_config=str(tmp_path / "none.toml"), reg_data_dir=str(tmp_path / "reg"))
    assert [subset.is_reg for subset in found.spec.dataset.subsets] == [False, True]
    assert f"there is no {tmp_path / 'none.toml'}, which names the pictures" in warned(found)
    assert found.spec.training.max_train_epochs == 10


def test_a_config_file_without_settings_means_sd_scripts_own(tmp_path: Path) -> None:
    found = config(tmp_path, 'output_name = "plain"\n')
    assert flags(found) == {
        "network_module": "networks.lora_flux",
        "learning_rate": 2e-6,
        "network_dim": 4,
        "network_alpha": 1.0,
        "max_train_steps": 1600,
        "gradient_accumulation_steps": 1,
        "guidance_scale": 3.5,
        "timestep_sampling": "sigma",
        "discrete_flow_shift": 3.0,
        "model_prediction_type": "sigma_scaled",
        "loss_type": "l2",
        "max_data_loader_n_workers": 8,
        "mixed_precision": "no",
        "save_precision": "float",
        "save_model_as": "safetensors",
        "optimizer_type": "AdamW",
        "seed": 42,
    }
    assert found.spec.training.train_clip_l is True
    assert [note.code for note in found.notes] == ["no_base_model", "no_folder", "seed", "length"]


def test_a_config_file_with_tables_and_its_dataset(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "dataset.toml").write_text(
        "[general]\nflip_aug = true\ncaption_extension = '.caption'\n[[datasets]]\nresolution = [512, 768]\n"
        "batch_size = 2\nenable_bucket = true\n[[datasets.subsets]]\nimage_dir = 'photos'\nnum_repeats = 3\n"
        "class_tokens = 'hrld'\ncaption_prefix = 'a '\n[[datasets]]\nresolution = 1024\n"
        "[[datasets.subsets]]\nimage_dir = 'photos'\nnum_repeats = 3\n",
        encoding="utf-8",
    )
    found = config(
        tmp_path,
        '[model]\npretrained_model_name_or_path = "/gpu/my-own.safetensors"\nt5xxl = "/gpu/my-t5.safetensors"\n'
        '[training]\ndataset_config = "dataset.toml"\noutput_name = "there"\nlearning_rate = "1e-4"\n'
        'optimizer_type = "Prodigy"\noptimizer_args = ["d_coef=2"]\nnetwork_train_unet_only = true\nepoch = 5\n'
        'max_train_epochs = 4\nmax_train_steps = 100\nseed = 7\nlogging_dir = "logs"\nlr_scheduler = "cosine"\n',
    )
    spec = found.spec
    assert (spec.trigger, spec.dataset.path, spec.dataset.num_repeats) == ("hrld", tmp_path / "photos", 3)
    assert (spec.dataset.resolution, spec.dataset.batch_size, spec.dataset.bucket_no_upscale) == ((512, 768), 2, False)
    assert spec.base_model == "/gpu/my-own.safetensors"
    said = flags(found)
    assert (said["learning_rate"], said["optimizer_type"], said["optimizer_args"]) == (1e-4, "Prodigy", ("d_coef=2",))
    assert (said["flip_aug"], said["caption_prefix"], said["max_train_epochs"]) == (True, "a ", 4)
    assert "max_train_steps" not in said
    assert warned(found) == [
        "epoch = 5 is left out: sd-scripts has no such option for FLUX",
        f"{tmp_path / 'dataset.toml'} has 2 datasets and a spec one: that of 1024x1024 is left out",
        "photos: captions are read from .txt here, not from .caption",
        "there is no /gpu/my-own.safetensors",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rate = 'fast'", "there.toml: learning_rate must be a number"),
        ("network_dim = 0", "training.network_dim must be at least 1, not 0"),
        ("mixed_precision = 'bf17'", "mixed_precision must be one of no, fp16, bf16"),
        ("flip_aug = 'perhaps'", "flip_aug must be true or false"),
    ],
)
def test_values_that_make_no_sense_are_named(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(FluxgymError) as caught:
        config(tmp_path, text)
    assert said in caught.value.message


def test_a_base_model_that_lies_elsewhere_is_taken_by_its_path(tmp_path: Path) -> None:
    tiny = bundled("examples/tiny-flux") / "flux1-tiny.safetensors"
    path = tmp_path / "mine.safetensors"
    path.symlink_to(tiny)
    found = config(tmp_path, f'pretrained_model_name_or_path = "{path}"\nt5xxl = "/gpu/my-t5.safetensors"\n')
    assert found.spec.base_model == str(path)
    assert warned(found)[-1] == "t5xxl will be t5xxl_fp16.safetensors, not my-t5.safetensors"
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"no model")
    assert "is not a safetensors file" in warned(config(tmp_path, f'pretrained_model_name_or_path = "{bad}"\n'))[0]
