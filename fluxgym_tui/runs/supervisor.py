"""The supervisor: executes a run's commands in order, writes its journal, stops it when asked, says how it ended.

`python -m fluxgym_tui.runs.supervisor [--detach] RUN`. It may die at any moment: all it knows is in the run directory,
and the next one goes on from there. The children live in sessions of their own and need no supervisor.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
import traceback
from pathlib import Path

from fluxgym_tui.base.errors import ExitCode, FluxgymError
from fluxgym_tui.base.events import EndEvent, ProblemEvent, WarningEvent
from fluxgym_tui.machine.processes import boot_id
from fluxgym_tui.runs.children import settled
from fluxgym_tui.runs.commands import ChildCommand, CommandPlan, read_plan
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.lock import BEAT_S, RunLock, last_holder
from fluxgym_tui.runs.outcome import Verdict, last_words
from fluxgym_tui.runs.readme import write_readme
from fluxgym_tui.runs.recorder import Recorder
from fluxgym_tui.runs.stopping import Patience
from fluxgym_tui.runs.survey import stop_due, verdict_on
from fluxgym_tui.runs.watch import ChildWatch

_LOCK_WAIT_S = 1.0


class Supervisor:
    """One supervisor at work on one attempt, holding the run's lock.

    `same_boot` says that the machine is up as it was when the attempt was begun (or that it was not begun).
    """

    def __init__(
        self, run: RunDirectory, plan: CommandPlan, *, recorder: Recorder, patience: Patience, same_boot: bool
    ) -> None:
        self._run = run
        self._plan = plan
        self._recorder = recorder
        self._patience = patience
        self._same_boot = same_boot

    async def work(self) -> None:
        """Carry the attempt to its end and journal that."""
        phase, verdict = "train", Verdict("finished", 0)
        trained = False
        for child in self._plan.children:
            result = await self._child(child)
            if not trained:
                phase, verdict = child.phase, result
                if result.outcome != "finished":
                    break
                trained = child.phase == "train"
            elif result.outcome != "finished":
                self._warn(child, result)
        await self._end(phase, verdict)

    async def _child(self, child: ChildCommand) -> Verdict:
        """The verdict on one child, started or adopted.

        What was started is adopted. What was not is started only while the machine is up as it was: a training that a
        restart broke off is not begun anew behind its user's back.
        """
        if not settled(self._run.child(child.phase, self._plan.attempt)).started:
            if stop_due(self._run, self._recorder.fold):
                return Verdict("stopped", None, "stopped on request")
            if not self._same_boot:
                return Verdict("interrupted", None, f"the machine was restarted before {child.phase} was started")
        watch = ChildWatch(self._run, self._plan, child, recorder=self._recorder, patience=self._patience)
        try:
            status = await watch.carry()
        except FluxgymError as error:
            return Verdict("failed", None, error.message, code="cannot_start", fix=error.hint)
        fold = self._recorder.fold
        return await asyncio.to_thread(verdict_on, self._run, self._plan, fold, child.phase, status)

    def _warn(self, child: ChildCommand, result: Verdict) -> None:
        """A child after the training did not succeed: the training did all the same."""
        detail, _, error = self._words(child.phase)
        title = result.reason or f"{child.phase} failed"
        self._recorder.note(
            WarningEvent(
                time=time.time(),
                code=f"{child.phase}_failed",
                title=title if error is None else f"{title}: {error}",
                detail=detail,
                fix=result.fix or (f"Then: fluxgym-tui publish {self._run.name}" if child.phase == "publish" else None),
            )
        )

    async def _end(self, phase: str, verdict: Verdict) -> None:
        reason = verdict.reason
        fold = self._recorder.fold
        if verdict.outcome == "failed":
            if fold.problem_attempt == self._plan.attempt:
                reason = fold.problem  # the trainer's own words are better than an exit code
            else:
                detail, offset, error = self._words(phase)
                reason = verdict.reason if error is None else f"{verdict.reason}: {error}"
                self._recorder.note(
                    ProblemEvent(
                        time=time.time(),
                        code=verdict.code or "trainer_failed",
                        title=reason or "the training failed",
                        detail=detail,
                        fix=verdict.fix,
                        log_offset=offset,
                    )
                )
        end = EndEvent(time=time.time(), outcome=verdict.outcome, exit_code=verdict.exit_code, reason=reason)
        # For people: neither a full disk nor a run that was made without facts keeps the end from being told.
        with contextlib.suppress(OSError, ValueError, KeyError):
            write_readme(self._run, end=end)
        written = self._recorder.note(end, durable=True)
        while not written:
            await asyncio.sleep(self._patience.tick_s)
            written = self._recorder.retry()
        self._recorder.save_state(force=True)
        for request in (self._run.stop, self._run.stop_at_checkpoint):
            with contextlib.suppress(OSError):
                request.unlink()

    def _words(self, phase: str) -> tuple[str | None, int | None, str | None]:
        words = last_words(self._run.child(phase, self._plan.attempt).log)
        return (None, None, None) if words is None else (words.text, words.offset, words.error)


async def _beat(lock: RunLock) -> None:
    while True:
        lock.beat()
        await asyncio.sleep(BEAT_S)


async def _supervise(run: RunDirectory, lock: RunLock, patience: Patience, *, same_boot: bool) -> None:
    plan = read_plan(run)
    recorder = Recorder(run, first_step=plan.first_step, total=plan.total)
    if recorder.fold.ends >= plan.attempt:
        return
    task = asyncio.current_task()
    assert task is not None, "a coroutine runs in a task"
    # SIGTERM (the machine goes down) ends the supervisor alone; the trainer gets its own.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    beating = asyncio.create_task(_beat(lock))
    try:
        await Supervisor(run, plan, recorder=recorder, patience=patience, same_boot=same_boot).work()
    finally:
        beating.cancel()
        recorder.save_state(force=True)
        recorder.close()


async def _top(run: RunDirectory, lock: RunLock, patience: Patience, *, same_boot: bool) -> None:
    """Supervise, and leave the process from in here.

    asyncio kills the children it started when its loop is torn down; ours are to live on. So the loop never is.
    """
    code: int = ExitCode.INTERNAL
    try:
        await _supervise(run, lock, patience, same_boot=same_boot)
        code = ExitCode.OK
    except asyncio.CancelledError:
        code = ExitCode.OK
    except FluxgymError as error:
        print(error, file=sys.stderr)  # noqa: T201 - our stderr is the supervisor's log
        code = error.code
    except Exception:  # noqa: BLE001 - the top handler: the next supervisor goes on from the files
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):  # a full disk
            sys.stderr.flush()
        os._exit(code)


def main(argv: list[str]) -> int:
    """Supervise the run whose output folder is the last of `argv`, in a background process of its own with --detach."""
    run = RunDirectory(Path(argv[-1]))
    if "--detach" in argv and os.fork() > 0:
        return ExitCode.OK  # the child belongs to init from now on: nobody has to reap it
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(PermissionError):  # refused to who leads a group already, as started by hand in a shell
        os.setsid()
    before = last_holder(run.lock)
    try:
        patience = Patience.from_environment(os.environ)
        lock = RunLock.acquire(run.lock, wait_s=_LOCK_WAIT_S)
    except (FluxgymError, OSError) as error:
        print(f"cannot supervise {run.output_dir}: {error}", file=sys.stderr)  # noqa: T201
        return ExitCode.FAILED
    if lock is None:
        return ExitCode.BUSY
    same_boot = before is None or before.boot_id == boot_id()
    asyncio.run(_top(run, lock, patience, same_boot=same_boot))
    return ExitCode.INTERNAL  # not reached: `_top` leaves the process


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
