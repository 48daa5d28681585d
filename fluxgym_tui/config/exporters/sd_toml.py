"""A spec as sd-scripts' config file: `accelerate launch flux_train_network.py --config_file NAME.toml`."""

from pathlib import Path

from fluxgym_tui.config.dataset_toml import toml_value
from fluxgym_tui.config.exporters.common import (
    Exported,
    Training,
    beside,
    dataset_file,
    notes_on,
    own_settings,
    warning,
)
from fluxgym_tui.config.importers.option_words import options_of
from fluxgym_tui.config.importers.sd_toml import OWN_TABLE

_HEAD = "# Start: accelerate launch sd-scripts/flux_train_network.py --config_file {name}\n"


def export_sd_toml(training: Training, path: Path) -> Exported:
    """The config file for `path`, its dataset.toml and its sample prompts.

    Raises:
        FluxgymError: a path is not UTF-8, which TOML cannot hold.
    """
    spec, models = training.spec, training.models
    options, others, problems = options_of(spec.extra_args)
    notes = notes_on(training)
    if others or problems:
        words = " ".join([*others, *problems])
        notes.append(
            warning(
                "extra_args",
                f"extra_args that are no options of sd-scripts are left out: {words}",
                "Give them by hand.",
            )
        )
    files = dataset_file(training, path)
    lines: dict[str, object] = {"pretrained_model_name_or_path": models.transformer}
    paths = {"clip_l": models.clip_l, "t5xxl": models.t5xxl, "ae": models.ae}
    paths["tokenizer_cache_dir"] = models.tokenizer_cache_dir
    lines |= {name: file for name, file in paths.items() if file is not None}
    lines |= {**training.flags, **options}
    lines |= {"dataset_config": next(iter(files)), "output_dir": training.output_dir, "output_name": spec.output_name}
    if spec.samples.prompts:
        prompts = beside(path, "prompts.txt")
        files[prompts] = "".join(f"{prompt}\n" for prompt in spec.samples.prompts)
        lines["sample_prompts"] = prompts
    text = _HEAD.format(name=path.name)
    text += "".join(f"{name} = {_value(value)}\n" for name, value in lines.items())
    if own := own_settings(training):
        text += f"\n# Read by fluxgym-tui import; sd-scripts has no such options.\n[{OWN_TABLE}]\n"
        text += "".join(f"{name} = {toml_value(value)}\n" for name, value in own.items())
    return Exported(files={path: text, **files}, notes=tuple(notes))


def _value(value: object) -> str:
    return toml_value(str(value) if isinstance(value, Path) else value)
