"""TrainSpec: what the user wants, as typed values with fluxgym's defaults. Files are read in `specfile`."""

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from fluxgym_tui.config import values
from fluxgym_tui.config.refusals import refuse
from fluxgym_tui.config.sd_flags import CHOICES, FlagValue, read_flag
from fluxgym_tui.config.vram import VRAM_KEYS, vram_key

SCHEMA = 1
# Where `training` does not say these, the base model's entry in models.yaml may: Chroma wants others than FLUX.1-dev.
DECIDED_BY_MODEL = frozenset({"guidance_scale", "timestep_sampling"})

Text = Annotated[str, BeforeValidator(values.read_text)]
Switch = Annotated[bool, BeforeValidator(values.read_switch)]
Whole = Annotated[int, BeforeValidator(values.read_whole)]
Number = Annotated[float, BeforeValidator(values.read_number)]
WholeOrNumber = Annotated[int | float, BeforeValidator(values.read_whole_or_number)]
Texts = Annotated[tuple[str, ...], BeforeValidator(values.read_texts)]
Prompts = Annotated[tuple[str, ...], BeforeValidator(values.read_prompts)]
Words = Annotated[tuple[str, ...], BeforeValidator(values.read_words)]
FilePath = Annotated[Path, BeforeValidator(values.read_path)]
# A key that may also say nothing: null, ~ or an empty value.
MaybeText = Annotated[Text | None, BeforeValidator(values.read_optional)]
Trigger = Annotated[str | None, BeforeValidator(values.read_trigger)]
MaybeSwitch = Annotated[Switch | None, BeforeValidator(values.read_optional)]
MaybeNumber = Annotated[Number | None, BeforeValidator(values.read_optional)]
MaybeWhole = Annotated[Annotated[Whole, Field(ge=1)] | None, BeforeValidator(values.read_optional)]
MaybeWholeOrNumber = Annotated[WholeOrNumber | None, BeforeValidator(values.read_optional)]
MaybeTexts = Annotated[Texts | None, BeforeValidator(values.read_optional)]


class _Part(BaseModel):
    """A group of keys: nothing unknown, nothing changed after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=False)


def _read_resolution(value: Any) -> tuple[int, int]:
    """Width and height from `[768, 1024]`; `768`, `[768]` and `[768, 0]` are squares."""
    numbers = value if isinstance(value, (list, tuple)) else [value]
    if not 1 <= len(numbers) <= 2:
        raise ValueError("must be one number or [width, height]")
    width = values.read_whole(numbers[0])
    height = values.read_whole(numbers[1]) if len(numbers) == 2 else 0
    if width < 64 or (height != 0 and height < 64):
        raise ValueError(f"must be at least 64 pixels a side, not {shown_resolution((width, height))}")
    return (width, height or width)


def shown_resolution(resolution: tuple[int, int]) -> str:
    """A resolution as people write it: `768x1024`."""
    return f"{resolution[0]}x{resolution[1]}"


Resolution = Annotated[tuple[int, int], BeforeValidator(_read_resolution)]


class SubsetSpec(_Part):
    """One more folder of pictures. What it does not say is as in the dataset: repeats, and the trigger."""

    path: FilePath
    num_repeats: MaybeWhole = None
    trigger: Trigger = None
    is_reg: Switch = False


class DatasetSpec(_Part):
    """The pictures, and how they are fitted. `resolution` is width, height; `resize` the shortest side in pixels."""

    path: FilePath
    resolution: Resolution = (512, 512)
    resize: Annotated[Whole, Field(ge=0)] = 0
    downscale_only: Switch = True
    enable_bucket: Switch = True
    bucket_no_upscale: Switch = True
    min_bucket_reso: Annotated[Whole, Field(ge=64)] = 256
    max_bucket_reso: Annotated[Whole, Field(ge=64)] = 1024
    bucket_reso_steps: Annotated[Whole, Field(ge=1)] = 64
    num_repeats: Annotated[Whole, Field(ge=1)] = 10
    batch_size: Annotated[Whole, Field(ge=1)] = 1
    subsets: tuple[SubsetSpec, ...] = ()


class TrainingSpec(_Part):
    """The settings people change most, by sd-scripts' names. None: not said, so the recipe for `vram` decides."""

    vram: Text = "auto"
    train_clip_l: Switch = False
    learning_rate: Annotated[Number, Field(gt=0)] = 8e-4
    network_dim: Annotated[Whole, Field(ge=1)] = 4
    network_alpha: Annotated[Number, Field(gt=0)] = 1.0
    network_args: MaybeTexts = None
    max_train_epochs: MaybeWhole = None
    max_train_steps: MaybeWhole = None
    save_every_n_epochs: MaybeWhole = 4
    save_every_n_steps: MaybeWhole = None
    seed: Annotated[Whole, Field(ge=0, lt=2**32)] = 42
    optimizer_type: MaybeText = None
    optimizer_args: MaybeTexts = None
    lr_scheduler: MaybeText = None
    lr_warmup_steps: MaybeWholeOrNumber = None
    gradient_accumulation_steps: Annotated[Whole, Field(ge=1)] = 1
    gradient_checkpointing: MaybeSwitch = None
    max_grad_norm: MaybeNumber = None
    mixed_precision: MaybeText = None
    save_precision: MaybeText = None
    guidance_scale: Number = 1.0
    timestep_sampling: Text = "shift"
    discrete_flow_shift: Annotated[Number, Field(gt=0)] = 3.1582
    model_prediction_type: Text = "raw"
    loss_type: Text = "l2"
    max_data_loader_n_workers: Annotated[Whole, Field(ge=0)] = 2
    fp8_base: MaybeSwitch = None
    blocks_to_swap: MaybeWhole = None

    @field_validator("vram")
    @classmethod
    def _known_vram(cls, value: str) -> str:
        key = vram_key(value)
        if key is None:
            raise ValueError(f"must be one of {', '.join(VRAM_KEYS)}, not '{value}'")
        return key

    @field_validator(
        "mixed_precision", "save_precision", "timestep_sampling", "model_prediction_type", "loss_type", mode="after"
    )
    @classmethod
    def _known_choice(cls, value: str | None, info: Any) -> str | None:
        choices = CHOICES[info.field_name]
        if value is not None and value not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}, not '{value}'")
        return value

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.max_train_epochs is not None and self.max_train_steps is not None:
            raise refuse(
                ("training", "max_train_steps"),
                "would have no effect: max_train_epochs is set too, and sd-scripts then counts epochs",
                "Keep one of the two.",
            )
        if self.max_train_epochs is None and self.max_train_steps is None:
            object.__setattr__(self, "max_train_epochs", 16)  # fluxgym's default length
        return self


