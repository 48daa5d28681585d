"""The same training with less memory: a resolved spec with the next smaller VRAM recipe in place of its own."""

from typing import Any

from fluxgym_tui.config.presets import preset_flags
from fluxgym_tui.config.spec import TrainSpec
from fluxgym_tui.config.specfile import build_spec, spec_data
from fluxgym_tui.config.vram import VRAM_KEYS


def smaller_spec(spec: TrainSpec) -> TrainSpec | None:
    """`spec` (with backend and recipe resolved) for the next smaller card whose recipe is another one.

    What its recipe had set goes with the recipe; what was said beside it stays. None where no recipe is smaller.
    """
    vram = smaller_recipe(spec)
    if vram is None:
        return None
    data: dict[str, Any] = spec_data(spec)
    for name, value in _recipe(spec, spec.training.vram).items():
        for group in ("training", "flags"):
            said = data.get(group, {}).get(name)
            if said == value or (isinstance(value, tuple) and said == list(value)):
                del data[group][name]
    data["training"]["vram"] = vram
    return build_spec(data, origin=f"spec for {vram}")


def smaller_recipe(spec: TrainSpec) -> str | None:
    """The next smaller recipe that asks for something else than that of `spec`; None where there is none."""
    keys = [key for key in VRAM_KEYS if key.endswith("G")]
    if spec.training.vram not in keys:
        return None
    now = _recipe(spec, spec.training.vram)
    below = reversed(keys[: keys.index(spec.training.vram)])
    return next((key for key in below if _recipe(spec, key) != now), None)


def _recipe(spec: TrainSpec, vram: str) -> dict[str, Any]:
    width, height = spec.dataset.resolution
    return dict(preset_flags(vram, backend=spec.backend, pixels=width * height))
