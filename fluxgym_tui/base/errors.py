"""The one error type that users read, and the exit codes of every command."""

from enum import IntEnum


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
    """

    def __init__(self, message: str, *, hint: str | None = None, code: ExitCode = ExitCode.USAGE) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.code = code

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message}\n{self.hint}"
