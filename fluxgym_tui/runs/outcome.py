"""How an attempt ended, from facts alone: exit code, requests, the LoRA, the steps made."""

import re
import signal
from dataclasses import dataclass
from pathlib import Path

from fluxgym_tui.base.events import Outcome
from fluxgym_tui.runs.verify import LoraVerdict

_FROM_OUTSIDE = {signal.SIGHUP, signal.SIGINT, signal.SIGTERM}  # a shutdown, a preempted machine, a person
_ERROR = re.compile("[Ee]rror|ERROR")  # not every "rror": a mirror is none
_TAIL_BYTES = 16_384
_TAIL_LINES = 20


@dataclass(frozen=True, slots=True)
class Verdict:
    """An attempt's outcome with its reason in words; `code`, `fix` explain a failure and are None otherwise."""

    outcome: Outcome
    exit_code: int | None
    reason: str | None = None
    code: str | None = None
    fix: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What `judge` goes by.

    `exit_code` is None where nobody recorded it; `lora` None where none is expected; `killed_for_memory` whether the
    kernel counted an out-of-memory kill meanwhile (None: it does not count).
    """

    phase: str
    exit_code: int | None
    stop_requested: bool = False
    lora: LoraVerdict | None = None
    step: int = 0
    total: int | None = None
    killed_for_memory: bool | None = None
    other_boot: bool = False


def judge(facts: Facts) -> Verdict:
    """The verdict on an attempt whose last child that ran was `facts.phase`."""
    code = facts.exit_code
    whole = facts.total is None or facts.step >= facts.total
    if facts.stop_requested and not (code == 0 and whole and (facts.lora is None or facts.lora.good)):
        return Verdict("stopped", code, "stopped on request")
    who = "the trainer" if facts.phase == "train" else f"the command for {facts.phase}"
    if code is None:
        return _lost(who, other_boot=facts.other_boot)
    if code == 0:
        if facts.lora is None or facts.lora.good:
            return Verdict("finished", 0)
        return Verdict(
            "failed",
            0,
            f"{who} ended without an error, but {facts.lora.problem}",
            code="no_lora",
            fix="Look at the log: a trainer that found no pictures, or whose loss became NaN, ends like this.",
        )
    number = _signal_of(code)
    if number is None:
        fix = "The program is not installed, or not on PATH: the log names it." if code == 127 else None
        return Verdict("failed", code, f"{who} ended with exit code {code}", code="trainer_failed", fix=fix)
    if number in _FROM_OUTSIDE and code < 0:
        return Verdict(
            "interrupted", code, f"{who} was ended by {number.name} from outside (a shutdown, a preempted machine?)"
        )
    if number is signal.SIGKILL:
        return _killed(who, code, for_memory=facts.killed_for_memory)
    return Verdict("failed", code, f"{who} was ended by {number.name}", code="trainer_crashed")


def _lost(who: str, *, other_boot: bool) -> Verdict:
    if other_boot:
        return Verdict("interrupted", None, f"the machine was restarted or replaced while {who} ran")
    return Verdict("interrupted", None, f"{who} and the process that kept its exit code were both killed")


def _killed(who: str, code: int, *, for_memory: bool | None) -> Verdict:
    fix = "Give the machine more memory, or lower resolution, batch_size and max_data_loader_n_workers."
    if for_memory:
        reason = f"{who} was killed by the kernel: out of memory (exit code 137)"
        return Verdict("failed", code, reason, code="out_of_host_memory", fix=fix)
    guess = "; most often the machine ran out of memory" if for_memory is None else " from outside"
    reason = f"{who} was killed by SIGKILL (exit code 137){guess}"
    return Verdict("failed", code, reason, code="killed", fix=fix if for_memory is None else None)


def _signal_of(code: int) -> signal.Signals | None:
    """The signal behind an exit code: negative as ours are, or 128 + n as a shell or launcher passes it on."""
    try:
        return signal.Signals(-code if code < 0 else code - 128)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class LastWords:
    """The end of a log: its last lines, the byte where they begin, and the one that looks like the error."""

    text: str
    offset: int
    error: str | None


def last_words(log: Path) -> LastWords | None:
    """The last lines of `log`, redrawn bars as they were left; None where the log is empty or missing."""
    try:
        with log.open("rb") as file:
            size = file.seek(0, 2)
            begin = file.seek(max(size - _TAIL_BYTES, 0))
            raw = file.read()
    except OSError:
        return None
    lines: list[tuple[int, str]] = []
    offset = begin
    for line in raw.split(b"\n"):
        shown = line.rstrip(b"\r").rpartition(b"\r")[2].decode("utf-8", "replace").rstrip()
        if shown:
            lines.append((offset, shown))
        offset += len(line) + 1
    if not lines:
        return None
    tail = lines[-_TAIL_LINES:]
    return LastWords("\n".join(text for _, text in tail), tail[0][0], _error_line([text for _, text in lines]))


def _error_line(lines: list[str]) -> str | None:
    """The message that ends a traceback: the first unindented line after the first "Traceback" there is."""
    for number, line in enumerate(lines):
        if line.startswith("Traceback (most recent call last)"):
            return next((later for later in lines[number + 1 :] if not later.startswith(" ")), None)
    return next((line for line in reversed(lines) if _ERROR.search(line)), None)
