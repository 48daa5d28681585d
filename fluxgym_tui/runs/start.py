"""Starting a supervisor that belongs to nobody: not to this terminal, this program or this login."""

import subprocess
import sys
import time
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.machine.sessions import detachment
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.lock import elsewhere, holder_of, last_holder
from fluxgym_tui.runs.state import RunState, read_state

_START_S = 30.0
_LOOK_S = 0.01
_LOG_LINES = 10


def start(run: RunDirectory) -> int:
    """Start the supervisor of `run`, or find the one it has; returns its pid once it holds the lock.

    Whatever the run needs is adopted, nothing is started twice. The supervisor survives this process, its terminal
    and, where the system lets it, the end of the login (`machine.sessions`).

    Raises:
        FluxgymError: it did not come up (the message carries what it printed), or another machine supervises the run.
    """
    holder = holder_of(run.lock)
    if holder is not None:
        return holder.pid
    host = elsewhere(run.lock)
    if host is not None:
        raise FluxgymError(
            f"{run.name} is supervised on {host}",
            hint=f"Go on there, or wait until {host} is gone.",
            code=ExitCode.BUSY,
        )
    before = last_holder(run.lock)
    command = [sys.executable, "-P", "-m", "fluxgym_tui.runs.supervisor", "--detach", str(run.output_dir)]
    way = detachment()
    log_begin = _size(run.supervisor_log)
    try:
        # The user's systemd may refuse after all: better a supervisor that a logout may end than none.
        if not (way.prefix and _launch([*way.prefix, *command], run.supervisor_log)):
            _launch(command, run.supervisor_log)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise FluxgymError(
            f"cannot start the supervisor of {run.name}: {error}", hint="Check that the disk has room.",
            code=ExitCode.FAILED,
        ) from error  # fmt: skip
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        # Named in the lock: at work, or done already where there was little to do.
        named = last_holder(run.lock)
        if named is not None and named != before:
            return named.pid
        time.sleep(_LOOK_S)
    raise FluxgymError(
        _with_log(f"the supervisor of {run.name} did not come up", _said(run.supervisor_log, log_begin)),
        hint="Check that the disk has room and the machine is not overloaded, then try again.",
        code=ExitCode.FAILED,
    )


def ensure_supervised(run: RunDirectory, *, also_queued: bool = False) -> bool:
    """Start a supervisor where a run that goes on, or broke off unnoticed, has none; whether one was started.

    Runs whose end is journaled, and (unless `also_queued`) those that nobody started yet, are left alone.

    Raises:
        FluxgymError: there is no such run, or the supervisor did not come up.
    """
    summary = read_state(run)
    if summary.supervised or summary.journaled or (summary.state is RunState.QUEUED and not also_queued):
        return False
    start(run)
    return True


def _launch(command: list[str], log: Path) -> bool:
    """Run `command`, which detaches itself, with its streams on `log`; whether it went well."""
    with log.open("ab") as file:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            timeout=_START_S,
            check=False,
        )
    return done.returncode == 0


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0


def _with_log(message: str, lines: list[str]) -> list[str]:
    return [f"{message}:", *lines] if lines else [message]


def _said(log: Path, begin: int) -> list[str]:
    """The last lines that were written to `log` after its first `begin` bytes."""
    try:
        with log.open("rb") as file:
            file.seek(begin)
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return lines[-_LOG_LINES:]
