"""What warnings and errors of sd-scripts mean: cause, and what mends it."""

import re
from dataclasses import dataclass, field

from fluxgym_tui.backends.kohya.words import english, shortened
from fluxgym_tui.base.events import ProblemEvent, WarningEvent

_NO_TIME = 0.0


@dataclass(slots=True)
class Traceback:
    """A traceback as it was printed: `at` is its place in the log, `cause` the one it was raised while handling."""

    at: int
    cause: "Traceback | None" = None
    frames: list[str] = field(default_factory=list)
    exception: str = ""
    more: list[str] = field(default_factory=list)  # further lines of the exception's message
    chained: bool = False
    followed: bool = False  # accelerate's own traceback has begun behind it

    @property
    def text(self) -> str:
        """Everything of it, the causes first."""
        earlier = self.cause.text if self.cause else ""
        return "\n".join([earlier, *self.frames, self.exception, *self.more])


@dataclass(frozen=True, slots=True)
class _Known:
    """An error we know: `pattern` is looked for in the errors logged last and the exception with its message."""

    code: str
    pattern: str
    title: str  # may name groups of the pattern
    fix: str
    anywhere: bool = False  # look at the whole traceback, frames and causes included
    unnamed: str = ""  # the name where the pattern found none


_KNOWN: tuple[_Known, ...] = (
    _Known(
        "out_of_memory",
        r"OutOfMemoryError|CUDA out of memory",
        "the GPU ran out of memory",
        "Take the next smaller recipe of training.vram, or lower dataset.batch_size or dataset.resolution.",
    ),
    _Known(
        "bitsandbytes_missing",
        r"No module named 'bitsandbytes'|No bitsandbytes",
        "the 8-bit optimiser needs bitsandbytes, which is not installed",
        "Install it where sd-scripts runs (pip install bitsandbytes), or set training.optimizer_type: adamw.",
        anywhere=True,
    ),
    _Known(
        "package_missing",
        r"ModuleNotFoundError: No module named '(?P<name>[^']+)'",
        "sd-scripts needs the package {name}, which is not installed",
        "Install sd-scripts' requirements where it runs: pip install -r requirements.txt in its folder.",
    ),
    _Known(
        "empty_caption",
        r"caption file is empty.*?: (?P<name>/.*)$",
        "the caption file {name} is empty",
        "Write a caption into it, or delete it: without one the trigger is trained.",
    ),
    _Known(
        "dataset_toml",
        r"MultipleInvalid: (?P<name>.*)",
        "sd-scripts does not take the dataset.toml: {name}",
        "Mend that key of the dataset.toml; `fluxgym-tui plan dataset.toml` names it with its place.",
    ),
    _Known(
        "dataset_toml",
        r"TomlDecodeError: (?P<name>.*)",
        "the dataset.toml is no TOML: {name}",
        "Mend that line of the dataset.toml.",
    ),
    _Known(
        "bucket_steps",
        r"bucket_reso_steps is (?P<name>\d+)",
        "bucket_reso_steps is {name}; FLUX needs a multiple of 64",
        "Set dataset.bucket_reso_steps: 64.",
    ),
    _Known(
        "too_many_blocks",
        r"Cannot swap more than (?P<name>\d+ double blocks and \d+ single blocks)",
        "the base model has fewer blocks than are to be swapped: at most {name}",
        "Lower training.blocks_to_swap, or take a larger recipe of training.vram.",
    ),
    _Known(
        "not_cropped",
        r"image too large, but cropping and bucketing are disabled",
        "a picture is not of the dataset's resolution, and neither buckets nor a latent cache are on",
        "Set dataset.enable_bucket: true, or add --cache_latents_to_disk.",
    ),
    _Known(
        "broken_picture",
        r"(?:Error loading file: (?P<name>.*)\n[\s\S]*)?"
        r"(?:image file is truncated|UnidentifiedImageError|cannot identify image file)",
        "{name} is broken",
        "Replace or remove it; `fluxgym-tui scan` finds such files.",
        unnamed="a picture",
    ),
    _Known(
        "tokenizer_missing",
        r"TokenizeStrategy[\s\S]*(?:NoneType|Can't load tokenizer|couldn't connect|LocalEntryNotFound|OfflineMode)",
        "the tokenizers could not be had: they come from Hugging Face at every start",
        "Go online once, or put them into models/tokenizers of the workspace.",
        anywhere=True,
    ),
    _Known(
        "disk_full",
        r"No space left on device|\[Errno 28\]",
        "the disk is full",
        "Free some room, or save fewer checkpoints (training.save_every_n_epochs).",
    ),
    _Known(
        "file_missing",
        r"FileNotFoundError: .*?(?P<name>[\"'/].*)",
        "a file is not there: {name}",
        "Check the path; `fluxgym-tui models` lists what is here and what is missing.",
    ),
)
_INTERRUPTED = ("KeyboardInterrupt",)

