"""What has been heard of one run so far, as the Live screen shows it: no clock, no files, only events."""

import math
from array import array
from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from statistics import median

from fluxgym_tui.base import events

_RECENT_STEPS = 20  # the pace is the median over these: one step with a sample before it does not bend it
_KEEP_NOTES = 200
_SMOOTH = 0.97  # weight of the past in the smoothed loss, with the start corrected as Adam does


class Curve:
    """A loss over steps, growing at its end: `steps` ascending, `raw` and `smooth` of the same length.

    `raw` may hold NaN: a step whose loss is not finite; `smooth` leaves those out.
    """

    def __init__(self) -> None:
        self.steps = array("q")
        self.raw = array("d")
        self.smooth = array("d")
        self._sums = array("d")  # the weighted sum and its weight behind each step, so that a step can be amended
        self._weights = array("d")
        self.version = 0

    def __len__(self) -> int:
        return len(self.steps)

    def put(self, step: int, loss: float) -> None:
        """Take the loss of `step`; a step that is there already is amended, and what lay behind it forgotten."""
        if self.steps and step <= self.steps[-1]:
            self._forget_from(step)
        self.steps.append(step)
        self.raw.append(loss)
        total = self._sums[-1] if self._sums else 0.0
        weight = self._weights[-1] if self._weights else 0.0
        if math.isfinite(loss):
            total, weight = _SMOOTH * total + (1 - _SMOOTH) * loss, _SMOOTH * weight + (1 - _SMOOTH)
        self._sums.append(total)
        self._weights.append(weight)
        self.smooth.append(total / weight if weight else math.nan)
        self.version += 1

    def _forget_from(self, step: int) -> None:
        begin = bisect_left(self.steps, step)
        for column in (self.steps, self.raw, self.smooth, self._sums, self._weights):
            del column[begin:]


class RunHistory:
    """The events of one run, summed up. Times are seconds since 1970, None where nothing was heard."""

    def __init__(self) -> None:
        self.phase: str | None = None
        self.phase_time: float | None = None
        self.step: events.StepEvent | None = None
        self.epochs: int | None = None
        self.counted: events.ProgressEvent | None = None
        self.attempt = 0
        self.begun: float | None = None
        self.heard: float | None = None
        self.end: events.EndEvent | None = None
        self.curve = Curve()
        self.averaged = False  # the curve shows the running mean: the trainer tells no loss of single steps
        self.epoch_marks: list[tuple[int, int]] = []
        self.checkpoints: list[events.CheckpointEvent] = []
        self.samples: list[events.SampleEvent] = []
        self.notes: deque[events.WarningEvent | events.ProblemEvent] = deque(maxlen=_KEEP_NOTES)
        self.probes: dict[str, float] = {}
        self._seconds: deque[float] = deque(maxlen=_RECENT_STEPS)
        self._last_step_time: float | None = None
        self._newest = 0  # step of this attempt: what is not behind it amends
        self._true_losses = False  # this attempt tells the loss of each step, if later than its mean

    def feed(self, new: Iterable[events.RunEvent]) -> None:
        """Take events in the journal's order."""
        for event in new:
            self.heard = event.time if self.heard is None else max(self.heard, event.time)
            if self.begun is None:
                self.begun = event.time
            if isinstance(event, events.StepEvent):
                self._take_step(event)
            else:
                self._take(event)

    def _take(self, event: events.RunEvent) -> None:
        match event:
            case events.PhaseEvent():
                if event.name != self.phase:
                    self.phase_time = event.time
                    self.counted = None
                self.phase = event.name
            case events.ProgressEvent():
                self.counted = event
            case events.EpochEvent():
                self.epochs = event.epochs or self.epochs
                self.epoch_marks.append((0 if self.step is None else self.step.step, event.epoch))
            case events.AttemptEvent():
                self.attempt = event.number
                self.end = None
                self._seconds.clear()
                self._last_step_time = None
                self._newest, self._true_losses = 0, False
            case events.CheckpointEvent():
                self.checkpoints.append(event)
            case events.SampleEvent():
                self.samples.append(event)
            case events.WarningEvent() | events.ProblemEvent():
                self.notes.append(event)
            case events.ProbeEvent():
                self.probes[event.when] = event.loss
            case events.EndEvent():
                self.end = event
            case _:
                pass

    def _take_step(self, event: events.StepEvent) -> None:
        amends = event.step <= self._newest
        loss = event.loss
        if loss is not None:
            self._true_losses, self.averaged = True, False
        elif not amends and not self._true_losses:
            loss, self.averaged = event.avg_loss, event.avg_loss is not None or self.averaged
        if loss is not None:
            self.curve.put(event.step, loss)
        if amends:
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

    @property
    def seconds_per_step(self) -> float | None:
        """The median of the last steps."""
        return median(self._seconds) if self._seconds else None

    @property
    def seconds_left(self) -> float | None:
        """The time that the remaining steps take at the present pace."""
        pace = self.seconds_per_step
        if pace is None or self.step is None or self.step.total is None or self.end is not None:
            return None
        return max(0, self.step.total - self.step.step) * pace

    @property
    def problem(self) -> events.ProblemEvent | None:
        """The newest problem."""
        return next((note for note in reversed(self.notes) if isinstance(note, events.ProblemEvent)), None)
