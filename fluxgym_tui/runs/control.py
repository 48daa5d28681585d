"""Requests to a run: files in its `control/`, which whoever supervises it obeys."""

import time

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.files import write_json
from fluxgym_tui.runs.adopted import refuse_adopted
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.start import ensure_supervised
from fluxgym_tui.runs.state import RunState, read_state


def request_stop(run: RunDirectory, *, at_checkpoint: bool = False) -> None:
    """Ask for the end of a run: now, politely, or with `at_checkpoint` once the next LoRA file is whole.

    Returns when the request is on disk and somebody is there to obey it. A run still waiting is ended without being
    started. Asking again does nothing more.

    Raises:
        FluxgymError: there is no such run, it has ended already, or the request cannot be written.
    """
    summary = read_state(run)
    if summary.state.ended:
        raise FluxgymError(
            f"{run.name} is not running: it is {summary.state}", hint="There is nothing to stop.", code=ExitCode.FAILED
        )
    refuse_adopted(run)
    # A run that waits has no next checkpoint to wait for.
    path = run.stop_at_checkpoint if at_checkpoint and summary.state is not RunState.QUEUED else run.stop
    try:
        run.control.mkdir(exist_ok=True)
        if not path.exists():
            write_json(path, {"time": time.time()})
    except OSError as error:
        raise FluxgymError(
            f"cannot write {path}: {error.strerror}",
            hint="Stop the trainer by hand: kill -INT -- -$(pid of the trainer, see `fluxgym-tui runs`).",
        ) from error
    ensure_supervised(run, also_queued=True)
