"""The built-in trainer's command line: sd-scripts' flags, read and checked. Imports no torch."""

import difflib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.text import count
from fluxgym_tui.trainer.flag_rules import contradictions
from fluxgym_tui.trainer.flag_table import FLAGS, Flag, FlagResult, FlagScalar, Status, resolution
from fluxgym_tui.trainer.options import TrainerOptions


@dataclass(frozen=True, slots=True)
class FlagProblem:
    """One thing wrong with a command line: the flag (with its dashes), what is wrong, what to do."""

    flag: str
    message: str
    fix: str


def parse(arguments: Sequence[str]) -> TrainerOptions:
    """The options that `arguments` give (without the program's name).

    Raises:
        FluxgymError: a flag is unknown, refused, wrong or missing. All are named, the first one first.
    """
    values, problems = _read(arguments)
    problems += _missing(values)
    if problems:
        lines = [f"{problem.flag}: {problem.message}" for problem in problems]
        if len(problems) > 1:
            lines = [f"{count(len(problems), 'flag')} cannot be taken:", *(f"  {line}" for line in lines)]
        hints = list(dict.fromkeys(problem.fix for problem in problems))
        raise FluxgymError(lines, hint=hints[:3])
    complete = {
        name: values.get(name, () if flag.many else flag.default)
        for name, flag in FLAGS.items()
        if flag.status is Status.HONOURED
    }
    return TrainerOptions(**complete)  # type: ignore[arg-type]  # the table's readers give the types; a test compares them


def check(arguments: Sequence[str], *, complete: bool = False) -> list[FlagProblem]:
    """What is wrong with `arguments`, in their order; `complete` also demands what the trainer cannot do without."""
    values, problems = _read(arguments)
    return problems + (_missing(values) if complete else [])


def help_text() -> str:
    """The flags that are taken, a line each with what they do."""
    lines = ["usage: python -m fluxgym_tui.trainer FLAGS", "", "Flags are those of sd-scripts' flux_train_network.py:"]
    for flag in FLAGS.values():
        if flag.status in (Status.HONOURED, Status.ALWAYS):
            value = "" if flag.read is None else " {" + ",".join(flag.choices) + "}" if flag.choices else " VALUE"
            more = " ..." if flag.many else ""
            note = "always so: " * (flag.status is Status.ALWAYS) + flag.note
            needed = "(needed) " * flag.required
            lines.append(f"  --{flag.name}{value}{more}".ljust(48) + f" {needed}{note}".rstrip())
    return "\n".join(lines)


def notes() -> dict[str, str]:
    """Every flag that the trainer knows, each with what there is to say about it."""
    return {flag.name: flag.note for flag in FLAGS.values()}


def choices() -> dict[str, tuple[str, ...]]:
    """The flags that take one of a few words, each with them."""
    return {flag.name: flag.choices for flag in FLAGS.values() if flag.choices is not None}


def refusals() -> dict[str, str]:
    """The flags of sd-scripts that are not taken, each with the reason."""
    return {flag.name: flag.note for flag in FLAGS.values() if flag.status in (Status.REFUSED, Status.MEANINGLESS)}


def option_names() -> tuple[str, ...]:
    """The names of `TrainerOptions`, in its order."""
    return tuple(field.name for field in fields(TrainerOptions))


def _read(arguments: Sequence[str]) -> tuple[dict[str, FlagResult], list[FlagProblem]]:
    values: dict[str, FlagResult] = {}
    problems: list[FlagProblem] = []
    for written, texts in _split(arguments):
        try:
            flag = _known(written)
            stray = flag.read is None and texts and f"{written}={texts[0]}" not in arguments
            if stray:
                problems.append(_stray(texts[0], after=written))
            value = _value(flag, [] if stray else texts)
            if values.get(flag.name, value) != value:
                raise _Wrong("it is given twice, with different values", "Give it once.")  # noqa: TRY301
            values[flag.name] = value
        except _Wrong as wrong:
            problems.append(FlagProblem(written, wrong.message, wrong.fix))
    return values, problems + [FlagProblem(*problem) for problem in contradictions(values)]


def _stray(word: str, *, after: str) -> FlagProblem:
    """A word that stands after a switch, as one at the end of the extra arguments does."""
    return FlagProblem(
        word,
        f"no flag stands before it that it could belong to: {after} takes no value",
        "Take it out, or write its flag before it.",
    )


