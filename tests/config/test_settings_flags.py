"""What a spec comes down to: recipes, precedence, and the table of sd-scripts' options."""

import json
from pathlib import Path
from typing import Any

import pytest

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.models import load_models
from fluxgym_tui.config.presets import preset_flags, wants_small_t5
from fluxgym_tui.config.sd_flags import CHOICES, FLAG_KINDS
from fluxgym_tui.config.settings_flags import effective_flags, resolve_spec
from fluxgym_tui.config.spec import TrainingSpec, TrainSpec
from fluxgym_tui.config.specfile import build_spec, dump_spec, parse_spec
from fluxgym_tui.config.vram import VRAM_KEYS, vram_for

RECORDED = json.loads((Path(__file__).parents[1] / "data/flags.json").read_text(encoding="utf-8"))


def spec_with(**parts: Any) -> TrainSpec:
    return build_spec({"name": "x", "dataset": {"path": "/photos"}, **parts})


def test_the_table_of_options_is_the_recorded_parser() -> None:
    kinds = {"int": "whole", "float": "number", "int_or_float": "whole_or_number"}
    expected = {}
    for flag in RECORDED["flags"]:
        kind = "switch" if flag["nargs"] == 0 else kinds.get(flag["type"], "text")
        if flag["nargs"] == "*":
            kind += "s"
        if flag["dest"] != "help":
            expected[flag["dest"]] = kind
    assert expected == FLAG_KINDS
    assert {
        flag["dest"]: tuple(str(choice) for choice in flag["choices"] if choice is not None)
        for flag in RECORDED["flags"]
        if flag["choices"]
    } == CHOICES


def test_every_key_of_training_is_an_option_of_sd_scripts() -> None:
    assert set(TrainingSpec.model_fields) - set(FLAG_KINDS) == {"vram", "train_clip_l"}


def test_a_short_spec_on_24_gb_comes_down_to_fluxgyms_flags() -> None:
    assert effective_flags(spec_with(), backend="kohya", vram="24G") == {
        "network_module": "networks.lora_flux",
        "save_model_as": "safetensors",
        "sdpa": True,
        "cache_latents_to_disk": True,
        "cache_text_encoder_outputs": True,
        "cache_text_encoder_outputs_to_disk": True,
        "persistent_data_loader_workers": True,
        "mixed_precision": "bf16",
        "save_precision": "bf16",
        "gradient_checkpointing": True,
        "fp8_base": True,
        "optimizer_type": "adamw8bit",
        "highvram": True,
        "learning_rate": 8e-4,
        "network_dim": 4,
        "network_alpha": 1.0,
        "max_train_epochs": 16,
        "save_every_n_epochs": 4,
        "seed": 42,
        "gradient_accumulation_steps": 1,
        "guidance_scale": 1.0,
        "timestep_sampling": "shift",
        "discrete_flow_shift": 3.1582,
        "model_prediction_type": "raw",
        "loss_type": "l2",
        "max_data_loader_n_workers": 2,
        "network_train_unet_only": True,
    }


@pytest.mark.parametrize("vram", [key for key in VRAM_KEYS if key != "auto"])
@pytest.mark.parametrize("backend", ["kohya", "builtin"])
@pytest.mark.parametrize("side", [512, 1024])
def test_every_recipe_gives_options_that_sd_scripts_takes(vram: str, backend: str, side: int) -> None:
    flags = effective_flags(spec_with(dataset={"path": "/p", "resolution": side}), backend=backend, vram=vram)
    assert set(flags) <= set(FLAG_KINDS)
    for name, value in flags.items():
        assert (value is True) == (FLAG_KINDS[name] == "switch")
        assert name not in CHOICES or value in CHOICES[name]
    swaps, checkpoints = "blocks_to_swap" in flags, flags.get("gradient_checkpointing") is True
    assert not swaps or (checkpoints and "highvram" not in flags)
    if backend == "builtin":
        assert "highvram" not in flags
        assert flags["optimizer_type"] == "adamw"


def test_recipes_go_by_memory() -> None:
    assert preset_flags("8G", backend="kohya")["blocks_to_swap"] == 28
    assert preset_flags("10G", backend="kohya")["blocks_to_swap"] == 22
    assert preset_flags("12G", backend="kohya")["blocks_to_swap"] == 16
    assert "blocks_to_swap" not in preset_flags("16G", backend="kohya")
    assert "blocks_to_swap" in preset_flags("16G", backend="kohya", pixels=1024 * 1024)
    assert preset_flags("16G", backend="kohya")["optimizer_type"] == "adafactor"
    assert "fp8_base" not in preset_flags("48G", backend="kohya")
    assert "fp8_base" not in preset_flags("cpu", backend="kohya")
    assert [key for key in VRAM_KEYS if wants_small_t5(key, backend="kohya")] == ["8G", "10G"]
    assert not wants_small_t5("8G", backend="builtin")