class SamplesSpec(_Part):
    """Pictures made while training. Without prompts and an interval there are none."""

    prompts: Prompts = ()
    every_n_steps: Annotated[Whole, Field(ge=0)] = 0
    every_n_epochs: Annotated[Whole, Field(ge=0)] = 0
    at_first: Switch = False

    @model_validator(mode="after")
    def _one_interval(self) -> Self:
        if self.every_n_steps and self.every_n_epochs:
            raise refuse(
                ("samples", "every_n_steps"),
                "would have no effect: every_n_epochs is set too, and sd-scripts then counts epochs",
                "Keep one of the two.",
            )
        return self


class AfterSpec(_Part):
    """What happens when the run has ended well."""

    publish: Switch = False
    notify: Texts = ()
    command: MaybeText = None


def _read_flags(value: Any) -> dict[str, FlagValue]:
    if values.is_null(value):
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"must be keys with values, as lr_scheduler: cosine, not {values.shown(value)}")
    flags: dict[str, FlagValue] = {}
    for name, item in value.items():
        if not re.fullmatch(r"\w+", str(name)):
            word = re.sub(r"\W+", "_", str(name)).strip("_")
            raise refuse(
                ("flags", str(name)), "is no name of an option", f"Write {word}: no dashes, as sd-scripts' own."
            )
        try:
            flags[str(name)] = read_flag(str(name), item)
        except ValueError as error:
            raise refuse(("flags", str(name)), str(error)) from error
    return flags


class TrainSpec(_Part):
    """One training as the user wants it. Paths are absolute once it was read from a file."""

    # `schema` is the key in the file; that name is taken on pydantic's models.
    schema_version: Annotated[Whole, Field(alias="schema")] = SCHEMA
    name: Text
    trigger: Trigger = None
    base_model: Text = "flux-dev"
    backend: Literal["auto", "kohya", "builtin"] = "auto"
    dataset: DatasetSpec
    training: TrainingSpec = TrainingSpec()
    samples: SamplesSpec = SamplesSpec()
    flags: Annotated[dict[str, FlagValue], BeforeValidator(_read_flags)] = Field(default_factory=dict)
    extra_args: Words = ()
    after: AfterSpec = AfterSpec()

    @property
    def output_name(self) -> str:
        """The name of the run's folder and files: `name` as fluxgym makes it a file name, so that old folders match."""
        return output_name(self.name)

    @field_validator("schema_version")
    @classmethod
    def _known_schema(cls, value: int) -> int:
        if value > SCHEMA:
            raise refuse(
                ("schema",),
                f"is {value}, and this version reads {SCHEMA}",
                "Update fluxgym-tui: pip install --upgrade fluxgym-tui",
            )
        if value < 1:
            raise ValueError(f"must be {SCHEMA}")
        return value

    @field_validator("name")
    @classmethod
    def _has_output_name(cls, value: str) -> str:
        value = value.strip()
        slug = output_name(value)
        if not slug:
            raise ValueError(f'must have a letter or a digit, for it names the files: not "{value}"')
        if len(slug) > 150:  # file systems stop at 255, and step, epoch, seed and extension come after it
            raise ValueError(f"is too long for a file name: {len(slug)} characters, 150 are possible")
        return value

    @model_validator(mode="after")
    def _one_place_for_each_setting(self) -> Self:
        # Imported here: the rules need this module's types.
        from fluxgym_tui.config.flag_rules import settle_flags

        training, flags = settle_flags(self)
        object.__setattr__(self, "training", training)
        object.__setattr__(self, "flags", flags)
        return self


def output_name(name: str) -> str:
    """`name` as a file name: fluxgym's way, by python-slugify. Empty where nothing is left."""
    from slugify import slugify

    return slugify(name)
