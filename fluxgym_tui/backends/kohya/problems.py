"""What warnings and errors of sd-scripts mean: cause, and what mends it."""

import re
from dataclasses import dataclass, field

from fluxgym_tui.backends.kohya.signatures import SIGNATURES
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


_INTERRUPTED = ("KeyboardInterrupt",)

# Warnings that every FLUX training has, and that ask nothing of anybody.
_HARMLESS = (
    "cache_latents_to_diskisenabled",
    "noregularizationimages",
    "min_bucket_resoandmax_bucket_resoareignored",  # with bucket_no_upscale, as the plan has it
    "stepsfromthestateisignored",  # in a resume, where we say the epoch
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
    everything = "\n".join([*context[-2:], traceback.text])
    for known in SIGNATURES:
        found = re.search(known.pattern, everything if known.anywhere else said, re.MULTILINE)
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