# Warnings that every FLUX training has, and that ask nothing of anybody.
_HARMLESS = (
    "cache_latents_to_diskisenabled",
    "noregularizationimages",
    "min_bucket_resoandmax_bucket_resoareignored",  # with bucket_no_upscale, as the plan has it
)
_WARNINGS: tuple[tuple[str, str, str | None], ...] = (
    ("ignoresubset", "subset_ignored", "Put pictures into that folder, or take it out of the dataset."),
    ("notdirectory", "folder_missing", "Check the path of that folder."),
    ("split_modeisdeprecated", "split_mode", "Use training.blocks_to_swap instead: split_mode only sets it to 18."),
)


def explain(traceback: Traceback, context: list[str]) -> ProblemEvent | None:
    """The problem behind `traceback`; None where it only says that somebody stopped the run.

    `context` are the messages of errors logged before it.
    """
    last = traceback.exception.removeprefix("torch.")
    if last.startswith(_INTERRUPTED):
        return None
    message = "\n".join([traceback.exception, *traceback.more])
    said = "\n".join([*context[-2:], message])
    for known in _KNOWN:
        found = re.search(known.pattern, traceback.text if known.anywhere else said, re.MULTILINE)
        if found:
            detail = shortened(said)
            names = {name: english(value or known.unnamed).strip("\"'") for name, value in found.groupdict().items()}
            return _problem(known.code, known.title.format(**names), detail, known.fix, traceback.at)
    return _problem(
        "kohya_error",
        f"sd-scripts stopped with {shortened(english(traceback.exception), 160)}",
        "\n".join([*context[-2:], *traceback.frames[-2:], shortened(message)]),
        "The log has the whole traceback: `fluxgym-tui log RUN`.",
        traceback.at,
    )


def usage_problem(line: str, at: int) -> ProblemEvent:
    """The problem behind argparse's `flux_train_network.py: error: ...`."""
    said = line.split(": error: ", 1)[1]
    return _problem(
        "bad_flag",
        f"sd-scripts does not take the command: {said}",
        line,
        "Correct or remove it under training, flags or extra_args of the spec.",
        at,
    )


def warning_for(message: str, compact: str, at: int) -> WarningEvent | None:
    """The warning that a WARNING record is worth; None for those that every training has."""
    if compact.startswith(_HARMLESS):
        return None
    title = shortened(english(message), 200)
    for beginning, code, fix in _WARNINGS:
        if compact.startswith(beginning):
            return WarningEvent(time=_NO_TIME, code=code, title=title, fix=fix, log_offset=at)
    return WarningEvent(time=_NO_TIME, code="kohya_warning", title=title, log_offset=at)


def _problem(code: str, title: str, detail: str, fix: str, at: int) -> ProblemEvent:
    return ProblemEvent(time=_NO_TIME, code=code, title=title, detail=detail, fix=fix, log_offset=at)