def test_the_built_in_trainer_swaps_more_on_smaller_cards_and_for_larger_pictures() -> None:
    cards = ["cpu", "80G", "40G", "24G", "20G", "16G", "12G", "10G", "8G"]
    for pixels, expected in (
        (512 * 512, [0, 0, 0, 0, 0, 8, 18, 24, 30]),
        (1024 * 1024, [0, 0, 0, 0, 0, 16, 28, 34, 35]),
    ):
        recipes = [preset_flags(card, backend="builtin", pixels=pixels) for card in cards]
        assert [recipe.get("blocks_to_swap", 0) for recipe in recipes] == expected
        assert [recipe.get("fp8_base", False) for recipe in recipes] == [card not in cards[:3] for card in cards]


@pytest.mark.parametrize(
    ("gib", "key"),
    [
        (None, "cpu"),
        (4.0, "8G"),
        (7.7, "8G"),
        (11.6, "12G"),
        (15.9, "16G"),
        (22.5, "20G"),
        (23.6, "24G"),
        (47.5, "48G"),
        (139.0, "80G"),
    ],
)
def test_the_recipe_for_a_card(gib: float | None, key: str) -> None:
    assert vram_for(gib) == key


@pytest.mark.parametrize(("vram", "backend"), [("auto", "kohya"), ("7G", "kohya"), ("24G", "auto")])
def test_what_is_no_recipe_is_refused(vram: str, backend: str) -> None:
    with pytest.raises(FluxgymError, match="there is no"):
        preset_flags(vram, backend=backend)


def test_training_beats_the_recipe_and_flags_add_to_both() -> None:
    spec = spec_with(
        training={"mixed_precision": "no", "gradient_checkpointing": False},
        flags={"highvram": False, "sigmoid_scale": 2},
    )
    flags = effective_flags(spec, backend="kohya", vram="24G")
    assert flags["mixed_precision"] == "no"
    assert not {"gradient_checkpointing", "highvram"} & set(flags)
    assert flags["sigmoid_scale"] == 2.0


def test_another_optimiser_takes_nothing_of_the_recipes() -> None:
    flags = effective_flags(spec_with(training={"optimizer_type": "prodigy"}), backend="kohya", vram="16G")
    assert flags["optimizer_type"] == "prodigy"
    assert not {"optimizer_args", "lr_scheduler", "max_grad_norm"} & set(flags)


def test_what_the_model_needs_yields_to_what_is_said() -> None:
    chroma = load_models()["chroma1-hd"]
    flags = effective_flags(spec_with(), backend="kohya", vram="24G", model=chroma)
    assert (flags["guidance_scale"], flags["timestep_sampling"], flags["apply_t5_attn_mask"]) == (0.0, "sigmoid", True)
    said = effective_flags(spec_with(training={"guidance_scale": 1.0}), backend="kohya", vram="24G", model=chroma)
    assert said["guidance_scale"] == 1.0
    saved = parse_spec(dump_spec(spec_with()), folder=Path("/"), origin="saved")
    assert effective_flags(saved, backend="kohya", vram="24G", model=chroma) == flags


def test_samples_need_prompts_and_an_interval() -> None:
    def sampled(**samples: Any) -> dict[str, Any]:
        flags = effective_flags(spec_with(samples=samples), backend="kohya", vram="24G")
        return {name: value for name, value in flags.items() if name.startswith("sample")}

    assert sampled(every_n_steps=100, at_first=True) == {}
    assert sampled(prompts=["a"]) == {}
    assert sampled(prompts=["a"], every_n_steps=100) == {"sample_every_n_steps": 100}
    assert sampled(prompts=["a"], every_n_epochs=2, at_first=True) == {
        "sample_every_n_epochs": 2,
        "sample_at_first": True,
    }


def test_no_workers_means_none_that_persist() -> None:
    flags = effective_flags(spec_with(training={"max_data_loader_n_workers": 0}), backend="kohya", vram="24G")
    assert "persistent_data_loader_workers" not in flags


@pytest.mark.parametrize("backend", ["kohya", "builtin"])
@pytest.mark.parametrize("vram", ["cpu", "8G", "16G", "48G"])
@pytest.mark.parametrize("key", ["flux-dev", "chroma1-hd", "tiny-flux"])
def test_a_resolved_spec_that_was_saved_reproduces_its_run(backend: str, vram: str, key: str) -> None:
    model = load_models()[key]
    spec = spec_with(
        base_model=key, training={"learning_rate": 1e-4}, flags={"save_state": True}, extra_args=["--seed", "7"]
    )
    resolved = resolve_spec(spec, backend=backend, vram=vram, model=model)
    saved = parse_spec(dump_spec(resolved), folder=Path("/"), origin="run/spec.yaml")
    assert saved == resolved
    assert (saved.backend, saved.training.vram) == (backend, vram)
    before = effective_flags(spec, backend=backend, vram=vram, model=model)
    assert effective_flags(saved, backend=backend, vram=vram, model=model) == before
    assert before["seed"] == 7
