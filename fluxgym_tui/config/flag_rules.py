"""One place for each setting: what `flags` and `extra_args` may say beside the rest of a spec."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from fluxgym_tui.config.refusals import Place, refuse
from fluxgym_tui.config.sd_flags import FLAG_KINDS, FlagValue, read_flag

if TYPE_CHECKING:
    from fluxgym_tui.config.spec import TrainingSpec, TrainSpec

# Settings of the spec that have another name or form there; sd-scripts' option -> where the spec says it.
SAID_ELSEWHERE: dict[str, str] = {
    "train_batch_size": "dataset.batch_size",
    "resolution": "dataset.resolution",
    "enable_bucket": "dataset.enable_bucket",
    "bucket_no_upscale": "dataset.bucket_no_upscale",
    "min_bucket_reso": "dataset.min_bucket_reso",
    "max_bucket_reso": "dataset.max_bucket_reso",
    "bucket_reso_steps": "dataset.bucket_reso_steps",
    "dataset_repeats": "dataset.num_repeats",
    "train_data_dir": "dataset.path",
    "reg_data_dir": "dataset.subsets, with is_reg: true",
    "dataset_config": "dataset",
    "in_json": "dataset.path",
    "dataset_class": "dataset",
    "network_train_unet_only": "training.train_clip_l",
    "sample_prompts": "samples.prompts",
    "sample_every_n_steps": "samples.every_n_steps",
    "sample_every_n_epochs": "samples.every_n_epochs",
    "sample_at_first": "samples.at_first",
    "pretrained_model_name_or_path": "base_model",
    "model_type": "base_model",
    "clip_l": "base_model, whose entry in models.yaml names its files",
    "t5xxl": "base_model, whose entry in models.yaml names its files",
    "ae": "base_model, whose entry in models.yaml names its files",
    "output_dir": "name",
    "output_name": "name",
}
# Written into every dataset.toml that is made from a spec, which therefore beats the command line.
FIXED_IN_DATASET = {
    "caption_extension": "staged captions are .txt files",
    "caption_extention": "staged captions are .txt files",
    "shuffle_caption": "captions are cached as they are",
    "keep_tokens": "captions are cached as they are",
}
# Of these, what the dataset.toml takes over from `flags` where captions are encoded for every batch.
OF_UNCACHED_TEXT = ("shuffle_caption", "keep_tokens")
TEXT_CACHES = ("cache_text_encoder_outputs", "cache_text_encoder_outputs_to_disk")
SECRETS = {
    "huggingface_token": "set HF_TOKEN in the environment, or run: hf auth login",
    "wandb_api_key": "set WANDB_API_KEY in the environment",
}


def settle_flags(spec: "TrainSpec") -> "tuple[TrainingSpec, dict[str, FlagValue]]":
    """`training` and `flags` of `spec` with each setting in one place.

    A flag that `training` has a key for moves there; what `extra_args` say of such a key is taken over as well, so that
    plan and command know it. The arguments themselves stay as they are.

    Raises:
        PydanticCustomError: a setting is given differently in two places, or belongs elsewhere in the spec.
    """
    from fluxgym_tui.config.spec import TrainingSpec

    said: dict[str, Any] = {name: getattr(spec.training, name) for name in spec.training.model_fields_set}
    kept: dict[str, FlagValue] = {}
    for name, value in spec.flags.items():
        place: Place = ("flags", name)
        if name not in OF_UNCACHED_TEXT or not _is_uncached(spec.flags):
            _refuse_misplaced(name, place)
        if name not in TrainingSpec.model_fields:
            kept[name] = value
            continue
        _refuse_difference(name, value, said, "training", place)
        said[name] = value
    for index, name, value in extra_flags(spec.extra_args):
        place = ("extra_args", index)
        _refuse_misplaced(name, place)
        _refuse_difference(name, value, kept, "flags", place)
        if name in TrainingSpec.model_fields:
            _refuse_difference(name, value, said, "training or flags", place)
            said[name] = value
    if said.keys() == spec.training.model_fields_set:
        return spec.training, kept
    try:
        return TrainingSpec.model_validate(said), kept
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]) if first["loc"] else "max_train_steps"
        place = ("flags", name) if name in spec.flags else ("extra_args",)
        message = first["ctx"]["message"] if first["type"] == "refused" else first["msg"].removeprefix("Value error, ")
        raise refuse(place, f"{name} {message}" if place[0] == "extra_args" else message) from error


def extra_flags(extra_args: Sequence[str]) -> Iterator[tuple[int, str, FlagValue]]:
    """The options of sd-scripts in `extra_args`: position, full name, value; others are passed by.

    `--name value`, `--name=value` and unambiguous beginnings of a name count, as argparse has it.

    Raises:
        PydanticCustomError: an option lacks its value or has one of another kind.
    """
    for index, word in enumerate(extra_args):
        if not word.startswith("--"):
            continue
        written, equals, after = word[2:].partition("=")
        name = _full_name(written)
        if name is None:
            continue
        following = [after] if equals else list(_until_option(extra_args[index + 1 :]))
        kind = FLAG_KINDS[name]
        if kind == "switch":
            yield index, name, True
        elif not following and kind not in ("texts", "numbers"):
            raise refuse(("extra_args", index), f"--{name} has no value")
        else:
            value: object = tuple(following) if kind in ("texts", "numbers") else following[0]
            try:
                yield index, name, read_flag(name, value)
            except ValueError as error:
                raise refuse(("extra_args", index), f"--{name} {error}") from error


def _until_option(words: Sequence[str]) -> Iterator[str]:
    for word in words:
        if word.startswith("--"):
            return
        yield word


def _full_name(written: str) -> str | None:
    """The option that `written` names or begins; None where there is none or more than one."""
    if written in FLAG_KINDS:
        return written
    fitting = [name for name in FLAG_KINDS if name.startswith(written)] if written else []
    return fitting[0] if len(fitting) == 1 else None


def _is_uncached(flags: Mapping[str, FlagValue]) -> bool:
    """Whether captions are encoded for every batch: recipes cache them, so both caches have to be off."""
    return all(flags.get(name) is False for name in TEXT_CACHES)


def _refuse_misplaced(name: str, place: Place) -> None:
    if name in SAID_ELSEWHERE:
        raise refuse(place, f"{_named(name, place)}is not taken here", f"Set {SAID_ELSEWHERE[name]} instead.")
    if name in FIXED_IN_DATASET:
        raise refuse(
            place,
            f"{_named(name, place)}would have no effect: dataset.toml says it, and {FIXED_IN_DATASET[name]}",
            f"Take it out, or set flags.{' and flags.'.join(TEXT_CACHES)} to false."
            if name in OF_UNCACHED_TEXT
            else "Take it out.",
        )
    if name in SECRETS:
        raise refuse(
            place, f"{_named(name, place)}holds a secret, and specs and command lines are not secret", SECRETS[name]
        )


def _refuse_difference(name: str, value: object, said: Mapping[str, Any], where: str, place: Place) -> None:
    if name in said and said[name] != value:
        raise refuse(
            place,
            f"{_named(name, place)}is {_shown(value)} here and {_shown(said[name])} in {where}",
            "Give it once: a setting in two places would silently lose one.",
        )


def _named(name: str, place: Place) -> str:
    """What a message about the option at `place` begins with: under `flags` its key has said the name already."""
    return "" if place == ("flags", name) else f"--{name} "


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return " ".join(str(item) for item in value) if isinstance(value, tuple) else str(value)
