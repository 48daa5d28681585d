"""The rows of the Flags screen: every option of the chosen backend by group, with its value and where that is from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from fluxgym_tui.backends.base import argument_text
from fluxgym_tui.backends.builtin import flag_choices, flag_notes, refused_flags
from fluxgym_tui.backends.kohya.checkout import find_checkout
from fluxgym_tui.backends.kohya.options import ParserOption, options_in_sources, options_of
from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.checks.preflight import Preflight
from fluxgym_tui.config.flag_rules import FIXED_IN_DATASET, SAID_ELSEWHERE, SECRETS
from fluxgym_tui.config.sd_flags import CHOICES, FLAG_KINDS, FlagValue
from fluxgym_tui.config.settings_flags import effective_flags
from fluxgym_tui.config.specfile import build_spec
from fluxgym_tui.config.workspace import Workspace

# Group: the beginnings of its options' names; the first group that fits has the option.
_GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("learning", ("learning_rate", "lr_", "optimizer", "unet_lr", "text_encoder_lr", "max_grad", "use_", "max_train",
                  "gradient_accumulation", "train_batch", "seed", "initial_", "skip_until", "fused_", "full_")),
    ("network", ("network_", "dim_from", "base_weights", "scale_weight")),
    ("noise and loss", ("timestep", "discrete", "guidance", "loss_type", "huber", "noise", "adaptive", "min_snr",
                        "weighting", "logit", "mode_scale", "model_prediction", "multires", "ip_noise", "v_p",
                        "debiased", "masked", "alpha_mask", "zero_terminal", "min_timestep", "max_timestep", "scale_v",
                        "prior", "sigmoid", "apply_t5")),
    ("dataset and captions", ("caption", "keep_tokens", "token_warmup", "shuffle", "enable_", "secondary", "bucket",
                              "min_bucket", "max_bucket", "resolution", "resize", "color_aug", "flip_aug", "face_crop",
                              "random_crop", "dataset", "train_data", "reg_data", "in_json", "conditioning",
                              "weighted_captions", "max_token", "t5xxl_max", "clip_skip", "debug_dataset")),
    ("saving and resuming", ("save_", "resume", "output_", "no_metadata", "async")),
    ("samples", ("sample_",)),
    ("validation", ("validat", "max_validation")),
    ("memory and speed", ("fp8", "fp16", "blocks_to_swap", "gradient_checkpointing", "cpu_offload", "lowram",
                          "highvram", "mem_eff", "sdpa", "xformers", "split_mode", "cache", "skip_cache", "vae_batch",
                          "no_half", "mixed_precision", "max_data_loader", "persistent", "text_encoder_batch",
                          "torch_compile", "dynamo", "disable_mmap")),
    ("several devices", ("ddp", "deepspeed", "zero", "offload")),
    ("models", ("pretrained", "clip_l", "t5xxl", "ae", "vae", "model_type", "tokenizer", "v2", "controlnet")),
    ("logging", ("log", "wandb", "console", "training_comment")),
    ("hub and metadata", ("huggingface", "metadata")),
)  # fmt: skip
OTHER = "other"
_PATHS = ("_dir", "_file", "_path", "_weights", "resume", "_config")


@dataclass(frozen=True, slots=True)
class FlagRow:
    """One option: its value as shown (empty where it is not given), whether that is not the default, and why not.

    `locked` says where it is set instead, or why nobody takes it; None where it can be set here. `help` is sd-scripts'
    own, and what our trainer adds; `own_default` that of sd-scripts' parser, where a new spec does not say another.
    """

    name: str
    group: str
    kind: str
    choices: tuple[str, ...]
    value: FlagValue | None
    default: FlagValue | None
    locked: str | None
    help: str = ""
    own_default: Any = None

    @property
    def is_path(self) -> bool:
        """Whether its value is a file or folder of this machine."""
        return self.kind == "text" and not self.choices and self.name.endswith(_PATHS)

    @property
    def changed(self) -> bool:
        """Whether it is another than a new spec has."""
        return self.value != self.default

    @property
    def words(self) -> str:
        """The value as a command line has it."""
        return flag_words(self.value)


def flag_words(value: FlagValue | None) -> str:
    """A value as people type it."""
    if value is None or value is False:
        return ""
    if value is True:
        return "on"
    if isinstance(value, tuple):
        return " ".join(argument_text(item) for item in value)
    return argument_text(value)


def known_options(ready: Preflight, workspace: Workspace) -> dict[str, ParserOption]:
    """sd-scripts' options with their help, by name: of the checkout that would train, else of one that is here.

    For backend kohya the checkout's own parser is asked, which takes seconds the first time: call it in a thread.
    """
    try:
        checkout = find_checkout(workspace=workspace.root)
    except FluxgymError:
        return {}  # $FLUXGYM_SD_SCRIPTS names none: the preflight says so where it matters
    if checkout is None:
        return {}
    if ready.backend.name == "kohya":
        return options_of(checkout)
    return options_in_sources(checkout)


def flag_rows(ready: Preflight, options: Mapping[str, ParserOption]) -> tuple[FlagRow, ...]:
    """Every option of the trainer by group and name; `options` are sd-scripts' own, as far as they are known.

    The checkout decides which there are where kohya trains: another version may have others than are known here.
    """
    spec = ready.spec
    plain = build_spec({"name": spec.name, "base_model": spec.base_model, "dataset": {"path": spec.dataset.path}})
    defaults = effective_flags(plain, backend=ready.backend.name, vram=spec.training.vram, model=ready.model)
    builtin = ready.backend.name == "builtin"
    refused = refused_flags() if builtin else {}
    notes = flag_notes() if builtin else {}
    few = {**CHOICES, **(flag_choices() if builtin else {})}
    names = FLAG_KINDS if builtin or not options else options
    rows = []
    for name in dict.fromkeys([*names, *ready.flags]):
        option = options.get(name)
        note = None if name in refused else notes.get(name)  # that note says why not, as `locked` does
        rows.append(
            FlagRow(
                name,
                group_of(name),
                FLAG_KINDS.get(name, "text" if option is None else option.kind),
                few.get(name, ()) if builtin or option is None or option.choices is None else option.choices,
                ready.flags.get(name),
                defaults.get(name),
                _locked(name, refused),
                help=" ".join(text for text in (option.help if option else None, note) if text),
                own_default=None if option is None else option.default,
            )
        )
    order = [group for group, _ in _GROUPS]
    # What can be set comes first in its group: the others are there to be found, and to say why not.
    rows.sort(
        key=lambda row: (
            order.index(row.group) if row.group in order else len(order),
            row.locked is not None,
            row.name,
        )
    )
    return tuple(rows)


def unknown_option(words: Sequence[str], known: Iterable[str]) -> str | None:
    """What to say of the first option in `words` that nobody knows, with the nearest; None where all are known.

    The beginning of a name counts as argparse has it.
    """
    names = sorted(known)
    for word in words:
        name = word[2:].partition("=")[0].replace("-", "_")
        if word.startswith("--") and not any(one.startswith(name) for one in names):
            near = get_close_matches(name, names, n=1)
            return f"there is no option --{name}" + (f"; did you mean --{near[0]}?" if near else "")
    return None


def group_of(name: str) -> str:
    """The group of the option `name`."""
    return next((group for group, starts in _GROUPS if name.startswith(starts)), OTHER)


def _locked(name: str, refused: dict[str, str]) -> str | None:
    if name in SAID_ELSEWHERE:
        return f"set by {SAID_ELSEWHERE[name]}"
    if name in FIXED_IN_DATASET:
        return FIXED_IN_DATASET[name]
    if name in SECRETS:
        return SECRETS[name]
    if name in refused:
        return f"not with the built-in trainer: {refused[name]}"
    return None


def filtered_flags(rows: Sequence[FlagRow], *, words: str, changed_only: bool) -> tuple[FlagRow, ...]:
    """Those of `rows` that have `words` in name, group or help, names first; only the changed ones where so wanted."""
    wanted = words.casefold()
    name = wanted.removeprefix("--").replace("-", "_")
    rows = [row for row in rows if row.changed or not changed_only]
    named = [row for row in rows if name in row.name]
    others = [row for row in rows if name not in row.name and (wanted in row.group or wanted in row.help.casefold())]
    return (*named, *others)
