"""The one error type that users read, and the exit codes of every command."""

from collections.abc import Sequence
from enum import IntEnum

from fluxgym_tui.base.text import one_line


class ExitCode(IntEnum):
    """Exit codes of `fluxgym-tui`; they are documented in docs/api.md and never change meaning."""

    OK = 0
    FAILED = 1  # the work was started and did not succeed: a run failed, a download broke
    USAGE = 2  # the request cannot be taken as it is: bad flag, bad spec, missing path
    FINDINGS = 3  # a check or plan found something that stops training; nothing was started
    NOT_FOUND = 4  # no such run, model or file of ours
    BUSY = 5  # somebody else holds what is needed: a live run of that name, a lock
    MISSING_EXTRA = 6  # an optional part is not installed; the message names the command that adds it
    STOPPED = 7  # the run was stopped on request before its end
    INTERNAL = 70  # a bug of ours
    INTERRUPTED = 130  # Ctrl+C in this terminal; a run that was started goes on


class FluxgymError(Exception):
    """An error written for the user: what went wrong and where, and `hint`: what to do next.

    Raise it wherever a person can act on it. The top handlers print `message`, then `hint`, and exit with `code`.
    Several lines are given as a sequence: a line break in one of them is a file name's, and is written out.
    """

    def __init__(
        self, message: str | Sequence[str], *, hint: str | Sequence[str] | None = None, code: ExitCode = ExitCode.USAGE
    ) -> None:
        self.message = _joined(message)
        super().__init__(self.message)
        self.hint = _joined(hint) if hint else None
        self.code = code

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"


def _joined(lines: str | Sequence[str]) -> str:
    return one_line(lines) if isinstance(lines, str) else "\n".join(map(one_line, lines))