def _split(arguments: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Each flag as written with the arguments that follow it; an argument before the first stands alone."""
    current: tuple[str, list[str]] | None = None
    for argument in arguments:
        if argument.startswith("--"):
            if current is not None:
                yield current
            written, equals, value = argument.partition("=")
            current = (written, [value] if equals else [])
        elif current is None:
            yield argument, []
        else:
            current[1].append(argument)
    if current is not None:
        yield current


def _known(written: str) -> Flag:
    flag = FLAGS.get(written.removeprefix("--")) if written.startswith("--") else None
    if flag is None:
        near = difflib.get_close_matches(written.lstrip("-"), FLAGS, n=1, cutoff=0.6)
        fix = f"Did you mean --{near[0]}?" if near else "docs/trainer.md lists the flags that there are."
        raise _Wrong("there is no such flag" if written.startswith("-") else "no flag stands before it", fix)
    if flag.status in (Status.REFUSED, Status.MEANINGLESS):
        fix = "Leave it out" + ("." if flag.status is Status.MEANINGLESS else ", or train with the kohya backend.")
        raise _Wrong(f"the built-in trainer does not take it: {flag.note}", fix)
    return flag


def _value(flag: Flag, texts: list[str]) -> FlagResult:
    if flag.read is None:
        if texts:
            raise _Wrong(f"it is a switch and takes no value ({texts[0]!r})", "Leave the value out.")
        return True
    if flag.many:
        if not texts:
            raise _Wrong("it takes one value or more, none is given", "Write them after it, or leave it out.")
        return tuple(_one(flag, text) for text in texts)
    if len(texts) != 1:
        raise _Wrong(f"it takes one value, {len(texts)} are given", "Write it as --flag value.")
    return _one(flag, texts[0])


def _one(flag: Flag, text: str) -> FlagScalar:
    assert flag.read is not None
    if flag.choices is not None:
        # sd-scripts reads the optimiser's name in any case, and only that
        found = [choice for choice in flag.choices if choice == text or _any_case(flag, choice, text)]
        if not found:
            known = ", ".join(flag.choices)
            raise _Wrong(f"{text!r} is not done by the built-in trainer", f"It knows {known}.")
        return found[0]
    try:
        value = flag.read(text)
    except ValueError:
        raise _Wrong(f"{text!r} is not {_MEANT.get(flag.read, 'a number')}", "Correct the value.") from None
    if isinstance(value, (int, float)) and not _in_range(flag, value):
        raise _Wrong(f"{text} is out of its range", _RANGES[flag.name].words)
    return value


_MEANT: dict[object, str] = {int: "a whole number", resolution: "one side or width,height in pixels"}


def _any_case(flag: Flag, choice: str, text: str) -> bool:
    return flag.name == "optimizer_type" and choice.lower() == text.lower()


@dataclass(frozen=True, slots=True)
class _Range:
    least: float
    words: str
    most: float = math.inf


_AT_LEAST_ONE = _Range(1, "Give 1 or more.")
_NOT_NEGATIVE = _Range(0, "Give 0 or more.")
_SEED = _Range(0, "Give a whole number from 0 to 4294967295.", 2**32 - 1)
_PART = _Range(0, "Give a share from 0 to 1.", 1)
_SHARE = _Range(0, "Give a share from 0 to below 1.", math.nextafter(1, 0))
_RANGES: Mapping[str, _Range] = dict.fromkeys(
    (
        "train_batch_size", "min_bucket_reso", "max_bucket_reso", "bucket_reso_steps", "vae_batch_size",
        "text_encoder_batch_size", "t5xxl_max_token_length", "network_dim", "max_train_steps", "max_train_epochs",
        "gradient_accumulation_steps", "save_every_n_epochs", "save_every_n_steps", "save_last_n_epochs",
        "save_last_n_steps", "save_last_n_epochs_state", "save_last_n_steps_state", "lr_scheduler_num_cycles",
        "lr_scheduler_timescale", "validate_every_n_steps", "validate_every_n_epochs", "max_validation_steps",
        "save_n_epoch_ratio", "multires_noise_iterations",
    ),
    _AT_LEAST_ONE,
) | dict.fromkeys(
    (
        "max_data_loader_n_workers", "learning_rate", "unet_lr", "max_grad_norm", "lr_warmup_steps",
        "sample_every_n_steps", "sample_every_n_epochs", "prior_loss_weight", "guidance_scale", "network_alpha",
        "ip_noise_gamma", "logit_std", "sigmoid_scale", "discrete_flow_shift", "lr_scheduler_power", "lr_decay_steps",
        "lr_scheduler_min_lr_ratio", "scale_weight_norms",
        "caption_dropout_every_n_epochs", "keep_tokens", "token_warmup_min", "token_warmup_step",
        "text_encoder_lr", "noise_offset",
    ),
    _NOT_NEGATIVE,
) | {"seed": _SEED, "network_dropout": _SHARE, "validation_split": _SHARE} | dict.fromkeys(
    ("caption_dropout_rate", "caption_tag_dropout_rate", "multires_noise_discount"), _PART
)  # fmt: skip


def _in_range(flag: Flag, value: float) -> bool:
    """Whether `value` makes sense; NaN never does."""
    limits = _RANGES.get(flag.name)
    return not math.isnan(value) if limits is None else limits.least <= value <= limits.most


def _missing(values: Mapping[str, FlagResult]) -> list[FlagProblem]:
    return [
        FlagProblem(
            f"--{flag.name}",
            f"the built-in trainer needs it{': ' + flag.note if flag.note else ''}",
            f"Add --{flag.name}{'' if flag.read is None else ' VALUE'}.",
        )
        for flag in FLAGS.values()
        if flag.required and not values.get(flag.name)
    ]


class _Wrong(Exception):  # noqa: N818 - a verdict that travels a few lines, not an error of its own
    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
