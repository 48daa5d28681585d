"""One child of a run, from its start or adoption until nothing of it is left."""

import asyncio
import contextlib
import os
import signal
import sys
import time

from fluxgym_tui.base.errors import FluxgymError
from fluxgym_tui.base.events import AttemptEvent
from fluxgym_tui.machine.processes import Identity
from fluxgym_tui.runs.children import ChildStatus, settled
from fluxgym_tui.runs.commands import ChildCommand, CommandPlan
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.recorder import Recorder
from fluxgym_tui.runs.sources import Source, source_for
from fluxgym_tui.runs.stopping import Escalation, Patience, end_session, signal_child
from fluxgym_tui.runs.survey import stop_due
from fluxgym_tui.runs.wrapper import ALREADY_STARTED

_START_S = 60.0  # how long a wrapper may take to name its child, on a machine that swaps
_SWEEP_S = 5.0  # what helpers of an ended child get between SIGTERM and SIGKILL
_PULLS_A_TICK = 64  # so that a flood of events cannot keep a request to stop waiting


class ChildWatch:
    """Starts or adopts one child, copies its events, stops it when asked."""

    def __init__(
        self, run: RunDirectory, plan: CommandPlan, child: ChildCommand, *, recorder: Recorder, patience: Patience
    ) -> None:
        self._run = run
        self._plan = plan
        self._child = child
        self._files = run.child(child.phase, plan.attempt)
        self._recorder = recorder
        self._patience = patience
        self._source: Source = source_for(child, self._files, recorder.fold.positions)
        self._escalation: Escalation | None = None
        self._starter: asyncio.Task[int] | None = None

    async def carry(self) -> ChildStatus:
        """See the child through; its last status, over or lost, with every event of its journaled.

        Raises:
            FluxgymError: it could not be started.
        """
        if not settled(self._files).started:
            await self._start()
        deadline = time.monotonic() + _START_S
        while True:
            status = settled(self._files)  # first: what was written before the end is then read after it
            if status.started:
                self._copy(status)
                if status.over or status.lost:
                    break
                self._stop_if_asked(status)
            elif time.monotonic() > deadline or self._start_failed():
                raise FluxgymError(
                    f"the process around {self._child.phase} did not come up",
                    hint=f"{self._run.supervisor_log} says why.",
                )
            self._recorder.save_state()
            await self._pause()
        await self._drain(status)
        if status.child is not None:
            await self._sweep(status.child)
        return status

    async def _start(self) -> None:
        child = self._child
        environment = {**os.environ, **child.env}
        if child.log_format == "builtin":
            environment["FLUXGYM_EVENTS"] = str(self._files.events)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # the user's folder must not offer modules to us
                "-m",
                "fluxgym_tui.runs.wrapper",
                str(self._run.run_dir),
                child.phase,
                str(self._plan.attempt),
                *child.argv,
                stdin=asyncio.subprocess.DEVNULL,
                cwd=child.cwd,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise FluxgymError(
                f"cannot start {child.phase} in {child.cwd}: {error.strerror}", hint="Check that the folder is there."
            ) from error
        self._starter = asyncio.create_task(process.wait())

    def _start_failed(self) -> bool:
        """Whether our wrapper gave up for a reason other than another one's having been first."""
        return self._starter is not None and self._starter.done() and self._starter.result() != ALREADY_STARTED

    def _note_attempt(self, status: ChildStatus) -> None:
        """Journal that the trainer was started, once per attempt whoever supervises."""
        if self._child.phase != "train" or self._recorder.fold.attempts >= self._plan.attempt:
            return
        pid = None if status.child is None else status.child.pid
        number = self._plan.attempt
        self._recorder.note(AttemptEvent(time=time.time(), number=number, command=list(self._child.argv), pid=pid))

    def _copy(self, status: ChildStatus) -> bool:
        """Journal what is new; False where there may be more: the disk refused, or it was very much."""
        if not self._recorder.retry():
            return False
        self._note_attempt(status)
        for _ in range(_PULLS_A_TICK):
            entries = self._source.pull()
            if not entries:
                return True
            if not self._recorder.copy(entries):
                return False
        return False

    async def _drain(self, status: ChildStatus) -> None:
        """Journal the rest after the child's end, however long the disk takes."""
        while not self._copy(status):
            await self._pause()
        self._recorder.copy(self._source.finish())
        while not self._recorder.retry():
            await self._pause()

    def _stop_if_asked(self, status: ChildStatus) -> None:
        if status.child is None or not stop_due(self._run, self._recorder.fold):
            return
        now_s = time.monotonic()
        if self._escalation is None:
            self._escalation = Escalation(self._patience, begun_s=now_s)
        number = self._escalation.due(now_s)
        if number is not None:
            signal_child(status.child, number)

    async def _sweep(self, child: Identity) -> None:
        """End what the child left running in its session: loader processes that would keep the GPU's memory."""
        begun_s = time.monotonic()
        for number in (signal.SIGTERM, signal.SIGKILL):
            while end_session(child, number) and time.monotonic() - begun_s < _SWEEP_S:
                await self._pause()
            begun_s = time.monotonic()

    async def _pause(self) -> None:
        """Wait a tick, or less where our wrapper ends meanwhile."""
        if self._starter is None or self._starter.done():
            await asyncio.sleep(self._patience.tick_s)
        else:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(self._starter), self._patience.tick_s)
