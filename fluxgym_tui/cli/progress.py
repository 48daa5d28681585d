"""A run as a line of text: events go in; a status line, and lines that stay, come out."""

import math
from collections import deque
from pathlib import Path

from fluxgym_tui.base import events
from fluxgym_tui.base.text import count, human_time
from fluxgym_tui.runs.words import PHASE_WORDS, counted_words

_QUIET_S = 60.0  # from here on the age of the last sign of life is shown, in minutes
_RECENT_STEPS = 20  # the rate is the median over these: one step with a sample before it does not bend it


class Progress:
    """What has been heard of one run so far. No clock of its own: the same events always give the same lines."""

    def __init__(self) -> None:
        self.phase: str | None = None
        self.step: events.StepEvent | None = None
        self.epoch: events.EpochEvent | None = None
        self.counted: events.ProgressEvent | None = None
        self.end: events.EndEvent | None = None
        self._seconds: deque[float] = deque(maxlen=_RECENT_STEPS)
        self._last_step_time: float | None = None
        self._newest = 0  # step of this attempt: what is not behind it amends
        self._heard_at: float | None = None

    def feed(self, event: events.RunEvent) -> list[str]:
        """Take one event; the lines about it that are worth keeping on the screen (mostly none)."""
        self._heard_at = event.time
        match event:
            case events.StepEvent():
                self._take_step(event)
            case events.ProgressEvent():
                self.counted = event
            case events.EpochEvent():
                self.epoch = event
            case events.PhaseEvent():
                self.end = None  # a resumed run goes on behind it
                return self._enter(event)
            case events.AttemptEvent():
                self._seconds.clear()
                self._last_step_time = None
                self._newest = 0
                return [f"attempt {event.number}"] if event.number > 1 else []
            case events.EndEvent():
                self.end = event
                last = [] if self.step is None else [" · ".join(self._training(left=False))]
                return [*last, end_line(event)]
            case _:
                return keep_line(event)
        return []

    def seconds_per_step(self) -> float | None:
        """The median of the last steps, as the trainer told it, else from the times of the events."""
        return sorted(self._seconds)[len(self._seconds) // 2] if self._seconds else None

    def seconds_left(self) -> float | None:
        """The time that the remaining steps take at the present rate; None while that is not known."""
        rate = self.seconds_per_step()
        if rate is None or self.step is None or self.step.total is None:
            return None
        return max(0, self.step.total - self.step.step) * rate

    def status(self, *, now: float) -> str:
        """The run at the time `now` (seconds since 1970), in one line."""
        parts = [PHASE_WORDS.get(self.phase or "", self.phase or "starting")]
        if self.phase in ("train", "sample", "save") and self.step is not None:
            parts += self._training()
        elif self.counted is not None and self.counted.phase == self.phase:
            parts.append(counted_words(self.counted))
        if self._heard_at is not None and now - self._heard_at >= _QUIET_S:
            parts.append(f"no sign of life for {int(now - self._heard_at) // 60}m")
        return " · ".join(parts)

    def _training(self, *, left: bool = True) -> list[str]:
        assert self.step is not None
        step, rate, seconds_left = self.step, self.seconds_per_step(), self.seconds_left()
        parts = [f"step {step.step:,}" + ("" if step.total is None else f"/{step.total:,}")]
        if step.epoch is not None:
            epochs = self.epoch.epochs if self.epoch else None
            parts.append(f"epoch {step.epoch}" + ("" if epochs is None else f"/{epochs}"))
        if step.loss is not None or step.avg_loss is not None:
            parts.append(_loss(step))
        if rate is not None:
            parts.append(f"{rate:.2f} s/step" if rate >= 1 else f"{rate:.3f} s/step")
        if left and seconds_left is not None:
            parts.append(f"{human_time(seconds_left)} left")
        return parts

    def _take_step(self, event: events.StepEvent) -> None:
        if event.step <= self._newest:
            if self.step is not None and event.step == self.step.step:
                self.step = self.step.amended(event)
            return
        seconds = event.seconds
        if seconds is None and self._last_step_time is not None:
            seconds = event.time - self._last_step_time
        if seconds is not None and seconds >= 0:
            self._seconds.append(seconds)
        self._last_step_time = event.time
        self._newest = event.step
        self.step = event

    def _enter(self, event: events.PhaseEvent) -> list[str]:
        changed = event.name != self.phase
        # Samples and saves come between steps, again and again: what they made gets its own line.
        passing = self.phase in ("train", "sample", "save") and event.name in ("train", "sample", "save")
        self.phase = event.name
        if not changed or (passing and self.step is not None):
            return []
        words = PHASE_WORDS.get(event.name, event.name)
        return [words + (f": {event.detail}" if event.detail else "")]


def keep_line(event: events.RunEvent) -> list[str]:
    """The lines about an event that stands for itself: a file, a warning, a problem, a probe."""
    match event:
        case events.CheckpointEvent():
            return [f"saved {Path(event.path).name}{_at(event.step, event.epoch)}"]
        case events.SampleEvent():
            return [f"sample {Path(event.path).name}{_at(event.step, event.epoch)}"]
        case events.ProbeEvent():
            return [
                f"probe loss {event.when} training: {event.loss:.4f} ({count(event.pictures, 'picture')}, fixed noise)"
            ]
        case events.WarningEvent() | events.ProblemEvent():
            head = f"{event.kind}: {event.title}"
            return [head, *(f"  {line}" for text in (event.detail, event.fix) if text for line in text.splitlines())]
        case _:
            return []


def end_line(event: events.EndEvent) -> str:
    """How an attempt ended, in one line. A signal's exit code is the one that shells show: 137, not -9."""
    number = event.exit_code if event.exit_code is None or event.exit_code >= 0 else 128 - event.exit_code
    code = f" (exit code {number})" if number else ""
    return f"{event.outcome}{code}" + (f": {event.reason}" if event.reason else "")


def event_line(event: events.RunEvent) -> str:
    """One event in one line for people, without its time."""
    match event:
        case events.StepEvent():
            total = "" if event.total is None else f"/{event.total:,}"
            lr = "" if event.lr is None else f" · lr {event.lr:.3g}"
            seconds = "" if event.seconds is None else f" · {event.seconds:.2f} s"
            return f"step {event.step:,}{total} · {_loss(event)}{lr}{seconds}"
        case events.PhaseEvent():
            return f"phase {event.name}" + (f": {event.detail}" if event.detail else "")
        case events.ProgressEvent():
            return f"progress {event.phase} {counted_words(event)}"
        case events.EpochEvent():
            return f"epoch {event.epoch}" + ("" if event.epochs is None else f"/{event.epochs}")
        case events.AttemptEvent():
            return f"attempt {event.number}" + ("" if event.pid is None else f" · pid {event.pid}")
        case events.EndEvent():
            return f"end: {end_line(event)}"
        case events.UnknownEvent():
            return f"unknown event {event.data.get('kind')!r}"
        case _:
            return " · ".join(line.strip() for line in keep_line(event))


def tenths(losses: list[float]) -> tuple[float, float] | None:
    """The mean loss of the first and of the last tenth of the steps; None under ten steps."""
    width = len(losses) // 10
    if width == 0:
        return None
    return math.fsum(losses[:width]) / width, math.fsum(losses[-width:]) / width


def _loss(step: events.StepEvent) -> str:
    if step.loss is None:
        return "loss unknown" if step.avg_loss is None else f"average loss {step.avg_loss:.4f}"
    return f"loss {step.loss:.4f}" + ("" if step.avg_loss is None else f" (average {step.avg_loss:.4f})")


def _at(step: int | None, epoch: int | None) -> str:
    words = [f"{name} {number:,}" for name, number in (("step", step), ("epoch", epoch)) if number is not None]
    return f" at {', '.join(words)}" if words else ""
