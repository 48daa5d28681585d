"""The fields of the Parameters form: which key of the spec each one sets, with its words for people."""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["text", "word", "switch", "choice", "lines"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field. `key` is the spec's dotted key (resolution has one for each side), `flag` sd-scripts' option.

    `kind`: a `text` is taken as it stands, a `word` is read as YAML would (numbers, null), `lines` are a list of texts.
    `choices` are all a `choice` may be; `first` fields are always shown, the others are folded away.
    """

    key: str
    label: str
    help: str
    kind: Kind = "word"
    unit: str = ""
    flag: str = ""
    choices: tuple[str, ...] = ()
    first: bool = False


WIDTH, HEIGHT = "dataset.resolution.width", "dataset.resolution.height"
PATH, NAME, TRIGGER, PROMPTS = "dataset.path", "name", "trigger", "samples.prompts"

FIELDS: tuple[Field, ...] = (
    Field(key=NAME, label="name", kind="text", first=True, flag="output_name",
          help="Names the run, its folder and its files."),
    Field(key=TRIGGER, label="trigger", kind="text", first=True, flag="class_tokens",
          help="The words that call what you teach. They caption pictures that have none; use them in prompts."),
    Field(key="base_model", label="base model", kind="choice", first=True, flag="pretrained_model_name_or_path",
          help="What the LoRA is made for. `fluxgym-tui models` tells more about each."),
    Field(key="training.vram", label="VRAM recipe", kind="choice", first=True,
          help="Settings that fit the memory of the graphics card; auto looks at the one that is here."),
    Field(key="dataset.num_repeats", label="repeats", unit="per epoch", first=True, flag="num_repeats",
          help="How often each picture counts in one epoch."),
    Field(key="training.max_train_epochs", label="epochs", first=True, flag="max_train_epochs",
          help="Rounds through all pictures with their repeats. Empty it to count steps instead."),
    Field(key="training.learning_rate", label="learning rate", first=True, flag="learning_rate",
          help="Higher learns faster and breaks sooner. Write it as 8e-4 or 0.0008."),
    Field(key="training.network_dim", label="rank", first=True, flag="network_dim",
          help="How much the LoRA can hold, and how large its file is."),
    Field(key=WIDTH, label="resolution width", unit="px", first=True, flag="resolution",
          help="With the height: the area in pixels that pictures are brought to."),
    Field(key=HEIGHT, label="resolution height", unit="px", first=True, flag="resolution",
          help="Empty or 0 makes a square of the width."),
    Field(key="dataset.resize", label="resize", unit="px", first=True,
          help="Train copies resized to this shortest side; 0 trains the pictures as they are."),
    Field(key="samples.every_n_steps", label="sample every", unit="steps", first=True, flag="sample_every_n_steps",
          help="Draw the prompts each so many steps while training; 0 draws none."),
    Field(key=PROMPTS, label="sample prompts", kind="lines", first=True, flag="sample_prompts",
          help="One a line; --w --h --d (seed) --s (steps) --g at the end of a line. They begin as your trigger."),
    # Folded away
    Field(key="backend", label="backend", kind="choice", choices=("auto", "kohya", "builtin"),
          help="The program that trains: kohya where sd-scripts is installed, else the built-in one."),
    Field(key="dataset.enable_bucket", label="buckets", kind="switch", flag="enable_bucket",
          help="Sort pictures by shape; off cuts all of them to the resolution."),
    Field(key="dataset.bucket_no_upscale", label="never enlarge", kind="switch", flag="bucket_no_upscale",
          help="Small pictures are trained at their own size."),
    Field(key="dataset.downscale_only", label="resize only down", kind="switch",
          help="Resizing never enlarges a picture."),
    Field(key="dataset.min_bucket_reso", label="shortest bucket side", unit="px", flag="min_bucket_reso",
          help="Counts where enlarging is allowed."),
    Field(key="dataset.max_bucket_reso", label="longest bucket side", unit="px", flag="max_bucket_reso",
          help="Counts where enlarging is allowed."),
    Field(key="dataset.bucket_reso_steps", label="bucket steps", unit="px", flag="bucket_reso_steps",
          help="Bucket sides are multiples of it; FLUX needs multiples of 64."),
    Field(key="dataset.batch_size", label="batch size", unit="pictures", flag="train_batch_size",
          help="Pictures in one step; more need more memory."),
    Field(key="training.max_train_steps", label="steps, not epochs", flag="max_train_steps",
          help="The length in steps; empty the epochs first."),
    Field(key="training.network_alpha", label="alpha", flag="network_alpha",
          help="The LoRA works with the strength alpha / rank."),
    Field(key="training.train_clip_l", label="train CLIP-L too", kind="switch",
          help="Teach the first text encoder as well; most FLUX LoRAs do without."),
    Field(key="training.save_every_n_epochs", label="save every", unit="epochs", flag="save_every_n_epochs",
          help="A LoRA file each so many epochs; empty saves only at the end."),
    Field(key="training.save_every_n_steps", label="save every", unit="steps", flag="save_every_n_steps",
          help="A LoRA file each so many steps."),
    Field(key="training.seed", label="seed", flag="seed", help="The same seed and settings give the same run."),
    Field(key="training.optimizer_type", label="optimizer", flag="optimizer_type",
          help="Empty: the one of the VRAM recipe."),
    Field(key="training.lr_scheduler", label="schedule", flag="lr_scheduler",
          help="How the learning rate goes: constant, cosine, linear ... Empty: as the recipe says."),
    Field(key="training.lr_warmup_steps", label="warmup", unit="steps, or a share below 1", flag="lr_warmup_steps",
          help="Over how many steps the learning rate rises at first."),
    Field(key="training.gradient_accumulation_steps", label="accumulate", unit="batches",
          flag="gradient_accumulation_steps", help="Batches added up before one step."),
    Field(key="training.mixed_precision", label="precision", flag="mixed_precision",
          help="no, fp16 or bf16. Empty: as the recipe says."),
    Field(key="training.guidance_scale", label="guidance", flag="guidance_scale",
          help="What the model is told while it learns; 1.0 for FLUX.1-dev. Empty: as the base model needs."),
    Field(key="training.timestep_sampling", label="timesteps", flag="timestep_sampling",
          help="sigma, uniform, sigmoid, shift or flux_shift. Empty: as the base model needs."),
    Field(key="training.discrete_flow_shift", label="flow shift", flag="discrete_flow_shift",
          help="How far `shift` leans to noise."),
    Field(key="training.loss_type", label="loss", kind="choice", choices=("l2", "l1", "huber", "smooth_l1"),
          flag="loss_type", help="How far off is measured."),
    Field(key="training.max_data_loader_n_workers", label="loader processes", flag="max_data_loader_n_workers",
          help="Processes that load pictures; rented machines want few."),
    Field(key="samples.every_n_epochs", label="sample every", unit="epochs", flag="sample_every_n_epochs",
          help="The same in epochs; set one of the two."),
    Field(key="samples.at_first", label="sample at first", kind="switch", flag="sample_at_first",
          help="Draw the prompts before the first step, too."),
)  # fmt: skip
FIELD = {field.key: field for field in FIELDS}
