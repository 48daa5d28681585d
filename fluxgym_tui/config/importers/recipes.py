"""sd-scripts' options as a spec says them: the VRAM recipe that comes nearest, and what is said beside it."""

from collections.abc import Mapping

from fluxgym_tui.config.presets import OPTIMIZER_FLAGS, preset_flags
from fluxgym_tui.config.sd_flags import FlagValue
from fluxgym_tui.config.spec import TrainingSpec

# What sd-scripts takes where an option is not given, for those of which a spec has other defaults.
SD_DEFAULTS: dict[str, FlagValue] = {
    "learning_rate": 2e-6,
    "network_dim": 4,
    "network_alpha": 1.0,
    "gradient_accumulation_steps": 1,
    "guidance_scale": 3.5,
    "timestep_sampling": "sigma",
    "discrete_flow_shift": 3.0,
    "model_prediction_type": "sigma_scaled",
    "loss_type": "l2",
    "max_data_loader_n_workers": 8,
    "mixed_precision": "no",
    "save_model_as": "safetensors",
    "optimizer_type": "AdamW",
}
_SD_STEPS = 1600
_LARGE, _SMALL = ("20G", "40G", "16G", "12G"), ("10G", "8G")
_ALWAYS_SAID = {name for name, info in TrainingSpec.model_fields.items() if info.default is not None}


def completed(options: Mapping[str, FlagValue]) -> dict[str, FlagValue]:
    """`options` with sd-scripts' own defaults said, where a spec that is silent would mean something else."""
    flags = {**SD_DEFAULTS, **options}
    if flags.pop("use_8bit_adam", False):
        flags["optimizer_type"] = "AdamW8bit"
    if flags.pop("use_lion_optimizer", False):
        flags["optimizer_type"] = "Lion"
    if not str(flags["optimizer_type"]).strip():
        flags["optimizer_type"] = "AdamW"
    # Not given, weights are saved as they are held: in fp32, unless all of the training is in bf16 or fp16.
    held = "bf16" if flags.get("full_bf16") else "fp16" if flags.get("full_fp16") else "float"
    flags.setdefault("save_precision", held)
    if "max_train_epochs" in flags:
        flags.pop("max_train_steps", None)  # sd-scripts counts epochs then
    else:
        flags.setdefault("max_train_steps", _SD_STEPS)
    return flags


def nearest_recipe(flags: Mapping[str, FlagValue], *, pixels: int, small_t5: bool) -> str:
    """The VRAM recipe of sd-scripts beside which least is to be said for `flags`.

    The recipes of the smallest cards use the fp8 T5 file, so they go with `small_t5` alone.
    """
    recipes = {key: preset_flags(key, backend="kohya", pixels=pixels) for key in (_SMALL if small_t5 else _LARGE)}
    swaps = bool(flags.get("blocks_to_swap"))
    recipes = {key: recipe for key, recipe in recipes.items() if ("blocks_to_swap" in recipe) == swaps}
    possible = {
        key: len(_beside(flags, recipe))
        for key, recipe in recipes.items()
        if all(name in flags or value is True or name in OPTIMIZER_FLAGS for name, value in recipe.items())
    }
    return min(possible, key=lambda key: possible[key], default="20G")


def said_training(flags: Mapping[str, FlagValue], *, vram: str, pixels: int) -> dict[str, dict[str, object]]:
    """The groups `training` and `flags` of a spec whose options for sd-scripts are `flags`, with the recipe `vram`."""
    recipe = preset_flags(vram, backend="kohya", pixels=pixels)
    said = _beside(flags, recipe)
    training: dict[str, object] = {"vram": vram}
    for name in TrainingSpec.model_fields:
        if name in said or (name in _ALWAYS_SAID and name in flags):
            training[name] = flags.get(name, False)
    training["save_every_n_epochs"] = flags.get("save_every_n_epochs")
    others: dict[str, object] = {name: value for name, value in said.items() if name not in TrainingSpec.model_fields}
    return {"training": training, "flags": others}


def _beside(flags: Mapping[str, FlagValue], recipe: Mapping[str, FlagValue]) -> dict[str, FlagValue]:
    """What is to be said so that `recipe` gives `flags`: what differs, and a no to each switch that is not set."""
    said = {name: value for name, value in flags.items() if name not in recipe or recipe[name] != value}
    said |= {name: False for name, value in recipe.items() if value is True and not flags.get(name)}
    own = {name: value for name, value in recipe.items() if name in OPTIMIZER_FLAGS}
    wanted = {name: value for name, value in flags.items() if name in OPTIMIZER_FLAGS}
    plain = own == {"optimizer_type": "adamw8bit"}  # AdamW by any backend, in the precision it has
    if own == wanted and plain:
        return said
    # With an optimiser of its own a spec takes none of the recipe's settings for it.
    return {name: value for name, value in said.items() if name not in OPTIMIZER_FLAGS} | wanted
