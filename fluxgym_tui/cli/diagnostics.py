"""Everything that goes to stderr: what is being done, findings, errors, and where a crash was written."""

import os
import sys
import tempfile
import time
import traceback
from contextlib import suppress
from pathlib import Path

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.text import terminal_safe


def narrate(*lines: str) -> None:
    """A line about what is being done, or several; a line break within one is a file name's, and is written out."""
    _write("\n  ".join(map(terminal_safe, lines)))


def error(problem: FluxgymError) -> None:
    """An error for people: `error: what and where`, then what to do."""
    _write(f"{_error_word()}: {_indented(problem.message)}")
    if problem.hint:
        _write(f"  {_indented(problem.hint)}")


def crash(problem: BaseException) -> None:
    """A bug of ours: one line for people, the traceback in a file that the line names."""
    text = "".join(traceback.format_exception(problem))
    try:
        path = _save_crash(text)
    except OSError:
        _write(_indented(text))
        _write(f"{_error_word()}: a bug in fluxgym-tui: {type(problem).__name__}; its traceback is above")
        return
    _write(f"{_error_word()}: a bug in fluxgym-tui: {type(problem).__name__}: {terminal_safe(str(problem))}")
    _write(f"  The traceback is in {path}; please report it. Runs that were started go on.")


def _save_crash(text: str) -> Path:
    """Where users of this platform look for such files; the temporary folder where that cannot be written."""
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    name = f"crash-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.txt"
    for folder in (Path(state) / "fluxgym-tui", Path(tempfile.gettempdir())):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError:
            continue
        return folder / name
    raise OSError("no folder takes the traceback")


def _error_word() -> str:
    plain = not sys.stderr or not sys.stderr.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return "error" if plain else "\x1b[1;31merror\x1b[0m"


def _indented(text: str) -> str:
    return terminal_safe(text, keep="\n").replace("\n", "\n  ")


def _write(text: str) -> None:
    if sys.stderr is None:
        return
    with suppress(OSError):  # a terminal that is gone must not end what is done
        sys.stderr.write(text + "\n")
        sys.stderr.flush()
