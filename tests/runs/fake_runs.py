"""A run whose trainer is the fake one, under the real supervisor: started, watched, killed and cleaned up."""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fluxgym_tui.base.events import RunEvent
from fluxgym_tui.machine.processes import Identity, is_alive, session_members
from fluxgym_tui.runs.children import look
from fluxgym_tui.runs.commands import ChildCommand, CommandPlan, write_plan
from fluxgym_tui.runs.directory import RunDirectory
from fluxgym_tui.runs.journal import read_entries
from fluxgym_tui.runs.lock import last_holder
from fluxgym_tui.runs.start import start
from fluxgym_tui.runs.state import RunSummary, read_state

FAKE_TRAINER = Path(__file__).with_name("fake_trainer.py")
PATIENCE_S = 60.0  # for a test machine under load; a condition that holds ends the wait at once


def until(condition: Callable[[], object], *, what: str) -> None:
    """Wait until `condition` holds; fails the test where it never does."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {PATIENCE_S:.0f} s for: {what}")
        time.sleep(0.01)


@dataclass
class FakeRun:
    """A run directory whose trainer is the fake one, with handles on its processes."""

    run: RunDirectory
    gate: Path
    starts: Path

    def fake(self, *flags: str, phase: str = "train", lora: bool = True) -> ChildCommand:
        """A child command that starts the fake trainer."""
        extra = ["--lora", str(self.run.output_dir / f"{self.run.name}.safetensors")] if lora else []
        argv = [sys.executable, str(FAKE_TRAINER), "--started", str(self.starts), "--wait_for", str(self.gate)]
        return ChildCommand(phase=phase, argv=(*argv, *extra, *flags), cwd=self.run.output_dir)

    def plan(self, *children: ChildCommand, attempt: int = 1, first_step: int = 0) -> None:
        """Write the plan of an attempt."""
        lora = f"{self.run.name}.safetensors"
        write_plan(self.run, CommandPlan(children=children, attempt=attempt, first_step=first_step, lora=lora))

    def start(self, *flags: str, lora: bool = True) -> int:
        """Plan one training with `flags` and start it; the supervisor's pid."""
        self.plan(self.fake(*flags, lora=lora))
        return start(self.run)

    def state(self) -> RunSummary:
        """A fresh look at the run."""
        return read_state(self.run)

    @property
    def events(self) -> list[RunEvent]:
        return [entry.event for entry, _ in read_entries(self.run.events)]

    @property
    def steps(self) -> list[int]:
        """The steps in the journal, in its order."""
        return [event.step for event in self.events if event.kind == "step"]  # type: ignore[attr-defined]

    @property
    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    def trainer(self, *, phase: str = "train", attempt: int = 1) -> Identity:
        """The child's process, once it was started."""
        files = self.run.child(phase, attempt)
        until(lambda: look(files).child, what=f"{phase} to start")
        child = look(files).child
        assert child is not None
        return child

    def wrapper(self, *, phase: str = "train", attempt: int = 1) -> Identity:
        """The process around the child, once that was started."""
        self.trainer(phase=phase, attempt=attempt)
        wrapper = look(self.run.child(phase, attempt)).wrapper
        assert wrapper is not None
        return wrapper

    def supervisor(self) -> Identity:
        """Who took the lock last."""
        holder = last_holder(self.run.lock)
        assert holder is not None
        return holder

    def until_step(self, step: int) -> None:
        """Wait until the journal has `step`."""
        until(lambda: step in self.steps, what=f"step {step} in the journal")

    def until_end(self, count: int = 1) -> None:
        """Wait until the journal has its `count`th end and the supervisor is gone."""
        until(lambda: self.kinds.count("end") >= count, what="the end in the journal")
        until(lambda: not is_alive(last_holder(self.run.lock)), what="the supervisor to leave")

    def open_gate(self) -> None:
        """Let a trainer that waits go on."""
        self.gate.touch()

    def kill(self, *victims: Identity) -> None:
        """kill -9, and wait until it is so."""
        for victim in victims:
            os.kill(victim.pid, signal.SIGKILL)
        for victim in victims:
            until(lambda victim=victim: not is_alive(victim), what="a killed process to be gone")  # type: ignore[misc]

    def clean_up(self) -> None:
        """End whatever of the run still lives."""
        supervisor = last_holder(self.run.lock)
        if supervisor is not None and is_alive(supervisor):
            os.kill(supervisor.pid, signal.SIGKILL)
        for file in self.run.run_dir.glob("process-*.json"):
            phase, _, number = file.stem.removeprefix("process-").rpartition("-")
            status = look(self.run.child(phase or "train", int(number)))
            for leader in (status.child, status.wrapper):
                for member in [] if leader is None else session_members(leader):
                    os.kill(member.pid, signal.SIGKILL)
