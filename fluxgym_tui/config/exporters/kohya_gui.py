"""A spec as the kohya_ss GUI's saved settings (JSON), for its LoRA tab."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from fluxgym_tui.base.findings import Finding
from fluxgym_tui.config.exporters.common import Exported, Training, dataset_file, notes_on, own_settings, warning
from fluxgym_tui.config.importers.recipes import SD_DEFAULTS
from fluxgym_tui.config.importers.sd_toml import OWN_TABLE
from fluxgym_tui.config.kohya_gui_fields import (
    HUBER,
    NETWORK_ARGS,
    NEUTRAL,
    RENAMED,
    STARTING,
    WITHOUT_EFFECT,
    is_off,
)
from fluxgym_tui.config.sd_flags import FlagValue

_FIELD_OF = {RENAMED.get(field, field): field for field in NEUTRAL}
# Said by fields of which several make one option.
_APART = {"learning_rate", "unet_lr", "text_encoder_lr", "network_train_unet_only", "sdpa", "xformers", "model_type"}


def export_kohya_gui(training: Training, path: Path) -> Exported:
    """The GUI's settings for `path`, and the dataset.toml they name.

    Every field that reaches a FLUX training is written, since the GUI keeps what it shows for one that is missing. It
    drops fields that are 0 and has none for some options: those are said in its field for additional parameters.

    Raises:
        FluxgymError: a path of the pictures is not UTF-8, which TOML cannot hold.
    """
    files = dataset_file(training, path)
    data: dict[str, object] = {**STARTING, **WITHOUT_EFFECT, **HUBER, **NETWORK_ARGS, **NEUTRAL}
    more: list[list[str]] = []
    for name, value in training.flags.items():
        field = _FIELD_OF.get(name)
        if name in _APART or value == "networks.lora_flux":  # the GUI's type Flux1
            continue
        if field is not None:
            data[field] = " ".join(map(str, value)) if isinstance(value, tuple) else value
        if field is None or not _passed_on(name, data[field], value):
            more.append(_words(name, value))
    if training.models.tokenizer_cache_dir is not None:
        more.append(_words("tokenizer_cache_dir", str(training.models.tokenizer_cache_dir)))
    data |= _rates(training.flags, more)
    data |= _files(training)
    data["xformers"] = next((name for name in ("sdpa", "xformers") if training.flags.get(name)), "")
    data["epoch"] = training.flags.get("max_train_epochs", 1)
    data["dataset_config"] = str(next(iter(files)))
    data["sample_prompts"] = "\n".join(training.spec.samples.prompts)
    notes = notes_on(training)
    data["additional_parameters"] = _one_line([*more, *_options(training.spec.extra_args)], notes)
    if own := own_settings(training):
        data[OWN_TABLE] = own
    text = json.dumps(dict(sorted(data.items())), indent=2) + "\n"
    return Exported(files={path: text, **files}, notes=tuple(notes))


def _passed_on(name: str, written: object, value: FlagValue) -> bool:
    """Whether the GUI tells sd-scripts `value` from its field, and `import` can tell that it was said."""
    if isinstance(value, tuple) and any(not str(item) or set(str(item)) & set(' \t\n"') for item in value):
        return False
    return not is_off(written) and (written != NEUTRAL[_FIELD_OF[name]] or name in SD_DEFAULTS)


def _rates(flags: Mapping[str, FlagValue], more: list[list[str]]) -> dict[str, object]:
    """The fields for learning rates, by which the GUI decides what trains; what they cannot say goes to `more`."""
    main, unet = flags["learning_rate"], flags.get("unet_lr")
    unet_only = bool(flags.get("network_train_unet_only"))
    if unet is not None and (unet == main or not unet_only):
        more.append(_words("unet_lr", unet))
    if "text_encoder_lr" in flags:
        more.append(_words("text_encoder_lr", flags["text_encoder_lr"]))
    if flags.get("sdpa") and flags.get("xformers"):
        more.append(["--xformers"])
    return {"learning_rate": main, "unet_lr": (unet or main) if unet_only else 0, "text_encoder_lr": 0, "t5xxl_lr": 0}


def _files(training: Training) -> dict[str, object]:
    """Models, pictures and outputs; the dataset's own settings are shown, and its dataset.toml says them."""
    models, dataset = training.models, training.dataset
    return {
        "model_type": training.flags.get("model_type", "flux"),
        "pretrained_model_name_or_path": str(models.transformer),
        "clip_l": "" if models.clip_l is None else str(models.clip_l),
        "t5xxl": str(models.t5xxl),
        "ae": str(models.ae),
        "output_dir": str(training.output_dir),
        "output_name": training.spec.output_name,
        "caption_extension": ".txt",
        "train_batch_size": dataset.batch_size,
        "max_resolution": f"{dataset.resolution[0]},{dataset.resolution[1]}",
        "enable_bucket": dataset.enable_bucket,
        "bucket_no_upscale": dataset.bucket_no_upscale,
        "min_bucket_reso": dataset.min_bucket_reso,
        "max_bucket_reso": dataset.max_bucket_reso,
        "bucket_reso_steps": dataset.bucket_reso_steps,
    }


def _words(name: str, value: FlagValue) -> list[str]:
    """An option as words of a command line."""
    if value is True:
        return [f"--{name}"]
    if isinstance(value, tuple):
        return [f"--{name}", *map(str, value)]
    return [f"--{name}={value}"] if str(value).startswith("-") else [f"--{name}", str(value)]


def _options(words: Sequence[str]) -> list[list[str]]:
    """`words` of a command line, each option with its values."""
    groups: list[list[str]] = []
    for word in words:
        if word.startswith("--") or not groups:
            groups.append([])
        groups[-1].append(word)
    return groups


def _one_line(groups: Sequence[list[str]], notes: list[Finding]) -> str:
    """The text of the GUI's field for more parameters, which it splits at spaces; what that would tear is noted."""
    kept: list[str] = []
    for words in groups:
        if all(word and not set(word) & set(' \t\n"') for word in words):
            kept += words
        else:
            said = " ".join(map(repr, words))
            notes.append(
                warning(
                    "torn",
                    f"left out, as the GUI tears words apart at spaces: {said}",
                    "Give it to sd-scripts by hand.",
                )
            )
    return " ".join(kept)
