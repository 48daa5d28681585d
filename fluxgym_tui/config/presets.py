"""The VRAM recipes: sd-scripts' options that make a training fit a GPU, for each backend."""

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.config.sd_flags import FlagValue
from fluxgym_tui.config.vram import VRAM_KEYS, vram_key

# What every FLUX LoRA training is started with, whatever the memory.
_COMMON: dict[str, FlagValue] = {
    "network_module": "networks.lora_flux",
    "save_model_as": "safetensors",
    "sdpa": True,
    "cache_latents_to_disk": True,
    "cache_text_encoder_outputs": True,
    "cache_text_encoder_outputs_to_disk": True,
}
_ADAMW8BIT: dict[str, FlagValue] = {"optimizer_type": "adamw8bit"}
_ADAFACTOR: dict[str, FlagValue] = {
    "optimizer_type": "adafactor",
    "optimizer_args": ("relative_step=False", "scale_parameter=False", "warmup_init=False"),
    "lr_scheduler": "constant_with_warmup",
    "max_grad_norm": 0.0,
}
# The built-in trainer's: whether the blocks are held in fp8, and how many wait in the CPU's memory at about 512x512
# pixels and above. docs/trainer.md has the arithmetic.
_BUILTIN: dict[str, tuple[bool, int, int]] = {
    "24G": (True, 0, 0),
    "20G": (True, 0, 0),
    "16G": (True, 8, 16),
    "12G": (True, 18, 28),
    "10G": (True, 24, 34),
    "8G": (True, 30, 35),
}
_SMALL_PIXELS = 600 * 600
# The options that belong to the optimiser of a recipe, and go with it when a spec names another.
OPTIMIZER_FLAGS = frozenset(_ADAFACTOR)

_BIG: dict[str, FlagValue] = {**_ADAMW8BIT, "highvram": True}
_FP8: dict[str, FlagValue] = {"fp8_base": True}
_KOHYA: dict[str, dict[str, FlagValue]] = {
    "80G": _BIG,
    "48G": _BIG,
    "40G": _BIG,
    "24G": {**_FP8, **_BIG},
    "20G": {**_FP8, **_BIG},  # as fluxgym
    "16G": {**_FP8, **_ADAFACTOR, "highvram": True},  # as fluxgym
    "12G": {**_FP8, **_ADAMW8BIT, "blocks_to_swap": 16},
    "10G": {**_FP8, **_ADAMW8BIT, "blocks_to_swap": 22},
    "8G": {**_FP8, **_ADAFACTOR, "blocks_to_swap": 28},
    "cpu": {"optimizer_type": "adamw"},
}
_SWAP_AT_1024: FlagValue = 12  # of the 8 to 18 that 16 GB need there
_SMALL_T5 = frozenset({"8G", "10G"})


def preset_flags(vram: str, *, backend: str, pixels: int = 512 * 512) -> dict[str, FlagValue]:
    """The options of the recipe `vram` for `backend` (`kohya` or `builtin`), as destination names with values.

    `pixels` is the area trained at: larger pictures leave less memory for the model. The built-in trainer's recipes
    have only what it honours. `auto` is none: `vram_for` resolves it.

    Raises:
        FluxgymError: there is no such recipe or backend.
    """
    key = vram_key(vram)
    if key is None or key == "auto":
        keys = ", ".join(name for name in VRAM_KEYS if name != "auto")
        raise FluxgymError(f"there is no VRAM recipe {vram}", hint=f"There are: {keys}.")
    on_cpu = key == "cpu"
    precision: dict[str, FlagValue] = (
        {"mixed_precision": "no"} if on_cpu else {"mixed_precision": "bf16", "save_precision": "bf16"}
    )
    checkpointing: dict[str, FlagValue] = {} if on_cpu else {"gradient_checkpointing": True}
    if backend == "builtin":
        return {**_COMMON, **precision, **checkpointing, **_builtin_memory(key, pixels), "optimizer_type": "adamw"}
    if backend != "kohya":
        raise FluxgymError(f"there is no backend {backend}", hint="There are kohya and builtin.")
    recipe: dict[str, FlagValue] = {
        **_COMMON,
        "persistent_data_loader_workers": True,
        **precision,
        **checkpointing,
        **_KOHYA[key],
    }
    if key == "16G" and pixels > 900 * 900:
        # Swapped blocks come and go, so the model cannot be kept on the GPU as highvram would.
        recipe.pop("highvram", None)
        recipe["blocks_to_swap"] = _SWAP_AT_1024
    return recipe


def _builtin_memory(key: str, pixels: int) -> dict[str, FlagValue]:
    fp8_base, at_small, at_large = _BUILTIN.get(key, (False, 0, 0))
    blocks_to_swap = at_small if pixels <= _SMALL_PIXELS else at_large
    flags: dict[str, FlagValue] = {"fp8_base": True} if fp8_base else {}
    return flags | ({"blocks_to_swap": blocks_to_swap} if blocks_to_swap else {})


def wants_small_t5(vram: str, *, backend: str) -> bool:
    """Whether the recipe needs the fp8 T5 file to fit; the built-in trainer brings T5 to the GPU layer by layer."""
    return backend == "kohya" and vram_key(vram) in _SMALL_T5
