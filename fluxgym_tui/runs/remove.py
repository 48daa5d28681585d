"""Deleting a run: its whole folder, and only where nothing of it lives."""

import contextlib
import shutil

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.lock import RunLock
from fluxgym_tui.runs.state import read_state


def remove(run: RunDirectory) -> None:
    """Delete `run` with its LoRA files, samples and logs. The user's pictures and the staged copies stay.

    Raises:
        FluxgymError: there is no such run, it has not ended, or a file cannot be deleted.
    """
    summary = read_state(run)
    if not summary.state.ended or summary.supervised:
        raise FluxgymError(
            f"{run.name} is {summary.state}: a run that has not ended is not deleted",
            hint=f"fluxgym-tui stop {run.name}   ends it first.",
            code=ExitCode.BUSY,
        )
    try:
        shutil.rmtree(run.output_dir)
    except OSError as error:
        raise FluxgymError(
            f"cannot delete {run.output_dir}: {error.strerror}", hint="Check whose it is.", code=ExitCode.FAILED
        ) from error


def discard(run: RunDirectory) -> None:
    """Take away a new run that could not be started, as far as the disk lets it; not where a supervisor has it."""
    lock = None
    with contextlib.suppress(OSError):  # a lock that cannot be made is no supervisor's either
        lock = RunLock.acquire(run.lock)
        if lock is None:
            return
    # With the lock in our hands a supervisor that is slow to come up finds nothing to do.
    shutil.rmtree(run.output_dir, ignore_errors=True)
    if lock is not None:
        lock.release()
