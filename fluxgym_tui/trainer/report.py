"""What the trainer tells: one JSON line a fact for programs, plain lines for people."""

import contextlib
import os
import sys
import time
from pathlib import Path
from typing import Literal, TextIO

from fluxgym_tui.base import events
from fluxgym_tui.base.text import human_time, terminal_safe

SECONDS_BETWEEN_LINES = 0.5  # a log of 10 steps a second is read by nobody; every step is an event all the same
EVENTS_VARIABLE = "FLUXGYM_EVENTS"


class Reporter:
    """Appends events to the file that `FLUXGYM_EVENTS` names, where it does, and writes lines to `out`."""

    def __init__(self, *, events_path: Path | None = None, out: TextIO | None = None) -> None:
        self._out = sys.stdout if out is None else out
        # Unbuffered: each event is one write of one whole line, so a reader never sees half of one.
        self._events = None if events_path is None else events_path.open("ab", buffering=0)
        self._torn = False
        self._lost = False
        self._last_line = 0.0
        self._training_s = 0.0

    @classmethod
    def from_environment(cls) -> "Reporter":
        """The reporter that a supervisor asked for by the environment."""
        path = os.environ.get(EVENTS_VARIABLE)
        return cls(events_path=Path(path) if path else None)

    def close(self) -> None:
        """Close the events file."""
        if self._events is not None:
            self._events.close()

    def event(self, event: events.RunEvent) -> None:
        """Append `event`. A disk that is full loses facts, which is told once, but does not end the training."""
        if self._events is None:
            return
        line = event.to_line().encode("ascii")
        data = b"\n" + line if self._torn else line
        try:
            self._torn = self._events.write(data) != len(data)
        except OSError as error:
            self._torn = True
            if not self._lost:
                self._lost = True
                self.say(f"warning: events cannot be written: {error.strerror}")

    def say(self, line: str) -> None:
        """Write a line for people."""
        with contextlib.suppress(OSError):  # a full disk or a reader that left: lines are not worth the training
            print(terminal_safe(line, keep="\n"), file=self._out, flush=True)

    def phase(self, name: events.Phase, detail: str | None = None) -> None:
        """The run enters a phase."""
        self.event(events.PhaseEvent(time=time.time(), name=name, detail=detail))
        self.say(f"{name.replace('_', ' ')}{': ' + detail if detail else ''}")

    def progress(self, phase: events.Phase, done: int, total: int, unit: str) -> None:
        """Countable work inside a phase."""
        now = time.time()
        self.event(events.ProgressEvent(time=now, phase=phase, done=done, total=total, unit=unit))
        if done == total or now - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = now
            self.say(f"{phase.replace('_', ' ')}: {done}/{total} {unit}")

    def epoch(self, epoch: int, epochs: int) -> None:
        """An epoch begins."""
        self.event(events.EpochEvent(time=time.time(), epoch=epoch, epochs=epochs))
        self.say(f"epoch {epoch}/{epochs}")

    def step(self, event: events.StepEvent, *, first: int) -> None:
        """An optimiser step is done; `first` is the number of the first step of this process."""
        self.event(event)
        self._training_s += event.seconds or 0.0
        if event.step not in (first, event.total) and event.time - self._last_line < SECONDS_BETWEEN_LINES:
            return
        self._last_line = event.time
        done, total = event.step - first + 1, event.total or event.step
        rate = done / self._training_s if self._training_s > 0 else 0.0  # checkpoints and samples are not steps
        left = human_time((total - event.step) / rate) if rate else "?"
        speed = f"{rate:.2f}it/s" if rate >= 1 else f"{1 / rate:.2f}s/it" if rate else "?it/s"
        self.say(
            f"steps: {100 * event.step // total:3d}% {event.step}/{total}"
            f" [{human_time(self._training_s)}<{left}, {speed}, loss={event.loss:.4f}, avr_loss={event.avg_loss:.4f}]"
        )

    def checkpoint(self, path: Path, *, step: int, epoch: int) -> None:
        """A LoRA file was written whole."""
        self.event(events.CheckpointEvent(time=time.time(), path=str(path), step=step, epoch=epoch))
        self.say(f"saved {path}")

    def sample(self, path: Path, *, prompt_index: int, step: int, epoch: int | None, seed: int | None) -> None:
        """A sample picture was written whole."""
        self.event(
            events.SampleEvent(
                time=time.time(), path=str(path), prompt_index=prompt_index, step=step, epoch=epoch, seed=seed
            )
        )
        self.say(f"sample {path}")

    def probe(self, when: Literal["before", "after"], *, loss: float, step: int, pictures: int) -> None:
        """The loss at fixed noise and fixed sigmas."""
        self.event(events.ProbeEvent(time=time.time(), when=when, loss=loss, step=step, pictures=pictures))
        self.say(f"probe loss {when} training: {loss:.4f} ({pictures} pictures at fixed noise)")

    def validation(self, *, loss: float, avg_loss: float, step: int, epoch: int, pictures: int) -> None:
        """The loss of the pictures that were kept back."""
        now = time.time()
        self.event(
            events.ValidationEvent(time=now, step=step, epoch=epoch, loss=loss, avg_loss=avg_loss, pictures=pictures)
        )
        self.say(f"validation loss after step {step}: {loss:.4f} ({pictures} pictures, training {avg_loss:.4f})")

    def warning(self, code: str, title: str, *, detail: str | None = None, fix: str | None = None) -> None:
        """Something to know that does not stop the training."""
        self.event(events.WarningEvent(time=time.time(), code=code, title=title, detail=detail, fix=fix))
        self.say(f"warning: {title}" + (f" {fix}" if fix else ""))

    def problem(self, code: str, title: str, *, detail: str | None = None, fix: str | None = None) -> None:
        """What makes the training fail."""
        self.event(events.ProblemEvent(time=time.time(), code=code, title=title, detail=detail, fix=fix))
        self.say(f"error: {title}" + (f"\n{fix}" if fix else ""))
