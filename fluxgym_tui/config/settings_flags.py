"""A spec as sd-scripts' options: recipe, model, training and flags put together, each setting once."""

from typing import Any

from fluxgym_tui.config.flag_rules import SAID_ELSEWHERE
from fluxgym_tui.config.models import ModelEntry
from fluxgym_tui.config.presets import OPTIMIZER_FLAGS, preset_flags
from fluxgym_tui.config.sd_flags import FlagValue
from fluxgym_tui.config.spec import TrainingSpec, TrainSpec
from fluxgym_tui.config.specfile import build_spec, spec_data

_NOT_OPTIONS = frozenset({"vram", "train_clip_l"})


def effective_flags(
    spec: TrainSpec, *, backend: str, vram: str, model: ModelEntry | None = None
) -> dict[str, FlagValue]:
    """The options `spec` comes down to, by name: defaults < recipe < model's needs < `training` < `flags`.

    Switches are True or absent, lists are tuples. Dataset, model and output paths and the prompt file are the backend's
    to add; `extra_args` stay as they are and come last. `backend` and `vram` are resolved: not `auto`.

    Raises:
        FluxgymError: there is no such recipe or backend.
    """
    training = spec.training
    width, height = spec.dataset.resolution
    recipe = preset_flags(vram, backend=backend, pixels=width * height)
    if model is not None and model.most_swapped is not None and "blocks_to_swap" in recipe:
        recipe["blocks_to_swap"] = min(int(str(recipe["blocks_to_swap"])), model.most_swapped)
    if training.optimizer_type is not None:
        recipe = {name: value for name, value in recipe.items() if name not in OPTIMIZER_FLAGS}
    said: dict[str, FlagValue] = {}
    defaults: dict[str, FlagValue] = {}
    for name in TrainingSpec.model_fields:
        value = getattr(training, name)
        if name not in _NOT_OPTIONS and value is not None:
            (said if name in training.model_fields_set else defaults)[name] = value
    flags = {**recipe, **defaults, **(model.flags if model else {}), **said}
    flags["network_train_unet_only"] = not training.train_clip_l
    flags.update(_sample_flags(spec))
    flags.update(spec.flags)
    if flags.get("max_data_loader_n_workers") == 0:
        flags.pop("persistent_data_loader_workers", None)  # PyTorch refuses it without workers
    return {name: value for name, value in flags.items() if value is not False}


def _sample_flags(spec: TrainSpec) -> dict[str, FlagValue]:
    """When sample pictures are made; nothing without prompts, for the trainer would have none to make."""
    samples = spec.samples
    if not samples.prompts:
        return {}
    flags: dict[str, FlagValue] = {}
    if samples.every_n_epochs:
        flags["sample_every_n_epochs"] = samples.every_n_epochs
    elif samples.every_n_steps:
        flags["sample_every_n_steps"] = samples.every_n_steps
    if samples.at_first:
        flags["sample_at_first"] = True
    return flags


def resolve_spec(spec: TrainSpec, *, backend: str, vram: str, model: ModelEntry | None = None) -> TrainSpec:
    """`spec` with nothing left to decide: backend, recipe and every option it leads to are said in it.

    Its `effective_flags` are those of `spec`, and stay so when recipes or defaults change in a later version.
    """
    flags = effective_flags(spec, backend=backend, vram=vram, model=model)
    data: dict[str, Any] = spec_data(spec)
    data["backend"] = backend
    data["training"]["vram"] = vram
    if model is not None:
        data["base_model"] = model.key
    for name, value in flags.items():
        if name in TrainingSpec.model_fields:
            data["training"][name] = value
        elif name not in SAID_ELSEWHERE:
            data["flags"][name] = value
    return build_spec(data, origin="resolved spec")
